"""Operations on tasks: `/v1/tasks`."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, deleted, found_reply, record_reply
from swarm_operator.memory.service.http.operation import Answer, Operation, reference
from swarm_operator.memory.service.http.record_schemas import (
    FILTER,
    IDENTIFIER,
    WORD,
    deletion,
    listing,
    reading,
    record,
    words,
    writing,
)
from swarm_operator.memory.service.json_schema import Schema, array, nullable, number, object_of, one_of, text, whole
from swarm_operator.memory.swarm.tasks.rules import DEFAULT_LEASE, MAX_LEASE, MAX_RETRIES, STATUSES


async def _list(call: Call) -> Reply:
    query = call.query()
    page = await call.swarm.tasks.list(
        status=query.get("status"),
        task_type=query.get("type"),
        agent=query.get("agent"),
        **call.page(query),
    )
    return call.page_reply("tasks", page, query)


async def _create(call: Call) -> Reply:
    return record_reply(await call.swarm.tasks.create(call.document()))


async def _claim_next(call: Call) -> Reply:
    members = call.members()
    task = await call.swarm.tasks.claim_next(members["agent"], types=members.get("types"), lease=members.get("lease"))
    return Reply(204) if task is None else record_reply(task)


async def _get(call: Call) -> Reply:
    call.query()
    return found_reply(await call.swarm.tasks.get(call.id), call)


async def _update(call: Call) -> Reply:
    return record_reply(await call.swarm.tasks.update(call.id, call.document()))


async def _delete(call: Call) -> Reply:
    call.query()
    return deleted(await call.swarm.tasks.delete(call.id), "task")


async def _claim(call: Call) -> Reply:
    members = call.members()
    return record_reply(await call.swarm.tasks.claim(call.id, members["agent"], lease=members.get("lease")))


async def _renew(call: Call) -> Reply:
    members = call.members()
    return record_reply(await call.swarm.tasks.renew(call.id, members["agent"], lease=members.get("lease")))


async def _release(call: Call) -> Reply:
    members = call.members()
    return record_reply(await call.swarm.tasks.release(call.id, members["agent"], reason=members.get("reason")))


async def _assign(call: Call) -> Reply:
    members = call.members()
    return record_reply(await call.swarm.tasks.assign(call.id, members["agents"]))


async def _set_status(call: Call) -> Reply:
    members = call.members()
    task = await call.swarm.tasks.set_status(
        call.id,
        members["status"],
        agent=members.get("agent"),
        result=members.get("result"),
        error=members.get("error"),
    )
    return record_reply(task)


_LEASE: Final = nullable(
    number("Seconds that the claim holds.", exclusiveMinimum=0, most=MAX_LEASE, default=DEFAULT_LEASE)
)
_IDENTIFIERS: Final = array(IDENTIFIER, most=64)
_MEMBERS: Final = {
    "type": nullable(WORD),
    "description": nullable(text("What is to be done.")),
    "priority": {
        "anyOf": [
            one_of("", "low", "medium", "normal", "high", "critical"),
            whole(most=10),
            {"type": "null"},
        ]
    },
    "assignedAgents": nullable(_IDENTIFIERS),
    "dependencies": nullable(_IDENTIFIERS),
    "maxRetries": nullable(whole(most=MAX_RETRIES)),
}
SHAPE: Final = record("A task.", {})
_CLAIM: Final = object_of({"agent": IDENTIFIER, "lease": _LEASE}, ("agent",))
_NEXT: Final = object_of(
    {"agent": IDENTIFIER, "types": nullable(words("Only these types.", least=1)), "lease": _LEASE}, ("agent",)
)
_STATUS: Final = object_of(
    {
        "status": one_of("", *STATUSES),
        "agent": nullable(IDENTIFIER),
        "result": {"description": "Any JSON value."},
        "error": {"description": "Any JSON value."},
    },
    ("status",),
)


def _action(name: str, summary: str, body: Schema) -> Operation:
    return writing("POST", f"/v1/tasks/{{id}}/{name}", f"task-{name}", summary, "Task", body, conflicts=(404, 409))


ENDPOINTS: Final = (
    Endpoint(
        listing("/v1/tasks", "task-list", "tasks", "Task", {"status": WORD, "type": FILTER, "agent": FILTER}),
        _list,
    ),
    Endpoint(
        writing(
            "POST",
            "/v1/tasks",
            "task-create",
            "Add a task.",
            "Task",
            object_of({"id": nullable(IDENTIFIER), **_MEMBERS}, closed=False),
            answers=(201,),
            conflicts=(404, 409),
        ),
        _create,
    ),
    Endpoint(
        Operation(
            "POST",
            "/v1/tasks/claim",
            "task-claim-next",
            "Claim the most urgent task that this agent may claim.",
            {
                200: Answer("The task.", reference("Task"), versioned=True),
                204: Answer("There is none."),
            },
            body=_NEXT,
            writes=False,  # nothing is written if there is no task to claim
        ),
        _claim_next,
    ),
    Endpoint(reading("/v1/tasks/{id}", "task-get", "task", "Task"), _get),
    Endpoint(
        writing(
            "PATCH",
            "/v1/tasks/{id}",
            "task-update",
            "Change members that callers set; null removes one.",
            "Task",
            object_of(_MEMBERS, closed=False),
            conflicts=(404, 409),
        ),
        _update,
    ),
    Endpoint(deletion("/v1/tasks/{id}", "task-delete", "task"), _delete),
    Endpoint(_action("claim", "Claim this task.", _CLAIM), _claim),
    Endpoint(_action("renew", "Let the claim hold for `lease` seconds from now.", _CLAIM), _renew),
    Endpoint(
        _action(
            "release",
            "Give it back; it is pending again.",
            object_of({"agent": IDENTIFIER, "reason": nullable(IDENTIFIER)}, ("agent",)),
        ),
        _release,
    ),
    Endpoint(
        _action(
            "assign", "Only these agents may claim it; []: everyone.", object_of({"agents": _IDENTIFIERS}, ("agents",))
        ),
        _assign,
    ),
    Endpoint(_action("status", "Change the status.", _STATUS), _set_status),
)
