"""JSON documents of entries and statistics. Values are sent as stored, without being parsed again."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import orjson

import swarm_operator
from swarm_operator.memory.core import Entry, Query
from swarm_operator.memory.core.duplicates import CheckedWrite, Twin
from swarm_operator.memory.core.pages import Hit, NamespaceCount, SearchPage
from swarm_operator.memory.core.stats import GcRun, StoreStats
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.pieces import in_pieces
from swarm_operator.shared.log_level import log_level
from swarm_operator.shared.service_accounts import FEATURE

SETTINGS: Final = {
    "cache_size": "cache_size",
    "cache_memory_mb": "cache_memory_mb",
    "enable_wal": "enable_wal",
    "compression_threshold": "compression_threshold",
    "gc_interval_seconds": "gc_interval",
    "enable_vacuum": "enable_vacuum",
    "full_text": "full_text",
    "search_language": "search_language",
    "max_value_bytes": "max_value_bytes",
    "checkpoint_bytes": "checkpoint_bytes",
    "wal_limit_bytes": "wal_limit_bytes",
}
"""Names of the settings in documents, and their names in the store."""

_FEATURES: Final = (FEATURE,)
"""Features of this release that earlier releases lack, for clients that must detect them."""


@functools.lru_cache(maxsize=256)  # a batch has one time, and a new entry has two equal times
def timestamp(milliseconds: int) -> str:
    """Return an RFC 3339 time in UTC with milliseconds: 2026-01-31T12:00:00.250Z."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def entry_head(entry: Entry) -> bytes:
    """Return an entry without its value: the response to a write."""
    return orjson.dumps(_head(entry))


def written(done: CheckedWrite) -> bytes:
    """Return an entry without its value, with its near-duplicate if it has one: the response to a checked write."""
    return orjson.dumps({**_head(done.entry), **duplicate(done.twin)})


def duplicate(twin: Twin | None) -> dict[str, Any]:
    """Return the near-duplicate of a written entry; {} if it has none."""
    return {} if twin is None else {"duplicate": {"key": twin.key, "cosine": twin.cosine}}


def entry_whole(entry: Entry) -> bytes:
    """Return an entry with its value: the response to a read."""
    return orjson.dumps(_whole(entry))


async def entries_page(entries: Sequence[Entry], cursor: str | None) -> bytes:
    """Return a page of a list; `next_cursor` is null on the last page."""
    return orjson.dumps({"entries": await in_pieces(_listed, entries), "next_cursor": cursor})


async def hits_page(
    found: SearchPage,
    query: Query,
    cursor: str | None,
    *,
    values: bool,
    before: int,
    steps: list[dict[str, Any]] | None,
) -> bytes:
    """Return a page of a search and its scope.

    Args:
        found: the page.
        query: the query.
        cursor: cursor of the next page.
        values: False: without the entries' values and metadata.
        before: number of hits on the pages before.
        steps: steps of the search; None if the caller did not request them.
    """
    hits = await in_pieces(functools.partial(_hit, values=values), found.hits, itertools.count(before + 1))
    return orjson.dumps(
        {
            "entries": hits,
            "next_cursor": cursor,
            "searched": {
                "namespace": query.namespace,
                **searched(found, query),
                "order": query.order.value if found.ranked else "newest",
                "partial": found.partial,
                "candidates": found.candidates,
                **({} if steps is None else {"steps": steps}),
            },
        }
    )


def searched(found: SearchPage, query: Query) -> dict[str, Any]:
    """Return the scope of a search; `within` has the namespaces of a limited token.

    `mode` is absent if neither a text nor a vector was searched. `words` is absent if all words of the text were
    searched. `fresh` is false if the search was answered before the index had every earlier write; it is absent
    otherwise.
    """
    scope: dict[str, Any] = {} if found.fresh else {"fresh": False}
    if found.mode is not None:
        scope["mode"] = found.mode.value
    if (used := query.words_used) is not None:
        scope["words"] = used
    if query.namespace is not None:
        return {"namespaces": "subtree" if query.subtree else "one", **scope}
    if found.within is None:
        return {"namespaces": "all", **scope}
    return {"namespaces": "permitted", "within": found.within, **scope}


def namespaces_page(counts: Sequence[NamespaceCount], cursor: str | None) -> bytes:
    """Return a page of namespaces."""
    namespaces = [{"namespace": count.namespace, "entries": count.entries, "bytes": count.bytes} for count in counts]
    return orjson.dumps({"namespaces": namespaces, "next_cursor": cursor})


def statistics(store: Store, stats: StoreStats) -> bytes:
    """Return counts, sizes, cache statistics, and the settings of this process."""
    settings = stats.settings
    return orjson.dumps(
        {
            "swarm_id": store.swarm_id,
            "version": swarm_operator.__version__,
            "features": _FEATURES,
            "sqlite_version": stats.library_version,
            "entries": stats.entries,
            "agents": stats.agents,
            "tasks": stats.tasks,
            "patterns": stats.patterns,
            "value_bytes": stats.value_bytes,
            "database_size_bytes": stats.database_size_bytes,
            "free_bytes": stats.free_bytes,
            "wal_size_bytes": stats.wal_size_bytes,
            "volume_size_bytes": stats.volume.size_bytes,
            "volume_free_bytes": stats.volume.free_bytes,
            "fault": None if store.fault is None else store.fault.code,
            "cache": {
                "hits": stats.cache_hits,
                "misses": stats.cache_misses,
                "hit_rate": stats.cache_hit_rate,
                "evictions": stats.cache_evictions,
                "entries": stats.cache_entries,
                "bytes": stats.cache_bytes,
                "max_entries": settings["cache_size"],
                "max_bytes": settings["cache_memory_mb"] * 1024 * 1024,
            },
            "compression": {
                "entries": stats.compressed_entries,
                "raw_bytes": stats.compressed_raw_bytes,
                "stored_bytes": stats.compressed_stored_bytes,
                "ratio": stats.compression_ratio,
            },
            "gc": {
                "runs": stats.gc.runs,
                "failures": stats.gc.failures,
                "collected": stats.gc.entries,
                "given_back_bytes": stats.gc.given_back_bytes,
                "auto_vacuum": stats.gc.auto_vacuum,
                "last_run": None if stats.gc.last is None else _collection(stats.gc.last),
                "last_error": stats.gc.last_error,
            },
            "index": {"lag": stats.index.lag, "rebuilding": stats.index.rebuilding},
            "vectors": {
                "entries": stats.vectors.entries,
                "model": stats.vectors.model,
                "width": stats.vectors.width,
                "lag": stats.vectors.lag,
                "rebuilding": stats.vectors.rebuilding,
                "last_error": stats.vectors.last_error,
            },
            "settings": {
                **{name: settings[setting] for name, setting in SETTINGS.items()},
                "log_level": log_level(),
            },
        }
    )


def collection(done: GcRun) -> bytes:
    """Return the result of a garbage collection."""
    return orjson.dumps(_collection(done))


def _collection(done: GcRun) -> dict[str, Any]:
    return {
        "started_at": timestamp(done.started_at),
        "duration_seconds": round(done.seconds, 6),
        "collected": done.entries,
        "value_bytes": done.value_bytes,
        "given_back_bytes": done.given_back_bytes,
    }


def _head(entry: Entry) -> dict[str, Any]:
    return {
        "namespace": entry.namespace,
        "key": entry.key,
        "version": entry.version,
        "size": entry.size,
        "ttl": entry.ttl,
        "created_at": timestamp(entry.created_at),
        "updated_at": timestamp(entry.updated_at),
        "updated_by": entry.updated_by,
        "expires_at": None if entry.expires_at is None else timestamp(entry.expires_at),
    }


def ranking(hit: Hit, rank: int) -> dict[str, Any]:
    """Return the place of a hit and its components; {} if the hits are not ranked."""
    if hit.score is None:
        return {}
    place: dict[str, Any] = {"score": round(hit.score, 6), "rank": rank}
    if hit.words is not None:
        place["words"] = hit.words
    if hit.cosine is not None:
        place["cosine"] = round(hit.cosine, 6)
    return place


def _hit(hit: Hit, rank: int, *, values: bool) -> dict[str, Any]:
    entry = hit.entry
    document = _listed(entry) if values else {**_seen(entry), "tags": orjson.Fragment(entry.tags_json)}
    document.update(ranking(hit, rank))
    if hit.snippet is not None:
        document["snippet"] = hit.snippet
    if hit.matched:
        document["matched"] = hit.matched
    return document


def _whole(entry: Entry) -> dict[str, Any]:
    return {**_head(entry), **_contents(entry)}


def _listed(entry: Entry) -> dict[str, Any]:
    return {**_seen(entry), **_contents(entry)}


def _seen(entry: Entry) -> dict[str, Any]:
    return {**_head(entry), "accessed_at": None if entry.accessed_at is None else timestamp(entry.accessed_at)}


def _contents(entry: Entry) -> dict[str, Any]:
    return {
        "tags": orjson.Fragment(entry.tags_json),
        "metadata": orjson.Fragment(entry.metadata_json),
        "value": orjson.Fragment(entry.value_json),
    }
