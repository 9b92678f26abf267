"""Who may reach the pod of a store."""

import pytest

from swarm_operator.api.v1alpha1.backups import BackupDestination
from swarm_operator.controllers.common import confinement, kinds
from swarm_operator.controllers.swarmmemorystore.backups.source import Source
from swarm_operator.controllers.swarmmemorystore.network import GRPC_PORT, HTTP_PORT, METRICS_PORT
from swarm_operator.controllers.swarmmemorystore.network_policy import network_policy
from swarm_operator.controllers.swarmmemorystore.workload.restore_job import restore_job
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import stateful_set
from swarm_operator.runtime.resource import Key

KEY = Key("ns", "bees")
NO_AGENTS = confinement.no_agents()
OPERATOR = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "operators"}}}


def rules(store, namespace="operators"):
    """The peers of each port; None for everybody."""
    found = {}
    for rule in network_policy(store, namespace)["spec"]["ingress"]:
        for port in rule["ports"]:
            assert port["protocol"] == "TCP"
            found.setdefault(port["port"], []).extend(rule.get("from") or [None])
    return found


def test_by_default_the_namespace_and_the_operator_are_let_in_and_everybody_reads_metrics(store):
    found = rules(store())
    assert found.keys() == {HTTP_PORT, GRPC_PORT, METRICS_PORT}
    (jobs,) = [peer for peer in found[HTTP_PORT] if peer not in (NO_AGENTS, OPERATOR)]
    assert jobs.keys() == {"podSelector"}
    assert OPERATOR in found[HTTP_PORT]
    assert NO_AGENTS in found[HTTP_PORT]
    assert found[GRPC_PORT] == [NO_AGENTS]
    assert found[METRICS_PORT] == [None]


def test_it_is_about_the_pod_that_serves_and_lets_in_the_store_s_own_jobs(store):
    policy = network_policy(store(), "")
    pod = stateful_set(store(), image="i")["spec"]["template"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    assert policy["spec"]["policyTypes"] == ["Ingress"]
    served = {port["containerPort"] for port in pod["spec"]["containers"][0]["ports"]}
    assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} == served
    (own,) = policy["spec"]["ingress"][0]["from"]
    assert own["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    source = Source("file:///backups/a/b", BackupDestination(claim_name="c"))
    job = restore_job(store(), source, image="i")["spec"]["template"]["metadata"]["labels"]
    assert own["podSelector"]["matchLabels"].items() <= job.items()


def test_an_operator_outside_of_the_cluster_is_no_peer(store):
    assert OPERATOR not in rules(store(), "")[HTTP_PORT]
    assert {"namespaceSelector": {}} not in rules(store(), "")[HTTP_PORT]


def test_peers_of_the_spec_replace_the_namespace_and_not_the_operator(store):
    agents = {"podSelector": {"matchLabels": {"role": "agent"}}, "namespaceSelector": {}}
    outside = {"ipBlock": {"cidr": "10.0.0.0/16", "except": ["10.0.1.0/24"]}}
    expressions = {"podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}
    found = rules(store(networkPolicy={"from": [agents, outside], "metricsFrom": [expressions]}))
    assert found[GRPC_PORT] == [agents, outside]
    assert found[METRICS_PORT] == [expressions]
    assert NO_AGENTS not in found[HTTP_PORT]
    assert OPERATOR in found[HTTP_PORT]


def test_an_empty_list_lets_nobody_in(store):
    found = rules(store(networkPolicy={"from": [], "metricsFrom": []}))
    assert found.keys() == {HTTP_PORT}
    assert None not in found[HTTP_PORT]
    assert NO_AGENTS not in found[HTTP_PORT]


@pytest.mark.parametrize(
    ("kind", "off"),
    [
        (kinds.NETWORK_POLICY, {"networkPolicy": {"enabled": False}}),
        (kinds.POD_DISRUPTION_BUDGET, {"enableDisruptionBudget": False}),
    ],
)
async def test_it_is_made_kept_and_removed_as_the_spec_says(
    reconcile, seen, store_object, client, cache, kind, off, recorder
):
    seen(kinds.SWARM_MEMORY_STORE, store_object())
    await reconcile()
    assert (kind, KEY) in client.objects
    client.requests.clear()
    await reconcile()
    assert [request for request in client.writes() if request[1] == kind.kind] == []
    store = cache.get(kinds.SWARM_MEMORY_STORE, KEY)
    seen(kinds.SWARM_MEMORY_STORE, store | {"spec": off})
    await reconcile()
    assert (kind, KEY) not in client.objects
    assert "Deleted" in recorder.reasons
