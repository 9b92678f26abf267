"""Agents reach what is of their own swarm, and nothing of another one."""

import pytest

from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster.agents.network_policy import network_policy as of_agents
from swarm_operator.controllers.swarmcluster.agents.statefulset import stateful_set
from swarm_operator.controllers.swarmcluster.hive_mind import hive_mind
from swarm_operator.controllers.swarmcluster.memory_store import memory_store
from swarm_operator.controllers.swarmmemorystore import network_policy
from swarm_operator.controllers.swarmmemorystore.network import GRPC_PORT, HTTP_PORT

from .conftest import AGENTS_KEY

HIVE = {"enabled": True}
ELSEWHERE = {"swarmNamespace": "agents", "hiveMindNamespace": "minds"}


def selects(selector, labels):
    """What Kubernetes makes of a selector, as far as it is used here."""
    if not selector.get("matchLabels", {}).items() <= labels.items():
        return False
    for each in selector.get("matchExpressions", []):
        assert each["operator"] == "NotIn"
        if labels.get(each["key"]) in each["values"]:
            return False
    return True


def lets_in(policy, pod, namespace, port=HTTP_PORT):
    own = policy["metadata"].get("namespace", "ns")
    for rule in policy["spec"]["ingress"]:
        if port not in [each["port"] for each in rule.get("ports", [{"port": port}])]:
            continue
        for peer in rule["from"]:
            home = peer.get("namespaceSelector", {"matchLabels": {"kubernetes.io/metadata.name": own}})
            labels = {"kubernetes.io/metadata.name": namespace}
            if selects(home, labels) and selects(peer.get("podSelector", {}), pod):
                return True
    return False


@pytest.fixture
def named(agents_object):
    """A swarm of this name."""

    def make(name, **spec):
        obj = agents_object(**spec)
        obj["metadata"] |= {"name": name, "uid": f"uid-{name}"}
        return SwarmCluster.model_validate(obj)

    return make


def pod_of(cluster):
    """Labels of an agent of a swarm."""
    store = SwarmMemoryStore.model_validate(memory_store(cluster))
    made = stateful_set(cluster, cluster.spec.agent_template, store, image="i", scaled_at="then", own_tokens=True)
    return made["spec"]["template"]["metadata"]["labels"]


def policy_of(store):
    found = network_policy.network_policy(SwarmMemoryStore.model_validate(store), "operators")
    found["metadata"]["namespace"] = store["metadata"]["namespace"]
    return found


@pytest.mark.parametrize("port", [HTTP_PORT, GRPC_PORT])
def test_a_memory_lets_in_its_own_agents_and_no_others(named, port):
    one, other = named("one"), named("other")
    policy = policy_of(memory_store(one))
    assert lets_in(policy, pod_of(one), "ns", port)
    assert not lets_in(policy, pod_of(other), "ns", port)
    assert lets_in(policy, {"app": "mine"}, "ns", port), "pods that are no agents"
    assert not lets_in(policy, pod_of(one), "far", port)
    assert not lets_in(policy, {"app": "mine"}, "far", port)


def test_a_store_of_no_swarm_lets_in_no_swarm_s_agents(named, store):
    found = network_policy.network_policy(store(), "")
    assert not lets_in(found, pod_of(named("one")), "ns")
    assert lets_in(found, {}, "ns")


@pytest.mark.parametrize(
    ("config", "agents", "mind"), [({}, "ns", "ns"), ({"namespaceConfig": ELSEWHERE}, "agents", "minds")]
)
def test_a_hive_mind_lets_in_its_own_agents_and_no_others(named, config, agents, mind):
    one, other = named("one", hiveMind=HIVE, **config), named("other", hiveMind=HIVE, **config)
    policy = policy_of(hive_mind(one))
    assert policy["metadata"]["namespace"] == mind
    assert lets_in(policy, pod_of(one), agents)
    assert not lets_in(policy, pod_of(other), agents)
    assert lets_in(policy, {}, mind)
    assert lets_in(policy, {}, agents) is (agents == mind)


def test_agents_let_in_agents_of_the_same_swarm_only(named):
    one, other = named("one"), named("other")
    policy = of_agents(one, namespace="ns")
    assert selects(policy["spec"]["podSelector"], pod_of(one))
    assert not selects(policy["spec"]["podSelector"], pod_of(other))
    assert policy["spec"]["policyTypes"] == ["Ingress"], "what they send is not limited"
    assert lets_in(policy, pod_of(one), "ns")
    for pod, namespace in ((pod_of(other), "ns"), ({}, "ns"), (pod_of(one), "far")):
        assert not lets_in(policy, pod, namespace)


async def test_the_policy_is_made_and_goes_with_the_agents(run, memory_serves, agents_object, client):
    await memory_serves()
    await run()
    assert (kinds.NETWORK_POLICY, AGENTS_KEY) in client.objects
    obj = agents_object(generation=2)
    del obj["spec"]["agentTemplate"]
    await run(obj)
    assert (kinds.NETWORK_POLICY, AGENTS_KEY) not in client.objects
