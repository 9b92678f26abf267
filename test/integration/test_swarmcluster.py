"""SwarmClusterReconciler against a real API server."""

from __future__ import annotations

from pathlib import Path

import yaml

from swarm_operator.controllers.common import kinds

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sqlite-memory-cluster.yaml"


async def test_the_example_gets_a_store_that_carries_each_setting(objects, start_operator, eventually):
    start_operator()
    example = yaml.safe_load(EXAMPLE.read_text())
    cluster = await objects.apply(kinds.SWARM_CLUSTER, example["metadata"]["name"], example["spec"])

    async def made():
        return await objects.get(kinds.SWARM_MEMORY_STORE, "my-cluster-memory")

    store = await eventually(made)
    wanted = {
        "type": "sqlite",
        "storageSize": "20Gi",
        "cacheSize": 2000,
        "cacheMemoryMB": 100,
        "enableWAL": True,
        "gcInterval": "10m",
        "backupInterval": "1h",
        "swarmId": "my-cluster",
        "swarmClusterRef": "my-cluster",
    }
    assert wanted.items() <= store["spec"].items()
    assert store["metadata"]["ownerReferences"][0]["uid"] == cluster["metadata"]["uid"]

    async def claimed() -> bool:
        claim = await objects.get(kinds.PERSISTENT_VOLUME_CLAIM, "my-cluster-memory-data")
        return claim["spec"]["resources"]["requests"]["storage"] == "20Gi"

    await eventually(claimed)


async def test_the_cluster_is_ready_when_its_store_is(objects, start_operator, eventually):
    start_operator()
    await objects.cluster("c", enableMemoryStore=True)

    async def waiting() -> bool:
        ready = await objects.condition(kinds.SWARM_CLUSTER, "c", "Ready")
        return ready["status"] == "False" and ready["reason"] == "WaitingForPod"

    await eventually(waiting)
    await objects.pretend_ready("c-memory")

    async def ready() -> bool:
        status = (await objects.get(kinds.SWARM_CLUSTER, "c"))["status"]
        return (status["phase"], status["memoryStatus"]["available"]) == ("Ready", True)

    await eventually(ready)


async def test_a_setting_that_is_taken_back_gets_its_default_again(objects, start_operator, eventually):
    start_operator()
    await objects.cluster("c", enableMemoryStore=True, sqliteConfig={"cacheSize": 5, "enableWAL": False})

    async def carries(cache_size: int, *, wal: bool) -> bool:
        spec = (await objects.get(kinds.SWARM_MEMORY_STORE, "c-memory"))["spec"]
        return (spec["cacheSize"], spec["enableWAL"]) == (cache_size, wal)

    await eventually(lambda: carries(5, wal=False))
    await objects.cluster("c", enableMemoryStore=True, sqliteConfig={"enableWAL": False})
    await eventually(lambda: carries(1000, wal=False))


async def test_a_store_is_kept_when_the_flag_is_taken_back(objects, start_operator, eventually):
    start_operator()
    await objects.cluster("c", enableMemoryStore=True)

    async def made():
        return await objects.get(kinds.SWARM_MEMORY_STORE, "c-memory")

    store = await eventually(made)
    await objects.cluster("c", enableMemoryStore=False)

    async def said() -> bool:
        memory = await objects.condition(kinds.SWARM_CLUSTER, "c", "MemoryReady")
        return memory["reason"] == "Disabled" and "is kept with its data" in memory["message"]

    await eventually(said)
    kept = await objects.get(kinds.SWARM_MEMORY_STORE, "c-memory")
    assert kept["metadata"]["uid"] == store["metadata"]["uid"]
    assert kept["spec"] == store["spec"]


async def test_a_cluster_without_a_memory_store_makes_nothing_and_is_ready(objects, start_operator, eventually):
    start_operator()
    await objects.cluster("c")

    async def ready() -> bool:
        return (await objects.get(kinds.SWARM_CLUSTER, "c"))["status"]["phase"] == "Ready"

    await eventually(ready)
    assert await objects.missing(kinds.SWARM_MEMORY_STORE, "c-memory")


async def test_a_store_of_somebody_else_is_never_taken_over(objects, start_operator, eventually):
    theirs = await objects.store("c-memory", cacheSize=3)
    start_operator()
    await objects.cluster("c", enableMemoryStore=True)

    async def said() -> bool:
        return (await objects.condition(kinds.SWARM_CLUSTER, "c", "Ready"))["reason"] == "NameTaken"

    await eventually(said)
    store = await objects.get(kinds.SWARM_MEMORY_STORE, "c-memory")
    assert store["spec"] == theirs["spec"]
    assert not store["metadata"].get("ownerReferences")
