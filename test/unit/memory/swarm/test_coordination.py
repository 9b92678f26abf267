"""Coordination and metrics, as the seed stores them."""

from swarm_operator.memory.swarm import coordination

NOW = "2027-01-15T08:00:00.000Z"


async def test_coordination_is_stored_as_the_seed_stores_it(swarm, store):
    assert await swarm.coordination.put("phase", {"step": 2})
    assert not await swarm.coordination.put("phase", {"step": 3})
    entry = await store.get("swarm:coordination", "phase")
    assert (entry.value, entry.ttl, entry.tags) == ({"step": 3}, 3600, [])
    assert entry.metadata == {"swarmId": "default", "timestamp": NOW}


async def test_metrics_are_stored_as_the_seed_stores_them(swarm, store):
    await swarm.metrics.store("m1", {"type": "latency", "agentId": "a1", "ms": [1.5]})
    entry = await store.get("swarm:metrics", "metrics:m1")
    assert entry.value == {"type": "latency", "agentId": "a1", "ms": [1.5], "id": "m1"}
    assert (entry.ttl, entry.tags) == (7 * 86_400, ["metrics", "latency"])
    assert entry.metadata == {"swarmId": "default", "agentId": "a1", "timestamp": NOW}


async def test_later_measurements_take_the_place_of_earlier_ones(swarm):
    await swarm.metrics.store("m1", {"type": "a", "old": 1})
    record = await swarm.metrics.store("m1", {"type": "b"})
    assert record.document == {"type": "b", "id": "m1", "updatedBy": None}
    assert coordination.METRICS.namespace == "swarm:metrics"
    assert [found.id for found in (await swarm.metrics.list(type="b")).records] == ["m1"]
    assert (await swarm.metrics.list(type="a")).records == []
