"""Says in the status what the API server or a model refused, and how to go on after it."""

from __future__ import annotations

import structlog
from pydantic import ValidationError

from swarm_operator.controllers.children import NameTakenError
from swarm_operator.controllers.status import Conditions, write_status
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.controller import Result
from swarm_operator.runtime.errors import ApiError, ForbiddenError, InvalidError, TerminalError
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import Object, Resource

log = structlog.get_logger(__name__)

Refusal = ValidationError | InvalidError | ForbiddenError | NameTakenError
REFUSALS = (ValidationError, InvalidError, ForbiddenError, NameTakenError)

_NAME_TAKEN_INTERVAL = 60.0
"""Seconds after which to look whether a name has become free: nothing tells us of objects that are not ours."""


async def report(
    cache: Cache, recorder: EventRecorder, resource: Resource, obj: Object, conditions: Conditions, error: Refusal
) -> Result:
    """Set Ready to False with what was refused, and phase to Error; the rest of the status stays.

    Raises:
        TerminalError: only a change of the object can help.
        ApiError: `error` itself, to be tried again with a growing delay: a quota or a right may be granted.
    """
    if isinstance(error, ForbiddenError) and error.namespace_terminating:
        log.info("the namespace is being deleted, nothing can be made in it any more")
        return Result()  # the object itself goes next
    reason, message = explain(error)
    conditions.set("Ready", holds=False, reason=reason, message=message)
    status = {**(obj.get("status") or {}), "phase": "Error"}
    await write_status(cache, recorder, resource, obj, status, conditions)
    if isinstance(error, NameTakenError):
        return Result(requeue_after=_NAME_TAKEN_INTERVAL)
    if isinstance(error, ApiError):
        raise error
    raise TerminalError(message) from error


def explain(error: Refusal) -> tuple[str, str]:
    """Reason and message of a refusal. Reasons: InvalidSpec, NameTaken, Forbidden or Refused."""
    if isinstance(error, ValidationError):
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        return "InvalidSpec", "; ".join(problems)
    if isinstance(error, NameTakenError):
        return "NameTaken", str(error)
    return ("Forbidden" if isinstance(error, ForbiddenError) else "Refused"), error.message
