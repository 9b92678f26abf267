"""Operation `GET /admin/backup`: streams a consistent copy of the database, in bounded memory.

The copy is first made next to the database, so the volume needs space for it. The file is unlinked before the first
byte is sent, so its space is freed however the response ends. Only one backup runs at a time because of this space.

A response that fails midway aborts its connection. The headers announce the length and the checksum of the copy.
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
"""Maximum seconds to send a chunk: a client that stops reading would otherwise block other backups forever."""


async def _backup(call: Call) -> Stream:
    call.query()
    stream = Stream(200, send_timeout=_SEND_TIMEOUT)
    stream.chunks = _copy(call, stream)
    return stream


async def _copy(call: Call, stream: Stream) -> AsyncGenerator[bytes, None]:
    with call.context.quotas.backups.holding(call.credential.principal):
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
