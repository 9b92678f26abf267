"""The questions and facts of `make bench-recall`, and that the static model finds what it found."""

import pytest
from bench.recall.__main__ import exact
from bench.recall.pairs import Pair, Recall, common_words, pairs


def test_there_are_200_pairs_without_common_words():
    found = pairs()
    assert len(found) == 200
    assert {pair: common_words(pair) for pair in found if common_words(pair)} == {}
    assert len({pair.question for pair in found}) == len({pair.fact for pair in found}) == 200


@pytest.mark.parametrize("fact", ["We PAY monthly", "Billing runs monthly", "pay-day"])
def test_common_words_are_noticed(fact):
    assert common_words(Pair("How do you pay for what was billed, the bills and billing?", fact))


def test_recall_is_counted_by_places():
    assert Recall.of([1, 5, 6, None]) == Recall(0.25, 0.5, pytest.approx((1 + 1 / 5 + 1 / 6) / 4))


async def test_the_static_model_finds_what_it_found(static):
    recall = await exact(static, pairs())
    assert recall.at_1 >= 0.35
    assert recall.at_5 >= 0.65
    assert recall.mrr >= 0.5
