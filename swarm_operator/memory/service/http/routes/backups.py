"""Operations on named backups at the service's destination: make, list, verify, delete. See transfer.backups.jobs.

A backup or a verification continues after the response; the client reads the document again until its final phase.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from swarm_operator.memory.service.access import audit
from swarm_operator.memory.service.asgi import JSON, Reply
from swarm_operator.memory.service.http.endpoint import Call, Endpoint, json_reply
from swarm_operator.memory.service.http.operation import Answer, Operation, reference
from swarm_operator.memory.service.json_schema import Schema, array, nullable, object_of, one_of, text, whole
from swarm_operator.memory.transfer.backups.errors import BackupConflictError
from swarm_operator.memory.transfer.backups.jobs import BackupJobs, Phase, State
from swarm_operator.memory.transfer.backups.manifest import MAX_NAME, check_name, check_reason

PATH: Final = "/admin/backups"
NAME: Final = text(
    "A DNS-1123 subdomain.", most=MAX_NAME, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
)
_REASON: Final = text("Why it is made.", most=64, pattern="^[A-Za-z][A-Za-z0-9]*$", default="Requested")
_TIME: Final = nullable(text("RFC 3339, UTC.", format="date-time"))
_COUNT: Final = nullable(whole())
_MEMBERS: Final[dict[str, Schema]] = {
    "name": text(),
    "phase": one_of("Completed: it was verified where it lies.", *Phase),
    "reason": nullable(text()),
    "started_at": _TIME,
    "completed_at": _TIME,
    "verified_at": _TIME,
    "location": text("URL of its folder."),
    "size": _COUNT,
    "entries": _COUNT,
    "sha256": nullable(text()),
    "schema_version": _COUNT,
    "feed_position": _COUNT,
    "version": _COUNT,
    "swarm_id": nullable(text()),
    "progress": nullable(object_of({"bytes": whole(), "of": whole("0: not known yet.")}, ("bytes", "of"))),
    "problem": nullable(object_of({"code": text(), "detail": text("For people.")}, ("code", "detail"))),
}
SHAPE: Final = object_of(_MEMBERS, tuple(_MEMBERS), description="A backup.")
_ANSWER: Final = Answer("The backup.", reference("Backup"))
_STARTED: Final = Answer("The backup, at which a job is at work.", reference("Backup"))
_FAILURES: Final = (409, 502)

_MAKE: Final = Operation(
    "PUT",
    PATH + "/{name}",
    "backup-make",
    "Make a backup, once by its name.",
    {200: _ANSWER, 202: _STARTED},
    body=object_of({"reason": _REASON}),
    body_needed=False,
    conflicts=_FAILURES,
    admin=True,
)
_LIST: Final = Operation(
    "GET",
    PATH,
    "backup-list",
    "List the backups, by name.",
    {200: Answer("All backups.", object_of({"backups": array(reference("Backup"))}, ("backups",)))},
    conflicts=_FAILURES,
    admin=True,
)
_GET: Final = Operation(
    "GET", PATH + "/{name}", "backup-get", "Read the state of a backup.", {200: _ANSWER}, conflicts=(404, *_FAILURES),
    admin=True,
)  # fmt: skip
_VERIFY: Final = Operation(
    "POST",
    PATH + "/{name}/verify",
    "backup-verify",
    "Read a backup back and compare it with its manifest.",
    {202: _STARTED},
    conflicts=(404, *_FAILURES),
    admin=True,
)
_DELETE: Final = Operation(
    "DELETE",
    PATH + "/{name}",
    "backup-delete",
    "Delete a backup; cancel it if it is being made.",
    {204: Answer("There is none of that name any more.")},
    conflicts=_FAILURES,
    admin=True,
)


async def _make(call: Call) -> Reply:
    jobs, name = _jobs(call), check_name(call.id)
    reason = check_reason(call.members().get("reason", "Requested"))
    _audit(call, name, reason=reason)
    state = await jobs.make(name, reason)
    return _reply(200 if state.phase is Phase.COMPLETED else 202, state)


async def _list(call: Call) -> Reply:
    call.query()
    return json_reply({"backups": [_document(state) for state in await _jobs(call).list()]})


async def _get(call: Call) -> Reply:
    call.query()
    return _reply(200, await _jobs(call).get(check_name(call.id)))


async def _verify(call: Call) -> Reply:
    call.query()
    jobs, name = _jobs(call), check_name(call.id)
    _audit(call, name)
    return _reply(202, await jobs.verify(name))


async def _delete(call: Call) -> Reply:
    call.query()
    jobs, name = _jobs(call), check_name(call.id)
    _audit(call, name)
    await jobs.delete(name)
    return Reply(204)


def _jobs(call: Call) -> BackupJobs:
    jobs = call.context.backups
    if jobs is None:
        raise BackupConflictError(
            "no-destination", "the service has no destination for backups; start it with --backups"
        )
    return jobs


def _audit(call: Call, name: str, **details: str) -> None:
    """Log the caller and the request."""
    audit.record(call.operation.name, call.credential.principal.name, backup=name, **details)


def _reply(status: int, state: State) -> Reply:
    return Reply(status, orjson.dumps(_document(state)), (JSON,))


def _document(state: State) -> dict[str, Any]:
    manifest, progress, failure = state.manifest, state.progress, state.failure
    return {
        "name": state.name,
        "phase": state.phase,
        "reason": state.reason,
        "started_at": state.started_at,
        "completed_at": manifest and manifest.completed_at,
        "verified_at": manifest and manifest.verified_at,
        "location": state.location,
        "size": manifest and manifest.size,
        "entries": manifest and manifest.entries,
        "sha256": manifest and manifest.sha256,
        "schema_version": manifest and manifest.schema_version,
        "feed_position": manifest and manifest.feed_position,
        "version": manifest and manifest.version,
        "swarm_id": manifest and manifest.swarm_id,
        "progress": progress and {"bytes": progress.bytes, "of": progress.of},
        "problem": failure and {"code": failure.code, "detail": failure.detail},
    }


ENDPOINTS: Final = (
    Endpoint(_LIST, _list),
    Endpoint(_GET, _get),
    Endpoint(_MAKE, _make),
    Endpoint(_VERIFY, _verify),
    Endpoint(_DELETE, _delete),
)
