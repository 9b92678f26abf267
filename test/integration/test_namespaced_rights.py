"""`make deploy WATCH_NAMESPACES=...`: the operator has its rights in these namespaces alone, and needs no others."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import subprocess

import pytest
import yaml
from support.controlplane import TOP

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.errors import ForbiddenError

ACCOUNT = "limited"


@pytest.fixture
def rendered(control_plane):
    """What would be deployed for some namespaces."""

    def render(namespaces: str) -> list[dict]:
        environment = {**os.environ, "WATCH_NAMESPACES": namespaces, "KUBECTL": str(control_plane.kubectl)}
        command = [str(TOP / "hack/render.sh"), "registry.example.com/operator:1", "registry.example.com/memory:1"]
        made = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        return list(yaml.safe_load_all(made.stdout))

    return render


@pytest.fixture
async def limited_plane(control_plane, rendered, account_token, namespace, tmp_path):
    """The control plane for an operator that has what is bound in the test's namespace and nothing else."""
    token = await account_token(ACCOUNT)
    (binding,) = [
        obj for obj in rendered(namespace) if obj["kind"] == "RoleBinding" and obj["metadata"]["namespace"] == namespace
    ]
    binding["subjects"] = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}]
    applied = control_plane.kubectl_run("apply", "-f", "-", stdin=yaml.safe_dump(binding))
    assert applied.returncode == 0, applied.stderr
    return dataclasses.replace(control_plane, folder=tmp_path, tokens={"operator": token})


def test_rights_are_bound_in_the_namespaces_and_nowhere_else(rendered):
    objects = rendered("team-a,team-b")
    bound = {
        (obj["kind"], obj["metadata"].get("namespace"))
        for obj in objects
        if obj["kind"].endswith("Binding") and obj["roleRef"]["name"] == "swarm-operator-manager"
    }
    assert bound == {("RoleBinding", "team-a"), ("RoleBinding", "team-b")}
    (deployment,) = [obj for obj in objects if obj["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert {"name": "SWARM_OPERATOR_WATCH_NAMESPACES", "value": "team-a,team-b"} in container["env"]


def test_without_namespaces_they_are_bound_everywhere(rendered):
    bound = [
        obj["kind"]
        for obj in rendered("")
        if obj["kind"].endswith("Binding") and obj["roleRef"]["name"] == "swarm-operator-manager"
    ]
    assert bound == ["ClusterRoleBinding"]


async def test_they_are_enough(limited_plane, objects, start_operator, namespace, eventually):
    operator = start_operator(plane=limited_plane)
    await objects.cluster("c", enableMemoryStore=True)
    await eventually(lambda: objects.get(kinds.STATEFUL_SET, "c-memory"))
    await objects.pretend_ready("c-memory")

    async def ready() -> bool:
        return (await objects.condition(kinds.SWARM_CLUSTER, "c", "Ready"))["status"] == "True"

    await eventually(ready)
    assert await asyncio.to_thread(operator.terminate) == 0
    assert "forbidden" not in operator.log.read_text()
    async with Client(await load_config(limited_plane.kubeconfig("operator")), user_agent="test") as client:
        with pytest.raises(ForbiddenError):
            await client.list(kinds.SWARM_MEMORY_STORE, namespace="default")
        with pytest.raises(ForbiddenError):
            await client.get(kinds.SECRET, "default", "somebody-s")
