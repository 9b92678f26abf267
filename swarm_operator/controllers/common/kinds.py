"""Kinds that the reconcilers read and write."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryBackup, SwarmMemoryRestore, SwarmMemoryStore
from swarm_operator.runtime.resource import Resource

SWARM_CLUSTER = Resource(SwarmCluster.GROUP, SwarmCluster.VERSION, SwarmCluster.KIND, SwarmCluster.PLURAL)
SWARM_MEMORY_STORE = Resource(
    SwarmMemoryStore.GROUP, SwarmMemoryStore.VERSION, SwarmMemoryStore.KIND, SwarmMemoryStore.PLURAL
)
SWARM_MEMORY_BACKUP = Resource(
    SwarmMemoryBackup.GROUP, SwarmMemoryBackup.VERSION, SwarmMemoryBackup.KIND, SwarmMemoryBackup.PLURAL
)
SWARM_MEMORY_RESTORE = Resource(
    SwarmMemoryRestore.GROUP, SwarmMemoryRestore.VERSION, SwarmMemoryRestore.KIND, SwarmMemoryRestore.PLURAL
)
CUSTOM_RESOURCES = (SWARM_CLUSTER, SWARM_MEMORY_STORE, SWARM_MEMORY_BACKUP, SWARM_MEMORY_RESTORE)
"""Kinds that users write, too. Of all other kinds the operator watches only objects with its label."""
CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps")
CONTROLLER_REVISION = Resource("apps", "v1", "ControllerRevision", "controllerrevisions")
HORIZONTAL_POD_AUTOSCALER = Resource("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
JOB = Resource("batch", "v1", "Job", "jobs")
NAMESPACE = Resource("", "v1", "Namespace", "namespaces", namespaced=False)
PERSISTENT_VOLUME_CLAIM = Resource("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
NETWORK_POLICY = Resource("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
POD = Resource("", "v1", "Pod", "pods")
RESOURCE_QUOTA = Resource("", "v1", "ResourceQuota", "resourcequotas")
POD_DISRUPTION_BUDGET = Resource("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
SECRET = Resource("", "v1", "Secret", "secrets")
SERVICE = Resource("", "v1", "Service", "services")
SERVICE_ACCOUNT = Resource("", "v1", "ServiceAccount", "serviceaccounts")
STATEFUL_SET = Resource("apps", "v1", "StatefulSet", "statefulsets")
