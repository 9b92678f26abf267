"""The store: what callers hold. It wires the parts in the order that keeps the promises and closes them in reverse.

Guarantees:
    A put or delete that returned is on disk. A get or list that starts after it sees it. Conditions (create only, if
    version) are decided in the write's own transaction. An expired entry is never returned or counted.

Assumptions:
    The file lies on a local file system with working flock and fsync; no other program writes to it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from swarm_operator.memory.atomicfile import remove_stale
from swarm_operator.memory.core.backup import Backup, Snapshot
from swarm_operator.memory.core.entry import (
    MAX_VERSION,
    Draft,
    Entry,
    Identity,
    check_batch_size,
    check_key,
    check_namespace,
    check_page_size,
    check_prefix,
    check_tags,
)
from swarm_operator.memory.core.errors import (
    InvalidInputError,
    MemoryStoreError,
    MissedChangesError,
    OverloadedError,
    StorageError,
    StoreClosedError,
)
from swarm_operator.memory.core.observer import Observer, SilentObserver
from swarm_operator.memory.core.pages import NamespacePage, Page, Position, SearchPage
from swarm_operator.memory.core.query import Query
from swarm_operator.memory.core.stats import GcRun, StoreStats
from swarm_operator.memory.core.writes import Delete, Write
from swarm_operator.memory.sqlite.backup.backup import Backups
from swarm_operator.memory.sqlite.changes import Feed, Watch
from swarm_operator.memory.sqlite.config import MIB, StoreConfig
from swarm_operator.memory.sqlite.database import checkpoint, connect, driver
from swarm_operator.memory.sqlite.database.connection import Worker, translated
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.lock import ProcessLock
from swarm_operator.memory.sqlite.gc.collector import GarbageCollector
from swarm_operator.memory.sqlite.read.entries import EntryCache, EntryReader
from swarm_operator.memory.sqlite.read.pool import Readers
from swarm_operator.memory.sqlite.search.index import prepare as prepare_index
from swarm_operator.memory.sqlite.tables import compression
from swarm_operator.memory.sqlite.tables.access_times import AccessTimes
from swarm_operator.memory.sqlite.tables.ranges import after_prefix
from swarm_operator.memory.sqlite.write.apply import (
    BatchOperation,
    DeleteOperation,
    PutOperation,
    TransactionOperation,
    UpdateOperation,
)
from swarm_operator.memory.sqlite.write.writer import CheckpointPolicy, Writer

RECORD_NAMESPACES = ("swarm:agents", "swarm:tasks", "swarm:patterns")
_DELETED_AT_ONCE = 200
"""Entries in one step of deleting many: a few milliseconds, for which other writers wait."""
_FORGOTTEN_AT_ONCE = 128 * 1024
"""Bytes of their texts: the full-text index reads each word that it is to forget."""


class SqliteStore:
    """A swarm's memory in one SQLite file. Made by `open`.

    Attributes:
        config: the settings.
        path: the file.
        sqlite_version: of the library in use, e.g. "3.53.4".
    """

    def __init__(
        self, path: Path, config: StoreConfig, *, worker: Worker, readers: Readers, now: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]], observer: Observer,
    ) -> None:  # fmt: skip
        self.path = path
        self.config = config
        self.sqlite_version = driver.VERSION
        self.swarm_id = config.swarm_id
        self.max_value_bytes = config.max_value_bytes
        self._now = now
        self._worker = worker
        self._readers = readers
        self._cache = EntryCache(max_entries=config.cache_size, max_bytes=config.cache_memory_mb * MIB)
        self._checkpoints = CheckpointPolicy(path, config)
        self._accesses = AccessTimes()
        self._lookup = EntryReader(self._cache, readers.entries, now=now, accesses=self._accesses)
        self._closed = False
        self._packing = 0
        self._feed = Feed(readers.changes)
        self._writer = Writer(
            worker,
            config,
            now=now,
            checkpoints=self._checkpoints,
            invalidation=self._lookup,
            publish=self._feed.publish,
            observer=observer,
        )
        self.stopped = self._writer.start()
        """Done when the writer has ended: by closing, or by a defect, which is then its exception."""
        self._backups = Backups(path, config, writer=worker, checkpoints=self._checkpoints)
        self._collector = GarbageCollector(
            self._writer,
            config,
            now=now,
            sleep=sleep,
            observer=observer,
            accesses=self._accesses,
            checkpoints=self._checkpoints,
        )
        self._collector.start()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls,
        path: str | Path,
        config: StoreConfig | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        observer: Observer | None = None,
    ) -> AsyncIterator[SqliteStore]:
        """Open the file, or create it; its directory must exist. Closing waits for what was submitted.

        Args:
            path: the database file. `-wal`, `-shm` and `.lock` lie beside it.
            config: the settings.
            clock: seconds since the Unix epoch; decides times and expiry. Called on several threads.
            sleep: waits for the time of the next garbage collection.
            observer: told about commits, collections and failures.

        Raises:
            DatabaseInUseError: another process has it open.
            ForeignDatabaseError, NewerSchemaError: not a file for this release; it was left alone.
            StorageError: the disk or the file failed.
        """
        path = Path(path)
        config = config or StoreConfig()

        def now() -> int:
            return int(clock() * 1000)

        async with contextlib.AsyncExitStack() as stack:
            lock = ProcessLock(path)
            lock.acquire()
            stack.callback(lock.release)
            remove_stale(path.parent)
            worker = await connect.open_writer(path, config)
            stack.push_async_callback(connect.close_writer, worker, config)
            await worker.run(lambda db: _prepare_index(db, config))
            readers = await Readers.open(path, config, worker)
            stack.push_async_callback(readers.close)
            watching = observer or SilentObserver()
            store = cls(path, config, worker=worker, readers=readers, now=now, sleep=sleep, observer=watching)
            stack.push_async_callback(store._close)
            await store._feed.start()
            yield store

    @property
    def origin(self) -> object:
        """Return this store: it is no view of another one."""
        return self

    @property
    def alive(self) -> bool:
        """Whether the writer and its thread run."""
        return self._writer.alive

    @property
    def fault(self) -> StorageError | None:
        """Why writes fail at present, if the disk or the file is the reason. Reads go on."""
        return self._writer.fault

    def now(self) -> int:
        """Return the time by the store's clock, in milliseconds since the Unix epoch."""
        return self._now()

    async def put(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        tags: Sequence[str] | None = None,
        metadata: dict[str, Any] | None = None,
        ttl: int | None = None,
        create_only: bool = False,
        if_version: int | None = None,
    ) -> tuple[Entry, bool]:
        """Check, encode and write an entry. Return it, and True if it is new.

        The arguments are those of Draft.create and of `write`, with their errors.
        """
        draft = Draft.create(namespace, key, value, tags=tags, metadata=metadata, ttl=ttl)
        return await self.write(draft, create_only=create_only, if_version=if_version)

    async def write(
        self, draft: Draft, *, create_only: bool = False, if_version: int | None = None
    ) -> tuple[Entry, bool]:
        """Write an entry, see Store.write."""
        if len(draft.value_json) > self.config.max_value_bytes:
            raise InvalidInputError("value", f"at most {self.config.max_value_bytes} bytes of JSON")
        packed = self._pack_inline(draft.value_json) or await self._pack(draft.value_json)
        result: tuple[Entry, bool] = await self._writer.submit(PutOperation(draft, packed, create_only, if_version))
        return result

    async def get(self, namespace: str, key: str) -> Entry | None:
        """Return a live entry, see Store.get."""
        self._check_open()
        return await self._lookup.get((check_namespace(namespace), check_key(key)))

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Delete an entry, see Store.delete."""
        identity = (check_namespace(namespace), check_key(key))
        result: bool = await self._writer.submit(DeleteOperation(identity, if_version))
        return result

    async def get_many(self, identities: Sequence[Identity]) -> list[Entry | None]:
        """Return several entries, see Store.get_many."""
        self._check_open()
        check_batch_size("operations", len(identities))
        checked = [(check_namespace(namespace), check_key(key)) for namespace, key in identities]
        return list(await asyncio.gather(*map(self._lookup.get, checked)))

    async def batch(self, writes: Sequence[Write], *, atomic: bool = True) -> list[Any]:
        """Carry out writes in one transaction, see Store.batch."""
        check_batch_size("operations", len(writes))
        if not writes:
            self._check_open()
            return []
        operations: list[PutOperation | DeleteOperation] = []
        for index, write in enumerate(writes):
            if isinstance(write, Delete):
                namespace, key = write.identity
                check_namespace(namespace)
                check_key(key)
                operations.append(DeleteOperation(write.identity, write.if_version))
                continue
            value = write.draft.value_json
            if len(value) > self.config.max_value_bytes:
                raise InvalidInputError(f"operations[{index}].value", f"at most {self.config.max_value_bytes} bytes")
            stored = self._pack_inline(value) or await self._pack(value)
            operations.append(PutOperation(write.draft, stored, write.create_only, write.if_version))
        results: list[Any] = await self._writer.submit(BatchOperation(operations, atomic))
        return results

    async def transact(
        self, identities: Sequence[Identity], decide: Callable[[list[Entry | None], int], Sequence[Write]]
    ) -> list[Any]:
        """Read, decide and write as one transaction, see Store.transact. `decide` runs on the writer's thread."""
        results: list[Any] = await self._writer.submit(TransactionOperation(identities, decide, self._pack_now))
        return results

    async def update(
        self, namespace: str, key: str, change: Callable[[Entry | None], Draft | None]
    ) -> tuple[Entry | None, bool]:
        """Read an entry and write what is made of it; nothing comes between. See Update.

        Args:
            namespace: which.
            key: which.
            change: runs on the writer's thread: must be quick and without side effects.

        Returns:
            The entry as it is now (None: there is none), and whether it was written.

        Raises:
            MemoryStoreError: what `change` raised; nothing was written.
            InvalidInputError, OverloadedError, StorageError, StoreClosedError: as for `put`.
        """
        identity = (check_namespace(namespace), check_key(key))
        result: tuple[Entry | None, bool] = await self._writer.submit(UpdateOperation(identity, change, self._pack_now))
        return result

    async def delete_range(self, namespace: str, *, prefix: str = "") -> int:
        """Delete keys with a prefix, see Store.delete_range. What the steps before an error deleted stays deleted."""
        self._check_open()
        start: str = check_prefix(prefix)
        check_namespace(namespace)
        deleted = 0
        while keys := await self._readers.keys(
            namespace, start=start, end=after_prefix(prefix), limit=_DELETED_AT_ONCE, max_text=_FORGOTTEN_AT_ONCE
        ):
            deletes = [DeleteOperation((namespace, key)) for key in keys]
            deleted += sum(await self._writer.submit(BatchOperation(deletes)))
            start = keys[-1] + "\0"
        return deleted

    async def list(self, namespace: str, *, prefix: str = "", after: str | None = None, limit: int = 100) -> Page:
        """Return a page of entries, see Store.list. StoreConfig.max_page_bytes may end it early."""
        self._check_open()
        check_namespace(namespace)
        check_prefix(prefix)
        check_page_size(limit)
        start = prefix
        if after is not None:
            check_key(after)
            # No key contains NUL, so this is the first text after `after`.
            start = max(prefix, after + "\0")
        entries, more = await self._readers.page(
            namespace,
            start=start,
            end=after_prefix(prefix),
            limit=limit,
            max_bytes=self.config.max_page_bytes,
            now=self._now(),
        )
        return Page([*map(self._accesses.latest, entries)], entries[-1].key if more else None)

    async def search(self, query: Query, *, position: Position | None = None, limit: int = 50) -> SearchPage:
        """Return a page of hits, see Store.search and search.planner. A text requires StoreConfig.full_text."""
        self._check_open()
        check_page_size(limit)
        if query.expression is not None and not self.config.full_text:
            raise InvalidInputError("text", "nothing: full-text search is switched off (full_text)")
        found = await self._readers.search(
            query, position, limit=limit, max_bytes=self.config.max_page_bytes, now=self._now()
        )
        found.hits = [replace(hit, entry=self._accesses.latest(hit.entry)) for hit in found.hits]
        return found

    async def namespaces(
        self, *, after: str | None = None, limit: int = 100, within: Sequence[str] | None = None
    ) -> NamespacePage:
        """Return a page of namespaces, see Store.namespaces."""
        self._check_open()
        check_page_size(limit)
        start = "" if after is None else check_namespace(after) + "\0"
        counts, more = await self._readers.namespaces(start=start, limit=limit, now=self._now(), within=within)
        return NamespacePage(counts, counts[-1].namespace if more else None)

    @contextlib.asynccontextmanager
    async def watch(
        self,
        namespace: str | None = None,
        *,
        prefix: str = "",
        since: int | None = None,
        within: Sequence[str] | None = None,
    ) -> AsyncIterator[Watch]:
        """Subscribe to changes, see Store.watch.

        Example::

            async with store.watch("swarm:tasks") as watch:
                while True:
                    for change in await watch.next():
                        ...
        """
        self._check_open()
        if namespace is not None:
            check_namespace(namespace)
        check_prefix(prefix)
        if since is not None and (type(since) is not int or not 0 <= since <= MAX_VERSION):
            raise InvalidInputError("since", "the number of a change")
        # It is registered before the table is read, so that nothing falls between.
        watch = self._feed.watch(namespace, prefix, self._feed.newest if since is None else since, within)
        try:
            if since is not None:
                page = await self._readers.changes(since)
                if not page.oldest <= since <= page.newest:
                    raise MissedChangesError(since, page.oldest)
            yield watch
        finally:
            watch.close()

    async def counts(self, namespaces: Sequence[str]) -> dict[str, int]:
        """Return counts of live entries, see Store.counts."""
        self._check_open()
        totals = await self._readers.totals([check_namespace(name) for name in namespaces], self._now())
        return {count.namespace: count.entries for count in totals.counts}

    async def tag_counts(self, namespace: str, tags: Sequence[str]) -> dict[str, int]:
        """Return counts by tag, see Store.tag_counts. Costs 100 ms for a million entries."""
        self._check_open()
        return await self._readers.tagged(check_namespace(namespace), check_tags(tags))

    async def collect_garbage(self) -> GcRun:
        """Delete expired entries and, with enable_vacuum, give empty pages back. See GarbageCollector.collect."""
        self._check_open()
        return await self._collector.collect()

    async def backup(self, path: str | Path) -> Backup:
        """Write a verified copy while the store is in use, see Store.backup."""
        return await self._backups.write(Path(path))

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Snapshot]:
        """Make such a copy for reading, in the database's directory and without a name, see Store.snapshot."""
        async with self._backups.snapshot() as snapshot:
            yield snapshot

    async def stats(self) -> StoreStats:
        """Return counts and sizes. Costs as much as there are namespaces and uncollected expired entries."""
        self._check_open()
        reads = dict(self._readers.under_way)
        totals = await self._readers.totals(RECORD_NAMESPACES, self._now())
        agents, tasks, patterns = (count.entries for count in totals.counts)
        packed_entries, packed_raw, packed_stored = totals.packed
        cache = self._cache
        return StoreStats(
            entries=totals.entries,
            value_bytes=totals.bytes,
            agents=agents,
            tasks=tasks,
            patterns=patterns,
            database_size_bytes=totals.database_bytes,
            wal_size_bytes=checkpoint.wal_size(self.path),
            cache_hits=cache.hits,
            cache_misses=cache.misses,
            cache_evictions=cache.evictions,
            cache_entries=len(cache),
            cache_bytes=cache.bytes,
            checkpoints_busy=self._checkpoints.busy,
            reads=reads,
            free_bytes=totals.free_bytes,
            compressed_entries=packed_entries,
            compressed_raw_bytes=packed_raw,
            compressed_stored_bytes=packed_stored,
            library_version=self.sqlite_version,
            settings=asdict(self.config),
            gc=replace(self._collector.stats),
        )

    def _pack_inline(self, raw: bytes) -> compression.StoredValue | None:
        """A value as it is to be stored; None if compressing it would hold up the event loop."""
        threshold = self.config.compression_threshold
        if not 0 < threshold < len(raw):
            return compression.StoredValue(compression.Codec.PLAIN, raw)
        return compression.compress(raw, threshold) if len(raw) <= compression.INLINE_BYTES else None

    async def _pack(self, raw: bytes) -> compression.StoredValue:
        """The same on a thread."""
        self._check_open()
        # Those who wait for a thread hold their values like those who wait in the writer's queue.
        if self._packing and self._packing + len(raw) > self.config.max_queue_bytes:
            raise OverloadedError(f"{self._packing} bytes of values are waiting to be compressed")
        self._packing += len(raw)
        try:
            return await asyncio.to_thread(compression.compress, raw, self.config.compression_threshold)
        finally:
            self._packing -= len(raw)

    def _pack_now(self, raw: bytes) -> compression.StoredValue:
        if len(raw) > self.config.max_value_bytes:
            raise InvalidInputError("value", f"at most {self.config.max_value_bytes} bytes of JSON")
        return compression.compress(raw, self.config.compression_threshold)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the store is closed")

    async def _close(self) -> None:
        self._closed = True
        self._feed.close()
        try:
            await self._backups.close()
            await self._collector.close()
            with contextlib.suppress(MemoryStoreError):  # they are no more than a help
                await self._accesses.flush(self._writer.run_exclusive)
            await self._writer.close()
        finally:
            await self._lookup.close()


def _prepare_index(db: sqlite3.Connection, config: StoreConfig) -> None:
    with translated():
        if prepare_index(db, full_text=config.full_text) and config.enable_wal:
            checkpoint.truncate(db)
