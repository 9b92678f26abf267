"""`/v1/patterns`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swarm_operator.memory.engine.records.patterns import PATTERN
from swarm_operator.memory.service.asgi import parse_query_lists
from swarm_operator.memory.service.records.endpoint import (
    Call,
    Endpoint,
    deleted,
    found_reply,
    json_reply,
    page_reply,
    record_reply,
    whole,
)

if TYPE_CHECKING:
    from swarm_operator.memory.engine.records import Swarm
    from swarm_operator.memory.service.asgi import Reply

__all__ = ["ENDPOINTS"]


async def _list(swarm: Swarm, call: Call) -> Reply:
    query = call.query("type", "limit", "cursor")
    page = await swarm.patterns.list(pattern_type=query.get("type"), **call.page(query, PATTERN.prefix))
    return page_reply("patterns", page)


async def _best(swarm: Swarm, call: Call) -> Reply:
    query = parse_query_lists(call.query_string, ("tag", "limit"), repeated=frozenset({"tag"}))
    limit = whole({"limit": query["limit"][0]} if "limit" in query else {}, "limit", 5)
    best = await swarm.patterns.best(tags=query.get("tag", []), limit=limit)
    patterns = [{**pattern.document, "score": score} for pattern, score in best.scored]
    return json_reply({"patterns": patterns, "considered": best.considered, "partial": best.partial})


async def _store(swarm: Swarm, call: Call) -> Reply:
    return record_reply(await swarm.patterns.store(call.id, call.document()))


async def _get(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return found_reply(await swarm.patterns.get(call.id), call)


async def _delete(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return deleted(await swarm.patterns.delete(call.id), "pattern")


async def _use(swarm: Swarm, call: Call) -> Reply:
    members = call.members("success", required=("success",))
    return record_reply(await swarm.patterns.record_use(call.id, success=members["success"]))


ENDPOINTS: Final = (
    Endpoint("GET", "patterns", "pattern-list", _list),
    Endpoint("GET", "best-patterns", "pattern-best", _best),
    Endpoint("PUT", "patterns/{id}", "pattern-store", _store),
    Endpoint("GET", "patterns/{id}", "pattern-get", _get),
    Endpoint("DELETE", "patterns/{id}", "pattern-delete", _delete),
    Endpoint("POST", "patterns/{id}/uses", "pattern-use", _use),
)
