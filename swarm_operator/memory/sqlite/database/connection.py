"""SQLite connections on aiosqlite threads, and transactions.

aiosqlite switches threads for every statement, which costs more than most statements. Therefore a whole transaction or
a batch of reads runs on the thread as one function. The function runs to completion even if the caller is cancelled,
so a cancellation never leaves a transaction open.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import aiosqlite

from swarm_operator.memory.core.callbacks import Receiver
from swarm_operator.memory.core.errors import StoreClosedError
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite

T = TypeVar("T")


class Worker:
    """Runs functions sequentially on the thread that owns an SQLite connection.

    Attributes:
        closed: whether `run` raises StoreClosedError.
    """

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection
        self.closed = False
        self._suspended: list[tuple[Callable[[sqlite3.Connection], Any], Receiver]] | None = None
        """Functions that wait for the end of the suspension, with their receivers; None while not suspended."""

    @classmethod
    async def open(cls, path: Path) -> Worker:
        """Return a new connection in autocommit mode: the code starts and ends transactions explicitly.

        Raises:
            StorageError: the file can't be opened.
        """

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, cached_statements=256)

        try:
            # aiosqlite.connect() supports only the standard library's sqlite3.
            connection = await aiosqlite.Connection(connect, iter_chunk_size=64)
        except sqlite3.Error as error:
            raise from_sqlite(error) from error
        return cls(connection)

    @property
    def alive(self) -> bool:
        """Return whether the thread is running, or is about to be replaced."""
        return self._suspended is not None or self._connection._thread.is_alive()  # noqa: SLF001 - aiosqlite has no public accessor

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run the function on the thread and return its result.

        Raises:
            StoreClosedError: the connection is closed.
            Exception: any exception of the function, unchanged.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self.start(function, future)
        return await future

    def start(self, function: Callable[[sqlite3.Connection], Any], receiver: Receiver) -> None:
        """Run the function on the thread. The receiver gets its result, or its exception.

        The receiver is called in the turn of the event loop in which the result arrives. A task that awaits `run` goes
        on two turns later, which counts when a turn has much to do.

        Raises:
            StoreClosedError: the connection is closed. The receiver gets it if a suspension ends without a connection.
        """
        if self._suspended is not None:
            self._suspended.append((function, receiver))
            return
        connection = self._connection
        try:
            raw = connection._conn  # noqa: SLF001
        except ValueError:
            raise StoreClosedError("the database is closed") from None
        call = functools.partial(_call, function, raw, receiver, asyncio.get_running_loop())
        # aiosqlite has no public method that runs a function on its thread; its own methods use this queue.
        connection._tx.put_nowait((None, call))  # noqa: SLF001

    async def close(self) -> None:
        """Run the queued functions, close the connection and stop the thread."""
        self.closed = True
        await self._connection.close()

    async def suspend(self) -> None:
        """Close like `close`. Functions then wait for `resume`."""
        if self._suspended is None:
            self._suspended = []
        await self._connection.close()

    def resume(self, other: Worker | None) -> None:
        """Continue with the connection of another worker, which the caller must no longer use; None: stay closed."""
        self.closed = other is None
        if other is not None:
            self._connection = other._connection  # noqa: SLF001 - of its own class
        waiting, self._suspended = self._suspended or (), None
        for function, receiver in waiting:
            if receiver.done():
                continue
            try:
                self.start(function, receiver)
            except StoreClosedError as error:
                receiver.set_exception(error)


def _call(
    function: Callable[[sqlite3.Connection], Any],
    db: sqlite3.Connection,
    receiver: Receiver,
    loop: asyncio.AbstractEventLoop,
) -> None:
    """Run the function on the thread, and give its result to the receiver on the event loop."""
    try:
        result = function(db)
    except BaseException as error:  # noqa: BLE001 - the receiver gets it
        loop.call_soon_threadsafe(_pass, receiver, receiver.set_exception, error)
    else:
        loop.call_soon_threadsafe(_pass, receiver, receiver.set_result, result)


def _pass(receiver: Receiver, accept: Callable[[Any], None], outcome: Any) -> None:
    if not receiver.done():
        accept(outcome)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise SQLite errors of the block as store errors."""
    try:
        yield
    except sqlite3.Error as error:
        raise from_sqlite(error) from error


@contextlib.contextmanager
def write_transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run the block in a transaction that holds the write lock. Roll back if the block or the commit raises."""
    try:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite rolls back by itself after some errors
            with contextlib.suppress(sqlite3.Error):
                db.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def snapshot(db: sqlite3.Connection) -> Iterator[None]:
    """Run the block in a deferred transaction. The first read takes the snapshot; no lock delays a writer."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:  # SQLite rolls back by itself after some errors
            db.execute("COMMIT")
