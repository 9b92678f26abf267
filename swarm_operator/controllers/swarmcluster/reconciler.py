"""SwarmClusterReconciler: makes the cluster match a SwarmCluster, and the status match the cluster."""

from __future__ import annotations

import random

from swarm_operator.api.v1alpha1 import SwarmCluster
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import StepReconciler
from swarm_operator.controllers.swarmcluster.agents.autoscaling import Autoscaling
from swarm_operator.controllers.swarmcluster.agents.step import Agents
from swarm_operator.controllers.swarmcluster.deletion import CleanUp
from swarm_operator.controllers.swarmcluster.github import revocation
from swarm_operator.controllers.swarmcluster.github.api import GitHubApi
from swarm_operator.controllers.swarmcluster.github.calls import Calls
from swarm_operator.controllers.swarmcluster.github.revocation import RevokeToken
from swarm_operator.controllers.swarmcluster.github.step import GitHubToken
from swarm_operator.controllers.swarmcluster.hive_mind import HiveMind
from swarm_operator.controllers.swarmcluster.memory_store import MemoryStore
from swarm_operator.controllers.swarmcluster.namespaces import FINALIZER, HiveMindNamespace, SwarmNamespace
from swarm_operator.controllers.swarmcluster.placement import DefaultNamespaces
from swarm_operator.runtime import handlers
from swarm_operator.runtime.cache import CachedClient
from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.events import EventRecorder

_MAP_FROM_ELSEWHERE = handlers.enqueue_by_labels(namespace=labels.CLUSTER_NAMESPACE, name=labels.CLUSTER_NAME)


class SwarmClusterReconciler(StepReconciler[SwarmCluster]):
    """Reconciler of SwarmClusters.

    Args:
        client: where to read and write.
        recorder: where events go.
        clock: the time; None for the system's.
        image: the memory service's image, for agents whose template names none.
        pull_secrets: names of the Secrets with which it is pulled, in each swarm's namespace.
        defaults: names of the namespaces of clusters that ask for them without naming them.
        github: mints and revokes GitHub tokens; None for one of this clock.
    """

    def __init__(
        self,
        client: CachedClient,
        recorder: EventRecorder,
        clock: Clock | None = None,
        *,
        image: str,
        pull_secrets: tuple[str, ...] = (),
        defaults: DefaultNamespaces = DefaultNamespaces(),  # noqa: B008 - frozen
        github: GitHubApi | None = None,
    ) -> None:
        clock, rng = clock or SystemClock(), random.Random()  # noqa: S311 - spreads calls
        github = github or GitHubApi(clock.now, user_agent="swarm-operator")
        self._mints = Calls(github.mint, monotonic=clock.monotonic, rng=rng)
        # A deletion waits for these.
        self._revocations = Calls(github.revoke, monotonic=clock.monotonic, rng=rng, first_delay=2.0, most=64)
        # The last step that decides Ready gives its reason when all are done: the memory is what most swarms have.
        steps = (
            SwarmNamespace(defaults),
            HiveMindNamespace(),
            HiveMind(),
            GitHubToken(self._mints, self._revocations),
            MemoryStore(),
            Agents(image, pull_secrets),
            Autoscaling(),
        )
        ours = (FINALIZER, revocation.FINALIZER)
        super().__init__(kinds.SWARM_CLUSTER, SwarmCluster, steps, client, recorder, clock, finalizers=ours)
        # Agents end before their memory does.
        self._placed = tuple(dict.fromkeys(kind for step in steps for kind in step.owns))
        order = (*self._placed, kinds.SWARM_MEMORY_STORE)
        self.cleanup = (RevokeToken(self._revocations, defaults), CleanUp(order, defaults))

    def set_up(self, controller: Controller) -> None:
        """Watch clusters, what they have in their own namespace and elsewhere, all stores, and the agents' pods."""
        super().set_up(controller)
        self._mints.enqueue = self._revocations.enqueue = controller.queue.add
        controller.watch(kinds.SWARM_MEMORY_STORE, handlers.enqueue_owner(kinds.SWARM_CLUSTER))
        controller.watch(kinds.POD, handlers.enqueue_by_label(labels.AGENTS))
        for kind in (*self._placed, kinds.SWARM_MEMORY_STORE, kinds.POD):
            controller.watch(kind, _MAP_FROM_ELSEWHERE)
            self.client.cache.add_index(kind, children.ELSEWHERE_INDEX, children.by_owner_elsewhere)
        controller.reads(kinds.PERSISTENT_VOLUME_CLAIM, kinds.SWARM_MEMORY_BACKUP)  # a deletion waits for these
