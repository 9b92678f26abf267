"""Renders long answers in pieces, between which the event loop serves others: 1000 entries take 10 ms and more."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

PIECE: Final = 100
"""Items that are rendered before others have their turn, 2 to 4 ms of work."""

_Rendered = TypeVar("_Rendered")


async def in_pieces(render: Callable[..., _Rendered], *items: Iterable[Any]) -> list[_Rendered]:
    """Return a list of what `map` gives, and let others run after each PIECE of it."""
    rendering = map(render, *items)
    done: list[_Rendered] = []
    while piece := list(itertools.islice(rendering, PIECE)):
        done += piece
        if len(piece) == PIECE:
            await asyncio.sleep(0)
    return done
