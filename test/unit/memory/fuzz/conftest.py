"""Each test sends what Hypothesis makes up for its share of FUZZ_SECONDS, which `make fuzz` makes longer."""

import asyncio
import os
import random
import time

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from unit.memory.fuzz.target import MIB, Target

SHARE = float(os.environ.get("FUZZ_SECONDS", "20")) / 6
"""Seconds of each of the six tests."""
_ROUND = settings(
    max_examples=40,
    deadline=None,
    # Explaining a failure repeats it many times, and a stall takes seconds.
    phases=(Phase.reuse, Phase.generate, Phase.shrink),
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
)
_GROWTH = 160 * MIB
"""Bytes by which a service may grow after the first round: its caches and what its allocator keeps."""


@pytest.fixture
def runner():
    with asyncio.Runner() as running:
        yield running


@pytest.fixture
def target(tmp_path, zygote):
    running = Target(tmp_path, zygote)
    yield running
    running.close()


@pytest.fixture
def fuzz(target, runner):
    """fuzz(strategy, send) sends what the strategy makes up, in rounds; the service answers, lives and stays small.

    `send` is a coroutine function that asserts what is special about the answer.
    """

    def run(strategy, send):
        end, before = time.monotonic() + SHARE, None
        while before is None or time.monotonic() < end:

            @seed(random.getrandbits(64))
            @_ROUND
            @given(strategy)
            def once(example):
                runner.run(send(example))
                target.alive()

            once()
            before = before or target.rss
        assert target.rss - before < _GROWTH, (before, target.rss)
        runner.run(target.fine())

    return run
