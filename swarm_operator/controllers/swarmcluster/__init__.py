"""SwarmCluster: the memory store of a swarm, and what it says of itself."""

from swarm_operator.controllers.swarmcluster.reconciler import SwarmClusterReconciler

__all__ = ["SwarmClusterReconciler"]
