"""The LRU cache of entries, bounded by their number and by their bytes.

It holds immutable entries whose values are JSON text, so no caller can change what another one gets. Who may put what
in, and when, is decided in lookup: this module only keeps count.
"""

from __future__ import annotations

from collections import OrderedDict

from swarm_operator.memory.core.entry import Entry, Identity


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
