"""Steps that run while no batch is being committed, and the pause in which nothing else runs."""

from __future__ import annotations

import asyncio
import copy
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from swarm_operator.memory.core.errors import MemoryStoreError, StoreClosedError
from swarm_operator.memory.sqlite.database.connection import Worker

T = TypeVar("T")


@dataclass(slots=True)
class MaintenanceTask:
    """A maintenance step, run between two batches."""

    step: Callable[[], Awaitable[Any]]
    future: asyncio.Future[Any]


class ExclusiveSteps:
    """Queues maintenance steps for the writer, which runs one after each batch. Base class of `Writer`.

    Args:
        worker: the thread of the writer's connection.
        refusal: error for requests and steps from the start on, see `pause`.
    """

    def __init__(self, worker: Worker, refusal: MemoryStoreError | None) -> None:
        self._worker = worker
        self._tasks: deque[MaintenanceTask] = deque()
        self._wakeup = asyncio.Event()
        self._accepting = False
        """Whether the loop takes requests: it was started, `close` was not called, and nothing has stopped it."""
        self._refusal = refusal

    @property
    def _idle(self) -> bool:
        """Return whether nothing waits."""
        return not self._tasks

    async def run_exclusive(self, step: Callable[[sqlite3.Connection], T]) -> T:
        """Run a function on the writer's connection while no batch is being committed.

        Raises:
            StorageError, StoreClosedError: see `submit`.
        """
        return await self._queue_task(lambda: self._worker.run(step))

    async def _queue_task(self, step: Callable[[], Awaitable[T]]) -> T:
        """Run a step between two batches. Steps and batches alternate while both are queued."""
        self._refuse()
        return await self._run_task(step)

    def _refuse(self) -> None:
        """Raise the error for requests while there is one."""
        if not self._accepting or self._worker.closed:
            raise StoreClosedError("the store is closing")
        if self._refusal is not None:
            raise copy.copy(self._refusal)

    async def _run_task(self, step: Callable[[], Awaitable[T]]) -> T:
        task = MaintenanceTask(step, asyncio.get_running_loop().create_future())
        self._tasks.append(task)
        self._wakeup.set()
        result: T = await task.future
        return result

    async def pause(self, refusal: MemoryStoreError) -> None:
        """Refuse new requests and tasks with this error until it is resumed. Return when all accepted ones are done.

        Raises:
            StoreClosedError, MemoryStoreError: the store is closing, or is paused by another error.
        """
        if self._refusal is refusal:
            return
        self._refuse()
        self._refusal = refusal

        async def drained() -> bool:  # runs while no batch is being committed
            return self._idle

        while not await self._run_task(drained):
            pass

    async def run_paused(self, step: Callable[[], None]) -> None:
        """Run a function on the writer's thread, although requests and tasks are refused.

        Raises:
            StoreClosedError: the store is closing.
            StorageError: raised by the function. A full disk frees the reserve, as after a write.
        """
        if not self._accepting or self._worker.closed:
            raise StoreClosedError("the store is closing")
        await self._run_task(lambda: self._worker.run(lambda _: step()))

    def resume(self, refusal: MemoryStoreError) -> None:
        """Accept requests again, unless another error than this one refuses them."""
        if self._refusal is refusal:
            self._refusal = None
