"""Compression of long values as LZ4 frames. The JSON encoding of values is in core.strict_json.

A frame contains the length and a checksum of its content. So damage is detected, and the decompressed size is known
before decompression. LZ4 was chosen for speed: compressing a value costs a write less time than the saved bytes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple

import lz4.frame

from swarm_operator.memory.core.errors import CorruptValueError

MAX_RAW_BYTES: Final = 512 * 1024 * 1024
"""Maximum decompressed size: the longest value that any setting allows. Larger sizes mean damage or an attack."""

INLINE_BYTES: Final = 64 * 1024
"""Values up to this length are compressed on the event loop (0.1 ms), longer values on a thread: 16 MiB take 30 ms.
LZ4 releases the GIL."""


class Codec(IntEnum):
    """Encoding of a stored value: the column `codec`. The numbers are part of the file format and never change.

    0 and 1 use no bytes in SQLite's record body, so reading the column never reads the value's overflow pages.
    """

    PLAIN = 0
    LZ4 = 1


class StoredValue(NamedTuple):
    """A value in its stored form."""

    codec: Codec
    blob: bytes


def compress(raw: bytes, threshold: int) -> StoredValue:
    """Return the value compressed if it is longer than `threshold` bytes (0: never) and becomes smaller."""
    if threshold and len(raw) > threshold:
        frame = lz4.frame.compress(raw, content_checksum=True, store_size=True)
        if len(frame) < len(raw):
            return StoredValue(Codec.LZ4, frame)
    return StoredValue(Codec.PLAIN, raw)


def compress_inline(raw: bytes, threshold: int) -> StoredValue | None:
    """Return the value as `compress` does; None if that would block the event loop for too long."""
    return compress(raw, threshold) if len(raw) <= INLINE_BYTES else None


def decompress(codec: int, blob: bytes, size: int) -> bytes:
    """Return the original value of a stored value.

    Args:
        codec: the row's codec number.
        blob: the stored bytes.
        size: the value's length in bytes according to the row.

    Raises:
        CorruptValueError: the stored bytes are damaged. At most `size` bytes were decompressed.
    """
    if codec == Codec.PLAIN:
        return blob
    if codec != Codec.LZ4:
        raise CorruptValueError(f"its codec {codec} is unknown")
    try:
        announced = lz4.frame.get_frame_info(blob)["content_size"]
        if announced != size or size > MAX_RAW_BYTES:
            raise CorruptValueError(f"its frame announces {announced} bytes and its row {size}")
        # LZ4 enforces the content size of the frame header.
        raw, used = lz4.frame.decompress(blob, return_bytes_read=True)
    except (RuntimeError, ValueError, MemoryError) as error:
        raise CorruptValueError(f"its frame is damaged: {error}") from None
    if len(raw) != size or used != len(blob):
        raise CorruptValueError(f"its frame holds {len(raw)} bytes and its row {size}")
    return bytes(raw)


def checked(raw: bytes) -> bytes:
    """Return a value that is stored without compression, unless it can't be JSON: a page of it is zeros or random.

    Such a value has no checksum, so other damage is not detected. Parsing each value would take too long.

    Raises:
        CorruptValueError: it has a NUL byte, or is not UTF-8.
    """
    if 0 in raw:  # as bytes it would take eight times as long
        raise CorruptValueError("it has a NUL byte")
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError:
            raise CorruptValueError("it is not UTF-8") from None
    return raw
