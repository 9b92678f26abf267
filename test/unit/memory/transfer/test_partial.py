"""Restores of a part of the entries."""

import hypothesis
import pytest
from hypothesis import strategies as st

from swarm_operator.memory.core import Draft, Put, vectors
from swarm_operator.memory.core.errors import InvalidInputError, StorageIOError
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.transfer.restores import partial
from swarm_operator.memory.transfer.restores.copies import open_copy
from swarm_operator.memory.transfer.restores.scope import Scope
from swarm_operator.memory.transfer.restores.states import Request


@pytest.fixture
async def backup(store, tmp_path):
    """Call it for an opened backup of the store as it is."""
    opened = []

    async def make():
        made = await store.backup(tmp_path / "backup.db")
        opened.append(open_copy(made.path, like=store))
        return await opened[-1].__aenter__()

    yield make
    for each in opened:
        await each.__aexit__(None, None, None)


def seen(_):
    """A caller that is not interested in the progress."""


async def contents(store):
    """Everything but versions and times."""
    found = {}
    for count in (await store.namespaces()).namespaces:
        for entry in (await store.list(count.namespace, limit=1000)).entries:
            found[count.namespace, entry.key] = (entry.value, tuple(entry.tags), entry.expires_at)
    return found


async def test_only_the_entries_of_the_scope_become_those_of_the_backup(store, backup):
    for namespace in ("a", "b"):
        for key in ("x:same", "x:changed", "x:gone", "y:changed"):
            await store.put(namespace, key, "backup", tags=["t"], metadata={"m": 1})
    copy = await backup()
    for namespace in ("a", "b"):
        await store.put(namespace, "x:changed", "later")
        await store.delete(namespace, "x:gone")
        await store.put(namespace, "x:created", "later")
        await store.put(namespace, "y:changed", "later")
    before = await contents(store)
    versions = {entry.key: entry.version for entry in (await store.list("a")).entries}
    scope = Scope.create(["a"], "x:")
    planned = await partial.plan(copy, store, scope, seen)
    assert await contents(store) == before
    done = await partial.restore(copy, store, scope, seen)
    assert planned == done
    assert (done.entries_new, done.entries_changed, done.entries_removed) == (1, 1, 1)
    assert (done.bytes, done.examined) == (2 * len('"backup"'), 4)
    after = await contents(store)
    there = ("backup", ("t",), None)
    assert {key: value for (name, key), value in after.items() if name == "a"} == {
        "x:same": there, "x:changed": there, "x:gone": there, "y:changed": ("later", (), None),
    }  # fmt: skip
    assert {place: value for place, value in after.items() if place[0] == "b"} == {
        place: value for place, value in before.items() if place[0] == "b"
    }
    now = {entry.key: entry for entry in (await store.list("a")).entries}
    assert now["x:same"].version == versions["x:same"]
    assert now["x:changed"].version == versions["x:changed"] + 1
    assert now["x:gone"].version > 1
    assert now["x:changed"].metadata == {"m": 1}
    again = await partial.restore(copy, store, scope, seen)
    assert (again.entries_new, again.entries_changed, again.entries_removed, again.bytes) == (0, 0, 0, 0)


async def test_who_wrote_an_entry_is_restored_with_it(store, backup):
    await store.put("a", "k", "backup", updated_by="ann")
    await store.put("a", "by nobody", "backup")
    copy = await backup()
    for key in ("k", "by nobody"):
        await store.put("a", key, "later", updated_by="bob")
    await partial.restore(copy, store, Scope.create(["a"], ""), seen)
    assert {entry.key: entry.updated_by for entry in (await store.list("a")).entries} == {"k": "ann", "by nobody": None}


async def test_what_has_expired_does_not_come_and_goes_if_it_is_stored(store, backup, clock):
    await store.put("n", "expires", 1, ttl=10)
    await store.put("n", "lives", 1, ttl=100)
    await store.put("n", "same", 1, ttl=100)
    copy = await backup()
    await store.put("n", "expires", 2)
    await store.put("n", "lives", 2)
    clock.advance(20)
    lives = (await copy.get("n", "lives")).expires_at
    done = await partial.restore(copy, store, Scope(("n",)), seen)
    assert (done.entries_new, done.entries_changed, done.entries_removed) == (0, 1, 1)
    assert {key: expiry for (_, key), (_, _, expiry) in (await contents(store)).items()} == {
        "lives": lives,
        "same": lives,
    }
    clock.advance(80)
    assert await contents(store) == {}


async def test_a_prefix_of_keys_concerns_all_namespaces_of_either_side(store, backup):
    await store.put("only in the backup", "p:1", 1)
    await store.put("both", "p:1", 1)
    copy = await backup()
    await store.delete("only in the backup", "p:1")
    await store.put("only in the store", "p:1", 1)
    await store.put("only in the store", "q:1", 1)
    await partial.restore(copy, store, Scope.create(None, "p:"), seen)
    assert set(await contents(store)) == {("only in the backup", "p:1"), ("both", "p:1"), ("only in the store", "q:1")}


async def test_batches_are_atomic_and_what_was_interrupted_is_completed(store, backup, monkeypatch):
    """Large values make small batches, and many entries full ones."""
    await store.batch([Put(Draft.create("n", f"k{number:03}", "backup")) for number in range(350)])
    await store.batch([Put(Draft.create("n", f"large{number}", "x" * 600_000)) for number in range(4)])
    copy = await backup()
    for number in range(350):
        await store.put("n", f"k{number:03}", "later")
    await store.delete_range("n", prefix="large")
    transact, batches = SqliteStore.transact, []

    async def fail(self, identities, decide):
        if len(batches) == 2:
            raise StorageIOError("the disk is broken")
        batches.append(len(identities))
        return await transact(self, identities, decide)

    monkeypatch.setattr(SqliteStore, "transact", fail)
    told = []
    with pytest.raises(StorageIOError):
        await partial.restore(copy, store, Scope(("n",)), told.append)
    assert batches == [100, 100]
    assert told == [100, 200]
    restored = [key for (_, key), (value, *_) in (await contents(store)).items() if value == "backup"]
    assert restored == [f"k{number:03}" for number in range(200)]
    batches.clear()
    monkeypatch.setattr(SqliteStore, "transact", lambda self, identities, decide: (
        batches.append(len(identities)) or transact(self, identities, decide)
    ))  # fmt: skip
    done = await partial.restore(copy, store, Scope(("n",)), seen)
    assert (done.entries_changed, done.entries_new) == (150, 4)
    assert batches == [100, 52, 2]
    assert {value for value, *_ in (await contents(store)).values()} == {"backup", "x" * 600_000}


async def test_a_write_that_comes_between_is_seen_by_the_transaction(store, backup, monkeypatch):
    """The comparison before the batch is only a hint: the one that counts is made where nobody writes."""
    await store.put("n", "k", "backup")
    copy = await backup()
    await store.put("n", "k", "later")
    transact = SqliteStore.transact

    async def late(self, identities, decide):
        await store.put("n", "k", "backup")
        return await transact(self, identities, decide)

    monkeypatch.setattr(SqliteStore, "transact", late)
    done = await partial.restore(copy, store, Scope(("n",)), seen)
    assert (done.entries_changed, done.bytes) == (0, 0)
    assert (await store.get("n", "k")).version == 3


PLACES = st.dictionaries(
    st.tuples(st.sampled_from(["a", "b", "b/c"]), st.sampled_from(["p", "p1", "p2", "q", "q\U0001f600"])),
    st.integers(0, 2),
)


@hypothesis.settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(
    old=PLACES,
    new=PLACES,
    names=st.none() | st.lists(st.sampled_from(["a", "b", "none"]), min_size=1),
    prefix=st.sampled_from(["", "p"]),
)
async def test_any_scope_of_any_backup(tmp_path_factory, clock, old, new, names, prefix):
    directory = tmp_path_factory.mktemp("any")
    scope = Scope.create(names, prefix)

    async def write(store, entries):
        await store.batch([Put(Draft.create(*place, value)) for place, value in entries.items()])

    async with (
        SqliteStore.open(directory / "backup.db", clock=clock) as copy,
        SqliteStore.open(directory / "store.db", clock=clock) as store,
    ):
        await write(copy, old)
        await write(store, new)
        done = await partial.restore(copy, store, scope, seen)
        concerned = {
            (namespace, key) for namespace, key in old.keys() | new.keys()
            if (not names or namespace in names) and key.startswith(prefix)
        }  # fmt: skip
        wanted = {place: (old if place in concerned else new).get(place) for place in old.keys() | new.keys()}
        found = {place: value for place, (value, *_) in (await contents(store)).items()}
        assert found == {place: value for place, value in wanted.items() if value is not None}
        assert done.entries_new == len((old.keys() - new.keys()) & concerned)
        assert done.entries_removed == len((new.keys() - old.keys()) & concerned)
        assert done.entries_changed == sum(old[each] != new[each] for each in old.keys() & new.keys() & concerned)
        assert done.examined == len(concerned)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({}, "backup"),
        ({"backup": "b", "location": "file:///b"}, "backup"),
        ({"backup": "No"}, "backup"),
        ({"backup": 1}, "backup"),
        ({"location": ""}, "location"),
        ({"location": 1}, "location"),
        ({"backup": "b", "namespaces": "n"}, "namespaces"),
        ({"backup": "b", "namespaces": []}, "namespaces"),
        ({"backup": "b", "namespaces": ["n"] * 1001}, "namespaces"),
        ({"backup": "b", "namespaces": ["n", ""]}, "namespaces[1]"),
        ({"backup": "b", "key_prefix": "\0"}, "key_prefix"),
        ({"backup": "b", "dry_run": 1}, "dry_run"),
        ({"backup": "b", "allow_other_swarm": None}, "allow_other_swarm"),
        ({"backup": "b", "safety_backup": "yes"}, "safety_backup"),
    ],
)
def test_a_request_that_is_not_allowed_names_its_field(given, field):
    with pytest.raises(InvalidInputError) as caught:
        Request.create(**given)
    assert caught.value.field == field


def test_names_of_namespaces_are_sorted_and_once():
    assert Request.create(backup="b", namespaces=["b", "a", "b"]).scope.namespaces == ("a", "b")


async def test_the_vectors_that_clients_gave_come_back(store, backup):
    await store.put("a", "k", "backup", vector=[1, 0.5])
    copy = await backup()
    await store.put("a", "k", "later")
    await partial.restore(copy, store, Scope.create(["a"], ""), seen)
    entries = (await store.list("a")).entries
    assert [entry.value for entry in entries] == ["backup"]
    (vector,) = await store.vectors(entries)
    assert vectors.same(vector, vectors.check_vector([1, 0.5]))


async def test_an_entry_whose_vector_alone_differs_is_restored(store, backup):
    given = {"same": [1, 0.5], "another": [1, 0.5], "lost": [1, 0.5], "none": None}
    for key, vector in given.items():
        await store.put("a", key, "text", vector=vector)
    copy = await backup()
    for key, vector in (("another", [0.5, 1]), ("lost", None), ("none", [0.5, 1])):
        await store.put("a", key, "text", vector=vector)
    planned = await partial.plan(copy, store, Scope.create(["a"], ""), seen)
    done = await partial.restore(copy, store, Scope.create(["a"], ""), seen)
    assert planned == done
    assert (done.entries_changed, done.examined) == (3, 4)
    entries = (await store.list("a")).entries
    assert {entry.key: entry.version for entry in entries} == {"same": 1, "another": 3, "lost": 3, "none": 3}
    restored = dict(zip([entry.key for entry in entries], await store.vectors(entries), strict=True))
    for key, vector in given.items():
        assert vectors.same(restored[key], None if vector is None else vectors.check_vector(vector))


async def test_a_vector_that_is_written_after_the_comparison_is_not_taken_for_the_former_one(
    store, backup, monkeypatch
):
    await store.put("n", "k", "text", vector=[1, 0.5])
    copy = await backup()
    await store.put("n", "k", "later", vector=[1, 0.5])
    transact = SqliteStore.transact

    async def overtaken(self, identities, decide):
        await self.put("n", "k", "text", vector=[-1, 1])
        return await transact(self, identities, decide)

    monkeypatch.setattr(SqliteStore, "transact", overtaken)
    await partial.restore(copy, store, Scope(("n",)), seen)
    (vector,) = await store.vectors((await store.list("n")).entries)
    assert vectors.same(vector, vectors.check_vector([1, 0.5]))
