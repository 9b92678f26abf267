"""JSON of requests and responses."""

from __future__ import annotations

import base64
import json
import math
import sys
from array import array
from collections.abc import Iterable, Mapping
from typing import Any, Final

_MAX_LEVELS: Final = 64
"""Levels of nesting that the service allows in a value."""


def to_json(document: Any) -> bytes:
    """Encode a JSON document.

    Raises:
        ValueError: a part of the document is not JSON. The message begins with its path, such as `value.a[3]`.
    """
    try:
        encoded = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(_find_fault(document, "", 0) or str(error)) from None
    # json.dumps converts other keys to text: {1: 2} would become {"1": 2}.
    if not _has_text_keys(document):
        raise ValueError(_find_fault(document, "", 0))
    return encoded


def vector_text(vector: bytes | Iterable[float] | None) -> str | None:
    """Return a vector as base64 of little-endian float32, which is shorter than JSON numbers; None for None.

    Args:
        vector: the numbers, also those of a numpy array, or the bytes of little-endian float32.

    Raises:
        ValueError: `vector` contains something that is not a number.
    """
    if vector is None:
        return None
    if not isinstance(vector, (bytes, bytearray, memoryview)):
        try:
            numbers = array("f", vector)
        except (TypeError, OverflowError) as error:
            raise ValueError(f"vector: {error}; numbers, or the bytes of little-endian float32, are allowed") from None
        if sys.byteorder != "little":
            numbers.byteswap()
        vector = numbers.tobytes()
    return base64.b64encode(vector).decode()


def json_object(body: bytes) -> dict[str, Any] | None:
    """Decode a JSON object. Return None for any other body."""
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _has_text_keys(document: Any) -> bool:
    """Return whether all keys in a document without cycles are text."""
    pending = [document]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            if not all(isinstance(key, str) for key in part):
                return False
            part = part.values()
        elif not isinstance(part, (list, tuple)):
            continue
        pending += [each for each in part if isinstance(each, (dict, list, tuple))]
    return True


def _find_fault(part: Any, path: str, level: int) -> str | None:
    """Return the error of the first part of a document that is not JSON, or None."""
    name = path or "document"
    if level > _MAX_LEVELS + 4:  # including the levels around the value
        return f"{path[:80]}: nested too deep, or within itself; at most {_MAX_LEVELS} levels are allowed"
    if isinstance(part, str):
        valid = part.isascii() or not any("\ud800" <= character <= "\udfff" for character in part)
        return None if valid else f"{name}: a lone surrogate is not text; valid Unicode is allowed"
    if isinstance(part, float):
        return None if math.isfinite(part) else f"{name}: {part} is not JSON; a finite number is allowed"
    if part is None or isinstance(part, (bool, int)):
        return None
    if isinstance(part, dict):
        for key, each in part.items():
            if not isinstance(key, str):
                return f"{name}: the key {key!r} is not text; an object's keys are text"
            fault = _find_fault(key, f"{name}: a key", level) or _find_fault(
                each, f"{path}.{key}" if path else key, level + 1
            )
            if fault:
                return fault
        return None
    if isinstance(part, (list, tuple)):
        faults = (_find_fault(each, f"{path}[{index}]", level + 1) for index, each in enumerate(part))
        return next((fault for fault in faults if fault), None)
    return (
        f"{name}: a {type(part).__name__} is not JSON; "
        "None, bool, int, float, str, list, tuple or dict with text keys is allowed"
    )


def batch_operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Return an operation of a batch as JSON. The service checks a vector that is a list of numbers."""
    vector = operation.get("vector")
    if vector is None or isinstance(vector, (str, list)):
        return dict(operation)
    return {**operation, "vector": vector_text(vector)}
