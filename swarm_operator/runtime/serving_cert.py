"""The certificate of an HTTPS endpoint: from a folder, read again when it is renewed, or self-signed.

After controller-runtime's `pkg/certwatcher` and `certutil.GenerateSelfSignedCertKey`. A self-signed certificate hides
the token from others that only listen on the wire. It does not prove who answers: give a folder for that.
"""

from __future__ import annotations

import os
import socket
import ssl
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import structlog
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.metrics import Metrics

log = structlog.get_logger(__name__)

CERTIFICATE, KEY = "tls.crt", "tls.key"
"""Files in the folder: those of a Secret of type kubernetes.io/tls, as cert-manager makes it."""

_LIFE = timedelta(days=365)


class BadCertificateError(Exception):
    """The certificate cannot be used; the message names the problem and what is expected."""


@dataclass(slots=True)
class ServingCertificate:
    """An SSL context whose certificate is kept up to date.

    Raises:
        BadCertificateError: the folder has no certificate with its key.
    """

    folder: Path | None = None
    """Folder with `tls.crt` and `tls.key`; None to make a certificate."""
    interval: float = 10.0
    """Seconds between two looks whether it has been renewed."""
    clock: Clock = field(default_factory=SystemClock)
    metrics: Metrics = field(default_factory=Metrics)
    context: ssl.SSLContext = field(init=False)
    """Serves with the newest certificate; connections that are open keep theirs."""
    _seen: tuple[int, ...] = ()
    _renew_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._renew_at = self.clock.now()
        if self.folder is None:
            self._make()
            return
        try:
            self._read(self.folder)
        except OSError as error:  # ssl.SSLError is one
            wanted = f"{self.folder} must have {CERTIFICATE} and {KEY}, in PEM and a pair"
            raise BadCertificateError(f"{wanted}: {error}") from error

    async def run(self) -> None:
        """Look for a renewed certificate until cancelled. One that cannot be used leaves the old one in place."""
        while True:
            await self.clock.sleep(self.interval)
            if self.folder is None:
                if self.clock.now() >= self._renew_at:
                    self._make()
                continue
            try:
                if self._read(self.folder):
                    log.info("the certificate has been read again", folder=str(self.folder))
            except OSError as error:
                log.warning("the certificate cannot be used", folder=str(self.folder), error=str(error))

    def _read(self, folder: Path) -> bool:
        """Read the files, unless they are the same as before."""
        certificate, key = folder / CERTIFICATE, folder / KEY
        try:
            # The kubelet updates a Secret's volume by changing a symbolic link, so the inode is compared too.
            seen = tuple(number for path in (certificate, key) for number in _state_of(path))
            if seen == self._seen:
                return False
            self._load(certificate, key)
        except OSError:
            self.metrics.certificate_errors.inc()
            raise
        self._seen = seen
        return True

    def _make(self) -> None:
        pem = self_signed(self.clock.now())
        self._renew_at = self.clock.now() + _LIFE / 2
        # OpenSSL reads files only. This one is in memory: the key is never on a disk, and the root may be read-only.
        descriptor = os.memfd_create("serving-certificate")
        try:
            os.write(descriptor, pem)
            path = Path(f"/proc/self/fd/{descriptor}")
            self._load(path, path)
        finally:
            os.close(descriptor)

    def _load(self, certificate: Path, key: Path) -> None:
        # In a separate context first: half of a mismatched pair would stay in the context that serves.
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key)
        self.context.load_cert_chain(certificate, key)
        self.metrics.certificate_reads.inc()


def self_signed(now: datetime) -> bytes:
    """Return a key and a certificate for localhost and for this machine's name, good for a year, in one PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    host = socket.gethostname()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    names = [x509.DNSName("localhost"), x509.DNSName(host), x509.IPAddress(ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # A clock that is behind ours should not refuse it.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private + certificate.public_bytes(pem)


def _state_of(path: Path) -> tuple[int, int, int]:
    state = path.stat()
    return state.st_ino, state.st_mtime_ns, state.st_size
