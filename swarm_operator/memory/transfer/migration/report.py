"""The report of a migration: counts of items by source, kind, outcome and reason.

Each item has one outcome, so `found` is the sum of the others. A part of a file with an unknown number of items, such
as a damaged page, counts as one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from swarm_operator.memory.transfer.migration.items import Kind, Notice, Reason

_MOST_IGNORED: Final = 1000
"""Ignored files that the report lists by name; it counts all of them."""


class Outcome(StrEnum):
    """Outcome of an item."""

    CREATED = "created"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    """The target already has the item."""
    KEPT = "kept"
    """The target has another entry of that name, which is kept."""
    EXPIRED = "expired"
    DUPLICATE = "duplicate"
    """The sources contain the item more than once."""
    QUARANTINED = "quarantined"


@dataclass(slots=True)
class SourceReport:
    """Outcomes of the items of a source."""

    format: str = ""
    kinds: dict[Kind, Counter[Outcome]] = field(default_factory=dict)
    reasons: Counter[Reason] = field(default_factory=Counter)
    notices: list[str] = field(default_factory=list)

    def count(self, kind: Kind, outcome: Outcome, number: int = 1) -> None:
        """Count items with an outcome."""
        self.kinds.setdefault(kind, Counter())[outcome] += number


@dataclass(slots=True)
class Report:
    """Outcomes of all items.

    Attributes:
        source: path of the source.
        target: URL of the service, or path of the database file.
        dry_run: whether the run only compares.
        sources: the sources by label.
        ignored: labels of ignored files and their notices.
        problem: reason why the migration ended early; None if it is complete.
        quarantine: path of the quarantine file, or None.
        started_at: ISO 8601.
        completed_at: ISO 8601.
    """

    source: str
    target: str
    dry_run: bool
    started_at: str
    completed_at: str = ""
    sources: dict[str, SourceReport] = field(default_factory=dict)
    ignored: list[tuple[str, Notice]] = field(default_factory=list)
    ignored_counts: Counter[str] = field(default_factory=Counter)
    problem: str | None = None
    quarantine: str | None = None

    def of(self, label: str) -> SourceReport:
        """Return the report of a source."""
        return self.sources.setdefault(label, SourceReport())

    def ignore(self, label: str, notice: Notice) -> None:
        """Record an ignored file."""
        self.ignored_counts[notice.reason.value] += 1
        if len(self.ignored) < _MOST_IGNORED:
            self.ignored.append((label, notice))

    @property
    def quarantined(self) -> int:
        """Return the number of items in the quarantine."""
        return sum(counts[Outcome.QUARANTINED] for source in self.sources.values() for counts in source.kinds.values())

    def document(self) -> dict[str, Any]:
        """Return the report as JSON."""
        kinds: dict[Kind, Counter[Outcome]] = {}
        reasons: Counter[Reason] = Counter()
        for source in self.sources.values():
            reasons += source.reasons
            for kind, counts in source.kinds.items():
                kinds.setdefault(kind, Counter()).update(counts)
        return {
            "source": self.source,
            "target": self.target,
            "dry_run": self.dry_run,
            "started_at": self.started_at,
            "completed_at": self.completed_at,
            "complete": self.problem is None,
            "problem": self.problem,
            "totals": _counts(sum(kinds.values(), Counter())),
            "kinds": {kind.value: _counts(kinds[kind]) for kind in Kind if kind in kinds},
            "reasons": {reason.value: number for reason, number in sorted(reasons.items())},
            "quarantine": self.quarantine,
            "sources": [
                {
                    "source": label,
                    "format": source.format,
                    "kinds": {kind.value: _counts(source.kinds[kind]) for kind in Kind if kind in source.kinds},
                    "reasons": {reason.value: number for reason, number in sorted(source.reasons.items())},
                    "notices": source.notices,
                }
                for label, source in sorted(self.sources.items())
            ],
            "ignored": {
                "counts": dict(sorted(self.ignored_counts.items())),
                "files": [
                    {"source": label, "reason": notice.reason.value, "detail": notice.detail}
                    for label, notice in self.ignored
                ],
            },
        }


def _counts(counts: Counter[Outcome]) -> dict[str, int]:
    return {"found": counts.total(), **{outcome.value: counts[outcome] for outcome in Outcome}}
