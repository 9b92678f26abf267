"""Watch: a stream of committed changes that reconnects when it breaks."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

import aiohttp

from swarm_operator.memory.client.errors import MemoryClientError, MemoryGoneError, MemoryUnavailableError
from swarm_operator.memory.client.models import Change
from swarm_operator.memory.client.transport import Transport, with_query

_EVENTS: Final = "text/event-stream"
_MAX_PAUSE: Final = 5.0
"""Maximum seconds between two attempts to connect."""
_log: Final = logging.getLogger(__name__)


async def watch(
    transport: Transport,
    *,
    namespace: str | None,
    prefix: str,
    since: int | None,
    on_ready: Callable[[int], None] | None,
    idle_timeout: float,
    retry_for: float | None,
) -> AsyncIterator[Change]:
    """Yield changes as they are committed; see MemoryClient.watch."""
    attempts = transport.policy.attempts(retry_for=retry_for, max_pause=_MAX_PAUSE)
    while True:
        path = with_query("/v1/watch", namespace=namespace, prefix=prefix or None, since=since)
        ended = f"{transport.server}: the service ended the watch"
        failure: MemoryClientError = MemoryUnavailableError(ended, uncertain=False)
        connected = False
        try:
            async for position, change in _connect(transport, path, idle_timeout):
                connected, since = True, position
                if change is not None:
                    yield change
                elif on_ready is not None:
                    on_ready(position)
        except MemoryClientError as error:
            if not error.transient:
                raise
            failure = error
        if connected:
            attempts.reset()
        if not attempts.failures:
            _log.warning("watch: %s; connecting again", failure)
        await attempts.pause(failure)


async def _connect(transport: Transport, path: str, idle_timeout: float) -> AsyncIterator[tuple[int, Change | None]]:
    """Yield the changes of one connection with their positions. The start position comes first, without a change."""
    async with transport.send("GET", path, media_type=_EVENTS, idle_timeout=idle_timeout) as response:
        data = ""
        try:
            async for event, data in _events(response.content):
                document = json.loads(data)
                if event == "missed":
                    raise MemoryGoneError(410, {"detail": "this watch was too slow", **document})
                if event == "change":
                    change = Change.read(document)
                    yield change.seq, change
                elif event == "ready":
                    yield int(document["seq"]), None
        except (KeyError, TypeError, ValueError) as error:
            raise transport.foreign(response, data.encode(), f"{type(error).__name__}: {error}") from error


async def _events(lines: aiohttp.StreamReader) -> AsyncIterator[tuple[str, str]]:
    """Yield the name and the data of each server-sent event. The service sends one line of data per event."""
    name = ""
    async for line in lines:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, value
