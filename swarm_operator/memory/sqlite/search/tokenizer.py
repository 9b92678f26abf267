"""Languages of the index of words: how its table, and the tables that stand in for it, find words in texts.

The tokenizer of an FTS5 table is a part of the statement that makes it, https://sqlite.org/fts5.html#tokenizers. So the
language of an index is in its file, moves with it into copies and backups, and can't be changed without a new table.
"""

from __future__ import annotations

import sqlite3
from typing import Final

NO_LANGUAGE: Final = "none"
_WORDS: Final = "unicode61 remove_diacritics 2"
TOKENIZERS: Final = {NO_LANGUAGE: _WORDS, "english": f"porter {_WORDS}"}
"""Tokenizers of FTS5 by languages."""

# Segments on one level that start an automerge, https://sqlite.org/fts5.html#the_automerge_configuration_option. With
# the default of 4, 1% of commits took 10 ms at a million entries; with 8, 0.7 ms. Search times are equal.
_MERGE_AT: Final = 8
_SET_MERGES = "INSERT INTO entries_text (entries_text, rank) VALUES ('automerge', ?)"
_DROP = "DROP TABLE entries_text"
_MADE_BY = "SELECT sql FROM sqlite_schema WHERE name = 'entries_text'"
_MAKE: Final = {
    language: "CREATE VIRTUAL TABLE entries_text USING fts5 "
    f"(namespace, key, value, content = '', tokenize = '{tokenizer}')"
    for language, tokenizer in TOKENIZERS.items()
}
_LANGUAGES: Final = {statement: language for language, statement in _MAKE.items()}


def language_of(db: sqlite3.Connection) -> str:
    """Return the language of the index in the caller's snapshot. Tables of earlier releases are of none."""
    return _LANGUAGES.get(db.execute(_MADE_BY).fetchall()[0][0], NO_LANGUAGE)


def is_table(sql: str) -> bool:
    """Return whether a statement is one that `make_table` runs."""
    return sql in _LANGUAGES


def make_table(db: sqlite3.Connection, language: str) -> None:
    """Replace the table of the index by an empty one of a language, in the caller's transaction."""
    db.execute(_DROP)
    db.execute(_MAKE[language])
    db.execute(_SET_MERGES, (_MERGE_AT,))
