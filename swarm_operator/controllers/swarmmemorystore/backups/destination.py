"""Where the backups of a store are kept, and what a pod needs to reach them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.api.v1alpha1.backups import VOLUME_URL, BackupDestination, ObjectStore
from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.resource import Key, Object

OPTIONS_ANNOTATION = "swarm.claudeflow.io/backups-options"
"""Annotation of a pod with the options of its object store, which the pod mounts as a file."""

_FOLDER = VOLUME_URL.removeprefix("file://")
_OPTIONS_DIR = "/etc/swarm-memory/backups"
_CREDENTIALS_DIR = "/etc/swarm-memory/backups-credentials"
_READABLE_BY_GROUP = 0o440


@dataclass(frozen=True, slots=True)
class BackupAccess:
    """Parts of a pod that reaches a destination of backups."""

    url: str
    """URL of the destination, as the pod sees it."""
    options: str | None
    """File with the options of an object store; None for a volume."""
    credentials: str | None
    """Folder with a file for each credential; None without credentials."""
    annotations: dict[str, str]
    """Annotations of the pod."""
    mounts: list[dict[str, Any]]
    """Mounts of the container."""
    volumes: list[dict[str, Any]]
    """Volumes of the pod."""

    @property
    def flags(self) -> list[str]:
        """Return the flags with which the memory's commands reach the destination."""
        options = [f"--backups-options={self.options}"] if self.options else []
        return options + ([f"--backups-credentials={self.credentials}"] if self.credentials else [])


def claim_name(store: SwarmMemoryStore) -> str:
    """Return the name of the claim of the backups volume."""
    return f"{store.metadata.name}-backups"


def asks_for_backups(store: SwarmMemoryStore) -> bool:
    """Return whether the store asks for backups, and so for a place to keep them.

    A store that asks for nothing but a final backup needs the place when it is deleted, and not before. A migration
    leaves its report there.
    """
    spec = store.spec
    scheduled = spec.backup_interval is not None or spec.backup_schedule is not None
    final = store.metadata.deletion_timestamp is not None and store.deletion_policy == "Backup"
    migrates = spec.migrate_from_legacy and not store.status.migration_completed
    return spec.backup is not None or scheduled or final or migrates


def destination_of(store: SwarmMemoryStore) -> BackupDestination:
    """Return where a store that asks for backups keeps them."""
    if store.spec.backup is not None and store.spec.backup.object_store is not None:
        return BackupDestination(object_store=store.spec.backup.object_store)
    return BackupDestination(claim_name=claim_name(store))


def destination_in_use(store: SwarmMemoryStore, cache: Cache) -> BackupDestination | None:
    """Return where a store keeps its backups now; None if nowhere. A volume that was made once stays in use."""
    if asks_for_backups(store):
        return destination_of(store)
    claim = cache.get(kinds.PERSISTENT_VOLUME_CLAIM, Key(store.metadata.namespace, claim_name(store)))
    if claim is None or claim["metadata"].get("deletionTimestamp"):
        return None
    return BackupDestination(claim_name=claim_name(store))


def access(destination: BackupDestination) -> BackupAccess:
    """Return what a pod needs to reach a destination."""
    if destination.object_store is not None:
        return _object_store_access(destination.object_store)
    return BackupAccess(
        url=VOLUME_URL,
        options=None,
        credentials=None,
        annotations={},
        mounts=[{"name": "backups", "mountPath": _FOLDER}],
        volumes=[{"name": "backups", "persistentVolumeClaim": {"claimName": destination.claim_name}}],
    )


def with_backups(workload: Object, destination: BackupDestination) -> Object:
    """Return a copy of a store's StatefulSet whose service keeps its backups at a destination."""
    found = access(destination)
    template = workload["spec"]["template"]
    (container,) = template["spec"]["containers"]
    container = {
        **container,
        "args": [*container["args"], f"--backups={found.url}", *found.flags],
        "volumeMounts": [*container["volumeMounts"], *found.mounts],
    }
    metadata = template["metadata"]
    template = {
        "metadata": {**metadata, "annotations": {**metadata["annotations"], **found.annotations}},
        "spec": {
            **template["spec"],
            "containers": [container],
            "volumes": [*template["spec"]["volumes"], *found.volumes],
        },
    }
    return {**workload, "spec": {**workload["spec"], "template": template}}


def is_used_by(workload: Object, destination: BackupDestination) -> bool:
    """Return whether the service of a store's StatefulSet keeps its backups at a destination."""
    found, template = access(destination), workload["spec"]["template"]
    arguments = [text for container in template["spec"]["containers"] for text in container.get("args") or ()]
    annotations = template["metadata"].get("annotations") or {}
    return f"--backups={found.url}" in arguments and found.annotations.items() <= annotations.items()


def _object_store_access(store: ObjectStore) -> BackupAccess:
    options: dict[str, Any] = {}
    if store.endpoint:
        options |= {"endpoint": store.endpoint, "allow_http": store.endpoint.startswith("http://")}
    if store.region:
        options["region"] = store.region
    # A ConfigMap would be one more kind to watch; the kubelet writes an annotation into a file, too.
    sources: list[dict[str, Any]] = [
        {
            "downwardAPI": {
                "items": [
                    {
                        "path": "options.json",
                        "fieldRef": {
                            "apiVersion": "v1",
                            "fieldPath": f"metadata.annotations['{OPTIONS_ANNOTATION}']",
                        },
                    }
                ]
            }
        }
    ]
    if store.ca_secret_ref:
        options["ca_file"] = f"{_OPTIONS_DIR}/ca.crt"
        sources.append({"secret": {"name": store.ca_secret_ref.name, "items": [{"key": "ca.crt", "path": "ca.crt"}]}})
    mounts = [{"name": "backups-options", "mountPath": _OPTIONS_DIR, "readOnly": True}]
    volumes: list[dict[str, Any]] = [
        {"name": "backups-options", "projected": {"sources": sources, "defaultMode": _READABLE_BY_GROUP}}
    ]
    if store.credentials_secret_ref:
        mounts.append({"name": "backups-credentials", "mountPath": _CREDENTIALS_DIR, "readOnly": True})
        secret = {"secretName": store.credentials_secret_ref.name, "defaultMode": _READABLE_BY_GROUP}
        volumes.append({"name": "backups-credentials", "secret": secret})
    return BackupAccess(
        url=store.url,
        options=f"{_OPTIONS_DIR}/options.json",
        credentials=_CREDENTIALS_DIR if store.credentials_secret_ref else None,
        annotations={OPTIONS_ANNOTATION: json.dumps(options, sort_keys=True)},
        mounts=mounts,
        volumes=volumes,
    )
