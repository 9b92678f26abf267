"""Lists, namespaces, statistics, health."""

import shutil

import pytest

import swarm_operator
from swarm_operator.memory.sqlite import StoreConfig


async def test_a_list_is_walked_with_its_cursor(service):
    for number in range(7):
        await service.put(f"n/k%2F{number}", number)
    await service.put("n/other", 1)
    seen, cursor = [], ""
    while cursor is not None:
        query = f"namespace=n&prefix=k%2F&limit=3{cursor and '&cursor=' + cursor}"
        answer = await service.call("GET", f"/v1/entries?{query}")
        assert answer.status == 200
        seen.append([entry["value"] for entry in answer.json["entries"]])
        cursor = answer.json["next_cursor"]
    assert seen == [[0, 1, 2], [3, 4, 5], [6]]


async def test_an_empty_list_is_a_list(service):
    answer = await service.call("GET", "/v1/entries?namespace=nothing+here")
    assert (answer.status, answer.json) == (200, {"entries": [], "next_cursor": None})


async def test_namespaces_are_listed_with_their_counts(service):
    await service.put("a%2Fb/k", "12345678")
    await service.put("swarm:agents/k", 1)
    await service.put("swarm:agents/l", 1)
    first = (await service.call("GET", "/v1/namespaces?limit=1")).json
    assert first["namespaces"] == [{"namespace": "a/b", "entries": 1, "bytes": 10}]
    second = (await service.call("GET", f"/v1/namespaces?cursor={first['next_cursor']}")).json
    assert second == {"namespaces": [{"namespace": "swarm:agents", "entries": 2, "bytes": 2}], "next_cursor": None}


async def test_statistics_show_counts_sizes_and_what_is_applied(start_service):
    config = StoreConfig(swarm_id="my-swarm", cache_size=2000, cache_memory_mb=100)
    async with start_service(config=config) as service:
        before = (await service.call("GET", "/v1/stats")).json
        assert before["cache"]["hit_rate"] is None
        for path in ("swarm:agents/a", "swarm:agents/b", "swarm:tasks/t", "swarm:patterns/p", "x/y"):
            await service.put(path, 1)
        for key in ("a", "missing", "b", "a"):
            await service.call("GET", f"/v1/entries/swarm:agents/{key}")
        stats = (await service.call("GET", "/v1/stats")).json
        assert [stats[name] for name in ("entries", "agents", "tasks", "patterns", "value_bytes")] == [5, 2, 1, 1, 5]
        assert stats["database_size_bytes"] % 4096 == 0
        assert stats["database_size_bytes"] > 0
        assert stats["wal_size_bytes"] > 0
        assert stats["volume_size_bytes"] == shutil.disk_usage(service.store.path.parent).total
        assert 0 < stats["volume_free_bytes"] < stats["volume_size_bytes"]
        cache = stats["cache"]
        assert (cache["hits"], cache["misses"], cache["hit_rate"], cache["entries"]) == (3, 1, 0.75, 5)
        assert (cache["max_entries"], cache["max_bytes"]) == (2000, 100 * 1024 * 1024)
        assert cache["bytes"] > 5 * 500
        settings = stats["settings"]
        assert (settings["cache_size"], settings["cache_memory_mb"], settings["enable_wal"]) == (2000, 100, True)
        assert (stats["swarm_id"], stats["version"]) == ("my-swarm", swarm_operator.__version__)
        assert stats["sqlite_version"] == service.store.sqlite_version
        assert stats["features"] == ["service-account-tokens"]


async def test_bad_queries_are_refused_by_name(service):
    for query, field in (
        ("", "namespace"),
        ("namespace=", "namespace"),
        ("namespace=n&limit=0", "limit"),
        ("namespace=n&limit=1001", "limit"),
        ("namespace=n&limit=-1", "limit"),
        ("namespace=n&limit=%D9%A1", "limit"),
        ("namespace=n&limit=99999999999999999999", "limit"),
        ("namespace=n&cursor=", "cursor"),
        ("namespace=n&cursor=%25%25", "cursor"),
        ("namespace=n&cursor=_w", "cursor"),
        ("namespace=n&cursor=AA", "cursor"),
        ("namespace=n&prefix=x&cursor=eQ", "cursor"),
        ("namespace=n&cursor=" + "eHh4" * 1000, "cursor"),
        ("namespace=n&prefix=%00", "prefix"),
        ("namespace=n&namespace=m", "namespace"),
        ("namespace=%zz", "namespace"),
        ("namespace=%ff", "namespace"),
        ("namespace=n&color=red", "query parameter 'color'"),
    ):
        answer = await service.call("GET", f"/v1/entries?{query}")
        assert (answer.status, answer.json["field"]) == (400, field), query
        assert answer.json["allowed"]


async def test_unknown_paths_and_methods_are_problems(service):
    for path in ("/", "/v1", "/v1/entries/", "/v1/entries/n", "/v1/entriesx", "/healthz/x", "/v1/stats/", "//v1/stats"):
        answer = await service.call("GET", path)
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json"), path
    answer = await service.call("POST", "/v1/stats")
    assert answer.status == 405
    assert "GET" in answer.headers["allow"]


async def test_health_and_readiness_need_no_token(service):
    for path in ("/healthz", "/readyz"):
        answer = await service.call("GET", path, token=None)
        assert (answer.status, answer.json) == (200, {"status": "ok"})


async def test_a_full_disk_leaves_the_service_ready_and_reads_go_on(start_service):
    async with start_service(config=StoreConfig(probe_interval=3600, compression_threshold=0)) as service:
        await service.put("n/k", 1)
        await service.store._worker.run(lambda db: db.execute("PRAGMA max_page_count = 1").fetchall())
        answer = await service.call("PUT", "/v1/entries/n/large", {"value": "x" * 100_000})
        assert (answer.status, answer.json["type"]) == (507, "urn:swarm-memory:problem:disk-full")
        for path in ("/healthz", "/readyz"):
            assert (await service.call("GET", path, token=None)).status == 200
        assert (await service.call("GET", "/v1/stats")).json["fault"] == "disk-full"
        assert (await service.call("GET", "/v1/entries/n/k")).json["value"] == 1
        assert (await service.call("GET", "/v1/stats")).json["entries"] == 1
        assert "swarm_memory_writable 0.0" in await service.metrics()
        await service.store._worker.run(lambda db: db.execute("PRAGMA max_page_count = 100000").fetchall())
        await service.put("n/large", "x" * 100_000)
        assert (await service.call("GET", "/v1/stats")).json["fault"] is None


async def test_a_read_only_file_answers_503(start_service):
    async with start_service(config=StoreConfig(probe_interval=3600)) as service:
        await service.store._worker.run(lambda db: db.execute("PRAGMA query_only = ON").fetchall())
        answer = await service.call("PUT", "/v1/entries/n/k", {"value": 1})
        assert (answer.status, answer.json["type"]) == (503, "urn:swarm-memory:problem:read-only")
        answer = await service.call("GET", "/readyz", token=None)
        assert answer.status == 503
        assert "read-only" in answer.json["status"]
        assert (await service.call("GET", "/healthz", token=None)).status == 200


async def test_a_dead_writer_makes_the_process_unhealthy(start_service):
    async def live_and_die():
        async with start_service() as service:

            async def broken(_function):
                raise ZeroDivisionError

            service.store._worker.run, run = broken, service.store._worker.run
            answer = await service.call("PUT", "/v1/entries/n/k", {"value": 1})
            assert (answer.status, answer.json["type"]) == (500, "urn:swarm-memory:problem:internal")
            service.store._worker.run = run
            assert (await service.call("PUT", "/v1/entries/n/k", {"value": 1})).status == 503
            for path in ("/healthz", "/readyz"):
                assert (await service.call("GET", path, token=None)).status == 503

    with pytest.raises(ZeroDivisionError):
        await live_and_die()


async def test_a_defect_is_answered_without_its_details(service, monkeypatch):
    async def broken():
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(service.store, "stats", broken)
    answer = await service.call("GET", "/v1/stats")
    assert (answer.status, answer.json["type"]) == (500, "urn:swarm-memory:problem:internal")
    assert b"secret" not in answer.body

    async def broken_get(*_):
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr(service.store, "get", broken_get)
    # With an id, so that the application answers it.
    answer = await service.call("GET", "/v1/entries/n/k", X_Request_Id="a")
    assert (answer.status, answer.json["type"]) == (500, "urn:swarm-memory:problem:internal")
    monkeypatch.undo()
    assert 'swarm_memory_errors_total{code="internal"} 2.0' in await service.metrics()
