"""Cleanup of old records in small steps, like the seed's cleanupSwarmData; keeps tasks that other tasks depend on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from swarm_operator.memory.core.entry import Entry
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.core.writes import Delete
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.consensus.proposals import CONSENSUS
from swarm_operator.memory.swarm.coordination import METRICS
from swarm_operator.memory.swarm.messages import COMMUNICATION
from swarm_operator.memory.swarm.patterns import PATTERN
from swarm_operator.memory.swarm.record import Kind, Records, text_of
from swarm_operator.memory.swarm.tasks import dependencies, rules
from swarm_operator.memory.swarm.tasks.queue import TASK

DEFAULT_MAX_AGE: Final = 7 * 86_400
"""Seconds."""
MOST_AGE: Final = 100 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Cleanup:
    """Number of deleted records of each kind; with `dry_run`, of records that would be deleted."""

    communications: int
    tasks: int
    metrics: int
    patterns: int
    consensus: int
    dry_run: bool

    @property
    def total(self) -> int:
        """Return the number of records of all kinds."""
        return self.communications + self.tasks + self.metrics + self.patterns + self.consensus


async def clean_up(
    store: Store,
    *,
    max_age: float = DEFAULT_MAX_AGE,
    keep_patterns: bool = True,
    keep_consensus: bool = True,
    dry_run: bool = False,
) -> Cleanup:
    """Delete old messages, completed tasks and metrics, and optionally old patterns and closed proposals.

    Tasks that unfinished tasks depend on are kept. Records that change during the cleanup are kept.

    Args:
        store: the store that holds the records.
        max_age: seconds since a message was sent, a task was completed, metrics were written, a pattern was last used
            or written, or a proposal was closed. A week by default; 0 deletes regardless of age.
        keep_patterns: False also deletes old patterns.
        keep_consensus: False also deletes old closed proposals.
        dry_run: count the records without deleting them.

    Raises:
        InvalidInputError: names the invalid field.
    """
    if max_age != 0 or isinstance(max_age, bool):
        fields.seconds("max_age", max_age, MOST_AGE)
    for name, value in (("keep_patterns", keep_patterns), ("keep_consensus", keep_consensus), ("dry_run", dry_run)):
        if type(value) is not bool:
            raise InvalidInputError(name, "true or false")
    limit = store.now() - round(max_age * 1000)
    needed: set[str] = set()
    async for entry in _all(store, TASK):
        task = TASK.document(entry)
        if rules.status_of(task) != "completed":
            needed.update(dependencies.of(task))

    def old_task(entry: Entry, task: dict[str, Any]) -> bool:
        completed = rules.status_of(task) == "completed"
        return completed and _since(task, "completedAt", entry=entry) <= limit and task["id"] not in needed

    def old_proposal(entry: Entry, proposal: dict[str, Any]) -> bool:
        closed = text_of(proposal, "status") not in {"open", ""}
        return closed and _since(proposal, "decidedAt", "timestamp", entry=entry) <= limit

    async def sweep(kind: Kind, old: Callable[[Entry, dict[str, Any]], bool], *, keep: bool = False) -> int:
        return 0 if keep else await _delete(store, kind, old, dry_run=dry_run)

    return Cleanup(
        communications=await sweep(COMMUNICATION, lambda entry, it: _since(it, "timestamp", entry=entry) <= limit),
        tasks=await sweep(TASK, old_task),
        metrics=await sweep(METRICS, lambda entry, _: entry.updated_at <= limit),
        patterns=await sweep(
            PATTERN,
            lambda entry, it: max(_since(it, "lastUsedAt", entry=None), entry.updated_at) <= limit,
            keep=keep_patterns,
        ),
        consensus=await sweep(CONSENSUS, old_proposal, keep=keep_consensus),
        dry_run=dry_run,
    )


def _since(document: dict[str, Any], *names: str, entry: Entry | None) -> int:
    """Return the first valid time of these members in milliseconds; else the entry's write time; else 0."""
    for name in names:
        if (moment := times.from_text(document.get(name))) is not None:
            return moment
    return 0 if entry is None else entry.updated_at


async def _all(store: Store, kind: Kind) -> AsyncIterator[Entry]:
    records = Records(store, kind)
    after: str | None = None
    while True:
        entries, after = await records.scan(after=after)
        for entry in entries:
            yield entry
        if after is None:
            return


async def _delete(store: Store, kind: Kind, old: Callable[[Entry, dict[str, Any]], bool], *, dry_run: bool) -> int:
    records = Records(store, kind)
    deleted = 0
    after: str | None = None
    while True:
        entries, after = await records.scan(after=after)
        found = [entry for entry in entries if old(entry, kind.document(entry))]
        if dry_run:
            deleted += len(found)
        else:
            # if_version keeps records that changed after they were read.
            deletes = [Delete((entry.namespace, entry.key), entry.version) for entry in found]
            results = await store.batch(deletes, atomic=False)
            deleted += sum(result is True for result in results)
        if after is None:
            return deleted
