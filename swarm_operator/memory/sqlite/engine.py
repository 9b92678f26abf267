"""Lifecycle, settings and statistics of the engine's components.

Starts the components in dependency order and stops them in reverse. `store` has the operations.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

from swarm_operator.memory.atomicfile import remove_stale
from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.embedding import Embedder
from swarm_operator.memory.core.errors import (
    MemoryStoreError,
    StorageError,
    StoreClosedError,
)
from swarm_operator.memory.core.observer import Observer, SilentObserver
from swarm_operator.memory.core.stats import StoreStats
from swarm_operator.memory.sqlite.backup.backup import Backups
from swarm_operator.memory.sqlite.backup.replace import Replacer
from swarm_operator.memory.sqlite.callbacks import SqliteCallbacks
from swarm_operator.memory.sqlite.changes import Feed
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
from swarm_operator.memory.sqlite.tables.access_times import AccessTimes
from swarm_operator.memory.sqlite.vectors.checks import TwinSearch
from swarm_operator.memory.sqlite.vectors.index import VectorIndex
from swarm_operator.memory.sqlite.vectors.models import FormerEmbedder
from swarm_operator.memory.sqlite.write.packing import Packer
from swarm_operator.memory.sqlite.write.writer import DELETING, CheckpointPolicy, Writer

RECORD_NAMESPACES = ("swarm:agents", "swarm:tasks", "swarm:patterns")


class Engine:
    """Components of a store. Create with `open`.

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
        fetch = functools.partial(readers.begin_entries, max_bytes=config.max_value_bytes)
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
        """Task of the writer. Done after closing or after an unexpected exception, which is the result of the task."""
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
    ) -> AsyncIterator[Self]:  # fmt: skip
        """Open or create the file; its directory must exist. Closing waits for submitted requests.

        Args:
            path: the database file. The `-wal`, `-shm`, `-reserve` and `.lock` files are in the same directory.
            config: the settings.
            clock: returns seconds since the Unix epoch, for timestamps and expiry. Called on several threads.
            sleep: waits until the next garbage collection.
            observer: receives commits, collections and failures.
            embedder: makes vectors of entries without one, and of texts to search.
            former_embedder: returns the embedder of a name; None if it is not available. If the file has vectors of
                another embedder, searches use that embedder until all entries are embedded again.

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
            vectors = VectorIndex(path.parent, config, readers, embedder=embedder, former=former_embedder)
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

    @property
    def settings(self) -> Mapping[str, Any]:
        """Return the current settings."""
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

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosedError("the store is closed")

    def _publish(self, found: Sequence[Change]) -> None:
        """Process committed changes."""
        self._indexer.committed(found)
        for follower in self._vectors.followers:
            if found:
                follower.committed(found[-1].seq)
        self._feed.publish(found)

    def _forget(self, position: int) -> None:
        """Drop all cached data of the former database. `position` is the last change of the new one."""
        self._readers.database += 1
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
