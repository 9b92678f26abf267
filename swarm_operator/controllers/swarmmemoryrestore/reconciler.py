"""SwarmMemoryRestoreReconciler: has restores carried out, once each."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmMemoryRestore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import StepReconciler
from swarm_operator.controllers.swarmmemorybackup.service import Calls
from swarm_operator.controllers.swarmmemoryrestore.ending import Ending
from swarm_operator.controllers.swarmmemoryrestore.restore import FINALIZER, Restore
from swarm_operator.controllers.swarmmemoryrestore.service import Observed, RestoreService
from swarm_operator.runtime.cache import CachedClient
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.events import EventRecorder


class SwarmMemoryRestoreReconciler(StepReconciler[SwarmMemoryRestore]):
    """Reconciler of SwarmMemoryRestores.

    Args:
        client: where to read and write.
        recorder: where events go.
        service: asks memory services.
        deadline: seconds for which a restore waits at most for what it needs.
        clock: the time; None for the system's.
    """

    def __init__(
        self,
        client: CachedClient,
        recorder: EventRecorder,
        service: RestoreService,
        *,
        deadline: float = 3600.0,
        clock: Clock | None = None,
    ) -> None:
        # The call of a restore ends when its object is deleted, that of its ending begins then.
        self.calls, self.endings = Calls[Observed](), Calls[Observed]()
        super().__init__(
            kinds.SWARM_MEMORY_RESTORE,
            SwarmMemoryRestore,
            (Restore(service, self.calls, deadline),),
            client,
            recorder,
            clock or SystemClock(),
            finalizers=(FINALIZER,),
            cleanup=(Ending(service, self.endings),),
        )

    def set_up(self, controller: Controller) -> None:
        """Watch restores."""
        super().set_up(controller)
        # Backups, stores, and the objects that show whether and where the stores' pods serve.
        controller.reads(kinds.SWARM_MEMORY_BACKUP, kinds.SWARM_MEMORY_STORE, kinds.STATEFUL_SET, kinds.POD)
        controller.reads(kinds.SERVICE, kinds.CONFIG_MAP, kinds.PERSISTENT_VOLUME_CLAIM)
        self.calls.enqueue = self.endings.enqueue = controller.queue.add
