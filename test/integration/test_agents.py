"""The agents of a SwarmCluster against a real API server: scaled as users and autoscalers do it."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from support.controlplane import TOP
from support.page_runs import to_run
from support.pages import Command
from support.shell import answers, checkout

from swarm_operator.controllers.common import kinds

CLUSTER, SET, HPA = kinds.SWARM_CLUSTER, kinds.STATEFUL_SET, kinds.HORIZONTAL_POD_AUTOSCALER
METRIC = {
    "type": "External",
    "external": {"metric": {"name": "work"}, "target": {"type": "AverageValue", "averageValue": "0.5"}},
}


@pytest.fixture
def swarm(objects, eventually):
    """Apply a SwarmCluster whose memory serves, and return its StatefulSet."""

    async def make(**spec):
        memory = {"enableMemoryStore": True, "size": "1Gi"}
        await objects.apply(CLUSTER, "c", {"memory": memory, "agentTemplate": {}, **spec})
        await eventually(lambda: objects.get(SET, "c-memory"))
        await objects.pretend_ready("c-memory")
        return await eventually(lambda: objects.get(SET, "c-agent"))

    return make


@pytest.fixture
def agents_are(objects):
    """Be the StatefulSet controller."""

    async def say(ready):
        generation = (await objects.get(SET, "c-agent"))["metadata"]["generation"]
        revision = {"currentRevision": "r", "updateRevision": "r", "observedGeneration": generation}
        await objects.status(SET, "c-agent", {"replicas": ready, "readyReplicas": ready, **revision})

    return say


async def test_a_swarm_is_scaled_within_its_bounds_and_no_agent_is_replaced(
    objects, control_plane, start_operator, eventually, swarm, agents_are
):
    start_operator()
    made = await swarm(agents=3, maxAgents=9, topology="ring")
    assert made["spec"]["replicas"] == 3

    async def kubectl(*arguments):
        return control_plane.kubectl_run("-n", objects.namespace, *arguments)

    async def has(replicas, *, ready):
        workload = await objects.get(SET, "c-agent")
        assert workload["spec"]["replicas"] == replicas
        assert workload["spec"]["template"] == made["spec"]["template"]
        if ready:
            await agents_are(replicas)
        status = (await objects.get(CLUSTER, "c"))["status"]
        return status["phase"] == "Ready" and status["readyAgents"] == replicas

    await eventually(lambda: has(3, ready=True))
    scaled = await kubectl("scale", "swarmcluster/c", "--replicas=5")
    assert scaled.returncode == 0, scaled.stderr
    await eventually(lambda: has(5, ready=True))
    peers = (await objects.get(kinds.CONFIG_MAP, "c-agent"))["data"]
    assert peers["c-agent-0.peers"] == "c-agent-4,c-agent-1\n"
    scale = json.loads((await kubectl("get", "swarmcluster/c", "--subresource=scale", "-o", "json")).stdout)
    selector = "app.kubernetes.io/name=swarm-agent,app.kubernetes.io/instance=c"
    assert (scale["spec"], scale["status"]) == ({"replicas": 5}, {"replicas": 5, "selector": selector})
    refused = await kubectl("scale", "swarmcluster/c", "--replicas=101")
    assert "spec.agents" in refused.stderr
    assert "100" in refused.stderr
    assert (await kubectl("scale", "swarmcluster/c", "--replicas=20")).returncode == 0
    await eventually(lambda: has(9, ready=True))
    assert "maxAgents counts" in (await objects.condition(CLUSTER, "c", "AgentsReady"))["message"]
    assert (await objects.get(CLUSTER, "c"))["spec"]["agents"] == 20, "nobody but its user writes a spec"


async def test_an_autoscaler_is_kept_as_asked_for_and_goes(
    objects, start_operator, eventually, swarm, agents_are, control_plane
):
    start_operator()
    scaling = {"enabled": True, "minAgents": 2, "maxAgents": 6, "stabilizationWindow": "1m", "metrics": [METRIC]}
    await swarm(agents=3, autoscaling=scaling)
    await agents_are(3)

    async def ready():
        return (await objects.condition(CLUSTER, "c", "Ready"))["status"] == "True"

    await eventually(ready)
    made = await objects.get(HPA, "c-agent")
    spec = made["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 6)
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 60
    assert spec["metrics"][0]["external"]["target"]["averageValue"] == "500m"
    # What the HPA controller does, by the subresource that the autoscaler names.
    scaled = control_plane.kubectl_run("-n", objects.namespace, "scale", "swarmcluster/c", "--replicas=4")
    assert scaled.returncode == 0, scaled.stderr

    async def followed():
        return (await objects.get(SET, "c-agent"))["spec"]["replicas"] == 4

    await eventually(followed)
    assert (await objects.get(HPA, "c-agent"))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    await objects.client.merge(
        CLUSTER, objects.namespace, "c", {"spec": {"autoscaling": {"enabled": False}}}, field_manager="kubectl"
    )
    await eventually(lambda: objects.missing(HPA, "c-agent"))
    assert await followed()


async def test_agents_end_with_their_template_and_the_memory_stays(objects, start_operator, eventually, swarm):
    start_operator()
    await swarm(agents=2)
    await objects.client.merge(
        CLUSTER, objects.namespace, "c", {"spec": {"agentTemplate": None}}, field_manager="kubectl"
    )
    for kind in (SET, kinds.CONFIG_MAP, kinds.SERVICE):
        await eventually(lambda kind=kind: objects.missing(kind, "c-agent"))
    assert not await objects.missing(SET, "c-memory")


EXAMPLES = {
    "topology-mesh": "swarm-mesh-agent-0,swarm-mesh-agent-2,swarm-mesh-agent-3,swarm-mesh-agent-4",
    "topology-ring": "swarm-ring-agent-0,swarm-ring-agent-2",
    "topology-star": "swarm-star-agent-0",
    "topology-hierarchical": "swarm-hierarchical-agent-0",
    "swarm-with-agents": "my-cluster-agent-0,my-cluster-agent-2,my-cluster-agent-3,my-cluster-agent-4",
}


async def test_the_examples_get_their_agents_and_each_agent_its_peers(
    objects, control_plane, start_operator, eventually, tmp_path
):
    start_operator()
    namespace, config = objects.namespace, tmp_path / "config"
    files = [argument for name in EXAMPLES for argument in ("-f", str(TOP / f"examples/{name}.yaml"))]
    applied = control_plane.kubectl_run("-n", namespace, "apply", *files)
    assert applied.returncode == 0, applied.stderr
    config.write_text(control_plane.kubectl_run("config", "view", "--raw").stdout)
    config.chmod(0o600)
    env = {"KUBECONFIG": str(config), "PATH": f"{control_plane.kubectl.parent}:{os.environ['PATH']}"}
    here = Command(f"kubectl config set-context --current --namespace={namespace}", "")
    *_, shown = await answers([here, *to_run("docs/agents.md", __file__)], checkout(tmp_path), **env)
    assert "mesh" in shown
    for name, peers in EXAMPLES.items():
        cluster = yaml.safe_load((TOP / f"examples/{name}.yaml").read_text())["metadata"]["name"]
        await eventually(lambda cluster=cluster: objects.get(SET, f"{cluster}-memory"))
        await objects.pretend_ready(f"{cluster}-memory")
        workload = await eventually(lambda cluster=cluster: objects.get(SET, f"{cluster}-agent"))
        assert workload["spec"]["replicas"] == 5
        found = await objects.get(kinds.CONFIG_MAP, f"{cluster}-agent")
        assert found["data"][f"{cluster}-agent-1.peers"] == f"{peers}\n"
