"""The NetworkPolicy of a store: the clients that may connect to its pod. Outgoing traffic is not limited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.api.v1alpha1.network_policy import NetworkPolicySettings
from swarm_operator.controllers.common import children, confinement, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done
from swarm_operator.controllers.swarmmemorystore.network import GRPC_PORT, HTTP_PORT, METRICS_PORT
from swarm_operator.runtime.resource import Object


@dataclass(frozen=True, slots=True)
class NetworkPolicy(Step[SwarmMemoryStore]):
    """Ensure the NetworkPolicy, or that there is none."""

    owns: ClassVar = (kinds.NETWORK_POLICY,)

    operator_namespace: str
    """Namespace of the operator's pods; empty if it does not run in a pod."""

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        wanted = network_policy(r.parsed, self.operator_namespace)
        if wanted:
            await children.ensure(r, kinds.NETWORK_POLICY, wanted)
        await children.prune(r, kinds.NETWORK_POLICY, [wanted["metadata"]["name"]] if wanted else [])
        return done()


def network_policy(store: SwarmMemoryStore, operator_namespace: str) -> Object | None:
    """Return the NetworkPolicy; None if the store wants none."""
    settings = store.spec.network_policy or NetworkPolicySettings()
    if not settings.enabled:
        return None
    ours = [{"podSelector": {"matchLabels": labels.identity(store)}}]
    if operator_namespace:
        ours.append({"namespaceSelector": {"matchLabels": {labels.NAMESPACE_NAME: operator_namespace}}})
    ingress: list[dict[str, Any]] = [{"from": ours, "ports": _ports(HTTP_PORT)}]
    # An empty `from` would let everybody in.
    if settings.clients != []:
        clients = _peers(settings.clients) or _own_namespace(store)
        ingress.append({"from": clients, "ports": _ports(HTTP_PORT, GRPC_PORT)})
    if settings.metrics_from != []:
        scrapers = _peers(settings.metrics_from)
        ingress.append(({"from": scrapers} if scrapers else {}) | {"ports": _ports(METRICS_PORT)})
    return {
        "metadata": {"name": store.metadata.name, "labels": labels.of_store(store)},
        "spec": {
            "podSelector": {"matchLabels": labels.selector(store)},
            "policyTypes": ["Ingress"],
            "ingress": ingress,
        },
    }


def _own_namespace(store: SwarmMemoryStore) -> list[Object]:
    """Return the pods of the store's namespace, but for agents of other swarms."""
    cluster = store.spec.swarm_cluster_ref
    return [confinement.no_agents(), *([confinement.agents_of(cluster)] if cluster else [])]


def _peers(peers: list[Any] | None) -> list[Object]:
    return [peer.model_dump(by_alias=True, exclude_none=True) for peer in peers or ()]


def _ports(*numbers: int) -> list[Object]:
    return [{"port": number, "protocol": "TCP"} for number in numbers]
