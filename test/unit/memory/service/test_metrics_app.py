"""Any number of scrapers costs what one costs."""

import asyncio
import math
import threading

import pytest
from prometheus_client import CollectorRegistry

from swarm_operator.memory.service import metrics_app
from swarm_operator.memory.service.metrics_app import MetricsApp


class Collector:
    """Statistics that come when a test says so."""

    def __init__(self):
        self.refreshed = 0
        self.asked = asyncio.Event()
        self.allowed = asyncio.Event()
        self.error = None

    async def refresh(self):
        self.refreshed += 1
        self.asked.set()
        await self.allowed.wait()
        if self.error is not None:
            raise self.error


class Metrics:
    registry = CollectorRegistry()


@pytest.fixture
def collector():
    return Collector()


async def scrape(app):
    sent = []

    async def send(message):
        sent.append(message)

    await app({"path": "/metrics", "method": "GET"}, None, send)
    return sent[0]["status"]


async def test_scrapers_that_come_meanwhile_share_a_page(collector):
    app = MetricsApp(Metrics(), collector, max_age=0)
    scrapes = [asyncio.create_task(scrape(app)) for _ in range(10)]
    await collector.asked.wait()
    scrapes[0].cancel()
    collector.allowed.set()
    assert await asyncio.gather(*scrapes[1:]) == [200] * 9
    assert collector.refreshed == 1
    assert await scrape(app) == 200
    assert collector.refreshed == 2


async def test_a_page_is_sent_again_while_it_is_new(collector):
    collector.allowed.set()
    app = MetricsApp(Metrics(), collector, max_age=math.inf)
    assert [await scrape(app) for _ in range(3)] == [200] * 3
    assert collector.refreshed == 1


async def test_a_page_that_failed_is_not_sent_again(collector):
    collector.allowed.set()
    collector.error = RuntimeError("no statistics")
    app = MetricsApp(Metrics(), collector, max_age=math.inf)
    with pytest.raises(RuntimeError):
        await scrape(app)
    collector.error = None
    assert await scrape(app) == 200


async def test_a_page_is_rendered_beside_the_event_loop(collector, monkeypatch):
    collector.allowed.set()
    threads = []
    monkeypatch.setattr(metrics_app, "generate_latest", lambda _: threads.append(threading.get_ident()) or b"page")
    assert await scrape(MetricsApp(Metrics(), collector)) == 200
    assert len(threads) == 1
    assert threading.get_ident() not in threads


async def test_a_page_is_rendered_on_the_thread_that_lets_the_loop_run(collector):
    """Rendering is Python alone. Other threads keep the global lock for 5 ms at a time."""
    threads = []

    class Recorder:
        def collect(self):
            threads.append(threading.current_thread().name)
            return ()

    class Recording:
        registry = CollectorRegistry()

    Recording.registry.register(Recorder())
    threads.clear()  # the registry asked for the names
    collector.allowed.set()
    assert await scrape(MetricsApp(Recording(), collector)) == 200
    (name,) = threads
    assert name.startswith("memory-json")
