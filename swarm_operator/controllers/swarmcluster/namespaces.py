"""Namespaces of a SwarmCluster's parts: may it use them, and are they there?

Rights in one namespace must never give rights in another. A cluster uses another namespace than its own in two cases.
The operator made the namespace for this cluster, as a label with the cluster's uid shows. Or an annotation of the
namespace allows the cluster's namespace. Both can be set only by those who may change Namespace objects. Namespaces are
read in each pass and not watched. So the right to read them can be left out, which affects only clusters that ask for
namespaces.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.api.v1alpha1.namespaces import SYSTEM_PREFIX, NamespaceConfig
from swarm_operator.controllers.common import finalizers, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed
from swarm_operator.controllers.swarmcluster import placement
from swarm_operator.controllers.swarmcluster.placement import DefaultNamespaces
from swarm_operator.runtime.errors import ConflictError, ForbiddenError, NotFoundError
from swarm_operator.runtime.resource import Object

FINALIZER = "swarm.claudeflow.io/other-namespaces"
"""Finalizer of clusters that may have objects in other namespaces than their own."""

_RETRY_INTERVAL = 10.0
"""Seconds until a namespace that cannot be used is looked at again: namespaces send no events."""
_CHECK_INTERVAL = 300.0
"""Seconds until a used namespace is checked again: its annotation may have been removed."""


class _Namespace(Step[SwarmCluster]):
    """Ensure that one namespace may be used and exists."""

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        name = self._name(r.parsed)
        if name == r.parsed.metadata.namespace:
            return done("OwnNamespace", "everything is in the cluster's own namespace")
        await finalizers.add(r, FINALIZER)  # before objects are created that only a cleanup deletes
        if refusal := refused_by_config(r.parsed, name):
            return refusal
        if not r.client.cache.watches(name):
            message = f"the operator does not watch namespace {name}: add it to --watch-namespaces"
            return _refused("NamespaceNotWatched", message)
        try:
            live = await _read(r, name) or await _create(r, name)
        except ForbiddenError as error:
            message = f"the operator may not read and make namespaces: see docs/operator.md ({error.message})"
            return _refused("NamespacesForbidden", message)
        if live is None:
            message = f"namespace {name} does not exist: make it, or set createNamespaces to true"
            return _refused("NamespaceMissing", message)
        return verdict(r.obj, live)

    @abstractmethod
    def _name(self, cluster: SwarmCluster) -> str:
        """Return the name of the namespace."""


class SwarmNamespace(_Namespace):
    """Ensure the namespace of the memory and the agents.

    The step also completes the names of the pass's cluster, which all later steps use.

    Args:
        defaults: names for clusters that name none.
    """

    def __init__(self, defaults: DefaultNamespaces) -> None:
        self._defaults = defaults

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        r.parsed = placement.complete(r.parsed, self._defaults)
        separate = r.parsed.spec.namespace_config is not None
        r.status["swarmNamespace"] = placement.swarm_namespace(r.parsed) if separate else None
        r.status["hiveMindNamespace"] = placement.hive_mind_namespace(r.parsed) if separate else None
        return await super().run(r)

    def _name(self, cluster: SwarmCluster) -> str:
        return placement.swarm_namespace(cluster)


class HiveMindNamespace(_Namespace):
    """Ensure the namespace of the hive mind, if the cluster has one, and report both namespaces."""

    reports: ClassVar = ("NamespacesReady",)

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        of_swarm = r.outcomes[SwarmNamespace]
        own = await super().run(r) if r.parsed.spec.hive_mind.enabled else of_swarm
        r.set_condition("NamespacesReady", next((o for o in (of_swarm, own) if not o.is_done), own))
        return own

    def _name(self, cluster: SwarmCluster) -> str:
        return placement.hive_mind_namespace(cluster)


def refused_by_config(cluster: SwarmCluster, name: str) -> Outcome | None:
    """Return the outcome of a namespace that the cluster itself or Kubernetes rules out, or None."""
    allowed = (cluster.spec.namespace_config or NamespaceConfig()).allowed_namespaces
    if name.startswith(SYSTEM_PREFIX):
        return _refused("NamespaceNotAllowed", f"namespace {name} is one of Kubernetes itself")
    if allowed is not None and name not in allowed:
        return _refused("NamespaceNotAllowed", f"namespace {name} is not in allowedNamespaces")
    return None


def verdict(cluster: Object, namespace: Object) -> Outcome:
    """Return whether the cluster may use a namespace that exists."""
    metadata = namespace["metadata"]
    name, found = metadata["name"], metadata.get("labels") or {}
    home = cluster["metadata"]["namespace"]
    if metadata.get("deletionTimestamp"):
        return _refused("NamespaceTerminating", f"namespace {name} is being deleted")
    if made_for(cluster, namespace) or home in _allowed_homes(namespace) or "*" in _allowed_homes(namespace):
        return done("NamespacesExist", "", requeue_after=_CHECK_INTERVAL)
    how = f"to allow it, annotate the namespace with {labels.ALLOW_CLUSTERS_FROM}={home}"
    if labels.CLUSTER_UID in found:
        owner = f"{found.get(labels.CLUSTER_NAMESPACE)}/{found.get(labels.CLUSTER_NAME)}"
        return _refused("NamespaceTaken", f"namespace {name} was made for SwarmCluster {owner}; {how}")
    return _refused("NamespaceNotAllowed", f"namespace {name} does not allow clusters of namespace {home}; {how}")


def made_for(cluster: Object, namespace: Object) -> bool:
    """Return whether the operator made the namespace for this cluster."""
    found = namespace["metadata"].get("labels") or {}
    return bool(found.get(labels.CLUSTER_UID) == cluster["metadata"]["uid"])


def _allowed_homes(namespace: Object) -> list[str]:
    annotations = namespace["metadata"].get("annotations") or {}
    return [name.strip() for name in annotations.get(labels.ALLOW_CLUSTERS_FROM, "").split(",")]


def _refused(reason: str, message: str) -> Outcome:
    return failed(reason, message, blocks=True, requeue_after=_RETRY_INTERVAL)


async def _read(r: Reconciliation[SwarmCluster], name: str) -> Object | None:
    try:
        return await r.client.server.get(kinds.NAMESPACE, "", name)
    except NotFoundError:
        return None


async def _create(r: Reconciliation[SwarmCluster], name: str) -> Object | None:
    """Make the namespace, if the cluster asks for it. Its pods are restricted, whatever the cluster's own allows."""
    if not (r.parsed.spec.namespace_config or NamespaceConfig()).create_namespaces:
        return None
    wanted = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": name,
            "labels": {
                labels.MANAGED_BY: labels.FIELD_MANAGER,
                **labels.owner_elsewhere(r.obj),
                "pod-security.kubernetes.io/enforce": "restricted",
            },
        },
    }
    try:
        made = await r.client.server.create(kinds.NAMESPACE, wanted, field_manager=labels.FIELD_MANAGER)
    except ConflictError:  # another client was faster: its namespace is checked as any other
        return await _read(r, name)
    r.recorder.event(r.obj, "Normal", "Created", f"created Namespace {name}", action="Create")
    return made
