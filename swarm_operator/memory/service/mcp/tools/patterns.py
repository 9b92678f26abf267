"""Tools `pattern_store`, `pattern_use`, `pattern_best`, `pattern_get`, `pattern_list` and `pattern_delete`."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.service.json_schema import array, object_of, whole
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
        pattern_type=arguments.get("type"), **common.page_arguments(arguments, PATTERN)
    )
    return common.page(call, "patterns", PATTERN, page)


async def _delete(call: Call, arguments: Arguments) -> dict[str, Any]:
    return {"deleted": await call.swarm.patterns.delete(arguments["id"]), "id": arguments["id"]}


TOOLS: Final = (
    Tool(
        "pattern_store",
        "Store a pattern that has proved useful, or change one: members that are given replace those of before.",
        "pattern-store",
        object_of(
            {
                "id": schemas.ID,
                "type": common.WORD,
                "confidence": {"type": "number", "minimum": 0, "maximum": 1},
                "tags": array(common.WORD, "In which contexts it helps.", most=32),
                "details": schemas.DETAILS,
            },
            ("id",),
        ),
        common.one_of("pattern"),
        _store,
        destructive=True,
        idempotent=True,
    ),
    Tool(
        "pattern_use",
        "Say that a pattern was used and whether it helped; its success rate follows.",
        "pattern-use",
        object_of({"id": schemas.ID, "success": {"type": "boolean", "description": "It helped."}}, ("id", "success")),
        common.one_of("pattern"),
        _use,
    ),
    Tool(
        "pattern_best",
        "The patterns with the highest score for a context.",
        "pattern-best",
        object_of(
            {
                "tags": array(common.WORD, "The context: patterns with one of these tags, or this type.", most=16),
                "limit": schemas.limit(5, 100),
            }
        ),
        object_of(
            {
                "patterns": array(schemas.OBJECT),
                "considered": schemas.COUNT,
                "partial": schemas.BOOL,
                "left_out": whole("Further ones that did not fit; ask for fewer, or by tags."),
            },
            ("patterns", "considered", "partial", "left_out"),
        ),
        _best,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "pattern_get",
        "Get a pattern.",
        "pattern-get",
        object_of({"id": schemas.ID}, ("id",)),
        common.one_of("pattern"),
        _get,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "pattern_list",
        "List the patterns, all or of a type.",
        "pattern-list",
        object_of({"type": common.WORD, "limit": schemas.limit(50), "cursor": schemas.CURSOR}),
        common.list_of("patterns"),
        _list,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "pattern_delete",
        "Delete a pattern.",
        "pattern-delete",
        object_of({"id": schemas.ID}, ("id",)),
        common.DELETED,
        _delete,
        destructive=True,
        idempotent=True,
    ),
)
