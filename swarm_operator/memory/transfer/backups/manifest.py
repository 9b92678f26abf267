"""The manifest of a backup: a JSON file beside the copy, written last. A backup without a manifest is not valid."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.transfer.backups.errors import BackupDamagedError

FORMAT: Final = 1
MAX_BYTES: Final = 64 * 1024
"""Maximum bytes of a manifest."""
MAX_NAME: Final = 253
_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_ALLOWED_NAME: Final = f"a DNS-1123 subdomain of at most {MAX_NAME} characters: a-z, 0-9, and - and . between them"
_REASON: Final = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """Facts of a backup.

    Attributes:
        name: name of the backup.
        reason: why the backup was made: Scheduled, Requested, PreUpgrade, PreRestore, Final.
        swarm_id: ID of the store's swarm.
        started_at: time of the request, RFC 3339 in UTC.
        completed_at: time when the copy was complete at the destination.
        verified_at: time of the last successful verification of the copy at the destination; None if verification found
            damage, see `damage`.
        size: bytes of the copy.
        sha256: digest of the copy, in hexadecimal.
        entries: number of entries, including uncollected expired ones.
        schema_version: schema version of the copy.
        feed_position: position of the last change in the copy.
        version: highest version of an entry of the store, including deleted entries.
        made_by: program and version that made the copy.
        damage: damage found by the last verification; None if there was none.
        format: version of this format.
    """

    name: str
    reason: str
    swarm_id: str
    started_at: str
    completed_at: str
    verified_at: str | None
    size: int
    sha256: str
    entries: int
    schema_version: int
    feed_position: int
    version: int
    made_by: str
    damage: str | None = None
    format: int = FORMAT

    def encode(self) -> bytes:
        """Return the manifest as JSON."""
        return json.dumps(asdict(self), indent=2).encode() + b"\n"

    @classmethod
    def decode(cls, text: bytes, *, name: str) -> Manifest:
        """Return the manifest with the text, for a backup of that name.

        Raises:
            BackupDamagedError: the text is not a manifest of this format, or is the manifest of another backup.
        """
        try:
            document = json.loads(text)
            if type(document) is dict and document.get("format") != FORMAT:
                raise BackupDamagedError(
                    f"the manifest of {name} has format {document.get('format')!r}; this release reads {FORMAT}"
                )
            manifest = cls(**document)
            for field in fields(cls):
                _check(field.name, str(field.type), getattr(manifest, field.name))
        except (ValueError, TypeError, RecursionError) as error:
            raise BackupDamagedError(f"the manifest of {name} can't be read: {error}") from error
        if manifest.name != name:
            raise BackupDamagedError(f"the manifest of {name} is that of {manifest.name}")
        return manifest


def check_name(name: Any, field: str = "name") -> str:
    """Return a backup's name. Raise InvalidInputError."""
    if type(name) is not str or not is_name(name):
        raise InvalidInputError(field, _ALLOWED_NAME)
    return name


def is_name(text: str) -> bool:
    """Return whether a text can be the name of a backup."""
    return len(text) <= MAX_NAME and _NAME.fullmatch(text) is not None


def check_reason(reason: Any, field: str = "reason") -> str:
    """Return the reason of a backup. Raise InvalidInputError."""
    if type(reason) is not str or not _REASON.fullmatch(reason):
        raise InvalidInputError(field, "a word of at most 64 letters and digits, such as Requested")
    return reason


def _check(name: str, kind: str, value: Any) -> None:
    """Raise TypeError or ValueError unless the value is of the declared type."""
    allowed = {"str": (str,), "int": (int,), "str | None": (str, type(None))}[kind]
    if type(value) not in allowed or (type(value) is int and value < 0):
        raise TypeError(f"{name} is {value!r}")
    if name == "sha256" and not _SHA256.fullmatch(value):
        raise ValueError("sha256 is no digest")
