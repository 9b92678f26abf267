"""The contract of a store, on each engine: the scenarios of entries and records, the required members."""

import asyncio

import pytest
from support import entry_contract, record_contract
from support.engines import open_store
from support.memory_store import MemoryStore
from support.store_drivers import EntryDriver, RecordDriver, play

from swarm_operator.memory.core import Draft, Query, Store, Watch
from swarm_operator.memory.core.errors import (
    StoreClosedError,
)


@pytest.mark.parametrize("scenario", entry_contract.SCENARIOS, ids=lambda scenario: scenario.name)
async def test_an_engine_keeps_the_contract_of_entries(engine, tmp_path, clock, scenario):
    async with open_store(engine, tmp_path / "store.db", clock=clock) as store:
        await play(scenario, EntryDriver(store, clock), clock)


@pytest.mark.parametrize("scenario", record_contract.SCENARIOS, ids=lambda scenario: scenario.name)
async def test_records_run_on_an_engine(engine, tmp_path, clock, scenario):
    async with open_store(engine, tmp_path / "store.db", clock=clock) as store:
        await play(scenario, RecordDriver(store), clock)


@pytest.mark.parametrize(
    ("contract", "name"),
    [(contract, name) for contract in (Store, Watch) for name in sorted(contract.__abstractmethods__)],
)
def test_a_store_that_lacks_a_part_of_the_contract_cannot_be_made(contract, name):
    parts = {other: getattr(MemoryStore, other, None) for other in contract.__abstractmethods__ - {name}}
    incomplete = type("Incomplete", (contract,), parts)
    with pytest.raises(TypeError, match=f"abstract method '?{name}"):
        incomplete()


def test_every_public_member_of_the_contract_is_required():
    members = {name for base in Store.__mro__ for name in vars(base) if not name.startswith("_")}
    assert members == Store.__abstractmethods__
    assert {name for name in vars(Watch) if not name.startswith("_")} == Watch.__abstractmethods__


async def test_a_closed_store_says_so(engine, tmp_path, clock):
    async with open_store(engine, tmp_path / "store.db", clock=clock) as store:
        assert (store.alive, store.fault, store.swarm_id) == (True, None, "default")
        assert store.now() == int(clock() * 1000)
        context = store.watch()
        watch = await context.__aenter__()
        waiting = asyncio.create_task(watch.next())
        await asyncio.sleep(0)
    with pytest.raises(StoreClosedError):
        await waiting
    await context.__aexit__(None, None, None)
    for call in (
        store.get("n", "k"), store.list("n"), store.search(Query.create()), store.delete("n", "k"), store.batch([]),
        store.write(Draft.create("n", "k", 1)), store.transact([], lambda *_: []), store.stats(), store.counts([]),
        store.namespaces(), store.delete_range("n"), store.collect_garbage(), store.backup(tmp_path / "x"),
        store.tag_counts("n", []), store.get_many([]), store.get_each([]),
    ):  # fmt: skip
        with pytest.raises(StoreClosedError):
            await call
