"""The flags of the manager, and what its process does."""

import asyncio
import gc
from pathlib import Path

import pytest

from swarm_operator.cmd import manager


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch):
    for name in ("METRICS_SECURE", "METRICS_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)


def test_the_metrics_are_secure_unless_somebody_says_otherwise(monkeypatch):
    assert manager.parse([]).metrics_secure is True
    assert manager.parse(["--no-metrics-secure"]).metrics_secure is False
    monkeypatch.setenv("METRICS_SECURE", "false")
    assert manager.parse([]).metrics_secure is False
    assert manager.parse(["--metrics-secure"]).metrics_secure is True
    monkeypatch.setenv("METRICS_SECURE", "")
    assert manager.parse([]).metrics_secure is True


def test_a_switch_in_the_environment_is_true_or_false(monkeypatch, capsys):
    monkeypatch.setenv("METRICS_SECURE", "maybe")
    with pytest.raises(SystemExit) as caught:
        manager.parse([])
    assert caught.value.code == 2
    assert "$METRICS_SECURE: 'maybe' is not allowed; true and false are" in capsys.readouterr().err


def test_the_certificate_s_folder_comes_from_the_environment_too(monkeypatch):
    assert manager.parse([]).metrics_cert_dir is None
    monkeypatch.setenv("METRICS_CERT_DIR", "/certs")
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
        ("MEMORY_URL", "http://x", "http://x"),
        ("KUBECONFIG", "/x", "/x"),
        ("LOG_LEVEL", "debug", "debug"),
    ],
)
def test_each_flag_s_default_comes_from_the_environment(monkeypatch, variable, text, value):
    monkeypatch.setenv(variable, text)
    assert getattr(manager.parse([]), variable.lower()) == value


@pytest.mark.parametrize("variable", ["MAX_CONCURRENT_RECONCILES", "LOG_LEVEL", "METRICS_BIND_ADDRESS"])
def test_a_bad_value_in_the_environment_is_refused_by_the_flag_s_name(monkeypatch, capsys, variable):
    monkeypatch.setenv(variable, "-")
    with pytest.raises(SystemExit) as caught:
        manager.parse([])
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert f"--{variable.lower().replace('_', '-')}: " in said
    assert "allowed" in said


class Loading:
    """What is left of a manager for one that waits for its first lists."""

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
