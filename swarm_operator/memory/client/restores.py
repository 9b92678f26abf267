"""Restores of backups into the running service: `/admin/restores`. All calls require the admin token."""

from __future__ import annotations

import asyncio
import builtins
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from swarm_operator.memory.client.encoding import to_json
from swarm_operator.memory.client.transport import Transport, url_path

_STARTED: Final = frozenset({200, 202})
_ENDED: Final = frozenset({"Completed", "Failed"})
_POLL: Final = 0.5
"""Seconds between two reads of the state of a running restore."""


@dataclass(frozen=True, slots=True)
class RestoreState:
    """State of a restore. `raw` is the received document.

    Attributes:
        name: name of the restore.
        phase: Fetching, Planning, Verifying, Swapping, BackingUp, Writing, Completed or Failed.
        plan: `backup`, `entries`, `bytes`, `entries_new`, `entries_changed`, `entries_removed`; None if not known yet.
        progress: `done` and `of`; None if not known.
        safety_backup: name of the backup of the replaced data; None if none was made.
        problem: `code` and `detail` of the failure; None if the restore did not fail.
    """

    name: str
    phase: str
    plan: Mapping[str, Any] | None
    progress: Mapping[str, int] | None
    safety_backup: str | None
    problem: Mapping[str, Any] | None
    raw: Mapping[str, Any]

    @property
    def ended(self) -> bool:
        """True if the restore is not running."""
        return self.phase in _ENDED

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> RestoreState:
        """Return the state of a document. Raise KeyError, TypeError or ValueError."""
        return cls(
            name=str(document["name"]),
            phase=str(document["phase"]),
            plan=document["plan"],
            progress=document["progress"],
            safety_backup=document["safety_backup"],
            problem=document["problem"],
            raw=document,
        )


class RestoresClient:
    """`/admin/restores`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def ask(
        self,
        name: str,
        *,
        backup: str | None = None,
        location: str | None = None,
        namespaces: Sequence[str] | None = None,
        key_prefix: str = "",
        dry_run: bool = False,
        allow_other_swarm: bool = False,
        safety_backup: bool | None = None,
    ) -> RestoreState:
        """Start a restore and return its state. Call `wait` to wait for its end.

        A name is used once: a call for a complete or running restore changes nothing. A call for a failed restore
        starts it again.

        Args:
            name: a DNS-1123 subdomain.
            backup: name of a backup at the service's destination.
            location: URL of a backup, instead of `backup`.
            namespaces: restore entries in these namespaces only; None: in all.
            key_prefix: restore entries whose keys have this prefix only.
            dry_run: only plan the restore, and change nothing.
            allow_other_swarm: accept a backup of another swarm.
            safety_backup: whether to back up the replaced data; None: only for a restore of everything.

        Raises:
            MemoryStateError: another restore or a backup is running, the name belongs to another restore, or the
                service has no destination; see `reason`.
            MemoryRequestError: an argument is invalid.
        """
        document = {
            **({} if backup is None else {"backup": backup}),
            **({} if location is None else {"location": location}),
            "namespaces": None if namespaces is None else list(namespaces),
            "key_prefix": key_prefix,
            "dry_run": dry_run,
            "allow_other_swarm": allow_other_swarm,
            "safety_backup": safety_backup,
        }
        return await self._transport.request(
            "PUT", _path(name), RestoreState.read, body=to_json(document), statuses=_STARTED
        )

    async def get(self, name: str) -> RestoreState | None:
        """Return the state of a restore, or None if it does not exist."""
        return await self._transport.find(_path(name), RestoreState.read)

    async def list(self) -> builtins.list[RestoreState]:
        """Return the last restores, the oldest first."""
        return await self._transport.request(
            "GET", "/admin/restores", lambda answer: [RestoreState.read(each) for each in answer["restores"]]
        )

    async def wait(self, name: str, *, progress: Callable[[RestoreState], None] | None = None) -> RestoreState | None:
        """Wait until a restore has ended. Return its state, or None if it does not exist.

        Args:
            name: name of the restore.
            progress: called with each state that is read.
        """
        while True:
            state = await self.get(name)
            if state is not None and progress is not None:
                progress(state)
            if state is None or state.ended:
                return state
            await asyncio.sleep(_POLL)


def _path(name: str) -> str:
    return "/admin/restores" + url_path(name).removeprefix("/v1")
