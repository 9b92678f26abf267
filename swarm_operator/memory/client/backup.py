"""Download of a backup to a file that is created atomically."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Final

import aiohttp

from swarm_operator.memory.atomicfile import AtomicFile, remove_stale
from swarm_operator.memory.client.errors import MemoryUnavailableError
from swarm_operator.memory.client.transport import Transport

_CHUNK: Final = 256 * 1024
_MEDIA_TYPE: Final = "application/vnd.sqlite3"


class _LocalError(Exception):
    """The file could not be written. The transport maps an OSError inside a stream to a connection error."""

    def __init__(self, reason: OSError) -> None:
        super().__init__(reason)
        self.reason = reason


async def fetch(transport: Transport, path: str | Path, *, progress: Callable[[int, int], None] | None) -> int:
    """Download a backup to a new file and return its size; see MemoryClient.backup."""
    target = Path(path)
    await asyncio.to_thread(remove_stale, target.parent)
    # The file is created first: if this fails, the service makes no backup.
    file = AtomicFile.create(target)
    try:
        async with transport.stream("/admin/backup", media_type=_MEDIA_TYPE) as response:
            size = response.content_length
            if size is None:
                raise transport.foreign(response, b"", "no Content-Length")
            digest = hashlib.sha256()
            received = 0
            with file.path.open("wb", buffering=0) as opened:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    await asyncio.to_thread(_write, opened, chunk)
                    digest.update(chunk)
                    received += len(chunk)
                    if progress is not None:
                        progress(received, size)
            announced = _announced(response)
        if received != size:
            raise MemoryUnavailableError(f"received {received} of {size} bytes", uncertain=False)
        if announced is not None and announced != digest.digest():
            raise MemoryUnavailableError("the checksum of the download differs from Repr-Digest", uncertain=False)
        await asyncio.to_thread(file.publish)
    except _LocalError as error:
        raise error.reason from None
    finally:
        await asyncio.to_thread(file.discard)
    return received


def _write(file: FileIO, chunk: bytes) -> None:
    """Write a chunk completely."""
    try:
        written = 0
        while written < len(chunk):
            written += file.write(chunk[written:])
    except OSError as error:
        raise _LocalError(error) from error


def _announced(response: aiohttp.ClientResponse) -> bytes | None:
    """Return the SHA-256 digest in the Repr-Digest header (RFC 9530), or None."""
    for part in response.headers.get("Repr-Digest", "").split(","):
        name, _, value = part.strip().partition("=")
        if name == "sha-256":
            try:
                return base64.b64decode(value.strip(":"), validate=True)
            except binascii.Error:
                return None
    return None
