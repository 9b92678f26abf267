"""Retries: which failures are retried, the pauses between the attempts of a call, and when to give up.

Failed requests are retried for `retry_for` seconds, with exponential backoff:
- The service did nothing (429, or 503 with Retry-After), or the connection could not be made: always retried.
- The response was lost (a timeout or a broken connection, or a proxy's 502, 503 or 504): retried if the request is
  idempotent. Reads, unconditional puts and unconditional deletes are. A retried put may increase the version by two. A
  retried delete may return False although the first attempt deleted the entry. Conditional writes are not retried.
- Something else responded (a redirect, another media type, another document): never retried.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from swarm_operator.memory.client.errors import MemoryBusyError, MemoryClientError, MemoryUnavailableError

_MAX_RETRY_AFTER: Final = 5.0
_MAX_DOUBLINGS: Final = 16
_MAX_PAUSE: Final = 1.0
"""Maximum seconds between two attempts of a request."""
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Limits of a client's retries; see MemoryClient for the fields."""

    retries: int | None
    retry_for: float
    backoff: float
    sleep: Callable[[float], Awaitable[object]]

    async def run(self, attempt: Callable[[], Awaitable[_T]], *, idempotent: bool) -> _T:
        """Return the result of the first attempt that succeeds. Raise the failure that must not be retried."""
        attempts = self.attempts(retry_for=self.retry_for, max_pause=_MAX_PAUSE)
        while True:
            try:
                return await attempt()
            except MemoryBusyError as error:
                await attempts.pause(error)
            except MemoryUnavailableError as error:
                if not error.transient or (error.uncertain and not idempotent):
                    raise
                await attempts.pause(error)

    def attempts(self, *, retry_for: float | None, max_pause: float) -> Attempts:
        """Begin the attempts of a call, retried for `retry_for` seconds, or without limit."""
        return Attempts(self, math.inf if retry_for is None else retry_for, max_pause)


class Attempts:
    """The attempts of one call. Call `pause` after each failure, `reset` after a success, if the call continues."""

    def __init__(self, policy: RetryPolicy, retry_for: float, max_pause: float) -> None:
        self._policy = policy
        self._retry_for = retry_for
        self._max_pause = max_pause
        self.reset()

    def reset(self) -> None:
        """Forget the failed attempts."""
        self.failures = 0
        self._spent = 0.0
        self._began = time.monotonic()

    async def pause(self, error: MemoryClientError) -> None:
        """Wait before the next attempt: exponential backoff with jitter, at least as long as the service asks for.

        Raises:
            MemoryClientError: `error`, if it was the last attempt.
        """
        policy = self._policy
        self._spent += time.monotonic() - self._began
        left = self._retry_for - self._spent
        if left <= 0 or (policy.retries is not None and self.failures >= policy.retries):
            raise error
        backoff = min(policy.backoff * 2 ** min(self.failures, _MAX_DOUBLINGS), self._max_pause)
        jittered = random.uniform(backoff / 2, backoff)  # noqa: S311 - not for cryptography
        asked = min(error.retry_after, _MAX_RETRY_AFTER) if isinstance(error, MemoryBusyError) else 0.0
        # The last attempt is made at the end of the time, not before.
        pause = min(max(jittered, asked), left)
        await policy.sleep(pause)
        self.failures += 1
        self._spent += pause
        self._began = time.monotonic()
