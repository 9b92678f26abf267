"""Operations on tasks: `/v1/tasks`, and `/v1/scale` for programs that scale pools of agents, such as KEDA."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.service.json_schema import Schema, array, nullable, number, object_of, one_of, text, whole
from swarm_operator.memory.service.records.operation import (
    Body,
    Field,
    RecordOperation,
    Resource,
    Result,
    ToolText,
    deletion,
    listing,
    reading,
)
from swarm_operator.memory.service.records.schemas import (
    AGENT,
    ANY,
    FILTER,
    IDENTIFIER,
    NEW_ID,
    TOOL_WORD,
    TYPE,
    WORD,
    identifier,
    record,
    tool_words,
    words,
)
from swarm_operator.memory.swarm.tasks.queue import TASK
from swarm_operator.memory.swarm.tasks.rules import DEFAULT_LEASE, MAX_LEASE, MAX_RETRIES, STATUSES
from swarm_operator.memory.swarm.tasks.tasks import Tasks


async def _workload(tasks: Tasks, pool: str) -> dict[str, Any]:
    workload = await tasks.workload(pool)
    return {
        "pool": workload.pool,
        "claimable": workload.claimable,
        "inFlight": workload.in_flight,
        "oldestSeconds": workload.oldest_seconds,
        "work": workload.work,
        "partial": workload.partial,
    }


_IDENTIFIERS: Final = array(IDENTIFIER, most=64)
_MEMBERS: Final = (
    TYPE,
    Field("description", nullable(text("What is to be done.")), text("What is to be done.", most=65536, least=0)),
    Field(
        "priority",
        {
            "anyOf": [
                one_of("", "low", "medium", "normal", "high", "critical"),
                whole(most=10),
                {"type": "null"},
            ]
        },
        {
            "type": ["string", "integer"],
            "description": "low, medium, high, critical, or 0 to 10.",
            "default": "medium",
        },
    ),
    Field(
        "assignedAgents",
        nullable(_IDENTIFIERS),
        array(text(), "IDs of the agents that may claim the task; default: all.", most=64),
    ),
    Field(
        "dependencies",
        nullable(_IDENTIFIERS),
        array(text(), "IDs of tasks that must be completed first.", most=64),
    ),
    Field(
        "maxRetries",
        nullable(whole(most=MAX_RETRIES)),
        whole("Number of further attempts after a failure.", most=100, default=0),
    ),
)
_LEASE: Final = Field(
    "lease",
    nullable(number("Seconds that the claim holds.", exclusiveMinimum=0, most=MAX_LEASE, default=DEFAULT_LEASE)),
    {
        "type": "number",
        "minimum": 0,
        "description": "Seconds until the claim ends unless it is renewed; at most a week.",
        "default": 300,
    },
)
_TYPES: Final = Field(
    "types",
    nullable(words("Only these types.", least=1)),
    tool_words("Only tasks of these types.", least=1, most=16),
)
_REASON: Final = Field("reason", nullable(IDENTIFIER), identifier("Reason for giving up."))
_AGENTS: Final = Field(
    "agents", _IDENTIFIERS, array(text(most=512), "IDs of the agents.", most=64), required=True, positional=True
)
_STATUS: Final = one_of("", *STATUSES)
_OUTCOME: Final = (
    Field("status", _STATUS, _STATUS, required=True, positional=True),
    Field("agent", nullable(IDENTIFIER), AGENT.tool),
    Field("result", ANY, ANY),
    Field("error", ANY, ANY),
)
_CLAIMED_BY: Final = Field("agent", FILTER, identifier("Tasks that are claimed by or assigned to this agent."))
POOL: Final[Schema] = {**WORD, "description": "The type of the pool's tasks; `*`: tasks of all types."}
_WORKLOAD: Final[dict[str, Schema]] = {
    "pool": {"type": "string"},
    "claimable": whole("Tasks that an agent may claim now, assigned to agents or not."),
    "inFlight": whole("Tasks that agents hold: their leases have not expired."),
    "oldestSeconds": number("Seconds since the oldest claimable task was created; 0: there is none.", least=0),
    "work": whole("The number to scale by: claimable and in-flight tasks; at least 1 if `partial`."),
    "partial": {"type": "boolean", "description": "True: there were too many tasks to read; the numbers are minimums."},
}

TASKS: Final = Resource(
    namespace=TASK.namespace,
    records=Tasks,
    noun="task",
    plural="tasks",
    schema="Task",
    shape=record("A task.", {}),
    kind=TASK,
    tools=(
        "task_create", "task_claim_next", "task_claim", "task_renew", "task_release", "task_set_status",
        "task_update", "task_assign", "task_get", "task_list", "task_delete",
    ),
    operations=(
        listing(
            "task-list", "/v1/tasks", Tasks.list,
            (Field("status", WORD, _STATUS), Field("type", FILTER, TOOL_WORD), _CLAIMED_BY),
            plural="tasks",
            tool=ToolText("List tasks without claiming any; tasks match all given conditions."),
        ),
        RecordOperation(
            "task-create", "POST", "/v1/tasks", Tasks.create, "Add a task.",
            (NEW_ID, *_MEMBERS), Body.DOCUMENT, statuses=(201,), conflicts=(404, 409),
            tool=ToolText(
                "Add a task to the swarm's queue for any agent to do. It is pending until an agent claims it."
            ),
        ),
        RecordOperation(
            "task-claim-next", "POST", "/v1/tasks/claim", Tasks.claim_next,
            "Claim the most urgent task that this agent may claim.",
            (AGENT, _TYPES, _LEASE), result=Result.MAYBE, answer="The task.",
            checks_writer=False,  # nothing is written if there is no task to claim
            tool=ToolText(
                "Get work: claim the most urgent task that this agent may do. No two agents get the same task. task is "
                "null if there is none. When done, report with task_set_status."
            ),
        ),
        reading(
            "task-get", "/v1/tasks/{id}", Tasks.get, noun="task",
            tool=ToolText("Get one task by its ID, with its status and result."),
        ),
        RecordOperation(
            "task-update", "PATCH", "/v1/tasks/{id}", Tasks.update,
            "Change members that callers set; null removes one.",
            _MEMBERS, Body.DOCUMENT, conflicts=(404, 409),
            tool=ToolText(
                "Change a task's description: given members replace the stored ones; null in details removes a member. "
                "For claims and status, use the other task tools."
            ),
        ),
        deletion(
            "task-delete", "/v1/tasks/{id}", Tasks.delete, noun="task",
            tool=ToolText("Delete a task. deleted is false if there was none."),
        ),
        RecordOperation(
            "task-claim", "POST", "/v1/tasks/{id}/claim", Tasks.claim, "Claim this task.",
            (AGENT, _LEASE), conflicts=(404, 409), idempotent=True,
            tool=ToolText(
                "Claim a certain task. For any task, use task_claim_next. The agent that holds the task renews its "
                "claim."
            ),
        ),
        RecordOperation(
            "task-renew", "POST", "/v1/tasks/{id}/renew", Tasks.renew,
            "Let the claim hold for `lease` seconds from now.",
            (AGENT, _LEASE), conflicts=(404, 409), idempotent=True,
            tool=ToolText(
                "Extend the claim of a task before its lease ends, so that no other agent gets the task."
            ),
        ),
        RecordOperation(
            "task-release", "POST", "/v1/tasks/{id}/release", Tasks.release, "Give it back; it is pending again.",
            (AGENT, _REASON), conflicts=(404, 409),
            tool=ToolText("Give up a claimed task without finishing it; the task is pending again."),
        ),
        RecordOperation(
            "task-assign", "POST", "/v1/tasks/{id}/assign", Tasks.assign,
            "Only these agents may claim it; []: everyone.",
            (_AGENTS,), conflicts=(404, 409), idempotent=True,
            tool=ToolText("Set which agents may claim a task; [] means all."),
        ),
        RecordOperation(
            "task-status", "POST", "/v1/tasks/{id}/status", Tasks.set_status, "Change the status.",
            _OUTCOME, conflicts=(404, 409), idempotent=("status", "completed"),
            tool=ToolText(
                "Report the outcome of a task: completed with a result, failed with an error (retried as often as "
                "maxRetries allows), or cancelled.",
                name="task_set_status",
            ),
        ),
        RecordOperation(
            "scale", "GET", "/v1/scale/{pool}", _workload, "Work of a pool of agents, for an autoscaler.",
            body=Body.QUERY, result=Result.REPORT, report=object_of(_WORKLOAD, tuple(_WORKLOAD)), answer="The work.",
            client="",
        ),
    ),
)  # fmt: skip
