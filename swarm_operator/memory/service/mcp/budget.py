"""Limits responses to a size that fits a model's context: names have priority over contents, omissions are reported.

All sizes in this module are bytes of compact JSON.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from swarm_operator.memory.core import Entry
from swarm_operator.memory.service.documents import timestamp
from swarm_operator.memory.swarm import Record

_FRAME: Final = 1024
"""Bytes reserved for the members around the contents: names, cursors, notices."""
_PREVIEW: Final = 120
_SMALL_MEMBER: Final = 256
_SMALL_RECORD: Final = 1024
_MAX_TAGS: Final = 8
_MAX_TAG_CHARS: Final = 64


def size_of(document: Any) -> int:
    """Return the length of a document's compact JSON in bytes."""
    return len(orjson.dumps(document))


@dataclass(frozen=True, slots=True)
class Budget:
    """Size limit of responses.

    Attributes:
        total: maximum bytes of one response.
    """

    total: int

    @property
    def contents(self) -> int:
        """Return the bytes available for the requested contents."""
        return self.total - _FRAME

    def take(self, items: Sequence[Any], render: Callable[[Any], dict[str, Any]]) -> list[dict[str, Any]]:
        """Return as many rendered items as fit; at least the first item, which `render` must keep small."""
        taken: list[dict[str, Any]] = []
        room = self.contents
        for item in items:
            document = render(item)
            room -= size_of(document) + 1
            if room < 0 and taken:
                break
            taken.append(document)
        return taken

    def value(self, entry: Entry, offset: int) -> dict[str, Any]:
        """Return an entry with its value, or with a part of the value's JSON text if the value is too long.

        The value and the metadata are encoded JSON: the document can be serialized with orjson only.

        Args:
            entry: entry to return.
            offset: start of the part, in bytes of the JSON text; 0 returns the value itself if it fits.
        """
        head = self.entry(entry)
        metadata = entry.metadata_json.encode()
        if len(metadata) <= self.contents // 4:
            head["metadata"] = orjson.Fragment(metadata)
        else:
            head["metadata_bytes"] = len(metadata)
        room = self.contents - size_of(head)
        text = entry.value_json
        if not offset and len(text) <= room:
            return {**head, "value": orjson.Fragment(text)}
        offset = min(offset, len(text))
        while 0 < offset < len(text) and text[offset] & 0xC0 == 0x80:  # move back to the start of a character
            offset -= 1
        part = text[offset : offset + max(room // 2, 1)]  # escaping in a JSON string may lengthen the part
        part = part.decode(errors="ignore").encode()  # drop an incomplete last character
        while part and len(orjson.dumps(part.decode())) > room:
            part = part[: len(part) // 2].decode(errors="ignore").encode()
        end = offset + len(part)
        more = end < len(text)
        return {
            **head,
            "part": part.decode(),
            "offset": offset,
            "next_offset": end if more else None,
            "cut": f"the value has {len(text)} bytes of JSON text; part is bytes {offset} to {end} of it"
            + (f"; call again with offset {end} for more" if more else ""),
        }

    def record(self, name: str, record: Record, namespace: str, key: str) -> dict[str, Any]:
        """Return a record, without its longest members if the record is too long."""
        document = record.document
        if size_of(document) <= self.contents:
            return {name: document, "version": record.version}
        kept, left_out = _without_long_members(document, self.contents // 2)
        return {
            name: kept,
            "version": record.version,
            "cut": f"left out for their length: {', '.join(left_out)[:400]}; memory_retrieve with namespace "
            f"{namespace} and key {key[:200]} gives all of it in parts",
        }

    @staticmethod
    def brief(record: Record) -> dict[str, Any]:
        """Return a record for a list: its short members, and the names of the other members."""
        kept, left_out = _without_long_members(record.document, _SMALL_RECORD)
        return {**kept, "left_out": [name[:64] for name in left_out[:16]]} if left_out else kept

    @staticmethod
    def entry(entry: Entry) -> dict[str, Any]:
        """Return an entry without its value."""
        tags = entry.tags
        document: dict[str, Any] = {
            "namespace": entry.namespace,
            "key": entry.key,
            "version": entry.version,
            "size": entry.size,
            "updated_at": timestamp(entry.updated_at),
        }
        if entry.updated_by is not None:
            document["updated_by"] = entry.updated_by
        if entry.expires_at is not None:
            document["expires_at"] = timestamp(entry.expires_at)
        if entry.accessed_at is not None:
            document["accessed_at"] = timestamp(entry.accessed_at)
        if tags:
            document["tags"] = [tag[:_MAX_TAG_CHARS] for tag in tags[:_MAX_TAGS]]
        return document

    @classmethod
    def listed(cls, entry: Entry, snippet: str | None = None) -> dict[str, Any]:
        """Return an entry for a list: without its value, with a snippet (default: the start of the value)."""
        if snippet is None:
            start = entry.value_json[: 4 * _PREVIEW].decode(errors="ignore")
            snippet = start[:_PREVIEW] + ("…" if len(start) > _PREVIEW else "")
        return {**cls.entry(entry), "snippet": snippet[: 2 * _PREVIEW]}


def _without_long_members(document: dict[str, Any], room: int) -> tuple[dict[str, Any], list[str]]:
    """Return the short members that fit, in their order, and the names of the others."""
    kept: dict[str, Any] = {}
    left_out: list[str] = []
    for name, value in document.items():
        length = size_of({name: value})
        # The id is always kept: it has at most 512 bytes, and a record in a list is useless without its id.
        if name == "id" or (length <= _SMALL_MEMBER and length <= room):
            kept[name] = value
            room -= length
        else:
            left_out.append(name)
    return kept, left_out
