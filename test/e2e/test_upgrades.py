"""Stores get another image while clients write: one after the other, and back again from one that never gets ready."""

from __future__ import annotations

import itertools
import json
import os
import sys
from datetime import datetime
from typing import Any

import pytest
import yaml
from e2e.cluster import NODE, TOP, eventually, run
from e2e.test_downtime import closed_node, putting  # noqa: F401 - a fixture

STORES = tuple(f"s{number}" for number in range(int(os.environ.get("UPGRADED_STORES", "3"))))
"""With UPGRADED_STORES=20 this takes minutes: for a run by hand."""
pytestmark = pytest.mark.timeout(240 + 120 * len(STORES))

IMAGE = "docker.io/library/swarm-memory"
BROKEN = """
import swarm_operator.memory.service.readiness as readiness
import swarm_operator.memory.sqlite.database.schema as schema

schema._MIGRATIONS += (("UPDATE entries SET value = x'5b5d', size = 2",),)
schema.LATEST += 1
readiness.unready = lambda store: "this release never gets ready"
"""
"""sitecustomize.py of a release that changes the schema, and never gets ready."""

LOOPS = """
import asyncio, json, sys, time
from pathlib import Path
from swarm_operator.memory.client import MemoryClient, MemoryClientError

async def put_every_50_ms(store):
    token = Path("/tokens", store, "client-token")
    async with MemoryClient(f"http://{store}:8080", token_file=token, retry_for=300) as memory:
        last = time.monotonic()
        for number in range(10**9):
            told = {"loop": store, "number": number, "error": None}
            try:
                await memory.put("upgrade", "number", number)
            except MemoryClientError as error:
                told["error"] = str(error)
            else:
                now = time.monotonic()
                told["without"], last = now - last, now
            print(json.dumps(told), flush=True)
            await asyncio.sleep(0.05)

async def main():
    loops = [asyncio.create_task(put_every_50_ms(store)) for store in sys.argv[1:]]
    await asyncio.to_thread(sys.stdin.read)
    for loop in loops:
        loop.cancel()
    await asyncio.gather(*loops, return_exceptions=True)

asyncio.run(main())
"""
"""A loop of PUTs for each store, whose client tries again for as long as a starved machine needs to start a pod."""

READ = """
import json, sys
from pathlib import Path
from swarm_operator.memory.client import SyncMemoryClient

store = sys.argv[1]
with SyncMemoryClient(f"http://{store}:8080", token_file=Path("/tokens", store, "client-token")) as memory:
    print(json.dumps(memory.get("upgrade", "number").value))
"""


def store(name: str) -> dict[str, Any]:
    kind = {"apiVersion": "swarm.claudeflow.io/v1alpha1", "kind": "SwarmMemoryStore", "metadata": {"name": name}}
    return {**kind, "spec": {"storageSize": "1Gi", "deletionPolicy": "Delete"}}


def writer() -> dict[str, Any]:
    """Return the pod of examples/agent.yaml with the tokens of all stores."""
    pod: dict[str, Any] = yaml.safe_load((TOP / "examples/agent.yaml").read_text())
    secrets = {name: {"secretName": f"{name}-auth", "defaultMode": 0o440} for name in STORES}
    pod["spec"]["volumes"] = [{"name": name, "secret": secret} for name, secret in secrets.items()]
    mounts = [{"name": name, "mountPath": f"/tokens/{name}", "readOnly": True} for name in STORES]
    pod["spec"]["containers"][0]["volumeMounts"] = mounts
    return pod


def patch(space, name: str, **spec: Any) -> None:
    space.kubectl("patch", f"swarmmemorystore/{name}", "--type=merge", "-p", json.dumps({"spec": spec}))


def condition(found: dict[str, Any], kind: str) -> dict[str, Any]:
    return next((each for each in found["status"]["conditions"] if each["type"] == kind), {})


def ready_at(pod: dict[str, Any]) -> datetime:
    ready = condition(pod, "Ready")
    assert ready["status"] == "True"
    return datetime.fromisoformat(ready["lastTransitionTime"])


@pytest.fixture
def released(deployment) -> None:
    """Two more tags of the image in the node: what is upgraded to."""
    for tag in ("next", "broken"):
        run("docker", "exec", NODE, "ctr", "-n", "k8s.io", "images", "tag", "--force", f"{IMAGE}:dev", f"{IMAGE}:{tag}")


@pytest.mark.usefixtures("operator_alone", "closed_node", "released")
def test_writers_see_one_interruption_and_a_release_that_never_gets_ready_loses_nothing(space, capsys):
    bodies = [*map(store, STORES), writer()]
    for body in bodies:
        space.kubectl("apply", "-f", "-", stdin=json.dumps(body))
    stores = [f"swarmmemorystore/{name}" for name in STORES]
    space.kubectl(
        "wait",
        "--for=condition=Ready",
        *stores,
        "pod/agent",
        f"--timeout={60 * len(STORES)}s",
        timeout=60 * len(STORES) + 60,
    )
    before = {name: space.get(f"pod/{name}-0")["metadata"]["uid"] for name in STORES}
    with putting(space, LOOPS, *STORES) as puts:

        def all_put(mark: int) -> bool:
            return all(sum(not each["error"] for each in puts.since(mark, name)) > 10 for name in STORES)

        eventually(lambda: all_put(0))
        for name in STORES:
            patch(space, name, version="next")

        def upgraded() -> list[dict[str, Any]]:
            pods = [space.get(f"pod/{name}-0") for name in STORES]
            assert all(pod["spec"]["containers"][0]["image"].endswith(":next") for pod in pods)
            return sorted(pods, key=ready_at)

        pods = eventually(upgraded, seconds=60 * len(STORES))
        mark = len(puts.told)
        eventually(lambda: all_put(mark))
        for pod, later in itertools.pairwise(pods):
            assert datetime.fromisoformat(later["metadata"]["creationTimestamp"]) >= ready_at(pod)
        assert all(pod["metadata"]["uid"] not in before.values() for pod in pods)
        assert {name: puts.errors(0, name) for name in STORES} == {name: [] for name in STORES}
        missed = {name: [round(gap, 2) for gap in puts.gaps(0, name)] for name in STORES}

        fail(space, "s0")
        mark, broken = len(puts.told), space.get("pod/s0-0")["metadata"]["uid"]
        patch(space, "s0", upgradeDeadline="1s")

        def rolled_back() -> bool:
            found = space.get("swarmmemorystore/s0")
            return condition(found, "Upgraded")["reason"] == "RolledBack" and ready_at(space.get("pod/s0-0"))

        eventually(rolled_back, seconds=180)
        returned = len(puts.told)
        eventually(lambda: all_put(returned), seconds=90)
        back = round(puts.longest(mark, "s0"), 2)
    pod = space.get("pod/s0-0")
    assert pod["metadata"]["uid"] != broken
    assert pod["spec"]["containers"][0]["image"].endswith(":next")
    assert "database of before an upgrade put back" in space.kubectl("logs", "s0-0")
    # A write whose answer was not waited for may be there, too.
    acknowledged = max(each["number"] for each in puts.since(0, "s0") if not each["error"])
    assert json.loads(space.kubectl("exec", "agent", "--", "python3", "-c", READ, "s0")) >= acknowledged
    assert not any(puts.errors(0, name) for name in STORES[1:])
    with capsys.disabled():
        sys.stdout.write(f"\nupgrades: seconds without a PUT, of 1 and more: {missed}; until rolled back: {back}\n")


def fail(space, name: str) -> None:
    """Upgrade a store to a release that changes the schema and never gets ready; return when it has refused a write."""
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "broken"},
        "data": {"sitecustomize.py": BROKEN},
    }
    space.kubectl("apply", "-f", "-", stdin=json.dumps(config))
    container = {
        "name": "memory",
        "env": [{"name": "PYTHONPATH", "value": "/broken"}],
        "volumeMounts": [{"name": "broken", "mountPath": "/broken", "readOnly": True}],
    }
    volumes = [{"name": "broken", "configMap": {"name": "broken"}}]
    patch(space, name, version="broken", podTemplate={"spec": {"containers": [container], "volumes": volumes}})

    def serves() -> bool:
        return "writes wait for readiness" in space.kubectl("logs", f"{name}-0") and (
            '"event":"serving"' in space.kubectl("logs", f"{name}-0").replace(" ", "")
        )

    eventually(serves, seconds=120)
