"""SwarmCluster: a swarm of agents, with its memory."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from swarm_operator.api.quantity import Interval, StorageSize
from swarm_operator.api.v1alpha1.access import AccessRules
from swarm_operator.api.v1alpha1.agents import AGENT_RULES, MAX_AGENTS, AgentTemplate, Autoscaling, Topology
from swarm_operator.api.v1alpha1.autogrow import Autogrow
from swarm_operator.api.v1alpha1.backups import (
    OTHER_STORE,
    RESTORED_ONCE,
    BackupSettings,
    CronExpression,
    RestoreSource,
    TimeZone,
)
from swarm_operator.api.v1alpha1.common import (
    GROUP,
    VERSION,
    ApiModel,
    Conditions,
    Int64,
    ObjectMeta,
    StatusModel,
    Timestamp,
    never_below_capacity,
    rule,
    unchanged,
)
from swarm_operator.api.v1alpha1.embedder import Embedder
from swarm_operator.api.v1alpha1.github import GitHubApp, GitHubTokenStatus
from swarm_operator.api.v1alpha1.hivemind import HIVE_MIND_SUFFIX, HiveMindSpec, HiveMindStatus, enough_room_for_name
from swarm_operator.api.v1alpha1.namespaces import NamespaceConfig, unchanged_config
from swarm_operator.api.v1alpha1.network_policy import NetworkPolicySettings
from swarm_operator.api.v1alpha1.pod_template import PodTemplate
from swarm_operator.api.v1alpha1.swarmmemorystore import (
    LEGACY_CLAIM_REQUIRED,
    MAX_NAME,
    NAME_PATTERN,
    DeletionPolicy,
    LegacyClaim,
    SearchLanguage,
)
from swarm_operator.api.v1alpha1.tls import TLSSettings
from swarm_operator.shared.limits import CACHE_MEMORY_MB, CACHE_SIZE

STORE_SUFFIX = "-memory"
"""A cluster's store is named after it."""

AGENTS_SUFFIX = "-agent"
"""A cluster's agents are named after it."""

_MAX_CLUSTER_NAME = MAX_NAME - len(STORE_SUFFIX)


class SQLiteMemoryConfig(ApiModel):
    """Fine-tuning of the SQLite memory. An absent setting has SwarmMemoryStore's default."""

    cache_size: Annotated[int, Field(ge=CACHE_SIZE.least, le=CACHE_SIZE.most)] | None = None
    """Largest number of entries in the cache."""
    cache_memory_mb: Annotated[int, Field(ge=CACHE_MEMORY_MB.least, le=CACHE_MEMORY_MB.most)] | None = None
    """Largest size of the cache, in MiB."""
    enable_wal: bool | None = None
    """Use SQLite's write-ahead log."""
    enable_vacuum: bool | None = None
    """Give space that deleted entries leave back to the volume."""
    gc_interval: Interval | None = None
    """Time between two collections of expired entries."""
    search_language: SearchLanguage | None = None
    """Language whose endings searches for words ignore: none or english."""
    backup_interval: Interval | None = None
    """Time between two backups."""
    backup_schedule: CronExpression | None = None
    """Times of backups, as a cron expression."""
    backup_time_zone: TimeZone | None = None
    """Time zone of backupSchedule."""
    backup_retention: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Number of scheduled backups that are kept."""
    backup: BackupSettings | None = None
    """Destination of backups."""


class MemorySpec(ApiModel):
    """The swarm's shared memory."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.persistence) || self.persistence"
                    " || !has(self.enableMemoryStore) || !self.enableMemoryStore",
                    "must be true when enableMemoryStore is true: a memory store always persists",
                    ".persistence",
                ),
                LEGACY_CLAIM_REQUIRED,
                unchanged("restoreFrom", RESTORED_ONCE),
            ]
        }
    )

    type: Annotated[
        Literal["sqlite"],
        Field(json_schema_extra={"x-kubernetes-validations": [rule("self == oldSelf", "cannot be changed")]}),
    ] = "sqlite"
    """Kind of memory. Only sqlite exists."""
    size: StorageSize = "10Gi"
    """Size of the store's volume. It can grow, if the storage class allows. It cannot be less than the volume has."""
    autogrow: Autogrow | None = None
    """Let the volume grow automatically. Default: it does not grow."""
    deletion_policy: DeletionPolicy | None = None
    """Treatment of the volume when the swarm is deleted. Backup, the default: a final backup is made and verified, then
    the volume is deleted. Retain: its claim stays, and a new swarm of the same name uses it. Delete: it is deleted."""
    persistence: bool = True
    """Whether the memory outlives its pod; a memory store always does."""
    enable_memory_store: bool = False
    """Make a SwarmMemoryStore `NAME-memory` for this swarm. Setting it back to false keeps the store and its data."""
    restore_from: RestoreSource | None = None
    """The backup that becomes the data of the swarm's memory before it serves. Cannot be changed."""
    migrate_from_legacy: bool = False
    """Bring legacy memory in once, from legacyDataPVC, when the memory serves. Existing data of the memory stays."""
    legacy_data_pvc: LegacyClaim | None = None
    """PersistentVolumeClaim with the legacy data, in the same namespace. It is only read."""
    network_policy: NetworkPolicySettings | None = None
    """Peers that may reach the memory's pod. Default: its own namespace, but for agents of other swarms, and the
    operator, and everybody for the metrics."""
    access: AccessRules | None = None
    """Further service accounts whose pods may use the memory. The swarm's own agents may read and write everything,
    unless a rule names their service account, NAME-agent."""
    embedder: Embedder | None = None
    """Model that makes the vectors of the memory's entries, for searches by meaning. Its Secrets are in the memory's
    namespace. Default: nothing."""
    tls: TLSSettings | None = None
    """TLS on all ports of the memory, and of the hive mind. Default: off."""
    enable_disruption_budget: bool | None = None
    """Keep evictions from ending the memory's pod. Default: true."""
    sqlite_config: SQLiteMemoryConfig | None = None
    """Fine-tuning of the SQLite memory."""
    pod_template: PodTemplate | None = None
    """Additions to the pod of the swarm's memory."""


class SwarmClusterSpec(ApiModel):
    """Wanted state of a swarm."""

    model_config = ConfigDict(json_schema_extra={"x-kubernetes-validations": [*AGENT_RULES, unchanged_config()]})

    topology: Topology = "mesh"
    """Choice of an agent's peers. mesh: all others. ring: the one before and the one after. star: the first agent.
    hierarchical: the parent in a tree in which each agent has at most two children. The first agent of a star or a tree
    has no peers."""
    agents: Annotated[int, Field(ge=0, le=MAX_AGENTS)] = 1
    """Number of agents. `kubectl scale` and autoscalers write it. A number below minAgents or above maxAgents is
    accepted and counts as that bound. The condition AgentsReady reports this. No agents run without an
    agentTemplate."""
    min_agents: Annotated[int, Field(ge=0, le=MAX_AGENTS)] = 0
    """Smallest number of agents."""
    max_agents: Annotated[int, Field(ge=0, le=MAX_AGENTS)] | None = None
    """Largest number of agents."""
    agent_template: AgentTemplate | None = None
    """Template of the agents' pods. No agents run without it; removing it deletes them."""
    autoscaling: Autoscaling | None = None
    """Automatic scaling of the agents."""
    memory: Annotated[MemorySpec, Field(json_schema_extra={"default": {}})] = Field(default_factory=MemorySpec)
    """The swarm's shared memory."""
    hive_mind: Annotated[HiveMindSpec, Field(json_schema_extra={"default": {}})] = Field(default_factory=HiveMindSpec)
    """Second memory for what the swarm decides and knows together."""
    github_app: GitHubApp | None = None
    """A GitHub App whose tokens the agents use for git and for GitHub's API: Secret `NAME-github-token`. Removing it
    revokes the token."""
    namespace_config: NamespaceConfig | None = None
    """Namespaces of the swarm's parts. Absent: all are in the cluster's own. Cannot be added or removed later."""
    paused: bool = False
    """Change nothing of this swarm until this is false again. Its store has its own field. Deletion is carried out."""


class MemoryStatus(ApiModel):
    """Observed state of the memory."""

    available: bool
    """Whether the memory store is Ready."""
    used: Int64 | None = None
    """Size of its database, in bytes."""
    hit_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of reads that its cache answered."""


class SwarmClusterStatus(StatusModel):
    """Observed state."""

    phase: Literal["Initializing", "Ready", "Error", "Deleting"] | None = None
    """Summary of the conditions, for people."""
    memory_status: MemoryStatus | None = None
    """The swarm's memory store. Absent for a swarm without one."""
    hive_mind_status: HiveMindStatus | None = None
    """The swarm's hive mind. Absent for a swarm without one."""
    swarm_namespace: Annotated[str, Field(max_length=63)] | None = None
    """Namespace of the memory and the agents of a swarm with namespaceConfig."""
    hive_mind_namespace: Annotated[str, Field(max_length=63)] | None = None
    """Namespace of the hive mind of a swarm with namespaceConfig."""
    storage_capacity: Annotated[str, Field(max_length=32)] | None = None
    """Size that the memory's volume has, as a quantity."""
    ready_agents: Int64 | None = None
    """Agents that are ready. Absent without an agentTemplate, as the next three are."""
    total_agents: Int64 | None = None
    """Agents that there are, those that start or end included."""
    agent_selector: Annotated[str, Field(max_length=512)] | None = None
    """Labels of the agents' pods, as the scale subresource has them."""
    last_scale_time: Timestamp | None = None
    """Time when the number of agents was last changed."""
    github_token: GitHubTokenStatus | None = None
    """The agents' GitHub token. Absent without a githubApp."""
    observed_generation: Int64 | None = None
    """The metadata.generation that this status is about."""
    conditions: Conditions = Field(default_factory=list)
    """Ready, NamespacesReady, MemoryReady, HiveMindReady, GitHubTokenReady, AgentsReady and Paused;
    docs/status-conditions.md has the table of reasons."""


class SwarmCluster(ApiModel):
    """A swarm of LLM agents, with the memory that they share."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    f"self.metadata.name.matches('{NAME_PATTERN}') && size(self.metadata.name) <= {_MAX_CLUSTER_NAME}",
                    "metadata.name must start with a letter, hold only a-z, 0-9 and '-', and have at most"
                    f" {_MAX_CLUSTER_NAME} characters: Services and pods are named after it",
                ),
                rule(
                    "!has(self.spec.memory.restoreFrom) || !has(self.spec.memory.restoreFrom.storeRef)"
                    f" || self.spec.memory.restoreFrom.storeRef.name != self.metadata.name + '{STORE_SUFFIX}'",
                    OTHER_STORE,
                    ".spec.memory.restoreFrom.storeRef.name",
                ),
                never_below_capacity("spec.memory.size"),
                enough_room_for_name(MAX_NAME - len(HIVE_MIND_SUFFIX)),
            ]
        }
    )
    GROUP: ClassVar = GROUP
    VERSION: ClassVar = VERSION
    KIND: ClassVar = "SwarmCluster"
    PLURAL: ClassVar = "swarmclusters"
    SHORT_NAMES: ClassVar = ["swarm"]
    SCALE: ClassVar = {
        "specReplicasPath": ".spec.agents",
        "statusReplicasPath": ".status.totalAgents",
        "labelSelectorPath": ".status.agentSelector",
    }
    COLUMNS: ClassVar = [
        {"name": "Topology", "type": "string", "jsonPath": ".spec.topology"},
        {"name": "Agents", "type": "integer", "jsonPath": ".status.totalAgents"},
        {"name": "Ready", "type": "integer", "jsonPath": ".status.readyAgents"},
        {"name": "Memory", "type": "boolean", "jsonPath": ".status.memoryStatus.available"},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]

    metadata: ObjectMeta
    spec: SwarmClusterSpec = Field(default_factory=SwarmClusterSpec)
    status: SwarmClusterStatus = Field(default_factory=SwarmClusterStatus)

    @property
    def store_name(self) -> str:
        """Return the name of the memory store that this cluster has or would have."""
        return self.metadata.name + STORE_SUFFIX

    @property
    def agents_name(self) -> str:
        """Return the name of the agents' StatefulSet and other objects. The agents' names begin with it."""
        return self.metadata.name + AGENTS_SUFFIX

    @property
    def agents(self) -> int:
        """Return the number of agents: what the spec asks for, within its bounds."""
        spec = self.spec
        if spec.agent_template is None:
            return 0
        most = MAX_AGENTS if spec.max_agents is None else spec.max_agents
        return max(spec.min_agents, min(spec.agents, most))

    @property
    def hive_mind_name(self) -> str:
        """Return the name of the hive mind's store that this cluster has or would have."""
        return self.metadata.name + HIVE_MIND_SUFFIX
