"""`GET /v1/watch`: the change feed as server-sent events, on plain ASGI.

    event: ready     once: where the watch begins, so that it can be resumed before the first change
    event: change    an entry has changed; `id` is the change's position
    event: missed    the consumer was too slow: changes are gone; `id` is where it goes on
    : heartbeat      when nothing has happened for a while

What is written waits for the connection to take it, and nothing is kept for a watch meanwhile (see engine.feed). So a
slow consumer costs a position in the feed and nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Mapping
from typing import Final

import orjson
import structlog
from starlette.types import Receive, Send

from swarm_operator.memory.core import limits
from swarm_operator.memory.core.changes import Change, Op
from swarm_operator.memory.core.errors import InvalidInputError, MemoryStoreError, MissedChangesError, StoreClosedError
from swarm_operator.memory.core.store import Store, Watch
from swarm_operator.memory.service.access.principal import acting, standing
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.asgi import parse_query
from swarm_operator.memory.service.documents import timestamp
from swarm_operator.memory.service.errors import UnauthorizedError, WrongMethodError
from swarm_operator.memory.service.http.operation import EVENTS, Answer, Operation
from swarm_operator.memory.service.http.schemas import NAMESPACE, PREFIX
from swarm_operator.memory.service.json_schema import text, whole
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.service.watch_slots import WatchSlots

PATH: Final = b"/v1/watch"
ROUTE: Final = "/v1/watch"
OPERATIONS: Final = (
    Operation(
        "GET",
        ROUTE,
        "watch",
        "Follow changes as server-sent events: ready, change, missed.",
        {200: Answer("Events without an end.", {"type": "string"}, EVENTS)},
        query={
            "namespace": NAMESPACE,
            "prefix": PREFIX,
            "since": whole("The number of the last change that is known; left out: now.", most=limits.MAX_VERSION),
        },
        headers={"Last-Event-ID": text("A browser's own `since`.", pattern="^[0-9]{1,19}$")},
        conflicts=(410,),
    ),
)
_log = structlog.get_logger(__name__)
_ALLOW: Final = (b"allow", b"GET")
_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
]
_HEARTBEAT: Final = b": heartbeat\n\n"
_NAMES: Final = {op: op.name.lower() for op in Op}


class WatchRoute:
    """Answers watches."""

    def __init__(
        self,
        store: Store,
        tokens: Tokens,
        metrics: ServiceMetrics,
        settings: ServiceSettings,
        slots: WatchSlots,
    ) -> None:
        self._store = store
        self._tokens = tokens
        self._metrics = metrics
        self._slots = slots
        self._heartbeat = settings.watch_heartbeat
        self._pause = settings.watch_pause
        self._running: set[asyncio.Task[None]] = set()

    async def serve(
        self, method: str, query_string: bytes, headers: Mapping[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        """Send events until the client goes, the service stops, or the store fails.

        Raises:
            RequestError, MemoryStoreError: before anything was sent.
        """
        if method != "GET":
            raise WrongMethodError(f"a watch has no method {method[:32]}", _ALLOW)
        query = parse_query(query_string, OPERATIONS[0].parameters)
        since = _since(query.get("since"), headers.get(b"last-event-id"))
        standing.set(self._tokens.standing(headers.get(b"authorization"), acting.get()))
        with self._slots.taken():
            async with self._store.watch(query.get("namespace"), prefix=query.get("prefix", ""), since=since) as watch:
                self._metrics.answered(method, ROUTE, 200)
                await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
                events = asyncio.create_task(self._events(watch, send), name="memory-watch")
                gone = asyncio.create_task(_gone(receive), name="memory-watch-gone")
                self._running.add(events)
                try:
                    await asyncio.wait([events, gone], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    self._running.discard(events)
                    events.cancel()
                    gone.cancel()
                    ended, _ = await asyncio.gather(events, gone, return_exceptions=True)
                if isinstance(ended, Exception):  # the answer has begun: there is no way to tell the client
                    self._metrics.refused("internal")
                    _log.error("watch failed", exc_info=ended)
                await send({"type": "http.response.body", "body": b""})

    def stop(self) -> None:
        """End all watches: the service is stopping, and they would not end by themselves."""
        for task in self._running:
            task.cancel()

    async def _events(self, watch: Watch, send: Send) -> None:
        await _send(send, _event(b"ready", watch.position, orjson.dumps({"seq": watch.position})))
        # The store says why it failed to those who write; a watch that ends is resumed from where it was.
        with contextlib.suppress(StoreClosedError):
            while True:
                try:
                    changes = await watch.next(self._heartbeat)
                except MissedChangesError as missed:
                    self._metrics.refused(missed.code)
                    document = orjson.dumps({"since": missed.since, "oldest": missed.oldest})
                    await _send(send, _event(b"missed", missed.oldest, document))
                except StoreClosedError:
                    raise
                except (MemoryStoreError, UnauthorizedError) as error:
                    self._metrics.refused(error.code)
                    return
                else:
                    await _send(send, b"".join(map(_change, changes)) if changes else _HEARTBEAT)
                    if changes:
                        await asyncio.sleep(self._pause)


def _since(parameter: str | None, header: bytes | None) -> int | None:
    """The position to go on from. Last-Event-ID is a browser's own, and newer than the address that it was given."""
    text = parameter if header is None else header.decode("latin-1")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidInputError("since" if header is None else "Last-Event-ID", "the number of a change")
    return int(text)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send(send: Send, body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _event(name: bytes, position: int, data: bytes) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (position, name, data)


@functools.lru_cache(maxsize=4096)  # many watches send the same
def _change(change: Change) -> bytes:
    document = {
        "seq": change.seq,
        "op": _NAMES[Op(change.op)],
        "namespace": change.namespace,
        "key": change.key,
        "version": change.version,
        "at": timestamp(change.at),
    }
    # JSON without line breaks: an event's data is one line.
    return _event(b"change", change.seq, orjson.dumps(document))
