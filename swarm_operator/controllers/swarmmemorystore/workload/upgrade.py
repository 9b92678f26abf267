"""The backup that is made before a store's pod gets another image: a newer release may change the database's schema.

It is made of stores that keep backups, while their pod works. A pod that does not work is not kept from the release
that fixes it.
"""

from __future__ import annotations

import hashlib
from typing import Final

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup, SwarmMemoryStore
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, failed, waiting
from swarm_operator.controllers.swarmmemorystore.backups import objects
from swarm_operator.controllers.swarmmemorystore.backups.destination import destination_in_use, is_used_by
from swarm_operator.controllers.swarmmemorystore.workload.availability import availability
from swarm_operator.controllers.swarmmemorystore.workload.rollout import image_of_template
from swarm_operator.controllers.swarmmemorystore.workload.serving import running_workload
from swarm_operator.runtime.resource import Key, Object

CONDITION: Final = "Upgraded"
"""Type of a condition that is there while an upgrade waits."""
PRE_UPGRADE: Final = "PreUpgrade"
"""Reason of the backup."""


async def waits_for(r: Reconciliation[SwarmMemoryStore], image: str) -> Outcome | None:
    """Return what the StatefulSet waits for before its pod gets another image; None if the backup is verified.

    Args:
        r: the pass.
        image: the image that the pod is to have.

    Returns:
        Reasons: PreUpgradeBackup or PreUpgradeBackupFailed.
    """
    workload = running_workload(r.parsed, r.client.cache)
    if workload is None or r.parsed.spec.hibernated:
        return None
    if image_of_template(workload["spec"]["template"]) == image or not _works(r, workload):
        return None
    if r.parsed.metadata.annotations.get(labels.SKIP_UPGRADE_BACKUP) == "true":
        return None
    destination = destination_in_use(r.parsed, r.client.cache)
    if destination is None or not is_used_by(workload, destination):
        return None
    name = _name(r.parsed, workload, image)
    found = r.client.get(kinds.SWARM_MEMORY_BACKUP, Key(r.parsed.metadata.namespace, name))
    backup = SwarmMemoryBackup.model_validate(found) if found else None
    if backup is None:
        await objects.create(r, PRE_UPGRADE, name)
    elif backup.status.phase == "Completed" and backup.status.verified_at is not None:
        return None
    said = f"the pod gets {image} when SwarmMemoryBackup {name} is verified"
    if backup is not None and backup.status.phase == "Failed":
        why = next((c.message for c in backup.status.conditions if c.type == "Ready"), "")
        help_ = f"delete it to try again, or annotate the store with {labels.SKIP_UPGRADE_BACKUP}=true"
        return failed("PreUpgradeBackupFailed", f"{said}; it has failed: {why}; {help_}")
    return waiting("PreUpgradeBackup", said)


def _works(r: Reconciliation[SwarmMemoryStore], workload: Object) -> bool:
    """Return whether the pod has no problem; it may be starting."""
    namespace, name = r.parsed.metadata.namespace, r.parsed.metadata.name
    pod = r.client.get(kinds.POD, Key(namespace, f"{name}-0"))
    return availability(workload, [pod] if pod else [], now=r.clock.now()).phase != "Error"


def _name(store: SwarmMemoryStore, workload: Object, image: str) -> str:
    """Return the name of the backup: another one for each change of the StatefulSet to an image."""
    change = f"{workload['metadata']['uid']} {workload['metadata']['generation']} {image}"
    return f"{store.metadata.name}-upgrade-{hashlib.sha256(change.encode()).hexdigest()[:10]}"
