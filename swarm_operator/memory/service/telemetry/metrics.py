"""Prometheus metrics in a separate registry, served on a separate port so that scraping needs no token.

Events are counted when they occur; `store_metrics` reads counts and sizes once per scrape. All series that are known in
advance are created at the start, so that rates include the first event.

Counters and histograms of requests and commits are plain numbers until a scrape reads them on a thread. The events all
occur on the event loop and need no lock; prometheus_client takes a lock and calls four functions for each event.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Final, get_args

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from swarm_operator.memory.core.embedding import Embedder
from swarm_operator.memory.core.observer import DuplicateOutcome, FormerOutcome, SearchMode
from swarm_operator.memory.core.query import Mode
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.telemetry.embed_metrics import MeasuredEmbedder
from swarm_operator.memory.service.telemetry.store_metrics import StoreCollector

OPERATIONS: Final = (
    "put",
    "get",
    "delete",
    "batch",
    "list",
    "delete-range",
    "search",
    "namespaces",
    "stats",
    "gc",
    "cleanup",
    "export",
    "import",
    "backup",
)
_METHODS: Final = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"})
_CODES: Final = {status: str(status) for status in range(100, 600)}
_ERROR_CODES: Final = (
    "invalid-input", "overloaded", "closed", "internal", "disk-full", "read-only", "io-error", "busy", "corrupt",
    "corrupt-value", "gone", "restoring", "embedding",
)  # fmt: skip
_SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_BATCH: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_FORMER: Final[dict[FormerOutcome, str]] = {
    "kept": "database copied before its schema changes; writes wait for readiness",
    "no-room": "no room for a copy of the database before its schema changes; no earlier release can use it then",
    "put-back": "database of before an upgrade put back; no write was acknowledged since",
    "dropped": "copy of the database of before an upgrade deleted",
}

_log = structlog.get_logger(__name__)


class Observations:
    """Numbers of one histogram series.

    Args:
        bounds: upper bounds of the buckets, ascending; a last bucket has all larger values.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, amount: float) -> None:
        """Count an amount."""
        self.counts[bisect_left(self.bounds, amount)] += 1
        self.total += amount


class PlainHistogram(Collector):
    """Histogram with one label, or without labels.

    Args:
        name: name of the metric.
        documentation: its HELP text.
        bounds: see Observations.
        label: name of the label; None: the histogram has a single series.
        registry: registry that collects the histogram.
    """

    def __init__(
        self, name: str, documentation: str, bounds: Sequence[float], *, registry: CollectorRegistry,
        label: str | None = None,
    ) -> None:  # fmt: skip
        self._name = name
        self._documentation = documentation
        self._bounds: Final = tuple(map(float, bounds))
        self._labels = () if label is None else (label,)
        self._series: dict[tuple[str, ...], Observations] = {}
        if label is None:
            self.labels()
        registry.register(self)

    def labels(self, *values: str) -> Observations:
        """Return the series with these values of the labels. The series exists from now on."""
        series = self._series.get(values)
        if series is None:
            series = self._series[values] = Observations(self._bounds)
        return series

    def describe(self) -> Iterable[Metric]:
        """Return the metric without its samples."""
        return [HistogramMetricFamily(self._name, self._documentation, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        """Yield the metric."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, series in self._series.copy().items():
            counts, total = series.counts.copy(), series.total
            below = 0
            buckets: list[tuple[str, float]] = []
            for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
                below += count
                buckets.append((floatToGoString(bound), below))  # type: ignore[no-untyped-call]
            family.add_metric(values, buckets, total)
        yield family


class PlainCounter(Collector):
    """Counter with labels.

    Args:
        name: name of the metric, without `_total`.
        documentation: its HELP text.
        labels: names of the labels.
        registry: registry that collects the counter.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self.counts: dict[tuple[str, ...], int] = {}
        """Counts by the values of the labels."""
        registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return the metric without its samples."""
        return [CounterMetricFamily(self._name, self._documentation, labels=self._labels)]

    def collect(self) -> Iterator[Metric]:
        """Yield the metric."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for values, count in self.counts.copy().items():
            family.add_metric(values, count)
        yield family


class SearchOutcome(StrEnum):
    """Outcome of a search."""

    OK = "ok"
    PARTIAL = "partial"
    """The page ended at a limit of time or candidates, before it was full."""
    REFUSED = "refused"
    """Rejected because of the request, or because too many searches wait."""
    FAILED = "failed"
    """Failed because of the service, its disk or its embedder."""


CONDITIONS: Final = "conditions"
"""Label of the mode of searches that have neither a text nor a vector."""


class ServiceMetrics:
    """All metrics of the service. Implements the store's Observer."""

    def __init__(self) -> None:
        # `_created` series would double the number of series and are not used. The switch is global.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._batch_size = PlainHistogram(
            "swarm_memory_commit_batch_size",
            "Writes per commit.",
            _BATCH,
            registry=self.registry,
        ).labels()
        self._commit_seconds = PlainHistogram(
            "swarm_memory_commit_duration_seconds",
            "Time from the hand-over of a batch to the writer until it is on disk.",
            _SECONDS,
            registry=self.registry,
        ).labels()
        self._durations = PlainHistogram(
            "swarm_memory_operation_duration_seconds",
            "Time from the complete request to the complete response.",
            _SECONDS,
            label="operation",
            registry=self.registry,
        )
        self.operations: dict[str, Observations] = {}
        """Duration histograms by operation. `measure` adds operations."""
        self.measure(OPERATIONS)
        requests = PlainCounter(
            "swarm_memory_http_requests",
            "Answered requests.",
            ["method", "route", "code"],
            registry=self.registry,
        )
        self._requests = requests.counts
        errors = Counter(
            "swarm_memory_errors_total", "Failed requests, commits, checkpoints and collections.", ["code"],
            registry=self.registry,
        )  # fmt: skip
        self._errors = {code: errors.labels(code) for code in _ERROR_CODES}
        self._failing: set[str] = set()
        searches = Counter(
            "swarm_memory_searches_total", "Searches, by mode and outcome.", ["mode", "outcome"],
            registry=self.registry,
        )  # fmt: skip
        self._searches = {
            (mode, outcome): searches.labels(mode, outcome) for mode in (*Mode, CONDITIONS) for outcome in SearchOutcome
        }
        self._gc_seconds = PlainHistogram(
            "swarm_memory_gc_duration_seconds",
            "Garbage collections, from the first step to the last.",
            _SECONDS,
            registry=self.registry,
        ).labels()
        self._gc_expired = Counter(
            "swarm_memory_gc_expired_total", "Collected expired entries.", registry=self.registry
        )
        slices = PlainCounter("swarm_memory_search_slices", "Slices of searches.", ["mode"], registry=self.registry)
        self._slices = slices.counts
        self._slices.update({(mode,): 0 for mode in get_args(SearchMode)})
        duplicates = PlainCounter(
            "swarm_memory_duplicates", "Writes that have a near-duplicate.", ["outcome"], registry=self.registry
        )
        self._duplicates = duplicates.counts
        self._duplicates.update({(outcome,): 0 for outcome in get_args(DuplicateOutcome)})
        self.connections = Gauge(
            "swarm_memory_http_connections", "Open connections, by port.", ["port"], registry=self.registry
        )
        self._connections_ended = Counter(
            "swarm_memory_http_connections_ended_total",
            "Connections that a limit has refused or closed.",
            ["port", "reason"],
            registry=self.registry,
        )
        self.watches = Gauge("swarm_memory_watches", "Open watches.", registry=self.registry)
        self.tokens_valid = Gauge(
            "swarm_memory_tokens_last_reload_successful",
            "1 if the token files were valid when they were last read, 0 if former tokens stay in use.",
            registry=self.registry,
        )
        self._sqlite = Gauge(
            "swarm_memory_sqlite_info", "The SQLite library in use; always 1.", ["version"], registry=self.registry
        )

    def measure(self, operations: Iterable[str]) -> None:
        """Create the duration series of operations in advance, so that rates include the first event."""
        self.operations.update((name, self._durations.labels(name)) for name in operations)

    def connection_ends(self, port: str, reasons: Iterable[str]) -> Callable[[str], None]:
        """Create the series of a port. Return a function that counts a connection that a limit ended, by its reason."""
        series = {reason: self._connections_ended.labels(port, reason) for reason in reasons}
        return lambda reason: series[reason].inc()

    def certificate(self) -> Callable[[bool], None]:
        """Create the series of the certificate. Return a function that sets whether its files are valid."""
        return Gauge(
            "swarm_memory_certificate_last_reload_successful",
            "1 if the certificate's files were valid when they were last read, 0 if the former one stays in use.",
            registry=self.registry,
        ).set

    def watch(self, store: Store, library_version: str) -> StoreCollector:
        """Return a new, registered collector of a store's counts and sizes."""
        self._sqlite.labels(library_version).set(1)
        collector = StoreCollector(store)
        self.registry.register(collector)
        return collector

    def embedder(self, embedder: Embedder | None) -> Embedder | None:
        """Return the embedder with measured calls; None, and no series, without an embedder."""
        return None if embedder is None else MeasuredEmbedder(embedder, self.registry)

    def answered(self, method: str, route: str, status: int) -> None:
        """Count a response. Unknown methods share one series, because clients choose the method names."""
        series = (method if method in _METHODS else "other", route, _CODES[status])
        counts = self._requests
        counts[series] = counts[series] + 1 if series in counts else 1

    def refused(self, code: str) -> None:
        """Count an error that was returned to a caller."""
        counter = self._errors.get(code)
        if counter is not None:
            counter.inc()

    def answered_search(self, mode: Mode | None, outcome: SearchOutcome) -> None:
        """Count a search by its mode; None for a search without a text and a vector."""
        self._searches[CONDITIONS if mode is None else mode, outcome].inc()

    def committed(self, *, requests: int, seconds: float) -> None:
        """Record the size and duration of a committed batch."""
        self._batch_size.observe(requests)
        self._commit_seconds.observe(seconds)

    def failed(self, *, code: str, reason: str) -> None:
        """Count a disk failure. Log only the first failure of a series: under load there may be thousands a second."""
        self._errors[code].inc()
        if code not in self._failing:
            self._failing.add(code)
            _log.error("write failed", code=code, reason=reason)

    def expired(self, *, entries: int) -> None:
        """Count collected entries."""
        self._gc_expired.inc(entries)

    def collected(self, *, seconds: float) -> None:
        """Record the duration of a garbage collection."""
        self._gc_seconds.observe(seconds)

    def recovered(self) -> None:
        """Log that writes work again and reset the recorded failures."""
        self._failing.clear()
        _log.info("writes work again")

    def searched(self, mode: SearchMode, *, slices: int) -> None:
        """Count the slices of a search."""
        self._slices[mode,] += slices

    def duplicate(self, outcome: DuplicateOutcome) -> None:
        """Count a write that has a near-duplicate."""
        self._duplicates[outcome,] += 1

    def former_database(self, outcome: FormerOutcome) -> None:
        """Log the fate of the copy of the database from before a change of its schema."""
        log = _log.info if outcome == "kept" else _log.warning
        log(_FORMER[outcome])


OTHER: Final = "other"
"""Label for all unknown tools, because callers choose the tool names."""


class Outcome(StrEnum):
    """Outcome of a call."""

    OK = "ok"
    REFUSED = "refused"
    """Rejected because of the request."""
    FAILED = "failed"
    """Failed because of the service or its disk."""


class McpMetrics:
    """Metrics of /mcp.

    Args:
        registry: registry of the service.
        tools: names of the tools.
    """

    def __init__(self, registry: CollectorRegistry, tools: Iterable[str]) -> None:
        calls = Counter("swarm_memory_mcp_calls_total", "Calls of MCP tools.", ["tool", "outcome"], registry=registry)
        self._calls = {(tool, outcome): calls.labels(tool, outcome) for tool in (*tools, OTHER) for outcome in Outcome}
        self.subscribers = Gauge(
            "swarm_memory_mcp_subscribers", "Clients subscribed to changes of resources.", registry=registry
        )

    def called(self, tool: str, outcome: Outcome) -> None:
        """Count a call."""
        self._calls[tool, outcome].inc()
