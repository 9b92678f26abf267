"""What Prometheus sees."""

import asyncio
import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families


def samples(text):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_the_promised_series_are_there_with_their_types(service):
    text = await service.metrics()
    for name, kind in {
        "swarm_memory_entries_total": "gauge",
        "swarm_memory_cache_hits_total": "counter",
        "swarm_memory_cache_misses_total": "counter",
        "swarm_memory_db_size_bytes": "gauge",
        "swarm_memory_wal_size_bytes": "gauge",
        "swarm_memory_readers": "gauge",
        "swarm_memory_searches_total": "counter",
        "swarm_memory_search_slices_total": "counter",
        "swarm_memory_duplicates_total": "counter",
        "swarm_memory_index_lag": "gauge",
        "swarm_memory_index_rebuilding": "gauge",
        "swarm_memory_vectors": "gauge",
        "swarm_memory_vectors_lag": "gauge",
        "swarm_memory_vectors_rebuilding": "gauge",
        "swarm_memory_commit_batch_size": "histogram",
        "swarm_memory_operation_duration_seconds": "histogram",
        "swarm_memory_http_requests_total": "counter",
        "swarm_memory_sqlite_info": "gauge",
        "swarm_memory_errors_total": "counter",
        "swarm_memory_writable": "gauge",
        "swarm_memory_volume_size_bytes": "gauge",
        "swarm_memory_volume_free_bytes": "gauge",
    }.items():
        assert f"# TYPE {name} {kind}\n" in text
    assert "_created" not in text
    assert f'swarm_memory_sqlite_info{{version="{service.store.sqlite_version}"}} 1.0\n' in text


async def test_what_happens_is_counted(service, clock):
    await service.put("n/k", 1)
    await service.put("n/gone", 1, ttl=1)
    await service.call("GET", "/v1/entries/n/k")
    await service.call("GET", "/v1/entries/n/missing")
    await service.call("DELETE", "/v1/entries/n/missing")
    await service.call("GET", "/v1/entries?namespace=n")
    await service.call("GET", "/v1/stats", token=None)
    await service.call("PUT", "/v1/entries/n/k", b"{")
    await service.call("PROPFIND", "/nowhere")
    await service.call("GET", "/v1/search?text=word")
    await service.call("GET", "/v1/search?match=%22")
    await service.call("GET", "/v1/search?prefix=k")
    clock.advance(1)
    found = samples(await service.metrics())
    route = ("route", "/v1/entries/{namespace}/{key}")
    for key, value in {
        ("swarm_memory_entries_total",): 1,
        ("swarm_memory_searches_total", ("mode", "words"), ("outcome", "ok")): 1,
        ("swarm_memory_searches_total", ("mode", "words"), ("outcome", "failed")): 0,
        ("swarm_memory_searches_total", ("mode", "words"), ("outcome", "refused")): 1,
        ("swarm_memory_searches_total", ("mode", "conditions"), ("outcome", "ok")): 1,
        ("swarm_memory_search_slices_total", ("mode", "words")): 1,
        ("swarm_memory_search_slices_total", ("mode", "conditions")): 1,
        ("swarm_memory_cache_hits_total",): 1,
        ("swarm_memory_cache_misses_total",): 1,
        ("swarm_memory_commit_batch_size_count",): 3,
        ("swarm_memory_writable",): 1,
        ("swarm_memory_operation_duration_seconds_count", ("operation", "put")): 2,
        ("swarm_memory_operation_duration_seconds_count", ("operation", "list")): 1,
        ("swarm_memory_operation_duration_seconds_count", ("operation", "stats")): 0,
        ("swarm_memory_http_requests_total", ("code", "201"), ("method", "PUT"), route): 2,
        ("swarm_memory_http_requests_total", ("code", "404"), ("method", "GET"), route): 1,
        ("swarm_memory_http_requests_total", ("code", "400"), ("method", "PUT"), route): 1,
        ("swarm_memory_http_requests_total", ("code", "401"), ("method", "GET"), ("route", "other")): 1,
        ("swarm_memory_http_requests_total", ("code", "404"), ("method", "other"), ("route", "other")): 1,
        ("swarm_memory_http_requests_total", ("code", "200"), ("method", "GET"), ("route", "/v1/entries")): 1,
        ("swarm_memory_errors_total", ("code", "invalid-input")): 2,
        ("swarm_memory_errors_total", ("code", "disk-full")): 0,
    }.items():
        assert found[key] == value, key
    assert found[("swarm_memory_db_size_bytes",)] > 0
    assert found[("swarm_memory_wal_size_bytes",)] > 0


async def test_names_and_values_of_entries_are_never_labels(service):
    await service.put("secret-namespace/secret-key", "secret-value")
    await service.call("GET", "/secret-path")
    assert "secret" not in await service.metrics()


async def test_the_metrics_port_serves_metrics_only(service):
    assert (await service.call("GET", "/v1/stats", port=service.metrics_port)).status == 404
    assert (await service.call("POST", "/metrics", port=service.metrics_port)).status == 405


async def test_counts_that_can_not_be_had_are_absent_and_the_rest_is_served(service, monkeypatch):
    from swarm_operator.memory.core.errors import StorageIOError

    async def broken():
        raise StorageIOError("disk I/O error")

    monkeypatch.setattr(service.store, "stats", broken)
    found = samples(await service.metrics())
    assert ("swarm_memory_entries_total",) not in found
    assert found[("swarm_memory_writable",)] == 1


@pytest.mark.parametrize("failures", [1, 5])
def test_a_failing_disk_is_logged_once_and_counted_each_time(failures):
    from structlog.testing import capture_logs

    from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

    metrics = ServiceMetrics()
    with capture_logs() as logs:
        for _ in range(failures):
            metrics.failed(code="disk-full", reason="full")
        metrics.recovered()
    assert [log["log_level"] for log in logs] == ["error", "info"]
    assert metrics.registry.get_sample_value("swarm_memory_errors_total", {"code": "disk-full"}) == failures


async def test_reads_that_run_or_wait_are_shown(service):
    release, began = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    worker = service.store._readers._workers["entries"]

    def occupy(_):
        loop.call_soon_threadsafe(began.set)
        release.wait()

    occupied = asyncio.create_task(worker.run(occupy))
    await began.wait()
    waiting = asyncio.create_task(service.call("GET", "/v1/entries/n/k"))
    try:
        async with asyncio.timeout(60):
            while samples(await service.metrics())["swarm_memory_readers", ("kind", "entries")] != 1:
                pass
    finally:
        release.set()
    await asyncio.gather(occupied, waiting)
    found = samples(await service.metrics())
    assert {kind: found["swarm_memory_readers", ("kind", kind)] for kind in ("entries", "pages")} == {
        "entries": 0, "pages": 0,
    }  # fmt: skip
