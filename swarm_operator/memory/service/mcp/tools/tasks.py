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
        **common.page_arguments(call, TASK, arguments),
    )
    return common.page(call, "tasks", TASK, arguments, page)


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
    "description": "Seconds until the claim ends unless it is renewed; at most a week.",
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
    "assignedAgents": array(schemas.TEXT, "IDs of the agents that may claim the task; default: all.", most=64),
    "dependencies": array(schemas.TEXT, "IDs of tasks that must be completed first.", most=64),
    "maxRetries": whole("Number of further attempts after a failure.", most=100, default=0),
    "details": schemas.DETAILS,
}
_CLAIM: Final = {"id": schemas.ID, "agent": schemas.AGENT, "lease": _LEASE}

TOOLS: Final = (
    Tool(
        "task_create",
        "Add a task to the swarm's queue for any agent to do. It is pending until an agent claims it.",
        "task-create",
        object_of({"id": schemas.NEW_ID, **_PROPERTIES}),
        _create,
        namespace=TASK.namespace,
    ),
    Tool(
        "task_claim_next",
        "Get work: claim the most urgent task that this agent may do. No two agents get the same task. task is null if "
        "there is none. When done, report with task_set_status.",
        "task-claim-next",
        object_of(
            {
                "agent": schemas.AGENT,
                "types": array(common.WORD, "Only tasks of these types.", least=1, most=16),
                "lease": _LEASE,
            },
            ("agent",),
        ),
        _claim_next,
        namespace=TASK.namespace,
    ),
    Tool(
        "task_claim",
        "Claim a certain task. For any task, use task_claim_next. The agent that holds the task renews its claim.",
        "task-claim",
        object_of(_CLAIM, ("id", "agent")),
        _claim,
        namespace=TASK.namespace,
        idempotent=True,
    ),
    Tool(
        "task_renew",
        "Extend the claim of a task before its lease ends, so that no other agent gets the task.",
        "task-renew",
        object_of(_CLAIM, ("id", "agent")),
        _renew,
        namespace=TASK.namespace,
        idempotent=True,
    ),
    Tool(
        "task_release",
        "Give up a claimed task without finishing it; the task is pending again.",
        "task-release",
        object_of(
            {"id": schemas.ID, "agent": schemas.AGENT, "reason": text("Reason for giving up.", most=512)},
            ("id", "agent"),
        ),
        _release,
        namespace=TASK.namespace,
    ),
    Tool(
        "task_set_status",
        "Report the outcome of a task: completed with a result, failed with an error (retried as often as maxRetries "
        "allows), or cancelled.",
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
        _set_status,
        namespace=TASK.namespace,
    ),
    Tool(
        "task_update",
        "Change a task's description: given members replace the stored ones; null in details removes a member. For "
        "claims and status, use the other task tools.",
        "task-update",
        object_of({"id": schemas.ID, **_PROPERTIES}, ("id",)),
        _update,
        namespace=TASK.namespace,
        destructive=True,
        idempotent=True,
    ),
    Tool(
        "task_assign",
        "Set which agents may claim a task; [] means all.",
        "task-assign",
        object_of({"id": schemas.ID, "agents": array(text(most=512), "IDs of the agents.", most=64)}, ("id", "agents")),
        _assign,
        namespace=TASK.namespace,
        idempotent=True,
    ),
    Tool(
        "task_get",
        "Get one task by its ID, with its status and result.",
        "task-get",
        object_of({"id": schemas.ID}, ("id",)),
        _get,
        namespace=TASK.namespace,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "task_list",
        "List tasks without claiming any; tasks match all given conditions.",
        "task-list",
        object_of(
            {
                "status": _STATUS,
                "type": common.WORD,
                "agent": text("Tasks that are claimed by or assigned to this agent.", most=512),
                "limit": schemas.limit(50),
                "cursor": schemas.CURSOR,
            }
        ),
        _list,
        namespace=TASK.namespace,
        read_only=True,
        idempotent=True,
    ),
    Tool(
        "task_delete",
        "Delete a task. deleted is false if there was none.",
        "task-delete",
        object_of({"id": schemas.ID}, ("id",)),
        _delete,
        namespace=TASK.namespace,
        destructive=True,
        idempotent=True,
    ),
)
