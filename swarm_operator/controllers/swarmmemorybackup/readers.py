"""Readers of a backup's data. The data is deleted when it has no readers, as a volume when no pod uses it."""

from __future__ import annotations

import json
from collections.abc import Iterator

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup
from swarm_operator.controllers.common import jobs, kinds, labels
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.resource import Object, Resource

_ENDED = frozenset({"Completed", "Failed"})
"""Phases of a restore that no longer reads."""


def readers_of(backup: SwarmMemoryBackup, cache: Cache) -> list[str]:
    """Return the restores and the Jobs that read a backup's data, as people call them.

    A restore that has not found the backup yet is none: it finds one that is being deleted, and fails.
    """
    namespace, location = backup.metadata.namespace, backup.status.location
    found = [*_restores(cache), *_new_stores(cache)]
    return sorted(
        f"{kind.kind} {obj['metadata']['name']}"
        for kind, obj, its in found
        if its == location and obj["metadata"]["namespace"] == namespace
    )


def _restores(cache: Cache) -> Iterator[tuple[Resource, Object, str]]:
    """Yield each restore that is not finished, with what it reads."""
    for restore in cache.list(kinds.SWARM_MEMORY_RESTORE):
        status = restore.get("status") or {}
        if "location" in status and status.get("phase") not in _ENDED:
            yield kinds.SWARM_MEMORY_RESTORE, restore, status["location"]


def _new_stores(cache: Cache) -> Iterator[tuple[Resource, Object, str]]:
    """Yield each Job that makes a new store, with what it reads."""
    for job in cache.list(kinds.JOB):
        source = (job["metadata"].get("annotations") or {}).get(labels.RESTORE_SOURCE)
        if source and jobs.outcome(job).reason == "JobRunning":
            yield kinds.JOB, job, json.loads(source)["location"]
