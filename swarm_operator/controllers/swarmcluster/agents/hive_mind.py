"""How agents reach the hive mind of their swarm: its address and its client token, in their pods.

A pod mounts Secrets of its own namespace only. Where the hive mind is in another one, the agents' namespace has a
Secret with that token and no other. It follows the hive mind's Secret, whose changes the hive mind's status tells.
"""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmcluster.hive_mind import hive_mind
from swarm_operator.controllers.swarmcluster.memory_store import kept_store
from swarm_operator.controllers.swarmcluster.placement import hive_mind_namespace, swarm_namespace
from swarm_operator.controllers.swarmmemorystore import auth, network
from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Object, controller_of, key_of
from swarm_operator.shared.tokens import CLIENT_FILE

_DIR: Final = "/etc/swarm-hive-mind/tokens"
_VOLUME: Final = "hive-mind-token"


def environment(cluster: SwarmCluster, *, secure: bool) -> dict[str, str]:
    """Return the variables of an agent's pod by which it finds the hive mind; none without a hive mind.

    Args:
        cluster: the swarm.
        secure: whether the hive mind serves TLS. It has the memory's `tls`, so it does when the memory does.
    """
    if not cluster.spec.hive_mind.enabled:
        return {}
    store = SwarmMemoryStore.model_validate(hive_mind(cluster))
    return {
        "SWARM_HIVE_MIND_URL": network.endpoints(store, secure=secure)["http"],
        "SWARM_HIVE_MIND_TOKEN_FILE": f"{_DIR}/{CLIENT_FILE}",
    }


def mounts(cluster: SwarmCluster) -> list[Object]:
    """Return the mounts of an agent's container for the hive mind."""
    return [{"name": _VOLUME, "mountPath": _DIR, "readOnly": True}] if cluster.spec.hive_mind.enabled else []


def volumes(cluster: SwarmCluster) -> list[Object]:
    """Return the volumes of an agent's pod for the hive mind.

    They are optional: agents start and work while there is no hive mind yet. The kubelet adds the token later.
    """
    if not cluster.spec.hive_mind.enabled:
        return []
    secret = {
        "secretName": secret_name(cluster),
        "defaultMode": 0o440,
        "items": [{"key": CLIENT_FILE, "path": CLIENT_FILE}],
        "optional": True,
    }
    return [{"name": _VOLUME, "secret": secret}]


def secret_name(cluster: SwarmCluster) -> str:
    """Return the name of the Secret in the agents' namespace that has the hive mind's client token."""
    if _is_elsewhere(cluster):
        return f"{cluster.agents_name}-hivemind"
    return auth.secret_name(SwarmMemoryStore.model_validate(hive_mind(cluster)))


async def ensure_token(r: Reconciliation[SwarmCluster], memory: SwarmMemoryStore) -> None:
    """Ensure the agents' Secret with the token of a hive mind in another namespace, once there is such a token.

    Args:
        r: the pass.
        memory: the swarm's memory, with which Kubernetes deletes the Secret: the operator may not delete any.

    Raises:
        NameTakenError: an object of somebody else has the name.
        ApiError: the server refused.
    """
    cluster = r.parsed
    if not cluster.spec.hive_mind.enabled or not _is_elsewhere(cluster):
        return
    token = await _token(r)
    if token is None:
        return
    reference = {
        "apiVersion": kinds.SWARM_MEMORY_STORE.api_version,
        "kind": kinds.SWARM_MEMORY_STORE.kind,
        "name": memory.metadata.name,
        "uid": memory.metadata.uid,
    }
    wanted = {
        "metadata": {
            "name": secret_name(cluster),
            "namespace": memory.metadata.namespace,
            "labels": labels.of_agents(cluster),
            "ownerReferences": [reference],
        },
        "type": "Opaque",
        "data": {CLIENT_FILE: token},
    }
    live = await children.create_once(r, kinds.SECRET, wanted)
    if (live.get("data") or {}).get(CLIENT_FILE) != token:
        patch: dict[str, Any] = {"metadata": {"uid": live["metadata"]["uid"]}, "data": {CLIENT_FILE: token}}
        namespace, name = key_of(live)
        await r.cache.merge(kinds.SECRET, namespace, name, patch, field_manager=labels.FIELD_MANAGER)


async def _token(r: Reconciliation[SwarmCluster]) -> str | None:
    """Return the client token of the cluster's own hive mind, as its Secret has it."""
    namespace = hive_mind_namespace(r.parsed)
    store = kept_store(r, namespace, r.parsed.hive_mind_name)
    if store is None:
        return None
    try:
        name = auth.secret_name(SwarmMemoryStore.model_validate(store))
        secret = await r.cache.client.get(kinds.SECRET, namespace, name)
    except NotFoundError:
        return None
    owner = controller_of(secret)
    # A Secret of somebody else with that name is never given away.
    if owner is None or owner["uid"] != store["metadata"]["uid"]:
        return None
    return (secret.get("data") or {}).get(CLIENT_FILE)


def _is_elsewhere(cluster: SwarmCluster) -> bool:
    return hive_mind_namespace(cluster) != swarm_namespace(cluster)
