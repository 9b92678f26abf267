"""Building blocks of the tools' schemas (JSON Schema 2020-12).

Lengths in schemas are characters, limits of the store are bytes; the schemas only reject values far over a limit.
"""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.core.entry import (
    MAX_KEY_BYTES,
    MAX_NAMESPACE_BYTES,
    MAX_TAG_BYTES,
    MAX_TAGS,
    MAX_TTL_SECONDS,
    MAX_VERSION,
)
from swarm_operator.memory.service.json_schema import Schema, array, text, whole

TEXT: Final = text()
ANY: Final[Schema] = {"description": "Any JSON value."}
NAMESPACE: Final = text(
    "Namespace of the entry; `/` and `:` are ordinary characters.", most=MAX_NAMESPACE_BYTES, default="default"
)
KEY: Final = text("Key of the entry.", most=MAX_KEY_BYTES)
PREFIX: Final = text("Only keys that start with this.", least=0, most=MAX_KEY_BYTES, default="")
TTL: Final = whole("Seconds until the entry expires; 0: never.", most=MAX_TTL_SECONDS, default=0)
TAGS: Final = array(text(most=MAX_TAG_BYTES), "Labels to search by.", most=MAX_TAGS)
VERSION: Final = whole("Only if the entry has this version (compare and set).", least=1, most=MAX_VERSION)
CURSOR: Final = text("next_cursor of the previous answer; repeat the other arguments.", most=8192)
