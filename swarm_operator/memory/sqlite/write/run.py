"""Runs of puts: consecutive puts of different entries, which few statements write together.

The puts may be those of one request or of many. Few statements also mean few hand-overs of Python's lock between the
writer's thread and the event loop.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, NamedTuple

from swarm_operator.memory.core.entry import Entry
from swarm_operator.memory.core.errors import MemoryStoreError, VersionConflictError
from swarm_operator.memory.sqlite.database.many_rows import RowsStatement
from swarm_operator.memory.sqlite.search import words
from swarm_operator.memory.sqlite.write.apply import (
    COLUMNS,
    Operation,
    PutOperation,
    apply_alone,
    apply_in_savepoint,
)
from swarm_operator.memory.sqlite.write.context import NO_HEAD, WriteContext

SHORTEST: Final = 4
"""Number of puts from which a run costs less than its puts one by one."""
_LAST_ID = "SELECT coalesce(max(id), 0) FROM entries"
_INSERT: Final = RowsStatement(f"INSERT INTO entries (id, namespace, key, {', '.join(COLUMNS)})", 3 + len(COLUMNS))
# An upsert would be one statement for both, but its triggers ignore what they say about conflicts: `INSERT OR IGNORE`
# in a trigger fails then, https://sqlite.org/lang_createtrigger.html.
_UPDATE: Final = RowsStatement(
    f"WITH new (id, {', '.join(COLUMNS)}) AS (",
    1 + len(COLUMNS),
    f") UPDATE entries SET {', '.join(f'{name} = new.{name}' for name in COLUMNS)} FROM new WHERE entries.id = new.id",  # noqa: S608
)


class Run(NamedTuple):
    """Puts of different entries, none with a vector, that are applied together.

    Attributes:
        puts: the puts, in order.
    """

    puts: Sequence[PutOperation]

    def apply(self, context: WriteContext) -> list[tuple[Entry, bool] | VersionConflictError]:
        """Check the conditions of all puts, and write those that hold. Return the result or the error of each."""
        db = context.db
        heads = context.heads([put.identity for put in self.puts])
        results: list[tuple[Entry, bool] | VersionConflictError] = []
        inserted: list[tuple[Any, ...]] = []
        updated: list[tuple[Any, ...]] = []
        last_id: int = db.execute(_LAST_ID).fetchone()[0]
        for put in self.puts:
            head = heads.get(put.identity, NO_HEAD)
            try:
                entry, created = put.check(context, head)
            except VersionConflictError as error:
                results.append(error)
                continue
            row_id, *_ = head
            if row_id is None:
                row_id = last_id = last_id + 1
                inserted.append((row_id, entry.namespace, entry.key, *put.columns(entry)))
            else:
                words.forget(db, row_id, entry.namespace, head[4])
                updated.append((row_id, *put.columns(entry)))
            put.record(context, head, row_id, entry)
            results.append((entry, created))
        _INSERT.execute(db, inserted)
        _UPDATE.execute(db, updated)
        return results


def grouped(writes: Sequence[Operation]) -> Iterator[Operation | Run]:
    """Yield the writes in order, with those that form a run as one."""
    start = 0
    while start < len(writes):
        puts = _puts(writes, start)
        if len(puts) >= SHORTEST:
            yield Run(puts)
        else:
            puts = puts or [writes[start]]
            yield from puts
        start += len(puts)


def apply_each(context: WriteContext, writes: Sequence[Operation]) -> Iterator[Any]:
    """Apply writes in order. Yield the result of each, or its MemoryStoreError."""
    for write in grouped(writes):
        if isinstance(write, Run):
            yield from write.apply(context)
        else:
            yield _apply(context, write)


def apply_in_runs(context: WriteContext, operations: Sequence[Operation]) -> list[Any]:
    """Apply the operations of many clients, as apply.apply_alone does, but with runs of puts.

    If a run fails, each of its puts is applied alone: an error is that of one client.
    """
    results: list[Any] = []
    for operation in grouped(operations):
        result = apply_in_savepoint(context, operation)
        if not isinstance(operation, Run):
            results.append(result)
        else:
            results += apply_alone(context, operation.puts) if isinstance(result, MemoryStoreError) else result
    return results


def _apply(context: WriteContext, write: Operation) -> Any:
    try:
        return write.apply(context)
    except MemoryStoreError as error:
        return error


def _puts(writes: Sequence[Operation], start: int) -> list[Any]:
    """Return the puts from a place on, up to one that needs what an earlier write has written, or a vector's table."""
    puts: list[PutOperation] = []
    seen = set()
    for write in islice(writes, start, None):
        if not isinstance(write, PutOperation) or write.draft.vector is not None:
            break
        identity = write.identity
        if identity in seen:
            break
        seen.add(identity)
        puts.append(write)
    return puts
