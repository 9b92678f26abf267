"""Transient errors of the memory, such as those of a restart, and calls that are retried until they succeed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from swarm_operator.memory.client import MemoryAuthError, MemoryClientError, MemoryConflictError, MemoryRequestError

PAUSE: Final = 1.0
"""Seconds between two attempts of a call, beyond the retries of the client."""

_T = TypeVar("_T")
_log = structlog.get_logger(__name__)


def passes(error: MemoryClientError) -> bool:
    """Return whether the same call may succeed later.

    A missing or refused token (401) is transient: the kubelet updates the file of a rotated token with a delay. A
    missing permission (403) and an invalid request are permanent. A request that arrived too slowly (408) is transient:
    this process or the service had no CPU time.
    """
    if isinstance(error, (MemoryAuthError, MemoryRequestError)):
        return error.status in {401, 408}
    return not isinstance(error, MemoryConflictError)


async def persist(call: Callable[[], Awaitable[_T]]) -> _T:
    """Repeat a call until it succeeds, and return its result. The caller limits the time.

    Raises:
        MemoryClientError: a permanent error.
    """
    while True:
        try:
            return await call()
        except MemoryClientError as error:
            if not passes(error):
                raise
            _log.warning("waiting for the memory", reason=str(error))
            await asyncio.sleep(PAUSE)
