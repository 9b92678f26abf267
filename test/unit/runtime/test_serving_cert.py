import contextlib
import socket
import ssl
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from swarm_operator.runtime.serving_cert import BadCertificateError, ServingCertificate, self_signed


@pytest.fixture
def folder(tmp_path, clock):
    write(tmp_path, self_signed(clock.now()))
    return tmp_path


def write(folder, pem):
    key, _, certificate = pem.partition(b"-----BEGIN CERT")
    (folder / "tls.key").write_bytes(key)
    (folder / "tls.crt").write_bytes(b"-----BEGIN CERT" + certificate)


def served(certificate):
    """What a client is shown."""
    ours, theirs = socket.socketpair()
    client = ssl.create_default_context()
    client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with ours, theirs:
        hello = client.wrap_bio(incoming, outgoing)
        answering = certificate.context.wrap_bio(outgoing, incoming, server_side=True)
        for _ in range(3):
            for side in (hello, answering):
                with contextlib.suppress(ssl.SSLWantReadError):
                    side.do_handshake()
        return x509.load_der_x509_certificate(hello.getpeercert(binary_form=True))


@pytest.fixture
async def look(clock):
    """Lets a certificate look whether it has been renewed."""

    class Stop(Exception):  # noqa: N818 - no error
        pass

    async def once(certificate):
        sleeps = []

        async def sleep(seconds):
            sleeps.append(seconds)
            if len(sleeps) == 2:
                raise Stop

        clock.sleep = sleep
        with pytest.raises(Stop):
            await certificate.run()
        return sleeps[0]

    return once


def test_a_self_signed_one_is_good_for_a_year_for_localhost_and_this_machine(clock):
    shown = served(ServingCertificate(clock=clock))
    names = shown.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"localhost", socket.gethostname()}
    assert shown.not_valid_before_utc <= clock.now() - timedelta(minutes=1)
    assert shown.not_valid_after_utc == clock.now().replace(microsecond=0) + timedelta(days=365)


def test_its_key_leaves_no_file_behind(clock, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    before = len(list(Path("/proc/self/fd").iterdir()))
    ServingCertificate(clock=clock)
    assert list(tmp_path.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == before


async def test_a_self_signed_one_is_made_anew_after_half_a_year(clock, look):
    certificate = ServingCertificate(clock=clock)
    first = served(certificate)
    clock.advance(timedelta(days=182).total_seconds())
    await look(certificate)
    assert served(certificate) == first
    clock.advance(timedelta(days=1).total_seconds())
    await look(certificate)
    assert served(certificate) != first


def expected(folder):
    return x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())


async def test_one_from_a_folder_is_served_and_read_again_when_it_is_renewed(clock, folder, look, metrics, sample):
    certificate = ServingCertificate(folder, clock=clock, metrics=metrics)
    first = expected(folder)
    assert served(certificate) == first
    reads = sample("certwatcher_read_certificate_total")
    assert await look(certificate) == 10.0
    assert sample("certwatcher_read_certificate_total") == reads
    write(folder, self_signed(clock.now()))
    await look(certificate)
    assert served(certificate) == expected(folder) != first
    assert sample("certwatcher_read_certificate_total") == reads + 1


@pytest.mark.parametrize("fault", ["a key that does not fit", "no key", "no PEM"])
async def test_one_that_cannot_be_used_leaves_the_old_one_in_place(clock, folder, look, logged, metrics, sample, fault):
    certificate = ServingCertificate(folder, clock=clock, metrics=metrics)
    first, errors = served(certificate), sample("certwatcher_read_certificate_errors_total")
    pem = self_signed(clock.now())
    write(folder, pem)
    key = folder / "tls.key"
    if fault == "a key that does not fit":
        key.write_bytes(self_signed(clock.now()).partition(b"-----BEGIN CERT")[0])
    elif fault == "no key":
        key.unlink()
    else:
        key.write_text("no key")
    await look(certificate)
    assert served(certificate) == first
    assert any(entry["event"] == "the certificate cannot be used" for entry in logged)
    assert sample("certwatcher_read_certificate_errors_total") == errors + 1
    write(folder, pem)
    await look(certificate)
    assert served(certificate) == expected(folder)


@pytest.mark.parametrize("missing", ["tls.crt", "tls.key"])
def test_a_folder_without_a_pair_is_refused_with_what_is_wanted(clock, folder, missing):
    (folder / missing).unlink()
    with pytest.raises(
        BadCertificateError, match=r"must have tls\.crt and tls\.key, in PEM and a pair: .*No such file"
    ):
        ServingCertificate(folder, clock=clock)


def test_old_versions_of_tls_are_refused(clock):
    assert ServingCertificate(clock=clock).context.minimum_version >= ssl.TLSVersion.TLSv1_2


def test_the_time_of_the_certificate_is_the_clock_s(clock):
    assert served(ServingCertificate(clock=clock)).not_valid_after_utc.year == datetime.fromisoformat("2027-11-23").year
