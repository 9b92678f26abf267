"""Certificate of all ports, from a directory with `tls.crt` and `tls.key`, such as a mounted Secret.

The files are read at the start, and again for the first connection a second or more after a change. Open connections
keep their certificate. While the files are invalid, the former certificate stays in use; at the start the service
fails.
"""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import structlog

from swarm_operator.memory.service.errors import BadCertificateError

CERTIFICATE, KEY = "tls.crt", "tls.key"
"""Files of a Secret of type kubernetes.io/tls: the certificate with its intermediates, and its key, in PEM."""
_CHECK_SECONDS: Final = 1.0
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Ciphers of TLS 1.2 with forward secrecy and authenticated encryption. All ciphers of TLS 1.3 have both."""

_log = structlog.get_logger(__name__)


class Pair(NamedTuple):
    """A certificate and its key, in PEM, and their TLS context."""

    certificate: bytes
    key: bytes
    context: ssl.SSLContext


class Certificate:
    """The certificate in use. Methods are thread-safe, because gRPC has its own threads.

    Args:
        directory: directory of the files.
        monotonic: returns seconds; for tests.
        reloaded: called after each read of the files, with True if they are valid.

    Raises:
        BadCertificateError: the files are missing or invalid, or do not match.
    """

    def __init__(
        self,
        directory: Path,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        reloaded: Callable[[bool], object] = lambda _: None,
    ) -> None:
        self._directory = directory
        self._monotonic = monotonic
        self._reloaded = reloaded
        self._lock = threading.Lock()
        self._checked_at = monotonic()
        self._stamp = self._file_stamps()
        self._pair = _read(directory)
        reloaded(True)

    def current(self) -> Pair:
        """Return the pair in use. Each change of the files makes another object."""
        now = self._monotonic()
        if now - self._checked_at >= _CHECK_SECONDS:
            with self._lock:
                self._refresh(now)
        return self._pair

    def _refresh(self, now: float) -> None:
        if now - self._checked_at < _CHECK_SECONDS:  # another thread was faster
            return
        self._checked_at = now
        stamp = self._file_stamps()
        if stamp == self._stamp:
            return
        pair, problem = None, ""
        try:
            pair = _read(self._directory)
        except BadCertificateError as error:
            problem = str(error)
        if self._file_stamps() != stamp:  # exchanged between two reads: the next read finds both files of one version
            return
        self._stamp = stamp
        if pair is None:
            _log.error("certificate not read, the former one stays in use", reason=problem)
        else:
            self._pair = pair
            _log.info("certificate read", directory=str(self._directory))
        self._reloaded(pair is not None)

    def _file_stamps(self) -> list[tuple[int, int, int] | None]:
        """Return the inode and times of a file. The inode changes when Kubernetes replaces a symbolic link."""
        stamps: list[tuple[int, int, int] | None] = []
        for name in (CERTIFICATE, KEY):
            try:
                found = (self._directory / name).stat()
            except OSError:
                stamps.append(None)
            else:
                stamps.append((found.st_ino, found.st_mtime_ns, found.st_size))
        return stamps


def _read(directory: Path) -> Pair:
    try:
        certificate, key = ((directory / name).read_bytes() for name in (CERTIFICATE, KEY))
        return Pair(certificate, key, _context(certificate, key))
    except OSError as error:  # ssl.SSLError is one
        wanted = f"{directory} must have {CERTIFICATE} and {KEY}, in PEM, a pair and without a passphrase"
        raise BadCertificateError(f"{wanted}: {error}") from error


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION  # a client could request repeated handshakes
    context.set_alpn_protocols(["http/1.1"])
    # OpenSSL reads only files. This file has the same bytes as gRPC gets, and is in memory, not on a disk.
    descriptor = os.memfd_create("certificate")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(key + b"\n" + certificate)
        # Without the argument OpenSSL would ask a terminal for the passphrase of an encrypted key.
        context.load_cert_chain(f"/proc/self/fd/{descriptor}", password="")
    finally:
        os.close(descriptor)
    return context
