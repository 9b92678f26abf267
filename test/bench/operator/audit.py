"""Counts the operator's requests in the API server's audit log: what it did, whatever it says of itself."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from support.controlplane import OPERATOR_ACCOUNT

RECORDED = "recorded"
"""The one namespace whose requests are logged with their bodies."""

WRITES = frozenset({"create", "update", "patch", "delete"})


def apiserver_flags(folder: Path) -> tuple[str, ...]:
    """Flags of an API server that logs what the operator's account asks, to `folder`/audit.log."""
    policy = {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived", "ResponseStarted"],
        "rules": [
            {"level": "Request", "users": [OPERATOR_ACCOUNT], "namespaces": [RECORDED]},
            {"level": "Metadata", "users": [OPERATOR_ACCOUNT]},
            {"level": "None"},
        ],
    }
    path = folder / "audit-policy.yaml"
    path.write_text(yaml.safe_dump(policy))
    return (f"--audit-policy-file={path}", f"--audit-log-path={folder / 'audit.log'}")


@dataclass(frozen=True, slots=True)
class Requests:
    """Numbers of requests."""

    writes: Counter[str] = field(default_factory=Counter)
    """Of objects, by resource, with `/status` for that; events left out."""
    events: int = 0
    reads: int = 0
    """Without lists and watches."""
    failed: Counter[str] = field(default_factory=Counter)
    """Refused writes by `resource code`; they are counted above too."""


@dataclass(slots=True)
class AuditLog:
    """The log of one control plane, read from where it was left the last time."""

    path: Path
    _read: int = 0

    def entries(self) -> list[dict]:
        """What came since the last call."""
        with self.path.open("rb") as log:
            log.seek(self._read)
            content = log.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        return [json.loads(line) for line in whole.splitlines()]


def count(entries: list[dict]) -> Requests:
    """Count the entries of a log."""
    writes, failed = Counter(), Counter()
    events = reads = 0
    for entry in entries:
        target = entry.get("objectRef") or {}
        resource = "/".join(filter(None, (target.get("resource"), target.get("subresource"))))
        if entry["verb"] == "get":
            reads += bool(resource)
        elif entry["verb"] in WRITES and resource == "events":
            events += 1
        elif entry["verb"] in WRITES:
            writes[resource] += 1
            code = (entry.get("responseStatus") or {}).get("code", 0)
            if code >= 400:
                failed[f"{resource} {code}"] += 1
    return Requests(writes, events, reads, failed)
