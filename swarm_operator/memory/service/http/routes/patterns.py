"""Operations on patterns: `/v1/patterns` and `/v1/best-patterns`."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.http.endpoint import (
    Call,
    Endpoint,
    deleted,
    found_reply,
    integer,
    json_reply,
    record_reply,
)
from swarm_operator.memory.service.http.operation import Answer, Operation, reference
from swarm_operator.memory.service.http.record_schemas import WORD, deletion, listing, reading, record, words, writing
from swarm_operator.memory.service.json_schema import array, nullable, number, object_of, whole


async def _list(call: Call) -> Reply:
    query = call.query()
    page = await call.swarm.patterns.list(pattern_type=query.get("type"), **call.page(query))
    return call.page_reply("patterns", page, query)


async def _best(call: Call) -> Reply:
    query = call.query_lists()
    limit = integer({"limit": query["limit"][0]} if "limit" in query else {}, "limit", 5)
    best = await call.swarm.patterns.best(tags=query.get("tag", []), limit=limit)
    patterns = [{**pattern.document, "score": score} for pattern, score in best.scored]
    return json_reply({"patterns": patterns, "considered": best.considered, "partial": best.partial})


async def _store(call: Call) -> Reply:
    return record_reply(await call.swarm.patterns.store(call.id, call.document()))


async def _get(call: Call) -> Reply:
    call.query()
    return found_reply(await call.swarm.patterns.get(call.id), call)


async def _delete(call: Call) -> Reply:
    call.query()
    return deleted(await call.swarm.patterns.delete(call.id), "pattern")


async def _use(call: Call) -> Reply:
    members = call.members()
    return record_reply(await call.swarm.patterns.record_use(call.id, success=members["success"]))


_MEMBERS: Final = {
    "type": nullable(WORD),
    "confidence": nullable(number("How good it is thought to be.", least=0, most=1)),
    "tags": nullable(words("What it is for.", most=32)),
}
SHAPE: Final = record("A pattern.", {})
_BEST: Final = object_of(
    {"patterns": array(reference("Pattern")), "considered": whole(), "partial": {"type": "boolean"}},
    ("patterns", "considered", "partial"),
)

ENDPOINTS: Final = (
    Endpoint(listing("/v1/patterns", "pattern-list", "patterns", "Pattern", {"type": WORD}), _list),
    Endpoint(
        Operation(
            "GET",
            "/v1/best-patterns",
            "pattern-best",
            "The patterns with the highest score that have one of these tags, or of all.",
            {200: Answer("Each with its score, the best first.", _BEST)},
            query={"tag": array(WORD, most=16), "limit": whole(least=1, most=100, default=5)},
        ),
        _best,
    ),
    Endpoint(
        writing(
            "PUT",
            "/v1/patterns/{id}",
            "pattern-store",
            "Add a pattern, or say more about one; null removes a member.",
            "Pattern",
            object_of(_MEMBERS, closed=False),
            answers=(200, 201),
        ),
        _store,
    ),
    Endpoint(reading("/v1/patterns/{id}", "pattern-get", "pattern", "Pattern"), _get),
    Endpoint(deletion("/v1/patterns/{id}", "pattern-delete", "pattern"), _delete),
    Endpoint(
        writing(
            "POST",
            "/v1/patterns/{id}/uses",
            "pattern-use",
            "Count a use: the success rate moves a tenth of the way to 1 or 0.",
            "Pattern",
            object_of({"success": {"type": "boolean"}}, ("success",)),
            conflicts=(404,),
        ),
        _use,
    ),
)
