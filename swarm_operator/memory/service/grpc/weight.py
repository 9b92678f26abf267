"""Limits the memory of a message before it is parsed.

An empty element of a list takes two bytes of a message and up to 70 in memory. So 16 MiB of such elements would take
half a gigabyte. The parser is one call in C, and would block the event loop for half a second.
"""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError

SMALL: Final = 64 * 1024
"""Messages up to this size (bytes) are parsed without a check."""
MAX_WEIGHT: Final = 2 * 1024 * 1024
"""Maximum weight of a message. 1000 operations with the maximum number of tags weigh 1.3 million."""
_FIELD: Final = 16
"""Weight of a field of any length."""
_UNSEEN: Final = 1024
"""Parts up to this size (bytes) are not parsed: each byte weighs 1."""
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MALFORMED: Final = "as memory.proto describes it"


def check_weight(raw: bytes, descriptor: Any) -> None:
    """Check the weight of a message, which grows with the number of fields and not with the length of texts.

    Args:
        raw: the message.
        descriptor: descriptor of the message; protobuf has several classes of them.

    Raises:
        InvalidInputError: the message weighs more than MAX_WEIGHT, or is malformed.
    """
    if len(raw) > SMALL:
        try:
            _weigh(raw, 0, len(raw), descriptor, MAX_WEIGHT)
        except IndexError:
            raise InvalidInputError("message", _MALFORMED) from None


def _weigh(raw: bytes, start: int, end: int, descriptor: Any, left: int) -> int:
    """Return the remaining weight after a part. Raise InvalidInputError, or IndexError for a truncated message."""
    fields = descriptor.fields_by_number
    while start < end:
        tag, start = _varint(raw, start)
        kind = tag & 7
        left -= _FIELD
        if kind == _BYTES:
            size, start = _varint(raw, start)
            field = fields.get(tag >> 3)
            if field is not None and field.message_type is not None:
                if size > _UNSEEN:
                    left = _weigh(raw, start, min(start + size, end), field.message_type, left)
                else:
                    left -= size
            start += size
        elif kind == _VARINT:
            _, start = _varint(raw, start)
        elif kind in {_FIXED64, _FIXED32}:
            start += 8 if kind == _FIXED64 else 4
        else:  # a group, which memory.proto does not use
            raise InvalidInputError("message", _MALFORMED)
        if left < 0:
            raise InvalidInputError("message", "fewer fields: it has more than 1000 operations may have")
    return left


def _varint(raw: bytes, start: int) -> tuple[int, int]:
    """Return a number and the offset after it."""
    value = shift = 0
    while True:
        byte = raw[start]
        start += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, start
        shift += 7
        if shift > 63:
            raise InvalidInputError("message", _MALFORMED)
