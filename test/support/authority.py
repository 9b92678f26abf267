"""A certificate authority for tests of TLS."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A CA and what it signs.

    Attributes:
        certificate: its own, in PEM.
    """

    def __init__(self, name: str, now: datetime) -> None:
        self.now = now
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self._sign(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None))

    def pair(self, directory: Path, *, address: str = "127.0.0.1") -> Path:
        """Write tls.crt and tls.key of a server with an IP address into a directory, and return the directory."""
        private, certificate = self._server(address)
        directory.mkdir(exist_ok=True)
        (directory / "tls.crt").write_bytes(certificate)
        (directory / "tls.key").write_bytes(private)
        return directory

    def client(self) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority."""
        return ssl.create_default_context(cadata=self.certificate.decode())

    def server(self, path: Path, *, address: str = "127.0.0.1") -> Path:
        """Write a file with a key and a certificate for an IP address, and return its path."""
        path.write_bytes(b"".join(self._server(address)))
        return path

    def _server(self, address: str) -> tuple[bytes, bytes]:
        """Return a key and its certificate."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return private, self._sign(x509.Name([]), key, names)

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> bytes:
        builder = (
            x509.CertificateBuilder(self.name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(self.now - timedelta(days=1))
            .not_valid_after(self.now + timedelta(days=3650))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
