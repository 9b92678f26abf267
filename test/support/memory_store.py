"""A second engine for tests: implements the contract of a store in dictionaries and imports nothing but the contract.

Every operation first lets other tasks run, as an engine with a disk does. Expired entries stay until they are
collected, so each read has to leave them out.
"""

import asyncio
import contextlib
import hashlib
import io
import json
import math
import struct
import time
from collections import Counter
from pathlib import Path

from support import text_match
from swarm_operator.memory.core.backup import Backup, Snapshot
from swarm_operator.memory.core.changes import Change, Op
from swarm_operator.memory.core.duplicates import CheckedWrite, OnDuplicate, Twin, linked
from swarm_operator.memory.core.entry import (
    MAX_VERSION,
    Draft,
    Entry,
    check_batch_size,
    check_key,
    check_namespace,
    check_page_size,
    check_prefix,
    check_tags,
)
from swarm_operator.memory.core.errors import (
    BatchItemError,
    ConfigError,
    DeletingError,
    DuplicateError,
    InternalStoreError,
    InvalidInputError,
    MemoryStoreError,
    MissedChangesError,
    StoreClosedError,
    VersionConflictError,
    from_os,
)
from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.core.pages import Hit, NamespaceCount, NamespacePage, Page, SearchPage
from swarm_operator.memory.core.query import Mode, Order
from swarm_operator.memory.core.stats import GcRun, GcStats, StoreStats, VolumeStats
from swarm_operator.memory.core.store import Store, Watch
from swarm_operator.memory.core.writes import Delete, Put


class MemoryStore(Store):
    """A store in this process's memory.

    Args:
        clock: seconds since the Unix epoch.
        swarm_id: the swarm that the store belongs to.
        largest_page: entries that are looked at for one page; few of them make pages short, or empty.
        changes_kept: changes that watches can go back.
    """

    swarm_id = ""
    max_value_bytes = 16 * 1024 * 1024
    alive = True
    fault = None

    @property
    def origin(self):
        return self

    def __init__(self, clock=time.time, *, swarm_id="default", largest_page=10_000, changes_kept=100_000):
        self.swarm_id = swarm_id
        self._clock = clock
        self._largest_page = largest_page
        self._changes_kept = changes_kept
        self._rows = {}
        self._vectors = {}
        self._highest_deleted = 0
        self._changes = []
        self._newest = 0
        self._takes_writes = True
        self._settings = {}
        self._watches = set()
        self._gc = GcStats()
        self._closed = False

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, *arguments, **options):
        store = cls(*arguments, **options)
        try:
            yield store
        finally:
            store._closed = True
            store._wake()

    def now(self):
        return int(self._clock() * 1000)

    async def get(self, namespace, key):
        check_namespace(namespace), check_key(key)
        await self._turn()
        return self._find((namespace, key), self.now())

    async def get_many(self, identities):
        self.check_open()
        check_batch_size("operations", len(identities))
        return [await self.get(*identity) for identity in identities]

    async def get_each(self, identities):
        found, left = [], self.max_value_bytes
        for entry in await self.get_many(identities):
            full = InvalidInputError("operations", f"gets of values of at most {self.max_value_bytes} bytes together")
            found.append(entry if left > 0 else full)
            left -= len(entry.value_json) if entry else 0
        return found

    async def vectors(self, entries):
        self.check_open()
        check_batch_size("entries", len(entries))
        await self._turn()
        return [self._vectors.get((entry.namespace, entry.key, entry.version)) for entry in entries]

    async def list(self, namespace, *, prefix="", after=None, limit=100):
        check_namespace(namespace), check_prefix(prefix), check_page_size(limit)
        await self._turn()
        start = "" if after is None else check_key(after)
        entries = [
            entry
            for (its_namespace, key), entry in sorted(self._live())
            if its_namespace == namespace and key.startswith(prefix) and key > start
        ]
        page = entries[: min(limit, self._largest_page)]
        return Page(page, page[-1].key if len(page) < len(entries) else None)

    async def search(self, query, *, position=None, limit=50):
        check_page_size(limit)
        phrases = text_match.phrases(query.expression)
        await self._turn()
        candidates = []
        for identity, entry in self._live():
            if not covers(query.roots, entry.namespace):
                continue
            score = text_match.score(entry, phrases)
            first = {Order.KEY: (), Order.UPDATED: (entry.updated_at,), Order.RANK: (score,)}[query.order]
            candidates.append(([query.order.value, *first, *identity], entry, score))
        backwards = query.order is not Order.KEY
        candidates.sort(key=lambda candidate: candidate[0], reverse=backwards)
        found = SearchPage(within=query.within, mode=Mode.WORDS if phrases else None)
        last = position
        for place, entry, score in candidates:
            if position is not None and (place >= position if backwards else place <= position):
                continue
            if len(found.hits) == limit or found.candidates == self._largest_page:
                found.position, found.partial = last, len(found.hits) < limit
                break
            found.candidates, last = found.candidates + 1, place
            if _matches(entry, query) and score > 0:
                about = (
                    (score, text_match.snippet(entry, phrases), text_match.matched(entry, phrases)) if phrases else ()
                )
                found.hits.append(Hit(entry, *about))
        return found

    async def namespaces(self, *, after=None, limit=100, within=None):
        check_page_size(limit)
        start = "" if after is None else check_namespace(after)
        await self._turn()
        entries, sizes = Counter(), Counter()
        for (namespace, _), entry in self._live():
            entries[namespace] += 1
            sizes[namespace] += entry.size
        names = [name for name in sorted(entries) if name > start and covers(within, name)]
        page = [NamespaceCount(name, entries[name], sizes[name]) for name in names[: min(limit, self._largest_page)]]
        return NamespacePage(page, page[-1].namespace if len(page) < len(names) else None)

    async def counts(self, namespaces):
        await self._turn()
        live = Counter(namespace for (namespace, _), _ in self._live())
        return {name: live[check_namespace(name)] for name in namespaces}

    async def tag_counts(self, namespace, tags):
        check_namespace(namespace)
        await self._turn()
        live = Counter(tag for (name, _), entry in self._live() if name == namespace for tag in entry.tags)
        return {tag: live[tag] for tag in check_tags(tags)}

    async def put(self, namespace, key, value, *, create_only=False, if_version=None, **draft):
        """Encode and write. No part of the contract: for tests."""
        return await self.write(
            Draft.create(namespace, key, value, **draft), create_only=create_only, if_version=if_version
        )

    async def write(self, draft, *, create_only=False, if_version=None):
        await self._turn()
        with self._transaction() as now:
            return self._apply(Put(draft, create_only, if_version), now)

    async def write_checked(self, draft, rule, *, create_only=False, if_version=None):
        await self._turn()
        with self._transaction() as now:
            return self._apply(Put(draft, create_only, if_version, rule), now)

    async def delete(self, namespace, key, *, if_version=None):
        check_namespace(namespace), check_key(key)
        await self._turn()
        with self._transaction() as now:
            return self._apply(Delete((namespace, key), if_version), now)

    async def batch(self, writes, *, atomic=True):
        check_batch_size("operations", len(writes))
        for index, write in enumerate(writes):
            if isinstance(write, Put) and len(write.draft.value_json) > self.max_value_bytes:
                raise InvalidInputError(f"operations[{index}].value", f"at most {self.max_value_bytes} bytes")
        await self._turn()
        results = []
        with self._transaction() as now:
            for index, write in enumerate(writes):
                try:
                    results.append(self._apply(write, now))
                except MemoryStoreError as error:
                    if atomic:
                        raise BatchItemError(index, error) from error
                    results.append(error)
        return results

    async def transact(self, identities, decide):
        await self._turn()
        with self._transaction() as now:
            results = []
            for write in decide([self._find(identity, now) for identity in identities], now):
                if write.identity not in identities:
                    raise InternalStoreError(f"a transaction wrote {write.identity}, which was not announced")
                results.append(self._apply(write, now))
            return results

    async def delete_range(self, namespace, *, prefix=""):
        check_namespace(namespace), check_prefix(prefix)
        await self._turn()
        with self._transaction() as now:
            found = [each for each in self._rows if each[0] == namespace and each[1].startswith(prefix)]
            return sum(self._apply(Delete(identity), now) for identity in found)

    @contextlib.asynccontextmanager
    async def watch(self, namespace=None, *, prefix="", since=None, within=None):
        if namespace is not None:
            check_namespace(namespace)
        check_prefix(prefix)
        if since is not None and (type(since) is not int or not 0 <= since <= MAX_VERSION):
            raise InvalidInputError("since", "the number of a change")
        await self._turn()
        if since is not None and not self.oldest <= since <= self._newest:
            raise MissedChangesError(since, self.oldest)
        watch = _MemoryWatch(
            self,
            self._newest if since is None else since,
            lambda change: (
                namespace in {None, change.namespace}
                and change.key.startswith(prefix)
                and covers(within, change.namespace)
            ),
        )
        self._watches.add(watch)
        try:
            yield watch
        finally:
            self._watches.discard(watch)

    async def collect_garbage(self):
        await self._turn()
        with self._transaction() as now:
            expired = [entry for entry in self._rows.values() if not entry.live_at(now)]
            for entry in expired:
                self._apply(Delete((entry.namespace, entry.key)), now)
        collection = GcRun(now, len(expired), sum(entry.size for entry in expired), 0, 0.0)
        self._gc.runs, self._gc.entries, self._gc.last = self._gc.runs + 1, self._gc.entries + len(expired), collection
        return collection

    async def backup(self, path):
        await self._turn()
        dump = self._dump()
        try:
            await asyncio.to_thread(_write_new, Path(path), dump)
        except FileExistsError:
            raise InvalidInputError("path", "a name that is not taken") from None
        except OSError as error:
            raise from_os(error, "the backup") from error
        return Backup(Path(path), len(dump))

    @contextlib.asynccontextmanager
    async def snapshot(self, directory=None):
        await self._turn()
        dump = self._dump()
        yield Snapshot(io.BytesIO(dump), len(dump), hashlib.sha256(dump).digest())

    async def stop_writes(self, backup):
        self._takes_writes = False

    async def resume_writes(self, backup):
        self._takes_writes = True

    async def confirm_upgrade(self):
        pass

    @property
    def settings(self):
        return self._settings

    def configure(self, **settings):
        for name in settings.keys() - self._settings.keys():
            raise ConfigError(f"{name}: no such setting")
        self._settings |= settings

    async def replace(self, file, *, former, before):
        dump = json.loads(await asyncio.to_thread(Path(file).read_bytes))
        entries = [Entry(*row[:2], row[2].encode(), *row[3:]) for row in dump["entries"]]
        known = max([self._highest_deleted, dump["highest_deleted"], *(row.version for row in self._rows.values())])
        offset = max([known, *(entry.version for entry in entries)])
        newest = max(self._newest, dump["newest"]) + 2
        await before(newest)
        await self.backup(former)
        self._rows = {each[:2]: each._replace(version=each.version + offset) for each in entries}
        self._highest_deleted, self._newest, self._changes = offset, newest, []
        self._wake()

    async def stats(self):
        totals = await self.counts(["swarm:agents", "swarm:tasks", "swarm:patterns"])
        live = [entry for _, entry in self._live()]
        nothing = dict.fromkeys(
            (
                "database_size_bytes", "wal_size_bytes", "cache_hits", "cache_misses", "cache_evictions",
                "cache_entries", "cache_bytes", "checkpoints_busy", "free_bytes", "compressed_entries",
                "compressed_raw_bytes", "compressed_stored_bytes",
            ),
            0,
        )  # fmt: skip
        return StoreStats(
            **nothing, entries=len(live), value_bytes=sum(entry.size for entry in live), gc=self._gc, reads={},
            volume=VolumeStats(0, 0),
            agents=totals["swarm:agents"], tasks=totals["swarm:tasks"], patterns=totals["swarm:patterns"],
            library_version="", settings=self.settings,
        )  # fmt: skip

    @property
    def oldest(self):
        """The first position that a watch can go on from."""
        return self._changes[0].seq - 1 if self._changes else self._newest

    def changes_after(self, position):
        return [change for change in self._changes if change.seq > position]

    def check_open(self):
        if self._closed:
            raise StoreClosedError("the store is closed")

    async def _turn(self):
        self.check_open()
        await asyncio.sleep(0)
        self.check_open()

    def _find(self, identity, now):
        entry = self._rows.get(identity)
        return entry if entry is not None and entry.live_at(now) else None

    def _live(self):
        now = self.now()
        return [(identity, entry) for identity, entry in self._rows.items() if entry.live_at(now)]

    @contextlib.contextmanager
    def _transaction(self):
        """Give the moment of a transaction; undo all of its writes if it fails, else tell the watches."""
        if not self._takes_writes:
            raise DeletingError("the memory is being deleted")
        before = dict(self._rows), self._highest_deleted, list(self._changes), self._newest
        try:
            yield self.now()
        except BaseException as error:
            self._rows, self._highest_deleted, self._changes, self._newest = before
            if isinstance(error, Exception) and not isinstance(error, MemoryStoreError):
                raise InternalStoreError(f"{error} ({type(error).__name__})") from error
            raise
        del self._changes[: -self._changes_kept]
        self._wake()

    def _apply(self, write, now):
        """Carry out a write. It changes nothing if it raises."""
        row = self._rows.get(write.identity)
        live = self._find(write.identity, now)
        current = None if live is None else live.version
        if write.if_version not in {None, current} or (isinstance(write, Put) and write.create_only and live):
            raise VersionConflictError(current)
        if isinstance(write, Delete):
            if row is not None:
                del self._rows[write.identity]
                self._highest_deleted = max(self._highest_deleted, row.version)
                self._note(write.identity, Op.DELETE if live else Op.EXPIRE, row.version, now)
            return live is not None
        draft, rule, twin = write.draft, write.duplicates, None
        if len(draft.value_json) > self.max_value_bytes:
            raise InvalidInputError("value", f"at most {self.max_value_bytes} bytes of JSON")
        if rule is not None:
            if draft.vector is None:
                raise InvalidInputError(
                    "on_duplicate", "the store has no embedder; put a vector with the entry, or keep"
                )
            twin = self._twin(draft, rule.threshold)
            if twin is not None and rule.on is OnDuplicate.REFUSE:
                raise DuplicateError(*twin)
            draft = linked(draft, twin) if rule.on is OnDuplicate.LINK else draft
        known = 0 if row is None else row.version
        entry = Entry(
            **{name: part for name, part in draft._asdict().items() if name != "vector"},
            version=live.version + 1 if live else max(known, self._highest_deleted) + 1,
            created_at=live.created_at if live else now,
            updated_at=now,
            expires_at=now + draft.ttl * 1000 if draft.ttl else None,
        )
        self._rows[write.identity] = entry
        self._vectors[*write.identity, entry.version] = draft.vector
        self._note(write.identity, Op.PUT, entry.version, now, draft.updated_by)
        return (entry, live is None) if rule is None else CheckedWrite(entry, live is None, twin)

    def _twin(self, draft, threshold):
        """The other live entry of the draft's namespace with the most similar vector, if it is similar enough."""
        twins = []
        for (namespace, key), entry in self._live():
            vector = self._vectors.get((namespace, key, entry.version))
            if namespace == draft.namespace and key != draft.key and vector is not None:
                one, other = ([*struct.unpack(f"<{len(each) // 4}f", each)] for each in (draft.vector, vector))
                cosine = sum(map(float.__mul__, one, other))
                twins.append(Twin(key, cosine / math.hypot(*one) / math.hypot(*other)))
        best = max(twins, key=lambda each: each.cosine, default=None)
        return best if best is not None and best.cosine >= threshold else None

    def _note(self, identity, op, version, now, author=None):
        self._newest += 1
        self._changes.append(Change(self._newest, *identity, op, version, now, author))

    def _wake(self):
        for watch in self._watches:
            watch.changed.set()

    def _dump(self):
        rows = [entry._replace(value_json=entry.value_json.decode()) for entry in self._rows.values()]
        return json.dumps({"highest_deleted": self._highest_deleted, "newest": self._newest, "entries": rows}).encode()


class _MemoryWatch(Watch):
    position = 0

    def __init__(self, store, position, wanted):
        self.position = position
        self.changed = asyncio.Event()
        self._store = store
        self._wanted = wanted

    async def next(self, patience=None):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                while True:
                    self.changed.clear()
                    self._store.check_open()
                    if found := self._take():
                        return found
                    await self.changed.wait()
        return []

    def _take(self):
        if self.position < self._store.oldest:
            missed = MissedChangesError(self.position, self._store.oldest)
            self.position = missed.oldest
            raise missed
        changes = self._store.changes_after(self.position)
        self.position = changes[-1].seq if changes else self.position
        return [change for change in changes if self._wanted(change)]


def _matches(entry, query):
    namespace, tags, metadata = entry.namespace, set(entry.tags), entry.metadata
    pattern = query.key_pattern()
    return (
        (query.namespace in {None, namespace} or (query.subtree and covers([query.namespace], namespace)))
        and entry.key.startswith(query.prefix)
        and (pattern is None or bool(pattern.match(entry.key)))
        and tags.issuperset(query.tags)
        and (not query.any_tags or not tags.isdisjoint(query.any_tags))
        and (query.updated_since is None or entry.updated_at >= query.updated_since)
        and query.updated_by in {None, entry.updated_by}
        and all(name in metadata and _same(metadata[name], value) for name, value in query.metadata.items())
    )


def _same(left, right):
    """JSON equality: 1 equals 1.0 and not true, at any depth."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[name], right[name]) for name in left)
    return left == right


def _write_new(path, content):
    with path.open("xb") as file:
        file.write(content)
