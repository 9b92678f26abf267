"""SwarmMemoryBackup: one verified copy of a store's data. It outlives the store."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from swarm_operator.api.v1alpha1.backups import BackupDestination, ObjectReference
from swarm_operator.api.v1alpha1.common import (
    GROUP,
    VERSION,
    ApiModel,
    Conditions,
    Int64,
    ObjectMeta,
    Timestamp,
    rule,
)


class SwarmMemoryBackupSpec(ApiModel):
    """Wanted state. It cannot be changed."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("self == oldSelf", "cannot be changed: create another SwarmMemoryBackup"),
            ]
        }
    )

    store_ref: ObjectReference
    """The SwarmMemoryStore to back up, in the same namespace."""
    destination: BackupDestination | None = None
    """Required destination of the backup. Default: the store's destination of backups. If the store keeps them
    elsewhere, the backup fails."""


class SwarmMemoryBackupStatus(ApiModel):
    """Observed state."""

    phase: Literal["Pending", "Running", "Verifying", "Completed", "Failed", "Deleting", "Error"] | None = None
    """Summary of the condition Ready, for people. Completed and Failed are final."""
    reason: Annotated[str, Field(max_length=64)] | None = None
    """Why it is made: Scheduled, Requested, PreUpgrade, PreRestore or Final."""
    started_at: Timestamp | None = None
    """Time when the memory service began."""
    completed_at: Timestamp | None = None
    """Time when the copy was complete."""
    verified_at: Timestamp | None = None
    """Time when the copy was last read again at its destination, checked and compared with its manifest."""
    location: Annotated[str, Field(max_length=1024)] | None = None
    """URL of the copy's folder, as the memory service sees it."""
    destination: BackupDestination | None = None
    """The volume or the object store in which it lies."""
    size_bytes: Int64 | None = None
    """Bytes of the copy."""
    entries: Int64 | None = None
    """Entries in the copy, expired ones that were not collected included."""
    sha256: Annotated[str, Field(max_length=64)] | None = None
    """Digest of the copy, in hexadecimal."""
    schema_version: Int64 | None = None
    """Schema version of the copy."""
    feed_position: Int64 | None = None
    """Position of the last change in the copy."""
    swarm_id: Annotated[str, Field(max_length=63)] | None = None
    """Swarm whose memory this is."""
    observed_generation: Int64 | None = None
    """The metadata.generation that this status is about."""
    conditions: Conditions = Field(default_factory=list)
    """Ready; docs/status-conditions.md has the table of reasons."""


class SwarmMemoryBackup(ApiModel):
    """A backup of a SwarmMemoryStore. Ready means that the copy was verified. Deleting the object deletes the copy."""

    GROUP: ClassVar = GROUP
    VERSION: ClassVar = VERSION
    KIND: ClassVar = "SwarmMemoryBackup"
    PLURAL: ClassVar = "swarmmemorybackups"
    SHORT_NAMES: ClassVar = ["smb"]
    COLUMNS: ClassVar = [
        {"name": "Store", "type": "string", "jsonPath": ".spec.storeRef.name"},
        {"name": "Reason", "type": "string", "jsonPath": ".status.reason"},
        {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
        {"name": "Size", "type": "integer", "jsonPath": ".status.sizeBytes"},
        {"name": "Entries", "type": "integer", "jsonPath": ".status.entries"},
        {"name": "Verified", "type": "date", "jsonPath": ".status.verifiedAt"},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]

    metadata: ObjectMeta
    spec: SwarmMemoryBackupSpec
    status: SwarmMemoryBackupStatus = Field(default_factory=SwarmMemoryBackupStatus)
