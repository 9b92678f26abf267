"""Descriptions of HTTP operations, the source of the OpenAPI document.

Request parsing uses the same descriptions for the allowed query parameters and body members. The store validates the
values, with limits in bytes; the schemas describe these limits as closely as JSON Schema can.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from swarm_operator.memory.core.entry import MAX_PAGE_SIZE
from swarm_operator.memory.service.json_schema import Schema, nullable, object_of, text, whole

JSON_TYPE: Final = "application/json"
NDJSON: Final = "application/x-ndjson"
EVENTS: Final = "text/event-stream"

LIMIT: Final = whole("Entries of a page at most.", least=1, most=MAX_PAGE_SIZE, default=100)
CURSOR: Final = text(
    "The `next_cursor` of the page before, with the same other parameters.", pattern="^[A-Za-z0-9_-]+$"
)
NEXT_CURSOR: Final = nullable(text("Goes into `cursor` for the next page; null: this was the last."))
SWITCH: Final[Schema] = {"type": "boolean", "default": False}


def reference(name: str) -> Schema:
    """Return a reference to a schema in the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


@dataclass(frozen=True, slots=True)
class Answer:
    """Response of a successful operation.

    Attributes:
        description: short description.
        schema: schema of the body; None: no body.
        media_type: media type of the body.
        versioned: whether the response has an ETag with the entry's version.
    """

    description: str
    schema: Schema | None = None
    media_type: str = JSON_TYPE
    versioned: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """HTTP operation.

    Attributes:
        method: HTTP method.
        path: path with its parameters in braces.
        name: name in the metrics and operationId of the document.
        summary: summary, one sentence.
        answers: responses by status.
        query: query parameters; a schema of type array makes a parameter repeatable.
        needed: names of the required query parameters.
        headers: request headers that the operation evaluates.
        body: schema of the request body, JSON unless `media_type` differs; None: no body.
        body_needed: whether the body is required.
        media_type: media type of the request body.
        conflicts: further error statuses: 404, 409, 410, 412.
        admin: whether the operation requires the admin token.
        open: whether the operation requires no token.
        writes: reject read-only tokens before the body is read; None: unless the method is GET.
        streams: the request or the response is a stream: the handler reads the body, and HEAD is not supported.
        timed: whether the duration is measured.
        subject: subject of the error for an unsupported method, such as "a batch"; "": the path.
    """

    method: str
    path: str
    name: str
    summary: str
    answers: Mapping[int, Answer]
    query: Mapping[str, Schema] = field(default_factory=dict)
    needed: tuple[str, ...] = ()
    headers: Mapping[str, Schema] = field(default_factory=dict)
    body: Schema | None = None
    body_needed: bool = True
    media_type: str = JSON_TYPE
    conflicts: tuple[int, ...] = ()
    admin: bool = False
    open: bool = False
    writes: bool | None = None
    streams: bool = False
    timed: bool = True
    subject: str = ""

    @property
    def parameters(self) -> tuple[str, ...]:
        """Return the names of the query parameters."""
        return tuple(self.query)

    @property
    def repeated(self) -> frozenset[str]:
        """Return the names of the query parameters that may be repeated."""
        return frozenset(name for name, schema in self.query.items() if schema.get("type") == "array")

    @property
    def members(self) -> tuple[str, ...]:
        """Return the names of the allowed members of the body."""
        return tuple((self.body or {}).get("properties", ()))

    @property
    def required(self) -> tuple[str, ...]:
        """Return the names of the required members of the body."""
        return tuple((self.body or {}).get("required", ()))


def page_of(name: str, shape: Schema) -> Schema:
    """Return the schema of a page of a list."""
    return object_of({name: {"type": "array", "items": shape}, "next_cursor": NEXT_CURSOR}, (name, "next_cursor"))
