"""A swarm's memory on a real cluster, as the README describes it."""

from __future__ import annotations

import json
import random
import subprocess
import threading
import time

import pytest
from e2e.cluster import CONTEXT, SYSTEM, eventually, kill_9, kill_operator, kubectl

from swarm_operator.memory.sqlite.database.driver import has_wal_reset_bug

pytestmark = pytest.mark.timeout(900)

CHILDREN = "statefulsets,services,secrets,configmaps,pods"


def test_the_example_becomes_a_ready_store_that_applies_its_settings(space):
    space.apply_example()
    claim = space.get("persistentvolumeclaim/my-cluster-memory-data")
    assert claim["spec"]["resources"]["requests"]["storage"] == "20Gi"
    assert claim["status"]["phase"] == "Bound"
    space.start_agent()
    stats = space.memory("stats")
    assert stats["swarm_id"] == "my-cluster"
    assert not has_wal_reset_bug(stats["sqlite_version"])
    wanted = {"cache_size": 2000, "cache_memory_mb": 100, "enable_wal": True, "gc_interval_seconds": 600}
    assert wanted.items() <= stats["settings"].items()

    def counted() -> bool:
        status = space.get("swarmmemorystore/my-cluster-memory")["status"]
        return status["phase"] == "Ready" and status["entryCount"] == 0 and status["databaseSize"] > 0

    eventually(counted)
    assert space.get("swarmcluster/my-cluster")["status"]["phase"] == "Ready"


def test_describe_tells_the_story(example):

    def told() -> bool:
        text = example.kubectl("describe", "swarmmemorystore/my-cluster-memory")
        parts = (
            "created PersistentVolumeClaim my-cluster-memory-data",
            "created StatefulSet my-cluster-memory",
            "StorageReady is True",
            "Ready is True: the memory service answers",
            "created PersistentVolumeClaim my-cluster-memory-backups",
        )
        return all(part in text for part in parts)

    eventually(told)


def test_a_value_outlives_its_pod(example):
    value = {"text": "remember this", "number": 2**53, "Ünï": ["cödé", None]}
    example.memory("put", "demo", "note/1", json.dumps(value), "--tag", "kept")
    uid = example.get("pod/my-cluster-memory-0")["metadata"]["uid"]
    example.kubectl("delete", "pod", "my-cluster-memory-0")

    def read_again() -> bool:
        assert example.get("pod/my-cluster-memory-0")["metadata"]["uid"] != uid
        found = example.memory("get", "demo", "note/1")
        return found["value"] == value and found["tags"] == ["kept"]

    eventually(read_again)


def test_a_changed_setting_reaches_the_service_and_keeps_the_data(example):
    example.memory("put", "demo", "k", "1")
    patch = json.dumps({"spec": {"memory": {"sqliteConfig": {"cacheSize": 77, "enableWAL": False}}}})
    example.kubectl("patch", "swarmcluster/my-cluster", "--type=merge", "-p", patch)

    def applied() -> bool:
        settings = example.memory("stats")["settings"]
        return (settings["cache_size"], settings["enable_wal"]) == (77, False)

    eventually(applied)
    assert example.memory("get", "demo", "k")["value"] == 1


RETAIN = '{"spec": {"memory": {"deletionPolicy": "Retain"}}}'


def test_deleting_the_cluster_removes_all_that_it_owned_and_a_new_one_has_its_memory(space):
    space.apply_example()
    space.kubectl("patch", "swarmcluster/my-cluster", "--type=merge", "-p", RETAIN)
    space.start_agent()
    space.memory("put", "demo", "k", "1")
    uid = space.get("persistentvolumeclaim/my-cluster-memory-data")["metadata"]["uid"]
    space.kubectl("delete", "swarmcluster/my-cluster")

    def gone() -> bool:
        left = space.kubectl("get", f"swarmmemorystores,{CHILDREN}", "-o", "name").split()
        return not [name for name in left if "my-cluster" in name]

    eventually(gone, seconds=120)
    space.apply_example()
    assert space.get("persistentvolumeclaim/my-cluster-memory-data")["metadata"]["uid"] == uid
    space.kubectl("delete", "pod", "agent")  # its token is that of the store before
    space.start_agent()
    assert space.memory("get", "demo", "k")["value"] == 1


WRITER = """
import asyncio, itertools, sys
from pathlib import Path
from swarm_operator.memory.client import MemoryClient, MemoryClientError

async def write(memory, writer):
    for number in itertools.count():
        try:
            await memory.put("acked", f"{writer}-{number}", {"writer": writer, "number": number})
        except MemoryClientError:
            await asyncio.sleep(0.1)  # not acknowledged: no guarantee
        else:
            print(f"{writer}-{number}", flush=True)
        await asyncio.sleep(0.01)

async def main():
    token = Path("/etc/swarm-memory/tokens/client-token")
    async with MemoryClient("http://my-cluster-memory:8080", token_file=token, timeout=3, retries=0) as memory:
        tasks = [asyncio.create_task(write(memory, writer)) for writer in range(8)]
        await asyncio.to_thread(sys.stdin.read)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

asyncio.run(main())
"""

READER = """
import asyncio, sys
from pathlib import Path
from swarm_operator.memory.client import MemoryClient

async def main():
    token = Path("/etc/swarm-memory/tokens/client-token")
    async with MemoryClient("http://my-cluster-memory:8080", token_file=token, retries=10) as memory:
        async for entry in memory.iterate("acked", page=1000):
            assert entry.key == f"{entry.value['writer']}-{entry.value['number']}", entry
            print(entry.key)

asyncio.run(main())
"""


@pytest.mark.usefixtures("operator_alone")
def test_nothing_acknowledged_is_lost_when_memory_and_operator_are_killed_under_load(space):
    """kill -9 at random moments: the memory's process, the operator's, while agents write and a store is made."""
    rng = random.Random(1971)
    space.apply_example()
    space.start_agent()
    command = ["kubectl", "--context", CONTEXT, "-n", space.name, "exec", "-i", "agent", "--", "python3", "-c", WRITER]
    acknowledged: list[str] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writer:
        reading = threading.Thread(
            target=lambda: acknowledged.extend(line.strip() for line in writer.stdout), daemon=True
        )
        reading.start()
        try:
            for number in range(3):
                before = len(acknowledged)
                eventually(lambda before=before: len(acknowledged) > before + 20)
                time.sleep(rng.uniform(0.0, 1.0))  # the moment of the kill is what is random here
                kill_9(space.get("pod/my-cluster-memory-0"))
                if number % 2 == 0:
                    space.kubectl("apply", "-f", "-", stdin=SECOND_STORE)
                    time.sleep(rng.uniform(0.0, 0.3))
                    eventually(kill_operator)
                eventually(lambda: space.get("pod/my-cluster-memory-0")["status"]["containerStatuses"][0]["ready"])
            before = len(acknowledged)
            eventually(lambda: len(acknowledged) > before + 20)
        finally:
            writer.stdin.close()
            reading.join(30)
    stored = set(space.kubectl("exec", "agent", "--", "python3", "-c", READER).split())
    assert len(acknowledged) > 100
    assert set(acknowledged) <= stored
    space.kubectl("wait", "--for=condition=Ready", "swarmmemorystore/second", "--timeout=180s")
    space.kubectl("wait", "--for=condition=Ready", "swarmmemorystore/my-cluster-memory", "--timeout=180s")
    kubectl("-n", SYSTEM, "rollout", "status", "deployment/swarm-operator-controller-manager", "--timeout=180s")


SECOND_STORE = """
apiVersion: swarm.claudeflow.io/v1alpha1
kind: SwarmMemoryStore
metadata:
  name: second
spec:
  storageSize: 1Gi
"""
