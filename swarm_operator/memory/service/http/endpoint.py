"""Endpoints: an HTTP operation and the function that carries it out, which gets a call and returns an answer."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson
from starlette.types import Receive, Scope

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.slots import Slots
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.access.rights import Credential
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
from swarm_operator.memory.service.errors import NotFoundError
from swarm_operator.memory.service.http.operation import Operation
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.swarm import Record, RecordPage, Swarm

_DECIMAL: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{0,19})?([eE][+-]?[0-9]{1,3})?")
_TRUE_FALSE: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Context:
    """What calls share.

    Attributes:
        settings: of the service.
        metrics: of the service.
        bodies: reads request bodies.
        watches: slots of watches, of all protocols.
        exports: slots of exports.
        imports: slots of imports.
        backups: slots of backups.
    """

    settings: ServiceSettings
    metrics: ServiceMetrics
    bodies: BodyReader
    watches: Slots
    exports: Slots
    imports: Slots
    backups: Slots


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an endpoint, authenticated.

    Attributes:
        operation: the operation that was found for it.
        parameters: the decoded values of its path's parameters.
        headers: by lower-case name.
        body: complete; empty for an operation without a body, or with one that is a stream.
        store: the store, which checks the caller's permissions.
        credential: of the caller.
        context: what calls share.
        scope: the ASGI scope.
        receive: the ASGI receive function.
    """

    operation: Operation
    parameters: tuple[str, ...]
    headers: Mapping[bytes, bytes]
    body: bytes
    store: Store
    credential: Credential
    context: Context
    scope: Scope
    receive: Receive

    @property
    def id(self) -> str:
        """Return the value of `{id}`."""
        return self.parameters[0]

    @property
    def swarm(self) -> Swarm:
        """Return the records of the swarm, in the caller's store."""
        return Swarm(self.store)

    def query(self) -> dict[str, str]:
        """Return the query's parameters. Raise InvalidInputError."""
        return parse_query(self.scope["query_string"], self.operation.parameters)

    def query_lists(self) -> dict[str, list[str]]:
        """Return the query's parameters, each with all of its values. Raise InvalidInputError."""
        operation = self.operation
        return parse_query_lists(self.scope["query_string"], operation.parameters, repeated=operation.repeated)

    def document(self) -> dict[str, Any]:
        """Return the body, a JSON object. Raise InvalidInputError."""
        self.query()
        document = strict_json.parse_document("body", self.body) if self.body else None
        if type(document) is not dict:
            raise InvalidInputError("body", "a JSON object")
        return document

    def members(self) -> dict[str, Any]:
        """Return the body, an object with the operation's members; {} without a body. Raise InvalidInputError."""
        if not self.body:
            self.query()
            document: dict[str, Any] = {}
        else:
            document = self.document()
        check_members("body", document, frozenset(self.operation.members))
        for name in self.operation.required:
            if name not in document:
                raise InvalidInputError(name, "given")
        return document

    def page(self, query: dict[str, str], prefix: str) -> dict[str, Any]:
        """Return the arguments `after` and `limit` of a list. Raise InvalidInputError."""
        after = cursors.decode(query.get("cursor"))
        if after is not None and not after.startswith(prefix):
            raise InvalidInputError("cursor", "used with the list that it came from")
        return {"after": after, "limit": cursors.page_size(query)}

    def stream(self) -> AsyncIterator[bytes]:
        """Return the body in the pieces in which it arrives."""
        return self.context.bodies.stream(self.headers, self.receive)


Answer: TypeAlias = Reply | Stream | Forward
Handler: TypeAlias = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An operation and the function that carries it out; it raises RequestError and MemoryStoreError."""

    operation: Operation
    handler: Handler


def boolean(query: Mapping[str, str], name: str) -> bool | None:
    """Return a parameter that is true or false; None if it is missing. Raise InvalidInputError."""
    if name not in query:
        return None
    if query[name] not in _TRUE_FALSE:
        raise InvalidInputError(name, "true or false")
    return _TRUE_FALSE[query[name]]


def decimal(query: Mapping[str, str], name: str, default: float) -> float:
    """Return a parameter that is a number; nan, which every check refuses, if it is not one."""
    text = query.get(name)
    if text is None:
        return default
    return float(text) if _DECIMAL.fullmatch(text) else float("nan")


def integer(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a parameter that is an integer; -1, which every check refuses, if it is not one."""
    text = query.get(name)
    if text is None:
        return default
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1


def record_reply(record: Record) -> Reply:
    """Return a record that was written, with its version as ETag; 201 if it is new."""
    return Reply(201 if record.created else 200, orjson.dumps(record.document), (JSON, etag(record.version)))


def found_reply(record: Record, call: Call) -> Reply:
    """Return a record that was read; 304 if the caller has this version."""
    if if_none_match(call.headers.get(b"if-none-match"), record.version):
        return Reply(304, b"", (etag(record.version),))
    return record_reply(record)


def page_reply(name: str, page: RecordPage) -> Reply:
    """Return a page of records."""
    records = [record.document for record in page.records]
    return json_reply({name: records, "next_cursor": cursors.encode(page.next_key)})


def json_reply(document: Any) -> Reply:
    """Return a JSON document."""
    return Reply(200, orjson.dumps(document), (JSON,))


def deleted(done: bool, kind: str) -> Reply:  # noqa: FBT001 - what the store answered
    """Return the answer to a deletion. Raise NotFoundError."""
    if not done:
        raise NotFoundError(f"there is no such {kind}")
    return Reply(204)
