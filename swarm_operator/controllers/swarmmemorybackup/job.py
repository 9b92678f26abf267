"""The Jobs that make a final backup and delete a backup's data when no memory service can."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryStore
from swarm_operator.api.v1alpha1.backups import BackupDestination
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.reconciliation import Reconciliation
from swarm_operator.controllers.swarmmemorystore.backups.destination import access
from swarm_operator.controllers.swarmmemorystore.backups.objects import FINAL
from swarm_operator.controllers.swarmmemorystore.storage import data_claim_name
from swarm_operator.controllers.swarmmemorystore.workload.command import command_pod
from swarm_operator.controllers.swarmmemorystore.workload.customisation import with_placement
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import image_of
from swarm_operator.runtime.errors import ConflictError, NotFoundError
from swarm_operator.runtime.resource import Key, Object, key_of

_DEADLINE = 600
"""Seconds for which the Job that deletes may run, waiting for its volume included."""
_RETRIES = 3
_FINAL_RETRIES = 30
"""Retries of the Job that makes a final backup. The back-off of Jobs spreads them over hours; its deadline ends it."""
REPORT = "/dev/termination-log"
"""File whose content becomes the message of the container that has ended."""
_KEPT = 3600
"""Seconds after which a finished Job is deleted."""
_LONGEST_PREFIX = 40


MAKE = "make"
_DELETE = "delete"
"""Task of a Job, which is part of its name and the name of its container."""


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
        image: the image of this release, which deletes what any release has written. The image of the store's version
            is not used: the store may be deleted, and an older image may lack the command.
        pull_secrets: names of the Secrets with which the image is pulled, in the backup's namespace.
    """
    found = access(destination)
    pod = command_pod(
        _DELETE,
        ["backups", "delete", location],
        found,
        image=image,
        resources=_resources("256Mi"),
        pull_secrets=pull_secrets,
    )
    return _job(backup, _DELETE, pod, found.annotations, deadline=_DEADLINE, retries=_RETRIES)


def making_job(
    backup: SwarmMemoryBackup,
    store: SwarmMemoryStore,
    destination: BackupDestination,
    location: str,
    *,
    image: str,
    pull_secrets: Sequence[str] = (),
    deadline: int,
) -> Object:
    """Return the Job that makes the final backup of a store that has no pod.

    Args:
        backup: the backup.
        store: the store.
        destination: where the backup is to lie.
        location: its URL there.
        image: the memory service's image, for stores that name no version: the store's own release knows its database.
        pull_secrets: names of the Secrets with which the image is pulled, in the backup's namespace.
        deadline: seconds for which it may run, retries and waiting for its volumes included.
    """
    arguments = [
        *("backups", "make", location, "--data-dir=/data", f"--swarm-id={store.swarm_id}"),
        *(f"--enable-wal={str(store.spec.enable_wal).lower()}", f"--reason={FINAL}"),
        *("--missing-ok", f"--report={REPORT}"),
    ]
    found = access(destination)
    pod = command_pod(
        MAKE,
        arguments,
        found,
        image=image_of(store, image),
        resources=_resources("512Mi"),
        pull_secrets=pull_secrets,
        mounts=[{"name": "data", "mountPath": "/data"}],
        volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": data_claim_name(store)}}],
    )
    job = _job(backup, MAKE, pod, found.annotations, deadline=deadline, retries=_FINAL_RETRIES)
    return {**job, "spec": {**job["spec"], "template": with_placement(job["spec"]["template"], store)}}


def _job(
    backup: SwarmMemoryBackup, verb: str, pod: Object, annotations: dict[str, str], *, deadline: int, retries: int
) -> Object:
    ours = {labels.MANAGED_BY: labels.FIELD_MANAGER}
    whose = {labels.BACKUP: backup.metadata.name, labels.BACKUP_UID: backup.metadata.uid}
    return {
        "apiVersion": kinds.JOB.api_version,
        "kind": kinds.JOB.kind,
        "metadata": {
            "name": job_name(backup, verb),
            "namespace": backup.metadata.namespace,
            "labels": ours,
            "annotations": whose,
        },
        "spec": {
            "backoffLimit": retries,
            "activeDeadlineSeconds": deadline,
            "ttlSecondsAfterFinished": _KEPT,
            "template": {
                "metadata": {"labels": ours, "annotations": {**whose, **annotations}},
                "spec": {"restartPolicy": "Never", **pod},
            },
        },
    }


def _resources(memory: str) -> Object:
    return {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": memory}}


def job_name(backup: SwarmMemoryBackup, verb: str) -> str:
    """Return the name of a Job that works for a backup: short enough for its pods to carry it as a label."""
    digest = hashlib.sha256(backup.metadata.uid.encode()).hexdigest()[:10]
    return f"{backup.metadata.name[:_LONGEST_PREFIX].rstrip('-.').replace('.', '-')}-{verb}-{digest}"


async def ensure_job(r: Reconciliation[Any], wanted: Object) -> Object:
    """Return the Job; create it if it does not exist.

    Raises:
        JobNameTakenError: a Job that is not ours has the name.
        ApiError: the server refused.
    """
    namespace, name = key_of(wanted)
    try:
        live = await r.client.server.get(kinds.JOB, namespace, name)
    except NotFoundError:
        try:
            live = await r.client.create(kinds.JOB, wanted, field_manager=labels.FIELD_MANAGER)
        except ConflictError:
            live = await r.client.server.get(kinds.JOB, namespace, name)
        else:
            r.recorder.event(r.obj, "Normal", "Created", f"created {kinds.JOB.kind} {name}", action="Create")
    found = live["metadata"].get("annotations") or {}
    if found.get(labels.BACKUP_UID) != wanted["metadata"]["annotations"][labels.BACKUP_UID]:
        raise JobNameTakenError(f"Job {name} exists and belongs to another owner")
    return live


def backup_of(obj: Object) -> tuple[Key, ...]:
    """Return the key of the backup that a Job or its pod works for; none for another object."""
    name = (obj["metadata"].get("annotations") or {}).get(labels.BACKUP)
    return (Key(obj["metadata"]["namespace"], name),) if name else ()
