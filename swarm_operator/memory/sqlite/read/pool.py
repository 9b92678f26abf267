"""Read queries and their connections.

With a WAL, several connections read concurrently with the writer: one for single entries, one for lists, counts and
searches without a text, and StoreConfig.max_searches for searches with a text. So a long page does not delay a get, and
a search for words delays no list. Searches run in slices of a few milliseconds (see search.slices), and their owners
take turns. Slices of searches without a text run one at a time, so a list waits for at most one slice.

With a rollback journal, readers and the writer would lock each other out, so reads run on the writer's connection
between batches. Each call switches threads once and reads one snapshot. No statement stays open, as an open statement
would block checkpoints.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from swarm_operator.memory.core.callbacks import Receiver
from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.core.errors import CorruptValueError, MemoryStoreError
from swarm_operator.memory.core.observer import Observer
from swarm_operator.memory.core.pages import NamespaceCount, Position, SearchPage
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.core.threads import lower_priority
from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.changes import ChangePage
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.database.connect import open_reader
from swarm_operator.memory.sqlite.database.connection import Worker, snapshot
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.read.turns import Turns
from swarm_operator.memory.sqlite.search.slices import Slices
from swarm_operator.memory.sqlite.search.words import long_text
from swarm_operator.memory.sqlite.tables import entry_rows
from swarm_operator.memory.sqlite.tables.ranges import PAST_EVERY_TEXT, spans

ENTRIES: Final = "entries"
"""Reads of single entries: fast, on a separate connection."""
PAGES: Final = "pages"
"""Lists, counts, and searches without a text."""
TEXTS: Final = "texts"
"""Searches with a text."""
_SHARE: Final = 4
"""Divisor of StoreConfig.max_waiting_searches: the share that one owner may have of them."""

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
# Without INDEXED BY, SQLite may scan the whole namespace.
_EXPIRED = """
    SELECT namespace, count(*), sum(size) FROM entries INDEXED BY entries_expiry
    WHERE expires_at <= ? AND namespace >= ? GROUP BY namespace
"""


@dataclass(frozen=True, slots=True)
class Totals:
    """Counts of one snapshot.

    Attributes:
        entries: number of live entries in all namespaces.
        bytes: bytes of the values of live entries.
        counts: entries and bytes of each requested namespace, in the requested order.
        database_bytes: size of all database pages, including pages that are still in the WAL.
        free_bytes: size of the empty pages.
        packed: number of compressed rows, uncompressed bytes of their values, stored bytes. Expired rows are included
            until they are collected, because they still use space.
    """

    entries: int
    bytes: int
    counts: list[NamespaceCount]
    database_bytes: int
    free_bytes: int
    packed: tuple[int, int, int]


class _Counted:
    """Receiver of a read that was counted when it began. Ends the count, and passes errors on as store errors."""

    __slots__ = ("_counts", "_kind", "_receiver", "done")

    def __init__(self, counts: dict[str, int], kind: str, receiver: Receiver) -> None:
        self._counts = counts
        self._kind = kind
        self._receiver = receiver
        self.done = receiver.done

    def set_result(self, result: Any, /) -> None:
        self._counts[self._kind] -= 1
        self._receiver.set_result(result)

    def set_exception(self, error: BaseException, /) -> None:
        self._counts[self._kind] -= 1
        self._receiver.set_exception(from_sqlite(error) if isinstance(error, Exception) else error)


class Readers:
    """Runs read queries.

    Attributes:
        under_way: number of running and waiting reads, by ENTRIES, PAGES and TEXTS.
        database: number of the database that is read. A replacement adds one while all connections are closed, so it
            does not change during a read.
    """

    def __init__(
        self, workers: dict[str, Worker], searchers: Sequence[Worker], config: StoreConfig, *,
        observer: Observer, owned: bool,
    ) -> None:  # fmt: skip
        self.under_way = dict.fromkeys((ENTRIES, PAGES, TEXTS), 0)
        self.database = 0
        self._workers = workers
        self._searchers = tuple(searchers)
        self._observer = observer
        self._owned = owned
        self._idle = {PAGES: [workers[PAGES]], TEXTS: [*searchers]}
        waiting = config.max_waiting_searches
        # A search without a text is never refused: records are listed by their tags.
        self._turns = {
            PAGES: Turns(),
            TEXTS: Turns(len(searchers), max_waiting=waiting, max_of_owner=max(waiting // _SHARE, 1)),
        }

    @classmethod
    async def open(cls, path: Path, config: StoreConfig, writer: Worker, observer: Observer) -> Readers:
        """Return readers with open connections. The writer must be open. The observer receives searches."""
        kinds = (ENTRIES, PAGES)
        if not config.enable_wal:
            return cls(dict.fromkeys(kinds, writer), [writer], config, observer=observer, owned=False)
        async with contextlib.AsyncExitStack() as stack:
            opened = []
            for _ in range(len(kinds) + config.max_searches):
                opened.append(await open_reader(path, config))
                stack.push_async_callback(opened[-1].close)
            stack.pop_all()
        workers = dict(zip(kinds, opened, strict=False))
        return cls(workers, opened[len(kinds) :], config, observer=observer, owned=True)

    @property
    def own_workers(self) -> tuple[Worker, ...]:
        """Return the reading connections, slowest reads first; none if reads use the writer's connection."""
        return (*self._searchers, self._workers[PAGES], self._workers[ENTRIES]) if self._owned else ()

    async def close(self) -> None:
        """Close the reading connections. Close them before the writer: the last connection to close checkpoints."""
        async with contextlib.AsyncExitStack() as stack:
            for worker in self.own_workers:
                stack.push_async_callback(worker.close)

    async def _run(self, kind: str, read: Callable[[sqlite3.Connection], T]) -> T:
        self.under_way[kind] += 1
        try:
            return await self._read(self._workers[kind], read)
        finally:
            self.under_way[kind] -= 1

    async def _read(self, worker: Worker, read: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await worker.run(lambda db: _in_snapshot(db, read))
        except Exception as error:
            raise from_sqlite(error) from error

    async def _read_in_turn(self, kind: str, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run a step of a search on an idle connection of its kind. Each turn has a connection."""
        worker = self._idle[kind].pop()
        if kind is TEXTS and self._owned:
            read = functools.partial(_run_behind, read)
        try:
            return await self._read(worker, read)
        finally:
            self._idle[kind].append(worker)

    def begin_entries(self, identities: Sequence[Identity], receiver: Receiver, *, max_bytes: int) -> None:
        """Read the first entries, even if expired: None for a missing entry, an error for a damaged value.

        The list ends with the last identity, or with the value that reaches `max_bytes` of values.

        Raises:
            StoreClosedError: the store is closed; the receiver is not called.
        """

        def read(db: sqlite3.Connection) -> list[Entry | MemoryStoreError | None]:
            found: list[Entry | MemoryStoreError | None] = []
            size = 0
            for identity in identities:
                try:
                    entry = entry_rows.read(db, identity)
                except CorruptValueError as error:
                    found.append(error)
                    continue
                found.append(entry)
                if entry is not None:
                    size += len(entry.value_json)
                    if size >= max_bytes:
                        break
            return found

        # One statement is a snapshot without a transaction, which would be two more.
        function = read if len(identities) == 1 else functools.partial(_in_snapshot, read=read)
        self._workers[ENTRIES].start(function, _Counted(self.under_way, ENTRIES, receiver))
        self.under_way[ENTRIES] += 1

    async def page(
        self, namespace: str, *, start: str, end: str | bytes, limit: int, max_bytes: int, now: int
    ) -> tuple[list[Entry], bool]:
        """Return live entries with start <= key < end in key order, and whether more entries follow.

        The page ends after `limit` entries or before exceeding `max_bytes` of values, but has at least one entry if any
        exists. A damaged value fails the whole page: an omitted entry would look like a deletion.
        """

        def read(db: sqlite3.Connection) -> tuple[list[Entry], bool]:
            entries: list[Entry] = []
            size = 0
            # Closing the cursor resets the statement: an open statement would hold its snapshot.
            with contextlib.closing(db.execute(_PAGE, (namespace, start, end, now, limit + 1))) as found:
                for row in found:
                    if len(entries) == limit or (entries and size + row[-1] > max_bytes):
                        return entries, True
                    entries.append(entry_rows.entry_of(row))
                    size += entries[-1].size
            return entries, False

        return await self._run(PAGES, read)

    async def keys(self, namespace: str, *, start: str, end: str | bytes, limit: int, max_text: int) -> list[str]:
        """Return up to `limit` keys with start <= key < end in order, including those of expired entries.

        The list ends before exceeding `max_text` bytes of long texts, but has at least one key if any exists.
        """

        def read(db: sqlite3.Connection) -> list[str]:
            keys: list[str] = []
            text = 0
            for key, size in db.execute(_KEYS, (namespace, start, end, limit)).fetchall():
                text += long_text(size)
                if keys and text > max_text:
                    break
                keys.append(key)
            return keys

        return await self._run(PAGES, read)

    async def changes(self, since: int) -> ChangePage:
        """Return a page of changes after a position, with the bounds of the table."""

        def read(db: sqlite3.Connection) -> ChangePage:
            return ChangePage(*changes.bounds(db), changes.read(db, since))

        return await self._run(PAGES, read)

    async def search(
        self, query: Query, position: Position | None, *, limit: int, max_bytes: int, now: int, since: int = 0
    ) -> SearchPage:
        """Return a page of hits, see search.planner.search.

        Raises:
            OverloadedError: too many searches with a text are waiting.
        """
        kind = PAGES if query.expression is None else TEXTS
        slices = Slices(query, position, limit=limit, max_bytes=max_bytes, now=now, since=since)
        self.under_way[kind] += 1
        try:
            return await self._turns[kind].run(
                query.owner, lambda: self._read_in_turn(kind, lambda db: slices.run(db, self.database))
            )
        finally:
            self.under_way[kind] -= 1
            self._observer.searched("words" if kind is TEXTS else "conditions", slices=slices.count)

    async def read_texts(self, owner: str, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run a search by meaning in a snapshot, in its owner's turn among the searches with a text.

        Args:
            owner: name of the caller.
            read: the search; its result must not be None.

        Raises:
            OverloadedError: too many searches of the owner are waiting.
        """
        self.under_way[TEXTS] += 1
        try:
            return await self._turns[TEXTS].run(owner, lambda: self._read_in_turn(TEXTS, read))
        finally:
            self.under_way[TEXTS] -= 1

    async def read_pages(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Run a short function in a snapshot, on the connection of lists."""
        return await self._run(PAGES, read)

    async def totals(self, namespaces: Sequence[str], now: int) -> Totals:
        """Return counts of the whole store and of these namespaces."""

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
        """Return the number of entries with each tag in a namespace, including uncollected expired entries."""

        def read(db: sqlite3.Connection) -> dict[str, int]:
            return {tag: db.execute(_TAGGED, (tag, namespace)).fetchall()[0][0] for tag in tags}

        return await self._run(PAGES, read)

    async def namespaces(
        self, *, start: str, limit: int, now: int, within: Sequence[str] | None = None
    ) -> tuple[list[NamespaceCount], bool]:
        """Return namespaces with live entries in name order, starting at `start`, and whether more follow.

        `within` restricts the result to these namespaces and their descendants.
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
    """Return the number and bytes of uncollected expired rows by namespace."""
    return {name: (count, size) for name, count, size in db.execute(_EXPIRED, (now, start)).fetchall()}


def _pair(db: sqlite3.Connection, sql: str, *parameters: Any) -> tuple[int, int]:
    found = db.execute(sql, parameters).fetchall()
    return (found[0][0], found[0][1]) if found else (0, 0)


def _run_behind(read: Callable[[sqlite3.Connection], T], db: sqlite3.Connection) -> T:
    """Run a search with a text, which takes longer than other reads, behind them and behind writes."""
    lower_priority()
    return read(db)


def _in_snapshot(db: sqlite3.Connection, read: Callable[[sqlite3.Connection], T]) -> T:
    with snapshot(db):
        return read(db)
