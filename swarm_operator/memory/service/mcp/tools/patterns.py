"""Tools `pattern_store`, `pattern_use`, `pattern_best`, `pattern_get`, `pattern_list` and `pattern_delete`."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.service.json_schema import array, object_of
from swarm_operator.memory.service.mcp import schemas
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool
from swarm_operator.memory.service.mcp.tools import common
from swarm_operator.memory.swarm.patterns import PATTERN


async def _store(call: Call, arguments: Arguments) -> dict[str, Any]:
    document = common.document(arguments, "type", "confidence", "tags")
    return common.one(call, "pattern", PATTERN, await call.swarm.patterns.store(arguments["id"], document))


async def _use(call: Call, arguments: Arguments) -> dict[str, Any]:
    pattern = await call.swarm.patterns.record_use(arguments["id"], success=arguments["success"])
    return common.one(call, "pattern", PATTERN, pattern)


async def _best(call: Call, arguments: Arguments) -> dict[str, Any]:
    best = await call.swarm.patterns.best(tags=arguments.get("tags", []), limit=arguments.get("limit", 5))
    taken = call.budget.take(best.scored, lambda each: {**call.budget.brief(each[0]), "score": each[1]})
    return {
        "patterns": taken,
        "considered": best.considered,
        "partial": best.partial,
        "left_out": len(best.scored) - len(taken),
    }


async def _get(call: Call, arguments: Arguments) -> dict[str, Any]:
    return common.one(call, "pattern", PATTERN, await call.swarm.patterns.get(arguments["id"]))


async def _list(call: Call, arguments: Arguments) -> dict[str, Any]:
    page = await call.swarm.patterns.list(
        pattern_type=arguments.get("type"), **common.page_arguments(call, PATTERN, arguments)
    )
    return common.page(call, "patterns", PATTERN, arguments, page)


async def _delete(call: Call, arguments: Arguments) -> dict[str, Any]:
    return {"deleted": await call.swarm.patterns.delete(arguments["id"]), "id": arguments["id"]}


TOOLS: Final = (
    Tool(
        "pattern_store",
        "Store a pattern that has proved useful, for later tasks of the same kind, or change a pattern: given members "
        "replace the stored ones.",
        "pattern-store",
        object_of(
            {
                "id": schemas.ID,
                "type": common.WORD,
                "confidence": {"type": "number", "minimum": 0, "maximum": 1},
                "tags": array(common.WORD, "Contexts in which the pattern helps.", most=32),
                "details": schemas.DETAILS,
            },
            ("id",),
        ),
        _store,
        namespace=PATTERN.namespace,
        destructive=True,
        idempotent=True,
    ),
    Tool(
        "pattern_use",
        "Record that a pattern was used and whether it helped; updates its success rate.",
        "pattern-use",
        object_of(
            {"id": schemas.ID, "success": {"type": "boolean", "description": "Whether the pattern helped."}},
            ("id", "success"),
        ),
        _use,
        namespace=PATTERN.namespace,
    ),
    Tool(
        "pattern_best",
        "Get the patterns with the highest scores for a context. Use this before a task; use pattern_list to see all.",
        "pattern-best",
        object_of(
            {
                "tags": array(common.WORD, "Context: patterns with one of these tags, or of this type.", most=16),
                "limit": schemas.limit(5, 100),
            }
        ),
        _best,
        namespace=PATTERN.namespace,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "pattern_get",
        "Get one pattern by its ID.",
        "pattern-get",
        object_of({"id": schemas.ID}, ("id",)),
        _get,
        namespace=PATTERN.namespace,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "pattern_list",
        "List all patterns, or those of a type, in the order of their IDs.",
        "pattern-list",
        object_of({"type": common.WORD, "limit": schemas.limit(50), "cursor": schemas.CURSOR}),
        _list,
        namespace=PATTERN.namespace,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "pattern_delete",
        "Delete a pattern. deleted is false if there was none.",
        "pattern-delete",
        object_of({"id": schemas.ID}, ("id",)),
        _delete,
        namespace=PATTERN.namespace,
        destructive=True,
        idempotent=True,
    ),
)
