"""Rows of the table of record operations.

HTTP endpoints, the OpenAPI document, MCP tools, methods of the client and the test of rights are derived from the rows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from swarm_operator.memory.core.store import Store
from swarm_operator.memory.service.json_schema import Schema
from swarm_operator.memory.swarm.record import Kind


class Body(Enum):
    """Input of an operation, apart from the parameter in its path."""

    QUERY = auto()
    """The fields, as query parameters."""
    MEMBERS = auto()
    """The fields and nothing else, as a JSON object."""
    DOCUMENT = auto()
    """A JSON object with the fields and any other members, passed to the method as one argument."""
    VALUE = auto()
    """Any JSON value, passed to the method as one argument."""


class Result(Enum):
    """Result of a record's method, which determines the shape of the response."""

    RECORD = auto()
    """A record."""
    FOUND = auto()
    """A record whose version shows whether it has changed: HTTP supports conditional reads."""
    MAYBE = auto()
    """A record or None."""
    SENT = auto()
    """A record; a tool returns only its ID."""
    PAGE = auto()
    """A page of records. The method takes `after` and `limit`."""
    MESSAGES = auto()
    """A page of messages. The method takes `since` and `limit`."""
    BEST = auto()
    """Records with their scores."""
    DELETED = auto()
    """Whether the record existed."""
    CREATED = auto()
    """Whether the value is new."""
    REPORT = auto()
    """A JSON object that is not a record."""


@dataclass(frozen=True, slots=True)
class Field:
    """Input of an operation.

    Attributes:
        name: name over HTTP, and in the errors of the method.
        schema: schema over HTTP.
        tool: schema of the tool's argument, in a short form for a model; None: the tool has no such argument.
        required: whether a request must have the field.
        parameter: name in Python: of the method's parameter and of the client's; "": `name`.
        argument: name of the tool's argument; "": `name`.
        positional: whether the client's method takes the argument by position.
    """

    name: str
    schema: Schema
    tool: Schema | None = None
    required: bool = False
    parameter: str = ""
    argument: str = ""
    positional: bool = False

    @property
    def python_name(self) -> str:
        """Return the name of the parameter in Python."""
        return self.parameter or self.name

    @property
    def tool_name(self) -> str:
        """Return the name of the tool's argument."""
        return self.argument or self.name


@dataclass(frozen=True, slots=True)
class ToolText:
    """Attributes of the tool of an operation.

    Attributes:
        description: description for a model.
        name: name of the tool; "": made from the operation's.
        arguments: order of the arguments, if it differs from the fields; other arguments follow.
    """

    description: str
    name: str = ""
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RecordOperation:
    """Operation on records: a row of the table.

    Attributes:
        name: name in the metrics and operationId of the OpenAPI document.
        method: HTTP method. GET only reads; only a repeated POST may have a further effect.
        path: HTTP path; a parameter in braces is the method's first argument.
        call: method of the records. The client's method has the first paragraph of its docstring.
        summary: summary in the OpenAPI document, one sentence.
        fields: input.
        body: how the input is sent.
        result: shape of the response.
        report: schema of a REPORT.
        answer: description of the response; "": derived from the shape.
        statuses: HTTP statuses of success.
        conflicts: further HTTP statuses: 404, 409.
        body_needed: whether the HTTP body is required.
        idempotent: whether a repeated call with the same input has no further effect; None: true except for POST. A
            pair: true if this field has this value.
        checks_writer: whether a read-only token is refused before the input is checked.
        tool: the tool; None: the operation has no tool.
        client: name of the client's method; None: the name of `call`; "": the client's method is not derived from the
            row.
    """

    name: str
    method: str
    path: str
    call: Callable[..., Awaitable[Any]]
    summary: str
    fields: tuple[Field, ...] = ()
    body: Body = Body.MEMBERS
    result: Result = Result.RECORD
    report: Schema | None = None
    answer: str = ""
    statuses: tuple[int, ...] = (200,)
    conflicts: tuple[int, ...] = ()
    body_needed: bool = True
    idempotent: bool | tuple[str, str] | None = None
    checks_writer: bool = True
    tool: ToolText | None = None
    client: str | None = None

    @property
    def repeatable(self) -> bool:
        """Return whether every repeated call with the same input has no further effect."""
        return self.method != "POST" if self.idempotent is None else self.idempotent is True

    @property
    def tool_name(self) -> str:
        """Return the name of the tool."""
        return (self.tool and self.tool.name) or self.name.replace("-", "_")

    @property
    def client_name(self) -> str:
        """Return the name of the client's method; "" if it is not derived from the row."""
        name: str = self.call.__name__
        return name if self.client is None else self.client


@dataclass(frozen=True, slots=True)
class Resource:
    """Records of one kind, with the operations on them.

    Attributes:
        namespace: namespace of the records; None: the operations read several.
        records: creates the object whose methods the operations call.
        noun: name of one record in responses; the plural is the name in a tool's page.
        plural: name of the records in HTTP paths and pages.
        schema: name of the record's schema in the OpenAPI document; "": no schema.
        shape: schema of a record in responses.
        operations: the rows, in the order of the OpenAPI document.
        kind: the kind of record; None: the operations return no records.
        tools: order of the tools; other tools follow.
    """

    namespace: str | None
    records: Callable[[Store], Any]
    noun: str
    plural: str
    operations: tuple[RecordOperation, ...]
    schema: str = ""
    shape: Schema | None = None
    kind: Kind | None = None
    tools: tuple[str, ...] = ()


def listing(
    name: str,
    path: str,
    call: Callable[..., Awaitable[Any]],
    fields: tuple[Field, ...],
    *,
    plural: str,
    tool: ToolText | None = None,
) -> RecordOperation:
    """Return the row of an operation that lists records by filters."""
    summary = f"List {plural}. A page of a filtered list may be short, or empty, and not the last."
    return RecordOperation(name, "GET", path, call, summary, fields, Body.QUERY, Result.PAGE, tool=tool)


def reading(
    name: str, path: str, call: Callable[..., Awaitable[Any]], *, noun: str, tool: ToolText | None = None
) -> RecordOperation:
    """Return the row of an operation that reads one record."""
    return RecordOperation(
        name, "GET", path, call, f"Get a {noun}.", body=Body.QUERY, result=Result.FOUND, answer=f"The {noun}.",
        conflicts=(404,), tool=tool,
    )  # fmt: skip


def deletion(
    name: str, path: str, call: Callable[..., Awaitable[Any]], *, noun: str, tool: ToolText | None = None
) -> RecordOperation:
    """Return the row of an operation that deletes one record."""
    return RecordOperation(
        name, "DELETE", path, call, f"Delete a {noun}.", body=Body.QUERY, result=Result.DELETED, answer="It is gone.",
        statuses=(204,), conflicts=(404,), tool=tool,
    )  # fmt: skip
