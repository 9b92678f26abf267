"""Expressions that are limited to blocks: together they find what the expression finds, and each one ends early."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import blocks, fulltext
from swarm_operator.memory.sqlite.search.index import exact_token

TERMS = st.sampled_from(
    ("a", "b", '"a b"', '"b ""a"', "^a", "a + b", "NEAR(a b, 1)", 'NEAR("a b" c)', "key : a", "-key : b", "{value} : c",
     "aB", '"x aB"', "ORb", "ä")
)  # fmt: skip
EXPRESSIONS = st.recursive(
    st.lists(TERMS, min_size=1, max_size=3).map(" ".join),
    lambda inner: st.builds("({}) {} {}".format, inner, st.sampled_from(("AND", "OR", "NOT")), inner),
    max_leaves=5,
)
LIMITS = st.sampled_from((None, f"namespace : ({exact_token('n')})"))
TEXTS = ("a", "b", "a b", "b a", "a c b", "c", "a b c", "x a b", "äb", "orb a")
_ROWS = "SELECT rowid FROM entries_text WHERE entries_text MATCH ? ORDER BY rowid"


@pytest.fixture(scope="module")
def table():
    """All texts as keys and values, in three blocks and two namespaces."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute("CREATE VIRTUAL TABLE entries_text USING fts5 (namespace, key, value, content = '')")
        for number in range(300):
            row_id = (number % 3 << blocks._BITS) + number
            tokens = f"{exact_token('nm'[number % 2])} {blocks.token(row_id)}"
            row = (row_id, tokens, TEXTS[number % 10], TEXTS[number // 10 % 10])
            db.execute("INSERT INTO entries_text (rowid, namespace, key, value) VALUES (?, ?, ?, ?)", row)
        yield db


@given(EXPRESSIONS, LIMITS)
def test_blocks_find_together_what_the_expression_finds(table, expression, limits):
    fulltext.check(expression)
    whole = table.execute(_ROWS, (fulltext.scoped(expression, limits),)).fetchall()
    found = []
    for block in range(3):
        limited = blocks.limited(expression, block << blocks._BITS, limits)
        found += table.execute(_ROWS, (limited,)).fetchall()
    assert found == whole


@pytest.mark.parametrize("expression", ["key : (a OR b)", "a AND {key value}: (b)", "-key :(a)"])
def test_a_group_that_is_limited_to_columns_is_in_no_block(expression):
    fulltext.check(expression)
    assert blocks.limited(expression, 1, None) is None
    assert blocks.limited('": (" a', 1, None) is not None


def test_the_token_of_a_block_is_that_of_its_rows():
    db = sqlite3.connect(":memory:")
    for row_id in (1, 2**14 - 1, 2**14, 2**40 + 5):
        assert db.execute(f"SELECT {blocks.token_sql('?')}", (row_id,)).fetchone() == (blocks.token(row_id),)
        assert blocks.token(blocks.start(row_id)) == blocks.token(row_id)
    db.close()
