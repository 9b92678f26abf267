"""Public entry point of the engine. Starts its components in dependency order and stops them in reverse.

Guarantees:
    A completed put or delete is on disk and visible to every later get or list. Conditions (create only, if version)
    are checked in the transaction of the write. An expired entry is never returned or counted.

Assumptions:
    The file is on a local file system with working flock and fsync. No other program writes to the file.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from swarm_operator.memory.atomicfile import remove_stale
from swarm_operator.memory.core.backup import Backup, Snapshot
from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.duplicates import CheckedWrite, DuplicateRule
from swarm_operator.memory.core.embedding import Embedder
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
    StorageError,
    StoreClosedError,
)
from swarm_operator.memory.core.observer import Observer, SilentObserver
from swarm_operator.memory.core.pages import NamespacePage, Page, Position, SearchPage
from swarm_operator.memory.core.query import Mode, Query
from swarm_operator.memory.core.stats import GcRun, StoreStats
from swarm_operator.memory.core.writes import Delete, Write
from swarm_operator.memory.sqlite.backup.backup import Backups
from swarm_operator.memory.sqlite.backup.replace import Replacer
from swarm_operator.memory.sqlite.callbacks import SqliteCallbacks
from swarm_operator.memory.sqlite.changes import Feed, Watch
from swarm_operator.memory.sqlite.config import MIB, StoreConfig
from swarm_operator.memory.sqlite.database import checkpoint, connect, driver, volume
from swarm_operator.memory.sqlite.database.connection import Worker
from swarm_operator.memory.sqlite.database.deletion import DeletionNote
from swarm_operator.memory.sqlite.database.former import UPGRADING, FormerDatabase
from swarm_operator.memory.sqlite.database.lock import ProcessLock
from swarm_operator.memory.sqlite.gc.collector import GarbageCollector
from swarm_operator.memory.sqlite.read.entries import EntryCache, EntryReader
from swarm_operator.memory.sqlite.read.pool import Readers
from swarm_operator.memory.sqlite.search.indexer import Indexer
from swarm_operator.memory.sqlite.tables import compression
from swarm_operator.memory.sqlite.tables.access_times import AccessTimes
from swarm_operator.memory.sqlite.tables.ranges import after_prefix
from swarm_operator.memory.sqlite.vectors import given
from swarm_operator.memory.sqlite.vectors.checks import TwinSearch
from swarm_operator.memory.sqlite.vectors.index import VectorIndex
from swarm_operator.memory.sqlite.vectors.models import FormerEmbedder
from swarm_operator.memory.sqlite.write.apply import (
    BatchOperation,
    DeleteOperation,
    Operation,
    PutOperation,
    TransactionOperation,
    UpdateOperation,
)
from swarm_operator.memory.sqlite.write.checked import CheckedPutOperation
from swarm_operator.memory.sqlite.write.packing import Packer
from swarm_operator.memory.sqlite.write.writer import DELETING, CheckpointPolicy, Writer

RECORD_NAMESPACES = ("swarm:agents", "swarm:tasks", "swarm:patterns")
_DELETE_BATCH_SIZE = 200
"""Entries per step of `delete_range`. A step blocks other writers for a few milliseconds."""
_MAX_DELETE_TEXT_BYTES = 128 * 1024
"""Bytes of long texts per step: FTS5 tokenizes each, see search.words."""


class SqliteStore:
    """Store of a swarm's memory in one SQLite file. Create with `open`.

    Attributes:
        config: the settings.
        path: the database file.
        callbacks: the operations without coroutines.
        sqlite_version: version of the SQLite library, e.g. "3.53.4".
    """

    def __init__(
        self, path: Path, config: StoreConfig, *, worker: Worker, readers: Readers, now: Callable[[], int],
        sleep: Callable[[float], Awaitable[object]], observer: Observer, indexer: Indexer, vectors: VectorIndex,
        checkpoints: CheckpointPolicy, note: DeletionNote, deleting: bool, former: FormerDatabase | None,
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
        self._checkpoints = checkpoints
        self._indexer = indexer
        self._vectors = vectors
        self._twins = TwinSearch(vectors, readers, observer)
        self._accesses = AccessTimes()
        fetch = functools.partial(readers.entries, max_bytes=config.max_value_bytes)
        self._lookup = EntryReader(self._cache, fetch, now=now, accesses=self._accesses)
        self._closed = False
        self._packer = Packer(config)
        self._feed = Feed(readers.changes)
        refusal = DELETING if deleting else None if former is None else UPGRADING
        self._writer = Writer(
            worker, config, now=now, checkpoints=self._checkpoints, invalidation=self._lookup,
            publish=self._publish, follower=indexer, observer=observer, refusal=refusal,
        )  # fmt: skip
        self._note = note
        self._former = former
        self._final = note.backup if deleting else None
        self.callbacks = SqliteCallbacks(self._lookup, self._writer, self._packer, check_open=self._check_open)
        self.stopped = self._writer.start()
        """Task of the writer. Done after closing, or after an unexpected exception, which the task then holds."""
        self._backups = Backups(path, config, writer=worker, checkpoints=self._checkpoints)
        self._replacer = Replacer(
            path, config, writer=self._writer, worker=worker, readers=readers, backups=self._backups,
            forget=self._forget,
        )  # fmt: skip
        self._collector = GarbageCollector(
            self._writer, config, now=now, sleep=sleep, observer=observer, accesses=self._accesses,
            checkpoints=self._checkpoints,
        )  # fmt: skip
        self._collector.start()
        self._vectors.start(self._writer.run_exclusive)

    @classmethod
    @contextlib.asynccontextmanager
    async def open(
        cls, path: str | Path, config: StoreConfig | None = None, *, clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep, observer: Observer | None = None,
        embedder: Embedder | None = None, former_embedder: FormerEmbedder = lambda _: None,
    ) -> AsyncIterator[SqliteStore]:  # fmt: skip
        """Open or create the file; its directory must exist. Closing waits for submitted requests.

        Args:
            path: the database file. The `-wal`, `-shm`, `-reserve` and `.lock` files are in the same directory.
            config: the settings.
            clock: returns seconds since the Unix epoch, for timestamps and expiry. Called on several threads.
            sleep: waits until the next garbage collection.
            observer: receives commits, collections and failures.
            embedder: makes the vectors of entries that come without one, and of texts to search.
            former_embedder: returns the embedder of a name; None if it can't be had. If the file has vectors of another
                embedder, searches go on with that one until all entries have been embedded anew.

        Raises:
            DatabaseInUseError: another process has the file open.
            ForeignDatabaseError, NewerSchemaError: this release cannot use the file; it was not changed.
            StorageError: the disk or the file failed.
        """
        path = Path(path)
        config = config or StoreConfig()
        observer = observer or SilentObserver()

        def now() -> int:
            return int(clock() * 1000)

        async with contextlib.AsyncExitStack() as stack:
            lock = ProcessLock(path)
            lock.acquire()
            stack.callback(lock.release)
            remove_stale(path.parent)
            note, former = DeletionNote(path, config.final_backup), FormerDatabase(path)
            deleting = await asyncio.to_thread(note.read)
            for outcome in await asyncio.to_thread(former.prepare, keep=config.keep_former and not deleting):
                observer.former_database(outcome)
            worker = await connect.open_writer(path, config)
            stack.push_async_callback(connect.close_writer, worker, config)
            checkpoints = CheckpointPolicy(path, config)
            indexer = Indexer(worker, config, observer=observer, wrote=checkpoints.note_bytes)
            await indexer.open()
            readers = await Readers.open(path, config, worker, observer)
            stack.push_async_callback(readers.close)
            vectors = VectorIndex(config, readers, embedder=embedder, former=former_embedder)
            await vectors.open(worker)
            store = cls(
                path, config, worker=worker, readers=readers, now=now, sleep=sleep,
                observer=observer, indexer=indexer, vectors=vectors, checkpoints=checkpoints, note=note,
                deleting=deleting, former=former if former.exists else None,
            )  # fmt: skip
            stack.push_async_callback(store._close)
            await store._feed.start()
            yield store

    @property
    def origin(self) -> object:
        """Return this store: it is no view of another one."""
        return self

    @property
    def alive(self) -> bool:
        """Return whether the writer and its thread are running."""
        return self._writer.alive

    @property
    def fault(self) -> StorageError | None:
        """Return the disk or file error that makes writes fail; None while writes succeed. Reads continue."""
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
        vector: bytes | Sequence[float] | None = None,
        updated_by: str | None = None,
        create_only: bool = False,
        if_version: int | None = None,
    ) -> tuple[Entry, bool]:
        """Check, encode and write an entry. Return the entry, and True if it is new.

        Arguments and errors are those of Draft.create and `write`.
        """
        draft = Draft.create(
            namespace, key, value, tags=tags, metadata=metadata, ttl=ttl, vector=vector, updated_by=updated_by
        )
        return await self.write(draft, create_only=create_only, if_version=if_version)

    async def write(
        self, draft: Draft, *, create_only: bool = False, if_version: int | None = None
    ) -> tuple[Entry, bool]:
        """Write an entry, see Store.write."""
        if len(draft.value_json) > self.config.max_value_bytes:
            raise InvalidInputError("value", f"at most {self.config.max_value_bytes} bytes of JSON")
        packed = await self._pack(draft.value_json)
        result: tuple[Entry, bool] = await self._writer.submit(PutOperation(draft, packed, create_only, if_version))
        return result

    async def write_checked(
        self, draft: Draft, rule: DuplicateRule, *, create_only: bool = False, if_version: int | None = None
    ) -> CheckedWrite:
        """Write an entry unless its twin forbids it, see Store.write_checked."""
        if len(draft.value_json) > self.config.max_value_bytes:
            raise InvalidInputError("value", f"at most {self.config.max_value_bytes} bytes of JSON")
        put = PutOperation(draft, await self._pack(draft.value_json), create_only, if_version)
        [check] = await self._twins.checks({"": (draft, rule)}, since=self._feed.newest, now=self._now())
        result: CheckedWrite = await self._submit_checked(CheckedPutOperation(put, check))
        return result

    async def _submit_checked(self, operation: Operation) -> Any:
        """Submit checked writes, and count what was done with those that have a twin."""
        try:
            result = await self._writer.submit(operation)
        except MemoryStoreError as error:
            self._twins.count(error)
            raise
        for each in result if isinstance(result, list) else [result]:
            self._twins.count(each)
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

    async def get_each(self, identities: Sequence[Identity]) -> list[Entry | MemoryStoreError | None]:
        """Return the result of each of several reads, see Store.get_each."""
        self._check_open()
        check_batch_size("operations", len(identities))
        checked = [(check_namespace(namespace), check_key(key)) for namespace, key in identities]
        return await self._lookup.get_each(checked, max_bytes=self.max_value_bytes)

    async def vectors(self, entries: Sequence[Entry]) -> list[bytes | None]:
        """Return the vectors that clients gave, see Store.vectors."""
        self._check_open()
        check_batch_size("entries", len(entries))
        return await self._readers.read_pages(lambda db: given.read(db, entries))

    async def batch(self, writes: Sequence[Write], *, atomic: bool = True) -> list[Any]:
        """Carry out writes in one transaction, see Store.batch."""
        check_batch_size("operations", len(writes))
        if not writes:
            self._check_open()
            return []
        operations: list[Operation] = []
        checked: dict[int, tuple[PutOperation, DuplicateRule]] = {}
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
            stored = await self._pack(value)
            put = PutOperation(write.draft, stored, write.create_only, write.if_version)
            operations.append(put)
            if write.duplicates is not None:
                checked[index] = (put, write.duplicates)
        if checked:
            named = {f"operations[{index}].": (put.draft, rule) for index, (put, rule) in checked.items()}
            checks = await self._twins.checks(named, since=self._feed.newest, now=self._now())
            for (index, (put, _)), check in zip(checked.items(), checks, strict=True):
                operations[index] = CheckedPutOperation(put, check)
        submit = self._submit_checked if checked else self._writer.submit
        results: list[Any] = await submit(BatchOperation(operations, atomic))
        return results

    async def transact(
        self, identities: Sequence[Identity], decide: Callable[[list[Entry | None], int], Sequence[Write]]
    ) -> list[Any]:
        """Read, decide and write as one transaction, see Store.transact. `decide` runs on the writer's thread."""
        results: list[Any] = await self._writer.submit(TransactionOperation(identities, decide, self._packer.pack_now))
        return results

    async def update(
        self, namespace: str, key: str, change: Callable[[Entry | None], Draft | None]
    ) -> tuple[Entry | None, bool]:
        """Read an entry and write its new state atomically. See UpdateOperation.

        Args:
            namespace: namespace of the entry.
            key: key of the entry.
            change: runs on the writer's thread: must be fast and without side effects.

        Returns:
            The current entry (None: absent), and whether it was written.

        Raises:
            MemoryStoreError: raised by `change`; nothing was written.
            InvalidInputError, OverloadedError, StorageError, StoreClosedError: see `put`.
        """
        identity = (check_namespace(namespace), check_key(key))
        operation = UpdateOperation(identity, change, self._packer.pack_now)
        result: tuple[Entry | None, bool] = await self._writer.submit(operation)
        return result

    async def delete_range(self, namespace: str, *, prefix: str = "") -> int:
        """Delete keys with a prefix, see Store.delete_range. Deletions before an error are not rolled back."""
        self._check_open()
        start: str = check_prefix(prefix)
        check_namespace(namespace)
        deleted = 0
        while keys := await self._readers.keys(
            namespace, start=start, end=after_prefix(prefix), limit=_DELETE_BATCH_SIZE, max_text=_MAX_DELETE_TEXT_BYTES
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
            # Keys contain no NUL, so this is the smallest text greater than `after`.
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
        mode, since = self._vectors.mode(query, position), self._feed.newest
        if query.expression is not None:
            await self._indexer.wait(since)
        found = None
        if mode in {Mode.MEANING, Mode.HYBRID}:
            found = await self._vectors.search(query, mode, position, limit=limit, now=self._now(), since=since)
        if found is None:
            found = await self._readers.search(
                query, position, limit=limit, max_bytes=self.config.max_page_bytes, now=self._now(), since=since
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
        # Register the watch before reading the table, so that no change is missed.
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
        """Return counts by tag, see Store.tag_counts. Takes 100 ms for a million entries."""
        self._check_open()
        return await self._readers.tagged(check_namespace(namespace), check_tags(tags))

    async def collect_garbage(self) -> GcRun:
        """Delete expired entries and, with enable_vacuum, release empty pages. See GarbageCollector.collect."""
        self._check_open()
        return await self._collector.collect()

    async def backup(self, path: str | Path) -> Backup:
        """Write a verified copy while the store is in use, see Store.backup."""
        return await self._backups.write(Path(path))

    @contextlib.asynccontextmanager
    async def snapshot(self, directory: Path | None = None) -> AsyncIterator[Snapshot]:
        """Create an unnamed backup for reading, by default in the database's directory, see Store.snapshot."""
        async with self._backups.snapshot(directory) as snapshot:
            yield snapshot

    async def stop_writes(self, backup: str) -> None:
        """Refuse writes for the final backup, see Store.stop_writes."""
        await self._writer.pause(DELETING)
        if self._final is not None:
            return  # another one counts already
        self._final = backup
        try:
            if backup == self._note.backup:
                await self._writer.run_paused(self._note.write)
        except BaseException:
            self._final = None
            self._writer.resume(DELETING)
            raise

    async def resume_writes(self, backup: str) -> None:
        """Accept writes again, see Store.resume_writes."""
        if backup != self._final:
            return
        if backup == self._note.backup:
            await self._writer.run_paused(self._note.remove)
        self._final = None
        self._writer.resume(DELETING)

    async def confirm_upgrade(self) -> None:
        """Accept writes after a change of the schema, see Store.confirm_upgrade."""
        if self._former is not None:
            await self._writer.run_paused(self._former.drop)
            self._writer.resume(UPGRADING)
            self._former = None

    async def replace(self, file: Path, *, former: Path, before: Callable[[int], Awaitable[None]]) -> None:
        """Replace all data by those of a backup, see Store.replace and backup.replace."""
        self._check_open()
        await self._replacer.replace(file, former, before, self._now())

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the settings in force."""
        return asdict(self.config)

    def configure(self, **settings: Any) -> None:
        """Change settings of config.LIVE, see Store.configure."""
        self._check_open()
        config = self.config.changed(**settings)
        self.config = self._packer.config = config
        self._lookup.resize_cache(max_entries=config.cache_size, max_bytes=config.cache_memory_mb * MIB)
        self._collector.configure(config)
        self._indexer.configure(config)

    async def stats(self) -> StoreStats:
        """Return counts and sizes. The cost grows with the number of namespaces and uncollected expired entries."""
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
            volume=volume.measure(self.path.parent),
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
            settings=self.settings,
            gc=replace(self._collector.stats),
            index=self._indexer.stats,
            vectors=await self._vectors.stats(),
        )

    async def _pack(self, raw: bytes) -> compression.StoredValue:
        """Return the value in its stored form, compressed on a thread if it is long."""
        threshold = self.config.compression_threshold
        if not 0 < threshold < len(raw):
            return compression.StoredValue(compression.Codec.PLAIN, raw)
        if (packed := compression.compress_inline(raw, threshold)) is not None:
            return packed
        self._check_open()
        return await self._packer.pack(raw)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the store is closed")

    def _publish(self, found: Sequence[Change]) -> None:
        """Take note of committed changes."""
        self._indexer.committed(found)
        for follower in self._vectors.followers:
            if found:
                follower.committed(found[-1].seq)
        self._feed.publish(found)

    def _forget(self, position: int) -> None:
        """Drop what is in memory of a database that was replaced by one with this position."""
        self._lookup.forget()
        self._accesses.forget()
        self._feed.restart(position)
        self._indexer.restart(position)
        self._vectors.restart()
        self._writer.forget_fault()

    async def _close(self) -> None:
        self._closed = True
        self._feed.close()
        try:
            await self._replacer.close()
            await self._backups.close()
            await self._collector.close()
            await self._vectors.close()
            with contextlib.suppress(MemoryStoreError):  # access times are only informative
                await self._accesses.flush(self._writer.run_exclusive)
            await self._writer.close()
        finally:
            await self._lookup.close()
