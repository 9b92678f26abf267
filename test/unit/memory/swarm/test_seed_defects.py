"""What the seed's SwarmMemory got wrong about records, by the numbers of the research page's list (section 1.8)."""

from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.swarm import Swarm
from swarm_operator.memory.transfer.export import export_lines
from swarm_operator.memory.transfer.importer import Importer


async def test_1_8_4_tags_select(store):
    swarm = Swarm(store)
    await swarm.patterns.store("p1", {"type": "coordination"})
    await swarm.patterns.store("p2", {"type": "optimization"})
    assert [record.id for record, _ in (await swarm.patterns.best(tags=["optimization"])).scored] == ["p2"]


async def test_1_8_10_a_second_start_lists_counts_exports_and_cleans_up_what_is_there(tmp_path, clock):
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        swarm = Swarm(store)
        await swarm.agents.register("a1", {"type": "coder", "status": "active"})
        await swarm.patterns.store("p1", {"confidence": 0.9})
        await swarm.tasks.create({"id": "t1"})
        await swarm.tasks.set_status("t1", "completed")
    clock.advance(8 * 86_400)
    async with SqliteStore.open(tmp_path / "db", clock=clock) as store:
        swarm = Swarm(store)
        assert [record.document["type"] for record in (await swarm.agents.list(type="coder")).records] == ["coder"]
        stats = await swarm.stats()
        assert (stats["agents"]["active"], stats["tasks"]["completed"], stats["patterns"]["total"]) == (1, 1, 1)
        lines = [line async for line in export_lines(store)]
        assert b"undefined" not in b"".join(lines)
        assert len(lines) == 5
        assert (await swarm.cleanup()).tasks == 1


async def test_1_8_11_uses_and_success_rates_are_kept(store):
    swarm = Swarm(store)
    await swarm.patterns.store("p1", {"type": "a"})
    for _ in range(3):
        await swarm.patterns.record_use("p1", success=True)
    await swarm.patterns.store("p1", {"type": "b"})
    lines = [line async for line in export_lines(store)]
    await swarm.patterns.delete("p1")
    importer = Importer(store)
    for line in lines:
        await importer.add(line)
    await importer.finish()
    document = (await swarm.patterns.get("p1")).document
    assert (document["usageCount"], round(document["successRate"], 6)) == (3, 0.271)


async def test_1_8_12_what_one_has_written_another_one_sees_at_once(store):
    first, second = Swarm(store), Swarm(store)
    await first.agents.register("a1", {"status": "idle"})
    assert (await second.agents.get("a1")).document["status"] == "idle"
    await second.agents.heartbeat("a1", status="busy")
    assert (await first.agents.get("a1")).document["status"] == "busy"
    await store.delete("swarm:agents", "agent:a1")
    assert (await first.agents.list()).records == []


async def test_1_8_17_records_are_imported_under_their_ids(store):
    importer = Importer(store)
    await importer.add(b'{"agents": [{"id": "a1"}], "tasks": [{"id": "t1"}], "patterns": [{"id": "p1"}]}')
    await importer.finish()
    keys = [(await store.list(f"swarm:{kind}")).entries[0].key for kind in ("agents", "tasks", "patterns")]
    assert keys == ["agent:a1", "task:t1", "pattern:p1"]
