"""SwarmMemoryRestore: one restore of a backup into a store that exists, whole or in part."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from swarm_operator.api.v1alpha1.backups import ObjectReference
from swarm_operator.api.v1alpha1.common import (
    GROUP,
    VERSION,
    ApiModel,
    Conditions,
    Int64,
    ObjectMeta,
    StatusModel,
    Timestamp,
    matching,
    rule,
)
from swarm_operator.shared.limits import KEY_BYTES, NAMESPACE_BYTES, RESTORE_NAMESPACES

_SEGMENT = "[A-Za-z0-9._~@+=:%-]+"
_LOCATION = f"^(file://(/{_SEGMENT}){{2,}}|(s3|gs|az)://{_SEGMENT}(/{_SEGMENT})+)$"

_Namespace = Annotated[
    str,
    Field(
        min_length=NAMESPACE_BYTES.least,
        max_length=NAMESPACE_BYTES.most,
        description="A namespace, exactly: not those below it.",
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(f"size(bytes(self)) <= {NAMESPACE_BYTES.most}", f"must have at most {NAMESPACE_BYTES.most} bytes")
            ]
        },
    ),
]


class RestoreSource(ApiModel):
    """The backup to restore."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("has(self.backupRef) != has(self.location)", "must have either backupRef or location"),
            ]
        }
    )

    backup_ref: ObjectReference | None = None
    """A verified SwarmMemoryBackup in the same namespace, of the same swarm, where the store can reach it."""
    location: (
        Annotated[
            str,
            matching(
                _LOCATION,
                "must be the URL of a backup, such as s3://BUCKET/PREFIX/SWARM/NAME or file:///backups/SWARM/NAME",
                longest=1024,
            ),
        ]
        | None
    ) = None
    """URL of a backup, as in status.location of a SwarmMemoryBackup. The store's own credentials are used."""


class SwarmMemoryRestoreSpec(ApiModel):
    """Wanted state. It cannot be changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("self == oldSelf", "cannot be changed: create another SwarmMemoryRestore"),
            ]
        }
    )

    store_ref: ObjectReference
    """The SwarmMemoryStore whose data is replaced, in the same namespace."""
    source: Annotated[RestoreSource, Field(alias="from")]
    """The backup to restore."""
    namespaces: (
        Annotated[
            list[_Namespace],
            Field(
                min_length=RESTORE_NAMESPACES.least,
                max_length=RESTORE_NAMESPACES.most,
                json_schema_extra={"x-kubernetes-list-type": "set"},
            ),
        ]
        | None
    ) = None
    """Restore only the entries in these namespaces of the memory. Default: all. If keyPrefix is absent too, the whole
    memory is replaced, after a safety backup."""
    key_prefix: (
        Annotated[
            str,
            Field(
                min_length=1,
                max_length=KEY_BYTES.most,
                json_schema_extra={
                    "x-kubernetes-validations": [
                        rule(f"size(bytes(self)) <= {KEY_BYTES.most}", f"must have at most {KEY_BYTES.most} bytes")
                    ]
                },
            ),
        ]
        | None
    ) = None
    """Restore only the entries whose keys begin with this text. Default: all."""
    dry_run: bool = False
    """Change nothing; write the changes that the restore would make into status.plan."""


class RestorePlan(ApiModel):
    """Changes that a restore makes."""

    backup: Annotated[str, Field(max_length=253)]
    """Name of the backup."""
    entries: Int64
    """Entries of the backup, expired ones that were not collected included."""
    bytes: Int64
    """Bytes of the values that are written; of a restore of everything the bytes of the backup."""
    entries_new: Int64 | None = None
    """Entries that the store lacks and the backup has. Absent if everything is replaced, which compares nothing."""
    entries_changed: Int64 | None = None
    """Entries that are overwritten. Absent if everything is replaced."""
    entries_removed: Int64 | None = None
    """Entries that the backup lacks, and that are deleted. Absent if everything is replaced."""


class SwarmMemoryRestoreStatus(StatusModel):
    """Observed state."""

    phase: (
        Literal[
            "Pending",
            "Fetching",
            "Planning",
            "Verifying",
            "BackingUp",
            "Swapping",
            "Writing",
            "Completed",
            "Failed",
            "Deleting",
            "Error",
        ]
        | None
    ) = None
    """Summary of the condition Ready, for people. Completed and Failed are final: a restore is made once."""
    source: Annotated[str, Field(max_length=1024)] | None = Field(default=None, alias="from")
    """The backup that is asked for: its name, or its location."""
    location: Annotated[str, Field(max_length=1024)] | None = None
    """URL of the backup, as the memory service sees it. It is known before the service is asked."""
    store_uid: Annotated[str, Field(max_length=64)] | None = None
    """uid of the store that was asked. Another store of the same name is not restored."""
    started_at: Timestamp | None = None
    """Time when the memory service began."""
    completed_at: Timestamp | None = None
    """Time when the restore ended."""
    plan: RestorePlan | None = None
    """Changes that the restore makes, or with dryRun would make."""
    progress: Annotated[int, Field(ge=0, le=100)] | None = None
    """Percent of the phase that are done, in steps of 10."""
    safety_backup: Annotated[str, Field(max_length=253)] | None = None
    """SwarmMemoryBackup of the store's data before everything was replaced."""
    observed_generation: Int64 | None = None
    """The metadata.generation that this status is about."""
    conditions: Conditions = Field(default_factory=list)
    """Ready; docs/status-conditions.md has the table of reasons."""


class SwarmMemoryRestore(ApiModel):
    """A restore of a backup into a SwarmMemoryStore that exists. Ready means that it was carried out, once."""

    GROUP: ClassVar = GROUP
    VERSION: ClassVar = VERSION
    KIND: ClassVar = "SwarmMemoryRestore"
    PLURAL: ClassVar = "swarmmemoryrestores"
    SHORT_NAMES: ClassVar = ["smr"]
    COLUMNS: ClassVar = [
        {"name": "Store", "type": "string", "jsonPath": ".spec.storeRef.name"},
        {"name": "From", "type": "string", "jsonPath": ".status.from"},
        {"name": "Dry-Run", "type": "boolean", "jsonPath": ".spec.dryRun"},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "New", "type": "integer", "jsonPath": ".status.plan.entriesNew"},
        {"name": "Changed", "type": "integer", "jsonPath": ".status.plan.entriesChanged"},
        {"name": "Removed", "type": "integer", "jsonPath": ".status.plan.entriesRemoved"},
        {"name": "Safety-Backup", "type": "string", "jsonPath": ".status.safetyBackup", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]

    metadata: ObjectMeta
    spec: SwarmMemoryRestoreSpec
    status: SwarmMemoryRestoreStatus = Field(default_factory=SwarmMemoryRestoreStatus)
