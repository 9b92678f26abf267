"""A swarm from one resource, in namespaces that are made for it, with a hive mind and its queen.

Its agents work through tasks while they are killed and their number changes, and nothing is left of it in the end.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import yaml
from e2e.cluster import TOP, eventually, kill_9, kubectl
from e2e.space import Space

pytestmark = pytest.mark.timeout(900)

TASKS = 200
LEASE = "3s"
# It takes a while, so that agents are killed and scaled away with a task in their hands.
WORK = "sh -c 'cat >/dev/null; sleep 0.2; echo $AGENT_ID of $SWARM_PEERS'"
TOKEN = "/etc/swarm-memory/tokens/client-token"

CREATE = f"""
from pathlib import Path
from swarm_operator.memory.client import SyncMemoryClient
with SyncMemoryClient("http://127.0.0.1:8080", token_file=Path("{TOKEN}")) as memory:
    for number in range({TASKS}):
        memory.tasks.create(id=f"t{{number:03}}", description=f"Say what number {{number}} is")
"""
STATS = f"""
import json
from pathlib import Path
from swarm_operator.memory.client import SyncMemoryClient
with SyncMemoryClient("http://127.0.0.1:8080", token_file=Path("{TOKEN}")) as memory:
    print(json.dumps(memory.swarm.stats()))
"""


def manifest(swarm: Space, hive: Space) -> dict[str, Any]:
    """The example, with work that takes a while, short leases, its own namespaces, and nothing that is kept."""
    cluster = yaml.safe_load((TOP / "examples/swarm-with-agents.yaml").read_text())
    cluster["spec"]["agentTemplate"] |= {
        "args": ["agent", "--exec", WORK, "--lease", LEASE, "--queen-lease", LEASE],
        "terminationGracePeriod": "10s",
    }
    cluster["spec"]["memory"]["deletionPolicy"] = "Delete"
    cluster["spec"]["autoscaling"] = {"enabled": True, "minAgents": 1, "maxAgents": 5}
    cluster["spec"]["hiveMind"] = {"enabled": True, "databaseSize": "1Gi"}
    cluster["spec"]["namespaceConfig"] = {"swarmNamespace": swarm.name, "hiveMindNamespace": hive.name}
    return cluster


def status(space) -> dict[str, Any]:
    return space.get("swarmcluster/my-cluster")["status"]


def memory(where: Space, store: str, *command: str) -> str:
    """Run a program in a store's pod."""
    return where.kubectl("exec", f"my-cluster-{store}-0", "--", *command)


def records(where: Space, store: str, *command: str) -> list[dict[str, Any]]:
    """What a command of the memory's command line prints."""
    return lines(memory(where, store, "swarm-memory", *command, "--token-file", TOKEN))


def kill(swarm: Space, agent: str) -> None:
    swarm.kubectl("delete", f"pod/{agent}", "--force", "--grace-period=0", "--ignore-not-found", "--wait=false")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def queen_follows_queen(swarm: Space, hive: Space, names: list[str]) -> None:
    """Kill the queen, and her next processes, until another agent is queen. She has no time to give her lease back."""

    def queen() -> dict[str, Any]:
        (lease,) = records(hive, "hivemind", "lease", "get", "queen")
        assert lease["held"]
        assert lease["holder"] in names
        return lease

    first = eventually(queen)

    def followed() -> dict[str, Any] | None:
        lease = queen()
        if lease["holder"] != first["holder"]:
            return lease
        kill_9(swarm.get(f"pod/{first['holder']}"))
        return None

    second = eventually(followed)
    assert second["term"] > first["term"]
    assert second["claimedAt"] >= first["leaseExpiresAt"], "two were queen at a time"


def autoscaler_reads_the_scale(space: Space) -> bool:
    """Kubernetes' own controller can scale the swarm. There is no metrics server here, which it says."""
    conditions = space.get("hpa/my-cluster-agent")["status"]["conditions"]
    found = {condition["type"]: (condition["status"], condition["reason"]) for condition in conditions}
    assert found["AbleToScale"] == ("True", "SucceededGetScale")
    assert found["ScalingActive"] == ("False", "FailedGetResourceMetric")
    return True


def test_a_swarm_is_made_works_loses_agents_and_its_queen_is_scaled_and_leaves_nothing(space):
    chance = random.Random(17)
    swarm, hive = Space(f"{space.name}-swarm"), Space(f"{space.name}-hive")
    space.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest(swarm, hive)))
    space.kubectl("wait", "--for=condition=Ready", "swarmcluster/my-cluster", "--timeout=180s")
    assert (status(space)["readyAgents"], status(space)["totalAgents"]) == (3, 3)
    assert status(space)["hiveMindStatus"]["available"]
    names = [f"my-cluster-agent-{number}" for number in range(3)]

    def registered() -> bool:
        assert [agent["id"] for agent in records(swarm, "memory", "agents")] == names
        return True

    eventually(registered)
    queen_follows_queen(swarm, hive, names)
    memory(swarm, "memory", "python3", "-c", CREATE)
    scaled = {TASKS // 5: 5, TASKS // 2: 2}

    def finished() -> bool:
        done = json.loads(memory(swarm, "memory", "python3", "-c", STATS))["tasks"]["completed"]
        for number in [number for number in scaled if done >= number]:
            space.kubectl("scale", "swarmcluster/my-cluster", f"--replicas={scaled.pop(number)}")
        if done < TASKS * 4 // 5:
            kill(swarm, f"my-cluster-agent-{chance.randrange(3)}")
        return done == TASKS and not scaled

    eventually(finished, seconds=180)
    tasks = records(swarm, "memory", "tasks")
    assert len(tasks) == TASKS
    for task in tasks:
        assert [event["status"] for event in task["history"]].count("completed") == 1, task
        assert task["claimedBy"] in task["result"]
    assert {task["claimedBy"] for task in tasks} >= {*names[:2]}

    def settled() -> bool:
        found = status(space)
        assert [c["status"] for c in found["conditions"] if c["type"] in {"Ready", "AgentsReady"}] == ["True", "True"]
        return (found["readyAgents"], found["totalAgents"]) == (2, 2)

    eventually(settled, seconds=120)
    eventually(lambda: autoscaler_reads_the_scale(space))
    peers = swarm.kubectl("exec", "my-cluster-agent-0", "--", "cat", "/etc/swarm/mcp.json")
    assert json.loads(peers)["mcpServers"]["swarm-memory"]["url"].endswith("/mcp")
    space.kubectl("delete", "swarmcluster/my-cluster", "--wait=false")

    def gone() -> bool:
        assert space.kubectl("get", "swarmclusters", "-o", "name") == ""
        namespaces = kubectl("get", "namespaces", "-o", "name").split()
        # With a namespace everything in it is gone.
        assert [name for name in namespaces if name.startswith(f"namespace/{space.name}-")] == []
        kinds = "swarmmemorystores,swarmmemorybackups,all,configmaps,secrets,serviceaccounts,pvc,hpa,netpol,pdb"
        assert [name for name in space.kubectl("get", kinds, "-o", "name").split() if "my-cluster" in name] == []
        return True

    eventually(gone, seconds=120)
