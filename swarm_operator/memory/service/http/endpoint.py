"""Endpoints of the HTTP API: an operation and its handler, which maps a call to a response."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson
from starlette.types import Receive, Scope

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.threads import run_on_thread
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.access.rights import AuthorizedStore, Credential
from swarm_operator.memory.service.asgi import (
    JSON,
    BodyReader,
    Forward,
    Reply,
    Stream,
    check_members,
    etag,
    if_none_match,
    parse_query,
    parse_query_lists,
)
from swarm_operator.memory.service.cursors import Cursors
from swarm_operator.memory.service.errors import NotFoundError
from swarm_operator.memory.service.http.operation import Operation
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.swarm import Record, RecordPage, Swarm
from swarm_operator.memory.transfer.backups.jobs import BackupJobs
from swarm_operator.memory.transfer.restores.jobs import RestoreJobs

_DECIMAL: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{0,19})?([eE][+-]?[0-9]{1,3})?")
_TRUE_FALSE: Final = {"true": True, "false": False}
_UNPARSED: Final = object()


@dataclass(frozen=True, slots=True)
class Context:
    """Objects shared by all calls.

    Attributes:
        settings: settings of the service.
        metrics: metrics of the service.
        bodies: reader of request bodies.
        quotas: quotas of principals, shared by all protocols.
        restores: restores into the service's store.
        backups: backups at the service's destination; None without a destination.
    """

    settings: ServiceSettings
    metrics: ServiceMetrics
    bodies: BodyReader
    quotas: Quotas
    restores: RestoreJobs
    backups: BackupJobs | None = None


@dataclass(slots=True)
class Call:
    """Authenticated request to an endpoint.

    Attributes:
        operation: operation that matches the request.
        parameters: decoded values of the path parameters.
        headers: request headers by lower-case name.
        body: complete body; empty if the operation has no body or a streamed body.
        store: store that checks the caller's permissions.
        credential: credential of the caller.
        context: objects shared by all calls.
        scope: ASGI scope.
        receive: ASGI receive function.
        parsed: the body as parsed by `parse`.
    """

    operation: Operation
    parameters: Sequence[str]
    headers: Mapping[bytes, bytes]
    body: bytes
    store: AuthorizedStore
    credential: Credential
    context: Context
    scope: Scope
    receive: Receive
    parsed: Any = _UNPARSED

    @property
    def id(self) -> str:
        """Return the value of the path parameter `{id}`."""
        return self.parameters[0]

    @property
    def swarm(self) -> Swarm:
        """Return the swarm's records in the caller's store."""
        return Swarm(self.store)

    def query(self) -> dict[str, str]:
        """Return the query parameters. Raise InvalidInputError."""
        return parse_query(self.scope["query_string"], self.operation.parameters)

    def query_lists(self) -> dict[str, list[str]]:
        """Return the query parameters with all values of each parameter. Raise InvalidInputError."""
        operation = self.operation
        return parse_query_lists(self.scope["query_string"], operation.parameters, repeated=operation.repeated)

    async def parse(self) -> None:
        """Parse a large body on a thread, for `document` and `value`. Raise InvalidInputError."""
        self.parsed = await run_on_thread(strict_json.parse_document, "body", self.body)

    def document(self) -> dict[str, Any]:
        """Return the body as a JSON object. Raise InvalidInputError."""
        self.query()
        document = self._json() if self.body else None
        if type(document) is not dict:
            raise InvalidInputError("body", "a JSON object")
        return document

    def value(self) -> Any:
        """Return the body, which is any JSON value. Raise InvalidInputError."""
        self.query()
        return self._json()

    def members(self) -> dict[str, Any]:
        """Return the body as an object with the operation's members; {} without a body. Raise InvalidInputError."""
        if not self.body:
            self.query()
            document: dict[str, Any] = {}
        else:
            document = self.document()
        check_members("body", document, frozenset(self.operation.members))
        for name in self.operation.required:
            if name not in document:
                raise InvalidInputError(name, "required")
        return document

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        """Return the arguments `after` and `limit` for a list of records. Raise InvalidInputError."""
        return {"after": self._cursors(query).decode(query.get("cursor")), "limit": cursors.page_size(query)}

    def page_reply(self, name: str, page: RecordPage, query: dict[str, str]) -> Reply:
        """Return the response with a page of records."""
        records = [record.document for record in page.records]
        return json_reply({name: records, "next_cursor": self._cursors(query).encode(page.next_key)})

    def _json(self) -> Any:
        return strict_json.parse_document("body", self.body) if self.parsed is _UNPARSED else self.parsed

    def _cursors(self, query: dict[str, str]) -> Cursors:
        return cursors.of_records(self.credential, self.operation.name, query)

    def stream(self) -> AsyncIterator[bytes]:
        """Return the parts of the body as they arrive."""
        return self.context.bodies.stream(self.headers, self.receive)


Answer: TypeAlias = Reply | Stream | Forward
Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Operation and its handler. The handler may raise RequestError and MemoryStoreError.

    Attributes:
        operation: the operation.
        handler: the handler.
        parses: whether the handler itself parses the body, on a thread if the body is large.
    """

    operation: Operation
    handler: Handler
    parses: bool = False


def boolean(query: Mapping[str, str], name: str) -> bool | None:
    """Return a boolean parameter, or None if the parameter is missing. Raise InvalidInputError."""
    if name not in query:
        return None
    if query[name] not in _TRUE_FALSE:
        raise InvalidInputError(name, "true or false")
    return _TRUE_FALSE[query[name]]


def decimal(query: Mapping[str, str], name: str, default: float) -> float:
    """Return a numeric parameter; nan, which every check rejects, if the text is not a number."""
    text = query.get(name)
    if text is None:
        return default
    return float(text) if _DECIMAL.fullmatch(text) else float("nan")


def integer(query: Mapping[str, str], name: str, default: int) -> int:
    """Return an integer parameter; -1, which every check rejects, if the text is not an integer."""
    text = query.get(name)
    if text is None:
        return default
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1


def record_reply(record: Record) -> Reply:
    """Return the response with a written record and its version as ETag; 201 if the record is new."""
    return Reply(201 if record.created else 200, orjson.dumps(record.document), (JSON, etag(record.version)))


def found_reply(record: Record, call: Call) -> Reply:
    """Return the response with a record that was read; 304 if the caller has this version."""
    if if_none_match(call.headers.get(b"if-none-match"), record.version):
        return Reply(304, b"", (etag(record.version),))
    return record_reply(record)


def json_reply(document: Any) -> Reply:
    """Return the response with a JSON document."""
    return Reply(200, orjson.dumps(document), (JSON,))


def deleted(done: bool, kind: str) -> Reply:  # noqa: FBT001 - the store's result
    """Return the response to a deletion. Raise NotFoundError if nothing was deleted."""
    if not done:
        raise NotFoundError(f"there is no such {kind}")
    return Reply(204)
