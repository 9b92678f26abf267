"""Conditions of an object, and the events of their changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from swarm_operator.runtime.clock import Clock, rfc3339
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.resource import Object

EVENT_CONDITIONS = frozenset(
    {"Ready", "StorageReady", "AuthReady", "Restored", "BackupSucceeded", "Writable", "Upgraded", "Migrated", "Paused"}
    | {"CertificateReady", "EmbedderReady", "PodTemplateApplied", "SpaceAvailable", "GitHubTokenReady"}
)
"""Conditions whose changes emit events."""

QUIET = frozenset(
    {("AuthReady", "True"), ("CertificateReady", "True"), ("Writable", "True"), ("Writable", "Unknown")}
    | {("SpaceAvailable", "True"), ("SpaceAvailable", "Unknown"), ("EmbedderReady", "True")}
)
"""Conditions that are normal from the start, and emit no event."""

WAITING_REASONS = frozenset(
    {
        "WaitingForPod",
        "PreUpgradeBackup",
        "WaitingForTurn",
        "WaitingForDeletion",
        "Upgrading",
        "Hibernating",
        "Hibernated",
        "WaitingForVolume",
        "Resizing",
        "WaitingForStore",
        "Disabled",
    }
    | {
        "Asking",
        "Queued",
        "Running",
        "Verifying",
        "AnotherBackupRuns",
        "StoreNotReady",
        "Deleting",
        "InUse",
        "JobRunning",
        "NoBackupYet",
        "WaitingForBackup",
        "Restoring",
        "Migrating",
    }
    | {"WaitingForMemory", "WaitingForAgents", "MintingToken", "RevokingToken"}
    | {"BackupNotVerified", "Fetching", "Planning", "BackingUp", "Swapping", "Writing"}
)
"""Reasons of normal progress, which emit no warning."""

PENDING = "Pending"
"""Reason of a condition that no pass has judged yet, which emits no event."""


@dataclass(slots=True)
class Conditions:
    """The conditions of one object during one pass.

    A condition that keeps its status keeps its lastTransitionTime, so that it equals the stored one if unchanged.
    """

    obj: Object
    clock: Clock
    _set: dict[str, Object] = field(default_factory=dict)
    _removed: set[str] = field(default_factory=set)
    _stored: dict[str, Object] = field(init=False)

    def __post_init__(self) -> None:
        self._stored = {c["type"]: c for c in (self.obj.get("status") or {}).get("conditions") or ()}

    def set(self, type: str, *, status: bool | None, reason: str, message: str = "") -> None:  # noqa: A002 - the API's word
        """Set one condition; `status` None is Unknown."""
        text = {True: "True", False: "False", None: "Unknown"}[status]
        old = self._stored.get(type)
        since = old["lastTransitionTime"] if old and old["status"] == text else rfc3339(self.clock.now())
        self._removed.discard(type)
        self._set[type] = {
            "type": type,
            "status": text,
            "reason": reason,
            "message": message,
            "observedGeneration": self.obj["metadata"]["generation"],
            "lastTransitionTime": since,
        }

    def remove(self, type: str) -> None:  # noqa: A002 - the API's word
        """Remove one condition, of a concern that the object no longer has."""
        self._set.pop(type, None)
        self._removed.add(type)

    def complete(self, types: Iterable[str]) -> None:
        """Set those conditions to Unknown that no pass has judged yet."""
        for type_ in types:
            if type_ not in self._set and type_ not in self._stored:
                self.set(type_, status=None, reason=PENDING, message="not checked yet: see Ready")

    def of_this_spec(self, type: str) -> Object | None:  # noqa: A002 - the API's word
        """Return the stored condition if a pass over the present spec has set it."""
        old = self._stored.get(type)
        return old if old and old.get("observedGeneration") == self.obj["metadata"]["generation"] else None

    def seconds_not_true(self, type: str) -> float:  # noqa: A002 - the API's word
        """Return the seconds since the stored condition ceased to be True; 0.0 if it is True or not stored."""
        old = self._stored.get(type)
        if old is None or old["status"] == "True":
            return 0.0
        return (self.clock.now() - datetime.fromisoformat(old["lastTransitionTime"])).total_seconds()

    def render(self) -> list[Object]:
        """Return the conditions for the status: those that were set, and the stored ones that were not removed."""
        every = {**self._stored, **self._set}
        return [condition for type_, condition in every.items() if type_ not in self._removed]

    def changed(self) -> list[Object]:
        """Return the conditions that were set and differ from the stored ones in status, reason or message."""
        stored = self._stored
        keys = ("status", "reason", "message")
        return [
            condition
            for type_, condition in self._set.items()
            if [condition[key] for key in keys] != [stored.get(type_, {}).get(key) for key in keys]
        ]


def reason_of(code: str) -> str:
    """Return a code of the memory service, such as disk-full, in CamelCase."""
    return "".join(word.capitalize() for word in code.split("-")) or "BackupFailed"


def emit_event(recorder: EventRecorder, obj: Object, condition: Object) -> None:
    """Record an event of a changed condition, if people need one: see EVENT_CONDITIONS and QUIET."""
    type_, status, reason = condition["type"], condition["status"], condition["reason"]
    if type_ not in EVENT_CONDITIONS or (type_, status) in QUIET or reason == PENDING:
        return
    warns = status != "True" and reason not in WAITING_REASONS
    note = f"{type_} is {status}: {condition['message'] or reason}"
    recorder.event(obj, "Warning" if warns else "Normal", reason, note, action="Reconcile")
