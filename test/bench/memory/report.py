"""Turns what was measured into figures, ratios and verdicts."""

from __future__ import annotations

from typing import NamedTuple

from bench.memory.loads import Rate
from bench.memory.sizes import Size

Rates = dict[tuple[str, int], Rate]
"""By what was done, and by the number of connections."""

_SEARCHES = {"tag": 5.0, "prefix": 5.0, "text": 20.0}
"""Target of the median at the greatest number of entries, in ms."""
_RSS_MB = 90 + 50
"""90 MB and the default of cacheMemoryMB."""


def rates(found: Rates) -> list[str]:
    """A line for each load."""
    return [f"{name:14} {connections:4} connections {rate}" for (name, connections), rate in found.items()]


def sizes(found: list[Size]) -> list[str]:
    """A block for each number of entries."""
    lines = []
    for size in found:
        lines.append(
            f"{size.entries:,} entries: loaded at {size.loaded_per_second:,.0f}/s, file {size.database_mb:,.0f} MB, "
            f"ready after {size.ready_seconds:.2f} s, RSS {size.rss_mb:.0f} MB"
        )
        lines += [f"    {name:8} {rate}" for name, rate in size.by.items()]
    return lines


class Ready(NamedTuple):
    """How long a process took to be ready."""

    database_mb: float
    seconds: float


def verdicts(found: Rates, measured: list[Size], ready: Ready) -> list[str]:
    """Each target, the figure, and whether it is met."""
    lines = []
    for connections, target in ((32, 0.8), (128, 1.0)):
        ratio = found["PUT", connections].per_second / found["redis SET", connections].per_second
        lines.append(_least(f"PUT / Redis SET with fsync, {connections} connections", ratio, target))
    for name in ("GET cached", "GET"):
        ratio = found[name, 32].per_second / found["bare GET", 32].per_second
        lines.append(_least(f"{name} / bare server", ratio, 0.8))
    lines.append(_least("batches: entries/s", found["batch", 32].per_second, 50_000))
    first, last = measured[0], measured[-1]
    for name, rate in last.by.items():
        ratio = rate.p99_ms / first.by[name].p99_ms
        lines.append(_most(f"p99 of {name}, {last.entries:,} / {first.entries:,} entries", ratio, 1.5))
    for name, target in _SEARCHES.items():
        lines.append(_most(f"{name}: p50 at {last.entries:,} entries [ms]", last.by[name].p50_ms, target))
    lines.append(_most("RSS [MB]", max(size.rss_mb for size in measured), _RSS_MB))
    lines.append(_most(f"ready, with a file of {ready.database_mb:,.0f} MB [s]", ready.seconds, 1.0))
    return lines


def _least(name: str, value: float, target: float) -> str:
    return f"{name:50} {value:12,.2f}   target >= {target:<8,g} {'met' if value >= target else 'MISSED'}"


def _most(name: str, value: float, target: float) -> str:
    return f"{name:50} {value:12,.2f}   target <= {target:<8,g} {'met' if value <= target else 'MISSED'}"
