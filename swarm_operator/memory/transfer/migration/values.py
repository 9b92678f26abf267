"""Values of legacy columns and members as JSON values, without loss.

A BLOB, or a text that is not UTF-8, becomes `{"base64": ...}`. NaN and infinities become texts.
"""

from __future__ import annotations

import base64
import math
from typing import Any, Final

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import times

_CONTAINERS: Final = ("{", "[")


def json_value(value: Any) -> Any:
    """Return a column's value as JSON. Texts are not parsed."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return {"base64": base64.b64encode(value.encode(errors="surrogateescape")).decode()}
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value)
    return value


def from_text(value: Any, *, scalars: bool) -> Any:
    """Return the JSON value in a column's text; the text itself if it is not JSON or would lose data.

    Args:
        value: the column's value.
        scalars: whether texts such as `5` and `"a"` are parsed, too, and not only arrays and objects.
    """
    value = json_value(value)
    if not isinstance(value, str) or not (scalars or value.lstrip().startswith(_CONTAINERS)):
        return value
    try:
        return strict_json.parse_document("value", value.encode(), levels=0)
    except InvalidInputError:
        return value


def moment(value: Any) -> int | None:
    """Return a legacy time in milliseconds, from a number of seconds or milliseconds, or from a text."""
    if isinstance(value, bytes):
        value = json_value(value)
    if isinstance(value, str):
        text = value.strip()
        number = text.replace(".", "", 1)
        value = float(text) if number.isascii() and number.isdigit() and len(text) <= 20 else text
    found = times.from_text(value)
    return found or None  # 0 is "not set" in the seed's tables


def time_text(value: Any) -> Any:
    """Return a legacy time as ISO 8601 in UTC; the value itself if it is not a time."""
    found = moment(value)
    return json_value(value) if found is None else times.to_text(found)


def whole(value: Any) -> int | None:
    """Return an integer given as an integer, text or float; None for anything else."""
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) <= 18:
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if type(value) is int else None
