"""Errors as gRPC statuses: HTTP's problems, in the other protocol's words."""

from __future__ import annotations

from typing import Final

import grpc
import orjson

from swarm_operator.memory.core import MemoryStoreError
from swarm_operator.memory.service.errors import RequestError
from swarm_operator.memory.service.grpc.memory_pb2 import Problem
from swarm_operator.memory.service.problems import reply_to
from swarm_operator.memory.service.telemetry.tracing import request_id

PROBLEM_KEY: Final = "swarm-problem-bin"
"""The trailer with the Problem message."""
_STATUS: Final = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    410: grpc.StatusCode.OUT_OF_RANGE,
    412: grpc.StatusCode.ABORTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
    507: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_COMMON: Final = frozenset({"type", "title", "status", "detail"})


def problem_of(error: RequestError | MemoryStoreError) -> Problem:
    """The error with its code, its words, and what else HTTP's problem says of it."""
    document = orjson.loads(reply_to(error).body)
    details = {name: str(value) for name, value in document.items() if name not in _COMMON}
    return Problem(code=document["type"].rpartition(":")[2], message=document["detail"], details=details)


def status_of(error: RequestError | MemoryStoreError) -> grpc.StatusCode:
    """The status of a call that failed so."""
    return _STATUS.get(reply_to(error).status, grpc.StatusCode.INTERNAL)


def refusal(
    problem: Problem, status: grpc.StatusCode
) -> tuple[grpc.StatusCode, str, tuple[tuple[str, str | bytes], ...]]:
    """What a call is aborted with: the trailers have the problem, and the id of the request."""
    return status, problem.message, ((PROBLEM_KEY, problem.SerializeToString()), ("x-request-id", request_id()))
