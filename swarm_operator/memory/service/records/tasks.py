"""`/v1/tasks`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from swarm_operator.memory.engine.records.tasks import TASK
from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.records.endpoint import (
    Call,
    Endpoint,
    deleted,
    found_reply,
    page_reply,
    record_reply,
)

if TYPE_CHECKING:
    from swarm_operator.memory.engine.records import Swarm

__all__ = ["ENDPOINTS"]


async def _list(swarm: Swarm, call: Call) -> Reply:
    query = call.query("status", "type", "agent", "limit", "cursor")
    page = await swarm.tasks.list(
        status=query.get("status"),
        task_type=query.get("type"),
        agent=query.get("agent"),
        **call.page(query, TASK.prefix),
    )
    return page_reply("tasks", page)


async def _create(swarm: Swarm, call: Call) -> Reply:
    return record_reply(await swarm.tasks.create(call.document()))


async def _claim_next(swarm: Swarm, call: Call) -> Reply:
    members = call.members("agent", "types", "lease", required=("agent",))
    task = await swarm.tasks.claim_next(members["agent"], types=members.get("types"), lease=members.get("lease"))
    return Reply(204) if task is None else record_reply(task)


async def _get(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return found_reply(await swarm.tasks.get(call.id), call)


async def _update(swarm: Swarm, call: Call) -> Reply:
    return record_reply(await swarm.tasks.update(call.id, call.document()))


async def _delete(swarm: Swarm, call: Call) -> Reply:
    call.query()
    return deleted(await swarm.tasks.delete(call.id), "task")


async def _claim(swarm: Swarm, call: Call) -> Reply:
    members = call.members("agent", "lease", required=("agent",))
    return record_reply(await swarm.tasks.claim(call.id, members["agent"], lease=members.get("lease")))


async def _renew(swarm: Swarm, call: Call) -> Reply:
    members = call.members("agent", "lease", required=("agent",))
    return record_reply(await swarm.tasks.renew(call.id, members["agent"], lease=members.get("lease")))


async def _release(swarm: Swarm, call: Call) -> Reply:
    members = call.members("agent", "reason", required=("agent",))
    return record_reply(await swarm.tasks.release(call.id, members["agent"], reason=members.get("reason")))


async def _assign(swarm: Swarm, call: Call) -> Reply:
    members = call.members("agents", required=("agents",))
    return record_reply(await swarm.tasks.assign(call.id, members["agents"]))


async def _set_status(swarm: Swarm, call: Call) -> Reply:
    members = call.members("status", "agent", "result", "error", required=("status",))
    task = await swarm.tasks.set_status(
        call.id,
        members["status"],
        agent=members.get("agent"),
        result=members.get("result"),
        error=members.get("error"),
    )
    return record_reply(task)


ENDPOINTS: Final = (
    Endpoint("GET", "tasks", "task-list", _list),
    Endpoint("POST", "tasks", "task-create", _create),
    Endpoint("POST", "tasks/claim", "task-claim-next", _claim_next),
    Endpoint("GET", "tasks/{id}", "task-get", _get),
    Endpoint("PATCH", "tasks/{id}", "task-update", _update),
    Endpoint("DELETE", "tasks/{id}", "task-delete", _delete),
    Endpoint("POST", "tasks/{id}/claim", "task-claim", _claim),
    Endpoint("POST", "tasks/{id}/renew", "task-renew", _renew),
    Endpoint("POST", "tasks/{id}/release", "task-release", _release),
    Endpoint("POST", "tasks/{id}/assign", "task-assign", _assign),
    Endpoint("POST", "tasks/{id}/status", "task-status", _set_status),
)
