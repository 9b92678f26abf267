"""Random operations on the store and on a plain dictionary; the clock is the test's; the store restarts in between."""

import asyncio
import contextlib
import fnmatch
import json
import math
import re
import shutil
import struct
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from support.embedders import WordEmbedder, vector_of

from swarm_operator.memory.core import Delete, Draft, Put, Query
from swarm_operator.memory.core.changes import Op
from swarm_operator.memory.core.errors import BatchItemError, VersionConflictError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup import vector_consistency
from swarm_operator.memory.sqlite.backup.findings import Findings
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import words
from swarm_operator.memory.sqlite.vectors import planes, scan
from swarm_operator.memory.sqlite.vectors.texts import embedded_text

pytestmark = pytest.mark.timeout(1800)

NAMESPACES = st.sampled_from(["swarm:agents", "swarm:tasks", "a/b"])
KEYS = st.sampled_from(["k", "k1", "k2", "é", "z/1", "\U0010ffff"])
WORDS = ["alpha", "beta", "gamma"]
TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map("\n".join)
LONG = st.builds(lambda text, times: text * times, st.text(min_size=1, max_size=2), st.integers(40, 400))
VALUES = (
    st.deferred(lambda: TEXTS)
    | st.none()
    | st.integers(-5, 5)
    | st.text(max_size=3)
    | st.lists(st.booleans(), max_size=2)
    | LONG
)
TTLS = st.sampled_from([0, 0, 1, 5])
VERSIONS = st.integers(1, 4)
TAGS = st.lists(st.sampled_from(["x", "y", "z"]), max_size=3, unique=True)
WIDTH = 3
VECTORS = st.none() | st.sampled_from([(1.0, 0.0, 0.5), (-1.0, 0.25, 0.0), (0.5, 1.0, -0.25)])
WHERE = st.sampled_from([(None, False), ("a", True), ("a/b", False), ("swarm:tasks", True)])


class Clock:
    seconds = 1_800_000_000.0

    def __call__(self):
        return self.seconds


def cosine(one, other):
    return sum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


def is_within(namespace, where):
    name, subtree = where
    return name in {None, namespace} or (subtree and namespace.startswith(name + "/"))


class StoreMachine(RuleBasedStateMachine):
    """The model is {(namespace, key): (value, version, expires_at or None)}; expired rows go when looked at.

    Beside it are the tags of each entry, and the vector that came with it.
    """

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.run = self.runner.get_loop().run_until_complete  # no signal handlers each time
        self.clock = Clock()
        self.model = {}
        self.expired = {}  # versions of rows that have expired and still lie there
        self.tags = {}
        self.vectors = {}
        self.floor = 0  # the highest version of all that were deleted
        self.stack = None

    @initialize(
        enable_wal=st.booleans(),
        cache_size=st.sampled_from([1, 2, 1000]),
        threshold=st.sampled_from([0, 1, 60]),
        vacuum=st.booleans(),
        full_text=st.booleans(),
        embedder=st.sampled_from([None, WordEmbedder("words", WIDTH)]),
    )
    def start(self, enable_wal, cache_size, threshold, vacuum, full_text, embedder):
        self.embedder = embedder
        self.config = StoreConfig(
            enable_wal=enable_wal,
            cache_size=cache_size,
            checkpoint_bytes=32 * 1024,
            max_batch=3,
            compression_threshold=threshold,
            enable_vacuum=vacuum,
            full_text=full_text,
        )
        self.open()

    def open(self):
        async def enter():
            self.stack = contextlib.AsyncExitStack()
            self.store = await self.stack.enter_async_context(
                SqliteStore.open(self.directory / "db", self.config, clock=self.clock, embedder=self.embedder)
            )

        self.run(enter())

    def close(self):
        self.run(self.stack.aclose())
        with contextlib.closing(sqlite3.connect(self.directory / "db")) as db:
            self.check_tables(db)
            self.check_words(db)
            self.check_changes(db)
            vector_consistency.check(db, findings := Findings(100))
            assert not findings, list(findings)

    def check_tables(self, db):
        rows = "SELECT namespace, count(*), sum(size) FROM entries GROUP BY namespace ORDER BY namespace"
        assert db.execute("SELECT * FROM namespaces ORDER BY name").fetchall() == db.execute(rows).fetchall()
        packed = "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(length(value)), 0) FROM entries WHERE codec > 0"
        kept = db.execute("SELECT entries, raw, stored FROM compression").fetchall()
        assert kept == db.execute(packed).fetchall()
        assert self.config.compression_threshold or kept[0][0] == 0
        tags = "SELECT each.value, namespace, entries.key FROM entries, json_each(tags) AS each ORDER BY 1, 2, 3"
        assert db.execute("SELECT * FROM entry_tags").fetchall() == db.execute(tags).fetchall()

    def check_words(self, db):
        """A rebuild that was not complete when the store was closed continues after the row `built`."""
        db.execute("INSERT INTO entries_text (entries_text) VALUES ('integrity-check')")
        indexed = {row[0] for row in db.execute("SELECT rowid FROM entries_text")}
        rows = {row[0] for row in db.execute("SELECT id FROM entries")}
        expected = rows if self.config.full_text else set()
        built = words.state(db).built
        unbuilt = {row for row in rows if built is not None and row > built}
        assert expected - unbuilt <= indexed <= expected

    def check_changes(self, db):
        """A watch that follows all changes knows what there is, and no key has had a version twice."""
        known, seen = {}, {}
        changes = db.execute("SELECT seq, op, namespace, key, version FROM changes ORDER BY seq").fetchall()
        assert [change[0] for change in changes] == list(range(1, len(changes) + 1))
        for _, op, namespace, key, version in changes:
            identity = (namespace, key)
            if op == Op.PUT:
                assert version > seen.get(identity, 0)
                known[identity] = seen[identity] = version
            else:
                assert known.pop(identity) == version
        rows = db.execute("SELECT namespace, key, version FROM entries").fetchall()
        assert known == {(namespace, key): version for namespace, key, version in rows}

    def live(self, identity):
        row = self.model.get(identity)
        if row is not None and row[2] is not None and row[2] <= self.clock.seconds:
            self.expired[identity] = self.model.pop(identity)[1]
            return None
        return row

    def model_put(self, identity, value, ttl, tags=(), vector=None):
        row = self.live(identity)
        self.tags[identity], self.vectors[identity] = set(tags), vector
        version = max(self.floor, self.expired.pop(identity, 0)) + 1 if row is None else row[1] + 1
        self.model[identity] = (value, version, self.clock.seconds + ttl if ttl else None)
        return version, row is None

    def model_delete(self, identity):
        row = self.live(identity)
        self.model.pop(identity, None)
        self.floor = max(self.floor, self.expired.pop(identity, 0), row[1] if row else 0)
        return row is not None

    @rule(namespace=NAMESPACES, key=KEYS, value=VALUES, ttl=TTLS, tags=TAGS, vector=VECTORS)
    def put(self, namespace, key, value, ttl, tags, vector):
        entry, created = self.run(self.store.put(namespace, key, value, ttl=ttl, tags=tags, vector=vector))
        assert (entry.version, created) == self.model_put((namespace, key), value, ttl, tags, vector)

    @rule(namespace=NAMESPACES, key=KEYS, tags=TAGS)
    def update(self, namespace, key, tags):
        def change(entry):
            return None if entry is None else Draft.create(namespace, key, [entry.value], tags=tags)

        row = self.live((namespace, key))
        entry, written = self.run(self.store.update(namespace, key, change))
        assert written is (row is not None)
        if row is not None:
            version, _ = self.model_put((namespace, key), [row[0]], 0, tags)
            assert (entry.version, entry.value, entry.tags) == (version, [row[0]], tags)

    @rule(
        where=WHERE,
        prefix=st.sampled_from(["", "k", "z/", "\U0010ffff"]),
        glob=st.sampled_from([None, "*1", "k?", "[zk]*"]),
        tags=st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True),
        any_tags=st.lists(st.sampled_from(["y", "z"]), max_size=2, unique=True),
        words=st.lists(st.sampled_from(WORDS), max_size=2),
        order=st.sampled_from([None, "updated"]),
        limit=st.integers(1, 3),
    )
    def search(self, where, prefix, glob, tags, any_tags, words, order, limit):
        words = words if self.config.full_text else []
        query = Query.create(
            namespace=where[0], subtree=where[1], prefix=prefix, glob=glob, tags=tags, any_tags=any_tags,
            text=" ".join(words) or None, order=None if words else order, mode="words" if words else None,
        )  # fmt: skip

        def matches(identity):
            (namespace, key), row = identity, self.live(identity)
            if row is None:
                return False
            its = self.tags[identity]
            found = set(re.findall("[a-z0-9]+", json.dumps(row[0]).replace("\\n", " ").lower()))
            return (
                is_within(namespace, where)
                and key.startswith(prefix)
                and (glob is None or fnmatch.fnmatchcase(key, glob))
                and its.issuperset(tags)
                and (not any_tags or not its.isdisjoint(any_tags))
                and found.issuperset(words)
            )

        async def pages():
            found, position = [], None
            while True:
                page = await self.store.search(query, position=position, limit=limit)
                found += [((hit.entry.namespace, hit.entry.key), hit.entry.value) for hit in page.hits]
                position = page.position
                if position is None:
                    return found

        expected = [(identity, self.model[identity][0]) for identity in sorted(self.model) if matches(identity)]
        found = self.run(pages())
        assert (sorted(found, key=lambda each: each[0]) if words or order else found) == expected

    def vector(self, identity):
        """The vector of a live entry: that which came with it, or that of the embedder, if it is not zero."""
        vector = self.vectors[identity]
        if vector is None and self.embedder is not None:
            text = embedded_text(identity[1], json.dumps(self.model[identity][0], ensure_ascii=False).encode())
            vector = struct.unpack(f"<{WIDTH}f", vector_of("words", WIDTH, text))
        return vector if vector is not None and any(vector) else None

    @rule(
        where=WHERE,
        prefix=st.sampled_from(["", "k"]),
        tags=st.lists(st.sampled_from(["x", "y"]), max_size=1),
        asked=VECTORS.filter(bool),
        limit=st.integers(1, 3),
    )
    def search_by_meaning(self, where, prefix, tags, asked, limit):
        query = Query.create(namespace=where[0], subtree=where[1], prefix=prefix, tags=tags, vector=asked)

        async def pages():
            found, position, page = [], None, None
            while page is None or position is not None:
                page = await self.store.search(query, position=position, limit=limit)
                if not page.fresh:  # it did not wait for entries without a vector, see vectors.follow
                    continue
                assert not page.partial
                found += [((hit.entry.namespace, hit.entry.key), hit.cosine) for hit in page.hits]
                position = page.position
            return found

        expected = {
            identity: cosine(asked, vector)
            for identity in list(self.model)
            if is_within(identity[0], where) and identity[1].startswith(prefix)
            and self.live(identity) is not None and self.tags[identity].issuperset(tags)
            and (vector := self.vector(identity)) is not None
        }  # fmt: skip
        found = self.run(pages())
        assert len(found) == len(expected)
        assert dict(found) == pytest.approx(expected, abs=0.02)
        assert [each[1] for each in found] == sorted((each[1] for each in found), reverse=True)

    @rule(namespace=st.none() | NAMESPACES, prefix=st.sampled_from(["", "k"]), back=st.integers(0, 30))
    def watch(self, namespace, prefix, back):
        async def replay():
            since = max(self.store._feed.newest - back, 0)
            found = []
            async with self.store.watch(namespace, prefix=prefix, since=since) as watch:
                while watch.position < self.store._feed.newest:
                    found += await watch.next(0.001)
            return since, found

        since, found = self.run(replay())
        every = "SELECT seq, namespace, key FROM changes WHERE seq > ? ORDER BY seq"
        rows = self.run(self.store._worker.run(lambda db: db.execute(every, (since,)).fetchall()))
        wanted = [row[0] for row in rows if namespace in {None, row[1]} and row[2].startswith(prefix)]
        assert [change.seq for change in found] == wanted

    @rule(
        writes=st.lists(st.tuples(NAMESPACES, KEYS, VALUES, TTLS), max_size=8),
        reads=st.lists(st.tuples(NAMESPACES, KEYS)),
    )
    def put_many_at_once(self, writes, reads):
        async def all_at_once():
            tasks = [asyncio.ensure_future(self.store.put(n, k, v, ttl=t)) for n, k, v, t in writes]
            gets = [asyncio.ensure_future(self.store.get(*identity)) for identity in reads]
            await asyncio.gather(*gets)
            return await asyncio.gather(*tasks)

        results = self.run(all_at_once())
        for (namespace, key, value, ttl), (entry, created) in zip(writes, results, strict=True):
            assert (entry.version, created) == self.model_put((namespace, key), value, ttl)

    @rule(
        writes=st.lists(st.tuples(NAMESPACES, KEYS, st.just("delete") | VALUES, st.none() | VERSIONS), max_size=5),
        atomic=st.booleans(),
    )
    def batch(self, writes, atomic):
        operations = [
            Delete((namespace, key), condition)
            if value == "delete"
            else Put(Draft.create(namespace, key, value), if_version=condition)
            for namespace, key, value, condition in writes
        ]
        for namespace, key, *_ in writes:
            self.live((namespace, key))
        models = (dict(self.model), dict(self.tags), dict(self.vectors), dict(self.expired), self.floor)
        before, expected, failed = models, [], None
        for index, (namespace, key, value, condition) in enumerate(writes):
            row = self.live((namespace, key))
            if condition is not None and (row is None or row[1] != condition):
                expected.append(("conflict", row and row[1]))
                failed = index if failed is None else failed
            elif value == "delete":
                expected.append(self.model_delete((namespace, key)))
            else:
                expected.append(self.model_put((namespace, key), value, 0))
        if atomic and failed is not None:
            self.model, self.tags, self.vectors, self.expired, self.floor = before
            with pytest.raises(BatchItemError) as caught:
                self.run(self.store.batch(operations))
            assert (caught.value.index, caught.value.cause.current_version) == (failed, expected[failed][1])
            return
        results = [
            ("conflict", result.current_version)
            if isinstance(result, VersionConflictError)
            else (result[0].version, result[1])
            if isinstance(result, tuple)
            else result
            for result in self.run(self.store.batch(operations, atomic=atomic))
        ]
        assert results == expected

    @rule(origin=st.tuples(NAMESPACES, KEYS), destination=st.tuples(NAMESPACES, KEYS))
    def move(self, origin, destination):
        def decide(entries, _now):
            if entries[0] is None:
                raise VersionConflictError(None)
            return [Delete(origin), Put(Draft.create(*destination, entries[0].value))]

        row = self.live(origin)
        if row is None:
            with pytest.raises(VersionConflictError):
                self.run(self.store.transact([origin, destination], decide))
            return
        removed, (entry, created) = self.run(self.store.transact([origin, destination], decide))
        self.model_delete(origin)
        assert (removed, (entry.version, created)) == (True, self.model_put(destination, row[0], 0))

    @rule(namespace=NAMESPACES, prefix=st.sampled_from(["", "k", "z/"]))
    def delete_range(self, namespace, prefix):
        known = [*self.model, *self.expired]
        gone = [each for each in known if each[0] == namespace and each[1].startswith(prefix)]
        expected = sum(self.live(identity) is not None for identity in gone)
        assert self.run(self.store.delete_range(namespace, prefix=prefix)) == expected
        for identity in gone:
            self.model_delete(identity)

    @rule(namespace=NAMESPACES, key=KEYS)
    def delete(self, namespace, key):
        assert self.run(self.store.delete(namespace, key)) is self.model_delete((namespace, key))

    @rule(namespace=NAMESPACES, key=KEYS)
    def get(self, namespace, key):
        entry = self.run(self.store.get(namespace, key))
        row = self.live((namespace, key))
        assert (entry and (entry.value, entry.version)) == (row and row[:2])
        if entry is not None:
            (vector,) = self.run(self.store.vectors([entry]))
            assert (vector is None) == (self.vectors[namespace, key] is None)

    @rule(namespace=NAMESPACES, prefix=st.sampled_from(["", "k", "z/", "\U0010ffff"]), limit=st.integers(1, 3))
    def list(self, namespace, prefix, limit):
        async def pages():
            found, after = [], None
            while True:
                page = await self.store.list(namespace, prefix=prefix, after=after, limit=limit)
                found += [(entry.key, entry.value, entry.version) for entry in page.entries]
                after = page.next_key
                if after is None:
                    return found

        expected = [
            (key, *self.live((name, key))[:2])
            for name, key in sorted(self.model)
            if name == namespace and key.startswith(prefix) and self.live((name, key))
        ]
        assert self.run(pages()) == expected

    @rule(seconds=st.sampled_from([0.5, 1, 4.999]))
    def wait(self, seconds):
        self.clock.seconds += seconds

    @rule()
    def collect(self):
        self.run(self.store.collect_garbage())
        rows = self.run(self.store._worker.run(lambda db: db.execute("SELECT count(*) FROM entries").fetchone()))
        assert rows[0] == len([identity for identity in list(self.model) if self.live(identity)])
        self.floor = max([self.floor, *self.expired.values()])
        self.expired.clear()
        assert self.store._cache.bytes == sum(entry.weight for entry in self.store._cache._entries.values())

    @rule(full_text=st.booleans())
    def restart(self, full_text):
        self.close()
        self.config = replace(self.config, full_text=full_text)
        self.open()

    @invariant()
    def counts_are_exact(self):
        """After each step."""
        if self.stack is None:
            return
        StoreMachine.steps += 1
        live = [name for name, key in list(self.model) if self.live((name, key))]
        stats = self.run(self.store.stats())
        counted = (stats.entries, stats.agents, stats.tasks)
        assert counted == (len(live), live.count("swarm:agents"), live.count("swarm:tasks"))

    def teardown(self):
        if self.stack is not None:
            self.close()
        self.runner.close()
        shutil.rmtree(self.directory)


def test_ten_thousand_random_operations_answer_as_a_dict_does(monkeypatch):
    """With restarts in between, batches, many at once, and a clock that moves; settings differ from walk to walk."""
    monkeypatch.setattr(planes, "_LOAD_ROWS", 2)
    monkeypatch.setattr(scan, "_BATCH", 2)
    StoreMachine.steps = 0
    walks = settings(
        max_examples=140,  # some 12,000 operations: a walk ends at random
        stateful_step_count=100,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    run_state_machine_as_test(StoreMachine, settings=walks)
    assert StoreMachine.steps >= 10_000
