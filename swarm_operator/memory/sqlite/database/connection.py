"""One SQLite connection, the aiosqlite thread that owns it, and its transactions.

aiosqlite hops to its thread for every statement, which costs more than most statements do. So a whole piece of work,
a transaction or a batch of reads, goes over as one function. That function runs to its end even when the caller is
cancelled meanwhile: no cancellation can leave a transaction open.
"""

from __future__ import annotations

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
    """Runs functions of a connection, one after the other, on the connection's own thread."""

    def __init__(self, connection: aiosqlite.Connection) -> None:
        self._connection = connection

    @classmethod
    async def open(cls, path: Path) -> Worker:
        """Open a connection in autocommit mode: transactions begin and end where the code says so.

        Raises:
            StorageError: the file can't be opened.
        """

        def connect() -> sqlite3.Connection:
            return sqlite3.connect(path, isolation_level=None, cached_statements=256)

        try:
            # Not aiosqlite.connect(), which knows Python's own SQLite only.
            connection = await aiosqlite.Connection(connect, iter_chunk_size=64)
        except sqlite3.Error as error:
            raise from_sqlite(error) from error
        return cls(connection)

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._connection._thread.is_alive()  # noqa: SLF001 - aiosqlite shows its thread nowhere else

    async def run(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run the function on the thread and return what it returns.

        Raises:
            StoreClosedError: the connection is closed.
            Exception: whatever the function raises, unchanged.
        """
        connection = self._connection
        try:
            raw = connection._conn  # noqa: SLF001
        except ValueError:
            raise StoreClosedError("the database is closed") from None
        # `_execute` is how each of aiosqlite's own methods reaches the thread; it has no public way for a function.
        result: T = await connection._execute(function, raw)  # type: ignore[no-untyped-call]  # noqa: SLF001
        return result

    async def close(self) -> None:
        """Finish what was queued, close the connection, end the thread."""
        await self._connection.close()


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise errors of SQLite as errors of the store."""
    try:
        yield
    except sqlite3.Error as error:
        raise from_sqlite(error) from error


@contextlib.contextmanager
def write_transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Run the block in a transaction that holds the write lock. Roll back when the block or the commit raises."""
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
    """Run the block in a deferred transaction: its first read takes the snapshot, and no lock that delays a writer."""
    db.execute("BEGIN")
    try:
        yield
    finally:
        if db.in_transaction:  # SQLite rolls back by itself after some errors
            db.execute("COMMIT")
