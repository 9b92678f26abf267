"""The flags of the manager, and what its process does."""

import asyncio
import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from aiohttp import web

from swarm_operator.cmd import manager
from swarm_operator.controllers.swarmmemorystore.identity.cluster_keys import KeySource
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.errors import FencedError
from swarm_operator.runtime.kubernetes_asyncio import Configuration
from swarm_operator.runtime.leader_election import LEASES
from swarm_operator.runtime.metrics import Metrics


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("SWARM_OPERATOR_") or name in {"METRICS_SECURE", "METRICS_CERT_DIR"}:
            monkeypatch.delenv(name)


def test_the_metrics_are_secure_unless_somebody_says_otherwise(monkeypatch):
    assert manager.parse([]).metrics_secure is True
    assert manager.parse(["--no-metrics-secure"]).metrics_secure is False
    monkeypatch.setenv("SWARM_OPERATOR_METRICS_SECURE", "false")
    assert manager.parse([]).metrics_secure is False
    assert manager.parse(["--metrics-secure"]).metrics_secure is True
    monkeypatch.setenv("SWARM_OPERATOR_METRICS_SECURE", "")
    assert manager.parse([]).metrics_secure is True


def test_a_switch_in_the_environment_is_true_or_false(monkeypatch, capsys):
    monkeypatch.setenv("SWARM_OPERATOR_METRICS_SECURE", "maybe")
    with pytest.raises(SystemExit) as caught:
        manager.parse([])
    assert caught.value.code == 2
    assert "$SWARM_OPERATOR_METRICS_SECURE: 'maybe' is not allowed; allowed: true or false" in capsys.readouterr().err


def test_the_certificate_s_folder_comes_from_the_environment_too(monkeypatch):
    assert manager.parse([]).metrics_cert_dir is None
    monkeypatch.setenv("SWARM_OPERATOR_METRICS_CERT_DIR", "/certs")
    assert manager.parse([]).metrics_cert_dir == Path("/certs")
    assert manager.parse(["--metrics-cert-dir", "/others"]).metrics_cert_dir == Path("/others")


def test_the_metrics_are_on_port_8443():
    assert manager.parse([]).metrics_bind_address == ("", 8443)


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("WATCH_NAMESPACES", "a,b", ("a", "b")),
        ("MAX_CONCURRENT_RECONCILES", "9", 9),
        ("STATUS_INTERVAL", "5", 5.0),
        ("METRICS_BIND_ADDRESS", "127.0.0.1:9", ("127.0.0.1", 9)),
        ("HEALTH_PROBE_BIND_ADDRESS", "0", None),
        ("GRACEFUL_SHUTDOWN_TIMEOUT", "0", 0.0),
        ("LEADER_ELECT", "true", True),
        ("LEADER_ELECTION_ID", "x", "x"),
        ("LEADER_ELECTION_NAMESPACE", "x", "x"),
        ("LEADER_ELECTION_LEASE_DURATION", "60", 60.0),
        ("LEADER_ELECTION_RENEW_DEADLINE", "11", 11.0),
        ("LEADER_ELECTION_RETRY_PERIOD", "1", 1.0),
        ("MEMORY_IMAGE", "x:1", "x:1"),
        ("MEMORY_IMAGE_PULL_SECRETS", "a, b", ("a", "b")),
        ("MEMORY_URL", "http://x", "http://x"),
        ("KUBECONFIG", "/x", "/x"),
        ("LOG_LEVEL", "debug", "debug"),
    ],
)
def test_each_flag_s_default_comes_from_the_environment(monkeypatch, variable, text, value):
    monkeypatch.setenv(f"SWARM_OPERATOR_{variable}", text)
    options = manager.parse([])
    assert getattr(options, variable.lower()) == value
    assert options.old_variables == ()


def test_options_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        manager.parse([]).status_interval = 1.0


@pytest.mark.parametrize("variable", ["MAX_CONCURRENT_RECONCILES", "LOG_LEVEL", "METRICS_BIND_ADDRESS"])
def test_a_bad_value_in_the_environment_is_refused_by_the_flag_s_name(monkeypatch, capsys, variable):
    monkeypatch.setenv(f"SWARM_OPERATOR_{variable}", "-")
    with pytest.raises(SystemExit) as caught:
        manager.parse([])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert f"--{variable.lower().replace('_', '-')}: " in said
    assert "allowed" in said


def test_a_variable_without_the_prefix_still_counts_and_is_told(monkeypatch):
    monkeypatch.setenv("STATUS_INTERVAL", "5")
    monkeypatch.setenv("LEADER_ELECT", "true")
    options = manager.parse([])
    assert (options.status_interval, options.leader_elect) == (5.0, True)
    assert options.old_variables == ("STATUS_INTERVAL", "LEADER_ELECT")


def test_a_variable_with_the_prefix_goes_before_one_without(monkeypatch):
    monkeypatch.setenv("STATUS_INTERVAL", "5")
    monkeypatch.setenv("SWARM_OPERATOR_STATUS_INTERVAL", "7")
    options = manager.parse([])
    assert options.status_interval == 7.0
    assert options.old_variables == ()


def test_kubectl_s_own_variable_is_no_old_name(monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/a:/b")
    options = manager.parse([])
    assert options.kubeconfig is None, "load_config reads it, in its order"
    assert options.old_variables == ()


@pytest.fixture
def program(tmp_path):
    """Start the program with a manager that prints when it has begun and when it was told to stop, and then goes on."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "current-context": "x",
                "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
                "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:9"}}],
                "users": [],
            }
        )
    )
    processes = []

    def start(goes_on, **environment):
        script = f"""
import asyncio
from swarm_operator.cmd import manager
class Stuck:
    cache = property(lambda self: self)
    async def wait_synced(self): await asyncio.Event().wait()
    async def run(self, stop):
        print("begun", flush=True)
        await stop.wait()
        print("stopping", flush=True)
        {goes_on}
manager.assemble = lambda *args, **options: Stuck()
raise SystemExit(manager.main(["--kubeconfig", "{kubeconfig}", "--no-metrics-secure"]))
"""
        process = subprocess.Popen(
            [sys.executable, "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        processes.append(process)
        assert process.stdout.readline() == "begun\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("goes_on", "first", "second"),
    [  # each pair of values
        ("await asyncio.Event().wait()", signal.SIGTERM, signal.SIGTERM),
        ("await asyncio.Event().wait()", signal.SIGINT, signal.SIGINT),
        ("while True: pass", signal.SIGTERM, signal.SIGINT),
        ("while True: pass", signal.SIGINT, signal.SIGTERM),
    ],
)
def test_a_second_signal_ends_the_process_at_once(program, first, second, goes_on):
    """As in controller-runtime, and whatever holds up the end in order; also an event loop that hangs."""
    process = program(goes_on)
    process.send_signal(first)
    assert process.stdout.readline() == "stopping\n"
    process.send_signal(second)
    assert process.wait(60) == 1


def test_the_first_signal_ends_it_in_order(program):
    process = program("return")
    process.terminate()
    assert process.wait(60) == 0
    assert '"event": "stopped"' in process.stderr.read()


def test_sigusr1_logs_what_it_does_and_it_goes_on(program):
    process = program("return")
    process.send_signal(signal.SIGUSR1)
    entries = []
    while not any(entry.get("thread") == "MainThread" for entry in entries):
        entries.append(json.loads(process.stderr.readline()))
    assert any("await stop.wait()" in entry.get("stack", "") or "in run" in entry.get("stack", "") for entry in entries)
    process.terminate()
    assert process.wait(60) == 0


def test_an_old_variable_is_told_in_the_log(program):
    process = program("return", STATUS_INTERVAL="5")
    entry = json.loads(process.stderr.readline())
    told = (entry["level"], entry["old"], entry["new"])
    assert told == ("warning", "STATUS_INTERVAL", "SWARM_OPERATOR_STATUS_INTERVAL")


class Loading:
    """What is left of a cache for one that waits for its first lists."""

    def __init__(self):
        self.waited_for = asyncio.Event()
        self.synced = asyncio.Event()

    async def wait_synced(self):
        self.waited_for.set()
        await self.synced.wait()


@pytest.fixture
def collector():
    assert gc.isenabled()
    yield
    gc.enable()
    gc.unfreeze()


async def test_the_garbage_collector_stays_off_the_first_lists(collector, background):
    loading = Loading()
    task = background(manager.load_without_collecting(loading))
    await loading.waited_for.wait()
    assert not gc.isenabled()
    listed = [{"metadata": {"name": "a"}}]
    loading.synced.set()
    await task
    assert gc.isenabled()
    assert not any(obj is listed for obj in gc.get_objects())


async def test_the_garbage_collector_is_not_off_for_ever(collector, background, monkeypatch):
    monkeypatch.setattr(manager, "_LOADING", 0.01)
    await background(manager.load_without_collecting(Loading()))
    assert gc.isenabled()


async def test_the_garbage_collector_is_on_again_when_loading_is_cancelled(collector, background):
    loading = Loading()
    task = background(manager.load_without_collecting(loading))
    await loading.waited_for.wait()
    task.cancel()
    await asyncio.wait([task])
    assert gc.isenabled()


@dataclass
class ApiServer:
    """API server that answers every request with an empty object or, if silent, never."""

    asked: list = field(default_factory=list)
    silent: bool = False
    url: str = ""
    _asked: asyncio.Condition = field(default_factory=asyncio.Condition)
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request):
        async with self._asked:
            self.asked.append((request.method, request.path))
            self._asked.notify_all()
        if self.silent:
            await self._over.wait()
        return web.json_response({})

    async def wait_asked(self, count):
        async with self._asked:
            await asyncio.wait_for(self._asked.wait_for(lambda: len(self.asked) >= count), 60)


@pytest.fixture
async def server():
    made = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    made._over.set()
    await runner.cleanup()


@pytest.fixture
def configuration(server):
    made = Configuration()
    made.host = server.url
    return made


@dataclass
class Stage:
    """Replaces the manager: runs a check on the parts that the program would give it."""

    check: object
    client: Client
    elector: object
    metrics_guard: object

    @property
    def cache(self):
        return self

    async def wait_synced(self):
        await asyncio.Event().wait()

    async def run(self, _stop):
        await self.check(self)


@pytest.fixture
async def wired(monkeypatch, configuration, collector):
    """Return a function that wires the program with the given flags and runs a check on its parts."""

    async def load(_):
        return configuration

    async def run(check, *flags):
        def assemble(client, options, *, elector, instance, metrics, metrics_guard):
            return Stage(check, client, elector, metrics_guard)

        monkeypatch.setattr(manager, "load_config", load)
        monkeypatch.setattr(manager, "assemble", assemble)
        await manager.run(manager.parse(flags))

    yield run
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        asyncio.get_running_loop().remove_signal_handler(number)


LEASE = {"metadata": {"name": "x", "namespace": "ns"}}


async def test_reconcilers_write_only_while_leading(wired, server):
    async def check(stage):
        assert not stage.elector.is_leading()
        with pytest.raises(FencedError):
            await stage.client.create(LEASES, LEASE, field_manager="me")
        assert server.asked == []
        await stage.client.get(LEASES, "ns", "x")
        stage.elector._renewed_at = time.monotonic()
        await stage.client.create(LEASES, LEASE, field_manager="me")
        assert [method for method, _ in server.asked] == ["GET", "POST"]

    await wired(check, "--leader-elect")
    assert len(server.asked) == 2, "the check was run"


async def test_election_and_reviews_write_without_leading(wired, server):
    async def check(stage):
        await stage.elector.client.create(LEASES, LEASE, field_manager="me")
        auth, _ = stage.metrics_guard
        await auth.judge("Bearer token", "GET", "/metrics")

    await wired(check, "--leader-elect")
    assert [path.rpartition("/")[2] for _, path in server.asked] == ["leases", "tokenreviews"]


async def test_without_election_every_process_writes(wired, server):
    async def check(stage):
        assert stage.elector is None
        await stage.client.create(LEASES, LEASE, field_manager="me")

    await wired(check)
    assert len(server.asked) == 1


async def test_a_hung_lease_request_is_retried_before_the_deadline(wired, server, background):
    server.silent = True

    async def check(stage):
        background(stage.elector.run())
        await server.wait_asked(2)

    times = {"lease-duration": 3, "renew-deadline": 2, "retry-period": 0.1}
    await wired(check, "--leader-elect", *(f"--leader-election-{name}={value}" for name, value in times.items()))
    assert len(server.asked) >= 2


async def test_at_most_four_reviews_of_metrics_callers_are_made_at_one_time(wired):
    limits = []

    async def check(stage):
        auth, _ = stage.metrics_guard
        limits.extend(client._turns._value for client in (auth._client, stage.client))

    await wired(check)
    assert limits == [4, 100]


async def test_the_flag_sets_the_workers_of_each_controller(configuration):
    metrics = Metrics()
    async with Client(configuration) as client:
        manager.assemble(client, manager.parse(["--max-concurrent-reconciles=7"]), instance="me", metrics=metrics)
    for name in ("swarmcluster", "swarmmemorystore"):
        series = "controller_runtime_max_concurrent_reconciles"
        assert metrics.registry.get_sample_value(series, {"controller": name}) == 7


async def test_the_manager_stops_the_source_of_the_cluster_s_keys(configuration):
    async with Client(configuration) as client:
        assembled = manager.assemble(client, manager.parse([]), instance="me")
    assert any(isinstance(part, KeySource) for part in assembled.runnables)


async def test_of_kinds_that_users_do_not_write_only_labelled_objects_are_watched(configuration):
    async with Client(configuration) as client:
        assembled = manager.assemble(client, manager.parse([]), instance="me")
    selectors = {informer.resource: informer.reflector.label_selector for informer in assembled.cache.informers}
    whole = {kind for kind, selector in selectors.items() if not selector}
    assert {kind.group for kind in whole} == {"swarm.claudeflow.io"}
    assert len(whole) == 4
    assert {selectors[kind] for kind in selectors.keys() - whole} == {"app.kubernetes.io/managed-by=swarm-operator"}
