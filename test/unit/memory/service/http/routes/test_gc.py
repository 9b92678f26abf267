"""POST /admin/gc, and what the statistics and metrics say of collections and compression."""

import asyncio

import pytest

from swarm_operator.memory.client import MemoryAuthError, MemoryClient
from swarm_operator.memory.sqlite import StoreConfig

ADMIN = "admin-0123456789abcdef"


async def test_the_admin_token_collects_now(service, clock):
    for number in range(3):
        await service.put(f"n/{number}", "x" * 98, ttl=1)
    clock.advance(1)
    answer = await service.call("POST", "/admin/gc", token=ADMIN)
    assert answer.status == 200
    assert (answer.json["collected"], answer.json["value_bytes"]) == (3, 300)
    assert answer.json["started_at"] == "2027-01-15T08:00:01.000Z"
    gc = (await service.call("GET", "/v1/stats")).json["gc"]
    assert (gc["runs"], gc["collected"], gc["last_error"], gc["last_run"]) == (1, 3, None, answer.json)
    metrics = await service.metrics()
    assert "\nswarm_memory_gc_expired_total 3.0\n" in metrics
    assert "\nswarm_memory_gc_duration_seconds_count 1.0\n" in metrics


@pytest.mark.parametrize("path", ["/admin/gc", "/%61dmin/gc", "/admin%2Fgc", "/admin", "/admin/", "/admin/other"])
async def test_the_client_token_is_good_for_v1_only(service, path):
    answer = await service.call("POST", path)
    assert (answer.status, answer.json["type"]) == (403, "urn:swarm-memory:problem:forbidden")
    assert (await service.call("POST", path, token="wrong")).status == 401
    assert (await service.call("GET", "/v1/stats")).json["gc"]["runs"] == 0


async def test_the_path_takes_posts_without_a_query(service):
    assert (await service.call("GET", "/admin/gc", token=ADMIN)).status == 405
    assert (await service.call("POST", "/admin/gc?now=1", token=ADMIN)).status == 400
    assert (await service.call("POST", "/admin/other", token=ADMIN)).status == 404


async def test_many_callers_at_once_are_all_answered(service):
    answers = await asyncio.gather(*(service.call("POST", "/admin/gc", token=ADMIN) for _ in range(10)))
    assert {answer.status for answer in answers} == {200}
    assert (await service.call("GET", "/v1/stats")).json["gc"]["runs"] <= 10


async def test_the_client_collects(service, clock):
    await service.put("n/k", 1, ttl=1)
    clock.advance(1)
    url = f"http://127.0.0.1:{service.port}"
    async with MemoryClient(url, token=ADMIN) as memory:
        assert (await memory.gc())["collected"] == 1
    async with MemoryClient(url, token="client-0123456789abcdef") as memory:
        with pytest.raises(MemoryAuthError) as caught:
            await memory.gc()
        assert caught.value.status == 403


async def test_the_ratio_is_that_of_real_bytes(start_service):
    config = StoreConfig(compression_threshold=1000, gc_interval=90, enable_vacuum=False)
    async with start_service(config=config) as service:
        assert "\nswarm_memory_compression_ratio 1.0\n" in await service.metrics()
        assert (await service.call("GET", "/v1/stats")).json["compression"]["ratio"] is None
        answer = await service.put("n/long", "abc" * 10_000)
        assert answer.json["size"] == 30_002
        await service.put("n/short", "abc")
        assert (await service.call("GET", "/v1/entries/n/long")).json["value"] == "abc" * 10_000
        stats = (await service.call("GET", "/v1/stats")).json
        found = stats["compression"]
        stored = (
            await service.store._worker.run(
                lambda db: db.execute("SELECT length(value) FROM entries WHERE key = 'long'").fetchone()
            )
        )[0]
        assert (found["entries"], found["raw_bytes"], found["stored_bytes"]) == (1, 30_002, stored)
        assert found["ratio"] == stored / 30_002
        assert f"\nswarm_memory_compression_ratio {stored / 30_002}\n" in await service.metrics()
        settings = stats["settings"]
        assert (settings["compression_threshold"], settings["gc_interval_seconds"]) == (1000, 90)
        assert settings["enable_vacuum"] is False
