"""Public entry point of the engine: the operations of a store. `engine` has the components that they use.

Guarantees:
    A completed put or delete is on disk and visible to every later get or list. Conditions (create only, if version)
    are checked in the transaction of the write. An expired entry is never returned or counted.

Assumptions:
    The file is on a local file system with working flock and fsync. No other program writes to the file.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from swarm_operator.memory.core.backup import Backup, Snapshot
from swarm_operator.memory.core.duplicates import CheckedWrite, DuplicateRule
from swarm_operator.memory.core.entry import (
    MAX_VERSION,
    Draft,
    Entry,
    Identity,
    check_batch_size,
    check_key,
    check_namespace,
    check_page_size,
    check_prefix,
    check_tags,
)
from swarm_operator.memory.core.errors import (
    InvalidInputError,
    MemoryStoreError,
    MissedChangesError,
)
from swarm_operator.memory.core.pages import NamespacePage, Page, Position, SearchPage
from swarm_operator.memory.core.query import Mode, Query
from swarm_operator.memory.core.stats import GcRun
from swarm_operator.memory.core.writes import Delete, Write
from swarm_operator.memory.sqlite.changes import Watch
from swarm_operator.memory.sqlite.database.former import UPGRADING
from swarm_operator.memory.sqlite.engine import Engine
from swarm_operator.memory.sqlite.tables import compression
from swarm_operator.memory.sqlite.tables.ranges import after_prefix
from swarm_operator.memory.sqlite.vectors import given
from swarm_operator.memory.sqlite.write.apply import DeleteOperation, Operation, PutOperation
from swarm_operator.memory.sqlite.write.batch import BatchOperation, TransactionOperation, UpdateOperation
from swarm_operator.memory.sqlite.write.checked import CheckedPutOperation
from swarm_operator.memory.sqlite.write.writer import DELETING

_DELETE_BATCH_SIZE = 200
"""Entries per step of `delete_range`. A step blocks other writers for a few milliseconds."""
_MAX_DELETE_TEXT_BYTES = 128 * 1024
"""Bytes of long texts per step: FTS5 tokenizes each, see search.words."""


class SqliteStore(Engine):
    """Store of a swarm's memory in one SQLite file. Create with `open`."""

    @property
    def origin(self) -> object:
        """Return this store: it is not a view of another store."""
        return self

    async def put(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        tags: Sequence[str] | None = None,
        metadata: dict[str, Any] | None = None,
        ttl: int | None = None,
        vector: bytes | Sequence[float] | None = None,
        updated_by: str | None = None,
        create_only: bool = False,
        if_version: int | None = None,
    ) -> tuple[Entry, bool]:
        """Check, encode and write an entry. Return the entry, and True if it is new.

        Arguments and errors are those of Draft.create and `write`.
        """
        draft = Draft.create(
            namespace, key, value, tags=tags, metadata=metadata, ttl=ttl, vector=vector, updated_by=updated_by
        )
        return await self.write(draft, create_only=create_only, if_version=if_version)

    async def write(
        self, draft: Draft, *, create_only: bool = False, if_version: int | None = None
    ) -> tuple[Entry, bool]:
        """Write an entry, see Store.write."""
        if len(draft.value_json) > self.config.max_value_bytes:
            raise InvalidInputError("value", f"at most {self.config.max_value_bytes} bytes of JSON")
        packed = await self._pack(draft.value_json)
        result: tuple[Entry, bool] = await self._writer.submit(PutOperation(draft, packed, create_only, if_version))
        return result

    async def write_checked(
        self, draft: Draft, rule: DuplicateRule, *, create_only: bool = False, if_version: int | None = None
    ) -> CheckedWrite:
        """Write an entry after a search for its near-duplicate, see Store.write_checked."""
        if len(draft.value_json) > self.config.max_value_bytes:
            raise InvalidInputError("value", f"at most {self.config.max_value_bytes} bytes of JSON")
        put = PutOperation(draft, await self._pack(draft.value_json), create_only, if_version)
        [check] = await self._twins.checks({"": (draft, rule)}, since=self._feed.newest, now=self._now())
        result: CheckedWrite = await self._submit_checked(CheckedPutOperation(put, check))
        return result

    async def _submit_checked(self, operation: Operation) -> Any:
        """Submit checked writes, and count the outcomes of those with a near-duplicate."""
        try:
            result = await self._writer.submit(operation)
        except MemoryStoreError as error:
            self._twins.count(error)
            raise
        for each in result if isinstance(result, list) else [result]:
            self._twins.count(each)
        return result

    async def get(self, namespace: str, key: str) -> Entry | None:
        """Return a live entry, see Store.get."""
        self._check_open()
        return await self._lookup.get((check_namespace(namespace), check_key(key)))

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Delete an entry, see Store.delete."""
        identity = (check_namespace(namespace), check_key(key))
        result: bool = await self._writer.submit(DeleteOperation(identity, if_version))
        return result

    async def get_many(self, identities: Sequence[Identity]) -> list[Entry | None]:
        """Return several entries, see Store.get_many."""
        self._check_open()
        check_batch_size("operations", len(identities))
        checked = [(check_namespace(namespace), check_key(key)) for namespace, key in identities]
        return list(await asyncio.gather(*map(self._lookup.get, checked)))

    async def get_each(self, identities: Sequence[Identity]) -> list[Entry | MemoryStoreError | None]:
        """Return the result of each of several reads, see Store.get_each."""
        self._check_open()
        check_batch_size("operations", len(identities))
        checked = [(check_namespace(namespace), check_key(key)) for namespace, key in identities]
        return await self._lookup.get_each(checked, max_bytes=self.max_value_bytes)

    async def vectors(self, entries: Sequence[Entry]) -> list[bytes | None]:
        """Return the vectors that clients wrote, see Store.vectors."""
        self._check_open()
        check_batch_size("entries", len(entries))
        return await self._readers.read_pages(lambda db: given.read(db, entries))

    async def batch(self, writes: Sequence[Write], *, atomic: bool = True) -> list[Any]:
        """Apply writes in one transaction, see Store.batch."""
        check_batch_size("operations", len(writes))
        if not writes:
            self._check_open()
            return []
        operations: list[Operation] = []
        checked: dict[int, tuple[PutOperation, DuplicateRule]] = {}
        for index, write in enumerate(writes):
            if isinstance(write, Delete):
                namespace, key = write.identity
                check_namespace(namespace)
                check_key(key)
                operations.append(DeleteOperation(write.identity, write.if_version))
                continue
            value = write.draft.value_json
            if len(value) > self.config.max_value_bytes:
                raise InvalidInputError(f"operations[{index}].value", f"at most {self.config.max_value_bytes} bytes")
            stored = self._pack_inline(value) or await self._pack(value)
            put = PutOperation(write.draft, stored, write.create_only, write.if_version)
            operations.append(put)
            if write.duplicates is not None:
                checked[index] = (put, write.duplicates)
        if checked:
            named = {f"operations[{index}].": (put.draft, rule) for index, (put, rule) in checked.items()}
            checks = await self._twins.checks(named, since=self._feed.newest, now=self._now())
            for (index, (put, _)), check in zip(checked.items(), checks, strict=True):
                operations[index] = CheckedPutOperation(put, check)
        submit = self._submit_checked if checked else self._writer.submit
        results: list[Any] = await submit(BatchOperation(operations, atomic))
        return results

    async def transact(
        self, identities: Sequence[Identity], decide: Callable[[list[Entry | None], int], Sequence[Write]]
    ) -> list[Any]:
        """Read, decide and write as one transaction, see Store.transact. `decide` runs on the writer's thread."""
        results: list[Any] = await self._writer.submit(TransactionOperation(identities, decide, self._packer.pack_now))
        return results

    async def update(
        self, namespace: str, key: str, change: Callable[[Entry | None], Draft | None]
    ) -> tuple[Entry | None, bool]:
        """Read an entry and write its new state atomically. See UpdateOperation.

        Args:
            namespace: namespace of the entry.
            key: key of the entry.
            change: runs on the writer's thread: must be fast and without side effects.

        Returns:
            The current entry (None: absent), and whether it was written.

        Raises:
            MemoryStoreError: raised by `change`; nothing was written.
            InvalidInputError, OverloadedError, StorageError, StoreClosedError: see `put`.
        """
        identity = (check_namespace(namespace), check_key(key))
        operation = UpdateOperation(identity, change, self._packer.pack_now)
        result: tuple[Entry | None, bool] = await self._writer.submit(operation)
        return result

    async def delete_range(self, namespace: str, *, prefix: str = "") -> int:
        """Delete keys with a prefix, see Store.delete_range. Deletions before an error are not rolled back."""
        self._check_open()
        start: str = check_prefix(prefix)
        check_namespace(namespace)
        deleted = 0
        while keys := await self._readers.keys(
            namespace, start=start, end=after_prefix(prefix), limit=_DELETE_BATCH_SIZE, max_text=_MAX_DELETE_TEXT_BYTES
        ):
            deletes = [DeleteOperation((namespace, key)) for key in keys]
            deleted += sum(await self._writer.submit(BatchOperation(deletes)))
            start = keys[-1] + "\0"
        return deleted

    async def list(self, namespace: str, *, prefix: str = "", after: str | None = None, limit: int = 100) -> Page:
        """Return a page of entries, see Store.list. StoreConfig.max_page_bytes may end it early."""
        self._check_open()
        check_namespace(namespace)
        check_prefix(prefix)
        check_page_size(limit)
        start = prefix
        if after is not None:
            check_key(after)
            # Keys contain no NUL, so this is the smallest text greater than `after`.
            start = max(prefix, after + "\0")
        entries, more = await self._readers.page(
            namespace,
            start=start,
            end=after_prefix(prefix),
            limit=limit,
            max_bytes=self.config.max_page_bytes,
            now=self._now(),
        )
        return Page([*map(self._accesses.latest, entries)], entries[-1].key if more else None)

    async def search(self, query: Query, *, position: Position | None = None, limit: int = 50) -> SearchPage:
        """Return a page of hits, see Store.search and search.planner. A text requires StoreConfig.full_text."""
        self._check_open()
        check_page_size(limit)
        if query.expression is not None and not self.config.full_text:
            raise InvalidInputError("text", "nothing: full-text search is switched off (full_text)")
        mode, since = self._vectors.mode(query, position), self._feed.newest
        if query.expression is not None:
            await self._indexer.wait(since)
        found = None
        if mode in {Mode.MEANING, Mode.HYBRID}:
            found = await self._vectors.search(query, mode, position, limit=limit, now=self._now(), since=since)
        if found is None:
            found = await self._readers.search(
                query, position, limit=limit, max_bytes=self.config.max_page_bytes, now=self._now(), since=since
            )
        found.hits = [replace(hit, entry=self._accesses.latest(hit.entry)) for hit in found.hits]
        return found

    async def namespaces(
        self, *, after: str | None = None, limit: int = 100, within: Sequence[str] | None = None
    ) -> NamespacePage:
        """Return a page of namespaces, see Store.namespaces."""
        self._check_open()
        check_page_size(limit)
        start = "" if after is None else check_namespace(after) + "\0"
        counts, more = await self._readers.namespaces(start=start, limit=limit, now=self._now(), within=within)
        return NamespacePage(counts, counts[-1].namespace if more else None)

    @contextlib.asynccontextmanager
    async def watch(
        self,
        namespace: str | None = None,
        *,
        prefix: str = "",
        since: int | None = None,
        within: Sequence[str] | None = None,
    ) -> AsyncIterator[Watch]:
        """Subscribe to changes, see Store.watch.

        Example::

            async with store.watch("swarm:tasks") as watch:
                while True:
                    for change in await watch.next():
                        ...
        """
        self._check_open()
        if namespace is not None:
            check_namespace(namespace)
        check_prefix(prefix)
        if since is not None and (type(since) is not int or not 0 <= since <= MAX_VERSION):
            raise InvalidInputError("since", "the number of a change")
        # Register the watch before reading the table, so that no change is missed.
        watch = self._feed.watch(namespace, prefix, self._feed.newest if since is None else since, within)
        try:
            if since is not None:
                page = await self._readers.changes(since)
                if not page.oldest <= since <= page.newest:
                    raise MissedChangesError(since, page.oldest)
            yield watch
        finally:
            watch.close()

    async def counts(self, namespaces: Sequence[str]) -> dict[str, int]:
        """Return counts of live entries, see Store.counts."""
        self._check_open()
        totals = await self._readers.totals([check_namespace(name) for name in namespaces], self._now())
        return {count.namespace: count.entries for count in totals.counts}

    async def tag_counts(self, namespace: str, tags: Sequence[str]) -> dict[str, int]:
        """Return counts by tag, see Store.tag_counts. Takes 100 ms for a million entries."""
        self._check_open()
        return await self._readers.tagged(check_namespace(namespace), check_tags(tags))

    async def collect_garbage(self) -> GcRun:
        """Delete expired entries and, with enable_vacuum, release empty pages. See GarbageCollector.collect."""
        self._check_open()
        return await self._collector.collect()

    async def backup(self, path: str | Path) -> Backup:
        """Write a verified copy while the store is in use, see Store.backup."""
        return await self._backups.write(Path(path))

    @contextlib.asynccontextmanager
    async def snapshot(self, directory: Path | None = None) -> AsyncIterator[Snapshot]:
        """Create an unnamed backup for reading, by default in the database's directory, see Store.snapshot."""
        async with self._backups.snapshot(directory) as snapshot:
            yield snapshot

    async def stop_writes(self, backup: str) -> None:
        """Refuse writes for the final backup, see Store.stop_writes."""
        await self._writer.pause(DELETING)
        if self._final is not None:
            return  # another call already counts
        self._final = backup
        try:
            if backup == self._note.backup:
                await self._writer.run_paused(self._note.write)
        except BaseException:
            self._final = None
            self._writer.resume(DELETING)
            raise

    async def resume_writes(self, backup: str) -> None:
        """Accept writes again, see Store.resume_writes."""
        if backup != self._final:
            return
        if backup == self._note.backup:
            await self._writer.run_paused(self._note.remove)
        self._final = None
        self._writer.resume(DELETING)

    async def confirm_upgrade(self) -> None:
        """Accept writes after a change of the schema, see Store.confirm_upgrade."""
        if self._former is not None:
            await self._writer.run_paused(self._former.drop)
            self._writer.resume(UPGRADING)
            self._former = None

    async def replace(self, file: Path, *, former: Path, before: Callable[[int], Awaitable[None]]) -> None:
        """Replace all data with those of a backup, see Store.replace and backup.replace."""
        self._check_open()
        await self._replacer.replace(file, former, before, self._now())

    async def _pack(self, raw: bytes) -> compression.StoredValue:
        """Return the value in its stored form, compressed on a thread if it is long."""
        if (packed := self._pack_inline(raw)) is not None:
            return packed
        self._check_open()
        return await self._packer.pack(raw)

    def _pack_inline(self, raw: bytes) -> compression.StoredValue | None:
        """Return the value in its stored form; None if compressing it would block the event loop for too long."""
        threshold = self.config.compression_threshold
        if not 0 < threshold < len(raw):
            return compression.StoredValue(compression.Codec.PLAIN, raw)
        return compression.compress_inline(raw, threshold)
