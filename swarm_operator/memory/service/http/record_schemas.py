"""Schemas and operation templates shared by the operations on records, for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from swarm_operator.memory.service.http.operation import CURSOR, LIMIT, Answer, Operation, page_of, reference
from swarm_operator.memory.service.json_schema import Schema, array, nullable, object_of, text
from swarm_operator.memory.swarm import fields

IDENTIFIER: Final = text("1 to 512 bytes without NUL.", most=fields.MAX_ID_BYTES, pattern="^[^\\u0000]+$")
WORD: Final = text("1 to 128 bytes without NUL.", most=fields.MAX_WORD_BYTES, pattern="^[^\\u0000]+$")
FILTER: Final[Schema] = {"type": "string"}
"""Schema of a filter: any string, since the value is only compared."""
MOMENT: Final = text("RFC 3339, UTC.", format="date-time")
AUTHOR: Final = nullable(text("Who wrote it last: the name of the token, or of the pod; null: unknown."))
_UNCHANGED: Final = Answer("The caller has it already.", versioned=True)


def words(description: str, *, least: int = 0, most: int = fields.MAX_ITEMS) -> Schema:
    """Return the schema of a list of words."""
    return array(WORD, description, least=least, most=most)


def record(description: str, properties: Mapping[str, Schema]) -> Schema:
    """Return the schema of a record in a response. Few members are required: older clients may have stored any."""
    members = {"id": {"type": "string"}, "updatedBy": AUTHOR, **properties}
    return object_of(members, ("id", "updatedBy"), closed=False, description=description)


def listing(path: str, name: str, plural: str, shape: str, query: Mapping[str, Schema]) -> Operation:
    """Return an operation that lists records by the query's filters."""
    answers = {200: Answer("A page, by id.", page_of(plural, reference(shape)))}
    return Operation(
        "GET",
        path,
        name,
        f"List {plural}. A page of a filtered list may be short, or empty, and not the last.",
        answers,
        query={**query, "limit": LIMIT, "cursor": CURSOR},
    )


def reading(path: str, name: str, kind: str, shape: str) -> Operation:
    """Return an operation that reads one record."""
    answers = {200: Answer(f"The {kind}.", reference(shape), versioned=True), 304: _UNCHANGED}
    return Operation(
        "GET", path, name, f"Get a {kind}.", answers, headers={"If-None-Match": {"type": "string"}}, conflicts=(404,)
    )


def deletion(path: str, name: str, kind: str) -> Operation:
    """Return an operation that deletes one record."""
    return Operation("DELETE", path, name, f"Delete a {kind}.", {204: Answer("It is gone.")}, conflicts=(404,))


def writing(method: str, path: str, name: str, summary: str, shape: str, body: Schema | None, **more: Any) -> Operation:
    """Return an operation that changes a record and returns the new record."""
    answer = Answer("The record as it is now.", reference(shape), versioned=True)
    answers = more.pop("answers", {200: answer})
    return Operation(method, path, name, summary, {**dict.fromkeys(answers, answer)}, body=body, **more)
