"""Endpoints of the operations on records, made from their table (see service.records)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.asgi import JSON, Reply
from swarm_operator.memory.service.http.endpoint import (
    Call,
    Endpoint,
    Handler,
    boolean,
    decimal,
    deleted,
    found_reply,
    integer,
    json_reply,
    record_reply,
)
from swarm_operator.memory.service.http.operation import (
    CURSOR,
    LIMIT,
    NEXT_CURSOR,
    Answer,
    Operation,
    page_of,
    reference,
)
from swarm_operator.memory.service.json_schema import Schema, array, object_of, whole
from swarm_operator.memory.service.records.operation import Body, Field, RecordOperation, Resource, Result
from swarm_operator.memory.service.records.table import RESOURCES
from swarm_operator.memory.swarm.messages import MessagePage
from swarm_operator.memory.swarm.patterns import BestPatterns

Query = dict[str, Any]

SUBJECT: Final = "this path"
_UNCHANGED: Final = Answer("The caller has it already.", versioned=True)
_PARSERS: Final[dict[str, Callable[[Query, str], Any]]] = {
    "boolean": boolean,
    "integer": lambda query, name: integer(query, name, 0),
    "number": lambda query, name: decimal(query, name, 0),
}
"""Parsers of query parameters by their type. Parameters of other types are passed as text."""
_PAGING: Final[dict[Result, dict[str, Schema]]] = {
    Result.PAGE: {"limit": LIMIT, "cursor": CURSOR},
    Result.MESSAGES: {"since": CURSOR, "limit": LIMIT},
}


def endpoint(resource: Resource, row: RecordOperation) -> Endpoint:
    """Return the endpoint of a row."""
    return Endpoint(_operation(resource, row), _handler(resource, row))


def _operation(resource: Resource, row: RecordOperation) -> Operation:
    """Return the HTTP operation of a row."""
    schemas = {field.name: field.schema for field in row.fields}
    required = tuple(field.name for field in row.fields if field.required)
    body = {
        Body.QUERY: None,
        Body.MEMBERS: object_of(schemas, required),
        Body.DOCUMENT: object_of(schemas, required, closed=False),
        Body.VALUE: row.fields[0].schema if row.fields else {},
    }[row.body]
    return Operation(
        row.method,
        row.path,
        row.name,
        row.summary,
        _answers(resource, row),
        query={**schemas, **_PAGING.get(row.result, {})} if row.body is Body.QUERY else {},
        needed=required if row.body is Body.QUERY else (),
        headers={"If-None-Match": {"type": "string"}} if row.result is Result.FOUND else {},
        body=body,
        body_needed=row.body_needed,
        conflicts=row.conflicts,
        writes=None if row.checks_writer else False,
        subject=SUBJECT,
    )


def _answers(resource: Resource, row: RecordOperation) -> dict[int, Answer]:
    """Return the responses of a row by status."""
    shape = reference(resource.schema)
    match row.result:
        case Result.FOUND:
            return {200: Answer(row.answer, shape, versioned=True), 304: _UNCHANGED}
        case Result.MAYBE:
            return {200: Answer(row.answer, shape, versioned=True), 204: Answer("There is none.")}
        case Result.PAGE:
            return {200: Answer("A page, by id.", page_of(resource.plural, shape))}
        case Result.MESSAGES:
            members = {"messages": array(shape), "cursor": NEXT_CURSOR, "more": {"type": "boolean"}}
        case Result.BEST:
            members = {resource.plural: array(shape), "considered": whole(), "partial": {"type": "boolean"}}
        case Result.DELETED:
            return dict.fromkeys(row.statuses, Answer(row.answer))
        case Result.CREATED:
            return dict.fromkeys(row.statuses, Answer(row.answer, {"type": "object"}))
        case Result.REPORT:
            return dict.fromkeys(row.statuses, Answer(row.answer, row.report))
        case _:
            answer = Answer(row.answer or "The record as it is now.", shape, versioned=True)
            return dict.fromkeys(row.statuses, answer)
    return {200: Answer(row.answer, object_of(members, tuple(members)))}


def _handler(resource: Resource, row: RecordOperation) -> Handler:
    """Return the handler of a row: it calls the method with the request's input."""

    async def handle(call: Call) -> Reply:
        arguments: list[Any] = [*call.parameters]
        named: dict[str, Any] = {}
        query: Query = {}
        if row.body is Body.QUERY:
            query = _query(call)
            named = {field.python_name: _value(field, query) for field in row.fields if field.name in query}
        elif row.body is Body.MEMBERS:
            members = call.members()
            named = {field.python_name: members[field.name] for field in row.fields if field.name in members}
        elif row.body is Body.DOCUMENT:
            arguments.append(call.document())
        else:
            arguments.append(call.value())
        if row.result is Result.PAGE:
            named |= call.page(query)
        elif row.result is Result.MESSAGES:
            named["since"] = cursors.of_messages(call.credential).decode(query.get("since"), "since")
            named["limit"] = cursors.page_size(query)
        return _reply(call, resource, row, await row.call(resource.records(call.store), *arguments, **named), query)

    return handle


def _query(call: Call) -> Query:
    """Return the query parameters, with a list for each repeatable parameter. Raise InvalidInputError."""
    repeated = call.operation.repeated
    query = {name: values if name in repeated else values[0] for name, values in call.query_lists().items()}
    for name in call.operation.needed:
        if name not in query:
            raise InvalidInputError(name, "required")
    return query


def _value(field: Field, query: Query) -> Any:
    parse = _PARSERS.get(field.schema.get("type", ""))
    return query[field.name] if parse is None else parse(query, field.name)


def _reply(call: Call, resource: Resource, row: RecordOperation, result: Any, query: Query) -> Reply:
    """Return the response for the result of a row's method. Raise NotFoundError if nothing was deleted."""
    match row.result:
        case Result.FOUND:
            return found_reply(result, call)
        case Result.PAGE:
            return call.page_reply(resource.plural, result, query)
        case Result.MESSAGES:
            return json_reply(_messages(call, result))
        case Result.BEST:
            return json_reply(_best(resource, result))
        case Result.DELETED:
            return deleted(result, resource.noun)
        case Result.CREATED:
            return Reply(201 if result else 200, b"{}", (JSON,))
        case Result.REPORT:
            return json_reply(result)
        case _:
            return Reply(204) if result is None else record_reply(result)


def _messages(call: Call, page: MessagePage) -> dict[str, Any]:
    messages = [message.document for message in page.messages]
    return {"messages": messages, "cursor": cursors.of_messages(call.credential).encode(page.cursor), "more": page.more}


def _best(resource: Resource, best: BestPatterns) -> dict[str, Any]:
    scored = [{**record.document, "score": score} for record, score in best.scored]
    return {resource.plural: scored, "considered": best.considered, "partial": best.partial}


SCHEMAS: Final = {resource.schema: resource.shape for resource in RESOURCES if resource.shape is not None}
"""Schemas of the records for the OpenAPI document, by name."""
ENDPOINTS: Final = tuple(endpoint(resource, row) for resource in RESOURCES for row in resource.operations)
