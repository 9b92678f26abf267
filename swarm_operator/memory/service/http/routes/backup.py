"""`GET /admin/backup`: a consistent copy of the database as a stream of bytes, in bounded memory.

The copy is made beside the database first, so the volume needs room for it; it has lost its name before the first byte
is sent, and is gone when the answer ends, however it ends. One at a time: each takes that room.

An answer that fails half-way breaks its connection off. Its length and its checksum were announced.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator
from typing import Final

from swarm_operator.memory.service.asgi import Stream
from swarm_operator.memory.service.http.endpoint import Call, Endpoint
from swarm_operator.memory.service.http.operation import Answer, Operation

PATH: Final = "/admin/backup"
OPERATION: Final = Operation(
    "GET",
    PATH,
    "backup",
    "A consistent copy of the database. One at a time.",
    {200: Answer("The SQLite file; Repr-Digest has its checksum.", {"type": "string"}, "application/vnd.sqlite3")},
    conflicts=(507,),
    admin=True,
    streams=True,
)
_CHUNK: Final = 256 * 1024
_SEND_TIMEOUT: Final = 60.0
"""Seconds that a client may take for a chunk: one that has stopped reading would keep others out for ever."""


async def _backup(call: Call) -> Stream:
    call.query()
    stream = Stream(200, send_timeout=_SEND_TIMEOUT)
    stream.chunks = _copy(call, stream)
    return stream


async def _copy(call: Call, stream: Stream) -> AsyncGenerator[bytes, None]:
    with call.context.backups.taken():
        async with call.store.snapshot() as snapshot:
            stream.headers = (
                (b"content-type", b"application/vnd.sqlite3"),
                (b"content-length", b"%d" % snapshot.size),
                (b"content-disposition", b'attachment; filename="swarm-memory.db"'),
                (b"repr-digest", b"sha-256=:" + base64.b64encode(snapshot.sha256) + b":"),
                (b"cache-control", b"no-store"),
            )
            while chunk := await asyncio.to_thread(snapshot.file.read, _CHUNK):
                yield chunk


ENDPOINTS: Final = (Endpoint(OPERATION, _backup),)
