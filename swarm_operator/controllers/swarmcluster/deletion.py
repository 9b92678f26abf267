"""Deletion of a cluster with objects in other namespaces: agents, then stores, then namespaces that were made for it.

Objects in the cluster's own namespace have owner references, so Kubernetes deletes them. A store is deleted by its own
deletion policy. A namespace is deleted only if the operator made it for this cluster and nothing else is in it. A
ResourceQuota counts its objects. So the operator learns the number of Secrets without the right to list them. A
namespace of which this is not known stays.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from swarm_operator.api.v1alpha1 import KINDS, SwarmCluster
from swarm_operator.controllers.common import children, finalizers, kinds, labels
from swarm_operator.controllers.common.errors import NameTakenError
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, waiting
from swarm_operator.controllers.swarmcluster import placement
from swarm_operator.controllers.swarmcluster.github import revocation
from swarm_operator.controllers.swarmcluster.github.revocation import RevokeToken
from swarm_operator.controllers.swarmcluster.namespaces import FINALIZER, made_for
from swarm_operator.controllers.swarmcluster.placement import DefaultNamespaces
from swarm_operator.runtime.errors import ForbiddenError, NotFoundError
from swarm_operator.runtime.resource import Key, Object, Resource, controller_of, key_of

CONTENTS: Final = "swarm-operator-contents"
"""Name of the ResourceQuota that counts what is in a namespace."""

NAMESPACE_GRACE: Final = 120.0
"""Seconds for which a namespace may take to become empty: pods end, and Kubernetes collects what has no owner left."""

SETTLING: Final = 10.0
"""Seconds in which the cache learns that a claim is being deleted, which it may learn after the deletion of its
store."""

_OWN_ITEMS: Final = {"count/configmaps": "1", "count/serviceaccounts": "1"}
"""Numbers of objects that Kubernetes itself makes in each namespace."""
_COUNTED: Final = (
    "pods",
    "persistentvolumeclaims",
    "secrets",
    "configmaps",
    "serviceaccounts",
    "services",
    "replicationcontrollers",
    "deployments.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
    "cronjobs.batch",
    *(f"{kind.PLURAL}.{kind.GROUP}" for kind in KINDS),
)
_CHECK_INTERVAL = 2.0
_ANY = "1000000000"


class CleanUp(Step[SwarmCluster]):
    """Delete what the cluster has in other namespaces, then let the cluster go.

    Args:
        order: kinds of the objects, in the order of their deletion.
        defaults: names for clusters that name none.
    """

    condition: ClassVar = "Ready"

    def __init__(self, order: tuple[Resource, ...], defaults: DefaultNamespaces) -> None:
        self._order = order
        self._defaults = defaults
        self._emptied_at: dict[Key, float] = {}
        """Time of the deletion of the last object that the cluster had in other namespaces, by the cluster's key."""

    def forget(self, key: Key) -> None:
        """See Step.forget."""
        self._emptied_at.pop(key, None)

    async def run(self, r: Reconciliation[SwarmCluster]) -> Outcome:
        """See Step.run."""
        status = r.obj.get("status") or {}
        r.status |= {name: status[name] for name in status if name not in {"conditions", "observedGeneration"}}
        r.status["phase"] = "Deleting"
        for kind in self._order:
            left = children.elsewhere(r, kind)
            # Foreground: agents are there until their pods have ended. A store's own finalizer sees to its pod.
            propagation = "Background" if kind == kinds.SWARM_MEMORY_STORE else "Foreground"
            for child in left:
                await children.delete(r, kind, child, propagation=propagation)
            if left:
                names = ", ".join(str(key_of(child)) for child in left)
                return waiting("Deleting", f"{kind.kind} {names} is being deleted")
        r.parsed = placement.complete(r.parsed, self._defaults)
        since = self._emptied_at.setdefault(key_of(r.obj), r.clock.monotonic())
        waited = r.clock.monotonic() - since
        for name in dict.fromkeys((placement.swarm_namespace(r.parsed), placement.hive_mind_namespace(r.parsed))):
            if name != r.parsed.metadata.namespace and await _is_left(r, name, waited):
                return waiting(
                    "Deleting", f"namespace {name} is deleted when it is empty", requeue_after=_CHECK_INTERVAL
                )
        revoked = r.outcomes[RevokeToken]
        if not revoked.is_done:
            return revoked
        await finalizers.remove(r, FINALIZER, revocation.FINALIZER)
        return done("Deleted")


async def _is_left(r: Reconciliation[SwarmCluster], name: str, waited: float) -> bool:
    """Delete a namespace if it is ours and empty. Return whether it is ours and must be checked again.

    Args:
        r: the pass.
        name: the namespace.
        waited: seconds since the deletion of the last object that the cluster had in other namespaces.
    """
    try:
        namespace = await r.client.server.get(kinds.NAMESPACE, "", name)
        if not made_for(r.obj, namespace) or namespace["metadata"].get("deletionTimestamp"):
            return False
        quota = await children.create_once(r, kinds.RESOURCE_QUOTA, contents_quota(name))
    except NotFoundError:
        return False
    except (ForbiddenError, NameTakenError) as error:
        _tell_kept(r, name, str(error))
        return False
    contents = contents_of(quota)
    if contents == {}:
        await children.delete(r, kinds.NAMESPACE, namespace)
        return False
    if waited < (SETTLING if _retained(r, name) else NAMESPACE_GRACE):
        return True
    await children.delete(r, kinds.RESOURCE_QUOTA, quota)
    _tell_kept(r, name, "its contents are not known" if contents is None else f"in it are {_listed(contents)}")
    return False


def contents_quota(namespace: str) -> Object:
    """Return a ResourceQuota that limits nothing, and counts the objects in a namespace."""
    return {
        "metadata": {"name": CONTENTS, "namespace": namespace, "labels": {labels.MANAGED_BY: labels.FIELD_MANAGER}},
        "spec": {"hard": {f"count/{resource}": _ANY for resource in _COUNTED}},
    }


def contents_of(quota: Object) -> dict[str, str] | None:
    """Return how many objects are in the quota's namespace, by their kind; None if it is not known of all kinds."""
    used = (quota.get("status") or {}).get("used") or {}
    if any(name not in used for name in quota["spec"]["hard"]):
        return None
    counts = {name: used[name] for name in quota["spec"]["hard"]}
    return {name.removeprefix("count/"): n for name, n in counts.items() if n not in {"0", _OWN_ITEMS.get(name)}}


def _retained(r: Reconciliation[Any], namespace: str) -> bool:
    """Return whether the namespace has a claim or a backup that stays, so that waiting is useless."""
    found = [*r.client.list(kinds.PERSISTENT_VOLUME_CLAIM), *r.client.list(kinds.SWARM_MEMORY_BACKUP)]
    here = [obj["metadata"] for obj in found if key_of(obj).namespace == namespace and controller_of(obj) is None]
    return any(not metadata.get("deletionTimestamp") for metadata in here)


def _tell_kept(r: Reconciliation[Any], name: str, why: str) -> None:
    r.recorder.event(r.obj, "Warning", "NamespaceKept", f"Namespace {name} stays: {why}", action="Delete")


def _listed(contents: dict[str, str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in contents.items())
