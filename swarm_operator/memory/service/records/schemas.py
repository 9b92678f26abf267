"""Schemas and fields of several operations on records, for HTTP and for tools.

Lengths in schemas are characters, limits of the store are bytes: the schemas reject only values far over a limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from swarm_operator.memory.core.entry import MAX_PAGE_SIZE
from swarm_operator.memory.service.json_schema import Schema, array, nullable, object_of, text, whole
from swarm_operator.memory.service.records.operation import Field
from swarm_operator.memory.swarm import fields

IDENTIFIER: Final = text("1 to 512 bytes without NUL.", most=fields.MAX_ID_BYTES, pattern="^[^\\u0000]+$")
WORD: Final = text("1 to 128 bytes without NUL.", most=fields.MAX_WORD_BYTES, pattern="^[^\\u0000]+$")
FILTER: Final[Schema] = {"type": "string"}
"""Schema of a filter: any string, since the value is only compared."""
ANY: Final[Schema] = {"description": "Any JSON value."}
MOMENT: Final = text("RFC 3339, UTC.", format="date-time")
AUTHOR: Final = nullable(text("Who wrote it last: the name of the token, or of the pod; null: unknown."))
TOOL_WORD: Final = text(most=fields.MAX_WORD_BYTES)


def identifier(description: str) -> Schema:
    """Return a tool's schema of an ID."""
    return text(description, most=fields.MAX_ID_BYTES)


def words(description: str, *, least: int = 0, most: int = fields.MAX_ITEMS) -> Schema:
    """Return the schema of a list of words."""
    return array(WORD, description, least=least, most=most)


def tool_words(description: str, *, least: int = 0, most: int = fields.MAX_ITEMS) -> Schema:
    """Return a tool's schema of a list of words."""
    return array(TOOL_WORD, description, least=least, most=most)


def record(description: str, properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of a record in a response. Few members are required: older clients may have stored any."""
    members = {"id": {"type": "string"}, "updatedBy": AUTHOR, **properties}
    return object_of(members, ("id", "updatedBy"), closed=False, description=description)


def page_size(default: int, most: int = MAX_PAGE_SIZE) -> Schema:
    """Return a tool's schema of a page size."""
    return whole("Maximum number of results; a long answer has fewer.", least=1, most=most, default=default)


TYPE: Final = Field("type", nullable(WORD), TOOL_WORD)
AGENT: Final = Field("agent", IDENTIFIER, identifier("ID of the acting agent."), required=True)
NEW_ID: Final = Field("id", nullable(IDENTIFIER), identifier("ID of the new record; generated if omitted."))
