"""The Job that makes the database of a new store from a backup."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import labels
from swarm_operator.controllers.swarmmemorystore.backups.destination import access
from swarm_operator.controllers.swarmmemorystore.backups.source import Source
from swarm_operator.controllers.swarmmemorystore.workload.command import command_pod, near_pods_of
from swarm_operator.controllers.swarmmemorystore.workload.customisation import with_placement
from swarm_operator.controllers.swarmmemorystore.workload.memory import resources
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import DATA_DIR, data_volume
from swarm_operator.runtime.resource import Object

_RETRIES = 2**31 - 1
"""Number of restarts: a corrected key, or a bucket that answers again, ends them."""
_KEPT = 3600
"""Seconds after which a finished Job is deleted."""


def job_name(store: SwarmMemoryStore) -> str:
    """Return the name of the Job."""
    return f"{store.metadata.name}-restore"


def restore_job(
    store: SwarmMemoryStore, source: Source, *, image: str, pull_secrets: Sequence[str] = (), near: str | None = None
) -> Object:
    """Return the Job. It writes the data volume and reads the backup, whose credentials are files of its pod.

    Args:
        store: the new store.
        source: the backup.
        image: the image that will serve the database: it refuses one of a newer release.
        pull_secrets: names of the Secrets with which the image is pulled.
        near: name of a store whose pod may have mounted the backup's volume, which most volumes allow on one node only.
    """
    found = access(source.destination)
    told = {"location": source.location} | ({"backup": source.backup} if source.backup else {})
    return {
        "metadata": {
            "name": job_name(store),
            "labels": labels.identity(store),
            "annotations": {labels.RESTORE_SOURCE: json.dumps(told, sort_keys=True)},
        },
        "spec": {
            "backoffLimit": _RETRIES,
            "ttlSecondsAfterFinished": _KEPT,
            "template": with_placement(
                {
                    # Not the labels of the pod that serves: the Services would select this one.
                    "metadata": {"labels": labels.identity(store), "annotations": found.annotations},
                    "spec": {
                        # The last failure then stays in the status of one pod.
                        "restartPolicy": "OnFailure",
                        # A kill leaves no half database.
                        "terminationGracePeriodSeconds": 1,
                        **command_pod(
                            "restore",
                            ["backups", "restore", source.location, f"--data-dir={DATA_DIR}"],
                            replace(found, mounts=[{**mount, "readOnly": True} for mount in found.mounts]),
                            image=image,
                            resources=resources(store.spec.cache_memory_mb),
                            pull_secrets=pull_secrets,
                            mounts=[{"name": "data", "mountPath": DATA_DIR}],
                            volumes=[data_volume(store)],
                        ),
                        **(near_pods_of(near) if near else {}),
                    },
                },
                store,
            ),
        },
    }
