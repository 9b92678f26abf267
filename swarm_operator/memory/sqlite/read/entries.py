"""Single entries: the cache in front of the readers, and the rules that keep both honest.

Reads of many callers that arrive while a read is under way go over to the reader's thread together, and callers that
want the same entry share one read. Sharing and caching must never show a value older than one that somebody has seen:

- When a batch of writes begins, the copies of its entries are dropped and reads of them under way are no longer shared
  or cached. Until it ends, gets of them go to the database, which knows exactly what is committed.
- When it ends, the new values enter the cache in the order of their commits.
- Expiry is decided when a value is handed out, by the clock, whatever its source.
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
"""Entries in one hop to the reader: enough to make the hop cheap, few enough to keep others waiting briefly."""


class EntryCache:
    """Most recently used entries.

    Attributes:
        hits: lookups that found a live entry.
        misses: lookups that did not.
        evictions: entries that were dropped for room.
        bytes: what the entries take now.
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
        """The entry if it is here and live at `now` (milliseconds); an expired one is dropped. Counts hit or miss."""
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
        """Keep the entry, in place of the one with its identity. One that is larger than the cache is not kept."""
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
        """Forget the entry, if it is here."""
        entry = self._entries.pop(identity, None)
        if entry is not None:
            self.bytes -= entry.weight


class _Read:
    """One read of one entry, and those who wait for it."""

    __slots__ = ("identity", "waiters")

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.waiters: list[asyncio.Future[Entry | None]] = []


class EntryReader:
    """Finds single entries. Implements the writer's CacheInvalidation."""

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
        """The live entry, or None."""
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
        """Entries are about to change."""
        self._writing = frozenset(identities)
        for identity in self._writing:
            self._cache.discard(identity)
            self._shared.pop(identity, None)

    def after_commit(self, states: Iterable[tuple[Identity, Entry | None]]) -> None:
        """Entries have changed, or their commit has failed."""
        self._writing = frozenset()
        for identity, entry in states:
            if entry is None:
                self._cache.discard(identity)
            else:
                self._cache.put(entry)

    async def close(self) -> None:
        """Wait for the reads under way."""
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
        except Exception as error:  # noqa: BLE001 - it belongs to those who wait
            for read in reads:
                self._fail(read, error)
            return
        for read, entry in zip(reads, entries, strict=True):
            if isinstance(entry, MemoryStoreError):  # one damaged value is no concern of those who want others
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
        """End sharing. False when a write has come between: what was read may already be old."""
        current = self._shared.get(read.identity) is read
        if current:
            del self._shared[read.identity]
        return current
