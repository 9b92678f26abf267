"""SwarmMemoryStore: one SQLite memory with the pod that serves it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from swarm_operator.api.quantity import Interval, StorageSize
from swarm_operator.api.v1alpha1.access import AccessRules
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
    SUBDOMAIN,
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
from swarm_operator.api.v1alpha1.network_policy import NetworkPolicySettings
from swarm_operator.api.v1alpha1.pod_template import PodTemplate
from swarm_operator.api.v1alpha1.tls import TLSSettings
from swarm_operator.shared.limits import CACHE_MEMORY_MB, CACHE_SIZE, COMPRESSION_THRESHOLD

NAME_PATTERN = "^[a-z]([-a-z0-9]*[a-z0-9])?$"

MAX_NAME = 52
"""A StatefulSet's pods carry its name and a 10-character hash in a label, which holds 63 characters."""

SearchLanguage = Literal["none", "english"]
"""Language whose endings searches for words ignore."""

_LABEL_VALUE = r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$"

DeletionPolicy = Literal["Backup", "Retain", "Delete"]
"""Treatment of the data volume of a store that is deleted."""

LegacyClaim = Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN)]
"""Name of the PersistentVolumeClaim with legacy data."""
LEGACY_CLAIM_REQUIRED = rule(
    "!has(self.migrateFromLegacy) || !self.migrateFromLegacy || has(self.legacyDataPVC)",
    "is required when migrateFromLegacy is true: the claim that holds the legacy data",
    ".legacyDataPVC",
)

_SWARM_ID = "(has({0}.spec.swarmId) ? {0}.spec.swarmId : {0}.metadata.name)"


class SwarmMemoryStoreSpec(ApiModel):
    """Wanted state of a store."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                LEGACY_CLAIM_REQUIRED,
                rule(
                    "!has(self.backupSchedule) || !has(self.backupInterval)",
                    "cannot be given with backupInterval: one of them says when backups are made",
                    ".backupSchedule",
                ),
                unchanged("storageClass", "cannot be changed: a volume keeps its storage class"),
                unchanged("restoreFrom", RESTORED_ONCE),
            ]
        }
    )

    type: Annotated[
        Literal["sqlite"],
        Field(json_schema_extra={"x-kubernetes-validations": [rule("self == oldSelf", "cannot be changed")]}),
    ] = "sqlite"
    """Kind of storage engine. Only sqlite exists."""
    swarm_id: Annotated[str, Field(min_length=1, max_length=63, pattern=_LABEL_VALUE)] | None = None
    """Swarm whose memory this is. Default: the store's name. Cannot be changed."""
    swarm_cluster_ref: Annotated[str, Field(min_length=1, max_length=63, pattern=NAME_PATTERN)] | None = None
    """Name of the SwarmCluster in the same namespace that this store belongs to; its pod carries it as a label."""
    storage_size: StorageSize = "10Gi"
    """Size of the data volume. It can grow, if the storage class allows. It cannot be less than the volume has."""
    autogrow: Autogrow | None = None
    """Let the data volume grow automatically. Default: it does not grow."""
    storage_class: Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN)] | None = None
    """StorageClass of the volumes. Default: the cluster's default class. Cannot be changed."""
    deletion_policy: DeletionPolicy | None = None
    """Treatment of the data volume when the store is deleted. Backup: a final backup is made and verified, then the
    volume is deleted. Retain: its claim stays, and a new store of the same name and swarm uses it. Delete: it is
    deleted. Default: Backup, or Delete if backupOnDelete is false."""
    on_volume_loss: Literal["Stop", "StartEmpty"] = "Stop"
    """Reaction when the claim of the data volume is missing. Stop: create no new claim, and report that in the
    condition StorageReady. StartEmpty: begin with an empty memory."""
    version: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")] | None = None
    """Tag of the memory service's image. Default: the one that this operator was released with."""
    cache_size: Annotated[int, Field(ge=CACHE_SIZE.least, le=CACHE_SIZE.most)] = 1000
    """Largest number of entries in the cache."""
    cache_memory_mb: Annotated[int, Field(ge=CACHE_MEMORY_MB.least, le=CACHE_MEMORY_MB.most)] = 50
    """Largest size of the cache, in MiB. The pod's memory limit grows with it, which takes a restart."""
    compression_threshold: Annotated[int, Field(ge=COMPRESSION_THRESHOLD.least, le=COMPRESSION_THRESHOLD.most)] = 10240
    """Values larger than this, in bytes, are compressed where that saves space; 0 is never."""
    gc_interval: Interval = "5m"
    """Time between two collections of expired entries. Expired entries are never returned, collected or not."""
    backup_interval: Interval | None = None
    """Time between two backups. Default: none. The time within the interval differs between stores."""
    backup_schedule: CronExpression | None = None
    """Times of backups, as a cron expression in backupTimeZone, up to five minutes later. Default: never. Not together
    with backupInterval."""
    backup_time_zone: TimeZone = "UTC"
    """Time zone of backupSchedule, such as Europe/Berlin."""
    backup_retention: Annotated[int, Field(ge=1, le=1000)] = 7
    """Number of scheduled backups that are kept. Requested ones stay until they are deleted."""
    backup: BackupSettings | None = None
    """Destination of backups. Default: a volume of the store, if it asks for backups."""
    restore_from: RestoreSource | None = None
    """The backup that becomes the data of this store before it serves. The store keeps its own swarmId. A volume that
    has a database already is never overwritten. Cannot be changed."""
    migrate_from_legacy: bool = False
    """Bring legacy memory in once, from legacyDataPVC, when the pod is ready. Existing data of the store stays."""
    legacy_data_pvc: LegacyClaim | None = None
    """PersistentVolumeClaim with the legacy data, in the same namespace. It is only read."""
    backup_on_delete: bool | None = None
    """Make a final backup when the store is deleted: true means deletionPolicy Backup, false Delete. A deletionPolicy
    that is given counts instead."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of the memory service's log."""
    mcp_mode: bool = True
    """Serve the Model Context Protocol, at /mcp of the HTTP API's port."""
    enable_wal: bool = True
    """Use SQLite's write-ahead log; otherwise a rollback journal, which is slower but works on any file system."""
    enable_vacuum: bool = True
    """Give space that deleted entries leave back to the volume."""
    search_language: SearchLanguage = "none"
    """Language whose endings searches for words ignore: with english, retries finds retried. none: words are found as
    they are written. After a change the index of words is rebuilt in the background, while searches continue."""
    pod_template: PodTemplate | None = None
    """Additions to the pod: labels, annotations, and fields of its spec, by the rules of a strategic merge patch. The
    container is named memory. Jobs of the store get the fields for scheduling, pull secrets and the service account."""
    network_policy: NetworkPolicySettings | None = None
    """Peers that may reach the store's pod. Default: its own namespace and the operator, and everybody for the
    metrics."""
    access: AccessRules | None = None
    """Service accounts whose pods may use this memory, with tokens for the audience swarm-memory. Default: none. A
    SwarmCluster names its own agents here."""
    embedder: Embedder | None = None
    """Model that makes the vectors of entries, for searches by meaning. Default: nothing."""
    tls: TLSSettings | None = None
    """TLS on all ports. Default: off."""
    enable_disruption_budget: bool = True
    """Keep evictions from ending the pod: a node is drained when this is false, or the store hibernates. A node that is
    removed takes a volume on its own disk along."""
    update_strategy: Literal["Rolling", "OnDelete"] = "Rolling"
    """Time when the pod gets a new template. Rolling: at once, a few stores at a time. OnDelete: when a user deletes
    the pod."""
    upgrade_deadline: Interval = "10m"
    """Time that a pod with another image has until it is ready; then the former image is put back. The recovery of a
    large database takes minutes."""
    hibernated: bool = False
    """Run no pod, and keep everything else: the data, the tokens, the addresses, the backups. Scheduled backups are
    left out. Setting it back to false wakes the store."""
    paused: bool = False
    """Leave everything of this store as it is: the operator makes, changes and deletes nothing, also no scheduled
    backups, until this is false again. Its pod serves on. Deletion is carried out."""


class Endpoints(ApiModel):
    """Addresses of the store for clients in the cluster."""

    grpc: str | None = None
    """HOST:PORT of the gRPC API."""
    http: str | None = None
    """URL of the HTTP API."""
    mcp: str | None = None
    """URL of the Model Context Protocol; absent without mcpMode."""
    metrics: str | None = None
    """URL of the Prometheus metrics."""


class RestoredFrom(ApiModel):
    """A backup that became the data of this store."""

    location: Annotated[str, Field(max_length=1024)]
    """URL of the copy's folder."""
    backup: Annotated[str, Field(max_length=253)] | None = None
    """Name of the SwarmMemoryBackup; absent if the spec names a location."""
    restored_at: Timestamp
    """Time when the data was verified and in place."""


class MigrationStatus(StatusModel):
    """Result of the migration of legacy data. Numbers are exact, and absent before the migration is completed."""

    job: Annotated[str, Field(max_length=63)] | None = None
    """Name of the Job that ended last."""
    location: Annotated[str, Field(max_length=1024)] | None = None
    """URL of the folder with the report and the quarantine file."""
    entries: Int64 | None = None
    """Legacy entries, and rows of other tables, that the store has."""
    agents: Int64 | None = None
    """Legacy agents that the store has."""
    tasks: Int64 | None = None
    """Legacy tasks that the store has."""
    patterns: Int64 | None = None
    """Legacy patterns that the store has."""
    consensus: Int64 | None = None
    """Legacy decisions by consensus that the store has."""
    kept: Int64 | None = None
    """Items of which the store had another value, which stays."""
    quarantined: Int64 | None = None
    """Items that could not be migrated: they are in the quarantine file."""


class RolledBack(ApiModel):
    """An image with which the pod did not get ready, and which is not tried again."""

    image: Annotated[str, Field(max_length=1024)]
    """The image."""
    generation: Int64
    """The metadata.generation that asked for it."""
    time: Timestamp
    """Time of the failure."""
    reason: Annotated[str, Field(max_length=1024)]
    """Why the pod was not ready, in one word."""
    message: Annotated[str, Field(max_length=32768)]
    """The same, for people."""


class SwarmMemoryStoreStatus(StatusModel):
    """Observed state. A number that was never known is absent, never zero; large ones have three digits."""

    phase: (
        Literal["Initializing", "Ready", "Error", "Migrating", "Restoring", "BackingUp", "Hibernated", "Deleting"]
        | None
    ) = None
    """Summary of the conditions, for people."""
    swarm_id: Annotated[str, Field(max_length=63)] | None = None
    """Swarm whose memory this is."""
    storage_ready: bool | None = None
    """Whether the data volume is bound."""
    storage_capacity: Annotated[str, Field(max_length=32)] | None = None
    """Size that the data volume has, as a quantity."""
    claim_uid: Annotated[str, Field(max_length=64)] | None = None
    """uid of the claim of the data volume, by which its loss is noticed."""
    volume_used_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """Percent of the data volume that are used; 100 while it takes no writes."""
    image: Annotated[str, Field(max_length=1024)] | None = None
    """Image with which the pod was last ready."""
    rolled_back: RolledBack | None = None
    """The image that is not tried again, since the pod did not get ready with it."""
    database_size: Int64 | None = None
    """Bytes of the database file."""
    entry_count: Int64 | None = None
    """Entries that have not expired."""
    agent_count: Int64 | None = None
    """Agents on record."""
    task_count: Int64 | None = None
    """Tasks on record."""
    pattern_count: Int64 | None = None
    """Patterns on record."""
    cache_hit_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of reads that the cache answered since the pod started, from 0 to 1."""
    restored_from: RestoredFrom | None = None
    """The backup that restoreFrom has restored. Absent until the data is in place."""
    last_backup: Timestamp | None = None
    """Time of the last verified backup."""
    last_verified_backup: Annotated[str, Field(max_length=253)] | None = None
    """Name of the SwarmMemoryBackup with the newest data that was verified."""
    next_backup: Timestamp | None = None
    """Time of the next scheduled backup."""
    migration_completed: bool | None = None
    """Whether the legacy data is in the store; absent unless migrateFromLegacy asks for it."""
    migration_time: Timestamp | None = None
    """Time when the migration was completed."""
    migration: MigrationStatus | None = None
    """Result of the migration of legacy data."""
    endpoints: Endpoints | None = None
    """Addresses of the store for clients."""
    observed_generation: Int64 | None = None
    """The metadata.generation that this status is about."""
    conditions: Conditions = Field(default_factory=list)
    """Ready, StorageReady, AuthReady, IdentityReady, Restored, BackupStorageReady, BackupSucceeded, Reachable,
    Writable, SpaceAvailable, SettingsApplied, PodTemplateApplied, Upgraded, Migrated and Paused;
    docs/status-conditions.md has the table of reasons."""


class SwarmMemoryStore(ApiModel):
    """A durable memory for a swarm of agents: one SQLite database, one pod that serves it, one volume."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    f"self.metadata.name.matches('{NAME_PATTERN}') && size(self.metadata.name) <= {MAX_NAME}",
                    f"metadata.name must start with a letter, hold only a-z, 0-9 and '-', and have at most {MAX_NAME}"
                    " characters: Services and pods are named after it",
                ),
                rule(
                    f"{_SWARM_ID.format('self')} == {_SWARM_ID.format('oldSelf')}",
                    "cannot be changed: the data belongs to its swarm",
                    ".spec.swarmId",
                ),
                rule(
                    "!has(self.spec.restoreFrom) || !has(self.spec.restoreFrom.storeRef)"
                    " || self.spec.restoreFrom.storeRef.name != self.metadata.name",
                    OTHER_STORE,
                    ".spec.restoreFrom.storeRef.name",
                ),
                never_below_capacity("spec.storageSize"),
            ]
        }
    )
    GROUP: ClassVar = GROUP
    VERSION: ClassVar = VERSION
    KIND: ClassVar = "SwarmMemoryStore"
    PLURAL: ClassVar = "swarmmemorystores"
    SHORT_NAMES: ClassVar = ["sms"]
    COLUMNS: ClassVar = [
        {"name": "Type", "type": "string", "jsonPath": ".spec.type"},
        {"name": "SwarmID", "type": "string", "jsonPath": ".status.swarmId"},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Storage", "type": "string", "jsonPath": ".status.storageCapacity"},
        {"name": "Entries", "type": "integer", "jsonPath": ".status.entryCount"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]

    metadata: ObjectMeta
    spec: SwarmMemoryStoreSpec = Field(default_factory=SwarmMemoryStoreSpec)
    status: SwarmMemoryStoreStatus = Field(default_factory=SwarmMemoryStoreStatus)

    @property
    def is_secure(self) -> bool:
        """Return whether the store is to serve TLS."""
        return self.spec.tls is not None and self.spec.tls.mode != "off"

    @property
    def swarm_id(self) -> str:
        """Return the ID of the swarm that the store belongs to."""
        return self.spec.swarm_id or self.metadata.name

    @property
    def deletion_policy(self) -> DeletionPolicy:
        """Return how a deletion treats the data volume. Objects from before this default have Retain."""
        return self.spec.deletion_policy or ("Delete" if self.spec.backup_on_delete is False else "Backup")
