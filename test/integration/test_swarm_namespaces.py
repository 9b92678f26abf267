"""A swarm whose memory and hive mind are in namespaces of their own, with the rights that config/rbac grants."""

from __future__ import annotations

import pytest
import yaml
from support.pages import TOP

from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.swarmcluster.deletion import CONTENTS
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import key_of

CLUSTER, STORE, NAMESPACE = kinds.SWARM_CLUSTER, kinds.SWARM_MEMORY_STORE, kinds.NAMESPACE


@pytest.fixture
def names(namespace):
    """Namespaces of the swarm and of the hive mind."""
    return f"{namespace}-swarm", f"{namespace}-hive"


@pytest.fixture
def operator(start_operator, namespace, names):
    """Start an operator that watches the test's namespaces."""
    return lambda: start_operator("--watch-namespaces", ",".join((namespace, *names)))


@pytest.fixture
def swarm(objects, names):
    """Apply examples/namespaces.yaml with other names."""

    async def apply(**config):
        spec = yaml.safe_load((TOP / "examples/namespaces.yaml").read_text())["spec"]
        swarm, hive = names
        spec["namespaceConfig"] = {"swarmNamespace": swarm, "hiveMindNamespace": hive, **config}
        spec["memory"]["deletionPolicy"] = "Delete"
        await objects.apply(CLUSTER, "bees", spec)

    return apply


@pytest.fixture
def reason(objects):
    """Wait until NamespacesReady has a reason."""
    return lambda wanted: _says(objects, wanted)


def _says(objects, wanted):
    async def says():
        return (await objects.condition(CLUSTER, "bees", "NamespacesReady"))["reason"] == wanted

    return says


async def count(admin, namespace, **contents):
    """Be the quota controller of Kubernetes."""
    quota = await admin.get(kinds.RESOURCE_QUOTA, namespace, CONTENTS)
    used = dict.fromkeys(quota["spec"]["hard"], "0") | {"count/configmaps": "1", "count/serviceaccounts": "1"}
    used |= {f"count/{kind}": number for kind, number in contents.items()}
    body = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": CONTENTS, "namespace": namespace},
        "status": {"hard": quota["spec"]["hard"], "used": used},
    }
    return await admin.apply(kinds.RESOURCE_QUOTA, body, field_manager="quota", subresource="status")


async def test_namespaces_are_made_and_removed_with_the_swarm(admin, objects, operator, swarm, names, eventually):
    in_swarm, in_hive = names
    running = operator()
    await swarm()
    store = await eventually(lambda: admin.get(STORE, in_swarm, "bees-memory"))
    await eventually(lambda: admin.get(STORE, in_hive, "bees-hivemind"))
    await eventually(lambda: admin.get(kinds.STATEFUL_SET, in_hive, "bees-hivemind"))
    assert "ownerReferences" not in store["metadata"]
    # The store's status comes back to the cluster by the labels.
    ready = {"type": "Ready", "status": "True", "reason": "Available", "lastTransitionTime": "2026-11-23T12:00:00Z"}

    async def heard():
        return (await objects.get(CLUSTER, "bees"))["status"]["swarmNamespace"] == in_swarm

    await eventually(heard)
    assert ready["type"] == (await objects.condition(CLUSTER, "bees", "Ready"))["type"]
    # A user's Secret keeps one of the namespaces.
    await admin.create(
        kinds.SECRET,
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine", "namespace": in_hive}},
        field_manager="user",
    )
    await objects.delete(CLUSTER, "bees")

    async def counted(namespace, **contents):
        await eventually(lambda: count(admin, namespace, **contents))

    await counted(in_swarm)

    async def deleting():
        return "deletionTimestamp" in (await admin.get(NAMESPACE, "", in_swarm))["metadata"]

    await eventually(deleting)
    await counted(in_hive, secrets="1")
    running.kill()  # where it was is in no memory of a process
    running.start()
    await eventually(lambda: admin.get(NAMESPACE, "", in_hive))
    for namespace in names:
        assert [key_of(obj) for obj in (await admin.list(STORE, namespace=namespace))[0]] == []
    assert "deletionTimestamp" not in (await admin.get(NAMESPACE, "", in_hive))["metadata"]


async def test_a_namespace_that_exists_is_used_only_if_it_allows_it(
    admin, objects, operator, swarm, names, namespace, reason, eventually
):
    in_swarm, _ = names
    made = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": in_swarm}}
    await admin.create(NAMESPACE, made, field_manager="user")
    operator()
    await swarm()
    await eventually(reason("NamespaceNotAllowed"))
    with pytest.raises(NotFoundError):
        await admin.get(STORE, in_swarm, "bees-memory")
    annotation = {"metadata": {"annotations": {"swarm.claudeflow.io/allow-clusters-from": namespace}}}
    await admin.merge(NAMESPACE, "", in_swarm, annotation, field_manager="user")
    await eventually(lambda: admin.get(STORE, in_swarm, "bees-memory"))
    await eventually(reason("NamespacesExist"))


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"swarmNamespace": "kube-system"}, "spec.namespaceConfig.swarmNamespace"),
        ({"swarmNamespace": "a.b"}, "spec.namespaceConfig.swarmNamespace"),
        ({"allowedNamespaces": ["other"]}, "is not in allowedNamespaces"),
    ],
)
async def test_bad_names_are_refused(control_plane, namespace, config, says):
    body = {
        "apiVersion": CLUSTER.api_version,
        "kind": "SwarmCluster",
        "metadata": {"name": "bees", "namespace": namespace},
        "spec": {"namespaceConfig": {"hiveMindNamespace": "far"} | config},
    }
    refused = control_plane.kubectl_run("apply", "-f", "-", stdin=yaml.safe_dump(body))
    assert refused.returncode == 1
    assert says in refused.stderr


async def test_the_names_cannot_be_changed_and_the_rest_can(control_plane, namespace):
    def apply(**spec):
        body = {
            "apiVersion": CLUSTER.api_version,
            "kind": "SwarmCluster",
            "metadata": {"name": "b" * 44, "namespace": namespace},
            "spec": spec,
        }
        return control_plane.kubectl_run("apply", "-f", "-", stdin=yaml.safe_dump(body))

    assert apply(namespaceConfig={"swarmNamespace": "far"}).returncode == 0
    assert apply(namespaceConfig={"swarmNamespace": "far", "createNamespaces": False}).returncode == 0
    for config in ({"namespaceConfig": {"swarmNamespace": "near"}}, {"namespaceConfig": {}}, {}):
        refused = apply(**config)
        assert "stays where it is" in refused.stderr
    too_long = apply(namespaceConfig={"swarmNamespace": "far"}, hiveMind={"enabled": True})
    assert "at most 43 characters" in too_long.stderr
