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


class Metrics:
    """The metrics of the parts of a manager. Hand the same object to all of them.

    Args:
        registry: where they are registered; None for a registry of their own.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = self.registry = registry or CollectorRegistry(auto_describe=True)

        def counter(name: str, says: str, *labels: str) -> Counter:
            return Counter(name, says, labels, registry=registry)

        def gauge(name: str, says: str, *labels: str) -> Gauge:
            return Gauge(name, says, labels, registry=registry)

        def summary(name: str, says: str, *labels: str) -> Summary:
            return Summary(name, says, labels, registry=registry)

        def histogram(name: str, says: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(name, says, labels, buckets=buckets, registry=registry)

        name, controller, queue = "name", "controller", ("name", "controller")
        of = "controller_runtime_"
        self.reconcile_total = counter(
            f"{of}reconcile", "Total number of reconciliations per controller", controller, "result"
        )
        self.reconcile_errors = counter(
            f"{of}reconcile_errors", "Total number of reconciliation errors per controller", controller
        )
        self.terminal_reconcile_errors = counter(
            f"{of}terminal_reconcile_errors",
            "Total number of terminal reconciliation errors per controller",
            controller,
        )
        self.reconcile_panics = counter(
            f"{of}reconcile_panics",
            "Total number of reconciliations that raised something unforeseen, per controller",
            controller,
        )
        self.reconcile_timeouts = counter(
            f"{of}reconcile_timeouts",
            "Total number of reconciliations that exceeded the reconcile timeout, per controller",
            controller,
        )
        self.reconcile_time = histogram(
            f"{of}reconcile_time_seconds",
            "Length of time per reconciliation per controller",
            _RECONCILE_BUCKETS,
            controller,
        )
        self.max_concurrent_reconciles = gauge(
            f"{of}max_concurrent_reconciles", "Maximum number of concurrent reconciles per controller", controller
        )
        self.active_workers = gauge(
            f"{of}active_workers", "Number of currently used workers per controller", controller
        )

        of = "workqueue_"
        self.workqueue_depth = gauge(
            f"{of}depth", "Current depth of workqueue by workqueue and priority", *queue, "priority"
        )
        self.workqueue_adds = counter(f"{of}adds", "Total number of adds handled by workqueue", *queue)
        self.workqueue_retries = counter(f"{of}retries", "Total number of retries handled by workqueue", *queue)
        self.workqueue_queue_duration = histogram(
            f"{of}queue_duration_seconds",
            "How long in seconds an item stays in workqueue before being requested",
            _QUEUE_BUCKETS,
            *queue,
        )
        self.workqueue_work_duration = histogram(
            f"{of}work_duration_seconds",
            "How long in seconds processing an item from workqueue takes",
            _QUEUE_BUCKETS,
            *queue,
        )
        self.workqueue_unfinished_work = gauge(
            f"{of}unfinished_work_seconds", "Sum of the seconds that items now in progress have been worked on", *queue
        )
        self.workqueue_longest_running = gauge(
            f"{of}longest_running_processor_seconds",
            "How many seconds the longest running processor for workqueue has been running",
            *queue,
        )

        of = "reflector_"
        self.reflector_lists = counter(f"{of}lists", "Total number of API lists done by the reflectors", name)
        self.reflector_list_duration = summary(
            f"{of}list_duration_seconds", "How long an API list takes to return and decode for the reflectors", name
        )
        self.reflector_items_per_list = summary(
            f"{of}items_per_list", "How many items an API list returns to the reflectors", name
        )
        self.reflector_watches = counter(f"{of}watches", "Total number of API watches done by the reflectors", name)
        self.reflector_short_watches = counter(
            f"{of}short_watches", "Total number of short API watches done by the reflectors", name
        )
        self.reflector_watch_duration = summary(
            f"{of}watch_duration_seconds", "How long an API watch takes to return and decode for the reflectors", name
        )
        self.reflector_items_per_watch = summary(
            f"{of}items_per_watch", "How many items an API watch returns to the reflectors", name
        )
        self.reflector_events = counter(
            f"{of}events", "Total number of events that watches of the reflectors brought", name
        )
        self.reflector_restarts = counter(
            f"{of}restarts",
            "Total number of lists and watches of the reflectors that failed and were begun anew after a delay",
            name,
        )

        self.rest_client_requests = counter(
            "rest_client_requests",
            "Number of HTTP requests, partitioned by status code, method, and host",
            *("code", "method", "host"),
        )
        self.leader_election_master_status = gauge(
            "leader_election_master_status", "Whether this process is the leader of the lease: 1, or 0", name
        )
        self.certwatcher_reads = counter(
            "certwatcher_read_certificate", "Total number of certificate reads, of those made here too"
        )
        self.certwatcher_errors = counter(
            "certwatcher_read_certificate_errors", "Total number of certificate read errors"
        )
        self.loop_lag = histogram(
            "asyncio_event_loop_lag_seconds",
            "How much later than asked for the event loop woke up a task that slept",
            _LAG_BUCKETS,
        )
        self.tasks = gauge("asyncio_tasks", "Tasks of the event loop that have not ended")


class ControllerMetrics:
    """The series of a controller; at 0 from the start, so that rates and alerts work from the first scrape."""

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
    """The series of a work queue; at 0 from the start. A queue has its controller's name."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.depth, self.labels = metrics.workqueue_depth, (name, name)
        self.adds = metrics.workqueue_adds.labels(name, name)
        self.retries = metrics.workqueue_retries.labels(name, name)
        self.queue_duration = metrics.workqueue_queue_duration.labels(name, name)
        self.work_duration = metrics.workqueue_work_duration.labels(name, name)
        self.unfinished_work = metrics.workqueue_unfinished_work.labels(name, name)
        self.longest_running = metrics.workqueue_longest_running.labels(name, name)


class ReflectorMetrics:
    """The series of the reflectors of one kind, in all namespaces together; at 0 from the start.

    Args:
        metrics: whose series.
        name: the kind's plural; client-go has a place in the source here.
    """

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.lists = metrics.reflector_lists.labels(name)
        self.list_duration = metrics.reflector_list_duration.labels(name)
        self.items_per_list = metrics.reflector_items_per_list.labels(name)
        self.watches = metrics.reflector_watches.labels(name)
        self.short_watches = metrics.reflector_short_watches.labels(name)
        self.watch_duration = metrics.reflector_watch_duration.labels(name)
        self.items_per_watch = metrics.reflector_items_per_watch.labels(name)
        self.events = metrics.reflector_events.labels(name)
        self.restarts = metrics.reflector_restarts.labels(name)
