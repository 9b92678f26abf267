"""Operation `GET /v1/watch`: the change feed as server-sent events, on plain ASGI.

    event: ready     once: start position of the watch, so that it can be resumed before the first change
    event: change    an entry has changed; `id` is the change's position
    event: missed    the client was too slow and changes were discarded; `id` is the position that the watch resumes at
    : heartbeat      no change for `watch_heartbeat` seconds

Sending waits for the connection, and no changes are buffered for a watch meanwhile (see sqlite.changes). A slow client
therefore costs only a position in the feed.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator
from typing import Final

import orjson

from swarm_operator.memory.core.changes import Change, Op
from swarm_operator.memory.core.entry import MAX_VERSION
from swarm_operator.memory.core.errors import InvalidInputError, MemoryStoreError, MissedChangesError, StoreClosedError
from swarm_operator.memory.service.asgi import Stream
from swarm_operator.memory.service.documents import timestamp
from swarm_operator.memory.service.errors import UnauthorizedError
from swarm_operator.memory.service.http.endpoint import Call, Endpoint
from swarm_operator.memory.service.http.operation import EVENTS, Answer, Operation
from swarm_operator.memory.service.http.schemas import NAMESPACE, PREFIX
from swarm_operator.memory.service.json_schema import text, whole

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
            "since": whole("The number of the last change that is known; left out: now.", most=MAX_VERSION),
        },
        headers={"Last-Event-ID": text("A browser's own `since`.", pattern="^[0-9]{1,19}$")},
        conflicts=(410,),
        streams=True,
        timed=False,
        subject="a watch",
    ),
)
_HEADERS: Final = (
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # disables response buffering in nginx
)
_HEARTBEAT: Final = b": heartbeat\n\n"
_NAMES: Final = {op: op.name.lower() for op in Op}


async def _watch(call: Call) -> Stream:
    query = call.query()
    since = _since(query.get("since"), call.headers.get(b"last-event-id"))
    events = _events(call, query.get("namespace"), query.get("prefix", ""), since)
    return Stream(200, events, _HEADERS, endless=True)


async def _events(call: Call, namespace: str | None, prefix: str, since: int | None) -> AsyncGenerator[bytes, None]:
    """Yield events until the store closes or fails. The client then resumes the watch."""
    settings, metrics = call.context.settings, call.context.metrics
    with call.context.quotas.watches.holding(call.credential.principal):
        async with call.store.watch(namespace, prefix=prefix, since=since) as watch:
            yield _event(b"ready", watch.position, orjson.dumps({"seq": watch.position}))
            while True:
                try:
                    changes = await watch.next(settings.watch_heartbeat)
                except MissedChangesError as missed:
                    metrics.refused(missed.code)
                    document = orjson.dumps({"since": missed.since, "oldest": missed.oldest})
                    yield _event(b"missed", missed.oldest, document)
                except StoreClosedError:
                    return
                except (MemoryStoreError, UnauthorizedError) as error:
                    metrics.refused(error.code)
                    return
                else:
                    yield b"".join(map(_change, changes)) if changes else _HEARTBEAT
                    if changes:
                        await asyncio.sleep(settings.watch_pause)


def _since(parameter: str | None, header: bytes | None) -> int | None:
    """Return the position to resume from. A browser's Last-Event-ID overrides the URL's `since`, which is older."""
    text = parameter if header is None else header.decode("latin-1")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise InvalidInputError("since" if header is None else "Last-Event-ID", "the number of a change")
    return int(text)


def _event(name: bytes, position: int, data: bytes) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (position, name, data)


@functools.lru_cache(maxsize=4096)  # many watches send the same change
def _change(change: Change) -> bytes:
    document = {
        "seq": change.seq,
        "op": _NAMES[Op(change.op)],
        "namespace": change.namespace,
        "key": change.key,
        "version": change.version,
        "at": timestamp(change.at),
        "updated_by": change.updated_by,
    }
    # An event's data is one line, so the JSON must not contain line breaks.
    return _event(b"change", change.seq, orjson.dumps(document))


ENDPOINTS: Final = (Endpoint(OPERATIONS[0], _watch),)
