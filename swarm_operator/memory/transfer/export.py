"""Export of a store as NDJSON, one entry per line, in bounded memory.

    {"format": "swarm-memory-export", "version": 1, "swarmId": "default", "exportedAt": "2027-01-15T08:00:00.000Z"}
    {"namespace": "swarm:agents", "key": "agent:a1", "value": {...}, "tags": [...], "metadata": {...}, ...}
    ...
    {"end": true, "entries": 1}

A line has the `vector` that a client wrote with its entry. Vectors of the store's embedder are not exported, because
the importing store makes its own. The last line marks a complete export: an import without it reports a truncated file.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import orjson

from swarm_operator.memory.core import vectors
from swarm_operator.memory.core.entry import Entry
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.swarm import times

FORMAT: Final = "swarm-memory-export"
VERSION: Final = 1
_SWARM: Final = "swarm:"
_PAGE: Final = 100


async def export_lines(store: Store, *, namespaces: Sequence[str] | None = None) -> AsyncIterator[bytes]:
    """Yield the lines of an export, each with its newline.

    An export is not a snapshot. Entries that exist throughout the export appear exactly once.

    Args:
        store: the store to export.
        namespaces: the namespaces to export; None: all that start with `swarm:`; []: all namespaces.
    """
    head = {
        "format": FORMAT,
        "version": VERSION,
        "swarmId": store.swarm_id,
        "exportedAt": times.to_text(store.now()),
    }
    yield orjson.dumps(head, option=orjson.OPT_APPEND_NEWLINE)
    entries = 0
    async for namespace in _namespaces(store, namespaces):
        after: str | None = None
        while True:
            page = await store.list(namespace, after=after, limit=_PAGE)
            given = await store.vectors(page.entries)
            for entry, vector in zip(page.entries, given, strict=True):
                yield _line(entry, vector)
            entries += len(page.entries)
            after = page.next_key
            if after is None:
                break
    yield orjson.dumps({"end": True, "entries": entries}, option=orjson.OPT_APPEND_NEWLINE)


async def _namespaces(store: Store, wanted: Sequence[str] | None) -> AsyncIterator[str]:
    if wanted:
        for name in dict.fromkeys(wanted):
            yield name
        return
    after: str | None = None
    while True:
        page = await store.namespaces(after=after)
        for count in page.namespaces:
            if wanted is not None or count.namespace.startswith(_SWARM):
                yield count.namespace
        after = page.next_name
        if after is None:
            return


def _line(entry: Entry, vector: bytes | None) -> bytes:
    document: dict[str, Any] = {
        "namespace": entry.namespace,
        "key": entry.key,
        "value": orjson.Fragment(entry.value_json),
        "tags": orjson.Fragment(entry.tags_json),
        "metadata": orjson.Fragment(entry.metadata_json),
        "ttl": entry.ttl,
        "expiresAt": None if entry.expires_at is None else times.to_text(entry.expires_at),
        "createdAt": times.to_text(entry.created_at),
        "updatedAt": times.to_text(entry.updated_at),
        "updatedBy": entry.updated_by,
        "version": entry.version,
    }
    if vector is not None:
        document["vector"] = vectors.to_json(vector)
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
