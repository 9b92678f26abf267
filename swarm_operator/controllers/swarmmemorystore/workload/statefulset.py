"""The StatefulSet with the one pod that serves a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import labels
from swarm_operator.controllers.swarmmemorystore import auth, embedder, network, settings, storage
from swarm_operator.controllers.swarmmemorystore.backups.objects import final_name
from swarm_operator.controllers.swarmmemorystore.identity import step as identity
from swarm_operator.controllers.swarmmemorystore.tls import names
from swarm_operator.controllers.swarmmemorystore.tls.names import CA_FILE, CERTIFICATE_DIR, VOLUME
from swarm_operator.controllers.swarmmemorystore.workload.memory import resources
from swarm_operator.controllers.swarmmemorystore.workload.security import CONTAINER_SECURITY, POD_SECURITY
from swarm_operator.runtime.resource import Object

CONTAINER = "memory"
"""Name of the container of the service."""

DATA_DIR = "/data"
"""Path at which a pod of the store mounts the data volume."""

_TOKEN_DIR = "/etc/swarm-memory/tokens"  # noqa: S105 - a path


def image_of(store: SwarmMemoryStore, default: str) -> str:
    """Return the image to run: the operator's default, with the store's version as its tag if the store names one."""
    if store.spec.version is None:
        return default
    repository = default.split("@", maxsplit=1)[0]
    # A colon after the last slash starts a tag; a colon before it belongs to the port of a registry.
    head, slash, tail = repository.rpartition("/")
    return f"{head}{slash}{tail.partition(':')[0]}:{store.spec.version}"


def stateful_set(store: SwarmMemoryStore, *, image: str, pull_secrets: Sequence[str] = ()) -> Object:
    """Return the StatefulSet, with quantities in the API server's canonical form, as children.matches needs them.

    Args:
        store: the store that the pod serves.
        image: image of the memory service.
        pull_secrets: names of Secrets in the store's namespace with which the kubelet pulls the image.
    """
    return {
        "metadata": {"name": store.metadata.name, "labels": labels.of_store(store)},
        "spec": {
            "replicas": 0 if store.spec.hibernated else 1,
            "serviceName": network.headless_name(store),
            # OrderedReady would never replace a pod that does not get ready.
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels.selector(store)},
            "template": {
                "metadata": {
                    "labels": labels.of_store(store),
                    "annotations": {
                        "prometheus.io/scrape": "true",
                        "prometheus.io/port": str(network.METRICS_PORT),
                        **({"prometheus.io/scheme": "https"} if store.is_secure else {}),
                        "kubectl.kubernetes.io/default-container": CONTAINER,
                    },
                },
                "spec": _pod_spec(store, image) | image_pull_secrets(pull_secrets),
            },
        },
    }


def _pod_spec(store: SwarmMemoryStore, image: str) -> Object:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # Longer than the service takes to finish in-flight requests and to checkpoint.
        "terminationGracePeriodSeconds": 60,
        "securityContext": POD_SECURITY,
        "containers": [
            {
                "name": CONTAINER,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                # The condition Ready then has the last line of a service that cannot start.
                "terminationMessagePolicy": "FallbackToLogsOnError",
                # Every address of both families; the service falls back to IPv4 where the node has no IPv6.
                "args": ["serve", "--host=::"],
                "env": _environment(store),
                "ports": [
                    {"name": "http", "containerPort": network.HTTP_PORT, "protocol": "TCP"},
                    {"name": "grpc", "containerPort": network.GRPC_PORT, "protocol": "TCP"},
                    {"name": "metrics", "containerPort": network.METRICS_PORT, "protocol": "TCP"},
                ],
                # A database that was not closed cleanly is recovered before the first answer, in up to 10 minutes.
                "startupProbe": {**_probe("/healthz", store), "periodSeconds": 1, "failureThreshold": 600},
                "livenessProbe": {**_probe("/healthz", store), "periodSeconds": 10, "failureThreshold": 3},
                "readinessProbe": {**_probe("/readyz", store), "periodSeconds": 3, "failureThreshold": 2},
                "resources": resources(store.spec.cache_memory_mb),
                "securityContext": CONTAINER_SECURITY,
                "volumeMounts": [
                    {"name": "data", "mountPath": DATA_DIR},
                    {"name": "tokens", "mountPath": _TOKEN_DIR, "readOnly": True},
                    identity.mount(),
                    {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod
                    *([{"name": VOLUME, "mountPath": CERTIFICATE_DIR, "readOnly": True}] if store.is_secure else []),
                    *embedder.mounts(store),
                ],
            }
        ],
        "volumes": [
            data_volume(store),
            {"name": "tokens", "secret": {"secretName": auth.secret_name(store), "defaultMode": 0o440}},
            identity.volume(store),
            {"name": "tmp", "emptyDir": {}},
            *([_certificate(store)] if store.is_secure else []),
            *embedder.volumes(store),
        ],
    }


def _certificate(store: SwarmMemoryStore) -> Object:
    """Return the volume of the certificate. The pod starts when its Secret is there."""
    return {"name": VOLUME, "secret": {"secretName": names.secret_name(store), "defaultMode": 0o440}}


def data_volume(store: SwarmMemoryStore) -> Object:
    """Return the data volume as a pod names it."""
    return {"name": "data", "persistentVolumeClaim": {"claimName": storage.data_claim_name(store)}}


def image_pull_secrets(names: Sequence[str]) -> Object:
    """Return the part of a pod's spec that names the Secrets with which its images are pulled."""
    # Without names the field is absent, since a new field in the template would replace the pods of all stores at an
    # upgrade.
    return {"imagePullSecrets": [{"name": name} for name in names]} if names else {}


def _environment(store: SwarmMemoryStore) -> list[Object]:
    spec = store.spec
    fixed = {
        "SWARM_ID": store.swarm_id,
        "DATA_DIR": DATA_DIR,
        "TOKEN_DIR": _TOKEN_DIR,
        "SERVICE_ACCOUNTS": identity.PATH,
        "ENABLE_WAL": str(spec.enable_wal).lower(),
        "MCP_MODE": str(spec.mcp_mode).lower(),
        # The kubelet asks for readiness, and an image that never gets ready is put back: no write may be lost by that.
        "KEEP_FORMER": "true",
        # The pod of a deleted store takes no writes after its final backup, also when it is started again. A later
        # store that uses the same volume has a final backup of another name.
        "FINAL_BACKUP": final_name(store),
    }
    if store.is_secure:
        # The latter two are for commands that are run in the pod.
        fixed |= {
            "TLS_DIR": CERTIFICATE_DIR,
            "SWARM_MEMORY_URL": network.endpoints(store, secure=True)["http"],
            "SWARM_MEMORY_CA_FILE": f"{CERTIFICATE_DIR}/{CA_FILE}",
        }
    fixed |= embedder.variables(store)
    return [*({"name": name, "value": value} for name, value in fixed.items()), *settings.variables(store)]


def _probe(path: str, store: SwarmMemoryStore) -> dict[str, Any]:
    # The kubelet verifies no certificate.
    scheme = "HTTPS" if store.is_secure else "HTTP"
    return {"httpGet": {"path": path, "port": "http", "scheme": scheme}, "timeoutSeconds": 5}
