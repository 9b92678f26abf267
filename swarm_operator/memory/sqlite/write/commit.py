"""What runs on the writer's thread: a batch as one transaction. Plain sqlite3, no event loop."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from swarm_operator.memory.core.changes import Change
from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.database.errors import from_sqlite
from swarm_operator.memory.sqlite.database.transaction import write_transaction
from swarm_operator.memory.sqlite.search import index
from swarm_operator.memory.sqlite.tables import change_log, counters
from swarm_operator.memory.sqlite.write.apply import Operation, Work, apply_alone

_TRIAL_BYTES = 256 * 1024


@dataclass(slots=True)
class Outcome:
    """How a batch ended.

    Attributes:
        results: for each operation, in order: its result, or the error for its caller.
        states: what the touched entries are now, in the order of their writes; empty when the batch failed.
        changes: for those who watch, in order; empty when the batch failed.
        written: bytes of values as they were stored.
        changed: whether anything was written.
        failure: why the batch as a whole failed; None when it was committed.
    """

    results: list[Any]
    states: list[tuple[Identity, Entry | None]] = field(default_factory=list)
    changes: Sequence[Change] = ()
    written: int = 0
    changed: bool = False
    failure: MemoryStoreError | None = None


def commit_batch(
    db: sqlite3.Connection, operations: Sequence[Operation], now: Callable[[], int], *, full_text: bool, keep: int
) -> Outcome:
    """Apply the operations in order and commit them. Never raises: a failure is part of the outcome.

    The clock is read once, inside the transaction, so that times in a batch do not run backwards.

    Args:
        db: the writer's connection.
        operations: what to do.
        now: the clock, in milliseconds.
        full_text: whether values are in the full-text index.
        keep: changes that the feed's table keeps.
    """
    outcome = Outcome([])
    before = db.total_changes
    try:
        with write_transaction(db):
            highest = counters.highest_deleted(db)
            work = Work(db, now(), full_text, highest_deleted=highest)
            outcome.results = [apply_alone(work, operation) for operation in operations]
            outcome.states = work.states
            sums = counters.Tally()
            for namespace, rows, size in work.counts:
                sums.add(namespace, rows=rows, size=size)
            for sign, codec, size, stored in work.packed:
                sums.packed.row(sign, codec, size, stored)
                outcome.written += stored if sign > 0 else 0
            sums.write(db)
            if work.highest_deleted > highest:
                counters.raise_highest_deleted(db, work.highest_deleted)
            index.write(db, work.notes, full_text=full_text)
            outcome.changes = change_log.append(db, work.changes, now=work.now, keep=keep)
            outcome.changed = db.total_changes != before
    except Exception as error:  # noqa: BLE001 - it becomes the answer to every caller of the batch
        reason = from_sqlite(error)
        # Each caller gets an error of its own: one exception object raised in many tasks would mix their tracebacks.
        return Outcome([copy.copy(reason) for _ in operations], failure=reason)
    return outcome


def trial_write(db: sqlite3.Connection) -> None:
    """Write 256 KiB that can't be compressed away, commit, and take them back. Raises what SQLite raises."""
    with write_transaction(db):
        db.execute("INSERT OR REPLACE INTO write_probe (id, filler) VALUES (1, ?)", (os.urandom(_TRIAL_BYTES),))
    db.execute("DELETE FROM write_probe")
