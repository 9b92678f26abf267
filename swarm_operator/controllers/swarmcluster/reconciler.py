"""SwarmClusterReconciler: makes the cluster match a SwarmCluster, and the status match the cluster."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import StepReconciler
from swarm_operator.controllers.swarmcluster.memory_store import MemoryStore
from swarm_operator.runtime import handlers
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.clock import Clock
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.events import EventRecorder


class SwarmClusterReconciler(StepReconciler[SwarmCluster]):
    """Reconciler of SwarmClusters."""

    def __init__(self, cache: Cache, recorder: EventRecorder, clock: Clock | None = None) -> None:
        super().__init__(kinds.SWARM_CLUSTER, SwarmCluster, (MemoryStore(),), cache, recorder, clock)

    def set_up(self, controller: Controller) -> None:
        """Watch clusters and their stores; users make stores too, so stores are watched with or without our label."""
        super().set_up(controller)
        controller.watch(kinds.SWARM_MEMORY_STORE, handlers.enqueue_owner(kinds.SWARM_CLUSTER))
