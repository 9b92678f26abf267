"""The flags of the manager."""

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
    assert manager.parse([]).metrics_bind_address == ("0.0.0.0", 8443)
