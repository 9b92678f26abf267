"""Names of a store's certificate and of what clients trust, and where pods mount them."""

from __future__ import annotations

from typing import Final

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.resource import Key, Object, controller_of

VOLUME: Final = "certificate"
"""Volume of a store's pod with its certificate."""
CERTIFICATE_DIR: Final = "/etc/swarm-memory/tls"
CA_VOLUME: Final = "ca"
CA_DIR: Final = "/etc/swarm-memory/ca"
"""Path at which clients' pods mount the ConfigMap of ca_name."""
CA_FILE: Final = "ca.crt"


def secret_name(store: SwarmMemoryStore) -> str:
    """Return the name of the Secret with the store's certificate."""
    return (store.spec.tls and store.spec.tls.secret_name) or own_secret_name(store)


def own_secret_name(store: SwarmMemoryStore) -> str:
    """Return the name of the Secret with the certificate that the operator signs."""
    return f"{store.metadata.name}-tls"


def ca_name(store: SwarmMemoryStore) -> str:
    """Return the name of the ConfigMap with the CA certificates that clients of the store trust."""
    return f"{store.metadata.name}-ca"


def ca_volume(store: SwarmMemoryStore) -> Object:
    """Return the volume with the CA certificates for a pod of a client in the store's namespace."""
    return {"name": CA_VOLUME, "configMap": {"name": ca_name(store), "defaultMode": 0o444}}


def dns_names(store: SwarmMemoryStore) -> list[str]:
    """Return the names by which clients reach the store; the first is that of status.endpoints."""
    name, namespace = store.metadata.name, store.metadata.namespace
    service, pod = f"{name}.{namespace}", f"{name}-0.{name}-headless.{namespace}"
    inside = [name, service, f"{service}.svc.cluster.local", f"{pod}.svc", f"{pod}.svc.cluster.local", "localhost"]
    return [f"{service}.svc", *inside]


def serves_tls(store: SwarmMemoryStore, cache: Cache) -> bool:
    """Return whether the store's pod has a certificate. Without a pod, the template of the next pod decides.

    Both may differ from the spec: a pod is replaced later than its template, with OnDelete when a user deletes it.
    """
    namespace, name = store.metadata.namespace, store.metadata.name
    pod = cache.get(kinds.POD, Key(namespace, f"{name}-0"))
    workload = cache.get(kinds.STATEFUL_SET, Key(namespace, name))
    spec = pod["spec"] if pod else workload["spec"]["template"]["spec"] if workload else None
    if spec is None:
        return store.is_secure
    return any(volume["name"] == VOLUME for volume in spec.get("volumes") or ())


def trusted(store: SwarmMemoryStore, cache: Cache) -> str | None:
    """Return the CA certificates of a store that serves TLS, in PEM; None for one that does not.

    If no certificates are published yet, the text is empty, and no connection is made.
    """
    if not serves_tls(store, cache):
        return None
    found: Object | None = cache.get(kinds.CONFIG_MAP, Key(store.metadata.namespace, ca_name(store)))
    owner = controller_of(found) if found else None
    if found is None or owner is None or owner["uid"] != store.metadata.uid:
        return ""
    return str((found.get("data") or {}).get(CA_FILE, ""))
