"""Any way to a spec ends as if the store or the cluster had been made with it, and no bad spec gets in.

After Acto (SOSP '23): specs are drawn from the schema. What is reached by changes, or by taking changes back, is
compared with a store that never was anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
from dataclasses import replace

import pytest
from fault.world import QUIET, masked
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from support import cluster_specs, specs
from support.audited import Audited
from support.budget import budget

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.cmd import manager
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.errors import BadRequestError, InvalidError

pytestmark = pytest.mark.timeout(1200)

CHILDREN = {
    kinds.SWARM_MEMORY_STORE: ("{}",),
    kinds.PERSISTENT_VOLUME_CLAIM: ("{}-data",),
    kinds.SECRET: ("{}-auth",),
    kinds.SERVICE: ("{}", "{}-headless"),
    kinds.CONFIG_MAP: ("{}-settings", "{}-identity"),
    kinds.STATEFUL_SET: ("{}",),
    kinds.NETWORK_POLICY: ("{}",),
    kinds.POD_DISRUPTION_BUDGET: ("{}",),
}

OPTIONAL = (kinds.NETWORK_POLICY, kinds.POD_DISRUPTION_BUDGET)
"""Children that a spec may do without."""

drawn = settings(
    deadline=None,
    database=None,
    # Shrinking would take minutes on a real API server; the spec is in the message.
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

_numbers = itertools.count(100)


AGENTS = (kinds.STATEFUL_SET, kinds.SERVICE, kinds.CONFIG_MAP, kinds.SERVICE_ACCOUNT, kinds.HORIZONTAL_POD_AUTOSCALER)
"""Children of a cluster's agents, which a spec may do without."""


@contextlib.asynccontextmanager
async def operator(control_plane, *namespaces):
    options = manager.parse(["--watch-namespaces", ",".join(namespaces), "--operator-namespace", namespaces[0], *QUIET])
    async with Audited(await load_config(control_plane.kubeconfig("operator"))) as client:
        running = asyncio.create_task(manager.assemble(client, options, instance="test").run(asyncio.Event()))
        yield
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
async def _operator(control_plane, namespace):
    async with operator(control_plane, namespace):
        yield


@pytest.fixture
async def elsewhere(control_plane, admin, namespace):
    """Namespaces that allow the clusters of the test's, and an operator of all three."""
    names = f"{namespace}-swarm", f"{namespace}-hive"
    for name in names:
        metadata = {"name": name, "annotations": {labels.ALLOW_CLUSTERS_FROM: namespace}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        await admin.create(kinds.NAMESPACE, body, field_manager="user")
    async with operator(control_plane, namespace, *names):
        yield names


def without_generations(value: object) -> object:
    if isinstance(value, dict):
        return {k: without_generations(v) for k, v in value.items() if k not in {"generation", "observedGeneration"}}
    return [without_generations(part) for part in value] if isinstance(value, list) else value


async def picture(objects, name: str) -> dict[str, object]:
    found = {}
    for resource, patterns in CHILDREN.items():
        for pattern in patterns:
            if resource in OPTIONAL and await objects.missing(resource, pattern.format(name)):
                continue
            obj = await objects.get(resource, pattern.format(name))
            if resource == kinds.STATEFUL_SET:
                # A smaller cache restarts no pod: the memory for a larger one stays.
                del obj["spec"]["template"]["spec"]["containers"][0]["resources"]
            found[f"{resource.kind} {pattern}"] = without_generations(masked(obj, name))
    return found


async def become(objects, eventually, name: str, spec: dict) -> dict[str, object]:
    """Apply a spec, wait until it is carried out, and return all that belongs to the store."""
    applied = await objects.store(name, **spec)

    async def carried_out() -> bool:
        status = (await objects.get(kinds.SWARM_MEMORY_STORE, name))["status"]
        return status["observedGeneration"] == applied["metadata"]["generation"]

    await eventually(carried_out)
    ready = await objects.condition(kinds.SWARM_MEMORY_STORE, name, "Ready")
    assert ready["reason"] == "WaitingForPod", f"a spec that was accepted is not carried out: {ready['message']}"
    return await picture(objects, name)


@pytest.mark.usefixtures("_operator")
@settings(drawn, max_examples=budget(8, long=25))
@given(walk=specs.walks(longest=4))
async def test_any_way_to_a_spec_and_back_ends_as_a_fresh_store_does(objects, eventually, walk):
    number = next(_numbers)
    note(f"{walk}")
    walked, fresh, first = (f"{kind}{number}" for kind in ("walked", "fresh", "first"))
    for spec in walk:
        reached = await become(objects, eventually, walked, spec)
    assert reached == await become(objects, eventually, fresh, walk[-1])
    back = await become(objects, eventually, walked, walk[0])
    assert back == await become(objects, eventually, first, walk[0])


async def become_cluster(objects, eventually, name: str, spec: dict) -> dict[str, object]:
    """Apply a spec, wait until it is carried out, and return all that the cluster and its agents have."""
    placed = spec.get("namespaceConfig") or {
        "swarmNamespace": objects.namespace,
        "hiveMindNamespace": objects.namespace,
    }
    swarm, hive = (replace(objects, namespace=placed[at]) for at in ("swarmNamespace", "hiveMindNamespace"))
    applied = await objects.apply(kinds.SWARM_CLUSTER, name, spec)
    await eventually(lambda: swarm.get(kinds.STATEFUL_SET, f"{name}-memory"))
    secure = spec["memory"].get("tls") == {"mode": "auto"}

    async def carried_out() -> bool:
        await swarm.pretend_ready(f"{name}-memory")  # again, when it has another template
        for place, store in ((swarm, "memory"), *(((hive, "hivemind"),) if spec["hiveMind"]["enabled"] else ())):
            endpoints = (await place.get(kinds.SWARM_MEMORY_STORE, f"{name}-{store}"))["status"]["endpoints"]
            assert endpoints["http"].startswith("https://") == secure
        if "agentTemplate" in spec:
            pod = (await swarm.get(kinds.STATEFUL_SET, f"{name}-agent"))["spec"]["template"]["spec"]
            assert any(volume["name"] == "ca" for volume in pod["volumes"]) == secure
        status = (await objects.get(kinds.SWARM_CLUSTER, name))["status"]
        found = {condition["type"]: condition["reason"] for condition in status["conditions"]}
        assert found.get("AgentsReady") in ({"WaitingForAgents", "Available"} if "agentTemplate" in spec else {None})
        assert found["HiveMindReady"] == ("WaitingForPod" if spec["hiveMind"]["enabled"] else "Disabled")
        assert found["MemoryReady"] == "Available"
        return status["observedGeneration"] == applied["metadata"]["generation"]

    await eventually(carried_out)
    found = {"cluster": await objects.get(kinds.SWARM_CLUSTER, name)}
    for resource in AGENTS:
        place = objects if resource == kinds.HORIZONTAL_POD_AUTOSCALER else swarm
        if not await place.missing(resource, f"{name}-agent"):
            found[resource.kind] = await place.get(resource, f"{name}-agent")
    for place, suffix in ((swarm, "memory"), (hive, "hivemind")):
        if not await place.missing(kinds.SWARM_MEMORY_STORE, f"{name}-{suffix}"):
            found[suffix] = (await place.get(kinds.SWARM_MEMORY_STORE, f"{name}-{suffix}"))["spec"]
    # Files of the ConfigMap are named after the agents, and these after the cluster.
    nameless = json.loads(json.dumps(found).replace(name, "NAME"))
    return {part: without_generations(masked(obj, "NAME")) for part, obj in nameless.items()}


@settings(drawn, max_examples=budget(3, long=8))
@given(data=st.data())
async def test_any_way_to_a_cluster_s_spec_ends_as_a_fresh_cluster_does(objects, eventually, elsewhere, data):
    walk = data.draw(cluster_specs.walks(*elsewhere, longest=3))
    number = next(_numbers)
    note(f"{walk}")
    for spec in walk:
        reached = await become_cluster(objects, eventually, f"walked{number}", spec)
    assert reached == await become_cluster(objects, eventually, f"fresh{number}", walk[-1])


async def dry_run(objects, spec: dict) -> None:
    body = {
        "apiVersion": kinds.SWARM_MEMORY_STORE.api_version,
        "kind": kinds.SWARM_MEMORY_STORE.kind,
        "metadata": {"name": "drawn", "namespace": objects.namespace},
        "spec": spec,
    }
    path = kinds.SWARM_MEMORY_STORE.path(namespace=objects.namespace)
    await objects.client.request("POST", path, query={"dryRun": "All", "fieldValidation": "Strict"}, body=body)


@settings(drawn, max_examples=budget(100, long=300))
@given(case=specs.bad())
async def test_every_bad_spec_is_refused_with_the_name_of_the_field(objects, case):
    field, spec = case
    note(f"{field}: {spec[field]!r}")
    with pytest.raises((InvalidError, BadRequestError), match=f"spec.{field}"):
        await dry_run(objects, spec)


@settings(drawn, max_examples=budget(50, long=150))
@given(spec=specs.good())
async def test_every_good_spec_is_accepted_and_so_does_the_model(objects, spec):
    await dry_run(objects, spec)
    SwarmMemoryStore.model_validate({"metadata": {"name": "drawn"}, "spec": spec})
