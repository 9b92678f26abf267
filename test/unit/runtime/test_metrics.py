"""Names and labels are those of controller-runtime, whose dashboards and alerts are to fit."""

import pytest
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.metrics import Metrics, ReflectorMetrics, process_registry

RECONCILE_BUCKETS = [
    *(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5),
    *(1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60, float("inf")),
]

QUEUE = {"name", "controller"}
NAMES = {
    "controller_runtime_reconcile_total": ("counter", {"controller", "result"}),
    "controller_runtime_reconcile_errors_total": ("counter", {"controller"}),
    "controller_runtime_terminal_reconcile_errors_total": ("counter", {"controller"}),
    "controller_runtime_reconcile_panics_total": ("counter", {"controller"}),
    "controller_runtime_reconcile_timeouts_total": ("counter", {"controller"}),
    "controller_runtime_reconcile_time_seconds": ("histogram", {"controller"}),
    "controller_runtime_max_concurrent_reconciles": ("gauge", {"controller"}),
    "controller_runtime_active_workers": ("gauge", {"controller"}),
    "workqueue_depth": ("gauge", QUEUE | {"priority"}),
    "workqueue_adds_total": ("counter", QUEUE),
    "workqueue_retries_total": ("counter", QUEUE),
    "workqueue_queue_duration_seconds": ("histogram", QUEUE),
    "workqueue_work_duration_seconds": ("histogram", QUEUE),
    "workqueue_unfinished_work_seconds": ("gauge", QUEUE),
    "workqueue_longest_running_processor_seconds": ("gauge", QUEUE),
    "leader_election_master_status": ("gauge", {"name"}),
    "rest_client_requests_total": ("counter", {"code", "method", "host"}),
    "certwatcher_read_certificate_total": ("counter", set()),
    "certwatcher_read_certificate_errors_total": ("counter", set()),
    "reflector_lists_total": ("counter", {"name"}),
    "reflector_list_duration_seconds": ("summary", {"name"}),
    "reflector_items_per_list": ("summary", {"name"}),
    "reflector_watches_total": ("counter", {"name"}),
    "reflector_short_watches_total": ("counter", {"name"}),
    "reflector_watch_duration_seconds": ("summary", {"name"}),
    "reflector_items_per_watch": ("summary", {"name"}),
    # Not theirs: client-go counts neither the events that have come so far nor the failures.
    "reflector_events_total": ("counter", {"name"}),
    "reflector_restarts_total": ("counter", {"name"}),
    # Not theirs: a Go program has no event loop.
    "asyncio_event_loop_lag_seconds": ("histogram", set()),
    "asyncio_tasks": ("gauge", set()),
}


@pytest.fixture
def families(metrics):
    """What a scrape finds, by the name that the samples have."""

    def scrape():
        found = {}
        for family in text_string_to_metric_families(generate_latest(metrics.registry).decode()):
            found[family.name + ("_total" if family.type == "counter" else "")] = family
        return found

    return scrape


@pytest.fixture
async def controller(name, metrics):
    return Controller(name, None, Cache(None), workers=3, metrics=metrics)


@pytest.mark.parametrize("metric", NAMES)
async def test_a_metric_has_the_name_type_and_labels_of_controller_runtime_s(
    controller, families, metrics, name, metric
):
    metrics.rest_client_requests.labels("200", "GET", name)
    metrics.leads.labels(name)
    ReflectorMetrics(metrics, name)
    controller.queue.add("key")
    kind, labels = NAMES[metric]
    family = families()[metric]
    assert family.type == kind
    for sample in family.samples:
        assert set(sample.labels) - {"le"} == labels


def test_no_other_metric_of_the_runtime_is_there(families):
    assert families().keys() <= NAMES.keys()


def test_a_process_has_metrics_of_its_own_too():
    found = generate_latest(Metrics(process_registry()).registry).decode()
    for name in ("process_cpu_seconds_total", "python_gc_collections_total", "python_info", "asyncio_tasks"):
        assert f"# TYPE {name}" in found


def test_two_managers_in_a_process_count_apart(metrics):
    Metrics().tasks.set(1)
    metrics.tasks.set(2)
    assert metrics.registry.get_sample_value("asyncio_tasks") == 2


async def test_every_series_of_a_controller_is_there_at_0_from_the_start(controller, families, name):
    found = families()
    for metric in NAMES:
        if "controller" not in NAMES[metric][1]:
            continue
        samples = [sample for sample in found[metric].samples if sample.labels["controller"] == name]
        assert samples, metric
        expected = 3.0 if metric == "controller_runtime_max_concurrent_reconciles" else 0.0
        assert {sample.value for sample in samples} == {expected}, metric
    depths = [sample for sample in found["workqueue_depth"].samples if sample.labels["controller"] == name]
    assert {sample.labels["priority"] for sample in depths} == {"0", "-100"}
    results = {
        sample.labels["result"]
        for sample in found["controller_runtime_reconcile_total"].samples
        if sample.labels["controller"] == name
    }
    assert results == {"success", "error", "requeue", "requeue_after"}


async def test_a_queue_s_name_is_its_controller_s(controller, families, name):
    (sample,) = [sample for sample in families()["workqueue_adds_total"].samples if sample.labels["controller"] == name]
    assert sample.labels["name"] == name


async def test_histograms_have_controller_runtime_s_buckets(controller, families, name):
    found = families()

    def buckets(metric):
        return [
            float(sample.labels["le"])
            for sample in found[metric].samples
            if sample.labels["controller"] == name and sample.name.endswith("_bucket")
        ]

    assert buckets("controller_runtime_reconcile_time_seconds") == RECONCILE_BUCKETS
    for metric in ("workqueue_queue_duration_seconds", "workqueue_work_duration_seconds"):
        assert buckets(metric) == pytest.approx([10.0**exponent for exponent in range(-8, 4)] + [float("inf")])


async def test_no_created_series_doubles_the_number_of_series(controller, metrics):
    assert "_created" not in generate_latest(metrics.registry).decode()
