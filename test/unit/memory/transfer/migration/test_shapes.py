"""Every known shape of a legacy memory is migrated completely, and as what it is."""

import json
import sqlite3
from contextlib import closing

import pytest
from support import legacy

from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.swarm import Swarm


def by_kind(report, outcome="found"):
    return {kind: counts[outcome] for kind, counts in report["kinds"].items() if counts[outcome]}


@pytest.mark.parametrize("name", legacy.SHAPES)
async def test_a_shape_is_migrated_completely_and_a_second_run_changes_nothing(place, name):
    made = {kind: number for kind, number in legacy.SHAPES[name](place.source / name).items() if number}
    before = (place.source / name).read_bytes()
    planned = await place.migrate(dry_run=True)
    assert not place.target.exists()
    report = await place.migrate()
    assert by_kind(report) == made
    totals = report["totals"]
    assert totals["found"] == totals["created"] + totals["expired"]
    assert (report["complete"], report["quarantine"], report["reasons"]) == (True, None, {})
    varying = {"dry_run", "started_at", "completed_at"}
    assert {k: v for k, v in planned.items() if k not in varying} == {
        k: v for k, v in report.items() if k not in varying
    }
    entries = await place.entries()
    assert len(entries) == totals["created"]

    again = await place.migrate()
    assert again["totals"] == {**totals, "created": 0, "unchanged": totals["created"]}
    assert await place.entries() == entries
    assert {path.name: path.read_bytes() for path in place.source.iterdir()} == {name: before}


async def test_keys_of_a_hive_stay_scoped_by_swarm_and_values_are_what_they_were(place):
    legacy.hive(place.source / "hive.db")
    await place.migrate(swarm_id="swarm-1")
    entries = await place.entries()
    own, other = entries["hive:config", "objective"], entries["hive:config", "swarm-2/objective"]
    assert own.value == other.value == "build it"
    assert entries["hive:config", "queen_type"].value == "strategic"
    assert entries["hive:config", "worker_count"].value == 4
    assert entries["hive:knowledge", "swarm-2/wörter/a"].value == {"a": [1]}
    assert other.metadata["legacy"] == {
        "id": "swarm-2-objective", "swarmId": "swarm-2", "type": "config", "createdBy": "queen",
        "createdAt": "2025-07-01T10:00:00.000Z", "accessedAt": "2025-07-01T20:00:00.000Z", "accessCount": 3,
    }  # fmt: skip
    task = entries["swarm:tasks", "task:swarm-2/swarm-2-task-1"].value
    assert task == {
        "id": "swarm-2/swarm-2-task-1", "swarmId": "swarm-2", "agentId": "swarm-2-worker-1", "description": "[1] first",
        "assignedAgents": ["swarm-2/swarm-2-worker-1"], "status": "completed", "priority": 7, "result": {"ok": True},
        "createdAt": "2025-07-01T10:00:00.000Z", "completedAt": "2025-07-01T11:00:00.000Z",
    }  # fmt: skip
    assert entries["swarm:tasks", "task:swarm-1-task-0"].value["result"] == "plain text, not JSON"
    decision = entries["swarm:consensus", "consensus:swarm-2/swarm-2-decision"].value
    assert (decision["status"], decision["outcome"], decision["votes"]) == ("decided", "python", legacy.VOTES)
    assert {key for namespace, key in entries if namespace == "hive:swarms"} == {"swarm-1", "swarm-2"}


async def test_records_are_records_of_the_swarm(place):
    legacy.hive(place.source / "hive.db", swarms=("default",))
    legacy.hive_mind(place.source / "mind.db")
    await place.migrate()
    async with SqliteStore.open(place.target, StoreConfig()) as store:
        swarm = Swarm(store)
        agents = await swarm.agents.list(type="coder", capability="test")
        assert [agent.id for agent in agents.records] == ["default-worker-0", "default-worker-1"]
        assert len((await swarm.tasks.list(status="completed")).records) == 3
        pattern = await swarm.patterns.get("s/p")
        assert pattern.document == {
            "id": "s/p", "swarmId": "s", "type": "flow", "data": {"steps": 2}, "confidence": 0.8, "usageCount": 12,
            "successRate": 0.75, "createdAt": "2025-01-01T00:00:00.000Z", "updatedBy": None,
        }  # fmt: skip
        assert (await swarm.consensus.get("default-decision")).document["outcome"] == "python"
        stats = await store.stats()
        assert (stats.agents, stats.tasks, stats.patterns) == (2, 3, 1)


async def test_times_lifetimes_tags_and_types_of_entries_are_kept(place):
    legacy.memory_store(place.source / "a.db")
    legacy.hive_mind(place.source / "b.db")
    legacy.memory_entries(place.source / "c.db")
    report = await place.migrate()
    assert report["totals"]["expired"] == 2
    entries = await place.entries()
    agent = entries["swarm:agents", "agent:a1"]
    assert (agent.value, agent.tags, agent.expires_at) == ({"id": "a1", "status": "busy"}, ["agent", "busy"], None)
    assert agent.metadata == {
        "swarmId": "s",
        "legacy": {
            "type": "json", "createdAt": "2025-06-15T15:06:40.000Z", "updatedAt": "2025-06-15T15:06:41.000Z",
            "accessedAt": "2025-06-15T15:06:42.000Z", "accessCount": 2, "ttl": 0,
        },
    }  # fmt: skip
    assert entries["default", "note"].value == '{"looks": "like JSON"}'
    number = entries["default", "number"]
    assert (number.value, number.metadata["legacy"]["metadata"]) == (5, "not an object")
    assert abs(number.expires_at - 4_750_000_000_000) <= 1000
    assert entries["default", "stays"].value == {"a": 1}
    assert abs(entries["default", "stays"].expires_at / 1000 - 1_735_689_600 - 3_000_000_000) <= 1
    assert entries["n", "five"].value == "5"
    assert entries["n", "k"].metadata["legacy"]["createdAt"] == "2025-06-15T15:06:40.000Z"
    (code,) = (entry for (namespace, _), entry in entries.items() if namespace == "hive:code_patterns")
    assert code.value == {"id": 1, "filePath": "a.py", "embedding": {"base64": "AP+A"}}


async def test_json_shapes_keep_values_as_they_are(place):
    for name in ("memory-store.json", "entries.json", "state.json", "snapshot.json"):
        legacy.SHAPES[name](place.source / name)
    report = await place.migrate()
    assert report["totals"]["created"] == report["totals"]["found"] == 3 + 3 + 3 + 1
    entries = await place.entries()
    assert entries["default", "a/b"].value == '{"json": "inside"}'
    assert entries["default", "schlüssel"].metadata == {"legacy": {"timestamp": "2025-07-01T14:23:06.733Z"}}
    assert entries["other", "k"].value == "v"
    one, twice = entries["docs", "one"], entries["docs", "twice"]
    assert (one.value, one.tags, one.metadata["by"]) == ({"ü": [1, None]}, ["a", "b"], "me")
    assert one.metadata["legacy"] == {
        "id": "entry-one", "type": "knowledge", "owner": "o", "accessLevel": "shared", "version": 2, "references": [],
        "dependencies": [], "createdAt": "2025-07-01T10:00:00.000Z", "updatedAt": "2025-07-02T10:00:00.000Z",
    }  # fmt: skip
    assert twice.value == {"a": 1}
    assert entries["swarm:tasks", "task:t1"].tags == ["task", "pending", "high"]
    assert entries["hive:state", "state.json#settings"].value == {"topology": "mesh"}
    assert entries["hive:config", "swarm-9/objective"].value == "build it"


async def test_an_export_of_ours_is_migrated_with_its_expiry(place):
    head = {
        "format": "swarm-memory-export",
        "version": 1,
        "swarmId": "default",
        "exportedAt": "2026-01-01T00:00:00.000Z",
    }
    line = {
        "namespace": "n", "key": "k", "value": [1.5], "tags": ["t"], "metadata": {"a": 1}, "ttl": 60,
        "expiresAt": "2120-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
        "updatedAt": "2026-01-02T00:00:00.000Z", "version": 3,
    }  # fmt: skip
    text = "\n".join(json.dumps(each) for each in (head, line, {"end": True, "entries": 1}))
    (place.source / "swarm.ndjson").write_text(text + "\n")
    report = await place.migrate()
    assert report["totals"]["created"] == report["totals"]["found"] == 1
    (entry,) = (await place.entries()).values()
    assert (entry.value, entry.tags) == ([1.5], ["t"])
    assert entry.metadata == {
        "a": 1, "legacy": {"createdAt": "2026-01-01T00:00:00.000Z", "updatedAt": "2026-01-02T00:00:00.000Z"},
    }  # fmt: skip
    assert abs(entry.expires_at - 4_733_510_400_000) <= 1000
    (place.source / "swarm.ndjson").write_text(text[: text.rindex("\n")])
    report = await place.migrate()
    assert (report["totals"]["unchanged"], report["reasons"]) == (1, {"truncated": 1})


async def test_rows_that_are_only_in_the_log_or_rolled_back_by_a_journal_are_read_as_they_are(place):
    made = place.root / "made.db"
    with closing(sqlite3.connect(made)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE memories (namespace TEXT, key TEXT, value TEXT)")
        db.execute("INSERT INTO memories VALUES ('n', 'in the log', 'x')")
        db.commit()
        for suffix in ("", "-wal", "-shm"):
            (place.source / f"wal.db{suffix}").write_bytes(made.with_name(made.name + suffix).read_bytes())
    report = await place.migrate()
    assert report["totals"]["created"] == 1

    made = place.root / "journal.db"
    with closing(sqlite3.connect(made, isolation_level=None)) as db:
        db.execute("CREATE TABLE memories (namespace TEXT, key TEXT, value TEXT)")
        rows = [("j", str(number), "committed" + "x" * 1000) for number in range(50)]
        db.executemany("INSERT INTO memories VALUES (?, ?, ?)", rows)
        db.execute("PRAGMA cache_size = 1")
        db.execute("BEGIN")
        db.execute("UPDATE memories SET value = 'interrupted' || substr(value, 12)")
        for suffix in ("", "-journal"):
            (place.source / f"journal.db{suffix}").write_bytes(made.with_name(made.name + suffix).read_bytes())
        db.execute("ROLLBACK")
    assert b"interrupted" in (place.source / "journal.db").read_bytes()
    await place.migrate()
    found = {entry.value[:9] for (namespace, _), entry in (await place.entries()).items() if namespace == "j"}
    assert found == {"committed"}


async def test_an_expiry_time_that_is_more_than_a_century_away_is_none(place):
    entries = [{"key": "k", "value": 1, "timestamp": 1, "expiresAt": "2400-01-01T00:00:00Z"}]
    (place.source / "a.json").write_text(json.dumps(entries))
    await place.migrate()
    (entry,) = (await place.entries()).values()
    assert (entry.expires_at, entry.metadata["legacy"]["expiresAt"]) == (None, "2400-01-01T00:00:00.000Z")
    assert (await place.migrate())["totals"]["unchanged"] == 1
