"""A real Prometheus server scrapes the operator and the memory service."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from e2e.cluster import TOP, eventually, kubectl, run

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def prometheus(space):
    run(TOP / "hack/kind/cluster.sh", "load", "swarm-e2e-prometheus:dev")
    space.kubectl("apply", "-f", "test/e2e/prometheus/manifests.yaml")
    binding = f"{space.name}-prometheus"
    kubectl(
        *("create", "clusterrolebinding", binding, "--clusterrole=swarm-operator-metrics-reader"),
        f"--serviceaccount={space.name}:prometheus",
    )
    space.kubectl("wait", "--for=condition=Ready", "pod/prometheus", "--timeout=120s")

    def query(text: str) -> list[dict]:
        path = f"/api/v1/namespaces/{space.name}/pods/prometheus:9090/proxy/api/v1/query?query={quote(text)}"
        answer = json.loads(kubectl("get", "--raw", path))
        assert answer["status"] == "success"
        return list(answer["data"]["result"])

    yield query
    kubectl("delete", "clusterrolebinding", binding)


@pytest.mark.usefixtures("operator_alone")
def test_prometheus_knows_the_reconciles_and_the_entries(space, prometheus):
    space.apply_example()
    space.start_agent()
    space.memory("put", "demo", "a", "1")
    space.memory("put", "demo", "b", "2")

    def entries() -> bool:
        found = prometheus("swarm_memory_entries_total")
        return bool(found) and found[0]["value"][1] == "2"

    eventually(entries)

    def reconciled() -> bool:
        # A ready store is looked at again after a while, which controller-runtime counts as requeue_after; a pass
        # over one that is gone, or on its way out, is a plain success.
        by_result = 'controller_runtime_reconcile_total{{controller="swarmmemorystore",result="{}"}}'
        again = prometheus(by_result.format("requeue_after"))
        success = prometheus(by_result.format("success"))
        assert success
        return float(again[0]["value"][1]) > 0

    eventually(reconciled)
