"""The direct path: answers plain requests for single entries without an ASGI application.

A request is plain if it is a GET, PUT or DELETE of an entry whose head and body have arrived together, without
conditions, tracing or other special headers. The parser and the application handle every other request, and every
request that would be refused: only they create refusals.

The path does not parse header fields. It compares them with the fields of earlier requests of the connection. The first
request with other fields is checked strictly; the result is valid until the tokens change. docs/design/direct-path.md
has the reasons.
"""

from __future__ import annotations

import asyncio
import contextvars
import re
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeAlias

from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from swarm_operator.memory.core.callbacks import CallbackStore
from swarm_operator.memory.core.entry import Entry, Identity, check_key, check_namespace
from swarm_operator.memory.core.threads import LARGE_BYTES
from swarm_operator.memory.service.access.rights import Principal
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.asgi import check_content_type, percent_decode
from swarm_operator.memory.service.documents import entry_head, entry_whole
from swarm_operator.memory.service.errors import NotFoundError
from swarm_operator.memory.service.http.failures import failure_reply
from swarm_operator.memory.service.http.routes.entries import ROUTE, parse_put
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

# The lengths are those of names without escapes; a longer name with escapes takes the general path.
_NAME: Final = rb"A-Za-z0-9!$&'()*+,\-.:;=@_~%"
_REQUEST: Final = re.compile(
    rb"(GET|PUT|DELETE) /v1/entries/([%b]{1,255})/([%b/]{1,1024}) HTTP/1\.1\r\n" % (_NAME, _NAME)
)
_FIELDS: Final = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+: [!-~]([ -~]*[!-~])?\r\n)+")
_PERCENT: Final = ord("%")
"""As a number: to look for it in bytes takes an eighth of the time."""
_MAX_FIELDS_BYTES: Final = 2048
_MAX_FIELDS: Final = 32
_MAX_HEADS: Final = 4
"""Maximum heads that a connection caches. A client sends one for GET and DELETE, and one for PUT of any length."""
_MEANT: Final = frozenset({
    b"if-match", b"if-none-match", b"traceparent", b"x-request-id", b"expect", b"content-encoding",
    b"transfer-encoding", b"upgrade", b"proxy-connection",
})  # fmt: skip
"""Header fields that change how the parser or the application treats a request."""
_LIVES_ON: Final = {b"keep-alive": True, b"close": False}

_Fields: TypeAlias = bytes | tuple[bytes, bytes]
"""Header fields as sent; with a body, the parts before and after the `-Length: N` of Content-Length."""


class _Head(NamedTuple):
    """Meaning of the header fields of a request."""

    principal: Principal
    keep_alive: bool
    expires_at: float
    """Unix time at which the token expires."""


class Heads:
    """Heads that a connection has sent, and the tokens that they were checked with."""

    __slots__ = ("known", "tokens")

    def __init__(self) -> None:
        self.known: dict[_Fields, _Head] = {}
        self.tokens: Sequence[Any] = ()


class Connection(Protocol):
    """Interface of a connection for the direct path."""

    transport: asyncio.Transport
    server_state: ServerState
    heads: Heads
    cycle: Any

    def on_request(self) -> None:
        """Count a request that begins."""

    def on_response_complete(self) -> None:
        """Start the next pipelined request, or wait for one."""


class Direct:
    """Answers plain requests of the connections of a port.

    Args:
        store: the store; this class checks the permissions.
        tokens: valid tokens.
        metrics: metrics of the service.
        max_body_bytes: maximum bytes of a body.
    """

    def __init__(self, store: CallbackStore, *, tokens: Tokens, metrics: ServiceMetrics, max_body_bytes: int) -> None:
        self.metrics = metrics
        self._store = store
        self._tokens = tokens
        self._most = min(max_body_bytes, LARGE_BYTES)
        self._defaults: object = None
        self._default_fields = b""

    def answer(self, connection: Connection, data: bytes) -> bool:
        """Answer a request or begin it. Return False, without any effect, if it is not plain or would be refused.

        The connection has no request in progress, and `data` are the next bytes that it has received.
        """
        request = _REQUEST.match(data)
        if request is None:
            return False
        start = request.end()
        end = data.find(b"\r\n\r\n", start - 2)
        if end < 0:
            return False
        size = len(data) - end - 4
        block = data[start : end + 2]
        fields: _Fields = block
        method, raw_namespace, raw_key = request.groups()
        if method == b"PUT":
            if not 0 < size <= self._most:
                return False
            before, length, after = block.partition(b"-Length: %d\r\n" % size)
            if not length:
                before, length, after = block.partition(b"-length: %d\r\n" % size)
            if not length:
                return False
            fields = (before, after)
        elif size:
            return False
        try:
            tokens = self._tokens.current()
            heads = connection.heads
            if heads.tokens is not tokens:  # a token may have been removed, or may have other permissions
                heads.known.clear()
                heads.tokens = tokens
            head = heads.known[fields] if fields in heads.known else self._examine(fields, heads)
            if head is None:
                return False
            if head.expires_at <= self._tokens.now:
                del heads.known[fields]
                return False
            if _PERCENT in raw_namespace or _PERCENT in raw_key:
                namespace = check_namespace(percent_decode("namespace", raw_namespace))
                key = check_key(percent_decode("key", raw_key))
            else:
                namespace, key = raw_namespace.decode(), raw_key.decode()
            if method == b"GET":
                return self._get(connection, head, (namespace, key))
            if method == b"PUT":
                return self._put(connection, head, (namespace, key), data[end + 4 :])
            return self._delete(connection, head, (namespace, key))
        except Exception:  # noqa: BLE001 - nothing was begun; the application answers, and logs what is a defect
            return False

    def respond(self, connection: Connection, status: int, entry: Entry, body: bytes, *, keep_alive: bool) -> bytes:
        """Return the bytes of a response with an entry."""
        return b'%b%bcontent-type: application/json\r\netag: "%d"\r\ncontent-length: %d\r\n%b\r\n%b' % (
            STATUS_LINE[status],
            self.default_fields(connection.server_state),
            entry.version,
            len(body),
            b"" if keep_alive else b"connection: close\r\n",
            body,
        )

    def default_fields(self, state: ServerState) -> bytes:
        """Return the header fields of all responses. uvicorn creates a new list each second, for the date."""
        if self._defaults is not state.default_headers:
            self._defaults = state.default_headers
            self._default_fields = b"".join(b"%b: %b\r\n" % field for field in state.default_headers)
        return self._default_fields

    def _get(self, connection: Connection, head: _Head, identity: Identity) -> bool:
        """Answer with an entry from memory, or begin to read it."""
        if not head.principal.may_read(identity[0]):
            return False
        started = time.perf_counter()
        entry = self._store.cached(identity)
        if entry is None:
            read = _Get(self, connection, head, started)
            self._store.begin_get(identity, read)
            connection.on_request()
            connection.cycle = read
            return True
        response = self.respond(connection, 200, entry, entry_whole(entry), keep_alive=head.keep_alive)
        metrics = self.metrics
        metrics.operations["get"].observe(time.perf_counter() - started)
        metrics.answered("GET", ROUTE, 200)
        connection.on_request()
        connection.transport.write(response)
        if not head.keep_alive:
            connection.transport.close()
        connection.on_response_complete()
        return True

    def _put(self, connection: Connection, head: _Head, identity: Identity, body: bytes) -> bool:
        """Begin to write an entry."""
        if not head.principal.may_write(identity[0]):
            return False
        started = time.perf_counter()
        write = _Put(self, connection, head, started)
        draft, rule = parse_put(*identity, body, head.principal.name)
        if rule is not None or not self._store.begin_put(draft, write):
            return False
        connection.on_request()
        connection.cycle = write
        return True

    def _delete(self, connection: Connection, head: _Head, identity: Identity) -> bool:
        """Begin to delete an entry."""
        if not head.principal.may_write(identity[0]):
            return False
        delete = _Delete(self, connection, head, time.perf_counter())
        self._store.begin_delete(identity, delete)
        connection.on_request()
        connection.cycle = delete
        return True

    def _examine(self, fields: _Fields, heads: Heads) -> _Head | None:
        """Return the meaning of header fields and cache it; None if they are not plain.

        Raises:
            RequestError: the request would be refused.
        """
        text = b"-Length: 0\r\n".join(fields) if isinstance(fields, tuple) else fields
        if len(text) > _MAX_FIELDS_BYTES or not _FIELDS.fullmatch(text):
            return None
        lines = text[:-2].split(b"\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
        if len(headers) != len(lines) or len(lines) > _MAX_FIELDS or not _MEANT.isdisjoint(headers):
            return None
        if isinstance(fields, tuple):
            # The name that was split at its hyphen must be the only Content-Length, and not the end of another name.
            if b"content-length" not in headers or not (b"\r\n" + fields[0]).lower().endswith(b"\r\ncontent"):
                return None
            check_content_type(headers)
        elif headers.get(b"content-length", b"0") != b"0":  # clients send 0 with a DELETE
            return None
        keep_alive = _LIVES_ON.get(headers.get(b"connection", b"keep-alive").lower())
        if keep_alive is None:
            return None
        credential = self._tokens.authenticate(headers.get(b"authorization"))
        head = _Head(credential.principal, keep_alive, credential.expires_at)
        if len(heads.known) >= _MAX_HEADS:
            heads.known.clear()
        heads.known[fields] = head
        return head


class _Pending:
    """Receiver of a result of the store. Has the attributes of a request's cycle that the protocol and uvicorn read.

    Attributes:
        disconnected: whether the client has disconnected, or has received another response.
        keep_alive: whether the connection stays open after the response.
        response_complete: whether the response was sent.
    """

    __slots__ = ("_connection", "_direct", "_started", "disconnected", "keep_alive", "response_complete")

    method: ClassVar[str]
    operation: ClassVar[str]
    response_started: Final = False
    message_event: Final = asyncio.Event()
    """No task waits for this event: the body of the request is complete."""

    def __init__(self, direct: Direct, connection: Connection, head: _Head, started: float) -> None:
        self._direct = direct
        self._connection = connection
        self._started = started
        self.keep_alive = head.keep_alive
        self.disconnected = False
        self.response_complete = False

    def done(self) -> bool:
        """Return False: a request is completed even if its client has disconnected, as in the application."""
        return False

    def set_result(self, result: Any, /) -> None:
        """Send the response."""
        try:
            status, response = self._render(result)
        except Exception as error:  # noqa: BLE001 - answered as by the application
            self.set_exception(error)
            return
        metrics = self._direct.metrics
        metrics.operations[self.operation].observe(time.perf_counter() - self._started)
        metrics.answered(self.method, ROUTE, status)
        self._send(response)

    def set_exception(self, error: BaseException, /) -> None:
        """Send the response to a failure."""
        # The request's ID must not remain in the context of the task that delivers the results of all requests.
        response = contextvars.Context().run(self._fail, error)
        self._send(response)

    def _render(self, result: Any) -> tuple[int, bytes]:
        """Return the status and the bytes of the response. Raise NotFoundError."""
        raise NotImplementedError

    def _fail(self, error: BaseException) -> bytes:
        direct = self._direct
        failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
        reply = failure_reply(failure, method=self.method, route=ROUTE, metrics=direct.metrics)
        direct.metrics.answered(self.method, ROUTE, reply.status)
        return reply.encode(self._connection.server_state.default_headers, close=not self.keep_alive)

    def _send(self, response: bytes) -> None:
        self.response_complete = True
        if self.disconnected:
            return
        connection = self._connection
        connection.transport.write(response)
        if not self.keep_alive:
            connection.transport.close()
        connection.on_response_complete()


class _Get(_Pending):
    __slots__ = ()
    method = "GET"
    operation = "get"

    def _render(self, result: Entry | None) -> tuple[int, bytes]:
        if result is None:
            raise NotFoundError("there is no such entry")
        body = entry_whole(result)
        return 200, self._direct.respond(self._connection, 200, result, body, keep_alive=self.keep_alive)


class _Put(_Pending):
    __slots__ = ()
    method = "PUT"
    operation = "put"

    def _render(self, result: tuple[Entry, bool]) -> tuple[int, bytes]:
        entry, created = result
        status = 201 if created else 200
        body = entry_head(entry)
        return status, self._direct.respond(self._connection, status, entry, body, keep_alive=self.keep_alive)


class _Delete(_Pending):
    __slots__ = ()
    method = "DELETE"
    operation = "delete"

    def _render(self, result: bool) -> tuple[int, bytes]:  # noqa: FBT001 - the store's result
        if not result:
            raise NotFoundError("there is no such entry")
        close = b"" if self.keep_alive else b"connection: close\r\n"
        fields = self._direct.default_fields(self._connection.server_state)
        return 204, b"%b%b%b\r\n" % (STATUS_LINE[204], fields, close)
