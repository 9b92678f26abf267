"""SwarmMemoryStoreReconciler: makes the cluster match a SwarmMemoryStore, and the status match the cluster."""

from __future__ import annotations

import random

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.common.reconciliation import StepReconciler
from swarm_operator.controllers.swarmmemorystore.auth import Auth
from swarm_operator.controllers.swarmmemorystore.backups.objects import STORE_INDEX, by_store, store_of
from swarm_operator.controllers.swarmmemorystore.backups.step import Backups
from swarm_operator.controllers.swarmmemorystore.backups.volume import BackupsVolume
from swarm_operator.controllers.swarmmemorystore.deletion import FinalBackup
from swarm_operator.controllers.swarmmemorystore.disruption_budget import DisruptionBudget
from swarm_operator.controllers.swarmmemorystore.embedder import EmbedderSecrets
from swarm_operator.controllers.swarmmemorystore.identity.cluster_keys import KeySource
from swarm_operator.controllers.swarmmemorystore.identity.step import Identity
from swarm_operator.controllers.swarmmemorystore.migration.step import Migration
from swarm_operator.controllers.swarmmemorystore.network import ClientService, Endpoints, HeadlessService
from swarm_operator.controllers.swarmmemorystore.network_policy import NetworkPolicy
from swarm_operator.controllers.swarmmemorystore.settings import LiveSettings
from swarm_operator.controllers.swarmmemorystore.space import Space
from swarm_operator.controllers.swarmmemorystore.stats import Observer, Poller, StatsPoll
from swarm_operator.controllers.swarmmemorystore.storage import FINALIZER, Storage
from swarm_operator.controllers.swarmmemorystore.tls.authority import Authority
from swarm_operator.controllers.swarmmemorystore.tls.step import Certificate
from swarm_operator.controllers.swarmmemorystore.workload.restore import Restore
from swarm_operator.controllers.swarmmemorystore.workload.step import Workload
from swarm_operator.controllers.swarmmemorystore.workload.turns import Turns
from swarm_operator.runtime import handlers
from swarm_operator.runtime.cache import CachedClient
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import key_of


class SwarmMemoryStoreReconciler(StepReconciler[SwarmMemoryStore]):
    """Reconciler of SwarmMemoryStores.

    Args:
        client: where to read and write.
        recorder: where events go.
        observer: reads the numbers of memory services.
        image: the memory service's image, for stores that name no version.
        pull_secrets: names of the Secrets with which the image is pulled, in each store's namespace.
        operator_namespace: namespace of the operator's pods, which NetworkPolicies let in; empty for none.
        status_interval: seconds between two polls of a ready store, plus or minus a tenth.
        waiting_interval: the same for a store that is not ready or whose numbers are unknown.
        final_deadline: seconds after the deletion of a store until which its final backup is tried.
        most_restarts: number of stores whose pods are replaced at one time.
        clock: the time; None for the system's.
        rng: spreads the polls.
    """

    def __init__(
        self,
        client: CachedClient,
        recorder: EventRecorder,
        observer: Observer,
        image: str,
        *,
        pull_secrets: tuple[str, ...] = (),
        operator_namespace: str = "",
        status_interval: float = 30.0,
        waiting_interval: float = 5.0,
        final_deadline: float = 3600.0,
        most_restarts: int = 1,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        timing = clock or SystemClock()
        rng = rng or random.Random()  # noqa: S311 - no secret
        self.poller = Poller(
            observer,
            status_interval,
            waiting_interval,
            rng=rng,
            monotonic=timing.monotonic,
        )
        self.turns = Turns(most_restarts)
        self.keys = KeySource(client.server, monotonic=timing.monotonic, rng=rng)
        steps = (
            Storage(),
            Auth(),
            Certificate(Authority(operator_namespace)),
            ClientService(),
            HeadlessService(),
            NetworkPolicy(operator_namespace),
            DisruptionBudget(),
            LiveSettings(),
            EmbedderSecrets(),
            Identity(self.keys, self.poller.features, image),
            BackupsVolume(),
            Restore(image, pull_secrets),
            Workload(image, pull_secrets, turns=self.turns),
            Endpoints(),
            StatsPoll(self.poller),
            Space(self.poller),
            Backups(),
            Migration(image, pull_secrets),
        )
        super().__init__(
            kinds.SWARM_MEMORY_STORE,
            SwarmMemoryStore,
            steps,
            client,
            recorder,
            timing,
            finalizers=(FINALIZER,),
            cleanup=(FinalBackup(final_deadline),),
        )

    def set_up(self, controller: Controller) -> None:
        """Watch stores, their children and backups, claims, which may have no owner, and pods, which the set owns."""
        super().set_up(controller)
        self.poller.enqueue = self.turns.enqueue = controller.queue.add
        self.keys.changed = lambda: self._enqueue_all(controller)
        controller.watch(kinds.SWARM_MEMORY_BACKUP, store_of)
        self.client.cache.add_index(kinds.SWARM_MEMORY_BACKUP, STORE_INDEX, by_store)
        for kind in (kinds.PERSISTENT_VOLUME_CLAIM, kinds.POD):
            controller.watch(kind, handlers.enqueue_by_label(labels.STORE))

    def _enqueue_all(self, controller: Controller) -> None:
        """Have all stores looked at: what all of them depend on has changed."""
        for store in self.client.list(kinds.SWARM_MEMORY_STORE):
            controller.queue.add(key_of(store))
