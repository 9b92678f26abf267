"""Languages of the index of words: the tokenizers of its table and of the in-memory tables.

The tokenizer of an FTS5 table is part of its CREATE statement, https://sqlite.org/fts5.html#tokenizers. So the database
file and its copies contain the language of the index, and a change of the language requires a new table.
"""

from __future__ import annotations

import sqlite3
from typing import Final

NO_LANGUAGE: Final = "none"
_WORDS: Final = "unicode61 remove_diacritics 2"
TOKENIZERS: Final = {NO_LANGUAGE: _WORDS, "english": f"porter {_WORDS}"}
"""Tokenizers of FTS5 by language."""

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
    """Return the language of the index in the caller's snapshot. Tables of earlier releases have the language none."""
    return _LANGUAGES.get(db.execute(_MADE_BY).fetchall()[0][0], NO_LANGUAGE)


def is_table(sql: str) -> bool:
    """Return whether `make_table` runs this statement."""
    return sql in _LANGUAGES


def make_table(db: sqlite3.Connection, language: str) -> None:
    """Replace the table of the index by an empty table for a language, in the caller's transaction."""
    db.execute(_DROP)
    db.execute(_MAKE[language])
    db.execute(_SET_MERGES, (_MERGE_AT,))
