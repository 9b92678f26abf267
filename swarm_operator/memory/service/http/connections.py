"""Limits on the connections of a port: their number, their times and their memory.

A sweep each second compares every connection with its deadlines, so a request starts no timer. Connections that a limit
ends are counted in a metric, and logged at most once in ten seconds for each reason.
"""

from __future__ import annotations

import asyncio
import resource
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

import structlog

from swarm_operator.memory.service.settings import MIB, ServiceSettings

MAX_HEAD_BYTES: Final = 64 * 1024
"""Maximum bytes of a request line and its header fields, and of a body's trailer fields."""
MAX_HEADERS: Final = 128
"""Maximum number of header fields of a request. A short field takes 30 times its bytes in memory."""
MAX_PIPELINED: Final = 32
"""Maximum pipelined requests of a connection."""
METRICS_CONNECTIONS: Final = 64
"""Maximum connections of the metrics port."""

_RESERVE: Final = 32
"""Connections above the limit, reserved for probes while the limit of connections with requests is reached. A probe
keeps its connection until this number of newer connections has arrived."""
_READ: Final = 2
"""Maximum connections with large requests that are read in a turn of the event loop, up to 256 KiB of each."""
_FILES: Final = 64
"""Files of the process other than connections: the database, its log, sockets, modules."""
_LOG_INTERVAL: Final = 10.0

_log = structlog.get_logger(__name__)


class Reason(StrEnum):
    """Reason for which a request was refused or a connection was closed."""

    CONNECTIONS = "connections"
    """The number of connections reached the limit."""
    MALFORMED = "malformed"
    HEAD_SIZE = "head-size"
    HEAD_TIMEOUT = "head-timeout"
    BODY_RATE = "body-rate"
    """The body arrives too slowly, or still arrives after the response."""
    SEND_RATE = "send-rate"
    """The client reads the response too slowly."""
    UNSENT = "unsent"
    """All responses together hold too many bytes that their clients have not read."""
    PIPELINED = "pipelined"
    HANDSHAKE = "handshake"
    """The TLS handshake failed or took too long."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ConnectionLimits:
    """Limits on the connections of a port.

    Attributes:
        connections: maximum number of connections.
        idle: seconds after which a connection without a request is closed.
        head: maximum seconds from the first byte of a head to its last, for the rest of a rejected body, and for a TLS
            handshake.
        body: seconds after which the average rate of a body is checked.
        send: seconds after which the average rate of a response is checked.
        rate: minimum average bytes per second of a body, and of a response that fills the send buffer; 0: no minimum.
        unsent: maximum bytes of all responses that wait for their clients.
    """

    connections: int
    idle: float
    head: float
    body: float
    send: float
    rate: int
    unsent: int = 128 * MIB

    @classmethod
    def of(cls, settings: ServiceSettings, *, connections: int | None = None) -> ConnectionLimits:
        """Return the limits of the settings, with another number of connections if given."""
        return cls(
            connections=connections or max_connections(settings.max_connections),
            idle=settings.idle_timeout,
            head=settings.head_timeout,
            body=settings.body_timeout,
            send=settings.send_timeout,
            rate=settings.min_transfer_rate,
            unsent=settings.max_unsent_bytes,
        )


def max_connections(wanted: int) -> int:
    """Return the number of connections that the limit of open files allows, at most `wanted`.

    A quarter of the files is reserved for gRPC, the metrics port and the connections of probes.
    """
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return wanted
    return max(1, min(wanted, (files - _FILES) * 3 // 4 - _RESERVE))


class Connection(Protocol):
    """Interface of a connection for the limits."""

    @property
    def peer(self) -> str:
        """Return the address of the client."""

    def check(self, now: float) -> None:
        """End the request or the connection if a deadline has passed."""

    def abort(self) -> None:
        """Close the connection at once."""


class Connections:
    """The connections of a port.

    Args:
        limits: see ConnectionLimits.
        counted: called with the reason of each connection that a limit ends.
        port: name of the port in the log.
    """

    def __init__(self, limits: ConnectionLimits, *, counted: Callable[[str], object], port: str) -> None:
        self.limits = limits
        self._counted = counted
        self._port = port
        self._open: set[Connection] = set()
        self.waiting: OrderedDict[Connection, None] = OrderedDict()
        """Idle connections, the longest idle first, which is closed first. A connection adds and removes itself, except
        on closing: a method of this class would be called twice per request."""
        self._unsent: OrderedDict[Connection, int] = OrderedDict()
        self._unsent_bytes = 0
        self._ended: Counter[Reason] = Counter()
        self._peers: dict[Reason, str] = {}
        self._logged: dict[Reason, float] = {}
        self._turns: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        """Connections that wait for their turn to be read, by client; the first client is next."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def crowded(self) -> bool:
        """Return whether more connections than the limit have a request."""
        return len(self._open) - len(self.waiting) > self.limits.connections

    def admit(self, connection: Connection) -> bool:
        """Add a connection. Return False if only probes may be answered on the connection while `crowded`.

        If there are too many connections, the longest idle connection is closed, or else the new one.
        """
        self._open.add(connection)
        self.waiting[connection] = None
        surplus = len(self._open) - self.limits.connections
        if surplus > _RESERVE:
            self._end(next(iter(self.waiting)), Reason.CONNECTIONS)
        return surplus <= 0

    def hold(self, connection: Connection, size: int) -> None:
        """Record that a client has yet to read `size` bytes. Close slow clients over the limit."""
        self.release(connection)
        self._unsent[connection] = size
        self._unsent_bytes += size
        while self._unsent_bytes > self.limits.unsent and len(self._unsent) > 1:
            self._end(next(iter(self._unsent)), Reason.UNSENT)

    def release(self, connection: Connection) -> None:
        """Record that the rest of a client's response fits into the send buffer."""
        self._unsent_bytes -= self._unsent.pop(connection, 0)

    def wait_turn(self, peer: str, read: Callable[[], None]) -> None:
        """Call `read` in one of the next turns of the event loop.

        A few connections are read in each turn, and clients take turns. Otherwise a turn would take as long as all
        clients together send.
        """
        if not self._turns:
            asyncio.get_running_loop().call_soon(self._give_turns)
        self._turns.setdefault(peer, deque()).append(read)

    def _give_turns(self) -> None:
        for _ in range(_READ):
            peer, waiting = self._turns.popitem(last=False)
            read = waiting.popleft()
            if waiting:
                self._turns[peer] = waiting
            read()
            if not self._turns:
                return
        asyncio.get_running_loop().call_soon(self._give_turns)

    def remove(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)
        self.waiting.pop(connection, None)
        self.release(connection)

    def note(self, reason: Reason, peer: str) -> None:
        """Count a connection that a limit ends, for the metric and the log."""
        self._counted(reason)
        self._ended[reason] += 1
        self._peers[reason] = peer

    def sweep(self, now: float, part: int = 0, parts: int = 1) -> None:
        """Check the deadlines of a part of the connections, and report. Call it for each part once a second.

        Args:
            now: seconds of a monotonic clock.
            part: number of the part, from 0.
            parts: number of parts: checking a thousand connections at once takes up to 25 ms.
        """
        for connection in [each for each in self._open if hash(each) % parts == part]:
            connection.check(now)
        self.report(now)

    def report(self, now: float) -> None:
        """Log which limits have ended connections since the last report, at most once in ten seconds for each."""
        for reason, count in tuple(self._ended.items()):
            if now - self._logged.get(reason, -_LOG_INTERVAL) >= _LOG_INTERVAL:
                _log.warning(
                    "connections refused or closed", port=self._port, reason=reason, count=count,
                    last_client=self._peers[reason], connections=len(self._open),
                )  # fmt: skip
                self._logged[reason] = now
                del self._ended[reason]

    def _end(self, connection: Connection, reason: Reason) -> None:
        self.note(reason, connection.peer)
        self.remove(connection)
        connection.abort()
