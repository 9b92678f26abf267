"""Labels and annotations that the operator writes, and its field manager."""

from __future__ import annotations

from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.runtime.resource import Object

FIELD_MANAGER = "swarm-operator"

NAME = "app.kubernetes.io/name"
AGENT_NAME = "swarm-agent"
"""Value of NAME of all agents' pods."""
MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGED = f"{MANAGED_BY}={FIELD_MANAGER}"
"""Selector of all objects that the operator creates."""

STORE = "swarm.claudeflow.io/memory-store"
CLUSTER = "swarm.claudeflow.io/cluster"
CLUSTER_NAME = "swarm.claudeflow.io/cluster-name"
CLUSTER_NAMESPACE = "swarm.claudeflow.io/cluster-namespace"
CLUSTER_UID = "swarm.claudeflow.io/cluster-uid"
"""Labels of what a SwarmCluster has in another namespace, where an owner reference cannot point to it."""
SWARM_ID = "swarm.claudeflow.io/swarm-id"
AGENTS = "swarm.claudeflow.io/agents"
"""Label of an agent's pod: the SwarmCluster in the same namespace."""
SCALED_AT = "swarm.claudeflow.io/scaled-at"
"""Annotation of the agents' StatefulSet: when their number was last changed. It is written together with the number."""

NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""Label with its name that the API server gives every namespace."""
ALLOW_CLUSTERS_FROM = "swarm.claudeflow.io/allow-clusters-from"
"""Annotation of a Namespace: the namespaces, separated by commas, whose SwarmClusters may have their parts in it; `*`
for all. A label could hold one name only.

Label or annotation of a Secret with a GitHub App's key: the namespaces whose SwarmClusters may use the key. A label
names one namespace, an annotation one or more."""
GITHUB_API_URL = "swarm.claudeflow.io/github-api-url"
"""Annotation of a Secret with a token: the API that it is for. Annotation of a Secret with an App's key: the API for
which clusters of other namespaces may use the key."""
GITHUB_REQUEST = "swarm.claudeflow.io/github-request"
"""Annotation of a Secret with a token: a digest of what it was asked for."""
EXPIRES_AT = "swarm.claudeflow.io/expires-at"
REPOSITORIES = "swarm.claudeflow.io/repositories"
ROTATED_AT = "swarm.claudeflow.io/rotated-at"
"""Annotations of a Secret with a token: when it expires, the repositories that it is for, and when it was minted."""
ROTATE_TOKEN = "swarm.claudeflow.io/rotate-token"  # noqa: S105 - a name
"""Annotation of a SwarmCluster: `true` asks for a new GitHub token. It is removed when there is one."""

BACKUP_REASON = "swarm.claudeflow.io/backup-reason"
"""Label of a SwarmMemoryBackup: why it is made."""
BACKUP_REQUESTED = "swarm.claudeflow.io/backup-requested"
"""Annotation of a SwarmMemoryStore: `true` asks for a backup; then its name, until it is finished."""
BACKUP = "swarm.claudeflow.io/backup"
BACKUP_UID = "swarm.claudeflow.io/backup-uid"
"""Annotations of a Job and its pod: name and uid of the SwarmMemoryBackup whose data it makes or deletes. Labels hold
shorter names only."""
SKIP_FINAL_BACKUP = "swarm.claudeflow.io/skip-final-backup"
"""Annotation of a SwarmMemoryStore: `true` lets a deleted store go without its final backup, and keeps its volume."""
SKIP_DATA_DELETION = "swarm.claudeflow.io/skip-data-deletion"
"""Annotation of a SwarmMemoryBackup: `true` lets a deleted object go, and leaves its data where it lies."""
RESTORE_SOURCE = "swarm.claudeflow.io/restore-source"
"""Annotation of a Job: the backup that it restores, as in status.restoredFrom of a store."""

SIGNED = "swarm.claudeflow.io/signed-secret"
"""Annotation of a ConfigMap with CA certificates: the Secret with a certificate that the operator has signed."""

SKIP_UPGRADE_BACKUP = "swarm.claudeflow.io/skip-upgrade-backup"
"""Annotation of a SwarmMemoryStore: `true` lets its pod have another image without a backup before."""
ROTATE_TOKENS = "swarm.claudeflow.io/rotate-tokens"
"""Annotation of a SwarmMemoryStore: a value other than the last one asks for new tokens. The Secret has the value for
which its tokens were made."""
TOKENS_ROTATED = "swarm.claudeflow.io/tokens-rotated"
"""Annotation of the Secret: when its tokens were last replaced."""

RETRY_MIGRATION = "swarm.claudeflow.io/retry-migration"
"""Annotation of a SwarmMemoryStore: a value other than the last one tries a failed migration again."""
MIGRATION_SOURCE = "swarm.claudeflow.io/migration-source"
"""Annotation of a Job: the claim with the legacy data that it migrates."""
AUTOGROWN = "swarm.claudeflow.io/autogrown"
"""Annotation of a data volume's claim: `TIME from BYTES`, when spec.autogrow last made it larger, and the size that its
file system had; the time alone once the memory service has seen a larger file system."""

APPLIED = "swarm.claudeflow.io/applied-configuration"
"""Annotation with the hash of the applied fields: only the hash reveals fields that are no longer wanted."""


def owner_elsewhere(owner: Object) -> dict[str, str]:
    """Return the labels that stand in for an owner reference where the owner is in another namespace."""
    metadata = owner["metadata"]
    return {CLUSTER_NAME: metadata["name"], CLUSTER_NAMESPACE: metadata["namespace"], CLUSTER_UID: metadata["uid"]}


def selector(store: SwarmMemoryStore) -> dict[str, str]:
    """Return the labels that select a store's pod. They are in immutable fields: never change them."""
    return {"app.kubernetes.io/name": "swarm-memory", "app.kubernetes.io/instance": store.metadata.name}


def identity(store: SwarmMemoryStore) -> dict[str, str]:
    """Return the labels by which what outlives a store is found again by a store of the same name and swarm."""
    return {MANAGED_BY: FIELD_MANAGER, STORE: store.metadata.name, SWARM_ID: store.swarm_id}


def of_store(store: SwarmMemoryStore) -> dict[str, str]:
    """Return the labels of all objects of a store."""
    labels = {
        **selector(store),
        **identity(store),
        "app.kubernetes.io/part-of": "swarm",
    }
    if store.spec.swarm_cluster_ref:
        labels[CLUSTER] = store.spec.swarm_cluster_ref
    return labels


def agents_selector(cluster: SwarmCluster) -> dict[str, str]:
    """Return the labels that select the pods of a swarm's agents. They are in immutable fields: never change them."""
    return agents_of(cluster.metadata.name)


def agents_of(cluster: str) -> dict[str, str]:
    """Return the same labels, for the name of a SwarmCluster."""
    return {NAME: AGENT_NAME, "app.kubernetes.io/instance": cluster}


def of_agents(cluster: SwarmCluster) -> dict[str, str]:
    """Return the labels of all objects of a swarm's agents."""
    return {
        **agents_selector(cluster),
        MANAGED_BY: FIELD_MANAGER,
        "app.kubernetes.io/part-of": "swarm",
    }
