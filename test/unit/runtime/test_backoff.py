import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from swarm_operator.runtime.backoff import Backoff


@pytest.fixture
def backoff(clock):
    return Backoff(clock=clock, jitter=0.0)


def test_delays_double_up_to_the_cap(backoff):
    assert [backoff.next() for _ in range(8)] == [0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0, 30.0]


def test_many_failures_do_not_overflow(backoff):
    for _ in range(2000):
        delay = backoff.next()
    assert delay == 30.0


@given(seed=st.integers(), failures=st.integers(1, 12))
def test_jitter_stays_between_the_delay_and_twice_it_and_below_the_cap(seed, failures):
    backoff = Backoff(rng=random.Random(seed))
    delays = [backoff.next() for _ in range(failures)]
    for number, delay in enumerate(delays):
        plain = min(30.0, 0.8 * 2**number)
        assert plain <= delay <= min(30.0, 2 * plain)


def test_jitter_makes_two_clients_wait_differently():
    assert Backoff(rng=random.Random(1)).next() != Backoff(rng=random.Random(2)).next()


def test_a_healthy_while_starts_the_delays_over(backoff, clock):
    for _ in range(5):
        clock.advance(backoff.next())
    clock.advance(119.0)
    assert backoff.next() == 25.6, "the while has to be longer than that"
    clock.advance(25.6 + 120.1)
    assert backoff.next() == 0.8


def test_the_wait_itself_is_no_healthy_while(clock):
    backoff = Backoff(clock=clock, jitter=0.0, initial=200.0, cap=1000.0)
    delays = []
    for _ in range(3):
        delays.append(backoff.next())
        clock.advance(delays[-1])
    assert delays == [200.0, 400.0, 800.0]
