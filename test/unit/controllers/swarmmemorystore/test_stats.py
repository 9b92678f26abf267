import pytest
from aiohttp import web

from swarm_operator.controllers.swarmmemorystore import stats
from swarm_operator.controllers.swarmmemorystore.stats import Observation, Observer
from swarm_operator.memory.client import MemoryClientError, MemoryUnavailableError, Stats


class Numbers:
    """Stands for Stats: only what is read of it."""

    entries, agents, tasks, patterns, database_size_bytes, cache_hit_rate = 5, 0, 2, 3, 4096, 0.98765


def test_the_numbers_become_fields_of_the_status():
    assert Observation(Numbers()).to_status() == {
        "databaseSize": 4096,
        "entryCount": 5,
        "agentCount": 0,
        "taskCount": 2,
        "patternCount": 3,
        "cacheHitRate": 0.99,
    }


def test_numbers_have_the_attributes_that_are_read():
    assert {"entries", "agents", "tasks", "patterns", "database_size_bytes", "cache_hit_rate"} <= set(
        Stats.__dataclass_fields__
    )


def test_a_rate_that_is_not_known_stays_unknown():
    numbers = Numbers()
    numbers.cache_hit_rate = None
    assert Observation(numbers).to_status()["cacheHitRate"] is None


def test_nothing_known_is_nothing_said():
    assert Observation().to_status() == {}


@pytest.fixture
def memory(monkeypatch):
    """Puts a double in the place of the memory client; returns what it was asked with and what it answers."""
    seen = {"answer": Numbers()}

    class Double:
        def __init__(self, url, **options):
            seen.update(url=url, **options)

        async def __aenter__(self):
            return self

        async def __aexit__(self, *error):
            seen["closed"] = True

        async def stats(self):
            if isinstance(seen["answer"], Exception):
                raise seen["answer"]
            return seen["answer"]

    monkeypatch.setattr(stats, "MemoryClient", Double)
    return seen


async def test_a_store_is_asked_once_under_its_name_with_its_token(memory, store):
    found = await Observer("http://{name}.{namespace}.svc:8080", timeout=3.0).observe(store(), "t0ken")
    assert found.stats is memory["answer"]
    assert (memory["url"], memory["token"]) == ("http://bees.ns.svc:8080", "t0ken")
    assert (memory["timeout"], memory["retries"], memory["closed"]) == (3.0, 0, True)


@pytest.mark.parametrize(
    "error", [MemoryClientError("odd"), MemoryUnavailableError("connection refused", uncertain=False)]
)
async def test_no_answer_is_an_empty_observation_and_no_error(memory, store, error, logged):
    memory["answer"] = error
    assert await Observer("http://{name}").observe(store(), "t0ken") == Observation()
    assert memory["closed"]
    (entry,) = logged
    assert "t0ken" not in str(entry)


@pytest.mark.parametrize("token", ["t0ken", None])
async def test_a_service_that_answers_nonsense_is_an_empty_observation(store, token):
    async def nonsense(_):
        return web.Response(text="<html>", content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", nonsense)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        assert await Observer(url).observe(store(), token) == Observation()
    finally:
        await runner.cleanup()


async def test_a_service_that_is_not_there_is_an_empty_observation(store, unused_tcp_port):
    assert await Observer(f"http://127.0.0.1:{unused_tcp_port}", timeout=1.0).observe(store(), None) == Observation()
