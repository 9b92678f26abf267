"""Version v1alpha1 of group swarm.claudeflow.io."""

from swarm_operator.api.v1alpha1.swarmcluster import SwarmCluster
from swarm_operator.api.v1alpha1.swarmmemorybackup import SwarmMemoryBackup
from swarm_operator.api.v1alpha1.swarmmemoryrestore import SwarmMemoryRestore
from swarm_operator.api.v1alpha1.swarmmemorystore import SwarmMemoryStore

KINDS = (SwarmCluster, SwarmMemoryStore, SwarmMemoryBackup, SwarmMemoryRestore)

__all__ = ["KINDS", "SwarmCluster", "SwarmMemoryBackup", "SwarmMemoryRestore", "SwarmMemoryStore"]
