"""Versions after many replacements: clients read them as JSON numbers, which are exact below 2**53 only."""

import asyncio
import os
import shutil

import hypothesis
import pytest
from hypothesis import strategies as st
from support.replacements import entries, nothing, swap, values

from swarm_operator.memory.core.errors import (
    VersionConflictError,
)
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup.replace import MARGIN

KEYS = st.sampled_from(["a", "b", "c"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("backup"), st.none()),
        st.tuples(st.just("replace"), st.integers(0, 5)),
    ),
    max_size=25,
)


async def test_restores_of_their_own_backups_add_to_versions_and_do_not_double_them(store, tmp_path):
    for number in range(3):
        await store.put("n", f"k{number}", number)
    for turn in range(40):
        copy = tmp_path / f"copy-{turn}.db"
        await store.backup(copy)
        known = (await store.get("n", "k2")).version
        await store.replace(copy, former=tmp_path / "former.db", before=nothing)
        (tmp_path / "former.db").unlink()
        assert (await store.get("n", "k0")).version > known
    entry, _ = await store.put("n", "k2", "written")
    assert entry.version < 41 * (MARGIN + 10)


async def test_a_backup_without_entries_raises_the_versions_too(store, tmp_path):
    await store.put("n", "k", 1)
    await store.delete("n", "k")
    await store.backup(tmp_path / "copy.db")
    known = (await store.put("n", "k", 2))[0].version
    await store.replace(tmp_path / "copy.db", former=tmp_path / "former.db", before=nothing)
    assert (await store.put("n", "k", 3))[0].version > known


@hypothesis.settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture, hypothesis.HealthCheck.too_slow],
)
@hypothesis.given(STEPS)
def test_versions_and_positions_only_grow_whatever_is_restored(tmp_path, steps):
    """A version of a key stands for one value for ever, and each position for one change."""

    async def run(directory):
        given, backups, positions = {}, [], [0]
        async with SqliteStore.open(directory / "store.db", StoreConfig(full_text=False)) as store:
            for number, (step, argument) in enumerate(steps):
                if step == "put":
                    entry, _ = await store.put("n", argument, number)
                    assert entry.version > max(given.get(argument, {0: None}))
                    given.setdefault(argument, {})[entry.version] = number
                elif step == "delete":
                    await store.delete("n", argument)
                elif step == "backup":
                    made = await store.backup(directory / f"{number}.db")
                    backups.append((made.path, await values(store)))
                elif backups:
                    path, wanted = backups[argument % len(backups)]
                    (directory / "restore").mkdir(exist_ok=True)
                    copy = directory / "restore" / "copy.db"
                    shutil.copyfile(path, copy)
                    await swap(store, copy)
                    there = await entries(store)
                    assert {key: value for key, (value, _) in there.items()} == wanted
                    for key, (value, version) in there.items():
                        assert version > max(given[key])
                        given[key][version] = value
                async with store.watch() as watch:
                    assert watch.position >= positions[-1]
                    if step == "replace" and backups:
                        assert watch.position > positions[-1] + 1
                    positions.append(watch.position)
            for key, versions in given.items():
                current = await store.get("n", key)
                for version, value in versions.items():
                    if current is not None and version == current.version:
                        assert current.value == value
                        continue
                    with pytest.raises(VersionConflictError):
                        await store.put("n", key, "never", if_version=version)

    directory = tmp_path / os.urandom(8).hex()
    directory.mkdir()
    asyncio.run(run(directory))
    shutil.rmtree(directory)
