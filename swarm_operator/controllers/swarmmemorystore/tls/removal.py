"""Deletes what TLS has made when a store needs it no longer: after TLS off, and after a change to a user's Secret.

Nothing is deleted before the pod is ready without it. Until then the pod's former template may be put back, see
workload.rollback.
"""

from __future__ import annotations

from collections.abc import Iterable

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.pods import is_ready
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, done
from swarm_operator.controllers.swarmmemorystore.tls.names import ca_name, own_secret_name, secret_name, serves_tls
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Key, Object


async def remove(r: Reconciliation[SwarmMemoryStore]) -> Outcome:
    """Delete the Secret and the ConfigMap of a store without TLS, once no pod needs them any more.

    The ConfigMap shows that there was TLS, and is deleted last: stores that never had TLS cost no request.
    """
    published, pod = _published(r), _ready_pod(r)
    if published is None or pod is None or serves_tls(r.parsed, r.client.cache) or await _is_ca_mounted(r):
        return done()  # the next poll of the memory causes another pass
    await _delete_signed(r)
    await children.delete(r, kinds.CONFIG_MAP, published)
    return done()


async def has_signed(r: Reconciliation[SwarmMemoryStore]) -> bool:
    """Return whether a store with a user's Secret still has that of mode `auto`. Delete it if the pod needs it no more.

    The annotation of the ConfigMap shows that it exists: stores that never had mode `auto` cost no request.
    """
    published, pod, name = _published(r), _ready_pod(r), own_secret_name(r.parsed)
    if published is None or labels.SIGNED not in (published["metadata"].get("annotations") or {}):
        return False
    volumes = pod["spec"].get("volumes") or () if pod else ()
    mounted = any((volume.get("secret") or {}).get("secretName") == name for volume in volumes)
    if pod is None or mounted or secret_name(r.parsed) == name:
        return True
    await _delete_signed(r)
    return False


def _published(r: Reconciliation[SwarmMemoryStore]) -> Object | None:
    """Return the ConfigMap with the CA certificates, or None."""
    found = r.client.cache.get(kinds.CONFIG_MAP, Key(r.parsed.metadata.namespace, ca_name(r.parsed)))
    return found if found and children.is_ours(r.obj, found, None) else None


def _ready_pod(r: Reconciliation[SwarmMemoryStore]) -> Object | None:
    """Return the store's pod if it is ready."""
    metadata = r.parsed.metadata
    pod = r.client.cache.get(kinds.POD, Key(metadata.namespace, f"{metadata.name}-0"))
    return pod if pod and is_ready(pod) else None


async def _is_ca_mounted(r: Reconciliation[SwarmMemoryStore]) -> bool:
    """Return whether a pod of the namespace mounts the ConfigMap with the CA certificates.

    The cache has the operator's pods only, such as those of agents. The server is asked for the pods of others.
    """
    namespace = r.parsed.metadata.namespace
    ours = [pod for pod in r.client.cache.list(kinds.POD) if pod["metadata"]["namespace"] == namespace]
    if _any_mounts(ours, ca_name(r.parsed)):
        return True
    found, _ = await r.client.server.list(kinds.POD, namespace=namespace)
    return _any_mounts(found, ca_name(r.parsed))


def _any_mounts(pods: Iterable[Object], config_map: str) -> bool:
    """Return whether one of the pods mounts a ConfigMap, by itself or as a part of a projected volume."""
    return any(
        (part.get("configMap") or {}).get("name") == config_map
        for pod in pods
        for volume in pod["spec"].get("volumes") or ()
        for part in (volume, *((volume.get("projected") or {}).get("sources") or ()))
    )


async def _delete_signed(r: Reconciliation[SwarmMemoryStore]) -> None:
    """Delete the Secret with the certificate that the operator has signed, if there is one."""
    try:
        secret = await r.client.server.get(kinds.SECRET, r.parsed.metadata.namespace, own_secret_name(r.parsed))
    except NotFoundError:
        return
    if children.is_ours(r.obj, secret, None):
        await children.delete(r, kinds.SECRET, secret)
