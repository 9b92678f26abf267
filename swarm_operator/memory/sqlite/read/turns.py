"""Turns: one owner after the other runs a read, so that the reads of one owner do not hold up those of others."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from swarm_operator.memory.core.errors import OverloadedError

T = TypeVar("T")


class Turns:
    """Runs one read at a time. Owners that wait take turns; the reads of an owner run in their order.

    Args:
        max_waiting: maximum number of waiting reads of an owner; None: no limit.
    """

    def __init__(self, max_waiting: int | None = None) -> None:
        self._max_waiting = max_waiting
        self._running = False
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    async def run(self, owner: str, read: Callable[[], Awaitable[T]]) -> T:
        """Run a read when it is its owner's turn, and return its result.

        The next turn begins when the read has ended, not when its caller is cancelled: a thread can't be stopped.

        Raises:
            OverloadedError: too many reads of the owner are waiting.
            Exception: any exception of the read.
        """
        if self._running:
            await self._turn(owner)
        self._running = True
        task = asyncio.ensure_future(read())
        task.add_done_callback(self._ended)
        return await asyncio.shield(task)

    async def _turn(self, owner: str) -> None:
        """Wait for the owner's turn."""
        waiting = self._waiting.get(owner, deque())
        if self._max_waiting is not None and len(waiting) >= self._max_waiting:
            raise OverloadedError(f"{self._max_waiting} searches of this token are waiting, which is the most")
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        self._waiting[owner] = waiting
        try:
            await turn
        except asyncio.CancelledError:
            if turn in waiting:
                waiting.remove(turn)
                if not waiting:
                    del self._waiting[owner]
            else:
                self._next()  # the turn was given, and is not taken
            raise

    def _ended(self, task: asyncio.Future[T]) -> None:
        if not task.cancelled():
            task.exception()  # retrieved: the caller may have been cancelled
        self._next()

    def _next(self) -> None:
        """Give the turn to the next owner."""
        if not self._waiting:
            self._running = False
            return
        owner, waiting = self._waiting.popitem(last=False)
        turn = waiting.popleft()
        if waiting:
            self._waiting[owner] = waiting
        turn.set_result(None)
