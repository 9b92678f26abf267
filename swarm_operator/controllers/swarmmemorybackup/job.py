"""The Job that deletes a backup's data when no memory service can."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup
from swarm_operator.api.v1alpha1.backups import BackupDestination
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmmemorystore.backups.destination import access
from swarm_operator.controllers.swarmmemorystore.workload.command import command_pod
from swarm_operator.runtime.errors import ConflictError, NotFoundError
from swarm_operator.runtime.resource import Key, Object, key_of

_DEADLINE = 600
"""Seconds for which the Job may run, waiting for its volume included."""
_KEPT = 3600
"""Seconds after which a finished Job is deleted."""
_LONGEST_PREFIX = 40


class JobNameTakenError(Exception):
    """A Job that is not ours has the name."""


def deletion_job(
    backup: SwarmMemoryBackup,
    destination: BackupDestination,
    location: str,
    *,
    image: str,
    pull_secrets: Sequence[str] = (),
) -> Object:
    """Return the Job that deletes the data of a backup.

    It has no owner: in a deletion in the foreground the backup's children are deleted first.

    Args:
        backup: the backup.
        destination: where it lies.
        location: its URL there.
        image: the image of this release, which deletes what any release has written. Not that of the store's version:
            the store may be gone, and an older image may lack the command.
        pull_secrets: names of the Secrets with which the image is pulled, in the backup's namespace.
    """
    found = access(destination)
    name, uid = backup.metadata.name, backup.metadata.uid
    digest = hashlib.sha256(uid.encode()).hexdigest()[:10]
    return {
        "apiVersion": kinds.JOB.api_version,
        "kind": kinds.JOB.kind,
        "metadata": {
            "name": f"{name[:_LONGEST_PREFIX].rstrip('-.').replace('.', '-')}-delete-{digest}",
            "namespace": backup.metadata.namespace,
            "labels": {labels.MANAGED_BY: labels.FIELD_MANAGER},
            "annotations": {labels.BACKUP: name, labels.BACKUP_UID: uid},
        },
        "spec": {
            "backoffLimit": 3,
            "activeDeadlineSeconds": _DEADLINE,
            "ttlSecondsAfterFinished": _KEPT,
            "template": {
                "metadata": {"annotations": found.annotations},
                "spec": {
                    "restartPolicy": "Never",
                    **command_pod(
                        "delete",
                        ["backups", "delete", location],
                        found,
                        image=image,
                        resources={"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                        pull_secrets=pull_secrets,
                    ),
                },
            },
        },
    }


async def ensure_job(r: Reconciliation[Any], wanted: Object) -> Object:
    """Return the Job; create it if it does not exist.

    Raises:
        JobNameTakenError: a Job that is not ours has the name.
        ApiError: the server refused.
    """
    namespace, name = key_of(wanted)
    try:
        live = await r.cache.client.get(kinds.JOB, namespace, name)
    except NotFoundError:
        try:
            live = await r.cache.create(kinds.JOB, wanted, field_manager=labels.FIELD_MANAGER)
        except ConflictError:
            live = await r.cache.client.get(kinds.JOB, namespace, name)
        else:
            r.recorder.event(r.obj, "Normal", "Created", f"created {kinds.JOB.kind} {name}", action="Create")
    found = live["metadata"].get("annotations") or {}
    if found.get(labels.BACKUP_UID) != wanted["metadata"]["annotations"][labels.BACKUP_UID]:
        raise JobNameTakenError(f"Job {name} exists and belongs to somebody else")
    return live


def backup_of(job: Object) -> tuple[Key, ...]:
    """Return the key of the backup whose data a Job deletes; none for another Job."""
    name = (job["metadata"].get("annotations") or {}).get(labels.BACKUP)
    return (Key(job["metadata"]["namespace"], name),) if name else ()
