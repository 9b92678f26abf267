"""TLS between a TCP connection and the protocol of HTTP.

The limits of `connections` hold as without TLS: a connection counts from its first byte, a handshake has a deadline,
and what a client has not read is what the TCP connection has yet to send. The TLS of asyncio and of uvloop makes the
protocol after the handshake only, keeps encrypted bytes in a buffer that the protocol cannot see, and cannot tell the
client the end of the response while the request still arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterable
from typing import Any, Final

from swarm_operator.memory.service.certificate import Certificate
from swarm_operator.memory.service.http.connections import Connections, Reason

_RECORD: Final = 16 * 1024
"""Maximum bytes of a record (RFC 8446, section 5.1), and so of a read."""
_PART: Final = 16 * _RECORD
"""Bytes that are encrypted at once. The buffer of encrypted bytes keeps its largest size for as long as the connection
is open."""


class TlsProtocol(asyncio.Protocol):
    """A connection: until the handshake is complete a Connection of its own, then the transport's source.

    Args:
        certificate: the service's certificate; the connection keeps the one that is in use now.
        factory: makes the protocol that gets the decrypted bytes.
        shared: connections of the port.
    """

    def __init__(self, certificate: Certificate, factory: Callable[[], asyncio.Protocol], shared: Connections) -> None:
        self._factory = factory
        self._shared = shared
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = certificate.current().context
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._protocol: asyncio.Protocol | None = None
        self._since: float | None = None

    @property
    def peer(self) -> str:
        """Return the address of the client."""
        address = self._tcp.get_extra_info("peername")
        return str(address[0]) if address else ""

    def check(self, now: float) -> None:
        """Close the connection if the handshake takes too long.

        Args:
            now: seconds of a monotonic clock.
        """
        if self._since is None:
            self._since = now
        elif now - self._since >= self._shared.limits.head:
            self._refuse()

    def abort(self) -> None:
        """Close the connection at once."""
        self._tcp.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # a TCP transport
        """Wait for the handshake."""
        self._tcp = transport
        self._shared.admit(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        if self._protocol is None:
            self._shared.remove(self)
        else:
            self._protocol.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Decrypt bytes of the client."""
        self._incoming.write(data)
        if self._protocol is None and not self._shake_hands():
            return
        assert self._protocol is not None  # noqa: S101 - for mypy
        plain, ended = self._read()
        if plain:
            self._protocol.data_received(plain)
        if ended and not self._tcp.is_closing():
            self.eof_received()
            self._transport.close()

    def eof_received(self) -> None:
        """Tell the protocol the end. The TCP transport then closes the connection."""
        if self._protocol is not None:
            self._protocol.eof_received()

    def pause_writing(self) -> None:
        """Tell the protocol that the client has yet to read much of the response."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell the protocol that the client has read most of the response."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    def _shake_hands(self) -> bool:
        """Go on with the handshake. Return whether it is complete; then the protocol has its connection."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError:
            self._flush()  # the alert says why
            self._refuse()
            return False
        self._flush()
        self._shared.remove(self)
        self._protocol = self._factory()
        self._transport = _TlsTransport(self._tcp, self._tls, self._outgoing)
        self._protocol.connection_made(self._transport)
        return True

    def _refuse(self) -> None:
        self._shared.note(Reason.HANDSHAKE, self.peer)
        self._shared.remove(self)
        self._tcp.close()

    def _read(self) -> tuple[bytes, bool]:
        """Return the bytes that can be decrypted, and whether the client has sent its last."""
        parts: list[bytes] = []
        ended = False
        try:
            # Asked beforehand, since an exception for each request costs more than the question.
            while not ended and (self._incoming.pending or self._tls.pending()):
                part = self._tls.read(_RECORD)
                parts.append(part)
                ended = not part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:  # no TLS
            ended = True
        if self._outgoing.pending:
            self._flush()
        return parts[0] if len(parts) == 1 else b"".join(parts), ended

    def _flush(self) -> None:
        if self._outgoing.pending and not self._tcp.is_closing():
            self._tcp.write(self._outgoing.read())


class _TlsTransport(asyncio.Transport):
    """Encrypts what a protocol sends. All else is the TCP transport's."""

    def __init__(self, tcp: asyncio.Transport, tls: ssl.SSLObject, outgoing: ssl.MemoryBIO) -> None:
        super().__init__()
        self._tcp = tcp
        self._tls = tls
        self._outgoing = outgoing
        # For each response and each part of one, so without a call of ours between.
        self.is_closing = tcp.is_closing  # type: ignore[method-assign]
        self.get_write_buffer_size = tcp.get_write_buffer_size  # type: ignore[method-assign]
        self.pause_reading = tcp.pause_reading  # type: ignore[method-assign]
        self.resume_reading = tcp.resume_reading  # type: ignore[method-assign]
        self.set_write_buffer_limits = tcp.set_write_buffer_limits  # type: ignore[method-assign]
        self.abort = tcp.abort  # type: ignore[method-assign]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what is known of the connection; see asyncio."""
        if name == "sslcontext":
            return self._tls.context
        return self._tcp.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Encrypt and send."""
        if self._tcp.is_closing():
            return
        if len(data) <= _PART:
            if data:
                self._tls.write(data)
                self._tcp.write(self._outgoing.read())
            return
        view = memoryview(data)
        parts: list[bytes] = []
        for start in range(0, len(view), _PART):
            self._tls.write(view[start : start + _PART])
            parts.append(self._outgoing.read())
        # In one call: when the protocol is told to pause, it asks how much there is to send.
        self._tcp.writelines(parts)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and send."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def write_eof(self) -> None:
        """Tell the client that nothing follows, and go on reading."""
        self._close_tls()
        self._tcp.write_eof()

    def close(self) -> None:
        """Close the connection when all is sent."""
        if not self._tcp.is_closing():
            self._close_tls()
            self._tcp.close()

    def _close_tls(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # the client's own end is not there yet, and nobody waits for it
            self._tls.unwrap()
        if self._outgoing.pending:
            self._tcp.write(self._outgoing.read())
