"""Fields of backups that several kinds share: where backups are kept, and which one a new store is made from."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from swarm_operator.api.quantity import StorageSize
from swarm_operator.api.v1alpha1.common import SUBDOMAIN, ApiModel, matching, rule, unchanged

_SEGMENT = "[A-Za-z0-9._~@+=:-]+"
_URL = f"^(s3|gs|az)://{_SEGMENT}(/{_SEGMENT})*/?$"
_ENDPOINT = "^https?://[^/?#@ ]+(/[^?# ]*)?$"
VOLUME_URL = "file:///backups"
"""URL of a volume with backups, as the memory service sees it."""
RESTORED_ONCE = "cannot be changed: only a new store is made from a backup; a SwarmMemoryRestore restores into a store"
"""Message of the rule that restoreFrom cannot be changed."""
OTHER_STORE = "must be another store: name a backup of an earlier store of this name in backupRef"
"""Message of the rule that a store is not made from itself."""
_LOCATION = f"^({VOLUME_URL}|(s3|gs|az)://{_SEGMENT})(/{_SEGMENT})+$"


CronExpression = Annotated[
    str,
    Field(
        max_length=128,
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    r"self.matches('^[0-9A-Za-z*/,#-]+( [0-9A-Za-z*/,#-]+){4}$')",
                    "must be a cron expression of five fields, such as '0 3 * * *': minute, hour, day of month, month,"
                    " day of week",
                )
            ]
        },
    ),
]
"""Times, as cron has them."""

TimeZone = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")]
"""Name of a time zone in the IANA database."""


class ObjectReference(ApiModel):
    """The name of an object in the same namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN)]
    """Its name."""


class BackupVolume(ApiModel):
    """A volume for backups. Its claim `NAME-backups` outlives the store."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                unchanged("storageClassName", "cannot be changed: a volume keeps its storage class"),
            ]
        }
    )

    size: StorageSize | None = None
    """Size of the volume: room for backupRetention copies of the database and one more. Default: that of the data
    volume. It can grow, if the storage class allows, and never shrinks."""
    storage_class_name: Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN)] | None = None
    """StorageClass of the volume. Default: that of the data volume. Cannot be changed."""


class ObjectStore(ApiModel):
    """A bucket or container for backups: of S3, Google Cloud Storage, Azure, or a service that speaks one of these."""

    url: Annotated[
        str,
        matching(_URL, "must be s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX"),
    ]
    """s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX. The bucket must exist."""
    endpoint: (
        Annotated[
            str,
            matching(_ENDPOINT, "must be http://HOST:PORT or https://HOST:PORT, perhaps with a path"),
        ]
        | None
    ) = None
    """URL of the object store. Default: that of the cloud."""
    region: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9-]+$")] | None = None
    """Region of an S3 bucket."""
    credentials_secret_ref: ObjectReference | None = None
    """Secret with a key for each credential, such as access_key_id and secret_access_key. The pod mounts it."""
    ca_secret_ref: ObjectReference | None = None
    """Secret with the key ca.crt: certificates of the authorities that the endpoint's certificate is checked with."""


class BackupSettings(ApiModel):
    """Destination of a store's backups."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "!has(self.volume) || !has(self.objectStore)",
                    "cannot be given with volume: backups are kept in one place",
                    ".objectStore",
                ),
            ]
        }
    )

    volume: BackupVolume | None = None
    """Keep the backups on a volume of their own. That is the default."""
    object_store: ObjectStore | None = None
    """Keep the backups in an object store."""


class BackupDestination(ApiModel):
    """A place where backups lie: a volume or an object store."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule("has(self.claimName) != has(self.objectStore)", "must have either claimName or objectStore"),
            ]
        }
    )

    claim_name: Annotated[str, Field(min_length=1, max_length=253, pattern=SUBDOMAIN)] | None = None
    """PersistentVolumeClaim of the volume, in the same namespace."""
    object_store: ObjectStore | None = None
    """The object store."""


class RestoreSource(ApiModel):
    """The backup that becomes the data of a new store: one of backupRef, storeRef and location."""

    model_config = ConfigDict(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(
                    "[has(self.backupRef), has(self.storeRef), has(self.location)].exists_one(given, given)",
                    "must have exactly one of backupRef, storeRef and location",
                ),
                rule(
                    "!has(self.destination) || has(self.location)",
                    "can be given with location only: SwarmMemoryBackups say where they lie",
                    ".destination",
                ),
                rule(
                    "!has(self.location) || !has(self.destination) || self.location.startsWith("
                    f"has(self.destination.claimName) ? '{VOLUME_URL}/' : self.destination.objectStore.url)",
                    f"must begin with the URL of destination.objectStore, or with {VOLUME_URL}/ for a claim",
                    ".location",
                ),
            ]
        }
    )

    backup_ref: ObjectReference | None = None
    """A SwarmMemoryBackup in the same namespace, of any store. The store waits until it is verified."""
    store_ref: ObjectReference | None = None
    """Another SwarmMemoryStore in the same namespace, which may be deleted already: its newest verified
    SwarmMemoryBackup is taken."""
    location: (
        Annotated[
            str,
            matching(
                _LOCATION,
                f"must be the location of a backup: s3://BUCKET/PREFIX/SWARM/NAME, gs://..., az://... or"
                f" {VOLUME_URL}/SWARM/NAME",
                longest=1024,
            ),
        ]
        | None
    ) = None
    """URL of a backup's folder, as `status.location` of a SwarmMemoryBackup and `swarm-memory backups list` have it."""
    destination: BackupDestination | None = None
    """The volume or the object store in which location lies. Default: where this store keeps its backups."""
