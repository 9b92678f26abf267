"""TLS between a TCP connection and the protocol of HTTP.

The limits of `connections` apply as without TLS. A connection counts from its first byte, and a handshake has a
deadline. The unsent bytes of the TCP connection count as unread by the client. The TLS of asyncio and uvloop has none
of this: it creates the protocol only after the handshake, and keeps encrypted bytes in a buffer that is hidden from
the protocol. It also can't signal the end of a response while the request still arrives.
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
"""Maximum bytes of a record (RFC 8446, section 5.1), and therefore of a read."""
_PART: Final = 16 * _RECORD
"""Bytes per encryption. The buffer of encrypted bytes keeps its largest size until the connection is closed."""


class TlsProtocol(asyncio.Protocol):
    """A TLS connection. It counts as a Connection until the handshake is complete, and then feeds the protocol.

    Args:
        certificate: the service's certificate; the connection keeps the current one.
        factory: creates the protocol for the decrypted bytes.
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
        """Signal the end of the data to the protocol. The TCP transport then closes the connection."""
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
        """Continue the handshake. Return True when it is complete; then connect the protocol."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError:
            self._flush()  # the alert has the reason
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
        """Return the decrypted bytes, and whether the client has ended its data."""
        parts: list[bytes] = []
        ended = False
        try:
            # Check before the read, because an exception per request costs more.
            while not ended and (self._incoming.pending or self._tls.pending()):
                part = self._tls.read(_RECORD)
                parts.append(part)
                ended = not part
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError:  # the client does not use TLS
            ended = True
        if self._outgoing.pending:
            self._flush()
        return parts[0] if len(parts) == 1 else b"".join(parts), ended

    def _flush(self) -> None:
        if self._outgoing.pending and not self._tcp.is_closing():
            self._tcp.write(self._outgoing.read())


class _TlsTransport(asyncio.Transport):
    """Transport that encrypts the data of a protocol. The TCP transport does everything else."""

    def __init__(self, tcp: asyncio.Transport, tls: ssl.SSLObject, outgoing: ssl.MemoryBIO) -> None:
        super().__init__()
        self._tcp = tcp
        self._tls = tls
        self._outgoing = outgoing
        # Called for each response and each chunk, so without a wrapper.
        self.is_closing = tcp.is_closing  # type: ignore[method-assign]
        self.get_write_buffer_size = tcp.get_write_buffer_size  # type: ignore[method-assign]
        self.pause_reading = tcp.pause_reading  # type: ignore[method-assign]
        self.resume_reading = tcp.resume_reading  # type: ignore[method-assign]
        self.set_write_buffer_limits = tcp.set_write_buffer_limits  # type: ignore[method-assign]
        self.abort = tcp.abort  # type: ignore[method-assign]

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return information about the connection; see asyncio."""
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
        # In one call: in `pause_writing` the protocol reads the number of unsent bytes.
        self._tcp.writelines(parts)

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Encrypt and send."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Return True."""
        return True

    def write_eof(self) -> None:
        """Send the end of the data to the client, and continue to read."""
        self._close_tls()
        self._tcp.write_eof()

    def close(self) -> None:
        """Close the connection after all data are sent."""
        if not self._tcp.is_closing():
            self._close_tls()
            self._tcp.close()

    def _close_tls(self) -> None:
        with contextlib.suppress(ssl.SSLError):  # the client has not ended its data: do not wait
            self._tls.unwrap()
        if self._outgoing.pending:
            self._tcp.write(self._outgoing.read())
