"""Tools for the swarm's task queue: `task_create` and others. Exactly one of several claiming agents gets a task."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.service.json_schema import array, object_of, one_of, text, whole
from swarm_operator.memory.service.mcp import schemas
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Tool
from swarm_operator.memory.service.mcp.tools import common
from swarm_operator.memory.swarm.tasks.queue import TASK
from swarm_operator.memory.swarm.tasks.rules import STATUSES

_MEMBERS: Final = ("id", "type", "description", "priority", "assignedAgents", "dependencies", "maxRetries")
_CHANGED: Final = _MEMBERS[1:]


async def _create(call: Call, arguments: Arguments) -> dict[str, Any]:
    return common.one(call, "task", TASK, await call.swarm.tasks.create(common.document(arguments, *_MEMBERS)))


async def _update(call: Call, arguments: Arguments) -> dict[str, Any]:
    document = common.document(arguments, *_CHANGED)
    return common.one(call, "task", TASK, await call.swarm.tasks.update(arguments["id"], document))


async def _get(call: Call, arguments: Arguments) -> dict[str, Any]:
    return common.one(call, "task", TASK, await call.swarm.tasks.get(arguments["id"]))


async def _list(call: Call, arguments: Arguments) -> dict[str, Any]:
    page = await call.swarm.tasks.list(
        status=arguments.get("status"),
        task_type=arguments.get("type"),
        agent=arguments.get("agent"),
        **common.page_arguments(arguments, TASK),
    )
    return common.page(call, "tasks", TASK, page)


async def _claim(call: Call, arguments: Arguments) -> dict[str, Any]:
    task = await call.swarm.tasks.claim(arguments["id"], arguments["agent"], lease=arguments.get("lease"))
    return common.one(call, "task", TASK, task)


async def _claim_next(call: Call, arguments: Arguments) -> dict[str, Any]:
    task = await call.swarm.tasks.claim_next(
        arguments["agent"], types=arguments.get("types"), lease=arguments.get("lease")
    )
    return {"task": None} if task is None else common.one(call, "task", TASK, task)


async def _renew(call: Call, arguments: Arguments) -> dict[str, Any]:
    task = await call.swarm.tasks.renew(arguments["id"], arguments["agent"], lease=arguments.get("lease"))
    return common.one(call, "task", TASK, task)


async def _release(call: Call, arguments: Arguments) -> dict[str, Any]:
    task = await call.swarm.tasks.release(arguments["id"], arguments["agent"], reason=arguments.get("reason"))
    return common.one(call, "task", TASK, task)


async def _assign(call: Call, arguments: Arguments) -> dict[str, Any]:
    return common.one(call, "task", TASK, await call.swarm.tasks.assign(arguments["id"], arguments["agents"]))


async def _set_status(call: Call, arguments: Arguments) -> dict[str, Any]:
    task = await call.swarm.tasks.set_status(
        arguments["id"],
        arguments["status"],
        agent=arguments.get("agent"),
        result=arguments.get("result"),
        error=arguments.get("error"),
    )
    return common.one(call, "task", TASK, task)


async def _delete(call: Call, arguments: Arguments) -> dict[str, Any]:
    return {"deleted": await call.swarm.tasks.delete(arguments["id"]), "id": arguments["id"]}


_LEASE: Final = {
    "type": "number",
    "minimum": 0,
    "description": "Seconds that the claim holds without being renewed; at most a week.",
    "default": 300,
}
_STATUS: Final = one_of("", *STATUSES)
_PROPERTIES: Final = {
    "type": common.WORD,
    "description": text("What is to be done.", most=65536, least=0),
    "priority": {
        "type": ["string", "integer"],
        "description": "low, medium, high, critical, or 0 to 10.",
        "default": "medium",
    },
    "assignedAgents": array(schemas.TEXT, "Who alone may claim it; at most 64.", most=64),
    "dependencies": array(schemas.TEXT, "Ids of tasks that must be completed first; at most 64.", most=64),
    "maxRetries": whole("How often it is tried again when it has failed.", most=100, default=0),
    "details": schemas.DETAILS,
}
_CLAIM: Final = {"id": schemas.ID, "agent": schemas.AGENT, "lease": _LEASE}

TOOLS: Final = (
    Tool(
        "task_create",
        "Add a task; it is pending until an agent claims it.",
        "task-create",
        object_of({"id": text("1 to 512 bytes; made up when not given.", most=512), **_PROPERTIES}),
        common.one_of("task"),
        _create,
    ),
    Tool(
        "task_claim_next",
        "Claim the most urgent task that this agent may have. No two agents get the same. task is null when there is "
        "nothing to do.",
        "task-claim-next",
        object_of(
            {
                "agent": schemas.AGENT,
                "types": array(common.WORD, "Only of these types.", least=1, most=16),
                "lease": _LEASE,
            },
            ("agent",),
        ),
        common.one_of("task", absent="there is nothing to claim"),
        _claim_next,
    ),
    Tool(
        "task_claim",
        "Claim a certain task. Who holds it already renews the lease.",
        "task-claim",
        object_of(_CLAIM, ("id", "agent")),
        common.one_of("task"),
        _claim,
        idempotent=True,
    ),
    Tool(
        "task_renew",
        "Keep a claimed task for longer.",
        "task-renew",
        object_of(_CLAIM, ("id", "agent")),
        common.one_of("task"),
        _renew,
        idempotent=True,
    ),
    Tool(
        "task_release",
        "Give a claimed task back; it is pending again.",
        "task-release",
        object_of({"id": schemas.ID, "agent": schemas.AGENT, "reason": text("Why.", most=512)}, ("id", "agent")),
        common.one_of("task"),
        _release,
    ),
    Tool(
        "task_set_status",
        "Change a task's status: completed with its result, failed with its error (it is tried again as long as "
        "maxRetries allows), cancelled.",
        "task-status",
        object_of(
            {
                "id": schemas.ID,
                "status": _STATUS,
                "agent": schemas.AGENT,
                "result": schemas.ANY,
                "error": schemas.ANY,
            },
            ("id", "status"),
        ),
        common.one_of("task"),
        _set_status,
    ),
    Tool(
        "task_update",
        "Change what is known about a task: members that are given replace those of before, null in details removes "
        "one. Claims and status have tools of their own.",
        "task-update",
        object_of({"id": schemas.ID, **_PROPERTIES}, ("id",)),
        common.one_of("task"),
        _update,
        destructive=True,
        idempotent=True,
    ),
    Tool(
        "task_assign",
        "Say who alone may claim a task; [] is everyone.",
        "task-assign",
        object_of({"id": schemas.ID, "agents": array(text(most=512), "Their ids.", most=64)}, ("id", "agents")),
        common.one_of("task"),
        _assign,
        idempotent=True,
    ),
    Tool(
        "task_get",
        "Get a task.",
        "task-get",
        object_of({"id": schemas.ID}, ("id",)),
        common.one_of("task"),
        _get,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "task_list",
        "List the tasks that are all of what is given.",
        "task-list",
        object_of(
            {
                "status": _STATUS,
                "type": common.WORD,
                "agent": text("Those that it has claimed, or that are assigned to it.", most=512),
                "limit": schemas.limit(50),
                "cursor": schemas.CURSOR,
            }
        ),
        common.list_of("tasks"),
        _list,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "task_delete",
        "Delete a task.",
        "task-delete",
        object_of({"id": schemas.ID}, ("id",)),
        common.DELETED,
        _delete,
        destructive=True,
        idempotent=True,
    ),
)
