"""SQLite connections on aiosqlite threads, and transactions.

aiosqlite switches threads for every statement, which costs more than most statements. Therefore a whole transaction or
a batch of reads runs on the thread as one function. The function runs to completion even if the caller is cancelled,
so a cancellation never leaves a transaction open.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import aiosqlite

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
        self._suspended: asyncio.Event | None = None
        """Set when the suspension ends; None while the worker is not suspended."""

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
        while self._suspended is not None:
            await self._suspended.wait()
        connection = self._connection
        try:
            raw = connection._conn  # noqa: SLF001
        except ValueError:
            raise StoreClosedError("the database is closed") from None
        # aiosqlite has no public method that runs a function on its thread; its own methods use `_execute`.
        result: T = await connection._execute(function, raw)  # type: ignore[no-untyped-call]  # noqa: SLF001
        return result

    async def close(self) -> None:
        """Run the queued functions, close the connection and stop the thread."""
        self.closed = True
        await self._connection.close()

    async def suspend(self) -> None:
        """Close like `close`. Calls of `run` then wait for `resume`."""
        self._suspended = self._suspended or asyncio.Event()
        await self._connection.close()

    def resume(self, other: Worker | None) -> None:
        """Continue with the connection of another worker, which the caller must no longer use; None: stay closed."""
        self.closed = other is None
        if other is not None:
            self._connection = other._connection  # noqa: SLF001 - of its own class
        if self._suspended is not None:
            self._suspended.set()
            self._suspended = None


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
