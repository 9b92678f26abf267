"""Any way to a spec ends as if the store had been made with it, and no bad spec gets in.

After Acto (SOSP '23): specs are drawn from the schema. What is reached by changes, or by taking changes back, is
compared with a store that never was anything else.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest
from fault.world import QUIET, masked
from hypothesis import HealthCheck, Phase, given, note, settings
from support import specs
from support.audited import Audited

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.cmd import manager
from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.errors import BadRequestError, InvalidError

pytestmark = pytest.mark.timeout(200)

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


@pytest.fixture
async def _operator(control_plane, namespace):
    options = manager.parse(["--watch-namespaces", namespace, *QUIET])
    async with Audited(await load_config(control_plane.kubeconfig("operator"))) as client:
        running = asyncio.create_task(manager.assemble(client, options, instance="test").run(asyncio.Event()))
        yield
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


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
@settings(drawn, max_examples=25)
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


async def dry_run(objects, spec: dict) -> None:
    body = {
        "apiVersion": kinds.SWARM_MEMORY_STORE.api_version,
        "kind": kinds.SWARM_MEMORY_STORE.kind,
        "metadata": {"name": "drawn", "namespace": objects.namespace},
        "spec": spec,
    }
    path = kinds.SWARM_MEMORY_STORE.path(namespace=objects.namespace)
    await objects.client.request("POST", path, query={"dryRun": "All", "fieldValidation": "Strict"}, body=body)


@settings(drawn, max_examples=300)
@given(case=specs.bad())
async def test_every_bad_spec_is_refused_with_the_name_of_the_field(objects, case):
    field, spec = case
    note(f"{field}: {spec[field]!r}")
    with pytest.raises((InvalidError, BadRequestError), match=f"spec.{field}"):
        await dry_run(objects, spec)


@settings(drawn, max_examples=150)
@given(spec=specs.good())
async def test_every_good_spec_is_accepted_and_so_does_the_model(objects, spec):
    await dry_run(objects, spec)
    SwarmMemoryStore.model_validate({"metadata": {"name": "drawn"}, "spec": spec})
