"""A swarm from one resource: its agents work through tasks while they are killed and their number changes."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import yaml
from e2e.cluster import TOP, eventually

pytestmark = pytest.mark.timeout(420)

TASKS = 200
LEASE = "3s"
# It takes a while, so that agents are killed and scaled away with a task in their hands.
WORK = "sh -c 'cat >/dev/null; sleep 0.2; echo $AGENT_ID of $SWARM_PEERS'"

CREATE = f"""
from pathlib import Path
from swarm_operator.memory.client import SyncMemoryClient
token = Path("/etc/swarm-memory/tokens/client-token")
with SyncMemoryClient("http://my-cluster-memory:8080", token_file=token) as memory:
    for number in range({TASKS}):
        memory.tasks.create(id=f"t{{number:03}}", description=f"Say what number {{number}} is")
"""
STATS = """
import json
from pathlib import Path
from swarm_operator.memory.client import SyncMemoryClient
token = Path("/etc/swarm-memory/tokens/client-token")
with SyncMemoryClient("http://my-cluster-memory:8080", token_file=token) as memory:
    print(json.dumps(memory.swarm.stats()))
"""


def manifest() -> dict[str, Any]:
    """The example, with work that takes a while, a short lease, and nothing that is kept at the end."""
    cluster = yaml.safe_load((TOP / "examples/swarm-with-agents.yaml").read_text())
    cluster["spec"]["agentTemplate"] |= {
        "args": ["agent", "--exec", WORK, "--lease", LEASE],
        "terminationGracePeriod": "10s",
    }
    cluster["spec"]["memory"]["deletionPolicy"] = "Delete"
    return cluster


def status(space) -> dict[str, Any]:
    return space.get("swarmcluster/my-cluster")["status"]


def python(space, program: str) -> str:
    return space.kubectl("exec", "agent", "--", "python3", "-c", program)


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_tasks_are_done_once_each_while_agents_are_killed_and_their_number_changes(space):
    chance = random.Random(17)
    space.kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest()))
    space.kubectl("wait", "--for=condition=Ready", "swarmcluster/my-cluster", "--timeout=180s")
    assert (status(space)["readyAgents"], status(space)["totalAgents"]) == (3, 3)
    space.start_agent()
    names = [f"my-cluster-agent-{number}" for number in range(3)]

    def registered() -> bool:
        return [agent["id"] for agent in lines(space.kubectl("exec", "agent", "--", "swarm-memory", "agents"))] == names

    eventually(registered)
    python(space, CREATE)
    scaled = {TASKS // 5: 5, TASKS // 2: 2}

    def finished() -> bool:
        done = json.loads(python(space, STATS))["tasks"]["completed"]
        for number in [number for number in scaled if done >= number]:
            space.kubectl("scale", "swarmcluster/my-cluster", f"--replicas={scaled.pop(number)}")
        if done < TASKS * 4 // 5:
            victim = f"pod/my-cluster-agent-{chance.randrange(3)}"
            space.kubectl("delete", victim, "--force", "--grace-period=0", "--ignore-not-found", "--wait=false")
        return done == TASKS and not scaled

    eventually(finished, seconds=180)
    tasks = lines(space.kubectl("exec", "agent", "--", "swarm-memory", "tasks"))
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
    peers = space.kubectl("exec", "my-cluster-agent-0", "--", "cat", "/etc/swarm/mcp.json")
    assert json.loads(peers)["mcpServers"]["swarm-memory"]["url"].endswith("/mcp")
    space.kubectl("delete", "swarmcluster/my-cluster", "--wait=false")

    def gone() -> bool:
        kinds = "swarmclusters,swarmmemorystores,swarmmemorybackups,all,configmaps,secrets,serviceaccounts,pvc,hpa"
        left = space.kubectl("get", kinds, "-o", "name").split()
        assert [name for name in left if "my-cluster" in name] == []
        return True

    eventually(gone, seconds=120)
