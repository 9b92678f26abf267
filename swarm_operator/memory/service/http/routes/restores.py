"""Operations on restores of backups into the running service. See transfer.restores.jobs.

A restore continues after the response; the client reads the document again until its final phase.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from swarm_operator.memory.core.entry import MAX_KEY_BYTES
from swarm_operator.memory.service.access import audit
from swarm_operator.memory.service.asgi import JSON, Reply
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, json_reply
from swarm_operator.memory.service.http.operation import SWITCH, Answer, Operation, reference
from swarm_operator.memory.service.http.routes.backups import NAME
from swarm_operator.memory.service.http.schemas import NAMESPACE
from swarm_operator.memory.service.json_schema import Schema, array, nullable, object_of, one_of, text, whole
from swarm_operator.memory.transfer.backups.manifest import check_name
from swarm_operator.memory.transfer.restores.scope import MAX_NAMESPACES
from swarm_operator.memory.transfer.restores.states import Phase, Request, State

PATH: Final = "/admin/restores"
_TIME: Final = nullable(text("RFC 3339, UTC.", format="date-time"))
_COUNT: Final = nullable(whole())
_PLAN: Final = object_of(
    {
        "backup": text("Name of the backup."),
        "entries": whole("Entries of the backup."),
        "bytes": whole("Bytes of the values to write; of a whole restore those of the backup."),
        "entries_new": _COUNT,
        "entries_changed": _COUNT,
        "entries_removed": _COUNT,
    },
    ("backup", "entries", "bytes", "entries_new", "entries_changed", "entries_removed"),
)
_MEMBERS: Final[dict[str, Schema]] = {
    "name": text(),
    "phase": one_of("How far the restore is.", *Phase),
    "backup": nullable(text("Name of the backup.")),
    "location": nullable(text("URL of the backup.")),
    "namespaces": nullable(array(text())),
    "key_prefix": text(),
    "dry_run": {"type": "boolean"},
    "started_at": _TIME,
    "completed_at": _TIME,
    "safety_backup": nullable(text("Name of the backup of what was replaced.")),
    "plan": nullable(_PLAN),
    "progress": nullable(object_of({"done": whole(), "of": whole("0: not known yet.")}, ("done", "of"))),
    "problem": nullable(object_of({"code": text(), "detail": text("For people.")}, ("code", "detail"))),
}
SHAPE: Final = object_of(_MEMBERS, tuple(_MEMBERS), description="A restore.")
_ANSWER: Final = Answer("The restore.", reference("Restore"))

_ASK: Final = Operation(
    "PUT",
    PATH + "/{name}",
    "restore-ask",
    "Restore a backup, once by the restore's name.",
    {200: _ANSWER, 202: Answer("The restore, which is running.", reference("Restore"))},
    body=object_of(
        {
            "backup": nullable(NAME),
            "location": nullable(text("URL of a backup, instead of `backup`.", most=2048)),
            "namespaces": nullable(array(NAMESPACE, "Only these; left out: all.", least=1, most=MAX_NAMESPACES)),
            "key_prefix": text("Only keys that start so.", least=0, most=MAX_KEY_BYTES, default=""),
            "dry_run": {**SWITCH, "description": "Only say what would change."},
            "allow_other_swarm": {**SWITCH, "description": "Take a backup of another swarm."},
            "safety_backup": nullable(
                {
                    "type": "boolean",
                    "description": "Make a backup of what is replaced; null: if everything is restored.",
                }
            ),
        }
    ),
    conflicts=(409,),
    admin=True,
)
_LIST: Final = Operation(
    "GET",
    PATH,
    "restore-list",
    "List the last restores, the oldest first.",
    {200: Answer("The restores.", object_of({"restores": array(reference("Restore"))}, ("restores",)))},
    admin=True,
)
_GET: Final = Operation(
    "GET", PATH + "/{name}", "restore-get", "Read the state of a restore.", {200: _ANSWER}, conflicts=(404,), admin=True
)


async def _ask(call: Call) -> Reply:
    name = check_name(call.id)
    request = Request.create(**call.members())
    audit.record(
        call.operation.name, call.credential.principal.name, restore=name, backup=request.backup,
        location=request.location, namespaces=request.scope.namespaces, key_prefix=request.scope.key_prefix,
        dry_run=request.dry_run,
    )  # fmt: skip
    state = call.context.restores.ask(name, request)
    return _reply(200 if state.phase.ended else 202, state)


async def _list(call: Call) -> Reply:
    call.query()
    return json_reply({"restores": [_document(state) for state in call.context.restores.list()]})


async def _get(call: Call) -> Reply:
    call.query()
    return _reply(200, call.context.restores.get(check_name(call.id)))


def _reply(status: int, state: State) -> Reply:
    return Reply(status, orjson.dumps(_document(state)), (JSON,))


def _document(state: State) -> dict[str, Any]:
    request, plan, progress, failure = state.request, state.plan, state.progress, state.failure
    return {
        "name": state.name,
        "phase": state.phase,
        "backup": request.backup,
        "location": request.location,
        "namespaces": request.scope.namespaces,
        "key_prefix": request.scope.key_prefix,
        "dry_run": request.dry_run,
        "started_at": state.started_at,
        "completed_at": state.completed_at,
        "safety_backup": state.safety_backup,
        "plan": plan
        and {
            "backup": plan.backup,
            "entries": plan.entries,
            "bytes": plan.bytes,
            "entries_new": plan.entries_new,
            "entries_changed": plan.entries_changed,
            "entries_removed": plan.entries_removed,
        },
        "progress": progress and {"done": progress.done, "of": progress.of},
        "problem": failure and {"code": failure.code, "detail": failure.detail},
    }


ENDPOINTS: Final = (Endpoint(_LIST, _list), Endpoint(_GET, _get), Endpoint(_ASK, _ask))
