"""Strict JSON encoding and parsing: input that can't be stored without changes is rejected.

orjson silently changes data in three cases. This module rejects all three:
- an object with a repeated member keeps only the last value;
- an integer beyond 64 bits becomes a float;
- NaN and infinities in Python values are written as null.
The checks cost two scans of the text in C. Only suspicious documents are parsed again by a slower parser.
"""

from __future__ import annotations

import json
import math
import re
from itertools import accumulate
from typing import Any, Final

import orjson

from swarm_operator.memory.core.errors import InvalidInputError

MAX_DEPTH: Final = 64
"""Limit of nested arrays and objects, including the outermost."""

_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**64 - 1
# Two scans in C find nineteen consecutive digits; a regular expression takes ten times as long.
_DIGITS_ALIKE = bytes(ord("0") if byte in b"0123456789" else ord(" ") for byte in range(256))
_LONG_NUMBER = b"0" * 19
_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
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
    if _depth(text) > MAX_DEPTH:
        raise InvalidInputError(field, f"at most {MAX_DEPTH} nested arrays and objects")
    if b"null" in text and not _finite(value):
        raise InvalidInputError(field, "a JSON value, which has no NaN and no infinity")
    return text


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
            double's range, a lone surrogate, or more than MAX_DEPTH + `levels` levels.
    """
    document = parse(field, text, levels=levels)
    try:
        again = orjson.dumps(document)
    except TypeError:  # orjson writes at most 254 levels but reads 1024
        raise InvalidInputError(field, f"at most {MAX_DEPTH} nested arrays and objects") from None
    check_parsed(field, text, again.count(b":"))
    return document


def parse(field: str, text: bytes, *, levels: int | None = 1) -> Any:
    """Parse JSON text of a caller that encodes the parts of the document, and then calls `check_parsed`.

    Raises:
        InvalidInputError: as `parse_document`, except for repeated members and large integers.
    """
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(field, f"JSON as in RFC 8259 ({error})") from None
    if levels is not None and _depth(text) > MAX_DEPTH + levels:
        raise InvalidInputError(field, f"at most {MAX_DEPTH} nested arrays and objects")
    return document


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
    # to the output, so documents with this escape also go to the slow parser, which decides.
    suspicious = text.count(b":") != colons or b"\\u003" in text
    if suspicious or _LONG_NUMBER in text.translate(_DIGITS_ALIKE):
        _parse_slowly(field, text)


def _depth(text: bytes) -> int:
    """Return the nesting depth of the arrays and objects of a JSON text; 0 if it can't exceed MAX_DEPTH."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return 0  # too few brackets to exceed the limit
    brackets = _STRINGS.sub(b"", text).translate(None, _ALL_BUT_BRACKETS)
    return max(accumulate(map(_STEP.__getitem__, brackets)), default=0)


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


def _parse_slowly(field: str, text: bytes) -> None:
    def members(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise InvalidInputError(field, f"each member once; {name[:64]!r} is repeated")
            seen.add(name)

    def integer(literal: str) -> None:
        # The length test comes first: Python refuses to convert more than 4300 digits.
        if len(literal) > 20 or not _MIN_INTEGER <= int(literal) <= _MAX_INTEGER:
            raise InvalidInputError(field, "integers from -2^63 to 2^64-1; send a larger one as a string")

    json.loads(text, object_pairs_hook=members, parse_int=integer)
