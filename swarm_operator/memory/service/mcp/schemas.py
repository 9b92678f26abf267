"""Building blocks of the tools' schemas (JSON Schema 2020-12).

Lengths in schemas are characters, limits of the store are bytes; the schemas only reject values far over a limit.
"""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.core.entry import (
    MAX_KEY_BYTES,
    MAX_NAMESPACE_BYTES,
    MAX_PAGE_SIZE,
    MAX_TAG_BYTES,
    MAX_TAGS,
    MAX_TTL_SECONDS,
    MAX_VERSION,
)
from swarm_operator.memory.service.json_schema import Schema, array, nullable, text, whole


def limit(default: int, most: int = MAX_PAGE_SIZE) -> Schema:
    """Return the schema of a page size."""
    return whole("How many at most; an answer that would be too long has fewer.", least=1, most=most, default=default)


TEXT: Final = text()
BOOL: Final[Schema] = {"type": "boolean"}
COUNT: Final = whole()
MOMENT: Final = text("RFC 3339, UTC")
ANY: Final[Schema] = {"description": "Any JSON value."}
OBJECT: Final[Schema] = {"type": "object"}
NAMESPACE: Final = text(
    "The namespace, 1 to 255 bytes; `/` and `:` are plain characters in it.",
    most=MAX_NAMESPACE_BYTES,
    default="default",
)
KEY: Final = text("The entry's key, 1 to 1024 bytes without NUL.", most=MAX_KEY_BYTES)
PREFIX: Final = text("Only keys that start so.", least=0, most=MAX_KEY_BYTES, default="")
TTL: Final = whole("Seconds that it lives from now on; 0: until it is deleted.", most=MAX_TTL_SECONDS, default=0)
TAGS: Final = array(text(most=MAX_TAG_BYTES), "At most 64 tags of at most 256 bytes.", most=MAX_TAGS)
VERSION: Final = whole("Only if the entry has this version (compare and set).", least=1, most=MAX_VERSION)
CURSOR: Final = text("The next_cursor of the answer before, with the same other arguments.", most=8192)
NULL_CURSOR: Final = nullable(text("Give it as cursor to get what comes next; null: this was all."))
ID: Final = text("Its id, 1 to 512 bytes.", most=512)
AGENT: Final = text("The id of the agent that does it.", most=512)
DETAILS: Final[Schema] = {"type": "object", "description": "Further members of the record, of your own choice."}
