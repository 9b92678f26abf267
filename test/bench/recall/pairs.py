"""Questions and the facts that answer them, of our own. A question and its fact have no word in common."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_FILE = Path(__file__).with_name("pairs.tsv")
_STEM = 5
"""Words with so many first letters in common count as the same: `pay` and `paid` do not, `billing` and `billed` do."""


class Pair(NamedTuple):
    """A question, and the fact that answers it."""

    question: str
    fact: str


@dataclass(frozen=True)
class Recall:
    """Recall of a search.

    Attributes:
        at_1: share of the questions whose fact is found first.
        at_5: share of the questions whose fact is among the first five.
        mrr: mean of the reciprocals of the facts' places; 0 for a fact that is not found.
    """

    at_1: float
    at_5: float
    mrr: float

    @classmethod
    def of(cls, places: Sequence[int | None]) -> Recall:
        """Return the recall by the place of each question's fact, from 1; None: it was not found."""
        found = [place for place in places if place is not None]
        at_1, at_5 = (sum(place <= most for place in found) / len(places) for most in (1, 5))
        return cls(at_1, at_5, sum(1 / place for place in found) / len(places))


def pairs() -> list[Pair]:
    """Return all pairs."""
    return [Pair(*line.split("\t")) for line in _FILE.read_text(encoding="utf-8").splitlines()]


def common_words(pair: Pair) -> set[tuple[str, str]]:
    """Return the words that a question has in common with its fact."""
    asked, told = (re.findall(r"[^\W_]+", text.lower()) for text in pair)
    return {(one, other) for one in asked for other in told if _stem(one) == _stem(other)}


def _stem(word: str) -> str:
    return word[:_STEM] if len(word) >= _STEM else word
