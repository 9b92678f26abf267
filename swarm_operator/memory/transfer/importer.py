"""Import of NDJSON, in bounded memory. `export` describes the lines.

An import compares each line with the stored entry and writes only differences, so imports are idempotent. A line may
also be a result of the seed's exportSwarmState: an object with agents, tasks and patterns.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any, Final, Protocol

from swarm_operator.memory.core import strict_json, vectors
from swarm_operator.memory.core.entry import (
    MAX_TTL_SECONDS,
    Draft,
    Entry,
    Identity,
    check_author,
    check_key,
    check_namespace,
)
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.threads import LARGE_BYTES, run_on_thread
from swarm_operator.memory.core.writes import Put, Write
from swarm_operator.memory.swarm import times
from swarm_operator.memory.swarm.agents import AGENT
from swarm_operator.memory.swarm.patterns import PATTERN
from swarm_operator.memory.swarm.tasks.queue import TASK
from swarm_operator.memory.transfer.export import FORMAT, VERSION

_BATCH_ENTRIES: Final = 100
_BATCH_BYTES: Final = 1024 * 1024
_MAX_LINES: Final = 50_000_000
_ENTRY: Final = frozenset({
    "namespace", "key", "value", "tags", "metadata", "ttl", "expiresAt", "createdAt", "updatedAt", "updatedBy",
    "version", "vector",
})  # fmt: skip
_STATE: Final = {"agents": AGENT, "tasks": TASK, "patterns": PATTERN}
_EXPIRY_TOLERANCE: Final = 1000
"""Milliseconds by which equal expiry times may differ: lifetimes are whole seconds."""


class BadLineError(InvalidInputError):
    """A line of an import is invalid. Its batch was not written; earlier batches were written.

    Attributes:
        line: number of the line, from 1.
    """

    def __init__(self, line: int, field: str, allowed: str) -> None:
        super().__init__(field, allowed)
        self.args = (f"line {line}: {field}: {allowed}",)
        self.line = line

    def __copy__(self) -> BadLineError:
        """Return a new error with the same attributes."""
        return BadLineError(self.line, self.field, self.allowed)


class Existing(StrEnum):
    """How an import treats a stored entry that differs from the line."""

    OVERWRITE = "overwrite"
    KEEP = "keep"
    NEWER = "newer"
    """Overwrite the entry only if the line's `updatedAt` is later than the entry's; else keep the entry."""


class Outcome(IntEnum):
    """Result of the import of a line."""

    NONE = 0
    """The line is not an entry: it is empty, or the first or last line of an export."""
    CREATED = 1
    UPDATED = 2
    UNCHANGED = 3
    KEPT = 4
    """The stored entry differs and was kept, see Existing."""
    EXPIRED = 5
    """The line's entry has expired."""
    SEVERAL = 6
    """The line contains several records."""


@dataclass(slots=True)
class _Item:
    """An entry to import."""

    line: int
    draft: Draft
    expires_at: int | None
    updated_at: int | None = None


class ImportTarget(Protocol):
    """The operations of a store that an import uses."""

    @property
    def max_value_bytes(self) -> int:
        """Return the size limit of a value, in bytes of compact JSON."""

    def now(self) -> int:
        """Return the time in milliseconds since the Unix epoch."""

    async def get_many(self, identities: Sequence[Identity]) -> Sequence[Entry | None]:
        """Return entries; None for each that does not exist."""

    async def vectors(self, entries: Sequence[Entry]) -> Sequence[bytes | None]:
        """Return the vectors that clients wrote with these versions of entries."""

    async def transact(
        self, identities: Sequence[Identity], decide: Callable[[list[Entry | None], int], Sequence[Write]]
    ) -> Sequence[object]:
        """Read entries, and write what `decide` returns for them, in one transaction."""


@dataclass(slots=True)
class Importer:
    """Imports lines in batches of up to 100 entries or 1 MiB. Each batch is written atomically.

    Attributes:
        store: the store to write to.
        existing: how stored entries that differ are treated.
        outcomes: the Outcome of each line, from index 0. Lines of an unwritten batch have NONE.
        counts: number of entries with each outcome.
        lines: number of lines that were added.
        complete: True after the last line of an export, with the correct number of entries, was added.
    """

    store: ImportTarget
    existing: Existing = Existing.OVERWRITE
    outcomes: bytearray = field(default_factory=bytearray)
    counts: dict[Outcome, int] = field(default_factory=dict)
    lines: int = 0
    complete: bool = False
    _waiting: list[_Item] = field(default_factory=list)
    _identities: set[Identity] = field(default_factory=set)
    _bytes: int = 0
    _expected: bool = False
    _entries: int = 0

    async def add(self, line: bytes) -> None:
        """Add the next line, and write the batch if it is full.

        Raises:
            BadLineError: the line is invalid; its unwritten batch is dropped.
            MemoryStoreError: the batch could not be written.
        """
        self.skip(1)
        text = line.strip()
        if not text:
            return
        try:
            read = self._read(text)
            items = await run_on_thread(list, read) if len(text) > LARGE_BYTES else list(read)
        except InvalidInputError as error:
            self._drop()
            raise BadLineError(self.lines, error.field, error.allowed) from None
        if len(items) > 1:
            self.outcomes[-1] = Outcome.SEVERAL
        for item in items:
            identity = (item.draft.namespace, item.draft.key)
            if identity in self._identities:
                await self.flush()  # the comparison of the later line needs the entry that the earlier line writes
            self._waiting.append(item)
            self._identities.add(identity)
            self._bytes += len(item.draft.value_json) + len(item.draft.vector or b"")
            if len(self._waiting) >= _BATCH_ENTRIES or self._bytes >= _BATCH_BYTES:
                await self.flush()

    def skip(self, count: int) -> None:
        """Count empty lines. Raise BadLineError for too many lines."""
        self.lines += count
        if self.lines > _MAX_LINES:
            raise BadLineError(_MAX_LINES + 1, "lines", f"at most {_MAX_LINES} in one import")
        self.outcomes += bytes(count)

    async def finish(self) -> None:
        """Write the last batch, and check that the export is complete.

        Raises:
            BadLineError: the export is truncated; all its lines were written.
        """
        await self.flush()
        if self._expected and not self.complete:
            raise BadLineError(self.lines, "end", "the last line of an export: this one was cut off")

    async def flush(self) -> None:
        """Write the current batch in one transaction."""
        items = list(self._waiting)
        self._drop()
        if not items:
            return
        outcomes: list[Outcome] = []
        known = await self._vectors(items)

        def decide(entries: list[Entry | None], now: int) -> list[Write]:
            outcomes.clear()
            writes: list[Write] = []
            for item, entry in zip(items, entries, strict=True):
                vector = None if entry is None else known.get((entry.namespace, entry.key, entry.version))
                outcome, draft = self._compare(item, entry, vector, now)
                outcomes.append(outcome)
                if draft is not None:
                    writes.append(Put(draft))
            return writes

        await self.store.transact([(item.draft.namespace, item.draft.key) for item in items], decide)
        for item, outcome in zip(items, outcomes, strict=True):
            if self.outcomes[item.line - 1] != Outcome.SEVERAL:
                self.outcomes[item.line - 1] = outcome
            self.counts[outcome] = self.counts.get(outcome, 0) + 1

    async def _vectors(self, items: Sequence[_Item]) -> dict[tuple[str, str, int], bytes | None]:
        """Return the vectors of the stored entries whose lines have one, by name and version."""
        identities = [(item.draft.namespace, item.draft.key) for item in items if item.draft.vector is not None]
        if not identities:
            return {}
        entries = [entry for entry in await self.store.get_many(identities) if entry is not None]
        given = await self.store.vectors(entries)
        return {
            (entry.namespace, entry.key, entry.version): vector for entry, vector in zip(entries, given, strict=True)
        }

    def _drop(self) -> None:
        self._waiting.clear()
        self._identities.clear()
        self._bytes = 0

    def _compare(
        self, item: _Item, entry: Entry | None, vector: bytes | None, now: int
    ) -> tuple[Outcome, Draft | None]:
        """Return the outcome for a line, and the draft to write. A line without a vector keeps the stored vector."""
        draft = item.draft
        if item.expires_at is not None:
            if item.expires_at <= now:
                return Outcome.EXPIRED, None
            ttl = min(math.ceil((item.expires_at - now) / 1000), MAX_TTL_SECONDS)
            draft = draft._replace(ttl=ttl)
        if entry is None:
            return Outcome.CREATED, draft
        there = (entry.value_json, entry.tags_json, entry.metadata_json)
        wanted = (draft.value_json, draft.tags_json, draft.metadata_json)
        given = vector if draft.vector is None else draft.vector
        if there == wanted and vectors.same(given, vector) and _same_expiry(entry.expires_at, item.expires_at):
            return Outcome.UNCHANGED, None
        # Equal times are decided by content, so that two stores that exchange exports choose the same entry.
        newer = item.updated_at is not None and (
            (item.updated_at, *wanted, given or b"") > (entry.updated_at, *there, vector or b"")
        )
        if self.existing is Existing.KEEP or (self.existing is Existing.NEWER and not newer):
            return Outcome.KEPT, None
        return Outcome.UPDATED, draft

    def _read(self, text: bytes) -> Iterator[_Item]:
        document = strict_json.parse_document("line", text, levels=3)
        if type(document) is not dict:
            raise InvalidInputError("line", "a JSON object")
        if self.complete:
            raise InvalidInputError("line", "no further line: the export has ended")
        if "format" in document:
            if self._expected or document["format"] != FORMAT or document.get("version") != VERSION:
                raise InvalidInputError("format", f"{FORMAT!r} of version {VERSION}, once")
            self._expected = True
        elif "end" in document:
            if document.get("entries") != self._entries:
                raise InvalidInputError("entries", f"{self._entries}, as many as there were: lines are missing")
            self.complete = True
        elif "key" not in document and document.keys() & _STATE.keys():
            yield from self._state(document)
        else:
            self._entries += 1
            yield self._entry(document)

    def _entry(self, document: dict[str, Any]) -> _Item:
        if unknown := document.keys() - _ENTRY:
            raise InvalidInputError(f"unknown member {min(unknown)[:64]!r}", f"one of {', '.join(sorted(_ENTRY))}")
        if "value" not in document:
            raise InvalidInputError("value", "required, a JSON value")
        namespace, key = check_namespace(document.get("namespace")), check_key(document.get("key"))
        draft = Draft.create(
            namespace,
            key,
            document["value"],
            tags=document.get("tags"),
            metadata=document.get("metadata"),
            ttl=document.get("ttl"),
            updated_by=check_author(document.get("updatedBy"), field="updatedBy"),
            vector=vectors.from_json(document.get("vector")),
        )
        self._check_size(draft)
        expires_at = None
        if document.get("expiresAt") is not None:
            expires_at = times.from_text(document["expiresAt"])
            if expires_at is None:
                raise InvalidInputError("expiresAt", "a time as 2026-01-31T12:00:00.250Z, or null")
        elif draft.ttl:
            expires_at = self.store.now() + draft.ttl * 1000
        updated_at = document.get("updatedAt")
        if updated_at is not None and (updated_at := times.from_text(updated_at)) is None:
            raise InvalidInputError("updatedAt", "a time as 2026-01-31T12:00:00.250Z, or null")
        return _Item(self.lines, draft, expires_at, updated_at)

    def _state(self, document: dict[str, Any]) -> Iterator[_Item]:
        """Yield the records of a result of the seed's exportSwarmState. Records keep all their members."""
        for name, kind in _STATE.items():
            records = [] if document.get(name) is None else document[name]
            if not isinstance(records, list):
                raise InvalidInputError(name, "a list of records")
            for index, record in enumerate(records):
                where = f"{name}[{index}]"
                if not isinstance(record, dict):
                    raise InvalidInputError(where, "a JSON object")
                try:
                    draft = kind.put({**record, "id": record.get("id")}, None).draft
                except InvalidInputError as error:
                    raise InvalidInputError(f"{where}.{error.field}", error.allowed) from None
                self._check_size(draft)
                yield _Item(self.lines, draft, None)

    def _check_size(self, draft: Draft) -> None:
        most = self.store.max_value_bytes
        if len(draft.value_json) > most:
            raise InvalidInputError("value", f"at most {most} bytes of JSON")


def _same_expiry(stored: int | None, wanted: int | None) -> bool:
    if stored is None or wanted is None:
        return stored is wanted
    return abs(stored - wanted) <= _EXPIRY_TOLERANCE
