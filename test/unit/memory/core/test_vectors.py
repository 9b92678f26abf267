"""Vectors of drafts and queries: what is one, and how a query says what is searched."""

import math
import struct

import pytest

from swarm_operator.memory.core import vectors
from swarm_operator.memory.core.entry import Draft
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.query import Mode, Order, Query
from swarm_operator.memory.core.vectors import check_vector, width


@pytest.mark.parametrize(
    "vector",
    [[1, 0.5, -2.0], (1.0, 0.5, -2), struct.pack("<3f", 1, 0.5, -2), bytearray(struct.pack("<3f", 1, 0.5, -2))],
)
def test_a_vector_is_kept_as_little_endian_float32(vector):
    checked = check_vector(vector)
    assert struct.unpack("<3f", checked) == (1.0, 0.5, -2.0)
    assert width(checked) == 3
    assert Draft.create("n", "k", 1, vector=vector).vector == checked


@pytest.mark.parametrize(
    "vector",
    [
        [], [0.0], [0, 0], [1.0] * 4097, [1.0, math.nan], [math.inf], [1e39], [10**400], [True, 1.0], ["1"], "abcd",
        b"abc", b"", struct.pack("<f", math.nan), struct.pack("<f", 0), 5, {"0": 1.0}, [None], [[1.0]],
    ],
)  # fmt: skip
def test_what_is_no_vector_is_refused_by_name(vector):
    for create in (lambda: Draft.create("n", "k", 1, vector=vector), lambda: Query.create(vector=vector)):
        with pytest.raises(InvalidInputError, match=r"^vector: 1 to 4096 finite numbers"):
            create()


def test_the_widest_vector_and_the_smallest_number_are_taken():
    assert width(check_vector([1.0] * 4096)) == 4096
    assert check_vector([1e-45]) == struct.pack("<f", 1e-45)


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({}, None),
        ({"text": "fox"}, None),
        ({"match": "fox OR cat"}, Mode.WORDS),
        ({"vector": [1.0]}, Mode.MEANING),
        ({"vector": [1.0], "text": "fox"}, Mode.HYBRID),
        ({"vector": [1.0], "match": "fox"}, Mode.HYBRID),
        ({"text": "fox", "mode": "words"}, Mode.WORDS),
        ({"text": "fox", "mode": "meaning"}, Mode.MEANING),
        ({"text": "fox", "mode": "hybrid"}, Mode.HYBRID),
    ],
)
def test_the_mode_follows_from_what_is_searched(given, mode):
    query = Query.create(**given)
    assert query.mode is mode
    assert query.order is (Order.RANK if given else Order.KEY)
    assert (query.expression is None) is (mode is Mode.MEANING or not given)


@pytest.mark.parametrize(
    "given",
    [
        {"mode": "sense", "text": "a"}, {"mode": "words"}, {"mode": "words", "vector": [1.0]},
        {"mode": "words", "text": "a", "vector": [1.0]}, {"mode": "meaning"}, {"mode": "meaning", "match": "a"},
        {"mode": "meaning", "text": "a", "vector": [1.0]}, {"mode": "hybrid"}, {"mode": "hybrid", "vector": [1.0]},
        {"mode": "hybrid", "match": "a"}, {"mode": 5, "text": "a"},
    ],
)  # fmt: skip
def test_a_mode_that_does_not_fit_is_refused(given):
    with pytest.raises(InvalidInputError, match=r"^mode: "):
        Query.create(**given)


def test_a_question_is_no_expression():
    question = 'What is "it", and why (not) AND* ' + "so " * 200 + "?!"
    query = Query.create(text=question, mode="meaning")
    assert (query.text, query.expression) == (question, None)
    assert Query.create(text="Why? (it's) NEAR!", mode="hybrid").text == "Why? (it's) NEAR!"
    for text in ("", "  ", "x" * 8193, "\ud800"):
        with pytest.raises(InvalidInputError, match=r"^text: "):
            Query.create(text=text, mode="meaning")


def test_a_ranked_query_has_no_other_order():
    with pytest.raises(InvalidInputError, match=r"^order: one of rank$"):
        Query.create(vector=[1.0], order="key")
    with pytest.raises(InvalidInputError, match=r"^order: one of key, updated$"):
        Query.create(order="rank")


def test_a_cursor_belongs_to_a_vector_and_a_mode():
    queries = [
        Query.create(vector=[1.0, 2.0]), Query.create(vector=[2.0, 1.0]), Query.create(vector=[1.0, 2.0], text="a"),
        Query.create(text="a"), Query.create(text="a", mode="words"), Query.create(text="a", mode="meaning"),
    ]  # fmt: skip
    assert len({query.fingerprint for query in queries}) == len(queries)


def test_a_vector_comes_back_from_json():
    checked = check_vector([1.5, -2, 0])
    assert check_vector(vectors.from_json(vectors.to_json(checked))) == checked
    assert vectors.from_json([1, 2]) == [1, 2]
    assert vectors.from_json(None) is None


@pytest.mark.parametrize("text", ["?", "AAA", "ü", "AA==\n", " AAAA"])
def test_what_is_no_base64_is_refused(text):
    with pytest.raises(InvalidInputError, match="base64"):
        vectors.from_json(text)


def test_vectors_are_the_same_if_eight_bits_of_each_number_are():
    one = check_vector([0.4, -1.0, 0.25])
    assert vectors.same(one, one)
    assert vectors.same(one, check_vector([0.8, -2.001, 0.5])), "the direction counts"
    assert not vectors.same(one, check_vector([0.4, -1.0, 0.27]))
    assert not vectors.same(one, check_vector([0.4, -1.0]))
