"""SwarmCluster: the memory store of a swarm, and the swarm's status."""

from swarm_operator.controllers.swarmcluster.reconciler import SwarmClusterReconciler

__all__ = ["SwarmClusterReconciler"]
