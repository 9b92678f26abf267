"""Targets of a migration: a running service, or a database file. Both compare and import lines of an export.

A dry run makes the same comparison and writes nothing: it opens a copy of a database file.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from swarm_operator.memory.client import MemoryClient, MemoryClientError, MemoryEntry, MemoryRequestError
from swarm_operator.memory.client.retrying import RetryPolicy
from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.entry import Entry, Identity
from swarm_operator.memory.core.writes import Write
from swarm_operator.memory.sqlite.config import StoreConfig
from swarm_operator.memory.sqlite.store import SqliteStore
from swarm_operator.memory.swarm import times
from swarm_operator.memory.transfer.importer import BadLineError, Existing, Importer, ImportTarget
from swarm_operator.memory.transfer.importer import Outcome as Imported
from swarm_operator.memory.transfer.migration.database_copies import copied
from swarm_operator.memory.transfer.migration.report import Outcome

_IMPORTED: Final = {
    Imported.CREATED: Outcome.CREATED,
    Imported.UPDATED: Outcome.UPDATED,
    Imported.UNCHANGED: Outcome.UNCHANGED,
    Imported.KEPT: Outcome.KEPT,
    Imported.EXPIRED: Outcome.EXPIRED,
}
_BACKOFF: Final = 0.1
_MAX_PAUSE: Final = 5.0
_NOT_FOUND: Final = 404


class RejectedLineError(Exception):
    """The target rejected a line.

    Attributes:
        written: number of lines with an outcome, from the first line on.
        index: index of the rejected line, from 0.
        counts: counts of the outcomes.
    """

    def __init__(self, detail: str, *, written: int, index: int, counts: Counter[Outcome]) -> None:
        super().__init__(detail)
        self.written = written
        self.index = index
        self.counts = counts


class Target(Protocol):
    """Target of a migration."""

    @property
    def swarm_id(self) -> str:
        """Return the ID of the target's swarm."""

    @property
    def max_value_bytes(self) -> int:
        """Return the size limit of a value."""

    async def write(self, lines: Sequence[bytes]) -> Counter[Outcome]:
        """Write lines of an export with different names. Return the counts of the outcomes.

        Raises:
            RejectedLineError: the target rejected a line.
            MemoryStoreError, MemoryClientError: the target failed; writing the lines again is safe.
        """


@dataclass(frozen=True, slots=True)
class Service:
    """Address and credentials of a service.

    Attributes:
        url: base URL of the service.
        token_file: file with the client token; None: no token is sent.
        ca_file: file with the trusted CA certificates; None: the system's.
        retry_for: seconds for which a failed request is retried.
    """

    url: str
    token_file: Path | None
    ca_file: Path | None
    retry_for: float


@contextlib.asynccontextmanager
async def open_service(service: Service, *, existing: Existing, dry_run: bool) -> AsyncIterator[Target]:
    """Connect to a service."""
    async with MemoryClient(
        service.url, token_file=service.token_file, ca_file=service.ca_file, retry_for=service.retry_for
    ) as client:
        stats = await client.stats()
        limit = int(stats.settings["max_value_bytes"])
        if dry_run:
            reader = _Reader(limit, lambda identities: _read(client, identities))
            yield _Local(stats.swarm_id, reader, existing)
        else:
            yield _Remote(stats.swarm_id, limit, client, existing, service.retry_for)


@contextlib.asynccontextmanager
async def open_file(
    path: Path, *, swarm_id: str, existing: Existing, dry_run: bool, scratch: Path
) -> AsyncIterator[Target]:
    """Open or create a database file. No service may have it open.

    Raises:
        MemoryStoreError: the file is in use, or belongs to another program or a newer release.
        OSError: the file can't be copied.
    """
    with contextlib.ExitStack() as stack:
        if dry_run:
            # Opening a store writes to its file.
            there = await asyncio.to_thread(path.exists)
            path = stack.enter_context(copied(path, scratch))[0] if there else scratch / "empty.db"
        async with SqliteStore.open(path, StoreConfig(swarm_id=swarm_id)) as store:
            into = _Reader(store.max_value_bytes, store.get_many) if dry_run else store
            yield _Local(swarm_id, into, existing)


@dataclass(frozen=True, slots=True)
class _Local:
    """Imports in this process."""

    swarm_id: str
    into: ImportTarget
    existing: Existing

    @property
    def max_value_bytes(self) -> int:
        return self.into.max_value_bytes

    async def write(self, lines: Sequence[bytes]) -> Counter[Outcome]:
        importer = Importer(self.into, self.existing)
        try:
            for line in lines:
                await importer.add(line)
            await importer.finish()
        except BadLineError as error:
            counts = _counted(importer.counts)
            raise RejectedLineError(
                f"{error.field}: {error.allowed}", written=counts.total(), index=error.line - 1, counts=counts
            ) from error
        return _counted(importer.counts)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Store for a dry run: reads, and ignores writes."""

    max_value_bytes: int
    read: Callable[[Sequence[Identity]], Awaitable[list[Entry | None]]]

    def now(self) -> int:
        return time.time_ns() // 1_000_000

    async def get_many(self, identities: Sequence[Identity]) -> Sequence[Entry | None]:
        return await self.read(identities)

    async def vectors(self, entries: Sequence[Entry]) -> Sequence[bytes | None]:
        return [None] * len(entries)  # migrated entries have no vectors, so vectors are not compared

    async def transact(
        self, identities: Sequence[Identity], decide: Callable[[list[Entry | None], int], Sequence[Write]]
    ) -> Sequence[object]:
        decide(await self.read(identities), self.now())
        return ()


@dataclass(frozen=True, slots=True)
class _Remote:
    """Imports in the service."""

    swarm_id: str
    max_value_bytes: int
    client: MemoryClient
    existing: Existing
    retry_for: float

    async def write(self, lines: Sequence[bytes]) -> Counter[Outcome]:
        # The client does not retry an import, because it is a stream. These lines can be sent again.
        policy = RetryPolicy(None, self.retry_for, _BACKOFF, asyncio.sleep)
        attempts = policy.attempts(retry_for=self.retry_for, max_pause=_MAX_PAUSE)
        while True:
            try:
                return _answered(await self.client.swarm.import_(lines, existing=self.existing))
            except MemoryRequestError as error:
                if "line" not in error.problem:
                    raise
                counts = _answered(error.problem["imported"])
                raise RejectedLineError(
                    str(error.problem["detail"]), written=counts.total(), index=error.problem["line"] - 1, counts=counts
                ) from error
            except MemoryClientError as error:
                if not error.transient:
                    raise
                await attempts.pause(error)


def _answered(answer: Mapping[str, Any]) -> Counter[Outcome]:
    return Counter({outcome: answer[outcome.value] for outcome in _IMPORTED.values() if answer.get(outcome.value)})


def _counted(counts: Mapping[Imported, int]) -> Counter[Outcome]:
    return Counter({_IMPORTED[outcome]: number for outcome, number in counts.items()})


async def _read(client: MemoryClient, identities: Sequence[Identity]) -> list[Entry | None]:
    """Return the service's entries. Entries that are too large for one response are read one by one."""
    operations = [{"op": "get", "namespace": namespace, "key": key} for namespace, key in identities]
    found: list[Entry | None] = []
    for result, identity in zip(await client.batch(operations, atomic=False), identities, strict=True):
        entry = result.entry
        if entry is None and result.status != _NOT_FOUND:
            entry = await client.get(*identity)
        found.append(None if entry is None else _entry(entry))
    return found


def _entry(found: MemoryEntry) -> Entry:
    raw = found.raw
    return Entry(
        namespace=found.namespace, key=found.key, value_json=strict_json.encode("value", raw["value"]),
        tags_json=strict_json.encode("tags", raw["tags"]).decode(),
        metadata_json=strict_json.encode("metadata", raw["metadata"]).decode(), ttl=found.ttl, version=found.version,
        created_at=times.from_text(raw["created_at"]) or 0, updated_at=times.from_text(raw["updated_at"]) or 0,
        expires_at=times.from_text(raw["expires_at"]),
    )  # fmt: skip
