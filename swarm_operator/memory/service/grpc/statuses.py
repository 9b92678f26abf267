"""Maps the problems of the HTTP API to gRPC statuses."""

from __future__ import annotations

from typing import Final

import grpc

from swarm_operator.memory.service.grpc.memory_pb2 import Problem
from swarm_operator.memory.service.problems import Problem as Description
from swarm_operator.memory.service.telemetry.tracing import request_id

PROBLEM_KEY: Final = "swarm-problem-bin"
"""Trailer with the Problem message."""
_STATUS: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    410: grpc.StatusCode.OUT_OF_RANGE,
    412: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def problem_message(problem: Description) -> Problem:
    """Return a problem as a message."""
    details = {name: str(value) for name, value in problem.members.items()}
    return Problem(code=problem.code, message=problem.detail, details=details)


def status_of(problem: Description) -> grpc.StatusCode:
    """Return the status of a call that failed with a problem."""
    return _STATUS.get(problem.status, grpc.StatusCode.INTERNAL)


def refusal(problem: Description) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    """Return the arguments for aborting a call: status, detail, and trailers with the problem and the request ID."""
    trailers = ((PROBLEM_KEY, problem_message(problem).SerializeToString()), ("x-request-id", request_id()))
    return status_of(problem), problem.detail, trailers
