"""Access to /metrics: the API server authenticates the bearer token and authorizes its user.

After controller-runtime's `filters.WithAuthenticationAndAuthorization`: a TokenReview, then a SubjectAccessReview for
the path as a non-resource URL. Both answers are kept for a while, so that a scrape costs no request.

Guarantees:
    The cache of answers is bounded and holds keyed hashes of tokens only. Refusals give callers no reason. The number
    of reviews that run or wait is limited too, and further callers get 429. A flood of invalid tokens therefore takes
    little memory, and few requests reach the API server at one time.

Assumptions:
    The client may write although this process does not lead: a replica that stands by is scraped too.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar

import structlog

from swarm_operator.runtime.client import Client
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.errors import ApiError
from swarm_operator.runtime.resource import Object, Resource

log = structlog.get_logger(__name__)

TOKEN_REVIEWS = Resource("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False)
SUBJECT_ACCESS_REVIEWS = Resource(
    "authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False
)

_TOKEN_SECONDS = 60.0
_ALLOW_SECONDS = 300.0
_DENY_SECONDS = 30.0
_MAX_KEPT = 1024
"""Number of cached answers of one kind; the oldest is evicted first."""
_MAX_ASKED = 16
"""Questions of one kind that are being asked at one time."""

T = TypeVar("T")


class Verdict(Enum):
    """Decision on a request: the HTTP status of its answer."""

    ALLOWED = 200
    UNAUTHENTICATED = 401
    DENIED = 403
    BUSY = 429
    """Too many reviews are running or waiting."""
    UNKNOWN = 500
    """The API server could not be asked."""


class BusyError(Exception):
    """Raised by Answers.get when as many questions are being asked as may be."""


@dataclass(slots=True)
class Answers(Generic[T]):
    """Answers that cost a request, kept for as long as each may be believed.

    A caller that asks for what is being asked already waits for that answer. Failures are not kept.
    """

    seconds: Callable[[T], float]
    """Time for which an answer is cached."""
    clock: Clock
    limit: int = _MAX_KEPT
    max_asked: int = _MAX_ASKED
    _kept: dict[Hashable, tuple[float, T]] = field(default_factory=dict)
    _asked: dict[Hashable, asyncio.Task[T]] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of answers that are kept, believable or not."""
        return len(self._kept)

    async def get(self, question: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Return the answer to a question, from what is kept or by asking.

        Raises:
            BusyError: `max_asked` other questions are being asked.
        """
        until, answer = self._kept.get(question, (0.0, None))
        if answer is not None and self.clock.monotonic() < until:
            return answer
        task = self._asked.get(question)
        if task is None:
            if len(self._asked) >= self.max_asked:
                raise BusyError
            task = self._asked[question] = asyncio.ensure_future(self._ask(question, ask))
            # When all waiting callers have given up, no one awaits the failure.
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        # One who gives up waiting must not cancel it for the others.
        return await asyncio.shield(task)

    async def _ask(self, question: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            answer = await ask()
        finally:
            del self._asked[question]
        self._kept.pop(question, None)
        while len(self._kept) >= self.limit:
            del self._kept[next(iter(self._kept))]
        self._kept[question] = self.clock.monotonic() + self.seconds(answer), answer
        return answer


class DelegatedAuth:
    """See the module's docstring.

    Args:
        client: asks the API server; see the assumptions above.
        clock: where the time comes from.
    """

    def __init__(self, client: Client, *, clock: Clock | None = None) -> None:
        self._client = client
        clock = clock or SystemClock()
        self._key = secrets.token_bytes(32)
        # controller-runtime's times: a token for a minute, a right for five, its lack for half a minute.
        self._users: Answers[Object] = Answers(lambda _: _TOKEN_SECONDS, clock)
        self._rights: Answers[Verdict] = Answers(
            lambda verdict: _ALLOW_SECONDS if verdict is Verdict.ALLOWED else _DENY_SECONDS, clock
        )

    async def judge(self, authorization: str, method: str, path: str) -> Verdict:
        """Judge one request.

        Args:
            authorization: its Authorization header, or "".
            method: its HTTP method, which in lower case is the verb that is asked for.
            path: its path.
        """
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return Verdict.UNAUTHENTICATED
        digest = hashlib.blake2b(token.encode(errors="surrogateescape"), key=self._key, digest_size=32).digest()
        try:
            status = await self._users.get(digest, lambda: self._review_token(token))
            if not status.get("authenticated"):
                return Verdict.UNAUTHENTICATED
            user, verb = status.get("user") or {}, method.lower()
            return await self._rights.get((digest, verb, path), lambda: self._review_access(user, verb, path))
        except BusyError:
            return Verdict.BUSY
        except ApiError as error:
            log.error("a caller could not be reviewed", error=error.message)  # noqa: TRY400 - no bug
            return Verdict.UNKNOWN

    async def _review_token(self, token: str) -> Object:
        return await self._review(TOKEN_REVIEWS, {"token": token})

    async def _review_access(self, user: Object, verb: str, path: str) -> Verdict:
        spec = {
            "user": user.get("username", ""),
            "uid": user.get("uid", ""),
            "groups": user.get("groups") or [],
            "extra": user.get("extra") or {},
            "nonResourceAttributes": {"path": path, "verb": verb},
        }
        status = await self._review(SUBJECT_ACCESS_REVIEWS, spec)
        return Verdict.ALLOWED if status.get("allowed") else Verdict.DENIED

    async def _review(self, resource: Resource, spec: Object) -> Object:
        body: dict[str, Any] = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}, "spec": spec}
        answer = await self._client.create(resource, body, field_manager="")
        return answer.get("status") or {}
