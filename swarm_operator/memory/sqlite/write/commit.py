"""Commit of a batch: one transaction on the writer's thread."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.sqlite.database.connection import write_transaction
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.write.apply import Operation, apply_in_savepoint
from swarm_operator.memory.sqlite.write.context import WriteContext
from swarm_operator.memory.sqlite.write.run import Run, grouped

_TRIAL_BYTES: Final = 256 * 1024


@dataclass(slots=True)
class Outcome:
    """Result of a batch.

    Attributes:
        results: the result or the error of each operation, in order.
        states: new states of the written entries, in write order; empty if the batch failed.
        changes: changes for the feed, in order; empty if the batch failed.
        written: stored bytes of the written values.
        changed: whether the batch wrote to the database.
        failure: error of the whole batch; None if the batch was committed.
    """

    results: list[Any]
    states: list[tuple[Identity, Entry | None]] = field(default_factory=list)
    changes: Sequence[Change] = ()
    written: int = 0
    changed: bool = False
    failure: MemoryStoreError | None = None


def commit_batch(
    db: sqlite3.Connection, operations: Sequence[Operation], now: Callable[[], int], *, keep: int
) -> Outcome:
    """Apply operations in order and commit them. Return failures in the outcome; never raise.

    The clock is read once, inside the transaction, so that times within a batch never decrease.

    Args:
        db: the writer's connection.
        operations: the operations of the batch.
        now: returns the time in milliseconds since the Unix epoch.
        keep: number of changes to keep in the `changes` table.
    """
    outcome = Outcome([])
    before = db.total_changes
    try:
        with write_transaction(db):
            context = WriteContext.begin(db, now())
            outcome.results = [*_apply_each(context, operations)]
            outcome.states = context.states
            outcome.written = context.written_bytes()
            outcome.changes = context.finish(keep=keep)
            outcome.changed = db.total_changes != before
    except Exception as error:  # noqa: BLE001 - the error is returned to every caller of the batch
        reason = from_sqlite(error)
        # Each caller gets a copy: raising one exception object in many tasks would mix their tracebacks.
        return Outcome([copy.copy(reason) for _ in operations], failure=reason)
    return outcome


def _apply_each(context: WriteContext, operations: Sequence[Operation]) -> Iterator[Any]:
    """Apply operations in order, each in a savepoint. Yield the result of each, or its MemoryStoreError.

    Puts of different clients form runs, too. If a run fails, each of its puts is applied alone: an error is that of one
    client.
    """
    for operation in grouped(operations):
        result = apply_in_savepoint(context, operation)
        if not isinstance(operation, Run):
            yield result
        elif isinstance(result, MemoryStoreError):
            yield from (apply_in_savepoint(context, put) for put in operation.puts)
        else:
            yield from result


def trial_write(db: sqlite3.Connection) -> None:
    """Write and commit 256 KiB of incompressible data, then delete them. Raises sqlite3.Error."""
    with write_transaction(db):
        db.execute("INSERT OR REPLACE INTO write_probe (id, filler) VALUES (1, ?)", (os.urandom(_TRIAL_BYTES),))
    db.execute("DELETE FROM write_probe")
