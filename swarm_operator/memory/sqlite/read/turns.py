"""Fair scheduling of reads: the owners run steps in turn, so that the reads of one owner do not delay others.

An owner with many waiting reads gets no more turns than an owner with one read. A read with several steps yields its
turn after each step, if another owner waits. The reads of one owner run in their order.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import TypeVar

from swarm_operator.memory.core.errors import OverloadedError

T = TypeVar("T")


class Turns:
    """Gives turns to the steps of reads.

    Args:
        at_once: maximum number of concurrent steps.
        max_waiting: maximum number of reads that wait to begin; None: no limit.
        max_of_owner: maximum number of waiting reads of one owner.
    """

    def __init__(self, at_once: int = 1, max_waiting: int | None = None, max_of_owner: int | None = None) -> None:
        self._at_once = at_once
        self._max_waiting = max_waiting
        self._max_of_owner = max_of_owner
        self._running = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        """Waiting turns by owner; the first owner is next."""
        self._beginning: Counter[str] = Counter()
        """Number of waiting reads before their first step, by owner."""

    async def run(self, owner: str, step: Callable[[], Awaitable[T | None]]) -> T:
        """Run a step in its owner's turns until its result is not None. Return the result.

        The next turn begins when the step has ended, not when its caller is cancelled: a thread can't be stopped.

        Raises:
            OverloadedError: too many reads are waiting; no step was run.
            Exception: any exception of a step.
        """
        if self._running < self._at_once:
            self._running += 1
        else:
            await self._begin(owner)
        while True:
            task = asyncio.ensure_future(step())
            try:
                result = await asyncio.shield(task)
            except BaseException:
                task.add_done_callback(self._ended)
                raise
            if result is not None:
                self._next()
                return result
            if any(other != owner for other in self._waiting):
                await self._turn(owner, again=True)

    async def _begin(self, owner: str) -> None:
        """Wait for the first turn of a read."""
        mine, total = self._beginning[owner], self._beginning.total()
        if self._max_of_owner is not None and mine >= self._max_of_owner:
            raise OverloadedError(f"searches: {mine} of this token are waiting; at most {self._max_of_owner} may wait")
        if self._max_waiting is not None and total >= self._max_waiting:
            raise OverloadedError(f"searches: {total} are waiting; at most {self._max_waiting} may wait")
        self._beginning[owner] += 1
        try:
            await self._turn(owner, again=False)
        finally:
            self._beginning[owner] -= 1
            if not self._beginning[owner]:
                del self._beginning[owner]

    async def _turn(self, owner: str, *, again: bool) -> None:
        """Wait for a turn. With `again`, the read goes first among its owner's reads, and the owner last."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(owner, deque())
        if again:
            waiting.appendleft(turn)
            self._waiting.move_to_end(owner)
            self._next()
        else:
            waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in waiting:
                waiting.remove(turn)
                if not waiting:
                    del self._waiting[owner]
            else:
                self._next()  # the turn was given and is not used
            raise

    def _ended(self, task: asyncio.Future[T]) -> None:
        if not task.cancelled():
            task.exception()  # retrieved: the caller may have been cancelled
        self._next()

    def _next(self) -> None:
        """Give a turn to the next owner."""
        if not self._waiting:
            self._running -= 1
            return
        owner, waiting = self._waiting.popitem(last=False)
        turn = waiting.popleft()
        if waiting:
            self._waiting[owner] = waiting
        turn.set_result(None)
