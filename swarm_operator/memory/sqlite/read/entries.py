"""Reads of single entries: cache, batching of reads, and the rules for cache coherence.

Reads that arrive during another read are sent to the reader's thread in one batch. Callers of the same entry share one
read. Sharing and caching must never return a value older than a value that any caller has already seen:

- When a write batch begins, cached copies of its entries are dropped. In-flight reads of these entries are no longer
  shared or cached. Until the batch ends, gets of these entries read the committed state from the database.
- When the batch ends, the new values are cached in commit order.
- Expiry is checked against the clock whenever a value is returned, regardless of its source.
"""

from __future__ import annotations

import asyncio
import copy
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence

from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.sqlite.tables.access_times import AccessTimes

_MAX_READS = 128
"""Maximum number of entries per batch: amortizes the thread switch and keeps the wait of other reads short."""


class EntryCache:
    """Cache of the most recently used entries.

    Attributes:
        hits: lookups that found a live entry.
        misses: lookups that did not.
        evictions: entries removed because of the limits.
        bytes: current size of the cached entries.
    """

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.hits = 0
        self.misses = 0
        self.evictions = 0
        self.bytes = 0
        self._entries: OrderedDict[Identity, Entry] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, identity: Identity, now: int) -> Entry | None:
        """Return the entry if cached and live at `now` (milliseconds). Drop an expired entry. Count a hit or miss."""
        entry = self._entries.get(identity)
        if entry is not None:
            if entry.live_at(now):
                self.hits += 1
                self._entries.move_to_end(identity)
                return entry
            self.discard(identity)
        self.misses += 1
        return None

    def put(self, entry: Entry) -> None:
        """Store or replace the entry. Do not store an entry larger than the cache."""
        identity = (entry.namespace, entry.key)
        self.discard(identity)
        weight = entry.weight
        if weight > self.max_bytes:
            return
        self._entries[identity] = entry
        self.bytes += weight
        while len(self._entries) > self.max_entries or self.bytes > self.max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= oldest.weight
            self.evictions += 1

    def discard(self, identity: Identity) -> None:
        """Remove the entry if cached."""
        entry = self._entries.pop(identity, None)
        if entry is not None:
            self.bytes -= entry.weight


class _Read:
    """A read of one entry, with the futures of its callers."""

    __slots__ = ("identity", "waiters")

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.waiters: list[asyncio.Future[Entry | None]] = []


class EntryReader:
    """Reads single entries. Implements CacheInvalidation of write.writer."""

    def __init__(
        self,
        cache: EntryCache,
        fetch: Callable[[Sequence[Identity]], Awaitable[list[Entry | MemoryStoreError | None]]],
        *,
        now: Callable[[], int],
        accesses: AccessTimes,
    ) -> None:
        self._accesses = accesses
        self._cache = cache
        self._fetch = fetch
        self._now = now
        self._writing: frozenset[Identity] = frozenset()
        self._shared: dict[Identity, _Read] = {}
        self._queue: list[_Read] = []
        self._drain: asyncio.Task[None] | None = None

    async def get(self, identity: Identity) -> Entry | None:
        """Return the live entry, or None. Record the access."""
        now = self._now()
        entry = self._cache.get(identity, now)
        if entry is None:
            entry = await self._read(identity)
            now = self._now()
            if entry is None or not entry.live_at(now):
                return None
        self._accesses.note(identity, now)
        return entry

    def before_commit(self, identities: Iterable[Identity]) -> None:
        """Drop cached copies and stop sharing reads of entries that are about to change."""
        self._writing = frozenset(identities)
        for identity in self._writing:
            self._cache.discard(identity)
            self._shared.pop(identity, None)

    def after_commit(self, states: Iterable[tuple[Identity, Entry | None]]) -> None:
        """Cache the new states after a commit. A failed commit has no states."""
        self._writing = frozenset()
        for identity, entry in states:
            if entry is None:
                self._cache.discard(identity)
            else:
                self._cache.put(entry)

    async def close(self) -> None:
        """Wait for in-flight reads."""
        if self._drain is not None:
            await self._drain

    async def _read(self, identity: Identity) -> Entry | None:
        read = self._shared.get(identity)
        if read is None:
            read = _Read(identity)
            self._queue.append(read)
            if identity not in self._writing:
                self._shared[identity] = read
            if self._drain is None:
                self._drain = asyncio.create_task(self._run(), name="memory-lookup")
        waiter: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        read.waiters.append(waiter)
        return await waiter

    async def _run(self) -> None:
        try:
            while self._queue:
                reads, self._queue = self._queue[:_MAX_READS], self._queue[_MAX_READS:]
                await self._run_batch(reads)
        finally:
            self._drain = None

    async def _run_batch(self, reads: list[_Read]) -> None:
        try:
            entries = await self._fetch([read.identity for read in reads])
        except Exception as error:  # noqa: BLE001 - the callers get the error
            for read in reads:
                self._fail(read, error)
            return
        for read, entry in zip(reads, entries, strict=True):
            if isinstance(entry, MemoryStoreError):  # a damaged value fails only reads of its own entry
                self._fail(read, entry)
                continue
            if self._forget(read) and entry is not None:
                self._cache.put(entry)
            for waiter in read.waiters:
                if not waiter.done():
                    waiter.set_result(entry)

    def _fail(self, read: _Read, error: Exception) -> None:
        self._forget(read)
        for waiter in read.waiters:
            if not waiter.done():
                waiter.set_exception(copy.copy(error))

    def _forget(self, read: _Read) -> bool:
        """Stop sharing a read. Return False if a write intervened: the value read may be stale."""
        current = self._shared.get(read.identity) is read
        if current:
            del self._shared[read.identity]
        return current
