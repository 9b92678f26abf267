"""Named backups at the service's destination: `/admin/backups`. All calls require the admin token."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from swarm_operator.memory.client.encoding import to_json
from swarm_operator.memory.client.transport import DELETED, Transport, url_path

_STARTED: Final = frozenset({200, 202})
_RUNNING: Final = frozenset({"Running", "Verifying"})
_POLL: Final = 0.5
"""Seconds between two reads of the state of a running backup."""


@dataclass(frozen=True, slots=True)
class BackupState:
    """State of a backup. `raw` is the received document.

    Attributes:
        name: name of the backup.
        phase: Running, Verifying, Completed, Failed or Incomplete.
        location: URL of its folder.
        size: size in bytes; None if not known yet.
        entries: number of entries; None if not known yet.
        sha256: digest of the copy in hexadecimal; None if not known yet.
        verified_at: time of the last successful verification, in UTC; None if there was none.
        problem: `code` and `detail` of the last failure; None if no job failed.
    """

    name: str
    phase: str
    location: str
    size: int | None
    entries: int | None
    sha256: str | None
    verified_at: datetime | None
    problem: Mapping[str, Any] | None
    raw: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """True if no job is running for the backup."""
        return self.phase not in _RUNNING

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> BackupState:
        """Return the state of a document. Raise KeyError, TypeError or ValueError."""
        verified = document["verified_at"]
        return cls(
            name=str(document["name"]),
            phase=str(document["phase"]),
            location=str(document["location"]),
            size=document["size"],
            entries=document["entries"],
            sha256=document["sha256"],
            verified_at=None if verified is None else datetime.fromisoformat(verified),
            problem=document["problem"],
            raw=document,
        )


class BackupsClient:
    """`/admin/backups`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def make(self, name: str, *, reason: str = "Requested") -> BackupState:
        """Start a backup and return its state. Call `wait` to wait for its end.

        A name is used once: a call for a complete or running backup changes nothing.

        Args:
            name: a DNS-1123 subdomain.
            reason: one word that says why the backup is made.

        Raises:
            MemoryStateError: another backup is being made, or the service has no destination; see `reason`.
            MemoryServerError: the destination failed.
        """
        return await self._transport.request(
            "PUT", _path(name), BackupState.read, body=to_json({"reason": reason}), statuses=_STARTED
        )

    async def get(self, name: str) -> BackupState | None:
        """Return the state of a backup, or None if it does not exist."""
        return await self._transport.find(_path(name), BackupState.read)

    async def list(self) -> builtins.list[BackupState]:
        """Return all backups, also incomplete and failed ones, sorted by name."""
        return await self._transport.request(
            "GET", "/admin/backups", lambda answer: [BackupState.read(each) for each in answer["backups"]]
        )

    async def verify(self, name: str) -> BackupState:
        """Start to read a backup and compare it with its manifest. Call `wait` to wait for the end.

        Raises:
            MemoryNotFoundError: the backup does not exist or is incomplete.
            MemoryStateError, MemoryServerError: see make.
        """
        return await self._transport.request("POST", f"{_path(name)}/verify", BackupState.read, statuses=_STARTED)

    async def wait(self, name: str) -> BackupState | None:
        """Wait until no job is running for a backup. Return its state, or None if it does not exist."""
        while True:
            state = await self.get(name)
            if state is None or state.ended:
                return state
            await asyncio.sleep(_POLL)

    async def delete(self, name: str, *, timeout: float = 60.0) -> None:
        """Delete a backup; do nothing if it does not exist. Cancel a running backup first."""
        await self._transport.request("DELETE", _path(name), bool, statuses=DELETED, timeout=timeout)


def _path(name: str) -> str:
    return "/admin/backups" + url_path(name).removeprefix("/v1")
