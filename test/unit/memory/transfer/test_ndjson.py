"""Export and import: nothing is lost, nothing is doubled, and what is refused is named by its line."""

import orjson
import pytest
from support.engines import ENGINES, open_store

from swarm_operator.memory.core import vectors
from swarm_operator.memory.core.entry import Draft
from swarm_operator.memory.swarm import Swarm
from swarm_operator.memory.transfer.export import export_lines
from swarm_operator.memory.transfer.importer import BadLineError, Existing, Importer, Outcome


async def export(store, **options):
    return [line async for line in export_lines(store, **options)]


async def take(store, lines, **options):
    importer = Importer(store, **options)
    for line in lines:
        await importer.add(line)
    await importer.finish()
    return importer


async def contents(store):
    found = {}
    for count in (await store.namespaces(limit=1000)).namespaces:
        for entry in (await store.list(count.namespace, limit=1000)).entries:
            expires = entry.expires_at and round(entry.expires_at / 1000)
            found[entry.namespace, entry.key] = (entry.value, entry.tags, entry.metadata, expires)
    return found


async def fill(store):
    swarm = Swarm(store)
    await swarm.agents.register("a1", {"type": "coder", "unknown": [1, {"x": None}], "ü": 1.5})
    await swarm.tasks.create({"id": "t1", "priority": "high"})
    await swarm.tasks.claim("t1", "a1")
    await swarm.patterns.store("p1", {"confidence": 0.5})
    await swarm.patterns.record_use("p1", success=True)
    await swarm.consensus.propose({"id": "c1"})
    await swarm.consensus.vote("c1", "a1", "approve")
    await swarm.communications.send("a1", None, "hello")
    await swarm.coordination.put("k", [1, "two", None])
    await swarm.metrics.store("m1", {"type": "latency"})
    await store.put("other", "k", "x" * 50_000)


@pytest.fixture(params=ENGINES)
async def store(request, tmp_path, clock):
    async with open_store(request.param, tmp_path / "store.db", clock=clock) as opened:
        yield opened


@pytest.fixture(params=ENGINES)
async def other(request, tmp_path, clock):
    async with open_store(request.param, tmp_path / "other.db", clock=clock) as opened:
        yield opened


async def test_a_whole_swarm_moves_to_another_store_and_a_second_time_changes_nothing(store, other, clock):
    await fill(store)
    lines = await export(store, namespaces=[])
    assert len(lines) == 10
    clock.advance(100)
    first = await take(other, lines)
    assert first.counts == {Outcome.CREATED: 8}
    assert first.complete
    assert list(first.outcomes) == [Outcome.NONE, *[Outcome.CREATED] * 8, Outcome.NONE]
    before = await contents(store)
    assert await contents(other) == before
    versions = {line["key"]: line["version"] for line in map(orjson.loads, (await export(other))[1:-1])}
    second = await take(other, lines)
    assert second.counts == {Outcome.UNCHANGED: 8}
    assert {line["key"]: line["version"] for line in map(orjson.loads, (await export(other))[1:-1])} == versions
    assert await contents(other) == before


async def test_an_export_says_who_wrote_and_an_import_keeps_it(store, other):
    await store.put("n", "ann's", 1, updated_by="ann")
    await store.put("n", "nobody's", 1)
    lines = await export(store, namespaces=["n"])
    assert [orjson.loads(line)["updatedBy"] for line in lines[1:-1]] == ["ann", None]
    await take(other, lines)
    assert {entry.key: entry.updated_by for entry in (await other.list("n")).entries} == {
        "ann's": "ann", "nobody's": None,
    }  # fmt: skip
    await other.put("n", "ann's", 1, updated_by="bob")
    assert (await take(other, lines)).counts == {Outcome.UNCHANGED: 2}
    assert (await other.get("n", "ann's")).updated_by == "bob", "what is equal is not written"


async def test_by_default_the_swarms_own_namespaces_are_exported(store):
    await fill(store)
    names = {orjson.loads(line).get("namespace") for line in await export(store)}
    assert names == {
        None, "swarm:agents", "swarm:tasks", "swarm:patterns", "swarm:consensus", "swarm:communications",
        "swarm:coordination", "swarm:metrics",
    }  # fmt: skip
    only = [orjson.loads(line) for line in await export(store, namespaces=["other", "none"])]
    assert [line.get("key") for line in only] == [None, "k", None]
    assert only[-1] == {"end": True, "entries": 1}


async def test_what_is_there_with_another_value_is_overwritten_or_kept(store, other):
    await fill(store)
    lines = await export(store)
    await other.put("swarm:agents", "agent:a1", "mine")
    kept = await take(other, lines, existing=Existing.KEEP)
    assert kept.counts == {Outcome.KEPT: 1, Outcome.CREATED: 6}
    assert (await other.get("swarm:agents", "agent:a1")).value == "mine"
    overwritten = await take(other, lines)
    assert overwritten.counts == {Outcome.UPDATED: 1, Outcome.UNCHANGED: 6}


async def test_of_two_values_the_newer_one_stays(store, other, clock):
    await fill(store)
    await other.put("swarm:agents", "agent:a1", "older")
    clock.advance(1)
    await store.put("swarm:agents", "agent:a1", "newer")
    lines = await export(store)
    clock.advance(1)
    await other.put("swarm:patterns", "pattern:p1", "newest")
    done = await take(other, lines, existing=Existing.NEWER)
    assert done.counts == {Outcome.KEPT: 1, Outcome.UPDATED: 1, Outcome.CREATED: 5}
    assert (await other.get("swarm:agents", "agent:a1")).value == "newer"
    assert (await other.get("swarm:patterns", "pattern:p1")).value == "newest"
    # A line that does not say when it was written is no newer than anything.
    ageless = [b'{"namespace": "swarm:agents", "key": "agent:a1", "value": 1}']
    assert (await take(other, ageless, existing=Existing.NEWER)).counts == {Outcome.KEPT: 1}


async def test_two_swarms_that_take_the_newer_values_of_each_other_are_the_same(store, other, clock):
    await fill(store)
    for number in range(20):
        clock.advance(1)
        await (store if number % 3 else other).put("n", f"k{number % 7}", number)
        await (other if number % 2 else store).put("n", f"k{number % 5}", -number)
        for name, each in (("store", store), ("other", other)):  # at the same moment
            await each.put("n", "same", [number, name])
    await take(other, await export(store, namespaces=[]), existing=Existing.NEWER)
    await take(store, await export(other, namespaces=[]), existing=Existing.NEWER)
    assert await contents(store) == await contents(other)
    again = await take(store, await export(other, namespaces=[]), existing=Existing.NEWER)
    assert set(again.counts) == {Outcome.UNCHANGED}


async def test_what_has_expired_meanwhile_is_left_out(store, other, clock):
    await fill(store)
    lines = await export(store)
    clock.advance(3600)
    importer = await take(other, lines)
    assert importer.counts[Outcome.EXPIRED] == 1
    assert ("swarm:coordination", "k") not in await contents(other)


async def test_a_line_with_a_lifetime_and_no_end_lives_from_now_on(other, clock):
    await take(other, [b'{"namespace":"n","key":"k","value":1,"ttl":10}'])
    clock.advance(10)
    assert await other.get("n", "k") is None


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b"{", "line"),
        (b"[]", "line"),
        (b"\xff", "line"),
        (b'{"namespace":"n","key":"k"}', "value"),
        (b'{"namespace":"","key":"k","value":1}', "namespace"),
        (b'{"key":"k","value":1}', "namespace"),
        (b'{"namespace":"n","key":5,"value":1}', "key"),
        (b'{"namespace":"n","key":"k","value":1,"tags":"t"}', "tags"),
        (b'{"namespace":"n","key":"k","value":1,"metadata":[]}', "metadata"),
        (b'{"namespace":"n","key":"k","value":1,"ttl":-1}', "ttl"),
        (b'{"namespace":"n","key":"k","value":1,"vector":"?"}', "vector"),
        (b'{"namespace":"n","key":"k","value":1,"vector":[0]}', "vector"),
        (b'{"namespace":"n","key":"k","value":1,"expiresAt":"soon"}', "expiresAt"),
        (b'{"namespace":"n","key":"k","value":1,"updatedBy":1}', "updatedBy"),
        (b'{"namespace":"n","key":"k","value":1,"color":1}', "unknown member 'color'"),
        (b'{"namespace":"n","key":"k","value":12345678901234567890123}', "line"),
        (b'{"format":"other","version":1}', "format"),
        (b'{"format":"swarm-memory-export","version":2}', "format"),
        (b'{"end":true,"entries":7}', "entries"),
        (b'{"agents":{}}', "agents"),
        (b'{"agents":[1]}', "agents[0]"),
        (b'{"tasks":[{"id":"t"},{}]}', "tasks[1].id"),
        (b"<<<<<<< HEAD", "line"),
    ],
)
async def test_a_bad_line_is_named_and_its_batch_is_not_written_but_those_before_are(other, line, field):
    good = [b'{"namespace":"n","key":"k%d","value":1}' % number for number in range(150)]
    importer = Importer(other)
    for each in good:
        await importer.add(each)
    with pytest.raises(BadLineError) as caught:
        await importer.add(line)
    assert (caught.value.line, caught.value.field) == (151, field)
    assert str(caught.value).startswith(f"line 151: {field}: ")
    await importer.flush()  # there is nothing left of the batch
    assert importer.counts == {Outcome.CREATED: 100}
    assert (await other.stats()).entries == 100


async def test_a_file_that_was_cut_off_is_said_so(store, other):
    await fill(store)
    lines = await export(store)
    with pytest.raises(BadLineError, match=r"line 8: end: .*cut off"):
        await take(other, lines[:-1])
    with pytest.raises(BadLineError, match="entries: 6, as many as there were"):
        await take(other, [*lines[:3], *lines[4:]])
    with pytest.raises(BadLineError, match="line 10: line: no further line"):
        await take(other, [*lines, lines[1]])


async def vectors_of(store):
    entries = (await store.list("n")).entries
    return dict(zip([entry.key for entry in entries], await store.vectors(entries), strict=True))


async def test_the_vectors_of_clients_are_exported_and_imported(store, other):
    given = {"east": [0.5, -1, 0.25], "north": [1e-20, 3e-20, 0], "plain": None}
    for key, vector in given.items():
        await store.write(Draft.create("n", key, 1, vector=vector))
    lines = await export(store, namespaces=[])
    assert ["vector" in orjson.loads(line) for line in lines[1:-1]] == [True, True, False]
    assert (await take(other, lines)).counts == {Outcome.CREATED: 3}
    taken = await vectors_of(other)
    for key, vector in given.items():
        assert taken[key] is None if vector is None else vectors.same(taken[key], vectors.check_vector(vector))
    assert (await take(other, lines)).counts == {Outcome.UNCHANGED: 3}
    again = await export(other, namespaces=[])
    assert (await take(store, again)).counts == {Outcome.UNCHANGED: 3}
    await other.write(Draft.create("n", "east", 1))
    assert (await vectors_of(other))["east"] is None
    assert (await take(other, lines)).counts == {Outcome.UNCHANGED: 2, Outcome.UPDATED: 1}
    assert (await vectors_of(other))["east"] is not None


async def test_a_line_with_another_vector_is_another_entry(store):
    await store.write(Draft.create("n", "k", 1, vector=[1, 0]))
    without, text = b'{"namespace":"n","key":"k","value":1}', vectors.to_json(vectors.check_vector([1, 0]))
    given, other = (
        orjson.dumps({**orjson.loads(without), "vector": vector}) for vector in (text, [0, 1])
    )  # fmt: skip
    for line, existing, outcome, key in (
        (without, Existing.OVERWRITE, Outcome.UNCHANGED, [1, 0]),
        (given, Existing.OVERWRITE, Outcome.UNCHANGED, [1, 0]),
        (other, Existing.KEEP, Outcome.KEPT, [1, 0]),
        (other, Existing.NEWER, Outcome.KEPT, [1, 0]),
        (other, Existing.OVERWRITE, Outcome.UPDATED, [0, 1]),
    ):
        assert (await take(store, [line], existing=existing)).counts == {outcome: 1}
        assert vectors.same((await vectors_of(store))["k"], vectors.check_vector(key))


@pytest.mark.parametrize("first", ["store", "other"])
async def test_two_swarms_that_differ_in_vectors_alone_are_the_same_after_they_take_each_others(store, other, first):
    sides = (store, other) if first == "store" else (other, store)
    for side, vector in ((store, [1, 0]), (other, [0, 1])):
        await side.write(Draft.create("n", "both", 1, vector=vector))
        await side.write(Draft.create("n", "one", 1, vector=vector if side is store else None))
    for source, target in (sides, sides[::-1], sides):
        importer = await take(target, await export(source, namespaces=[]), existing=Existing.NEWER)
    assert importer.counts == {Outcome.UNCHANGED: 2}
    one, another = await vectors_of(store), await vectors_of(other)
    for key in ("both", "one"):
        assert one[key] is not None
        assert vectors.same(one[key], another[key])


async def test_the_same_entry_twice_is_as_the_later_line_says(other):
    importer = await take(other, [b'{"namespace":"n","key":"k","value":%d}' % number for number in (1, 2, 2)])
    assert list(importer.outcomes) == [Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED]
    assert (await other.get("n", "k")).value == 2


async def test_what_the_seed_exported_keeps_its_counts_and_is_stored_under_its_ids(other):
    state = {
        "swarmId": "old", "exportedAt": "2025-07-10T00:00:00.000Z", "statistics": {},
        "agents": [{"id": "a1", "type": "queen", "status": "active", "swarmId": "old", "x": 1}],
        "tasks": [{"id": "t1", "status": "completed", "priority": "high", "createdAt": "2025-07-09T00:00:00.000Z"}],
        "patterns": [{"id": "p1", "type": "coordination", "usageCount": 7, "successRate": 0.9, "confidence": 0.5}],
    }  # fmt: skip
    importer = await take(other, [orjson.dumps(state)])
    assert importer.counts == {Outcome.CREATED: 3}
    swarm = Swarm(other)
    assert (await swarm.agents.get("a1")).document == {**state["agents"][0], "updatedBy": None}
    assert (await swarm.tasks.get("t1")).document == {**state["tasks"][0], "updatedBy": None}
    pattern = (await swarm.patterns.get("p1")).document
    assert (pattern["usageCount"], pattern["successRate"]) == (7, 0.9)
    assert (await other.get("swarm:agents", "agent:a1")).tags == ["agent", "queen", "active"]
    assert (await take(other, [orjson.dumps(state)])).counts == {Outcome.UNCHANGED: 3}


async def test_an_export_of_many_entries_is_read_in_pages(store, monkeypatch):
    monkeypatch.setattr("swarm_operator.memory.transfer.export._PAGE", 7)
    for number in range(50):
        await store.put("swarm:x", f"k{number:02}", number)
    lines = [orjson.loads(line) for line in await export(store)]
    assert [line["value"] for line in lines[1:-1]] == list(range(50))
