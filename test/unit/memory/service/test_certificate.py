"""The certificate's files: what is served with, and what happens to it when they change or are bad."""

import contextlib
import shutil
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs
from support.authority import Authority

from swarm_operator.memory.service.certificate import Certificate
from swarm_operator.memory.service.errors import BadCertificateError


@pytest.fixture(scope="module")
def authority():
    return Authority("test", datetime.now(UTC))


class Time:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def files(tmp_path, authority):
    return authority.pair(tmp_path / "tls")


def served(context, authority):
    """The serial number of the certificate that a client of the authority gets."""
    client_in, client_out = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(client_out, client_in, server_side=True)
    client = authority.client().wrap_bio(client_in, client_out, server_hostname="127.0.0.1")
    for side in (client, server, client):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    return client.getpeercert()["serialNumber"]


def test_a_renewed_pair_is_served_after_a_second_and_the_former_until_then(files, authority):
    time, reloaded = Time(), []
    certificate = Certificate(files, monotonic=time, reloaded=reloaded.append)
    first = certificate.current()
    authority.pair(files)
    time.now = 0.9
    assert certificate.current() is first
    time.now = 1.0
    second = certificate.current()
    assert served(first.context, authority) != served(second.context, authority)
    assert second.certificate == (files / "tls.crt").read_bytes()
    time.now = 2.0
    assert certificate.current() is second
    assert reloaded == [True, True]


def missing_key(files):
    (files / "tls.key").unlink()


def half(files):
    (files / "tls.crt").write_bytes((files / "tls.crt").read_bytes()[:100])


def empty(files):
    (files / "tls.crt").write_bytes(b"")


def another_key(files):
    key = (files / "tls.key").read_bytes()
    Authority("other", datetime.now(UTC)).pair(files)
    (files / "tls.key").write_bytes(key)


def encrypted(files):
    key = serialization.load_pem_private_key((files / "tls.key").read_bytes(), None)
    (files / "tls.key").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"x")
        )
    )


BROKEN = [missing_key, half, empty, another_key, encrypted, shutil.rmtree]


@pytest.mark.parametrize("broken", BROKEN)
def test_bad_files_leave_the_former_pair_in_use_until_they_are_good(files, authority, broken):
    time, reloaded = Time(), []
    certificate = Certificate(files, monotonic=time, reloaded=reloaded.append)
    first = certificate.current()
    key = (files / "tls.key").read_text().splitlines()[1]
    broken(files)
    with capture_logs() as logs:
        for time.now in (1.0, 2.0, 3.0):
            assert certificate.current() is first
    (line,) = logs
    assert (line["event"], line["log_level"]) == ("certificate not read, the former one stays in use", "error")
    assert str(files) in line["reason"]
    assert key not in str(line)
    assert reloaded == [True, False]
    authority.pair(files)
    time.now = 4.0
    assert certificate.current() is not first
    assert reloaded == [True, False, True]


@pytest.mark.parametrize("broken", BROKEN)
def test_without_a_valid_pair_nothing_is_served(files, broken):
    broken(files)
    with pytest.raises(BadCertificateError, match=r"must have tls\.crt and tls\.key"):
        Certificate(files)


def test_files_that_are_exchanged_between_two_reads_are_read_again_without_a_word(files, authority, monkeypatch):
    time, reloaded = Time(), []
    certificate = Certificate(files, monotonic=time, reloaded=reloaded.append)
    first = certificate.current()
    authority.pair(files)
    read = Path.read_bytes

    def reading(path):
        content = read(path)
        if path.name == "tls.crt":
            monkeypatch.undo()
            authority.pair(files)
        return content

    monkeypatch.setattr(Path, "read_bytes", reading)
    time.now = 1.0
    with capture_logs() as logs:
        assert certificate.current() is first
    assert (logs, reloaded) == ([], [True])
    time.now = 2.0
    assert certificate.current().certificate == (files / "tls.crt").read_bytes()
