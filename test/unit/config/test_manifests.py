"""The optional manifests select what is deployed, by the labels and ports of both programs' pods."""

import re

import pytest
import yaml
from support.pages import TOP

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import stateful_set

CONFIG = TOP / "config"


def read(path):
    return yaml.safe_load((CONFIG / path).read_text())


@pytest.fixture
def operator():
    """The pod template of the operator."""
    return read("manager/manager.yaml")["spec"]["template"]


@pytest.fixture
def memory():
    """The pod template of a memory."""
    store = SwarmMemoryStore.model_validate({"metadata": {"name": "bees", "namespace": "hive"}, "spec": {}})
    return stateful_set(store, image="i")["spec"]["template"]


def labels(template):
    return template["metadata"]["labels"].items()


def ports(template):
    return {port["name"] for container in template["spec"]["containers"] for port in container["ports"]}


def test_the_operator_s_policy_lets_scrapes_in_alone(operator):
    policy = read("network-policy/operator/policy.yaml")["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels(operator)
    (rule,) = policy["ingress"]
    assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"metrics": "enabled"}}}]
    assert {port["port"] for port in rule["ports"]} == {"metrics"} <= ports(operator)
    assert policy["policyTypes"] == ["Ingress"]


def test_the_monitors_find_both_programs(memory):
    service, monitor = read("manager/metrics_service.yaml"), read("prometheus/operator.yaml")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert (endpoint["scheme"], "bearerTokenFile" in endpoint) == ("https", True)
    monitor = read("prometheus/memories.yaml")["spec"]
    assert monitor["selector"]["matchLabels"].items() <= labels(memory)
    assert set(monitor["podTargetLabels"]) <= dict(labels(memory)).keys()
    assert {endpoint["port"] for endpoint in monitor["podMetricsEndpoints"]} <= ports(memory)


def test_the_scrape_example_finds_both_programs(memory):
    operator, memories = read("prometheus/scrape.yaml")["scrape_configs"]
    (target,) = operator["static_configs"][0]["targets"]
    name, namespace = target.split(".")[:2]
    deployed, service = read("default/kustomization.yaml"), read("manager/metrics_service.yaml")
    assert (namespace, name) == (deployed["namespace"], deployed["namePrefix"] + service["metadata"]["name"])
    (selector,) = memories["kubernetes_sd_configs"][0]["selectors"]
    assert dict(pair.split("=") for pair in selector["label"].split(",")).items() <= labels(memory)
    keep = next(rule for rule in memories["relabel_configs"] if rule.get("action") == "keep")
    assert keep["regex"] in ports(memory)
    copied = {rule["source_labels"][0] for rule in memories["relabel_configs"]}
    of_labels = {f"__meta_kubernetes_pod_label_{re.sub('[./-]', '_', name)}" for name, _ in labels(memory)}
    assert len(copied & of_labels) == 2
    assert {label for label in copied if "_pod_label_" in label} <= of_labels


def test_one_operator_can_always_be_evicted(operator):
    budget = read("manager/disruption_budget.yaml")["spec"]
    assert budget["selector"]["matchLabels"].items() <= labels(operator)
    assert budget["maxUnavailable"] == 1
    assert "minAvailable" not in budget


def test_the_operator_s_priority_is_its_own_class_and_ends_no_pods(operator):
    priority = read("manager/priority_class.yaml")
    assert operator["spec"]["priorityClassName"] == priority["metadata"]["name"]
    assert priority["preemptionPolicy"] == "Never"
    assert 0 < priority["value"] < 1_000_000_000, "more is for the system's own classes"
