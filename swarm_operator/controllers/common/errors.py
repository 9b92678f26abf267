"""Errors of steps: which ones the status reports, and which ones end the pass."""

from __future__ import annotations

from pydantic import ValidationError

from swarm_operator.runtime.errors import (
    ApiError,
    FencedError,
    ForbiddenError,
    InvalidError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
)
from swarm_operator.runtime.resource import Resource


class NameTakenError(Exception):
    """An object that is not ours has the name that a child needs. Such an object is never taken over."""

    def __init__(self, resource: Resource, name: str) -> None:
        super().__init__(
            f"{resource.kind} {name} exists and belongs to another owner: rename or delete it, or rename this object"
        )


StepError = ApiError | NameTakenError
"""Errors that a step raises when it cannot have a child."""

REPORTABLE_ERRORS = (ValidationError, InvalidError, ForbiddenError, NameTakenError)
"""Errors that a user can correct: the condition Ready reports them at once, and all others when they last."""


def ends_pass(error: ApiError) -> bool:
    """Return whether an error is about the server or the whole namespace: then no other child can succeed either."""
    if isinstance(error, ForbiddenError):
        return error.namespace_terminating
    return isinstance(error, UnreachableError | UnauthorizedError | TooManyRequestsError | FencedError)


def explain(error: StepError | ValidationError) -> tuple[str, str]:
    """Return reason and message of an error. Reasons: InvalidSpec, NameTaken, Forbidden, Refused or RequestFailed."""
    if isinstance(error, ValidationError):
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        return "InvalidSpec", "; ".join(problems)
    if isinstance(error, NameTakenError):
        return "NameTaken", str(error)
    reasons = ((ForbiddenError, "Forbidden"), (InvalidError, "Refused"), (ApiError, "RequestFailed"))
    return next(reason for kind, reason in reasons if isinstance(error, kind)), error.message
