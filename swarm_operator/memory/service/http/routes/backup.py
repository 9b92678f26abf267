"""`GET /admin/backup`: a consistent copy of the database as a stream of bytes, in bounded memory.

The copy is made beside the database first, so the volume needs room for it; it has lost its name before the first byte
is sent, and is gone when the answer ends, however it ends. One at a time: each takes that room.

An answer that fails half-way breaks its connection off. Its length and its checksum were announced.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import time
from collections.abc import Coroutine
from typing import Final

import structlog
from starlette.types import Receive, Scope, Send

from swarm_operator.memory.core.backup import Snapshot
from swarm_operator.memory.core.errors import OverloadedError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.asgi import parse_query
from swarm_operator.memory.service.errors import WrongMethodError
from swarm_operator.memory.service.http.operation import Answer, Operation
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

PATH: Final = "/admin/backup"
OPERATION: Final = Operation(
    "GET",
    PATH,
    "backup",
    "A consistent copy of the database. One at a time.",
    {200: Answer("The SQLite file; Repr-Digest has its checksum.", {"type": "string"}, "application/vnd.sqlite3")},
    conflicts=(507,),
    admin=True,
)
_CHUNK: Final = 256 * 1024
_PATIENCE: Final = 60.0
"""Seconds that a client may take for a chunk: one that has stopped reading would keep others out for ever."""

_log = structlog.get_logger(__name__)


class BackupRoute:
    """Answers backups; an ASGI application.

    Args:
        store: what to copy.
        metrics: told how long it took.
    """

    def __init__(self, store: Store, metrics: ServiceMetrics) -> None:
        self._store = store
        self._metrics = metrics
        self._busy = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send one.

        Raises:
            RequestError, MemoryStoreError: before anything was sent.
        """
        if scope["method"] != "GET":
            raise WrongMethodError(f"{PATH} has no such method", (b"allow", b"GET"))
        parse_query(scope["query_string"], ())
        if self._busy:
            raise OverloadedError("a backup is being made, which is the most at one time")
        self._busy = True
        started = time.perf_counter()
        try:
            await _unless_gone(self._serve(send), receive)
        finally:
            self._busy = False
            self._metrics.operations["backup"].observe(time.perf_counter() - started)

    async def _serve(self, send: Send) -> None:
        async with self._store.snapshot() as snapshot:
            try:
                await self._send(snapshot, send)
            except (OSError, TimeoutError) as error:
                # The answer has begun. Without its end the client sees that it was cut off.
                _log.warning("backup cut off", reason=str(error) or type(error).__name__)

    async def _send(self, snapshot: Snapshot, send: Send) -> None:
        headers = [
            (b"content-type", b"application/vnd.sqlite3"),
            (b"content-length", b"%d" % snapshot.size),
            (b"content-disposition", b'attachment; filename="swarm-memory.db"'),
            (b"repr-digest", b"sha-256=:" + base64.b64encode(snapshot.sha256) + b":"),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while chunk := await asyncio.to_thread(snapshot.file.read, _CHUNK):
            async with asyncio.timeout(_PATIENCE):
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


async def _unless_gone(work: Coroutine[None, None, None], receive: Receive) -> None:
    """Do it as long as there is a client. What is under way when there is none is cancelled, and waited for."""
    working = asyncio.create_task(work, name="memory-backup")
    gone = asyncio.create_task(_gone(receive), name="memory-backup-gone")
    try:
        await asyncio.wait([working, gone], return_when=asyncio.FIRST_COMPLETED)
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
    if not working.cancelled():
        working.result()


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
