"""Operations that write several entries, or that read before they write: batches, transactions and updates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from swarm_operator.memory.core.entry import Draft, Entry, Identity
from swarm_operator.memory.core.errors import BatchItemError, InternalStoreError, MemoryStoreError
from swarm_operator.memory.core.writes import Write
from swarm_operator.memory.sqlite.tables import entry_rows
from swarm_operator.memory.sqlite.tables.compression import StoredValue
from swarm_operator.memory.sqlite.write.apply import DeleteOperation, Operation, PutOperation, operation_of
from swarm_operator.memory.sqlite.write.context import WriteContext
from swarm_operator.memory.sqlite.write.run import apply_each


@dataclass(frozen=True, slots=True)
class BatchOperation:
    """Several writes, applied in order. The result is the list of their results.

    Attributes:
        writes: the writes, each of one entry. A write sees the effects of earlier writes, and none of its own precedes
            an error.
        atomic: True: the first failure rolls back all writes and raises BatchItemError. False: writes are independent,
            and the result of a failed write is its MemoryStoreError.
    """

    writes: Sequence[Operation]
    atomic: bool = True

    @property
    def identities(self) -> list[Identity]:
        """Return the entries of all writes."""
        return [write.identities[0] for write in self.writes]

    @property
    def weight(self) -> int:
        """Return the total weight of the writes."""
        return sum(write.weight for write in self.writes)

    def apply(self, context: WriteContext) -> list[Any]:
        """Apply the writes in order."""
        results: list[Any] = []
        for index, result in enumerate(apply_each(context, self.writes)):
            if self.atomic and isinstance(result, MemoryStoreError):
                raise BatchItemError(index, result) from result
            results.append(result)
        return results


@dataclass(frozen=True, slots=True)
class TransactionOperation:
    """Reads entries, decides, and writes some of them atomically. The result is the list of the writes' results.

    Attributes:
        identities: the entries to read; only these may be written.
        decide: gets the live entries in that order (None if absent) and the time in milliseconds since the Unix epoch.
            Returns the writes. Runs on the writer's thread and blocks other requests, so it must be fast and must not
            use event loop state. If it raises MemoryStoreError, only this transaction is rolled back.
        pack: converts a written value to its stored form.
    """

    identities: Sequence[Identity]
    decide: Callable[[list[Entry | None], int], Sequence[Write]]
    pack: Callable[[bytes], StoredValue]

    @property
    def weight(self) -> int:
        """Return zero: the values are created when the transaction runs."""
        return 0

    def apply(self, context: WriteContext) -> list[Any]:
        """Read the entries, call `decide` and apply its writes."""
        found = entry_rows.read_each(context.db, self.identities)
        writes = self.decide([_live(context, entry) for entry in found], context.now)
        allowed = frozenset(self.identities)
        for write in writes:
            if write.identity not in allowed:
                raise InternalStoreError(f"a transaction wrote {write.identity}, which it had not announced")
        results: list[Any] = []
        for result in apply_each(context, [operation_of(write, self.pack) for write in writes]):
            if isinstance(result, MemoryStoreError):
                raise result
            results.append(result)
        return results


@dataclass(frozen=True, slots=True)
class UpdateOperation:
    """Reads an entry and writes its new state atomically. The result is (entry, written).

    `entry` is the current entry, None if absent. `written` is False if `change` returned None.

    Attributes:
        identity: the entry to update.
        change: gets the live entry or None; returns a draft, or None for no write. See TransactionOperation.decide.
        pack: converts a written value to its stored form.
    """

    identity: Identity
    change: Callable[[Entry | None], Draft | None]
    pack: Callable[[bytes], StoredValue]

    @property
    def identities(self) -> tuple[Identity]:
        """Return the entry that the operation may write."""
        return (self.identity,)

    @property
    def weight(self) -> int:
        """Return zero: the value is created when the update runs."""
        return 0

    def apply(self, context: WriteContext) -> tuple[Entry | None, bool]:
        """Read the entry, call `change` and write the returned draft."""
        entry = _live(context, entry_rows.read(context.db, self.identity))
        draft = self.change(entry)
        if draft is None:
            return entry, False
        if (draft.namespace, draft.key) != self.identity:
            raise InternalStoreError(f"an update of {self.identity} wrote {(draft.namespace, draft.key)}")
        written, _ = PutOperation(draft, self.pack(draft.value_json)).apply(context)
        return written, True


def only_deletes(operation: Operation) -> bool:
    """Return whether an operation adds nothing to the database."""
    if isinstance(operation, BatchOperation):
        return all(isinstance(write, DeleteOperation) for write in operation.writes)
    return isinstance(operation, DeleteOperation)


def _live(context: WriteContext, entry: Entry | None) -> Entry | None:
    return entry if entry is not None and entry.live_at(context.now) else None
