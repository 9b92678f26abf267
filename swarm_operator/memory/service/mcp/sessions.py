"""Sessions of MCP clients: each token has a share, and sessions of disconnected clients end.

The package `mcp` serves sessions, but it counts only their total number and does not report their ends. So this module
tracks the requests and ends sessions like a client, by a DELETE.

A session ends with the permissions of the token that opened it. After a replacement of its token, a client must open
another session, so the former token's streams receive nothing more. A renewed token of the same principal, such as a
pod's token, extends the session if it is used while the former token is valid.

The package delivers a response by the ID of its request. So a request is refused if another request of the session uses
its ID, as a number or as text.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final

import orjson
from mcp.server.streamable_http import GET_STREAM_KEY
from mcp_types import INVALID_REQUEST
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.types import Message, Receive, Scope, Send

from swarm_operator.memory.service.access.rights import Credential
from swarm_operator.memory.service.quotas import Quota

_SESSION: Final = b"mcp-session-id"
_VERSION: Final = b"mcp-protocol-version"
_LOST_SECONDS: Final = 300.0
"""Seconds without a request after which a session ends, after it was opened or its stream was closed. An active client
sends a request or opens the stream again within seconds."""


class _Session:
    def __init__(self, credential: Credential, scope: Scope, number: bytes) -> None:
        self.credential = credential
        self.id = number.decode("latin-1")
        self.requests = 1
        self.unanswered: set[str] = set()
        """IDs of the client's requests without a response, in the form that the package compares."""
        self.timer: asyncio.TimerHandle | None = None
        self.ending: Scope = {
            "type": "http",
            "method": "DELETE",
            "path": scope["path"],
            "query_string": b"",
            "headers": [(_SESSION, number)],
            "user": scope["user"],
        }


class Sessions:
    """Sessions that are open.

    Args:
        handle: ASGI application of the package, which serves the sessions.
        quota: limits the sessions.
        idle: seconds without a request or an open stream after which a session ends.
    """

    def __init__(
        self, handle: Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]], *, quota: Quota, idle: float
    ) -> None:
        self._handle = handle
        self._quota = quota
        self._idle = idle
        self._open: dict[str, _Session] = {}
        """Sessions by ID, in the order of their last use."""
        self._ending: set[asyncio.Task[None]] = set()

    async def serve(self, credential: Credential, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Handle a request, of a session or not.

        Raises:
            OverloadedError: the request opens a session, but the caller's share is used up and none of its sessions is
                idle.
        """
        version, number = _header(scope, _VERSION), _header(scope, _SESSION)
        if version is not None and version.decode("latin-1") not in HANDSHAKE_PROTOCOL_VERSIONS:
            await self._handle(scope, receive, send)  # the client's version has no sessions
        elif number is None:
            await self._start(credential, scope, receive, send)
        else:
            await self._continue(credential, number.decode("latin-1"), scope, body, receive, send)

    def end(self, number: str) -> asyncio.Task[None] | None:
        """End a session and its streams. Return the task that ends them, or None if the session does not exist."""
        session = self._open.get(number)
        if session is None:
            return None
        self._forget(session)
        task = asyncio.create_task(self._handle(session.ending, _receive, _send), name="memory-mcp-session-end")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task

    async def stop(self) -> None:
        """Forget all sessions, because the package ends them. Wait for running tasks that end sessions."""
        for session in list(self._open.values()):
            self._forget(session)
        if self._ending:
            await asyncio.wait(self._ending)

    async def _start(self, credential: Credential, scope: Scope, receive: Receive, send: Send) -> None:
        holder = credential.principal
        if not self._quota.has_room(holder):
            self._end_oldest(holder.name)
        self._quota.take(holder)
        opened: _Session | None = None

        async def noticing(message: Message) -> None:
            nonlocal opened
            if message["type"] == "http.response.start" and message["status"] < 400:
                number = dict(message["headers"]).get(_SESSION)
                if number is not None:
                    # Before the client receives the ID and sends its next request.
                    opened = _Session(credential, scope, number)
                    self._open[opened.id] = opened
            await send(message)

        try:
            await self._handle(scope, receive, noticing)
        finally:
            if opened is None:
                self._quota.give_back(holder)
            else:
                self._leave(opened, self._lost)

    async def _continue(
        self, credential: Credential, number: str, scope: Scope, body: bytes, receive: Receive, send: Send
    ) -> None:
        session = self._open.get(number)
        if session is not None and not session.credential.still_valid():
            ending = self.end(number)
            assert ending is not None  # noqa: S101 - for mypy: it is open
            await asyncio.wait([ending])
            session = None
        if session is None or session.credential.principal.name != credential.principal.name:
            await self._handle(scope, receive, send)  # the package responds that the session does not exist
            return
        known = session.credential
        if credential.expires_at > known.expires_at and credential.principal == known.principal:
            session.credential = credential
        request = _request_id(body)
        if request is not None and (str(request) in session.unanswered or request == GET_STREAM_KEY):
            await _refuse_id(request, send)
            return
        status = 0

        async def noticing(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._enter(session)
        if request is not None:
            session.unanswered.add(str(request))
        try:
            await self._handle(scope, receive, noticing)
        finally:
            session.unanswered.discard(str(request))
            if status == 404 or (scope["method"] == "DELETE" and status == 200):
                self._forget(session)
            self._leave(session, self._lost if scope["method"] == "GET" else self._idle)

    @property
    def _lost(self) -> float:
        return min(self._idle, _LOST_SECONDS)

    def _enter(self, session: _Session) -> None:
        session.requests += 1
        if session.timer is not None:
            session.timer.cancel()
            session.timer = None
        self._open[session.id] = self._open.pop(session.id)

    def _leave(self, session: _Session, seconds: float) -> None:
        session.requests -= 1
        if not session.requests and session.id in self._open:
            session.timer = asyncio.get_running_loop().call_later(seconds, self.end, session.id)

    def _end_oldest(self, holder: str) -> None:
        """End the session of a holder that has been idle longest, if one is idle."""
        for session in self._open.values():
            if session.credential.principal.name == holder and not session.requests:
                self.end(session.id)
                return

    def _forget(self, session: _Session) -> None:
        if self._open.pop(session.id, None) is not None:
            self._quota.give_back(session.credential.principal)
        if session.timer is not None:
            session.timer.cancel()


def _header(scope: Scope, name: bytes) -> bytes | None:
    """Return the first value of a header, which the package reads."""
    return next((value for each, value in scope["headers"] if each == name), None)


def _request_id(body: bytes) -> str | int | None:
    """Return the ID of the JSON-RPC request in a body, or None if the body is something else."""
    try:
        message = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = message.get("id") if isinstance(message, dict) and "method" in message else None
    return found if isinstance(found, str | int) else None


async def _refuse_id(request: str | int, send: Send) -> None:
    """Refuse a request: the package would respond to only one of two requests with this ID."""
    error = {"code": INVALID_REQUEST, "message": "id: in use by a request without a response; use another id"}
    body = orjson.dumps({"jsonrpc": "2.0", "id": request, "error": error})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 400, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_: Message) -> None:
    """Discard the answer."""
