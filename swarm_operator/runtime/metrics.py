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

REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)
PlatformCollector(registry=REGISTRY)
GCCollector(registry=REGISTRY)

RECONCILE_RESULTS = ("success", "error", "requeue", "requeue_after")

_RECONCILE_BUCKETS = (
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    *(1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60),
)
_QUEUE_BUCKETS = tuple(10.0**exponent for exponent in range(-8, 4))

RECONCILE_TOTAL = Counter(
    "controller_runtime_reconcile",
    "Total number of reconciliations per controller",
    ["controller", "result"],
    registry=REGISTRY,
)
RECONCILE_ERRORS = Counter(
    "controller_runtime_reconcile_errors",
    "Total number of reconciliation errors per controller",
    ["controller"],
    registry=REGISTRY,
)
TERMINAL_RECONCILE_ERRORS = Counter(
    "controller_runtime_terminal_reconcile_errors",
    "Total number of terminal reconciliation errors per controller",
    ["controller"],
    registry=REGISTRY,
)
RECONCILE_PANICS = Counter(
    "controller_runtime_reconcile_panics",
    "Total number of reconciliations that raised something unforeseen, per controller",
    ["controller"],
    registry=REGISTRY,
)
RECONCILE_TIMEOUTS = Counter(
    "controller_runtime_reconcile_timeouts",
    "Total number of reconciliations that exceeded the reconcile timeout, per controller",
    ["controller"],
    registry=REGISTRY,
)
RECONCILE_TIME = Histogram(
    "controller_runtime_reconcile_time_seconds",
    "Length of time per reconciliation per controller",
    ["controller"],
    buckets=_RECONCILE_BUCKETS,
    registry=REGISTRY,
)
MAX_CONCURRENT_RECONCILES = Gauge(
    "controller_runtime_max_concurrent_reconciles",
    "Maximum number of concurrent reconciles per controller",
    ["controller"],
    registry=REGISTRY,
)
ACTIVE_WORKERS = Gauge(
    "controller_runtime_active_workers",
    "Number of currently used workers per controller",
    ["controller"],
    registry=REGISTRY,
)

WORKQUEUE_DEPTH = Gauge(
    "workqueue_depth",
    "Current depth of workqueue by workqueue and priority",
    ["name", "controller", "priority"],
    registry=REGISTRY,
)
WORKQUEUE_ADDS = Counter(
    "workqueue_adds", "Total number of adds handled by workqueue", ["name", "controller"], registry=REGISTRY
)
WORKQUEUE_RETRIES = Counter(
    "workqueue_retries", "Total number of retries handled by workqueue", ["name", "controller"], registry=REGISTRY
)
WORKQUEUE_QUEUE_DURATION = Histogram(
    "workqueue_queue_duration_seconds",
    "How long in seconds an item stays in workqueue before being requested",
    ["name", "controller"],
    buckets=_QUEUE_BUCKETS,
    registry=REGISTRY,
)
WORKQUEUE_WORK_DURATION = Histogram(
    "workqueue_work_duration_seconds",
    "How long in seconds processing an item from workqueue takes",
    ["name", "controller"],
    buckets=_QUEUE_BUCKETS,
    registry=REGISTRY,
)
WORKQUEUE_UNFINISHED_WORK = Gauge(
    "workqueue_unfinished_work_seconds",
    "Sum of the seconds that items now in progress have been worked on",
    ["name", "controller"],
    registry=REGISTRY,
)
WORKQUEUE_LONGEST_RUNNING = Gauge(
    "workqueue_longest_running_processor_seconds",
    "How many seconds the longest running processor for workqueue has been running",
    ["name", "controller"],
    registry=REGISTRY,
)

REST_CLIENT_REQUESTS = Counter(
    "rest_client_requests",
    "Number of HTTP requests, partitioned by status code, method, and host",
    ["code", "method", "host"],
    registry=REGISTRY,
)

REFLECTOR_LISTS = Counter(
    "reflector_lists", "Total number of API lists done by the reflectors", ["name"], registry=REGISTRY
)
REFLECTOR_LIST_DURATION = Summary(
    "reflector_list_duration_seconds",
    "How long an API list takes to return and decode for the reflectors",
    ["name"],
    registry=REGISTRY,
)
REFLECTOR_ITEMS_PER_LIST = Summary(
    "reflector_items_per_list", "How many items an API list returns to the reflectors", ["name"], registry=REGISTRY
)
REFLECTOR_WATCHES = Counter(
    "reflector_watches", "Total number of API watches done by the reflectors", ["name"], registry=REGISTRY
)
REFLECTOR_SHORT_WATCHES = Counter(
    "reflector_short_watches", "Total number of short API watches done by the reflectors", ["name"], registry=REGISTRY
)
REFLECTOR_WATCH_DURATION = Summary(
    "reflector_watch_duration_seconds",
    "How long an API watch takes to return and decode for the reflectors",
    ["name"],
    registry=REGISTRY,
)
REFLECTOR_ITEMS_PER_WATCH = Summary(
    "reflector_items_per_watch", "How many items an API watch returns to the reflectors", ["name"], registry=REGISTRY
)
REFLECTOR_EVENTS = Counter(
    "reflector_events", "Total number of events that watches of the reflectors brought", ["name"], registry=REGISTRY
)
REFLECTOR_RESTARTS = Counter(
    "reflector_restarts",
    "Total number of lists and watches of the reflectors that failed and were begun anew after a delay",
    ["name"],
    registry=REGISTRY,
)

LEADER_ELECTION_MASTER_STATUS = Gauge(
    "leader_election_master_status",
    "Whether this process is the leader of the lease: 1, or 0",
    ["name"],
    registry=REGISTRY,
)

CERTWATCHER_READS = Counter(
    "certwatcher_read_certificate", "Total number of certificate reads, of those made here too", registry=REGISTRY
)
CERTWATCHER_ERRORS = Counter(
    "certwatcher_read_certificate_errors", "Total number of certificate read errors", registry=REGISTRY
)

LOOP_LAG = Histogram(
    "asyncio_event_loop_lag_seconds",
    "How much later than asked for the event loop woke up a task that slept",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=REGISTRY,
)

TASKS = Gauge("asyncio_tasks", "Tasks of the event loop that have not ended", registry=REGISTRY)


def initialise_controller(name: str, workers: int) -> None:
    """Create every series of a controller at 0, so that rates and alerts work from the first scrape."""
    for result in RECONCILE_RESULTS:
        RECONCILE_TOTAL.labels(name, result)
    for metric in (RECONCILE_ERRORS, TERMINAL_RECONCILE_ERRORS, RECONCILE_PANICS, RECONCILE_TIMEOUTS):
        metric.labels(name)
    RECONCILE_TIME.labels(name)
    ACTIVE_WORKERS.labels(name).set(0)
    MAX_CONCURRENT_RECONCILES.labels(name).set(workers)
    for counter in (WORKQUEUE_ADDS, WORKQUEUE_RETRIES):
        counter.labels(name, name)
    WORKQUEUE_QUEUE_DURATION.labels(name, name)
    WORKQUEUE_WORK_DURATION.labels(name, name)
    WORKQUEUE_UNFINISHED_WORK.labels(name, name).set(0)
    WORKQUEUE_LONGEST_RUNNING.labels(name, name).set(0)


class ReflectorMetrics:
    """The series of the reflectors of one kind, in all namespaces together; at 0 from the start.

    Args:
        name: the kind's plural; client-go has a place in the source here.
    """

    def __init__(self, name: str) -> None:
        self.lists = REFLECTOR_LISTS.labels(name)
        self.list_duration = REFLECTOR_LIST_DURATION.labels(name)
        self.items_per_list = REFLECTOR_ITEMS_PER_LIST.labels(name)
        self.watches = REFLECTOR_WATCHES.labels(name)
        self.short_watches = REFLECTOR_SHORT_WATCHES.labels(name)
        self.watch_duration = REFLECTOR_WATCH_DURATION.labels(name)
        self.items_per_watch = REFLECTOR_ITEMS_PER_WATCH.labels(name)
        self.events = REFLECTOR_EVENTS.labels(name)
        self.restarts = REFLECTOR_RESTARTS.labels(name)
