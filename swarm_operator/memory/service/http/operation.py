"""What an HTTP operation is, in words that the OpenAPI document is made of.

The code reads its requests by the same words: which query parameters there may be and which members a body may have are
said here once. What a parameter's value may be is decided by the engine, in bytes; the schemas say it as well as JSON
Schema can.
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
    """A shape of the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to an operation that succeeded.

    Attributes:
        description: in a few words.
        schema: of the body; None: it has none.
        media_type: of the body.
        versioned: it has an ETag, the entry's version.
    """

    description: str
    schema: Schema | None = None
    media_type: str = JSON_TYPE
    versioned: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation.

    Attributes:
        method: of HTTP.
        path: with its parameters in braces.
        name: in the metrics, and the document's operationId.
        summary: a sentence.
        answers: by status.
        query: the query's parameters. A schema of type array is a parameter that may be repeated.
        needed: those that must be given.
        headers: the request's that mean something here.
        body: of the request, JSON unless `media_type` says otherwise; None: it has none.
        body_needed: whether the body may be left out.
        media_type: of the body.
        conflicts: further statuses of answers that refuse: 404, 409, 410, 412.
        admin: it takes the admin token.
        open: it takes no token.
        writes: refuse read-only tokens before the body is read; None: unless the method is GET.
        streams: the request or the answer is a stream: the handler reads the body, and there is no HEAD.
        timed: its duration is measured.
        subject: of the error for a method that the path does not have: "a batch"; "": the path.
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
        """The names of the query's parameters."""
        return tuple(self.query)

    @property
    def repeated(self) -> frozenset[str]:
        """Those that may be given several times."""
        return frozenset(name for name, schema in self.query.items() if schema.get("type") == "array")

    @property
    def members(self) -> tuple[str, ...]:
        """The members that the body may have."""
        return tuple((self.body or {}).get("properties", ()))

    @property
    def required(self) -> tuple[str, ...]:
        """Those that it must have."""
        return tuple((self.body or {}).get("required", ()))


def page_of(name: str, shape: Schema) -> Schema:
    """A page of a list."""
    return object_of({name: {"type": "array", "items": shape}, "next_cursor": NEXT_CURSOR}, (name, "next_cursor"))
