"""Strict JSON encoding and parsing: input that can't be stored without changes is rejected.

orjson silently changes data in three cases. This module rejects all three:
- an object with a repeated member keeps only the last value;
- an integer beyond 64 bits becomes a float;
- NaN and infinities in Python values are written as null.
The checks cost two scans of the text in C. Only suspicious documents are parsed again and compared in detail.

A call in C holds Python's global lock until it returns, so the scans split a large text: on a thread, each piece delays
the event loop by less than a millisecond. Only orjson reads the complete text in one call.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterator
from typing import Any, Final

import orjson

from swarm_operator.memory.core.errors import InvalidInputError

MAX_DEPTH: Final = 64
"""Limit of nested arrays and objects, including the outermost."""
MAX_VALUES: Final = 1_000_000
"""Maximum values of a text. Arrays, objects and members of objects count five times, because they take five times the
memory of other values, up to 100 times the bytes of their text, and time to allocate."""

_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1
# Two scans in C find nineteen consecutive digits; a regular expression takes ten times as long.
_DIGITS_ALIKE = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LONG_NUMBER = b"0" * 19
_LONGEST = 21  # digits of an integer beyond 64 bits, with or without its sign
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_NUMBERS_APART = bytes(byte if byte in b"0123456789+-.eE" else ord(" ") for byte in range(256))
_PIECE: Final = 64 * 1024
"""Bytes of a text that one scan takes."""
_HEAVY = 4  # weight of a bracket or a colon, besides the comma behind it
_WITHOUT_GC = 64 * 1024
_BRACES_ALIKE = bytes.maketrans(b"{}", b"[]")
# Reject Python types that orjson writes in its own format: decoding would not restore them.
_OPTIONS = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS


def encode(field: str, value: Any) -> bytes:
    """Return the compact JSON text of a Python value: dict with str keys, list, str, int, float, bool, None.

    Args:
        field: the field name for errors.
        value: the value to encode.

    Raises:
        InvalidInputError: the value is not JSON: other types, NaN, infinities, lone surrogates, integers beyond 64
            bits, cycles, or more than MAX_DEPTH levels.
    """
    try:
        text = orjson.dumps(value, option=_OPTIONS)
    except TypeError as error:  # orjson.JSONEncodeError is a TypeError
        raise InvalidInputError(field, f"a JSON value ({error})") from None
    if _deeper(text, MAX_DEPTH):
        raise InvalidInputError(field, f"at most {MAX_DEPTH} nested arrays and objects")
    if b"null" in text and not _finite(value):
        raise InvalidInputError(field, "a JSON value, which has no NaN and no infinity")
    return text


def encode_parsed(value: Any) -> bytes:
    """Return the compact JSON text of a value from `parse` with a checked depth. The encoding cannot fail."""
    return orjson.dumps(value)


def decode(text: bytes) -> Any:
    """Return a new Python value from stored JSON text. Callers may modify the value."""
    return orjson.loads(text)


def parse_document(field: str, text: bytes, *, levels: int | None = 1) -> Any:
    """Parse JSON text of a caller.

    Args:
        field: the field name for errors.
        text: UTF-8 without a byte order mark.
        levels: nesting levels around the values: 1 if the text is an object with a value as a member. None skips the
            depth check of long documents, which would double the cost: the caller encodes and checks each value.

    Raises:
        InvalidInputError: not JSON by RFC 8259, a repeated member, an integer beyond 64 bits, a number beyond a
            double's range, a lone surrogate, more than MAX_DEPTH + `levels` levels, or more than MAX_VALUES values.
    """
    document = parse(field, text, levels=levels)
    try:
        again = orjson.dumps(document)
    except TypeError:  # orjson writes at most 254 levels but reads 1024
        raise InvalidInputError(field, f"at most {MAX_DEPTH} nested arrays and objects") from None
    check_parsed(field, text, count(again, b":"))
    return document


def parse(field: str, text: bytes, *, levels: int | None = 1) -> Any:
    """Parse JSON text of a caller that encodes the parts of the document, and then calls `check_parsed`.

    Raises:
        InvalidInputError: as `parse_document`, except for repeated members and large integers.
    """
    check_values(field, text)
    try:
        document = _loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(field, f"JSON as in RFC 8259 ({error})") from None
    if levels is not None and _deeper(text, MAX_DEPTH + levels):
        raise InvalidInputError(field, f"at most {MAX_DEPTH} nested arrays and objects")
    return document


def check_values(field: str, text: bytes, *, most: int = MAX_VALUES) -> None:
    """Check the number of values of a text before parsing; see MAX_VALUES for the weights.

    Raises:
        InvalidInputError: the text has more than `most` values.
    """
    if _HEAVY * len(text) <= most or _weight(text) <= most:
        return
    weight = 0
    for piece in _outside_strings(text):
        weight += _weight(piece)
        if weight > most:
            raise InvalidInputError(
                field, f"at most {most} values; arrays, objects and their members count {_HEAVY + 1} times"
            )


def check_parsed(field: str, text: bytes, colons: int) -> None:
    """Check that parsing has not dropped or changed anything.

    Args:
        field: the field name for errors.
        text: the parsed text.
        colons: number of colons in the document when it is encoded again. Too small a number only costs time.

    Raises:
        InvalidInputError: a repeated member, or an integer beyond 64 bits.
    """
    # Dropping a repeated member drops its colon. Colons inside strings are kept. A colon escaped as \u003a adds a colon
    # to the output, so documents with this escape are also compared in detail.
    if len(text) <= _PIECE:
        if _is_doubtful(text) or text.count(b":") != colons:
            _check_in_detail(field, text)
        return
    found = 0
    for start in range(0, len(text), _PIECE):
        window = text[start : start + _PIECE + len(_LONG_NUMBER) - 1]
        if _is_doubtful(window):
            _check_in_detail(field, text)
            return
        found += window[:_PIECE].count(b":")
    if found != colons:
        _check_in_detail(field, text)


def _is_doubtful(text: bytes) -> bool:
    """Return whether a text has a colon that may be escaped, or a number that may be too long."""
    # `in` takes twice as long as `find`: for bytes on its left it raises and drops an error.
    return text.find(b"\\u003") >= 0 or text.translate(_DIGITS_ALIKE).find(_LONG_NUMBER) >= 0


def _loads(text: bytes) -> Any:
    """Return the parsed text. Parse a large text without the garbage collector, which would rescan the new objects."""
    if len(text) <= _WITHOUT_GC or not gc.isenabled():
        return orjson.loads(text)
    gc.disable()
    try:
        return orjson.loads(text)
    finally:
        gc.enable()


def _deeper(text: bytes, most: int) -> bool:
    """Return whether the arrays and objects of a JSON text are nested in more than `most` levels."""
    if len(text) <= _PIECE:
        brackets_found = text.count(b"[") + text.count(b"{")
    else:
        brackets_found = count(text, b"[") + count(text, b"{")
    if brackets_found <= most:
        return False
    brackets = b"".join(piece.translate(_BRACES_ALIKE, _ALL_BUT_BRACKETS) for piece in _outside_strings(text))
    for _ in range(most):
        if not brackets:
            return False
        brackets = brackets.replace(b"[]", b"")  # removes the innermost level
    return bool(brackets)


def count(text: bytes, mark: bytes) -> int:
    """Return how often a byte occurs in a text, with one call in C for each piece."""
    if len(text) <= _PIECE:
        return text.count(mark)
    return sum(text[start : start + _PIECE].count(mark) for start in range(0, len(text), _PIECE))


def _weight(text: bytes) -> int:
    return count(text, b",") + _HEAVY * (count(text, b"[") + count(text, b"{") + count(text, b":"))


def _outside_strings(text: bytes) -> Iterator[bytes]:
    """Yield the parts of a JSON text outside its strings."""
    start = inside = 0
    while start < len(text):
        piece = text[start : start + _PIECE]
        if (len(piece) - len(piece.rstrip(b"\\"))) % 2:  # the next byte belongs to the last backslash
            piece = text[start : start + _PIECE + 1]
        start += len(piece)
        parts = piece.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
        yield b"".join(parts[inside::2])
        inside ^= 1 - len(parts) % 2


def _finite(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float):
            if not math.isfinite(item):
                return False
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, list | tuple):
            stack.extend(item)
    return True


def _check_in_detail(field: str, text: bytes) -> None:
    """Raise InvalidInputError for a repeated member or an integer beyond 64 bits. The text has been parsed before."""
    members = 0
    unfinished = b""
    for piece in _outside_strings(text):
        members += count(piece, b":")
        *numbers, unfinished = (unfinished + piece.translate(_NUMBERS_APART)).split(b" ")
        _check_integers(field, numbers)
        # Only the kind of a long number matters. Keeping its digits would copy them with each piece.
        if len(unfinished) > _PIECE:
            unfinished = unfinished[:_LONGEST] if _is_integer(unfinished) else b"."
    _check_integers(field, [unfinished])
    if members != sum(piece.count(b":") for piece in _outside_strings(orjson.dumps(_loads(text)))):
        raise InvalidInputError(field, f"each member once; {_repeated_member(text)} is repeated")


def _is_integer(number: bytes) -> bool:
    return number.removeprefix(b"-").isdigit()


def _check_integers(field: str, numbers: list[bytes]) -> None:
    for number in numbers:
        if len(number) < len(_LONG_NUMBER) or not _is_integer(number):
            continue
        # The length test comes first: Python refuses to convert more than 4300 digits.
        if len(number) >= _LONGEST or not _MIN_INTEGER <= int(number) <= _MAX_INTEGER:
            raise InvalidInputError(field, "integers from -2^63 to 2^64-1; send a larger one as a string")


def _repeated_member(text: bytes) -> str:
    """Return the name of a repeated member. This parser is too slow for a large text."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                found.append(name)
            seen.add(name)

    if len(text) <= _PIECE:
        json.loads(text, object_pairs_hook=note)
    return repr(found[0][:64]) if found else "one"
