"""Job that migrates legacy memory into a store, and its report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import labels
from swarm_operator.controllers.swarmmemorystore import auth, network
from swarm_operator.controllers.swarmmemorystore.backups.destination import access, destination_of
from swarm_operator.controllers.swarmmemorystore.tls.names import CA_DIR, CA_FILE, CA_VOLUME, ca_volume
from swarm_operator.controllers.swarmmemorystore.workload.command import command_pod, near_pods_of
from swarm_operator.controllers.swarmmemorystore.workload.customisation import with_placement
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import image_of
from swarm_operator.runtime.resource import Object
from swarm_operator.shared.tokens import ADMIN_FILE

_RETRIES: Final = 5
"""Number of pods that may fail before the Job has failed; the back-off of Jobs spreads them over five minutes."""
_KEPT: Final = 3600
"""Seconds after which a finished Job is deleted. Its pod keeps the legacy claim from being deleted."""
_RETRY_FOR: Final = 120
"""Seconds for which a pod waits for a service that does not answer: longer than a restart takes."""
_LONGEST_PREFIX: Final = 40

_SOURCE_DIR: Final = "/legacy"
_TOKEN_DIR: Final = "/etc/swarm-memory/tokens"  # noqa: S105 - a path
_SCRATCH: Final = "/tmp"  # noqa: S108 - a volume of the pod
_SUMMARY: Final = "/dev/termination-log"
"""File whose content becomes the message of the container that has ended."""

_ENTRIES: Final = ("entry", "swarm", "message", "row", "state")
"""Kinds of the report that become entries."""
KINDS: Final = {
    "entries": _ENTRIES,
    "agents": ("agent",),
    "tasks": ("task",),
    "patterns": ("pattern",),
    "consensus": ("consensus",),
}
"""Kinds of the report by field of status.migration."""
_MIGRATED: Final = ("created", "updated", "unchanged")
"""Outcomes of items that the store has: after a kill, items that were written before are unchanged."""


def job_name(store: SwarmMemoryStore) -> str:
    """Return the name of the Job: another one for another store, another claim, and each retry."""
    retry = store.metadata.annotations.get(labels.RETRY_MIGRATION, "")
    asked = f"{store.metadata.uid} {store.spec.legacy_data_pvc} {retry}"
    digest = hashlib.sha256(asked.encode()).hexdigest()[:10]
    return f"{store.metadata.name[:_LONGEST_PREFIX].rstrip('-')}-migrate-{digest}"


def location(store: SwarmMemoryStore) -> str:
    """Return the URL of the folder where the Job leaves its report and the quarantine file."""
    return f"{access(destination_of(store)).url.rstrip('/')}/{store.swarm_id}/~migration"


def migration_job(store: SwarmMemoryStore, *, secure: bool, image: str, pull_secrets: Sequence[str] = ()) -> Object:
    """Return the Job. It reads the legacy claim and writes to the store's service, as any client does.

    Args:
        store: the store, whose service answers.
        secure: whether the service serves TLS now, see tls.names.serves_tls.
        image: the memory service's image, for stores that name no version.
        pull_secrets: names of the Secrets with which the image is pulled.
    """
    claim, found = store.spec.legacy_data_pvc, access(destination_of(store))
    ours = labels.identity(store)
    arguments = [
        *("migrate", f"--source={_SOURCE_DIR}", f"--target={network.endpoints(store, secure=secure)['http']}"),
        *([f"--ca-file={CA_DIR}/{CA_FILE}"] if secure else []),
        *(f"--token-file={_TOKEN_DIR}/{ADMIN_FILE}", f"--retry-for={_RETRY_FOR}", f"--swarm-id={store.swarm_id}"),
        *(f"--scratch={_SCRATCH}", f"--report={_SCRATCH}/report.json", f"--archive={found.url}"),
        *(f"--summary={_SUMMARY}", "--accept-quarantine"),
    ]
    pod = command_pod(
        "migrate",
        arguments,
        found,
        image=image_of(store, image),
        resources={"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        pull_secrets=pull_secrets,
        mounts=[
            {"name": "legacy", "mountPath": _SOURCE_DIR, "readOnly": True},
            {"name": "token", "mountPath": _TOKEN_DIR, "readOnly": True},
            *([{"name": CA_VOLUME, "mountPath": CA_DIR, "readOnly": True}] if secure else []),
        ],
        volumes=[
            # A claim that is read-only in the volume, too, is not given to the pod's group by the kubelet.
            {"name": "legacy", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}},
            {
                "name": "token",
                "secret": {
                    "secretName": auth.secret_name(store),
                    "items": [{"key": ADMIN_FILE, "path": ADMIN_FILE}],
                    "defaultMode": 0o440,
                },
            },
            *([ca_volume(store)] if secure else []),
        ],
    )
    return {
        "metadata": {
            "name": job_name(store),
            "labels": ours,
            "annotations": {labels.MIGRATION_SOURCE: claim},
        },
        "spec": {
            "backoffLimit": _RETRIES,
            "ttlSecondsAfterFinished": _KEPT,
            "template": with_placement(
                {
                    # Not the labels of the pod that serves: the Services would select this one.
                    "metadata": {"labels": ours, "annotations": found.annotations},
                    "spec": {
                        # Failed pods stay, with their logs.
                        "restartPolicy": "Never",
                        # The next run completes a killed run.
                        "terminationGracePeriodSeconds": 1,
                        **pod,
                        # The store's pod has the backups volume mounted.
                        **near_pods_of(store.metadata.name),
                    },
                },
                store,
            ),
        },
    }


def source_of(job: Object) -> str | None:
    """Return the claim that a Job migrates; None for any other Job."""
    claim: str | None = (job["metadata"].get("annotations") or {}).get(labels.MIGRATION_SOURCE)
    return claim


def asks_by_tls(job: Object) -> bool:
    """Return whether a Job expects that the service serves TLS."""
    return any(volume["name"] == CA_VOLUME for volume in job["spec"]["template"]["spec"]["volumes"])


def summary(ended: Object) -> dict[str, Any] | None:
    """Return the summary that a container left when it ended; None if it left none."""
    try:
        document = json.loads(ended.get("message") or "")
    except ValueError:
        return None
    whole = isinstance(document, dict) and all(isinstance(document.get(part), dict) for part in ("kinds", "totals"))
    return document if whole else None


def counts(found: dict[str, Any]) -> dict[str, int]:
    """Return the numbers of status.migration from a summary."""
    kinds, totals = found["kinds"], found["totals"]
    migrated = {
        field: sum(kinds.get(kind, {}).get(outcome, 0) for kind in members for outcome in _MIGRATED)
        for field, members in KINDS.items()
    }
    return {**migrated, "kept": totals.get("kept", 0), "quarantined": totals.get("quarantined", 0)}
