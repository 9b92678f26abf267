"""The store's operations without coroutines, see core.callbacks."""

from __future__ import annotations

from collections.abc import Callable

from swarm_operator.memory.core.callbacks import Receiver
from swarm_operator.memory.core.entry import Draft, Entry, Identity
from swarm_operator.memory.sqlite.read.entries import EntryReader
from swarm_operator.memory.sqlite.tables.compression import Codec, StoredValue, compress_inline
from swarm_operator.memory.sqlite.write.apply import DeleteOperation, PutOperation
from swarm_operator.memory.sqlite.write.packing import Packer
from swarm_operator.memory.sqlite.write.writer import Writer


class SqliteCallbacks:
    """Implements CallbackStore.

    Args:
        lookup: reads entries.
        writer: writes entries.
        packer: converts values to their stored form, by the settings of the store.
        check_open: raises StoreClosedError once the store is closed.
    """

    def __init__(self, lookup: EntryReader, writer: Writer, packer: Packer, *, check_open: Callable[[], None]) -> None:
        self._lookup = lookup
        self._writer = writer
        self._packer = packer
        self._check_open = check_open

    def cached(self, identity: Identity) -> Entry | None:
        """Return a live entry from memory, see CallbackStore.cached."""
        self._check_open()
        return self._lookup.cached(identity)

    def begin_get(self, identity: Identity, receiver: Receiver) -> None:
        """Read an entry, see CallbackStore.begin_get."""
        self._check_open()
        self._lookup.begin(identity, receiver)

    def begin_put(self, draft: Draft, receiver: Receiver) -> bool:
        """Write an entry, see CallbackStore.begin_put."""
        value = draft.value_json
        config = self._packer.config
        packed: StoredValue | None = StoredValue(Codec.PLAIN, value)
        if 0 < config.compression_threshold < len(value):
            packed = compress_inline(value, config.compression_threshold)
        if packed is None or len(value) > config.max_value_bytes:
            return False
        self._writer.enqueue(PutOperation(draft, packed), receiver)
        return True

    def begin_delete(self, identity: Identity, receiver: Receiver) -> None:
        """Delete an entry, see CallbackStore.begin_delete."""
        self._writer.enqueue(DeleteOperation(identity), receiver)
