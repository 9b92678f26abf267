"""Time that passes at once, and an API server that answers as it is told.

Modules marked `virtual_time` run on a loop whose clock jumps to the next timer as soon as nothing else is to be done:
waits cost nothing, and their lengths can be checked to the millisecond. Modules that open sockets have a real loop.
"""

import asyncio
import contextlib
import itertools
import json
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import structlog
from aiohttp import web
from structlog.testing import LogCapture

from swarm_operator.runtime.backoff import Backoff
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.kubernetes_asyncio import Configuration
from swarm_operator.runtime.metrics import Metrics
from swarm_operator.runtime.reflector import Reflector
from swarm_operator.runtime.resource import Resource

EPOCH = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)


class _JumpingSelector:
    """Looks for what is ready; when nothing is, moves the loop's clock instead of waiting."""

    def __init__(self, selector, loop):
        self._selector = selector
        self._loop = loop

    def select(self, timeout=None):
        if ready := self._selector.select(0):
            return ready
        if timeout is None:
            raise RuntimeError("nothing is left that could ever happen: the test would wait for ever")
        self._loop.seconds += timeout
        return []

    def __getattr__(self, name):
        return getattr(self._selector, name)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop for code without sockets and threads."""

    def __init__(self):
        self.seconds = 0.0
        super().__init__()
        self._selector = _JumpingSelector(self._selector, self)

    def time(self):
        return self.seconds


class LoopClock:
    """The clock of the running loop, virtual or not."""

    def monotonic(self):
        return asyncio.get_running_loop().time()

    def now(self):
        return EPOCH + timedelta(seconds=self.monotonic())

    async def sleep(self, seconds):
        await asyncio.sleep(seconds)


@dataclass
class FakeClock:
    """Moves when it is told to, or by the length of a sleep, which takes no time."""

    seconds: float = 0.0
    sleeps: list = field(default_factory=list)

    def monotonic(self):
        return self.seconds

    def now(self):
        return EPOCH + timedelta(seconds=self.seconds)

    def advance(self, seconds):
        self.seconds += seconds

    async def sleep(self, seconds):
        self.sleeps.append(seconds)
        self.seconds += seconds
        await asyncio.sleep(0)


def pytest_configure(config):
    config.addinivalue_line("markers", "virtual_time: run on a loop whose clock jumps instead of waiting")


def pytest_asyncio_loop_factories(config, item):
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualTimeLoop}
    return {"real": asyncio.SelectorEventLoop}


@pytest.fixture
def clock(request):
    return LoopClock() if request.node.get_closest_marker("virtual_time") else FakeClock()


@pytest.fixture(scope="session")
def virtual_loop():
    """Makes loops for tests that are not coroutines themselves, such as hypothesis' state machines."""
    return VirtualTimeLoop


@pytest.fixture
def logged():
    """Every entry that is logged during the test, context included."""
    capture = LogCapture()
    processors = structlog.get_config()["processors"]
    old = processors[:]
    # In place, since loggers that were used before keep a reference to the list.
    processors[:] = [structlog.contextvars.merge_contextvars, capture]
    yield capture.entries
    processors[:] = old


_names = itertools.count()


@pytest.fixture
def name():
    """A name that no other test has used."""
    return f"test-{next(_names)}"


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def sample(metrics):
    """Reads one series: sample("workqueue_adds_total", name=..., controller=...). None when there is no such one."""

    def read(metric, **labels):
        return metrics.registry.get_sample_value(metric, labels)

    return read


@pytest.fixture
def settled():
    """Lets every task run until all wait for something that has not happened. Takes no virtual time."""

    async def settle():
        for _ in range(50):
            await asyncio.sleep(0)

    return settle


@pytest.fixture
def widgets():
    return Resource("example.com", "v1", "Widget", "widgets")


@pytest.fixture
def widget():
    """Makes widgets."""

    def make(name="a", version=1, *, namespace="ns", uid=None, owner=None, **metadata):
        made = {"name": name, "namespace": namespace, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
        if owner:
            reference = {"apiVersion": "example.com/v1", "kind": "Owner", "name": owner, "uid": f"uid-{owner}"}
            made["ownerReferences"] = [reference | {"controller": True}]
        return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": made | metadata}

    return make


@dataclass
class Asked:
    """A request as the server has seen it."""

    method: str
    path: str
    query: dict
    headers: dict
    body: object


class ScriptedServer:
    """A real HTTP server that gives one answer after the other, and then leaves requests without one.

    `answers` takes callables from a request to a response; the methods below make the usual ones.
    """

    def __init__(self):
        self.answers = []
        self.asked = []
        self.url = ""
        self._news = asyncio.Condition()
        self._closing = asyncio.Event()

    def then(self, *answers):
        self.answers.extend(answers)
        return self

    async def wait_asked(self, count):
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: len(self.asked) >= count), 60)
        return self.asked[count - 1]

    async def handle(self, request):
        text = await request.text()
        async with self._news:
            self.asked.append(
                Asked(
                    request.method,
                    request.path,
                    dict(request.query),
                    dict(request.headers),
                    json.loads(text) if text else None,
                )
            )
            self._news.notify_all()
        answer = self.answers.pop(0) if self.answers else self.silence()
        return await answer(request)

    @staticmethod
    def json(document, status=200, **headers):
        async def answer(_):
            return web.json_response(document, status=status, headers=headers)

        return answer

    @staticmethod
    def text(text, status=200, **headers):
        async def answer(_):
            return web.Response(text=text, status=status, headers=headers)

        return answer

    @classmethod
    def status(cls, code, reason="", message="no", details=None, **headers):
        document = {"kind": "Status", "code": code, "reason": reason, "message": message}
        return cls.json(document | ({"details": details} if details else {}), code, **headers)

    @classmethod
    def listing(cls, *items, version="10", following=None):
        metadata = {"resourceVersion": version} | ({"continue": following} if following else {})
        return cls.json({"kind": "List", "metadata": metadata, "items": list(items)})

    def stream(self, *events, hold=False, reset=False, status=200):
        """A watch. Events may be dicts or bytes; then the stream ends, or stays silent, or is reset."""

        async def answer(request):
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            for event in events:
                if callable(event):
                    event()
                    continue
                await response.write(event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n")
            if hold:
                await self._closing.wait()
            if reset:
                request.transport.abort()
            return response

        return answer

    def cut_short(self, status=200):
        """Announces more bytes than it sends."""

        async def answer(request):
            response = web.StreamResponse(status=status, headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b'{"message": "no')
            request.transport.close()
            return response

        return answer

    @staticmethod
    def reset():
        async def answer(request):
            request.transport.abort()
            return web.Response()

        return answer

    def silence(self):
        async def answer(_):
            await self._closing.wait()
            return web.Response()

        return answer

    @contextlib.asynccontextmanager
    async def running(self):
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            self._closing.set()
            await runner.cleanup()


@pytest.fixture
async def server():
    async with ScriptedServer().running() as scripted:
        yield scripted


@pytest.fixture
async def client(server, metrics):
    configuration = Configuration()
    configuration.host = server.url
    async with Client(configuration, timeout=60.0, metrics=metrics) as connected:
        yield connected


class Recorder:
    """A reflector's sink that remembers."""

    def __init__(self):
        self.calls = []

    def replaced(self, objects, version, *, restored=False):
        call = ("replaced", [obj["metadata"]["name"] for obj in objects], version)
        self.calls.append((*call, "restored") if restored else call)

    def changed(self, obj):
        self.calls.append(("changed", obj["metadata"]["name"]))

    def deleted(self, obj):
        self.calls.append(("deleted", obj["metadata"]["name"]))


@pytest.fixture
def reflected(widgets, sample):
    """The metrics of reflectors of widgets, as far as they have changed since the test began."""
    counters = ("lists_total", "watches_total", "short_watches_total", "events_total", "restarts_total")
    summaries = ("list_duration_seconds", "items_per_list", "watch_duration_seconds", "items_per_watch")
    series = [*counters, *(f"{summary}_{part}" for summary in summaries for part in ("count", "sum"))]

    def read():
        return {name: sample(f"reflector_{name}", name=widgets.plural) or 0.0 for name in series}

    before = read()
    return lambda: {name: value - before[name] for name, value in read().items() if value != before[name]}


@pytest.fixture
def sink():
    return Recorder()


@pytest.fixture
def failures(monkeypatch):
    """The errors that reflectors have backed off from."""
    seen, pause = [], Reflector._pause

    async def note(reflector, error):
        seen.append(error)
        await pause(reflector, error)

    monkeypatch.setattr(Reflector, "_pause", note)
    return seen


@pytest.fixture
def new_reflector(client, widgets, sink, clock, failures, metrics):
    """Makes reflectors of widgets that fill `sink` and note `failures`."""

    def make(*, streaming):
        return Reflector(
            client,
            widgets,
            sink,
            streaming=streaming,
            idle_seconds=5.0,
            clock=clock,
            rng=random.Random(1),
            backoff=Backoff(clock=clock, jitter=0.0),
            metrics=metrics,
        )

    return make


async def events_of(client, widgets, *, idle_seconds=5.0, **options):
    """All events of one watch, until it ends."""
    async with client.watch(
        widgets, resource_version="1", timeout_seconds=300, idle_seconds=idle_seconds, **options
    ) as stream:
        return [event async for event in stream]
