"""Turns: some stores at a time, the first one first, and none holds up the others for ever."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from swarm_operator.controllers.swarmmemorystore.workload.turns import WAIT_INTERVAL, Turns
from swarm_operator.runtime.resource import Key

A, B, C, D = (Key("ns", name) for name in "abcd")


@pytest.fixture
def told():
    return []


@pytest.fixture
def turns(told):
    made = Turns(1)
    made.enqueue = told.append
    return made


def test_one_has_a_turn_until_it_ends_it_and_the_first_that_waits_is_next(turns, told):
    assert turns.take(A, 0, lasts=100)
    assert not turns.take(B, 1, lasts=100)
    assert not turns.take(C, 2, lasts=100)
    assert turns.take(A, 3, lasts=100)
    assert turns.others(B) == [A]
    turns.end(A)
    assert told == [B]
    assert not turns.take(C, 4, lasts=100), "B was first"
    assert turns.take(B, 5, lasts=100)


def test_as_many_have_a_turn_as_may(told):
    turns = Turns(2, told.append)
    assert [turns.take(key, 0, lasts=100) for key in (A, B, C)] == [True, True, False]


def test_a_turn_that_nobody_ends_is_over_in_time(turns):
    assert turns.take(A, 0, lasts=100)
    assert not turns.take(B, 99, lasts=100)
    assert turns.take(B, 100, lasts=100)


def test_a_store_that_does_not_ask_any_more_holds_up_nobody(turns):
    assert turns.take(A, 0, lasts=1000)
    assert not turns.take(B, 0, lasts=1000)  # it is paused now
    assert not turns.take(C, WAIT_INTERVAL, lasts=1000)
    turns.end(A)
    assert not turns.take(C, 2 * WAIT_INTERVAL, lasts=1000)
    assert turns.take(C, 3 * WAIT_INTERVAL, lasts=1000)


def test_a_store_that_is_gone_gives_up_its_place(turns, told):
    turns.take(A, 0, lasts=100)
    turns.take(B, 0, lasts=100)
    turns.end(B)
    assert told == []
    turns.end(A)
    assert turns.take(C, 1, lasts=100)


def test_what_an_operator_before_has_begun_counts(turns):
    turns.seed(lambda: [A], until=100)
    turns.seed(lambda: [B], until=100)
    assert not turns.take(B, 0, lasts=100)
    turns.end(A)
    assert turns.take(B, 1, lasts=100)


@given(st.integers(1, 3), st.lists(st.tuples(st.sampled_from([A, B, C, D]), st.booleans()), max_size=40))
def test_never_more_than_may_and_everybody_has_a_turn(most, steps):
    turns, now = Turns(most), 0.0
    having = set()
    for key, ends in steps:
        now += 1
        if ends:
            turns.end(key)
            having.discard(key)
        elif turns.take(key, now, lasts=1000):
            having.add(key)
        assert len(having) <= most
    for key in having:
        turns.end(key)
    left = {A, B, C, D}
    for _ in range(4):
        now += 1
        (*got,) = (key for key in left if turns.take(key, now, lasts=1000))
        left -= set(got)
        for key in got:
            turns.end(key)
    assert not left
