"""From a path to its endpoint, from there to the answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from starlette.types import Receive

from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.asgi import BodyReader, Reply, percent_decode
from swarm_operator.memory.service.errors import NotFoundError, WrongMethodError
from swarm_operator.memory.service.http.endpoint import Call, Endpoint
from swarm_operator.memory.service.http.routes import agents, consensus, messages, patterns, swarm, tasks
from swarm_operator.memory.swarm import Swarm

ENDPOINTS: Final = (
    *agents.ENDPOINTS,
    *tasks.ENDPOINTS,
    *patterns.ENDPOINTS,
    *consensus.ENDPOINTS,
    *messages.ENDPOINTS,
    *swarm.ENDPOINTS,
)
"""A path that is spelled out comes before one with an id in its place."""
OPERATIONS: Final = tuple(dict.fromkeys(endpoint.operation.name for endpoint in ENDPOINTS))

_PREFIX: Final = b"/v1/"
_ROOTS: Final = frozenset(endpoint.operation.path.split("/")[2].encode() for endpoint in ENDPOINTS)
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_NAMED: Final = b"{"
"""What the place of an id begins with in a pattern."""


class RecordRoutes:
    """Answers requests for records."""

    def __init__(self, store: Store, bodies: BodyReader, observers: Mapping[str, Callable[[float], None]]) -> None:
        self._swarm = Swarm(store)
        self._bodies = bodies
        self._observers = observers
        self._patterns = [
            (tuple(endpoint.operation.path.encode().removeprefix(_PREFIX).split(b"/")), endpoint)
            for endpoint in ENDPOINTS
        ]

    @staticmethod
    def knows(path: bytes) -> bool:
        """Whether this path, as it was sent, is one for records."""
        return path.startswith(_PREFIX) and path[len(_PREFIX) :].partition(b"/")[0] in _ROOTS

    def find(self, method: str, path: bytes) -> tuple[Endpoint, str]:
        """The endpoint for a path that `knows` knows, and the id in it.

        Raises:
            NotFoundError, WrongMethodError, InvalidInputError: see problems.
        """
        parts = path[len(_PREFIX) :].split(b"/")
        wanted = "GET" if method == "HEAD" else method
        methods: list[str] = []
        first = ""
        for pattern, endpoint in self._patterns:
            if len(pattern) != len(parts) or any(
                ours != theirs and not ours.startswith(_NAMED) for ours, theirs in zip(pattern, parts, strict=True)
            ):
                continue
            if endpoint.operation.method != wanted:
                first = first or endpoint.operation.path
                methods += [endpoint.operation.method] if endpoint.operation.path == first else []
                continue
            named = (theirs for ours, theirs in zip(pattern, parts, strict=True) if ours.startswith(_NAMED))
            return endpoint, percent_decode("id", next(named, b""))
        if not methods:
            raise NotFoundError("there is no such path; a slash in an id is sent as %2F")
        methods += ["HEAD"] if "GET" in methods else []
        allow = ", ".join(dict.fromkeys(methods)).encode()
        raise WrongMethodError(f"this path has no method {method[:32]}", (b"allow", allow))

    async def answer(
        self, endpoint: Endpoint, record_id: str, query_string: bytes, headers: Mapping[bytes, bytes], receive: Receive
    ) -> Reply:
        """Answer a request that `find` has found.

        Raises:
            RequestError, MemoryStoreError: see problems.
        """
        operation = endpoint.operation
        body = await self._bodies.read(headers, receive) if operation.method in _WITH_BODY else b""
        started = time.perf_counter()
        reply = await endpoint.handler(self._swarm, Call(operation, record_id, query_string, headers, body))
        self._observers[operation.name](time.perf_counter() - started)
        return reply
