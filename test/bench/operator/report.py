"""Turns what was measured into figures, ratios and verdicts."""

from __future__ import annotations

import re
import statistics
from collections.abc import Callable
from pathlib import Path

from bench.operator.scenarios import Measured

CREATE_RATIO = 1.3
RESTART_RATIO = 2.0
RSS_MB = 250.0
LAG_SECONDS = 0.050

Results = dict[str, dict[str, list[Measured]]]
"""By contender (`ours`, `go`), then scenario (`create`, `restart`); a measurement for each round."""


def versions(binaries: Path, reference: Path) -> list[str]:
    """What is measured, and against what, see `machine`."""
    runtime = re.search(r"controller-runtime (v\S+)", (reference / "go.mod").read_text())
    programs = [f"{binaries / name} --version" for name in ("kube-apiserver", "etcd")]
    return [*programs, f"controller-runtime {runtime[1] if runtime else '?'}"]


def figures(results: Results) -> list[str]:
    """A table: each figure's least and median for both, and the ratio of the medians."""
    names = list(results)
    lines = [f"{'':34}" + "".join(f"{name + ' min/median':>24}" for name in names) + f"{'ratio':>8}"]
    for scenario in ("create", "restart"):
        for title, digits, figure in _FIGURES:
            if title == "until applied [s]" and scenario != "create":
                continue
            values = {name: [figure(measured) for measured in results[name][scenario]] for name in names}
            cells = [f"{min(v):.{digits}f} / {statistics.median(v):.{digits}f}" for v in values.values()]
            line = f"{scenario + ': ' + title:34}" + "".join(f"{cell:>24}" for cell in cells)
            if len(names) == 2 and statistics.median(values["go"]):
                line += f"{statistics.median(values['ours']) / statistics.median(values['go']):>8.2f}"
            lines.append(line)
    return lines


def requests(results: Results, count: int) -> list[str]:
    """The requests and the CPU time of each scenario for each object, and whatever was refused."""
    lines = []
    for name, scenarios in results.items():
        first = scenarios["create"][0].requests
        detail = ", ".join(f"{resource} {number / count:.2f}" for resource, number in sorted(first.writes.items()))
        total = sum(first.writes.values()) / count
        lines.append(f"{name:5} {total:.2f} writes for each ({detail}), {first.events / count:.2f} events")
        for scenario, runs in scenarios.items():
            cpu = statistics.median(measured.cpu_seconds for measured in runs) * 1000
            lines.append(
                f"      {scenario}: {cpu / count:.1f} ms CPU, {runs[0].requests.reads / count:.2f} reads for each"
            )
        lines += [f"      refused: {what} x {number}" for what, number in first.failed.items()]
    return lines


def verdicts(results: Results) -> list[str]:
    """Each target, the figure, and whether it is met. Of repeated runs the median counts, but for writes and memory."""
    ours = results["ours"]
    everything = [measured for runs in ours.values() for measured in runs]
    lines = []
    for scenario, limit in (("create", CREATE_RATIO), ("restart", RESTART_RATIO)):
        if "go" in results:
            mine, theirs = (statistics.median(m.seconds for m in results[name][scenario]) for name in ("ours", "go"))
            lines.append(_verdict(f"{scenario} / Go", mine / theirs, f"<= {limit:g}", mine / theirs <= limit))
        else:
            lines.append(f"{scenario} / Go: not measured, there is no reference")
    written = max(sum(m.requests.writes.values()) + m.requests.events for m in ours["restart"])
    lines.append(_verdict("restart: write requests", written, "0", written == 0))
    peak = max(measured.peak_mb for measured in everything)
    lines.append(_verdict("RSS, peak [MB]", peak, f"< {RSS_MB:g}", peak < RSS_MB))
    for scenario, runs in ours.items():
        lag = quantile(_sum_of([m.lag for m in runs]), 0.99) * 1000
        limit = LAG_SECONDS * 1000
        lines.append(_verdict(f"{scenario}: loop lag p99 [ms]", lag, f"< {limit:g}", lag < limit))
    return lines


def quantile(buckets: dict[float, float], q: float) -> float:
    """A quantile of a cumulated histogram, interpolated in its bucket, as Prometheus' histogram_quantile does."""
    bounds = sorted(buckets)
    rank = q * buckets[bounds[-1]]
    lower = below = 0.0
    for bound in bounds:
        if buckets[bound] >= rank:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (rank - below) / max(buckets[bound] - below, 1e-9)
        lower, below = bound, buckets[bound]
    raise ValueError("the histogram has no bucket without a bound")


def _verdict(what: str, value: float, target: str, met: object) -> str:
    return f"{what + ':':28} {value:8.2f}   target {target:8} {'met' if met else 'MISSED'}"


def _sum_of(histograms: list[dict[float, float]]) -> dict[float, float]:
    return {bound: sum(histogram[bound] for histogram in histograms) for bound in histograms[0]}


def _lag_ms(measured: Measured) -> float:
    return quantile(measured.lag, 0.99) * 1000 if measured.lag else 0.0


_FIGURES: tuple[tuple[str, int, Callable[[Measured], float]], ...] = (
    ("seconds", 2, lambda m: m.seconds),
    ("until applied [s]", 2, lambda m: m.applied_seconds),
    ("CPU of the operator [s]", 2, lambda m: m.cpu_seconds),
    ("CPU of kube-apiserver, etcd [s]", 2, lambda m: m.server_cpu_seconds),
    ("RSS at the end [MB]", 0, lambda m: m.rss_mb),
    ("RSS, peak [MB]", 0, lambda m: m.peak_mb),
    ("loop lag p99 [ms]", 1, _lag_ms),
    ("writes", 0, lambda m: sum(m.requests.writes.values())),
    ("events", 0, lambda m: m.requests.events),
    ("reads", 0, lambda m: m.requests.reads),
)
