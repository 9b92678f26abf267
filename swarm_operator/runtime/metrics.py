"""Prometheus metrics under controller-runtime's own names and labels, so that its dashboards and alerts fit.

Sources: controller-runtime `pkg/internal/controller/metrics`, `pkg/internal/metrics/workqueue.go`,
`pkg/metrics/client_go_adapter.go`, `pkg/metrics/leaderelection.go`, `pkg/certwatcher/metrics`. Reflectors have the
names under which kube-apiserver registers those of client-go's `tools/cache/reflector_metrics.go`.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, disable_created_metrics
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

disable_created_metrics()  # type: ignore[no-untyped-call]  # controller-runtime has none, and they double the number of series

RECONCILE_RESULTS = ("success", "error", "requeue", "requeue_after")

_RECONCILE_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    *(1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60),
)
_QUEUE_BUCKETS = tuple(10.0**exponent for exponent in range(-8, 4))
_LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def process_registry() -> CollectorRegistry:
    """Return a registry with the metrics of the process, of Python and of its garbage collector."""
    registry = CollectorRegistry(auto_describe=True)
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    return registry


class _Group:
    """Factory of metrics with a common name prefix and common labels."""

    def __init__(self, registry: CollectorRegistry, prefix: str, *labels: str) -> None:
        self._registry, self._prefix, self._labels = registry, prefix, labels

    def counter(self, name: str, says: str, *more: str) -> Counter:
        return Counter(self._prefix + name, says, (*self._labels, *more), registry=self._registry)

    def gauge(self, name: str, says: str, *more: str) -> Gauge:
        return Gauge(self._prefix + name, says, (*self._labels, *more), registry=self._registry)

    def summary(self, name: str, says: str) -> Summary:
        return Summary(self._prefix + name, says, self._labels, registry=self._registry)

    def histogram(self, name: str, says: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(self._prefix + name, says, self._labels, buckets=buckets, registry=self._registry)


class Metrics:
    """Metrics of the parts of a manager. Pass the same object to all parts.

    Args:
        registry: where they are registered; None for a registry of their own.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry(auto_describe=True)
        of = _Group(self.registry, "controller_runtime_", "controller")
        self.reconcile_total = of.counter("reconcile", "Total number of reconciliations per controller", "result")
        self.reconcile_errors = of.counter("reconcile_errors", "Total number of reconciliation errors per controller")
        self.terminal_reconcile_errors = of.counter(
            "terminal_reconcile_errors", "Total number of terminal reconciliation errors per controller"
        )
        self.reconcile_panics = of.counter("reconcile_panics", "Total number of reconciliation panics per controller")
        self.reconcile_timeouts = of.counter(
            "reconcile_timeouts", "Total number of reconciliation timeouts per controller"
        )
        self.reconcile_time = of.histogram(
            "reconcile_time_seconds", "Length of time per reconciliation per controller", _RECONCILE_BUCKETS
        )
        self.max_concurrent_reconciles = of.gauge(
            "max_concurrent_reconciles", "Maximum number of concurrent reconciles per controller"
        )
        self.active_workers = of.gauge("active_workers", "Number of currently used workers per controller")

        of = _Group(self.registry, "workqueue_", "name", "controller")
        self.queue_depth = of.gauge("depth", "Current depth of workqueue by workqueue and priority", "priority")
        self.queue_adds = of.counter("adds", "Total number of adds handled by workqueue")
        self.queue_retries = of.counter("retries", "Total number of retries handled by workqueue")
        self.queue_duration = of.histogram(
            "queue_duration_seconds", "Seconds that an item stays in workqueue before being requested", _QUEUE_BUCKETS
        )
        self.work_duration = of.histogram(
            "work_duration_seconds", "Seconds that processing an item from workqueue takes", _QUEUE_BUCKETS
        )
        self.unfinished_work = of.gauge("unfinished_work_seconds", "Seconds that items now in progress have taken")
        self.longest_running = of.gauge(
            "longest_running_processor_seconds", "Seconds that the longest running processor for workqueue has taken"
        )

        of = _Group(self.registry, "reflector_", "name")
        self.lists = of.counter("lists", "Total number of API lists done by the reflectors")
        self.list_duration = of.summary("list_duration_seconds", "Seconds that an API list takes to return and decode")
        self.items_per_list = of.summary("items_per_list", "How many items an API list returns to the reflectors")
        self.watches = of.counter("watches", "Total number of API watches done by the reflectors")
        self.short_watches = of.counter("short_watches", "Total number of short API watches done by the reflectors")
        self.watch_duration = of.summary("watch_duration_seconds", "Seconds that an API watch takes")
        self.items_per_watch = of.summary("items_per_watch", "How many items an API watch returns to the reflectors")
        self.events = of.counter("events", "Total number of events that the reflectors' watches delivered")
        self.restarts = of.counter("restarts", "Total number of lists and watches that failed and were retried")

        of = _Group(self.registry, "")
        self.rest_client_requests = of.counter(
            "rest_client_requests",
            "Number of HTTP requests, partitioned by status code, method, and host",
            *("code", "method", "host"),
        )
        self.leads = of.gauge("leader_election_master_status", "Whether this process is the leader: 1, or 0", "name")
        self.certificate_reads = of.counter("certwatcher_read_certificate", "Total number of certificate reads")
        self.certificate_errors = of.counter(
            "certwatcher_read_certificate_errors", "Total number of certificate read errors"
        )
        self.loop_lag = of.histogram(
            "asyncio_event_loop_lag_seconds", "Delay of the wake-up of a sleeping task", _LAG_BUCKETS
        )
        self.tasks = of.gauge("asyncio_tasks", "Number of running tasks of the event loop")


class ControllerMetrics:
    """Series of one controller. They start at 0, so rates and alerts work from the first scrape."""

    def __init__(self, metrics: Metrics, name: str, *, workers: int) -> None:
        self.total = {result: metrics.reconcile_total.labels(name, result) for result in RECONCILE_RESULTS}
        self.errors = metrics.reconcile_errors.labels(name)
        self.terminal_errors = metrics.terminal_reconcile_errors.labels(name)
        self.panics = metrics.reconcile_panics.labels(name)
        self.timeouts = metrics.reconcile_timeouts.labels(name)
        self.time = metrics.reconcile_time.labels(name)
        self.active_workers = metrics.active_workers.labels(name)
        metrics.max_concurrent_reconciles.labels(name).set(workers)


class QueueMetrics:
    """Series of one work queue, which has its controller's name. They start at 0."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.depth, self.labels = metrics.queue_depth, (name, name)
        self.adds = metrics.queue_adds.labels(name, name)
        self.retries = metrics.queue_retries.labels(name, name)
        self.queue_duration = metrics.queue_duration.labels(name, name)
        self.work_duration = metrics.work_duration.labels(name, name)
        self.unfinished_work = metrics.unfinished_work.labels(name, name)
        self.longest_running = metrics.longest_running.labels(name, name)


class ReflectorMetrics:
    """Series of the reflectors of one kind, for all namespaces together. They start at 0.

    Args:
        metrics: the metrics that have the series.
        name: the kind's plural; client-go has a file and line of the source code here.
    """

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.lists = metrics.lists.labels(name)
        self.list_duration = metrics.list_duration.labels(name)
        self.items_per_list = metrics.items_per_list.labels(name)
        self.watches = metrics.watches.labels(name)
        self.short_watches = metrics.short_watches.labels(name)
        self.watch_duration = metrics.watch_duration.labels(name)
        self.items_per_watch = metrics.items_per_watch.labels(name)
        self.events = metrics.events.labels(name)
        self.restarts = metrics.restarts.labels(name)
