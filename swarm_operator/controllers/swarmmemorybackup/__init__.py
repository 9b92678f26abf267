"""SwarmMemoryBackup: one copy of a store's data, made, verified and deleted by the store's memory service."""

from swarm_operator.controllers.swarmmemorybackup.reconciler import SwarmMemoryBackupReconciler

__all__ = ["SwarmMemoryBackupReconciler"]
