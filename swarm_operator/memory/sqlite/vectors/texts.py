"""The text of an entry that an embedder makes its vector of."""

from __future__ import annotations

import re
from typing import Final

from swarm_operator.memory.sqlite.search.index import index_text

MAX_TEXT: Final = 8192
"""Maximum number of characters; models read fewer."""
_JSON_SIGNS: Final = re.compile(r'[{}\[\]":,\s]+')


def embedded_text(key: str, value_json: bytes) -> str:
    """Return the key and the words of the value, names of members included, without JSON's signs."""
    return f"{key}\n{_JSON_SIGNS.sub(' ', index_text(value_json)[: 2 * MAX_TEXT]).strip()}"[:MAX_TEXT]
