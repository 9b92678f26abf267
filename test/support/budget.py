"""How much randomized tests do: a part in `make test`, another one in each run, and more in `make test-long`.

The environment variable TEST_BUDGET=long asks for more. Pytest prints the seed of a run when it begins;
`--randomly-seed=SEED` draws the same again.
"""

from __future__ import annotations

import os
import random
import sys

LONG = os.environ.get("TEST_BUDGET") == "long"


def budget(number: int, *, long: int) -> int:
    """Return how many examples, cycles or steps a test takes: `long` in a long run, else `number`."""
    return long if LONG else number


def every(step: int, count: int) -> range:
    """Return each `step`-th number up to `count`. The first one is random, and printed for a test that fails."""
    first = random.randint(1, step)
    sys.stdout.write(f"each {step}. of {count}, beginning with {first}\n")
    return range(first, count + 1, step)
