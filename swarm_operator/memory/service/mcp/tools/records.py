"""Tools of the operations on records, made from their table (see service.records)."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.json_schema import Schema, object_of, text
from swarm_operator.memory.service.mcp import schemas
from swarm_operator.memory.service.mcp.budget import size_of
from swarm_operator.memory.service.mcp.tool import Arguments, Call, Handler, Tool, naming
from swarm_operator.memory.service.records.operation import Body, RecordOperation, Resource, Result
from swarm_operator.memory.service.records.schemas import identifier, page_size
from swarm_operator.memory.service.records.table import RESOURCES
from swarm_operator.memory.swarm import Record, RecordPage
from swarm_operator.memory.swarm.messages import MessagePage
from swarm_operator.memory.swarm.patterns import BestPatterns
from swarm_operator.memory.swarm.record import Kind

_ID: Final = identifier("ID of the record.")
_DETAILS: Final[Schema] = {"type": "object", "description": "Further members of the record, of your choice."}
_LIMIT: Final = page_size(50)
_PAGING: Final[dict[Result, dict[str, Schema]]] = {
    Result.PAGE: {"limit": _LIMIT, "cursor": schemas.CURSOR},
    Result.MESSAGES: {
        "limit": _LIMIT,
        "cursor": text("cursor of the previous answer; repeat the other arguments.", most=8192),
    },
}


def _tool(resource: Resource, row: RecordOperation) -> Tool:
    """Return the tool of a row."""
    assert row.tool is not None  # noqa: S101 - for mypy
    own = {field.tool_name: field.tool for field in row.fields if field.tool is not None}
    arguments = {name: own[name] for name in dict.fromkeys([*row.tool.arguments, *own])}
    handler = _handler(resource, row, tuple(arguments))
    required = [field.tool_name for field in row.fields if field.required]
    if "{" in row.path:
        arguments = {"id": _ID, **arguments}
        required.insert(0, "id")
    if row.body is Body.DOCUMENT:
        arguments["details"] = _DETAILS
    return Tool(
        row.tool_name,
        row.tool.description,
        row.name,
        object_of({**arguments, **_PAGING.get(row.result, {})}, tuple(required)),
        handler,
        namespace=resource.namespace,
        read_only=row.method == "GET",
        destructive=row.method in {"PUT", "PATCH", "DELETE"},
        idempotent=row.repeatable,
    )


def _handler(resource: Resource, row: RecordOperation, own: tuple[str, ...]) -> Handler:
    """Return the handler of a row, which calls the method with the tool's arguments. `own` are the row's arguments."""
    names = {field.name: field.tool_name for field in row.fields if field.name != field.tool_name}
    kind = resource.kind
    assert kind is not None  # noqa: S101 - for mypy

    async def handle(call: Call, arguments: Arguments) -> dict[str, Any]:
        positional = [arguments["id"]] if "{" in row.path else []
        named: dict[str, Any] = {}
        if row.body is Body.DOCUMENT:
            given = {name: arguments[name] for name in own if name in arguments}
            positional.append(_document(given, arguments.get("details", {})))
        else:
            given = {field.python_name: field.tool_name for field in row.fields if field.tool_name in arguments}
            named = {name: arguments[argument] for name, argument in given.items()}
        if row.result is Result.PAGE:
            named["after"] = cursors.of_records(call.credential, kind.name, arguments).decode(arguments.get("cursor"))
        elif row.result is Result.MESSAGES:
            named["since"] = cursors.of_messages(call.credential).decode(arguments.get("cursor"))
        if row.result in _PAGING:
            named["limit"] = arguments.get("limit", _LIMIT["default"])
        with naming(**names):
            result = await row.call(resource.records(call.store), *positional, **named)
        return _answer(call, resource.noun, kind, row, arguments, result)

    return handle


def _document(given: dict[str, Any], details: dict[str, Any]) -> dict[str, Any]:
    """Return the record with the given members and the members of `details`. Raise InvalidInputError."""
    if twice := sorted(details.keys() & given.keys()):
        raise InvalidInputError(f"details.{twice[0][:64]}", "only once: as an argument or in details")
    return {**given, **details}


def _answer(
    call: Call, noun: str, kind: Kind, row: RecordOperation, arguments: Arguments, result: Any
) -> dict[str, Any]:
    """Return the tool's result for the result of a row's method, cut to the budget."""
    match row.result:
        case Result.PAGE:
            return _page(call, noun, kind, arguments, result)
        case Result.MESSAGES:
            return _messages(call, kind, result)
        case Result.BEST:
            return _best(call, noun, result)
        case Result.DELETED:
            return {"deleted": result, "id": arguments["id"]}
        case Result.SENT:
            return {"id": result.id}
        case Result.MAYBE if result is None:
            return {noun: None}
        case _:
            return call.budget.record(noun, result, *kind.identity(result.id))


def _page(call: Call, noun: str, kind: Kind, arguments: Arguments, found: RecordPage) -> dict[str, Any]:
    """Return as many records of a page as fit."""
    taken = call.budget.take(found.records, call.budget.brief)
    next_key = found.next_key if len(taken) == len(found.records) else kind.prefix + found.records[len(taken) - 1].id
    own = cursors.of_records(call.credential, kind.name, arguments)
    return {f"{noun}s": taken, "next_cursor": own.encode(next_key)}


def _messages(call: Call, kind: Kind, page: MessagePage) -> dict[str, Any]:
    """Return as many messages of a page as fit."""
    taken = call.budget.take(page.messages, lambda message: _message(call, kind, message))
    whole = len(taken) == len(page.messages)
    last = page.cursor if whole else kind.prefix + page.messages[len(taken) - 1].id
    return {
        "messages": taken,
        "cursor": cursors.of_messages(call.credential).encode(last),
        "more": page.more or not whole,
    }


def _message(call: Call, kind: Kind, message: Record) -> dict[str, Any]:
    """Return a message, without its content if the message takes more than half of the budget."""
    document = message.document
    if size_of(document) <= call.budget.contents // 2:
        return document
    kept = {name: value for name, value in document.items() if name != "message"}
    kept["cut"] = f"too long: memory_retrieve with namespace {kind.namespace} and key {message.id}"
    return kept


def _best(call: Call, noun: str, best: BestPatterns) -> dict[str, Any]:
    """Return as many of the scored records as fit."""
    taken = call.budget.take(best.scored, lambda each: {**call.budget.brief(each[0]), "score": each[1]})
    return {
        f"{noun}s": taken,
        "considered": best.considered,
        "partial": best.partial,
        "left_out": len(best.scored) - len(taken),
    }


def _tools(resource: Resource) -> tuple[Tool, ...]:
    """Return the tools of a resource: first those of its order, then the others."""
    tools = {row.tool_name: _tool(resource, row) for row in resource.operations if row.tool is not None}
    names = dict.fromkeys([*resource.tools, *tools])
    return tuple(tools[name] for name in names)


TOOLS: Final = {resource.plural: _tools(resource) for resource in RESOURCES}
"""Tools by the plural of their records."""
