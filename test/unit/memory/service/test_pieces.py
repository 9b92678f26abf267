"""Long answers are rendered in pieces, between which others have their turn."""

import asyncio
import itertools
from types import SimpleNamespace

import pytest

from swarm_operator.memory.service import pieces
from swarm_operator.memory.service.pieces import PIECE, in_pieces


def count_turns(monkeypatch):
    """A list to which each turn that is given away adds an item: one after each item of an answer."""
    turns = []

    async def sleep(_):
        turns.append(None)

    monkeypatch.setattr(pieces, "PIECE", 1)
    monkeypatch.setattr(pieces, "asyncio", SimpleNamespace(sleep=sleep))
    return turns


async def test_others_have_their_turn_after_each_piece():
    done = []

    async def others():
        for turn in itertools.count():
            done.append(f"turn {turn}")
            await asyncio.sleep(0)

    def render(item, place):
        done.append(item)
        return item, place

    task = asyncio.create_task(others())
    items = range(2 * PIECE + 1)
    assert await in_pieces(render, items, itertools.count(7)) == list(zip(items, itertools.count(7), strict=False))
    task.cancel()
    assert done == [*range(PIECE), "turn 0", *range(PIECE, 2 * PIECE), "turn 1", 2 * PIECE]


@pytest.mark.parametrize("number", [0, 1, PIECE - 1])
async def test_one_piece_gives_no_turn_away(monkeypatch, number):
    monkeypatch.setattr(pieces, "asyncio", SimpleNamespace())
    assert await in_pieces(str, range(number)) == [str(item) for item in range(number)]


@pytest.mark.parametrize(
    "request_",
    [
        ("GET", "/v1/entries?namespace=n"),
        ("GET", "/v1/search?namespace=n"),
        ("POST", "/v1/search", {"namespace": "n"}),
        ("POST", "/v1/batch", {"operations": [{"op": "get", "namespace": "n", "key": f"k{n}"} for n in range(3)]}),
    ],
    ids=lambda request: f"{request[0]} {request[1]}",
)
async def test_answers_over_http_are_rendered_in_pieces(service, monkeypatch, request_):
    for number in range(3):
        await service.put(f"n/k{number}", number)
    turns = count_turns(monkeypatch)
    assert (await service.call(*request_)).status == 200
    assert len(turns) == 3
