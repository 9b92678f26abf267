"""Certificates: making those of a CA and of servers, and judging those of a Secret. Pure functions; times are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA_LIFE: Final = timedelta(days=3 * 365)
SERVER_LIFE: Final = timedelta(days=90)
_SKEW: Final = timedelta(hours=1)
"""A clock that is behind ours by this much accepts a new certificate."""
_PEM: Final = serialization.Encoding.PEM


class BadCertificateError(Exception):
    """Certificate and key cannot be used.

    Attributes:
        reason: why, in one CamelCase word.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes

    def parsed(self) -> x509.Certificate:
        """Return the certificate."""
        return x509.load_pem_x509_certificate(self.certificate)


def new_ca(name: str, now: datetime) -> KeyPair:
    """Return a new CA, which may sign certificates of servers and no further CAs."""
    key = ec.generate_private_key(ec.SECP256R1())
    # The name has a serial number: during an overlap two CAs are trusted, and need different names.
    serial = x509.random_serial_number()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {serial:x}"[:64])])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    certificate = (
        _builder(subject, subject, key.public_key(), serial, now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(_PEM), _private(key))


def sign(ca: KeyPair, names: Sequence[str], now: datetime) -> KeyPair:
    """Return a new key, and a server's certificate for DNS names that a CA has signed."""
    issuer, key = ca.parsed(), ec.generate_private_key(ec.SECP256R1())
    signer = serialization.load_pem_private_key(ca.key, None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101 - we made it
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = (
        _builder(x509.Name([]), issuer.subject, key.public_key(), x509.random_serial_number(), now, SERVER_LIFE)
        # Critical, since the subject is empty (RFC 5280, section 4.2.1.6).
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=True)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .sign(signer, hashes.SHA256())
    )
    return KeyPair(certificate.public_bytes(_PEM), _private(key))


def is_signed_by(certificate: x509.Certificate, authorities: bytes) -> bool:
    """Return whether one of the CAs in PEM has signed a certificate."""
    for authority in x509.load_pem_x509_certificates(authorities):
        try:
            certificate.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            continue
        return True
    return False


def check(files: dict[str, bytes], names: Sequence[str], now: datetime) -> x509.Certificate:
    """Return the certificate of a Secret's files if a service can serve with it and clients can verify it.

    Args:
        files: content of the Secret.
        names: DNS names, each of which the certificate must have.
        now: the time.

    Raises:
        BadCertificateError: it cannot. The message quotes no content.
    """
    if not files.get("tls.crt"):
        raise BadCertificateError("CertificateMissing", "tls.crt is missing")
    if not files.get("tls.key"):
        raise BadCertificateError("KeyMissing", "tls.key is missing")
    if not files.get("ca.crt"):
        raise BadCertificateError("CAMissing", "ca.crt is missing: clients verify the certificate by it")
    certificate = _load(files["tls.crt"], "tls.crt")
    _load(files["ca.crt"], "ca.crt")
    try:
        key = serialization.load_pem_private_key(files["tls.key"], None)
    except (ValueError, TypeError):  # TypeError: it has a passphrase
        raise BadCertificateError("KeyInvalid", "tls.key: a key in PEM without a passphrase is allowed") from None
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    if key.public_key().public_bytes(_PEM, public) != certificate.public_key().public_bytes(_PEM, public):
        raise BadCertificateError("KeyInvalid", "tls.key: it is the key of another certificate than tls.crt")
    if lacking := [name for name in names if not _has_name(certificate, name)]:
        raise BadCertificateError("NameMismatch", f"tls.crt: it is not valid for {', '.join(lacking)}")
    if now < certificate.not_valid_before_utc:
        raise BadCertificateError("NotYetValid", f"tls.crt: it is valid from {certificate.not_valid_before_utc} on")
    if now >= certificate.not_valid_after_utc:
        raise BadCertificateError("Expired", f"tls.crt: it expired at {certificate.not_valid_after_utc}")
    return certificate


def _load(pem: bytes, name: str) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(pem)[0]
    except ValueError:
        raise BadCertificateError("CertificateInvalid", f"{name}: certificates in PEM are allowed") from None


def _has_name(certificate: x509.Certificate, wanted: str) -> bool:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return False
    found = names.get_values_for_type(x509.DNSName)
    # A wildcard stands for one label (RFC 6125, section 6.4.3).
    return wanted in found or f"*.{wanted.partition('.')[2]}" in found


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, serial: int, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
    )


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
