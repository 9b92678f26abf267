"""The store's guarantees, on real files, in both journal modes."""

import asyncio

import pytest

from swarm_operator.memory.core.errors import InvalidInputError, StoreClosedError, VersionConflictError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig


async def test_a_put_can_be_read_back_with_everything_it_was_given(either_store, clock):
    entry, created = await either_store.put(
        "swarm:agents", "agent:1", {"a": [1, 2.5, None, "ü"]}, tags=["x", "y"], metadata={"m": True}, ttl=60
    )
    assert created
    assert await either_store.get("swarm:agents", "agent:1") == entry
    assert (entry.value, entry.tags, entry.metadata) == ({"a": [1, 2.5, None, "ü"]}, ["x", "y"], {"m": True})
    assert (entry.version, entry.ttl, entry.size) == (1, 60, len('{"a":[1,2.5,null,"ü"]}'.encode()))
    now = int(clock() * 1000)
    assert (entry.created_at, entry.updated_at, entry.expires_at) == (now, now, now + 60_000)


async def test_each_put_adds_one_to_the_version_and_keeps_the_creation_time(either_store, clock):
    first, _ = await either_store.put("n", "k", 1, tags=["old"], ttl=5)
    clock.advance(1)
    second, created = await either_store.put("n", "k", 2)
    assert not created
    assert (second.version, second.created_at) == (2, first.created_at)
    assert second.updated_at == first.updated_at + 1000
    assert (second.tags, second.ttl, second.expires_at) == ([], 0, None)


async def test_null_is_a_value_and_not_a_miss(either_store):
    await either_store.put("n", "k", None)
    entry = await either_store.get("n", "k")
    assert entry is not None
    assert entry.value is None
    assert await either_store.get("n", "other") is None


async def test_an_entry_is_gone_in_the_millisecond_in_which_it_expires(either_store, clock):
    await either_store.put("swarm:tasks", "k", 1, ttl=10)
    clock.advance(9.999)
    assert await either_store.get("swarm:tasks", "k") is not None
    assert (await either_store.stats()).tasks == 1
    clock.advance(0.001)
    assert await either_store.get("swarm:tasks", "k") is None
    assert (await either_store.list("swarm:tasks")).entries == []
    assert (await either_store.namespaces()).namespaces == []
    stats = await either_store.stats()
    assert (stats.entries, stats.tasks, stats.value_bytes) == (0, 0, 0)


async def test_an_expired_entry_counts_as_absent_for_every_write(either_store, clock):
    for key in ("put", "create", "match", "delete"):
        await either_store.put("n", key, 1, ttl=1)
        await either_store.put("n", key, 2, ttl=1)
    clock.advance(1)
    entry, created = await either_store.put("n", "put", 3)
    assert (created, entry.version, entry.created_at) == (True, 3, int(clock() * 1000))
    entry, created = await either_store.put("n", "create", 3, create_only=True)
    assert (created, entry.version) == (True, 3)
    with pytest.raises(VersionConflictError) as caught:
        await either_store.put("n", "match", 3, if_version=2)
    assert caught.value.current_version is None
    assert await either_store.delete("n", "delete") is False
    assert (await either_store.stats()).entries == 2


async def test_create_only_refuses_an_entry_that_exists(either_store):
    await either_store.put("n", "k", 1, create_only=True)
    with pytest.raises(VersionConflictError) as caught:
        await either_store.put("n", "k", 2, create_only=True)
    assert caught.value.current_version == 1
    assert (await either_store.get("n", "k")).value == 1


async def test_of_many_compare_and_sets_at_once_exactly_one_wins(either_store):
    await either_store.put("n", "k", "start")
    attempts = [either_store.put("n", "k", number, if_version=1) for number in range(50)]
    results = await asyncio.gather(*attempts, return_exceptions=True)
    winners = [result for result in results if not isinstance(result, Exception)]
    assert len(winners) == 1
    assert all(isinstance(result, VersionConflictError) for result in results if isinstance(result, Exception))
    entry = await either_store.get("n", "k")
    assert (entry.version, entry.value) == (2, winners[0][0].value)


async def test_a_delete_may_ask_for_a_version(either_store):
    await either_store.put("n", "k", 1)
    await either_store.put("n", "k", 2)
    with pytest.raises(VersionConflictError):
        await either_store.delete("n", "k", if_version=1)
    assert await either_store.delete("n", "k", if_version=2)
    assert await either_store.get("n", "k") is None
    assert not await either_store.delete("n", "k")


async def test_what_a_caller_does_to_a_value_changes_nobody_elses(store):
    value = {"list": [1]}
    entry, _ = await store.put("n", "k", value, tags=["t"], metadata={"m": 1})
    value["list"].append(2)
    entry.value["list"].append(3)
    entry.metadata["m"] = 2
    entry.tags.append("u")
    again = await store.get("n", "k")
    assert (again.value, again.metadata, again.tags) == ({"list": [1]}, {"m": 1}, ["t"])


async def test_pages_are_in_key_order_and_lose_and_repeat_nothing_while_others_write(either_store):
    keys = [f"k{number:03d}" for number in range(25)]
    for key in reversed(keys):
        await either_store.put("n", key, key)
    await either_store.put("m", "k000", "another namespace")
    seen, after = [], None
    while True:
        page = await either_store.list("n", after=after, limit=7)
        seen += [entry.key for entry in page.entries]
        if page.next_key is None:
            break
        after = page.next_key
        await either_store.delete("n", seen[0])
        await either_store.put("n", f"{seen[0]}-new", "before the cursor")
    assert seen == keys


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("", ["a", "a%", "a%b", "a_", "ab", "b", "\ud7ff", "\ue000", "\U0010ffff", "\U0010ffff\U0010ffff"]),
        ("a", ["a", "a%", "a%b", "a_", "ab"]),
        ("a%", ["a%", "a%b"]),
        ("\ud7ff", ["\ud7ff"]),
        ("\U0010ffff", ["\U0010ffff", "\U0010ffff\U0010ffff"]),
        ("zz", []),
    ],
)
async def test_a_prefix_is_taken_literally(either_store, prefix, found):
    for key in ("b", "a", "a_", "a%b", "ab", "a%", "\ud7ff", "\ue000", "\U0010ffff", "\U0010ffff\U0010ffff"):
        await either_store.put("n", key, 1)
    assert [entry.key for entry in (await either_store.list("n", prefix=prefix)).entries] == found


async def test_a_page_ends_early_when_its_values_grow_large(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_page_bytes=1000)) as store:
        for number in range(5):
            await store.put("n", f"k{number}", "x" * 398)
        await store.put("n", "k9", "x" * 5000)
        sizes, after = [], None
        while True:
            page = await store.list("n", after=after)
            sizes.append(len(page.entries))
            after = page.next_key
            if after is None:
                break
    assert sizes == [2, 2, 1, 1]


async def test_counts_are_exact_after_every_kind_of_write(either_store, clock):
    await either_store.put("swarm:agents", "a", "12345678")
    await either_store.put("swarm:agents", "b", 1)
    await either_store.put("swarm:patterns", "p", 1, ttl=1)
    await either_store.put("other", "o", 1)
    await either_store.put("swarm:agents", "a", 1)
    await either_store.delete("swarm:agents", "b")
    stats = await either_store.stats()
    assert (stats.entries, stats.agents, stats.tasks, stats.patterns, stats.value_bytes) == (3, 1, 0, 1, 3)
    clock.advance(1)
    stats = await either_store.stats()
    assert (stats.entries, stats.patterns, stats.value_bytes) == (2, 0, 2)
    await either_store.put("swarm:patterns", "p", 12)
    await either_store.delete("other", "o")
    counts = (await either_store.namespaces()).namespaces
    assert [(count.namespace, count.entries, count.bytes) for count in counts] == [
        ("swarm:agents", 1, 1),
        ("swarm:patterns", 1, 2),
    ]


async def test_namespaces_come_in_pages(either_store, clock):
    for name in ("a", "b", "c", "gone", "z"):
        await either_store.put(name, "k", 1, ttl=1 if name == "gone" else 0)
    clock.advance(1)
    first = await either_store.namespaces(limit=3)
    assert [count.namespace for count in first.namespaces] == ["a", "b", "c"]
    second = await either_store.namespaces(after=first.next_name, limit=3)
    assert [count.namespace for count in second.namespaces] == ["z"]
    assert second.next_name is None


async def test_everything_survives_a_restart_also_into_the_other_journal_mode(tmp_path, clock):
    for enable_wal in (True, False, True):
        config = StoreConfig(enable_wal=enable_wal)
        async with SqliteStore.open(tmp_path / "db", config, clock=clock) as store:
            entry, _ = await store.put("n", "k", enable_wal, metadata={"kept": 1})
            await store.put("n", f"k{entry.version}", 1, ttl=100)
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        assert (await store.get("n", "k")).version == 3
        assert (await store.stats()).entries == 4
        clock.advance(100)
        assert (await store.stats()).entries == 1


async def test_a_put_that_nobody_waited_for_is_committed_before_the_store_closes(tmp_path):
    async with SqliteStore.open(tmp_path / "db") as store:
        tasks = [asyncio.ensure_future(store.put("n", str(number), number)) for number in range(100)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    async with SqliteStore.open(tmp_path / "db") as store:
        assert (await store.stats()).entries == 100


async def test_a_closed_store_says_so(tmp_path):
    async with SqliteStore.open(tmp_path / "db") as store:
        await store.put("n", "k", 1)
    assert not store.alive
    for call in (store.get("n", "k"), store.put("n", "k", 1), store.delete("n", "k"), store.list("n"), store.stats()):
        with pytest.raises(StoreClosedError):
            await call


@pytest.mark.parametrize(
    ("field", "arguments"),
    [
        ("namespace", {"namespace": ""}),
        ("namespace", {"namespace": "é" * 128}),
        ("namespace", {"namespace": 7}),
        ("key", {"key": ""}),
        ("key", {"key": "k" * 1025}),
        ("key", {"key": "a\0b"}),
        ("key", {"key": "\ud800"}),
        ("value", {"value": float("nan")}),
        ("value", {"value": [{"x": [float("-inf"), None]}]}),
        ("value", {"value": {1: 2}}),
        ("value", {"value": 2**64}),
        ("value", {"value": "\udfff"}),
        ("value", {"value": {1, 2}}),
        ("value", {"value": "x" * (16 * 1024 * 1024)}),
        ("tags", {"tags": "abc"}),
        ("tags", {"tags": [str(n) for n in range(65)]}),
        ("tags[1]", {"tags": ["ok", ""]}),
        ("tags[0]", {"tags": [7]}),
        ("tags[0]", {"tags": ["t" * 257]}),
        ("metadata", {"metadata": [1]}),
        ("metadata", {"metadata": {"m": "x" * 65536}}),
        ("ttl", {"ttl": -1}),
        ("ttl", {"ttl": True}),
        ("ttl", {"ttl": 1.5}),
        ("ttl", {"ttl": 10**12}),
    ],
)
async def test_bad_input_is_refused_with_the_fields_name(store, field, arguments):
    with pytest.raises(InvalidInputError) as caught:
        await store.put(**{"namespace": "n", "key": "k", "value": 1, **arguments})
    assert caught.value.field == field
    assert caught.value.allowed
    assert (await store.stats()).entries == 0


async def test_limits_are_inclusive(store):
    deep = 1
    for _ in range(64):
        deep = [deep]
    entry, _ = await store.put(
        "n" * 255, "é" * 512, deep, tags=["t" * 256] * 2 + [str(n) for n in range(62)], ttl=100 * 365 * 24 * 3600
    )
    assert entry.value == deep
    assert len(entry.tags) == 63
    with pytest.raises(InvalidInputError):
        await store.put("n", "k", [deep])


async def test_page_limits_are_checked(store):
    for limit in (0, 1001, True, "7"):
        with pytest.raises(InvalidInputError):
            await store.list("n", limit=limit)
        with pytest.raises(InvalidInputError):
            await store.namespaces(limit=limit)
