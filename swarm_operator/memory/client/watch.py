"""Watch: a stream of committed changes that reconnects when it breaks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp

from swarm_operator.memory.client.errors import MemoryBusyError, MemoryGoneError, MemoryUnavailableError
from swarm_operator.memory.client.models import Change
from swarm_operator.memory.client.transport import Transport, with_query


async def watch(
    transport: Transport,
    *,
    namespace: str | None,
    prefix: str,
    since: int | None,
    on_ready: Callable[[int], None] | None,
    idle_timeout: float,
) -> AsyncIterator[Change]:
    """Yield changes as they are committed; see MemoryClient.watch."""
    failures = 0
    while True:
        path = with_query("/v1/watch", namespace=namespace, prefix=prefix or None, since=since)
        try:
            async for position, change in _connect(transport, path, idle_timeout):
                failures, since = 0, position
                if change is not None:
                    yield change
                elif on_ready is not None:
                    on_ready(position)
        except (MemoryUnavailableError, MemoryBusyError):
            failures += 1
            if failures > transport.retries:
                raise
        await transport.pause(failures)


async def _connect(transport: Transport, path: str, idle_timeout: float) -> AsyncIterator[tuple[int, Change | None]]:
    """Yield the changes of one connection with their positions. The start position comes first, without a change."""
    async with transport.send("GET", path, idle_timeout=idle_timeout, possibly_applied=False) as response:
        async for event, data in _events(response.content):
            if event == "missed":
                raise MemoryGoneError(410, {"detail": "this watch was too slow", **data})
            yield (data["seq"], Change(**data)) if event == "change" else (data["seq"], None)


async def _events(lines: aiohttp.StreamReader) -> AsyncIterator[tuple[str, Any]]:
    """Yield the name and the data of each server-sent event. The service sends one line of data per event."""
    name = ""
    async for line in lines:
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
