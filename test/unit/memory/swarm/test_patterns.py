"""Patterns: what is kept, how uses count, which are best."""

import asyncio

import pytest

from swarm_operator.memory.swarm import patterns as module

NOW = "2027-01-15T08:00:00.000Z"


async def test_a_pattern_is_stored_as_the_seed_stores_it(swarm, store):
    record = await swarm.patterns.store("p1", {"type": "optimization", "confidence": 0.8, "data": {"x": 1}})
    entry = await store.get("swarm:patterns", "pattern:p1")
    assert entry.tags == ["pattern", "optimization"]
    assert entry.metadata == {"swarmId": "default", "patternType": "optimization", "confidence": 0.8}
    assert record.document == {**entry.value, "updatedBy": None}
    assert entry.value == {
        "createdAt": NOW, "usageCount": 0, "successRate": 0, "type": "optimization", "confidence": 0.8,
        "data": {"x": 1}, "swarmId": "default", "updatedAt": NOW, "id": "p1",
    }  # fmt: skip


async def test_storing_again_does_not_forget_what_uses_have_shown(swarm, clock):
    await swarm.patterns.store("p1", {"type": "a"})
    await swarm.patterns.record_use("p1", success=True)
    clock.advance(60)
    stored = await swarm.patterns.store("p1", {"type": "b"})
    assert (stored.document["usageCount"], stored.document["successRate"]) == (1, 0.1)
    assert (stored.document["createdAt"], stored.document["lastUsedAt"]) == (NOW, NOW)


async def test_uses_of_many_at_once_are_all_counted(swarm):
    await swarm.patterns.store("p1", {})
    await asyncio.gather(*(swarm.patterns.record_use("p1", success=True) for _ in range(50)))
    document = (await swarm.patterns.get("p1")).document
    assert document["usageCount"] == 50
    assert document["successRate"] == pytest.approx(1 - 0.9**50)


@pytest.mark.parametrize(
    ("members", "score"),
    [
        ({}, 0.0), ({"successRate": 1}, 0.7), ({"confidence": 1}, 0.2), ({"usageCount": 3}, 0.1),
        ({"successRate": 0.5, "confidence": 0.5, "usageCount": 1}, 0.55), ({"successRate": "high"}, 0.0),
        ({"successRate": None, "confidence": [], "usageCount": True}, 0.0), ({"confidence": 7}, 0.2),
    ],
)  # fmt: skip
def test_the_score_is_the_seeds_whatever_an_older_client_wrote(members, score):
    assert module.score(members) == pytest.approx(score)


async def test_what_the_seed_wrote_is_used_and_keeps_what_is_unknown(swarm, store):
    legacy = {"id": "p", "type": "coordination", "usageCount": 4, "successRate": 0.5, "neural": {"w": [0.1]}}
    await store.put("swarm:patterns", "pattern:p", legacy, tags=["pattern", "coordination"])
    used = (await swarm.patterns.record_use("p", success=True)).document
    assert (used["usageCount"], used["successRate"], used["neural"]) == (5, pytest.approx(0.55), {"w": [0.1]})
    assert [record.id for record, _ in (await swarm.patterns.best(tags=["coordination"])).scored] == ["p"]


async def test_the_best_of_more_than_can_be_looked_at_are_said_to_be_a_part(swarm, monkeypatch):
    monkeypatch.setattr(module, "_MOST_CONSIDERED", 400)
    await asyncio.gather(*(swarm.patterns.store(f"p{n:03}", {"confidence": n / 1000}) for n in range(450)))
    best = await swarm.patterns.best(limit=2)
    assert [record.id for record, _ in best.scored] == ["p399", "p398"]
    assert (best.considered, best.partial) == (400, True)
    await swarm.patterns.store("rare", {"tags": ["rare"]})
    best = await swarm.patterns.best(tags=["rare"])
    assert ([record.id for record, _ in best.scored], best.considered, best.partial) == (["rare"], 1, False)
