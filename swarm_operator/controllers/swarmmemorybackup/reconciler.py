"""SwarmMemoryBackupReconciler: has copies made, and deletes them with their objects."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmMemoryBackup
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import StepReconciler
from swarm_operator.controllers.swarmmemorybackup.copy import FINALIZER, Copy
from swarm_operator.controllers.swarmmemorybackup.deletion import DataDeletion
from swarm_operator.controllers.swarmmemorybackup.final import FinalJob
from swarm_operator.controllers.swarmmemorybackup.job import backup_of
from swarm_operator.controllers.swarmmemorybackup.service import BackupService, Calls
from swarm_operator.memory.client import BackupState
from swarm_operator.runtime.cache import CachedClient
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.events import EventRecorder


class SwarmMemoryBackupReconciler(StepReconciler[SwarmMemoryBackup]):
    """Reconciler of SwarmMemoryBackups.

    Args:
        client: where to read and write.
        recorder: where events go.
        service: asks memory services.
        image: the memory service's image, for Jobs.
        pull_secrets: names of the Secrets with which the image is pulled, in each backup's namespace.
        most: number of backups that are made at one time.
        deadline: seconds for which a backup waits at most for what it needs.
        final_deadline: seconds after the deletion of a store until which its final backup is tried.
        clock: the time; None for the system's.
    """

    def __init__(
        self,
        client: CachedClient,
        recorder: EventRecorder,
        service: BackupService,
        image: str,
        *,
        pull_secrets: tuple[str, ...] = (),
        most: int = 4,
        deadline: float = 3600.0,
        final_deadline: float = 3600.0,
        clock: Clock | None = None,
    ) -> None:
        # The call of a copy ends when its object is deleted, that of a deletion begins then.
        self.calls, self.deletions = Calls[BackupState](), Calls[BackupState]()
        super().__init__(
            kinds.SWARM_MEMORY_BACKUP,
            SwarmMemoryBackup,
            (Copy(service, self.calls, most, deadline, final_deadline, FinalJob(image, pull_secrets)),),
            client,
            recorder,
            clock or SystemClock(),
            finalizers=(FINALIZER,),
            cleanup=(DataDeletion(service, self.deletions, image, pull_secrets),),
        )

    def set_up(self, controller: Controller) -> None:
        """Watch backups, and the Jobs that make and delete their data, with their pods."""
        super().set_up(controller)
        self.calls.enqueue = self.deletions.enqueue = controller.queue.add
        for kind in (kinds.JOB, kinds.POD):
            controller.watch(kind, backup_of)
        # Stores, the objects that show whether and where their pods serve, and the readers of the data.
        controller.reads(kinds.SWARM_MEMORY_STORE, kinds.STATEFUL_SET, kinds.SERVICE, kinds.CONFIG_MAP)
        controller.reads(kinds.PERSISTENT_VOLUME_CLAIM, kinds.SWARM_MEMORY_RESTORE)
