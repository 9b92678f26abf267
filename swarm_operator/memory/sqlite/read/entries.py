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
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence

from swarm_operator.memory.core.callbacks import Receiver
from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.core.errors import InvalidInputError, MemoryStoreError
from swarm_operator.memory.sqlite.tables.access_times import AccessTimes

_RESIZE_SECONDS = 0.001
"""Duration of a step of EntryCache.resize: freeing a large value takes a million times as long as a small one."""
_MAX_READS = 128
"""Maximum number of entries per batch: amortizes the thread switch and keeps the wait of other reads short."""


class EntryCache:
    """Cache of the most recently used entries.

    Attributes:
        hits: lookups that found a live entry.
        misses: lookups that found none.
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
        entry = self.hit(identity, now)
        if entry is None:
            self.discard(identity)
            self.misses += 1
        return entry

    def hit(self, identity: Identity, now: int) -> Entry | None:
        """Return the entry if cached and live at `now` (milliseconds), and count the hit. Count no miss."""
        entry = self._entries.get(identity)
        if entry is None or ((expiry := entry.expires_at) is not None and expiry <= now):
            return None
        self.hits += 1
        self._entries.move_to_end(identity)
        return entry

    def put(self, entry: Entry) -> None:
        """Store or replace the entry. Do not store an entry larger than the cache."""
        identity = (entry.namespace, entry.key)
        if identity in self._entries:
            self.discard(identity)
        weight = entry.weight
        if weight > self.max_bytes:
            return
        self._entries[identity] = entry
        self.bytes += weight
        while len(self._entries) > self.max_entries or self.bytes > self.max_bytes:
            self._evict()

    def resize(self, *, max_entries: int, max_bytes: int) -> bool:
        """Move the limits one short step towards new limits. Return whether the new limits are reached.

        Until then the limits equal the current contents, so that no `put` removes many entries at once.
        """
        deadline = time.perf_counter() + _RESIZE_SECONDS
        while len(self._entries) > max_entries or self.bytes > max_bytes:
            self._evict()
            if time.perf_counter() > deadline:
                break
        self.max_entries = max(max_entries, len(self._entries))
        self.max_bytes = max(max_bytes, self.bytes)
        return (self.max_entries, self.max_bytes) == (max_entries, max_bytes)

    def discard(self, identity: Identity) -> None:
        """Remove the entry if cached."""
        entry = self._entries.pop(identity, None)
        if entry is not None:
            self.bytes -= entry.weight

    def clear(self) -> None:
        """Remove all entries. The counters stay."""
        self._entries.clear()
        self.bytes = 0

    def _evict(self) -> None:
        _, oldest = self._entries.popitem(last=False)
        self.bytes -= oldest.weight
        self.evictions += 1


class _Read:
    """A read of one entry, with the receivers of its result."""

    __slots__ = ("identity", "waiters")

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self.waiters: list[Receiver] = []

    @property
    def wanted(self) -> bool:
        """Return whether a receiver still waits for the entry."""
        return not all(waiter.done() for waiter in self.waiters)


class _Access:
    """Receiver of a read by key: passes on a live entry and records the access."""

    __slots__ = ("_identity", "_reader", "_receiver", "done")

    def __init__(self, reader: EntryReader, identity: Identity, receiver: Receiver) -> None:
        self._reader = reader
        self._identity = identity
        self._receiver = receiver
        self.done = receiver.done

    def set_result(self, entry: Entry | None, /) -> None:
        self._receiver.set_result(self._reader.live(self._identity, entry))

    def set_exception(self, error: BaseException, /) -> None:
        self._receiver.set_exception(error)


class _Fetch:
    """Receiver of what `fetch` found."""

    __slots__ = ("_reader", "_reads")

    def __init__(self, reader: EntryReader, reads: list[_Read]) -> None:
        self._reader = reader
        self._reads = reads

    def done(self) -> bool:
        return False

    def set_result(self, entries: Sequence[Entry | MemoryStoreError | None], /) -> None:
        self._reader.fetched(self._reads, entries)

    def set_exception(self, error: BaseException, /) -> None:
        self._reader.failed(self._reads, error)


class EntryReader:
    """Reads single entries. Implements CacheInvalidation of write.writer.

    Results reach their receivers in the turn of the event loop in which the thread returns them, without a task.

    Args:
        cache: the cache.
        fetch: reads the first entries of a list, see Readers.begin_entries. Raises StoreClosedError.
        now: returns the time in milliseconds since the Unix epoch.
        accesses: records the accesses.
    """

    def __init__(
        self,
        cache: EntryCache,
        fetch: Callable[[Sequence[Identity], Receiver], None],
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
        self._reading = False
        self._closing: asyncio.Future[None] | None = None
        self._resizing: asyncio.Task[None] | None = None

    async def get(self, identity: Identity) -> Entry | None:
        """Return the live entry, or None. Record the access."""
        now = self._now()
        entry = self._cache.get(identity, now)
        if entry is None:
            return self.live(identity, await self._begin(identity))
        self._accesses.note(identity, now)
        return entry

    def cached(self, identity: Identity) -> Entry | None:
        """Return the live entry if it is cached, and record the access. A miss is counted by `begin`."""
        now = self._now()
        entry = self._cache.hit(identity, now)
        if entry is not None:
            self._accesses.note(identity, now)
        return entry

    def begin(self, identity: Identity, receiver: Receiver) -> None:
        """Read an entry that `cached` did not find. The result is that of `get`."""
        self._cache.misses += 1
        self._share(identity, _Access(self, identity, receiver))

    def live(self, identity: Identity, entry: Entry | None) -> Entry | None:
        """Return a live entry that was read by its key, and record the access; None for a missing or expired entry."""
        now = self._now()
        if entry is None or not entry.live_at(now):
            return None
        self._accesses.note(identity, now)
        return entry

    async def get_each(
        self, identities: Sequence[Identity], *, max_bytes: int
    ) -> list[Entry | MemoryStoreError | None]:
        """Return the result of each read: the live entry, None, or the error of this read. Record the accesses.

        The values together have at most `max_bytes`, except that the last value may exceed the limit. The result of
        each further read is InvalidInputError. So at most two fetches hold values that are not returned.
        """
        full = InvalidInputError("operations", f"gets of values of at most {max_bytes} bytes together")
        now, left = self._now(), max_bytes
        found: list[Entry | MemoryStoreError | None] = []
        reads = [self._cache.get(identity, now) or self._begin(identity) for identity in identities]
        try:
            for identity, read in zip(identities, reads, strict=True):
                result = full if left <= 0 else await self._finish(identity, read)
                found.append(result)
                if isinstance(result, Entry):
                    left -= len(result.value_json)
        finally:
            for read in reads:
                if isinstance(read, asyncio.Future) and not read.cancel() and not read.cancelled():
                    read.exception()  # otherwise asyncio would log an error without a receiver
        return found

    async def _finish(
        self, identity: Identity, read: Entry | asyncio.Future[Entry | None]
    ) -> Entry | MemoryStoreError | None:
        try:
            entry = read if isinstance(read, Entry) else await read
        except MemoryStoreError as error:
            return error
        return self.live(identity, entry)

    def before_commit(self, identities: Sequence[Identity]) -> None:
        """Drop cached copies and stop sharing reads of entries that are about to change."""
        self._writing = frozenset(identities)
        for identity in self._writing:
            self._cache.discard(identity)
            if self._shared:
                self._shared.pop(identity, None)

    def after_commit(self, states: Iterable[tuple[Identity, Entry | None]]) -> None:
        """Cache the new states after a commit. A failed commit has no states."""
        self._writing = frozenset()
        for identity, entry in states:
            if entry is None:
                self._cache.discard(identity)
            else:
                self._cache.put(entry)

    def forget(self) -> None:
        """Drop all copies because the database was replaced. In-flight reads are neither cached nor shared."""
        self._shared.clear()
        self._cache.clear()

    def resize_cache(self, *, max_entries: int, max_bytes: int) -> None:
        """Change the limits of the cache. Remove entries over the limits in steps, while requests continue."""
        if self._resizing is not None:
            self._resizing.cancel()
        self._resizing = asyncio.create_task(self._resize_cache(max_entries, max_bytes), name="memory-cache-resize")

    async def close(self) -> None:
        """Wait for in-flight reads."""
        if self._resizing is not None:
            self._resizing.cancel()
        if self._reading:
            self._closing = asyncio.get_running_loop().create_future()
            await self._closing

    async def _resize_cache(self, max_entries: int, max_bytes: int) -> None:
        while not self._cache.resize(max_entries=max_entries, max_bytes=max_bytes):  # noqa: ASYNC110 - it is work
            await asyncio.sleep(0)

    def _begin(self, identity: Identity) -> asyncio.Future[Entry | None]:
        """Begin a read, or share an existing one. Return a future of the result, which may be cancelled."""
        waiter: asyncio.Future[Entry | None] = asyncio.get_running_loop().create_future()
        self._share(identity, waiter)
        return waiter

    def _share(self, identity: Identity, waiter: Receiver) -> None:
        read = self._shared.get(identity)
        if read is None:
            read = _Read(identity)
            self._queue.append(read)
            if identity not in self._writing:
                self._shared[identity] = read
            if not self._reading:
                self._reading = True
                asyncio.get_running_loop().call_soon(self._next)
        read.waiters.append(waiter)

    def _next(self) -> None:
        """Send the next reads that are still wanted to the reader's thread."""
        while self._queue:
            reads, self._queue = self._queue[:_MAX_READS], self._queue[_MAX_READS:]
            for read in reads:
                if not read.wanted:
                    self._forget(read)
            if wanted := [read for read in reads if read.wanted]:
                try:
                    self._fetch([read.identity for read in wanted], _Fetch(self, wanted))
                except Exception as error:  # noqa: BLE001 - the callers get the error
                    for read in wanted:
                        self._fail(read, error)
                else:
                    return
        self._reading = False
        if self._closing is not None:
            self._closing.set_result(None)

    def fetched(self, reads: list[_Read], entries: Sequence[Entry | MemoryStoreError | None]) -> None:
        """Send the next reads, which include those that did not fit into this fetch, and notify the receivers."""
        self._queue = reads[len(entries) :] + self._queue
        self._next()
        for read, entry in zip(reads, entries, strict=False):
            if isinstance(entry, MemoryStoreError):  # a damaged value fails only reads of its own entry
                self._fail(read, entry)
                continue
            if self._forget(read) and entry is not None:
                self._cache.put(entry)
            for waiter in read.waiters:
                if not waiter.done():
                    waiter.set_result(entry)

    def failed(self, reads: list[_Read], error: BaseException) -> None:
        """Send the next reads, and give these their error."""
        self._next()
        for read in reads:
            self._fail(read, error)

    def _fail(self, read: _Read, error: BaseException) -> None:
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
