"""Tools with claude-flow's names and arguments; its `memory_search` is implemented in `entries`.

In claude-flow most of these tools return "executed successfully" and do nothing. Here they are implemented, and
capabilities that this service lacks have no tool.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from swarm_operator.memory.core import Query
from swarm_operator.memory.core.entry import Draft
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service.documents import timestamp
from swarm_operator.memory.service.json_schema import object_of, one_of, text
from swarm_operator.memory.service.mcp import schemas
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool, naming
from swarm_operator.memory.service.mcp.tools import entries

_SESSIONS: Final = "sessions"
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_TIMEFRAME: Final = re.compile(r"([0-9]{1,6})([smhd])")
_MAX_COUNTED: Final = 1000
_DURATIONS: Final = "swarm_memory_operation_duration_seconds"


@dataclass(frozen=True, slots=True)
class _Alias:
    """Action of claude-flow that maps to one of our tools.

    Attributes:
        tool: name of our tool.
        arguments: names of our tool's arguments, and of claude-flow's arguments with their values.
        required: claude-flow's arguments that the action requires.
        fixed: values of further arguments.
        result: converts our tool's result and its arguments to claude-flow's result.
    """

    tool: str
    arguments: Mapping[str, str] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    fixed: Mapping[str, Any] = field(default_factory=dict)
    result: Callable[[dict[str, Any]], dict[str, Any]] = dict

    @property
    def operation(self) -> str:
        """Return the operation name in the duration metric, for a namespace."""
        name = _TOOLS[self.tool].operation
        return name if isinstance(name, str) else name({"namespace": ""})

    async def __call__(self, call: Call, namespace: str, arguments: Arguments) -> dict[str, Any]:
        """Call our tool and return claude-flow's result."""
        for name in self.required:
            if name not in arguments:
                raise InvalidInputError(name, f"required with action {arguments['action']}")
        given = {ours: arguments[theirs] for ours, theirs in self.arguments.items() if theirs in arguments}
        with naming(**self.arguments):
            answer = await _TOOLS[self.tool].handler(call, {"namespace": namespace, **self.fixed, **given})
        return self.result(answer)


def _stored(answer: dict[str, Any]) -> dict[str, Any]:
    return {"stored": True, **{name: value for name, value in answer.items() if name not in {"created", "uri"}}}


def _retrieved(answer: dict[str, Any]) -> dict[str, Any]:
    return answer if answer["found"] else {**answer, "value": None}


def _found(answer: dict[str, Any]) -> dict[str, Any]:
    return {"entries": answer["entries"], "more": answer["next_cursor"] is not None}


_TOOLS: Final = {tool.name: tool for tool in entries.TOOLS}
_ALIASES: Final = {
    "store": _Alias("memory_store", {"key": "key", "value": "value", "ttl": "ttl"}, ("key", "value"), result=_stored),
    "retrieve": _Alias("memory_retrieve", {"key": "key"}, ("key",), result=_retrieved),
    "list": _Alias("memory_list", fixed={"limit": 100}),
    "delete": _Alias("memory_delete", {"key": "key"}, ("key",)),
    "search": _Alias("memory_search", {"pattern": "value"}, ("value",), {"limit": 50}, _found),
}
"""Actions of `memory_usage`. The limits are claude-flow's."""


async def _usage(call: Call, arguments: Arguments) -> dict[str, Any]:
    action = arguments["action"]
    namespace = arguments.get("namespace", entries.DEFAULT_NAMESPACE)
    answer = await _ALIASES[action](call, namespace, arguments)
    return {"success": True, "action": action, "namespace": namespace, **answer}


async def _namespace(call: Call, arguments: Arguments) -> dict[str, Any]:
    namespace, action = arguments["namespace"], arguments["action"]
    if action == "list":
        return {"action": action, **await _ALIASES["list"](call, namespace, arguments)}
    if action == "info":
        counts = await call.store.counts([namespace])
        return {"action": action, "namespace": namespace, "count": counts[namespace]}
    return {"action": action, "namespace": namespace, "deleted": await call.store.delete_range(namespace)}


async def _persist(call: Call, arguments: Arguments) -> dict[str, Any]:
    stats = await call.store.stats()
    saved_at = timestamp(call.store.now())
    session = arguments.get("sessionId", "default")
    value = {"sessionId": session, "savedAt": saved_at, "entries": stats.entries, "valueBytes": stats.value_bytes}
    # The marker is committed after all acknowledged writes, so these writes are on disk too.
    with naming(key="sessionId"):
        draft = Draft.create(_SESSIONS, session, value)
    entry, _ = await call.store.write(draft)
    return {"persisted": True, **value, "namespace": entry.namespace, "key": entry.key, "version": entry.version}


async def _compress(call: Call, arguments: Arguments) -> dict[str, Any]:
    if "namespace" in arguments:
        raise InvalidInputError("namespace", "not allowed: free pages belong to the file, not to a namespace")
    before = await call.store.stats()
    done = await call.store.collect_garbage()
    after = await call.store.stats()
    return {
        "collected": done.entries,
        "given_back_bytes": done.given_back_bytes,
        "database_size_bytes_before": before.database_size_bytes,
        "database_size_bytes_after": after.database_size_bytes,
        "compressed_entries": after.compressed_entries,
        "compression_ratio": after.compression_ratio,
    }


async def _analytics(call: Call, arguments: Arguments) -> dict[str, Any]:
    timeframe = arguments.get("timeframe", "24h")
    match = _TIMEFRAME.fullmatch(timeframe)
    if match is None:
        raise InvalidInputError("timeframe", "a number and s, m, h or d: 30m, 24h, 7d")
    since = max(call.store.now() - int(match[1]) * _SECONDS[match[2]] * 1000, 0)
    stats = await call.store.stats()
    query = Query.create(updated_since=since)
    counted: dict[str, int] = {}
    position, seen = None, 0
    while seen < _MAX_COUNTED:
        found = await call.store.search(query, position=position, limit=_MAX_COUNTED - seen)
        for hit in found.hits:
            counted[hit.entry.namespace] = counted.get(hit.entry.namespace, 0) + 1
        seen += len(found.hits)
        position = found.position
        if position is None:
            break
    page = await call.store.namespaces(limit=1000)
    largest = sorted(page.namespaces, key=lambda each: each.bytes, reverse=True)
    busiest = sorted(counted.items(), key=lambda each: each[1], reverse=True)[:10]
    return {
        "timeframe": timeframe,
        "since": timestamp(since),
        "updated": {
            "entries": seen,
            "at_least": position is not None,
            "by_namespace": [{"namespace": name, "entries": count} for name, count in busiest],
        },
        "entries": stats.entries,
        "value_bytes": stats.value_bytes,
        "database_size_bytes": stats.database_size_bytes,
        "cache_hit_rate": stats.cache_hit_rate,
        "largest_namespaces": call.budget.take(
            largest[:10],
            lambda each: {"namespace": each.namespace, "entries": each.entries, "bytes": each.bytes},
        ),
        "operations_since_start": _operations(call),
    }


def _operations(call: Call) -> list[dict[str, Any]]:
    """Return the count and the mean duration of each operation since the start."""
    restricted = call.metrics.registry.restricted_registry([f"{_DURATIONS}_count", f"{_DURATIONS}_sum"])
    samples = [sample for metric in restricted.collect() for sample in metric.samples]
    sums = {each.labels["operation"]: each.value for each in samples if each.name.endswith("_sum")}
    counts = {each.labels["operation"]: each.value for each in samples if each.name.endswith("_count")}
    return [
        {"operation": name, "count": int(count), "mean_ms": round(1000 * sums[name] / count, 3)}
        for name, count in sorted(counts.items())
        if count
    ]


TOOLS: Final = (
    Tool(
        "memory_usage",
        "Store, retrieve, list, delete or search text, with claude-flow's arguments. Prefer memory_store, "
        "memory_retrieve, memory_list, memory_delete and memory_search, which also have JSON values, tags, versions "
        "and pages.",
        lambda arguments: _ALIASES[arguments["action"]].operation,
        object_of(
            {
                "action": one_of("What to do.", *_ALIASES),
                "key": text("For store, retrieve and delete.", most=1024),
                "value": {
                    "type": "string",
                    "description": "For store: the text. For search: part of a key, or a pattern with * and ?.",
                },
                "namespace": schemas.NAMESPACE,
                "ttl": schemas.TTL,
            },
            ("action",),
        ),
        _usage,
        destructive=True,
    ),
    Tool(
        "memory_namespace",
        "List the keys of a namespace, count its entries (info) or delete all its entries (clear). Namespaces need not "
        "be created.",
        lambda arguments: {"list": "list", "info": "stats", "clear": "delete-range"}[arguments["action"]],
        object_of(
            {
                "namespace": text("Name of the namespace.", most=255),
                "action": one_of("What to do.", "list", "info", "clear"),
            },
            ("namespace", "action"),
        ),
        _namespace,
        destructive=True,
        idempotent=True,
    ),
    Tool(
        "memory_persist",
        "Write a marker for the end of a session to the namespace sessions. When the call returns, the marker and all "
        "writes acknowledged before it are on disk; other writes need no call.",
        "put",
        object_of({"sessionId": text("ID of the session.", most=1024, default="default")}),
        _persist,
        namespace=None,
    ),
    Tool(
        "memory_compress",
        "Delete expired entries now and return free pages to the file system, which the service otherwise does by "
        "itself. Requires the admin token.",
        "gc",
        object_of({"namespace": text("Not supported: the whole memory is compressed.", most=255)}),
        _compress,
        admin=True,
        idempotent=True,
    ),
    Tool(
        "memory_analytics",
        "Get what was written within a time, the largest namespaces, the cache hit rate, and the number and duration "
        "of operations since the service started.",
        "stats",
        object_of({"timeframe": text("A number and s, m, h or d: 30m, 24h, 7d.", most=8, default="24h")}),
        _analytics,
        namespace=None,
        read_only=True,
    ),
)
