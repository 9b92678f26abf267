"""Tools `memory_store`, `memory_retrieve`, `memory_list`, `memory_search`, `memory_delete` and `memory_stats`.

`memory_search` also accepts claude-flow's arguments: pattern, namespace and limit.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from swarm_operator.memory.core import Query
from swarm_operator.memory.core.duplicates import DuplicateRule, OnDuplicate
from swarm_operator.memory.core.entry import MAX_AUTHOR_BYTES, MAX_KEY_BYTES, Draft
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.expressions import MAX_TEXT_BYTES
from swarm_operator.memory.core.pages import Hit
from swarm_operator.memory.core.query import Mode
from swarm_operator.memory.service import cursors, documents, searches
from swarm_operator.memory.service.json_schema import array, object_of, one_of, text, whole
from swarm_operator.memory.service.mcp import schemas, uris
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool, naming
from swarm_operator.memory.service.records.schemas import page_size
from swarm_operator.memory.service.vectors import NUMBERS, THRESHOLD

DEFAULT_NAMESPACE: Final = "default"


async def _store(call: Call, arguments: Arguments) -> dict[str, Any]:
    draft = Draft.create(
        arguments.get("namespace", DEFAULT_NAMESPACE),
        arguments["key"],
        arguments["value"],
        tags=arguments.get("tags"),
        metadata=arguments.get("metadata"),
        ttl=arguments.get("ttl"),
        vector=arguments.get("vector"),
    )
    create_only = arguments.get("create_only", False)
    if create_only and "if_version" in arguments:
        raise InvalidInputError("if_version", "not together with create_only")
    conditions = {"create_only": create_only, "if_version": arguments.get("if_version")}
    rule = DuplicateRule.create(arguments.get("on_duplicate"), arguments.get("threshold"))
    twin = None
    if rule is None:
        entry, created = await call.store.write(draft, **conditions)
    else:
        entry, created, twin = await call.store.write_checked(draft, rule, **conditions)
    uri = uris.render(entry.namespace, entry.key)
    return {**call.budget.entry(entry), "created": created, "uri": uri, **documents.duplicate(twin)}


async def _retrieve(call: Call, arguments: Arguments) -> dict[str, Any]:
    namespace = arguments.get("namespace", DEFAULT_NAMESPACE)
    entry = await call.store.get(namespace, arguments["key"])
    if entry is None:
        return {"found": False, "namespace": namespace, "key": arguments["key"]}
    return {"found": True, **call.budget.value(entry, arguments.get("offset", 0))}


async def _list(call: Call, arguments: Arguments) -> dict[str, Any]:
    if "namespace" not in arguments:
        if "prefix" in arguments:
            raise InvalidInputError("prefix", "only together with a namespace")
        return await names(call, arguments.get("cursor"), arguments.get("limit", 50))
    return await keys(
        call,
        arguments["namespace"],
        prefix=arguments.get("prefix", ""),
        cursor=arguments.get("cursor"),
        limit=arguments.get("limit", 50),
    )


async def names(call: Call, cursor: str | None, limit: int) -> dict[str, Any]:
    """Return a page of the namespaces."""
    own = cursors.of_namespaces(call.credential)
    page = await call.store.namespaces(after=own.decode(cursor), limit=limit)
    taken = call.budget.take(
        page.namespaces,
        lambda count: {"namespace": count.namespace, "entries": count.entries, "bytes": count.bytes},
    )
    next_name = page.next_name if len(taken) == len(page.namespaces) else taken[-1]["namespace"]
    return {"namespaces": taken, "next_cursor": own.encode(next_name)}


async def keys(call: Call, namespace: str, *, prefix: str, cursor: str | None, limit: int) -> dict[str, Any]:
    """Return a page of a namespace's entries, without their values."""
    own = cursors.of_list(call.credential, namespace, prefix)
    page = await call.store.list(namespace, prefix=prefix, after=own.decode(cursor), limit=limit)
    taken = call.budget.take(page.entries, call.budget.listed)
    next_key = page.next_key if len(taken) == len(page.entries) else taken[-1]["key"]
    return {"entries": taken, "next_cursor": own.encode(next_key)}


async def _search(call: Call, arguments: Arguments) -> dict[str, Any]:
    pattern = arguments.get("pattern")
    with naming(glob="pattern", tag="tags", any_tag="any_tags"):
        query = searches.query_of(arguments, glob=None if pattern is None else key_glob(pattern))
    found, taken = await find(call, query, cursor=arguments.get("cursor"), limit=arguments.get("limit", 10))
    return {
        "entries": taken,
        "next_cursor": found.next_cursor,
        "searched": {
            **documents.searched(found.page, query),
            "partial": found.page.partial,
            "candidates": found.page.candidates,
        },
    }


async def find(
    call: Call, query: Query, *, limit: int, cursor: str | None = None
) -> tuple[searches.Found, list[dict[str, Any]]]:
    """Return a page of a search and its rendered hits, as many as fit in the budget."""
    while True:
        found = await searches.run(call.store, call.credential, query, cursor=cursor, limit=limit, metrics=call.metrics)
        ranked = list(enumerate(found.page.hits, start=found.before + 1))
        taken = call.budget.take(ranked, lambda each: _hit(call, *each))
        if len(taken) == len(ranked):
            return found, taken
        # The resume position is known only for the end of a page: repeat the search with a smaller page.
        limit = len(taken)


def _hit(call: Call, rank: int, hit: Hit) -> dict[str, Any]:
    document = call.budget.listed(hit.entry, hit.snippet)
    matched = {"matched": list(hit.matched)} if hit.matched else {}
    return {**document, **documents.ranking(hit, rank), **matched}


def key_glob(pattern: str) -> str:
    """Return a glob for whole keys; a pattern without a wildcard matches anywhere in a key."""
    if any(char in pattern for char in "*?["):
        return pattern
    return f"*{pattern}*"


async def _delete(call: Call, arguments: Arguments) -> dict[str, Any]:
    namespace = arguments.get("namespace", DEFAULT_NAMESPACE)
    deleted = await call.store.delete(namespace, arguments["key"], if_version=arguments.get("if_version"))
    return {"deleted": deleted, "namespace": namespace, "key": arguments["key"]}


async def _stats(call: Call, _: Arguments) -> dict[str, Any]:
    stats: dict[str, Any] = orjson.loads(documents.statistics(call.store, await call.store.stats()))
    return stats


TOOLS: Final = (
    Tool(
        "memory_store",
        "Store a JSON value under a key, so that it can be found later and by other agents. The value is on disk when "
        "the call returns. Overwrites an existing entry, unless create_only or if_version is given.",
        "put",
        object_of(
            {
                "key": schemas.KEY,
                "value": schemas.ANY,
                "namespace": schemas.NAMESPACE,
                "ttl": schemas.TTL,
                "tags": schemas.TAGS,
                "metadata": {"type": "object", "description": "Fields to search by, at most 64 KiB of JSON."},
                "vector": {**NUMBERS, "description": "Embedding of the value, if you have one."},
                "create_only": {
                    "type": "boolean",
                    "default": False,
                    "description": "Fail with version-conflict if the entry exists.",
                },
                "if_version": schemas.VERSION,
                "on_duplicate": one_of(
                    "If the namespace has an entry of almost the same meaning under another key. refuse: fail with "
                    "duplicate and its key; link: store, with its key in metadata.duplicate_of.",
                    *OnDuplicate,
                    default=OnDuplicate.KEEP,
                ),
                "threshold": THRESHOLD,
            },
            ("key", "value"),
        ),
        _store,
        destructive=True,
    ),
    Tool(
        "memory_retrieve",
        "Get an entry's value when you know its key; found is false if there is no entry. To find keys, use "
        "memory_search or memory_list. A long value is returned in parts.",
        "get",
        object_of(
            {
                "key": schemas.KEY,
                "namespace": schemas.NAMESPACE,
                "offset": whole("next_offset of the previous part.", most=2**31, default=0),
            },
            ("key",),
        ),
        _retrieve,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "memory_list",
        "List the namespaces, or all keys of one namespace with the beginning of each value. To find entries by what "
        "they contain, use memory_search.",
        lambda arguments: "list" if "namespace" in arguments else "namespaces",
        object_of(
            {
                "namespace": text("List the keys of this namespace; if omitted, list the namespaces.", most=255),
                "prefix": schemas.PREFIX,
                "limit": page_size(50),
                "cursor": schemas.CURSOR,
            }
        ),
        _list,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "memory_search",
        "Find entries by words, key, tags, metadata, time or author when you do not know the key; entries match all of "
        "the given conditions. Returns keys and snippets; get values with memory_retrieve.",
        "search",
        object_of(
            {
                "text": text(
                    "Words that all occur in the key or the value; `wor*` matches a beginning. With mode meaning or "
                    "hybrid, also a question.",
                    most=MAX_TEXT_BYTES,
                ),
                "mode": one_of(
                    "words: all words occur; meaning: similar in meaning; hybrid: both. Default: hybrid if the memory "
                    "has an embedder, else words.",
                    *Mode,
                ),
                "vector": {**NUMBERS, "description": "Embedding to find similar entries, with or without a text."},
                "pattern": text(
                    "Matched against keys only, with case: `auth` matches anywhere in a key; `user:*` with *, ? or "
                    "[abc] matches a whole key.",
                    most=MAX_KEY_BYTES,
                ),
                "tags": array(schemas.TEXT, "Entries with all of these tags.", most=16),
                "any_tags": array(schemas.TEXT, "Entries with at least one of these tags.", most=16),
                "metadata": {"type": "object", "description": "Entries whose metadata has these fields and values."},
                "updated_since": text("RFC 3339 time with zone: 2026-01-31T12:00:00Z; newest first.", most=64),
                "updated_by": text("Only what this token or pod wrote last.", most=MAX_AUTHOR_BYTES),
                "namespace": text("Only this namespace; if omitted, all.", most=255),
                "subtree": {
                    "type": "boolean",
                    "default": False,
                    "description": "Also the namespaces below: a/b is below a.",
                },
                "prefix": schemas.PREFIX,
                "limit": page_size(10),
                "cursor": schemas.CURSOR,
            }
        ),
        _search,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "memory_delete",
        "Delete one entry. deleted is false if there was none.",
        "delete",
        object_of(
            {"key": schemas.KEY, "namespace": schemas.NAMESPACE, "if_version": schemas.VERSION},
            ("key",),
        ),
        _delete,
        destructive=True,
        idempotent=True,
    ),
    Tool(
        "memory_stats",
        "Get counts, sizes and settings of the whole memory: how much is stored, not what. To see what is stored, use "
        "memory_list.",
        "stats",
        object_of({}),
        _stats,
        namespace=None,
        read_only=True,
        idempotent=True,
    ),
)
