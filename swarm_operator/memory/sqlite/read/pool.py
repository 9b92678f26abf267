"""The reading side: SQL, and the connections that run it.

With a WAL two connections read beside the writer: one for single entries, one for lists and counts, so that a long page
does not hold up a get. With a rollback journal a reader and the writer would lock each other out, so reads run on the
writer's own connection, between its batches. Each call is one hop, its reads are one snapshot, and it leaves no
statement open that would keep the log from being moved.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.core.errors import CorruptValueError, MemoryStoreError
from swarm_operator.memory.core.pages import NamespaceCount, Position, SearchPage
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.changes import ChangePage
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database.connect import open_reader
from swarm_operator.memory.sqlite.database.connection import Worker, snapshot
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.search.index import MAX_TEXT_BYTES
from swarm_operator.memory.sqlite.search.planner import search
from swarm_operator.memory.sqlite.tables import entry_rows
from swarm_operator.memory.sqlite.tables.ranges import PAST_EVERY_TEXT, spans

ENTRIES: Final = "entries"
"""Reads of single entries, which are quick and have a connection of their own."""
PAGES: Final = "pages"
"""Lists, searches, counts."""

T = TypeVar("T")

_PAGE = f"""
    SELECT {entry_rows.LISTED} FROM entries
    WHERE namespace = ? AND key >= ? AND key < ? AND (expires_at IS NULL OR expires_at > ?)
    ORDER BY key LIMIT ?
"""  # noqa: S608
_KEYS = "SELECT key, size FROM entries WHERE namespace = ? AND key >= ? AND key < ? ORDER BY key LIMIT ?"
_TOTAL = "SELECT coalesce(sum(entries), 0), coalesce(sum(bytes), 0) FROM namespaces"
_COUNT = "SELECT entries, bytes FROM namespaces WHERE name = ?"
_TAGGED = "SELECT count(*) FROM entry_tags WHERE tag = ? AND namespace = ?"
_NAMESPACES = "SELECT name, entries, bytes FROM namespaces WHERE name >= ? AND name < ? ORDER BY name"
_PACKED = "SELECT entries, raw, stored FROM compression WHERE id = 1"
# Without the hint SQLite may prefer to walk the whole namespace.
_EXPIRED = """
    SELECT namespace, count(*), sum(size) FROM entries INDEXED BY entries_expiry
    WHERE expires_at <= ? AND namespace >= ? GROUP BY namespace
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of one moment.

    Attributes:
        entries: live entries in all namespaces.
        bytes: of their values.
        counts: the same for each namespace that was asked for, in that order.
        database_bytes: pages of the database times their size, those that are still in the log included.
        free_bytes: those of them that hold nothing.
        packed: rows whose values are compressed, bytes of their values, bytes that are stored. Expired rows count until
            they are collected: they take their place as long.
    """

    entries: int
    bytes: int
    counts: list[NamespaceCount]
    database_bytes: int
    free_bytes: int
    packed: tuple[int, int, int]


class Readers:
    """Runs reads.

    Attributes:
        under_way: how many run or wait for their turn, by ENTRIES and PAGES.
    """

    def __init__(self, points: Worker, scans: Worker, *, owned: bool) -> None:
        self.under_way = {ENTRIES: 0, PAGES: 0}
        self._workers = {ENTRIES: points, PAGES: scans}
        self._owned = owned

    @classmethod
    async def open(cls, path: Path, config: StoreConfig, writer: Worker) -> Readers:
        """Open the reading connections; the writer's must be open."""
        if not config.enable_wal:
            return cls(writer, writer, owned=False)
        points = await open_reader(path, config)
        try:
            scans = await open_reader(path, config)
        except BaseException:
            await points.close()
            raise
        return cls(points, scans, owned=True)

    async def close(self) -> None:
        """Close what was opened here. Must come before the writer closes: the last connection out checkpoints."""
        if self._owned:
            try:
                await self._workers[ENTRIES].close()
            finally:
                await self._workers[PAGES].close()

    async def _run(self, kind: str, read: Callable[[sqlite3.Connection], T]) -> T:
        self.under_way[kind] += 1
        try:
            return await self._workers[kind].run(lambda db: _in_snapshot(db, read))
        except Exception as error:
            raise from_sqlite(error) from error
        finally:
            self.under_way[kind] -= 1

    async def entries(self, identities: Sequence[Identity]) -> list[Entry | MemoryStoreError | None]:
        """The rows of these entries, expired or not; None where there is none, an error where the value is damaged."""

        def read(db: sqlite3.Connection) -> list[Entry | MemoryStoreError | None]:
            found: list[Entry | MemoryStoreError | None] = []
            for identity in identities:
                try:
                    found.append(entry_rows.read(db, identity))
                except CorruptValueError as error:
                    found.append(error)
            return found

        return await self._run(ENTRIES, read)

    async def page(
        self, namespace: str, *, start: str, end: str | bytes, limit: int, max_bytes: int, now: int
    ) -> tuple[list[Entry], bool]:
        """Live entries with start <= key < end in the order of their keys, and whether there are more.

        At most `limit`, and no more once their values have reached `max_bytes`; at least one if there is one. A
        damaged value is an error of the whole page: leaving it out would look like a deletion.
        """

        def read(db: sqlite3.Connection) -> tuple[list[Entry], bool]:
            entries: list[Entry] = []
            size = 0
            # Closing the cursor resets the statement: one that stays open would hold its snapshot.
            with contextlib.closing(db.execute(_PAGE, (namespace, start, end, now, limit + 1))) as found:
                for row in found:
                    if len(entries) == limit or (entries and size + row[-1] > max_bytes):
                        return entries, True
                    entries.append(entry_rows.entry_of(row))
                    size += entries[-1].size
            return entries, False

        return await self._run(PAGES, read)

    async def keys(self, namespace: str, *, start: str, end: str | bytes, limit: int, max_text: int) -> list[str]:
        """At most that many keys with start <= key < end, in their order, expired entries' too.

        No more once their indexed texts have `max_text` bytes together; at least one if there is one.
        """

        def read(db: sqlite3.Connection) -> list[str]:
            keys: list[str] = []
            text = 0
            for key, size in db.execute(_KEYS, (namespace, start, end, limit)).fetchall():
                text += min(size, MAX_TEXT_BYTES)
                if keys and text > max_text:
                    break
                keys.append(key)
            return keys

        return await self._run(PAGES, read)

    async def changes(self, since: int) -> ChangePage:
        """Some changes after a position, and how far the table goes."""

        def read(db: sqlite3.Connection) -> ChangePage:
            return ChangePage(*changes.bounds(db), changes.read(db, since))

        return await self._run(PAGES, read)

    async def search(
        self, query: Query, position: Position | None, *, limit: int, max_bytes: int, now: int
    ) -> SearchPage:
        """A page of a search, see search.search."""
        return await self._run(PAGES, lambda db: search(db, query, position, limit=limit, max_bytes=max_bytes, now=now))

    async def totals(self, namespaces: Sequence[str], now: int) -> Totals:
        """Count everything, and these namespaces."""

        def read(db: sqlite3.Connection) -> Totals:
            total_rows, size = _pair(db, _TOTAL)
            expired = _expired(db, now)
            expired_rows = sum(count for count, _ in expired.values())
            expired_size = sum(size for _, size in expired.values())
            counts = []
            for namespace in namespaces:
                its_rows, its_size = _pair(db, _COUNT, namespace)
                its_expired_rows, its_expired_size = expired.get(namespace, (0, 0))
                counts.append(NamespaceCount(namespace, its_rows - its_expired_rows, its_size - its_expired_size))
            pages = db.execute("PRAGMA page_count").fetchall()[0][0]
            free = db.execute("PRAGMA freelist_count").fetchall()[0][0]
            page_bytes = db.execute("PRAGMA page_size").fetchall()[0][0]
            packed = db.execute(_PACKED).fetchall()[0]
            return Totals(
                total_rows - expired_rows, size - expired_size, counts, pages * page_bytes, free * page_bytes, packed
            )

        return await self._run(PAGES, read)

    async def tagged(self, namespace: str, tags: Sequence[str]) -> dict[str, int]:
        """How many entries of a namespace have each of these tags, expired ones that still lie there included."""

        def read(db: sqlite3.Connection) -> dict[str, int]:
            return {tag: db.execute(_TAGGED, (tag, namespace)).fetchall()[0][0] for tag in tags}

        return await self._run(PAGES, read)

    async def namespaces(
        self, *, start: str, limit: int, now: int, within: Sequence[str] | None = None
    ) -> tuple[list[NamespaceCount], bool]:
        """Namespaces with live entries, from `start` on in the order of their names, and whether there are more.

        `within` limits them to these and those below.
        """
        ranges = [(start, PAST_EVERY_TEXT)] if within is None else spans(within)

        def read(db: sqlite3.Connection) -> tuple[list[NamespaceCount], bool]:
            expired = _expired(db, now, start)
            found: list[NamespaceCount] = []
            for first, end in ranges:
                with contextlib.closing(db.execute(_NAMESPACES, (max(first, start), end))) as counted:
                    for name, entries, size in counted:
                        expired_rows, expired_size = expired.get(name, (0, 0))
                        if entries == expired_rows:
                            continue
                        if len(found) == limit:
                            return found, True
                        found.append(NamespaceCount(name, entries - expired_rows, size - expired_size))
            return found, False

        return await self._run(PAGES, read)


def _expired(db: sqlite3.Connection, now: int, start: str = "") -> dict[str, tuple[int, int]]:
    """Expired rows that still lie there, and their bytes, by namespace."""
    return {name: (count, size) for name, count, size in db.execute(_EXPIRED, (now, start)).fetchall()}


def _pair(db: sqlite3.Connection, sql: str, *parameters: Any) -> tuple[int, int]:
    found = db.execute(sql, parameters).fetchall()
    return (found[0][0], found[0][1]) if found else (0, 0)


def _in_snapshot(db: sqlite3.Connection, read: Callable[[sqlite3.Connection], T]) -> T:
    with snapshot(db):
        return read(db)
