"""Reads the JSON files of legacy memories, and exports of ours.

Shapes: a store `{namespace: [entries]}`, a list of entries, a backup `{entries: [...], ...}`, a snapshot
`{swarmId, memories: [...], ...}`, a state `{agents: [...], tasks: [...], patterns: [...], ...}`, which may have further
members, and an export: lines of JSON. A file of another shape is ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import times
from swarm_operator.memory.transfer.migration import records
from swarm_operator.memory.transfer.migration.entries import (
    LEGACY,
    checksum_matches,
    entry,
    item,
    legacy_times,
    snake,
)
from swarm_operator.memory.transfer.migration.items import (
    Context,
    Found,
    Ignored,
    Item,
    Kind,
    Notice,
    Reason,
    Refusal,
)
from swarm_operator.memory.transfer.migration.json_elements import BrokenJsonError, Element, elements, lines

_FORMAT: Final = "swarm-memory-export"
_MARKER: Final = re.compile(rb"^(?:<{7}|={7}|>{7})[ \r\n]", re.MULTILINE)
"""Conflict markers of Git. No line of JSON begins with one of them."""
_CHUNK: Final = 1024 * 1024
_LONGEST_MARKER: Final = 8
_ENTRY_LISTS: Final = frozenset({"entries", "memories", "memory"})
"""Members whose names are not namespaces."""
_ABOUT: Final = frozenset({"timestamp", "version", "statistics", "lastUpdated", "exportedAt", "swarmId", "format"})
"""Members that describe the file and are not migrated."""
_PARTS: Final = 1024 * 1024
_STATE: Final = "hive:state"
_MAX_HELD: Final = 10_000


def read(path: Path, file: BinaryIO, context: Context) -> Iterator[Found]:
    """Yield the contents of a JSON file.

    Args:
        path: path of the file, to read parts of it again.
        file: the file, at its start.
        context: see Context.

    Raises:
        OSError: the file can't be read.
    """
    line = _conflict(file)
    file.seek(0)
    if line is not None:
        detail = f"conflict markers of Git in line {line}; resolve them and run the migration again"
        yield Refusal(Kind.FILE, Reason.CONFLICT_MARKERS, detail, {"line": line})
        return
    if _is_lines(file):
        yield from _Lines(path, context).read(file)
    else:
        yield from _Document(path, context, _swarm(file)).read(file)


def _conflict(file: BinaryIO) -> int | None:
    """Return the number of the first line that is a conflict marker."""
    number, held = 1, b""
    while True:
        chunk = file.read(_CHUNK)
        text = held + (chunk or b"\n")
        if (match := _MARKER.search(text)) is not None:
            return number + text.count(b"\n", 0, match.start())
        if not chunk:
            return None
        # The next chunk may complete a marker that begins in the last bytes of this one.
        last = text.rfind(b"\n", max(len(text) - _LONGEST_MARKER, 0))
        number += text.count(b"\n", 0, last + 1) if last >= 0 else text.count(b"\n")
        begins = len(text) < _LONGEST_MARKER
        held = text[last + 1 :] if last >= 0 else text if begins else b"\0"


def _is_lines(file: BinaryIO) -> bool:
    """Return whether the first line is a complete document and more lines follow. Leave the file at its start."""
    first = file.readline(_CHUNK)
    more = file.read(_CHUNK).lstrip()
    file.seek(0)
    try:
        document = orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and (document.get("format") == _FORMAT or more.startswith(b"{"))


def _swarm(file: BinaryIO) -> str | None:
    """Return the `swarmId` of the outer object: it may follow the lists. Leave the file at its start."""
    found = None
    try:
        for element in elements(file, _LONGEST_SWARM):
            if element.member == "swarmId" and element.index is None and element.text is not None:
                found = orjson.loads(element.text)
    except (BrokenJsonError, orjson.JSONDecodeError):
        pass
    file.seek(0)
    return found if isinstance(found, str) else None


_LONGEST_SWARM: Final = 4096


def _slice(path: Path, start: int, end: int) -> Iterator[bytes]:
    """Yield a part of a file."""
    with path.open("rb") as file:
        file.seek(start)
        while start < end and (part := file.read(min(_PARTS, end - start))):
            start += len(part)
            yield part


def _parsed(element: Element, path: Path, context: Context, kind: Kind) -> Any:
    """Return the value of an element, or a refusal."""
    where = {"offset": element.start, "length": element.end - element.start}
    if element.text is None:
        detail = f"value: {element.end - element.start} bytes; at most {context.max_value_bytes} bytes of JSON"
        return Refusal(kind, Reason.TOO_LARGE, detail, where, _slice(path, element.start, element.end))
    try:
        return strict_json.parse_document("element", element.text, levels=3)
    except InvalidInputError as error:
        return Refusal(kind, Reason.INVALID_JSON, f"{error.field}: {error.allowed}", where, [element.text])


def _broken(error: BrokenJsonError, path: Path, context: Context) -> Refusal:
    """Return a refusal for the rest of a file, with its text if it is not longer than an element may be."""
    size = path.stat().st_size
    with path.open("rb") as file:
        line = 1
        left = error.offset
        while left and (part := file.read(min(_PARTS, left))):
            line += part.count(b"\n")
            left -= len(part)
    where = {"offset": error.offset, "line": line, "length": size - error.offset}
    content = _slice(path, error.offset, size) if size - error.offset <= context.max_element_bytes else ()
    reason = Reason.TRUNCATED if error.truncated else Reason.INVALID_JSON
    return Refusal(Kind.FILE, reason, f"line {line}: {error}", where, content)


@dataclass(slots=True)
class _Document:
    """A file with one JSON document."""

    path: Path
    context: Context
    swarm_id: str | None
    _recognised: bool = False
    _omitted: int = 0
    _lists: int = 0
    _others: list[Element] = field(default_factory=list)

    def read(self, file: BinaryIO) -> Iterator[Found]:
        broken: BrokenJsonError | None = None
        try:
            for element in elements(file, self.context.max_element_bytes):
                yield from self._element(element)
        except BrokenJsonError as error:
            broken = error
        if self._recognised or (self._lists and not self._others):
            for element in self._others:
                yield self._state(element)
            if self._omitted:
                detail = f"{self._omitted} elements before the first of a known shape are of no known shape"
                yield Refusal(Kind.FILE, Reason.INVALID, detail)
        elif broken is None:
            yield Notice(Ignored.NOT_A_MEMORY, "JSON of another shape")
        if broken is not None:
            yield _broken(broken, self.path, self.context)

    def _element(self, element: Element) -> Iterator[Found]:
        if element.index == -1:
            self._lists += 1
            return
        if element.member in _ABOUT and element.index is None:
            return
        kind = self._kind(element)
        value = _parsed(element, self.path, self.context, kind)
        if isinstance(value, Refusal):
            # A part that can't be parsed may belong to a file of another shape, which is known only at the end of the
            # file.
            if self._recognised:
                yield value
            else:
                self._hold(element)
            return
        found = self._map(element, value)
        if found is not None:
            self._recognised = True
            yield found
        elif self._recognised:
            yield self._state(element)
        else:
            self._hold(element)

    def _hold(self, element: Element) -> None:
        if len(self._others) < _MAX_HELD:
            self._others.append(Element(element.member, element.index, element.start, element.end, None))
        else:
            self._omitted += 1

    def _kind(self, element: Element) -> Kind:
        if element.index is None:
            return Kind.STATE
        named = records.RECORDS.get(element.member or "")
        return Kind.ENTRY if named is None else named[0]

    def _map(self, element: Element, value: Any) -> Found | None:
        """Return the item of a list's element; None for an unknown shape."""
        if element.index is None or not isinstance(value, dict):
            return None
        where = {"offset": element.start}
        if "key" in value and "value" in value:
            return self._entry(element.member, value, where)
        if element.member is not None and element.member in records.RECORDS:
            swarm_id = value.get("swarmId", self.swarm_id)
            return records.record(element.member, value, self.context, swarm_id=swarm_id, where=where)
        return None

    def _entry(self, member: str | None, value: dict[str, Any], where: dict[str, Any]) -> Found:
        fields = {snake(name): each for name, each in value.items()}
        if fields.get("compressed") is True and isinstance(fields["value"], str):
            # The seed only set the flag: it encoded such a value as a text twice.
            fields["value"] = _unwrapped(fields["value"])
        checksum = fields.get("checksum")
        if isinstance(checksum, str) and checksum and not self._intact(checksum, value["value"], fields["value"]):
            detail = "checksum: another value's; the value was changed after it was stored"
            return Refusal(Kind.ENTRY, Reason.CHECKSUM, detail, where, [orjson.dumps(value)])
        namespace = fields.get("namespace")
        if namespace is None and member is not None and member not in _ENTRY_LISTS:
            namespace = member
        swarm_id = fields.get("swarm_id")
        if member == "memories" and namespace is None:  # a snapshot of a CollectiveMemory, whose types are namespaces
            namespace, swarm_id = f"hive:{fields.get('type') or 'knowledge'}", swarm_id or self.swarm_id
        return entry(fields, self.context, namespace=namespace, swarm_id=swarm_id, where=where)

    @staticmethod
    def _intact(checksum: str, stored: Any, value: Any) -> bool:
        return checksum_matches(checksum, stored) or checksum_matches(checksum, value)

    def _state(self, element: Element) -> Found:
        """Return a further member of the file as an entry."""
        if element.text is None and element.end - element.start <= self.context.max_element_bytes:
            text = b"".join(_slice(self.path, element.start, element.end))
            element = Element(element.member, element.index, element.start, element.end, text)
        value = _parsed(element, self.path, self.context, Kind.STATE)
        if isinstance(value, Refusal):
            return value
        name = f"{self.context.label}#{element.member or ''}"
        key = name if element.index is None else f"{name}/{element.index}"
        return item(Kind.STATE, self.context, _STATE, key, value, where={"offset": element.start})


@dataclass(slots=True)
class _Lines:
    """One of our exports, or other lines with one entry each."""

    path: Path
    context: Context
    _ended: bool = False
    _export: bool = False

    def read(self, file: BinaryIO) -> Iterator[Found]:
        end = 0
        recognised = False
        for element in lines(file, self.context.max_element_bytes):
            end = element.end
            value = _parsed(element, self.path, self.context, Kind.ENTRY)
            if not isinstance(value, Refusal):
                value = self._map(value, element)
            if value is None:
                continue
            recognised = recognised or isinstance(value, Item)
            yield value
        if self._export and not self._ended:
            where = {"offset": end}
            yield Refusal(Kind.FILE, Reason.TRUNCATED, "the last line of the export is missing", where)
        elif not recognised and not self._export:
            yield Notice(Ignored.NOT_A_MEMORY, "lines of JSON of another shape")

    def _map(self, value: Any, element: Element) -> Found | None:
        where = {"offset": element.start, "line": (element.index or 0) + 1}
        if not isinstance(value, dict):
            return Refusal(Kind.ENTRY, Reason.INVALID, "line: a JSON object", where, [element.text or b""])
        if value.get("format") == _FORMAT:
            self._export = True
            return None
        if self._export and "end" in value:
            self._ended = True
            return None
        if not self._export:
            if "key" in value and "value" in value:
                fields = {snake(name): each for name, each in value.items()}
                return entry(fields, self.context, namespace=fields.get("namespace"), where=where)
            return Refusal(Kind.ENTRY, Reason.INVALID, "key, value: missing", where, [element.text or b""])
        return self._exported(value, where)

    def _exported(self, value: dict[str, Any], where: dict[str, Any]) -> Found:
        """Return the entry of a line. Its names are valid; its times are added to its metadata unless present."""
        metadata = value.get("metadata") or {}
        if isinstance(metadata, dict) and LEGACY not in metadata and (known := legacy_times(value)):
            metadata = {**metadata, LEGACY: known}
        expires_at = times.from_text(value.get("expiresAt"))
        updated_at = times.from_text(value.get("updatedAt")) or 0
        return item(
            Kind.ENTRY, self.context, value.get("namespace", ""), value.get("key", ""), value.get("value"),
            tags=value.get("tags"), metadata=metadata, updated_at=updated_at, expires_at=expires_at, where=where,
        )  # fmt: skip


def _unwrapped(text: str) -> Any:
    try:
        return strict_json.parse_document("value", text.encode(), levels=0)
    except (InvalidInputError, UnicodeEncodeError):
        return text
