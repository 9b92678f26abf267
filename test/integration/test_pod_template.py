"""A store's podTemplate against a real API server: what is applied, once, and what is refused."""

from __future__ import annotations

import pytest
import yaml
from support.pages import DOCS

from swarm_operator.api.quantity import canonical_amount
from swarm_operator.controllers.common import kinds

EXAMPLE = DOCS.parent / "examples" / "pod-template.yaml"

ODD = [
    "0.5", 0.5, 2, "1000m", "0.1Gi", "4174.86Mi", "3072Ki", "1e3", "12e4", "1n", "100.1m", "0Gi", "1025", ".5", "1.5Gi",
]  # fmt: skip
"""Amounts that the API server writes otherwise."""


@pytest.fixture
def pod(objects):
    async def read(name):
        return (await objects.get(kinds.STATEFUL_SET, name))["spec"]["template"]

    return read


@pytest.fixture
def condition(objects):
    async def read(name, kind):
        store = await objects.get(kinds.SWARM_MEMORY_STORE, name)
        assert store["status"]["observedGeneration"] == store["metadata"]["generation"]
        return {found["type"]: found for found in store["status"]["conditions"]}[kind]

    return read


async def test_the_example_is_applied_and_refusals_are_told(objects, start_operator, eventually, pod, condition):
    start_operator()
    example = yaml.safe_load(EXAMPLE.read_text())
    spec = example["spec"]
    extra = {"image": "i", "env": [{"name": "EMPTY", "value": ""}], "stdin": False}
    spec["podTemplate"]["spec"]["containers"] += [
        {**extra, "name": f"odd-{number}", "resources": {"limits": {"cpu": amount, "memory": amount}}}
        for number, amount in enumerate(ODD)
    ]
    await objects.store("bees", **spec)

    async def applied():
        found = await condition("bees", "PodTemplateApplied")
        assert found["status"] == "True", found["message"]
        return await pod("bees")

    template = await eventually(applied)
    memory, sidecar, *odd = template["spec"]["containers"]
    assert template["metadata"]["labels"]["team"] == "bees"
    assert template["spec"]["nodeSelector"] == {"pool": "memory"}
    assert memory["resources"] == {"requests": {"cpu": "500m", "memory": "292Mi"}, "limits": {"memory": "1Gi"}}
    assert sidecar["securityContext"]["allowPrivilegeEscalation"] is False
    assert all(container["env"] == [{"name": "EMPTY"}] for container in odd)
    stored = [container["resources"]["limits"]["cpu"] for container in odd]
    assert stored == [canonical_amount(amount) for amount in ODD]

    generation = (await objects.get(kinds.STATEFUL_SET, "bees"))["metadata"]["generation"]
    for wrong, said in (
        ({"containers": [{"name": "memory", "command": ["sh"]}]}, "containers[memory].command: is set by the operator"),
        ({"tolerations": [{"operator": "Sometimes"}]}, "Sometimes"),
        ({"nonsense": 1}, "nonsense"),
    ):
        patch = {"spec": {"podTemplate": {"spec": {"containers": None, "tolerations": None, **wrong}}}}
        await objects.client.merge(kinds.SWARM_MEMORY_STORE, objects.namespace, "bees", patch, field_manager="user")

        async def refused(said=said):
            found = await condition("bees", "PodTemplateApplied")
            assert found["reason"] == "PodTemplateRefused"
            assert said in found["message"], found["message"]
            return True

        await eventually(refused)
        assert (await objects.get(kinds.STATEFUL_SET, "bees"))["metadata"]["generation"] == generation
