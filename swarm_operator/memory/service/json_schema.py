"""Builders of JSON Schema (2020-12) for the MCP tools and the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Schema = dict[str, Any]


def text(description: str = "", *, most: int = 0, least: int = 1, **more: Any) -> Schema:
    """Return the schema of a string."""
    bounds = {"minLength": least, "maxLength": most} if most else {}
    return {"type": "string", **bounds, **_described(description), **more}


def whole(description: str = "", *, least: int = 0, most: int | None = None, **more: Any) -> Schema:
    """Return the schema of an integer."""
    bounds = {"minimum": least} if most is None else {"minimum": least, "maximum": most}
    return {"type": "integer", **bounds, **_described(description), **more}


def one_of(description: str, *values: str, **more: Any) -> Schema:
    """Return the schema of a string that is one of the values."""
    return {"type": "string", "enum": list(values), **_described(description), **more}


def array(items: Schema, description: str = "", *, least: int = 0, most: int | None = None) -> Schema:
    """Return the schema of a list."""
    bounds = {"minItems": least} if least else {}
    if most is not None:
        bounds["maxItems"] = most
    # The bounds precede `items`, so that they are checked first: a list of a million items is rejected by its length.
    return {"type": "array", **bounds, "items": items, **_described(description)}


def object_of(
    properties: Mapping[str, Schema], required: tuple[str, ...] = (), *, closed: bool = True, description: str = ""
) -> Schema:
    """Return the schema of an object with these properties; no others are allowed if `closed`."""
    schema: Schema = {"type": "object", **_described(description)}
    if closed:
        schema["additionalProperties"] = False
    if required:
        schema["required"] = list(required)
    return {**schema, "properties": dict(properties)}


def nullable(schema: Schema) -> Schema:
    """Return the schema extended by null."""
    return {**schema, "type": [schema["type"], "null"]}


def number(description: str = "", *, least: float | None = None, most: float | None = None, **more: Any) -> Schema:
    """Return the schema of a number."""
    bounds = {name: value for name, value in (("minimum", least), ("maximum", most)) if value is not None}
    return {"type": "number", **bounds, **_described(description), **more}


def _described(description: str) -> Schema:
    return {"description": description} if description else {}
