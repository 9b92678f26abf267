"""Indexed texts of entries, and the index of tags.

The index of tags is updated in the transaction that changes the entries: operations record updates, which are written
once, right before COMMIT. The index of words follows the feed, see search.words.

The column `namespace` of the index of words has tokens instead of words, because `a.b` and `a:b` have the same words,
and a search that is limited to namespaces must not count or rank entries of others. The tokens end in x, which no
stemmer removes.
"""

from __future__ import annotations

import functools
import re
import sqlite3
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, TypeAlias

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.entry import Identity
from swarm_operator.memory.core.errors import CorruptValueError
from swarm_operator.memory.sqlite.tables.compression import decompress

MAX_TEXT_BYTES: Final = 64 * 1024
"""Length of the indexed prefix of a value's JSON."""

_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)")
_INSERT_TAG = "INSERT INTO entry_tags (tag, namespace, key) VALUES (?, ?, ?)"
_DELETE_TAG = "DELETE FROM entry_tags WHERE tag = ? AND namespace = ? AND key = ?"
NO_TAGS: Final = "[]"
"""Tags of an entry without tags, as stored."""


TagUpdate: TypeAlias = tuple[Identity, str, str]
"""An entry, its tags before a change, and after it: JSON arrays."""


def index_text(value_json: bytes) -> str:
    """Return the text to index: the start of the value's JSON, including member names."""
    text = value_json[:MAX_TEXT_BYTES].decode(errors="ignore")
    # JSON escapes a line break as \n; the tokenizer would join the n to the next word.
    return _ESCAPE.sub(" ", text) if "\\" in text else text


def exact_token(namespace: str) -> str:
    """Return the token of the entries of a namespace."""
    return f"x{_digest(namespace)}x"


def subtree_token(root: str) -> str:
    """Return the token of the entries of a namespace and the namespaces below it."""
    return f"s{_digest(root)}x"


@functools.lru_cache(maxsize=1024)
def index_namespace(namespace: str) -> str:
    """Return the text to index for a namespace: its own token, and the token of each subtree that contains it."""
    roots = [namespace[:end] for end, char in enumerate(namespace) if char == "/" and end]
    return " ".join([exact_token(namespace), *map(subtree_token, roots), subtree_token(namespace)])


def _digest(name: str) -> str:
    return blake2b(name.encode(), digest_size=16).hexdigest()


def stored_text(value: bytes, codec_number: int, size: int) -> bytes | None:
    """Return the JSON of a stored value; None if the value is damaged, because its indexed text is unknown."""
    try:
        return decompress(codec_number, value, size)
    except CorruptValueError:
        return None


def write_tags(db: sqlite3.Connection, updates: Iterable[TagUpdate]) -> None:
    """Update the index of tags inside the transaction that changed the rows."""
    changes: dict[Identity, tuple[str, str]] = {}
    for identity, old, new in updates:
        changes[identity] = (changes.get(identity, (old, new))[0], new)
    gone: list[tuple[str, str, str]] = []
    added: list[tuple[str, str, str]] = []
    for identity, (old, new) in changes.items():
        if old != new:
            before, after = _tags(old), _tags(new)
            gone += [(tag, *identity) for tag in before - after]
            added += [(tag, *identity) for tag in after - before]
    for sql, rows in ((_DELETE_TAG, gone), (_INSERT_TAG, added)):
        if rows:
            db.executemany(sql, rows)


def _tags(tags_json: str) -> set[str]:
    return set() if tags_json == NO_TAGS else set(strict_json.decode(tags_json.encode()))
