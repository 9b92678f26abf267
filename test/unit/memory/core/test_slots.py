"""Slots: as many as there are, each given back, and told."""

import contextlib

import pytest

from swarm_operator.memory.core.errors import OverloadedError
from swarm_operator.memory.core.slots import Slots


def test_no_more_than_there_are_and_each_is_given_back():
    told = []
    slots = Slots(2, "two are taken", told.append)
    for _ in range(2):
        with slots.taken(), slots.taken(), pytest.raises(OverloadedError, match="two are taken"), slots.taken():
            raise AssertionError("a third was given")
    assert told == [1, 2, 1, 0] * 2


def test_a_slot_is_given_back_after_an_error():
    slots = Slots(1, "taken")
    for _ in range(2):
        with contextlib.suppress(ValueError), slots.taken():
            raise ValueError
