"""HTTP/1.1 of both ports: uvicorn's protocol with limits on what a client may send, and on how slowly.

uvicorn bounds neither the head of a request nor the time for its arrival, and answers what it can't parse in plain
text. `connections` has the limits that concern all connections together, and calls `check` each second.

Every request passes the callbacks of the parser. So the callbacks contain uvicorn's own lines where a call of `super`
would cost as much. There are no WebSockets here: a request for an upgrade is handled like other requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable
from enum import Enum, auto
from typing import Any, Final, cast

import httptools
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from swarm_operator.memory.service.asgi import problem_reply
from swarm_operator.memory.service.errors import (
    BodyTimeoutError,
    HeadTimeoutError,
    HeadTooLargeError,
    MalformedRequestError,
    RequestError,
    TooManyConnectionsError,
)
from swarm_operator.memory.service.http.connections import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    Connections,
    Reason,
)
from swarm_operator.memory.service.http.direct import Direct, Heads
from swarm_operator.memory.service.problems import describe

PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Paths that are served while more connections than the limit have requests."""
_SLICE: Final = 16 * 1024
"""Bytes that the parser gets at once: short header fields take 30 times as much memory."""
_BODY_SLICE: Final = 64 * 1024
"""The same inside a body: uvicorn copies what has arrived of the body with each slice."""
_LINGER_SECONDS: Final = 2.0
_DISCARD_PAUSE: Final = 0.05
"""Seconds between two reads of what is discarded, each of up to 256 KiB."""
_LINGER_BYTES: Final = 8 * 1024 * 1024
"""Bytes and seconds for which the rest of a refused request is discarded. Without this the client's next write would
fail, and the client might never read the response."""
_CLOSE: Final = (b"connection", b"close")
_MALFORMED: Final = "the request is not HTTP/1.1 as in RFC 9112"


class _Part(Enum):
    """Part of a request that is arriving."""

    NONE = auto()
    HEAD = auto()
    BODY = auto()


_NONE, _HEAD, _BODY = _Part  # the attributes of an Enum are slower than globals


class _Phase(Enum):
    """State of a connection as `check` sees it. Each but BUSY has a deadline."""

    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    DRAIN = auto()
    """The response was sent, but the body of the request still arrives."""
    BUSY = auto()
    """The service works on the response."""
    SEND = auto()
    LINGER = auto()
    """The request was refused; the rest of the request is discarded."""


class _TooManyPipelinedError(Exception):
    """The client sent more requests than MAX_PIPELINED without waiting for responses."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection.

    Args:
        shared: connections of the port.
        direct: answers plain requests; None: the application answers all.
        config: uvicorn's configuration.
        server_state: uvicorn's state of the server.
        app_state: uvicorn's state of the application.
    """

    def __init__(
        self,
        shared: Connections,
        direct: Direct | None,
        *,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.app = functools.partial(_serve_until_cancelled, self.app)
        self.heads = Heads()
        self._shared = shared
        self._direct = direct
        self._part = _NONE
        self._fed = 0  # bytes since the last body data or the end of the last message: at least those of the head
        self._body_bytes = 0
        self._messages = 0
        self._pauses = 0
        self._earlier: list[RequestResponseCycle] = []  # requests before the last one that have no response yet
        self._refused = False
        self._discarded = 0
        self._seen: tuple[_Phase, int, int] = (_Phase.IDLE, 0, 0)
        self._since: float | None = None
        self._mark = 0

    @property
    def peer(self) -> str:
        """Return the address of the client."""
        return self.client[0] if self.client else ""

    def abort(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def cut_off(self) -> None:
        """Close the connection before the service cancels its requests: their clients get no response."""
        for cycle in (self.cycle, *self._earlier):
            _disconnect(cycle)
        self.abort()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
        """Begin to read, if there are not too many connections."""
        super().connection_made(transport)
        if not self._shared.admit(self):
            self._direct = None
            self.app = functools.partial(_serve_probes, self.app, self._shared)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._shared.remove(self)
        # uvicorn notifies only the last request: the stream of an earlier request would never end.
        for cycle in self._earlier:
            _disconnect(cycle)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse bytes of the client, unless they are a plain request, which is answered directly."""
        # Of a request that was refused a part stays unfinished, so these conditions leave what follows to the parser.
        if (
            self._direct is not None
            and self._fed == 0
            and self._part is _NONE
            and (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and self._direct.answer(self, data)
        ):
            return
        if len(data) <= _SLICE:
            self._feed(data)
            return
        start = 0
        while start < len(data) and not self.transport.is_closing():
            end = start + (_BODY_SLICE if self._part is _BODY else _SLICE)
            self._feed(data[start:end])
            start = end
        self._end_turn()

    def _feed(self, data: bytes) -> None:
        """Give bytes to the parser, or discard them after a refusal."""
        if self._refused:
            self._discarded += len(data)
            if self._discarded > _LINGER_BYTES:
                self.abort()
            return
        self._fed += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._direct = None  # a server may ignore Upgrade (RFC 9110, section 7.8); the parser is not as before
        except httptools.HttpParserError as error:
            self._refuse_parsed(error.__context__)
        else:
            if self._fed > MAX_HEAD_BYTES or (self._part is not _NONE and len(self.headers) > MAX_HEADERS):
                self._refuse(_head_too_large(), Reason.HEAD_SIZE)

    def _end_turn(self) -> None:
        """Read no more of this connection until the event loop has served the others.

        libuv reads up to 32 times per turn while the client sends faster than this process reads: 8 MiB, which take
        over 10 ms to discard.
        """
        if not self.flow.read_paused and not self.transport.is_closing():
            self.flow.pause_reading()
            if self._refused or (self._part is _BODY and self.cycle.response_complete):
                self.loop.call_later(_DISCARD_PAUSE, self._begin_turn)
            else:
                self._shared.wait_turn(self.peer, self._begin_turn)

    def _begin_turn(self) -> None:
        if not self.transport.is_closing():
            self.flow.resume_reading()

    def on_message_begin(self) -> None:
        """Begin a request."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _TooManyPipelinedError
        self._part = _HEAD
        self._messages += 1
        HttpToolsProtocol.on_message_begin(self)

    def on_request(self) -> None:
        """Count a request that the parser has not seen."""
        self._messages += 1
        self._shared.waiting.pop(self, None)

    def on_headers_complete(self) -> None:
        """Start the application."""
        if len(self.headers) > MAX_HEADERS or (self._fed > MAX_HEAD_BYTES and self._head_bytes() > MAX_HEAD_BYTES):
            raise _head_too_large()
        if self.cycle is not None and not self.cycle.response_complete:
            self._earlier.append(self.cycle)
        HttpToolsProtocol.on_headers_complete(self)
        self._part = _BODY
        self._shared.waiting.pop(self, None)

    def on_body(self, body: bytes) -> None:
        """Hand body data to the application."""
        self._fed = 0
        self._body_bytes += len(body)
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        """End a request."""
        self._part = _NONE
        self._fed = 0
        cycle = self.cycle
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Start the next pipelined request, or wait for one. uvicorn would start a timer for the idle connection."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._earlier.clear()
            self._shared.waiting[self] = None

    def pause_writing(self) -> None:
        """Note that the client has yet to read much of the response."""
        super().pause_writing()
        self._pauses += 1
        self._shared.hold(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Note that the client has read most of the response."""
        super().resume_writing()
        self._shared.release(self)

    def shutdown(self) -> None:
        """Close the connection, or let its request end first."""
        if self._refused:
            self.abort()
        else:
            super().shutdown()

    def check(self, now: float) -> None:
        """End the request or the connection if a deadline has passed.

        Args:
            now: seconds of a monotonic clock.
        """
        phase = self._phase()
        seen = (phase, self._messages, self._pauses)
        if self._since is None or seen != self._seen:
            self._seen, self._since, self._mark = seen, now, self._progress(phase)
            return
        limits, elapsed = self._shared.limits, now - self._since
        slow = self._progress(phase) - self._mark < limits.rate * elapsed
        if phase is _Phase.HEAD and elapsed >= limits.head:
            self._refuse(
                HeadTimeoutError(f"the head of the request did not arrive within {limits.head:g} seconds", _CLOSE),
                Reason.HEAD_TIMEOUT,
            )
        elif phase is _Phase.BODY and elapsed >= limits.body and slow:
            self._refuse(
                BodyTimeoutError(f"the body arrived with less than {limits.rate} bytes a second", _CLOSE),
                Reason.BODY_RATE,
            )
        elif phase is _Phase.DRAIN and elapsed >= limits.head:
            self._end(Reason.BODY_RATE)
        elif phase is _Phase.SEND and elapsed >= limits.send and slow:
            self._end(Reason.SEND_RATE)
        elif (phase is _Phase.IDLE and elapsed >= limits.idle) or (
            phase is _Phase.LINGER and elapsed >= _LINGER_SECONDS
        ):
            self.abort()

    def _phase(self) -> _Phase:
        cycle = self.cycle
        answered = cycle is None or cycle.response_complete
        if self._refused:
            return _Phase.LINGER
        if self.flow.write_paused:
            return _Phase.SEND
        if self._part is _HEAD:
            return _Phase.HEAD
        if answered:
            return _Phase.IDLE if self._part is _NONE else _Phase.DRAIN
        if self._part is _BODY and not self.flow.read_paused:
            return _Phase.BODY
        return _Phase.BUSY

    def _progress(self, phase: _Phase) -> int:
        """Return a number that grows by one with each byte that moves in this phase."""
        return -self.transport.get_write_buffer_size() if phase is _Phase.SEND else self._body_bytes

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _refuse_parsed(self, cause: BaseException | None) -> None:
        if isinstance(cause, HeadTooLargeError):
            self._refuse(cause, Reason.HEAD_SIZE)
        elif isinstance(cause, _TooManyPipelinedError):
            self._end(Reason.PIPELINED)
        else:
            self._refuse(MalformedRequestError(_MALFORMED, _CLOSE), Reason.MALFORMED)

    def _refuse(self, error: RequestError, reason: Reason) -> None:
        """Answer the arriving request with an error, discard its rest, and then close the connection."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if cycle.response_started or self._part is not _BODY or self.pipeline:
                # The client would take this response for a part of the response to its earlier request.
                self._end(reason)
                return
            _disconnect(cycle)
        self._shared.note(reason, self.peer)
        if not self.transport.is_closing():
            self._shared.waiting[self] = None
        self._refused = True
        self.flow.resume_reading()
        self.transport.write(problem_reply(describe(error)).encode(self.server_state.default_headers))
        self.transport.write_eof()

    def _end(self, reason: Reason) -> None:
        self._shared.note(reason, self.peer)
        self.abort()


def protocol(connections: Connections, direct: Direct | None = None) -> type[asyncio.Protocol]:
    """Return what uvicorn's setting `http` takes, for the connections of a port. See BoundedProtocol."""
    create: Callable[..., BoundedProtocol] = functools.partial(BoundedProtocol, connections, direct)
    return cast("type[asyncio.Protocol]", create)


def _head_too_large() -> HeadTooLargeError:
    return HeadTooLargeError(
        f"the head of the request is too large (limit: {MAX_HEAD_BYTES} bytes and {MAX_HEADERS} header fields)", _CLOSE
    )


def _disconnect(cycle: RequestResponseCycle | None) -> None:
    """Tell the application that the client of a request is gone."""
    if cycle is not None:
        cycle.disconnected = True
        cycle.message_event.set()


async def _serve_until_cancelled(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a request until it ends, or a shutdown cancels it, which uvicorn would log as an error with a traceback."""
    with contextlib.suppress(asyncio.CancelledError):
        await app(scope, receive, send)


async def _serve_probes(app: ASGIApp, connections: Connections, scope: Scope, receive: Receive, send: Send) -> None:
    """Serve probes, and other requests unless too many connections have requests."""
    if scope["path"] in PROBES or not connections.crowded:
        await app(scope, receive, send)
        return
    error = TooManyConnectionsError("all connections of the service are in use", (b"retry-after", b"1"), _CLOSE)
    await problem_reply(describe(error)).send(send)
