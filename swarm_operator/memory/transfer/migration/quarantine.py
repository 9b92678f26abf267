"""The quarantine: items that could not be migrated, as lines of JSON with their source, place and reason.

    {"item": 1, "source": "hive.db", "kind": "task", "reason": "invalid", "detail": "...", "where": {...}}
    {"item": 1, "part": 1, "content": "..."}

Content that is not UTF-8 is in `content_base64`. Large content has several parts, so lines are short and memory is
bounded. The file appears when it is complete, and replaces the file of an earlier run.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import orjson

from swarm_operator.memory.atomicfile import AtomicFile, remove_stale
from swarm_operator.memory.transfer.migration.items import Refusal

_PART: Final = 1024 * 1024
_OPTIONS: Final = orjson.OPT_APPEND_NEWLINE


class Quarantine:
    """Writes the quarantine file. Use it as a context manager: the file is published on success.

    Args:
        path: the file; None only counts the items.

    Attributes:
        items: number of items.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._hidden: AtomicFile | None = None
        self._file: BinaryIO | None = None
        self.items = 0

    @property
    def published(self) -> Path | None:
        """Return the path of the file, or None."""
        return self._path if self.items else None

    def __enter__(self) -> Self:
        if self._path is not None:
            remove_stale(self._path.parent)
            self._hidden = AtomicFile.create(self._path, replace=True)
            self._file = self._hidden.path.open("wb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hidden is None or self._file is None or self._path is None:
            return
        try:
            self._file.close()
            if kind is not None:
                return
            if self.items:
                self._hidden.publish()
            else:  # the file of an earlier run is out of date
                self._path.unlink(missing_ok=True)
        finally:
            self._hidden.discard()

    def add(self, source: str, refusal: Refusal) -> None:
        """Write an item with all of its content."""
        self.items += 1
        if self._file is None:
            return
        head = {
            "item": self.items,
            "source": source,
            "kind": refusal.kind,
            "reason": refusal.reason,
            "detail": refusal.detail,
            "where": refusal.where,
        }
        self._file.write(_line(head))
        for number, part in enumerate(_parts(refusal.content), start=1):
            self._file.write(_line({"item": self.items, "part": number, **_content(part)}))


def _parts(content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield content in parts of at most 1 MiB."""
    held = bytearray()
    for piece in content:
        held += piece
        while len(held) > _PART:
            yield bytes(held[:_PART])
            del held[:_PART]
    if held:
        yield bytes(held)


def _content(part: bytes) -> dict[str, str]:
    try:
        return {"content": part.decode()}
    except UnicodeDecodeError:
        return {"content_base64": base64.b64encode(part).decode()}


def _line(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, default=repr, option=_OPTIONS)
    except orjson.JSONEncodeError:  # a name in it is not UTF-8
        return orjson.dumps(_escaped(document), default=repr, option=_OPTIONS)


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="surrogateescape").decode(errors="backslashreplace")
    if isinstance(value, dict):
        return {_escaped(name): _escaped(member) for name, member in value.items()}
    return [_escaped(member) for member in value] if isinstance(value, list) else value
