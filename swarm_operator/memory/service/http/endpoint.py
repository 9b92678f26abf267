"""What an endpoint is: an operation, and a function from a call to an answer."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.asgi import (
    JSON,
    Reply,
    check_members,
    etag,
    if_none_match,
    parse_query,
    parse_query_lists,
)
from swarm_operator.memory.service.errors import NotFoundError
from swarm_operator.memory.service.http.operation import Operation
from swarm_operator.memory.swarm import Record, RecordPage, Swarm

_DECIMAL: Final = re.compile(r"[0-9]{1,19}(\.[0-9]{0,19})?([eE][+-]?[0-9]{1,3})?")
_TRUE_FALSE: Final = {"true": True, "false": False}


@dataclass(frozen=True, slots=True)
class Call:
    """A request to an endpoint.

    Attributes:
        operation: what it says that it may be asked.
        id: the `{id}` of its path; "" when it has none.
        query_string: as it was sent.
        headers: by lower-case name.
        body: complete; empty for a method without one.
    """

    operation: Operation
    id: str
    query_string: bytes
    headers: Mapping[bytes, bytes]
    body: bytes

    def query(self) -> dict[str, str]:
        """The query's parameters. Raises InvalidInputError."""
        return parse_query(self.query_string, self.operation.parameters)

    def query_lists(self) -> dict[str, list[str]]:
        """The same, with those that may be repeated. Raises InvalidInputError."""
        operation = self.operation
        return parse_query_lists(self.query_string, operation.parameters, repeated=operation.repeated)

    def document(self) -> dict[str, Any]:
        """The body: a JSON object. Raises InvalidInputError."""
        self.query()
        document = strict_json.parse_document("body", self.body) if self.body else None
        if type(document) is not dict:
            raise InvalidInputError("body", "a JSON object")
        return document

    def members(self) -> dict[str, Any]:
        """The body: a JSON object with the operation's members; no body counts as {}. Raises InvalidInputError."""
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
        """The arguments `after` and `limit` of a list. Raises InvalidInputError."""
        after = cursors.decode(query.get("cursor"))
        if after is not None and not after.startswith(prefix):
            raise InvalidInputError("cursor", "used with the list that it came from")
        return {"after": after, "limit": cursors.page_size(query)}


Handler: TypeAlias = "Callable[[Swarm, Call], Awaitable[Reply]]"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint below /v1.

    Attributes:
        operation: what it does.
        handler: what answers.
    """

    operation: Operation
    handler: Handler


def switch(query: dict[str, str], name: str) -> bool | None:
    """A parameter that is true or false; None when it isn't given. Raises InvalidInputError."""
    if name not in query:
        return None
    if query[name] not in _TRUE_FALSE:
        raise InvalidInputError(name, "true or false")
    return _TRUE_FALSE[query[name]]


def decimal(query: dict[str, str], name: str, default: float) -> float:
    """A parameter that is a number; nan, which every check refuses, when it is none."""
    text = query.get(name)
    if text is None:
        return default
    return float(text) if _DECIMAL.fullmatch(text) else float("nan")


def whole_number(query: dict[str, str], name: str, default: int) -> int:
    """A parameter that is a whole number; -1, which every check refuses, when it is none."""
    text = query.get(name)
    if text is None:
        return default
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else -1


def record_reply(record: Record) -> Reply:
    """A record that was written: its members, its version as ETag; 201 when it is new."""
    return Reply(201 if record.created else 200, orjson.dumps(record.document), (JSON, etag(record.version)))


def found_reply(record: Record, call: Call) -> Reply:
    """A record that was read; 304 when the caller has it already."""
    if if_none_match(call.headers.get(b"if-none-match"), record.version):
        return Reply(304, b"", (etag(record.version),))
    return record_reply(record)


def page_reply(name: str, page: RecordPage) -> Reply:
    """A page of records."""
    records = [record.document for record in page.records]
    return json_reply({name: records, "next_cursor": cursors.encode(page.next_key)})


def json_reply(document: Any) -> Reply:
    """A document."""
    return Reply(200, orjson.dumps(document), (JSON,))


def deleted(done: bool, kind: str) -> Reply:  # noqa: FBT001 - what the engine said
    """The answer to a deletion. Raises NotFoundError."""
    if not done:
        raise NotFoundError(f"there is no such {kind}")
    return Reply(204)
