"""The text of an entry that an embedder makes its vector of."""

from __future__ import annotations

import re
from typing import Final

from swarm_operator.memory.sqlite.search.index import index_text

MAX_TEXT: Final = 8192
"""Maximum number of characters; models read fewer."""
_JSON_SIGNS: Final = re.compile(r'[{}\[\]":,\s]+')
_UUID: Final = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_WORD: Final = re.compile(r"(?<![^\W_])([^\W\d_]+)\d*(?![^\W_])")
"""A part of a key that is made of letters, and of digits at its end at most."""


def embedded_text(key: str, value_json: bytes) -> str:
    """Return the words of the key and of the value, names of members included, without JSON's signs.

    Numbers and identifiers in keys are left out: they have no meaning, but in a vector of a short value they weigh more
    than its words.
    """
    words = " ".join(_WORD.findall(_UUID.sub(" ", key)))
    return f"{words}\n{_JSON_SIGNS.sub(' ', index_text(value_json)[: 2 * MAX_TEXT]).strip()}"[:MAX_TEXT]
