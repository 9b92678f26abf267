"""Long values as LZ4 frames: what is in the file when a row's codec says so. What a value is, is decided in `codec`.

A frame names its content's length and carries a checksum of it, so damage is found, and what a frame would grow to is
known before it grows. LZ4 is chosen for its speed: it costs a write less than the bytes that it saves.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import lz4.frame

from swarm_operator.memory.core.errors import CorruptValueError

MAX_RAW_BYTES: Final = 512 * 1024 * 1024
"""What a frame may grow to: the longest value that any setting allows. More is damage or an attack."""

INLINE_BYTES: Final = 64 * 1024
"""Values up to this length are compressed where they are (0.1 ms); longer ones on a thread: 16 MiB take 30 ms, which
the event loop must not wait for. LZ4 works without the interpreter's lock."""


class Codec(IntEnum):
    """How a row's value is stored: the column `codec`. The numbers are the file's and never change.

    0 and 1 take no bytes in SQLite's record, so reading them never touches the value's pages before them.
    """

    PLAIN = 0
    LZ4 = 1


@dataclass(frozen=True, slots=True)
class StoredValue:
    """A value as it is stored."""

    codec: Codec
    blob: bytes


def compress(raw: bytes, threshold: int) -> StoredValue:
    """Compress a value that is longer than `threshold` bytes (0: none), if that makes it smaller."""
    if threshold and len(raw) > threshold:
        frame = lz4.frame.compress(raw, content_checksum=True, store_size=True)
        if len(frame) < len(raw):
            return StoredValue(Codec.LZ4, frame)
    return StoredValue(Codec.PLAIN, raw)


def decompress(codec: int, blob: bytes, size: int) -> bytes:
    """The value that was packed.

    Args:
        codec: of the row.
        blob: what is stored.
        size: the value's length, as the row says it.

    Raises:
        CorruptValueError: this is not what was stored. Nothing longer than `size` was made of it.
    """
    if codec == Codec.PLAIN:
        return blob
    if codec != Codec.LZ4:
        raise CorruptValueError(f"its codec {codec} is unknown")
    try:
        announced = lz4.frame.get_frame_info(blob)["content_size"]
        if announced != size or size > MAX_RAW_BYTES:
            raise CorruptValueError(f"its frame announces {announced} bytes and its row {size}")
        # LZ4 holds the frame to the length that it announces.
        raw, used = lz4.frame.decompress(blob, return_bytes_read=True)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise CorruptValueError(f"its frame is damaged: {error}") from None
    if len(raw) != size or used != len(blob):
        raise CorruptValueError(f"its frame holds {len(raw)} bytes and its row {size}")
    return bytes(raw)
