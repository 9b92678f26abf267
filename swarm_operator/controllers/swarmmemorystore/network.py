"""The Services of a store and their addresses."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done
from swarm_operator.controllers.swarmmemorystore.tls.names import serves_tls
from swarm_operator.runtime.resource import Key, Object

HTTP_PORT = 8080
GRPC_PORT = 9090
METRICS_PORT = 9091

_HTTP = {"name": "http", "port": HTTP_PORT, "targetPort": "http", "protocol": "TCP"}
_GRPC = {"name": "grpc", "port": GRPC_PORT, "targetPort": "grpc", "protocol": "TCP"}
_METRICS = {"name": "metrics", "port": METRICS_PORT, "targetPort": "metrics", "protocol": "TCP"}


class ClientService(Step[SwarmMemoryStore]):
    """Ensure the Service that clients use."""

    owns = (kinds.SERVICE,)

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        await children.ensure(r, kinds.SERVICE, service(r.parsed))
        return done()


class Endpoints(Step[SwarmMemoryStore]):
    """Report where clients reach the store. It runs after the step that may change the pod's template."""

    needs = (ClientService,)

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        secure = serves_tls(r.parsed, r.client.cache)
        r.status |= {"swarmId": r.parsed.swarm_id, "endpoints": endpoints(r.parsed, secure=secure)}
        return done()


class HeadlessService(Step[SwarmMemoryStore]):
    """Ensure the Service that gives the pod its DNS name."""

    owns = (kinds.SERVICE,)

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        await children.ensure(r, kinds.SERVICE, headless_service(r.parsed))
        return done()


def headless_name(store: SwarmMemoryStore) -> str:
    """Return the name of the Service that gives the pod its DNS name."""
    return f"{store.metadata.name}-headless"


def service(store: SwarmMemoryStore) -> Object:
    """Return the Service that clients use. It routes to the pod as soon as the pod has an address.

    There is one pod, so a pod that is not ready has no substitute. Waiting for its readiness would keep clients from a
    new pod for a second after it serves, and from reading while the disk is full. Until the pod serves, it refuses
    connections at once.
    """
    return {
        "metadata": {"name": store.metadata.name, "labels": labels.of_store(store)},
        "spec": {"type": "ClusterIP", **_routing(store)},
    }


def headless_service(store: SwarmMemoryStore) -> Object:
    """Return the StatefulSet's governing Service: the pod's own DNS name, ready or not."""
    return {
        "metadata": {"name": headless_name(store), "labels": labels.of_store(store)},
        "spec": {"clusterIP": "None", **_routing(store)},
    }


def _routing(store: SwarmMemoryStore) -> Object:
    """Return what both Services have in common."""
    return {
        # Addresses of both families where the cluster has both; the one family of other clusters.
        "ipFamilyPolicy": "PreferDualStack",
        "publishNotReadyAddresses": True,
        "selector": labels.selector(store),
        "ports": [_HTTP, _GRPC if store.is_secure else _GRPC | {"appProtocol": "kubernetes.io/h2c"}, _METRICS],
    }


def endpoints(store: SwarmMemoryStore, *, secure: bool) -> dict[str, str]:
    """Return the addresses for clients in the cluster, as in status.endpoints; `secure`: with TLS."""
    host = f"{store.metadata.name}.{store.metadata.namespace}.svc"
    scheme = "https" if secure else "http"
    http = f"{scheme}://{host}:{HTTP_PORT}"
    mcp = {"mcp": f"{http}/mcp"} if store.spec.mcp_mode else {}
    metrics = f"{scheme}://{host}:{METRICS_PORT}/metrics"
    return {"http": http, "grpc": f"{host}:{GRPC_PORT}", **mcp, "metrics": metrics}


def service_url(url: str, store: Key, ca: str | None) -> str:
    """Return the address at which the operator asks a service.

    Args:
        url: the address, with {name} and {namespace}.
        store: the store.
        ca: the CA certificates to verify it by; None for a service without TLS.
    """
    found = url.format(name=store.name, namespace=store.namespace)
    return found if ca is None else found.replace("http://", "https://", 1)
