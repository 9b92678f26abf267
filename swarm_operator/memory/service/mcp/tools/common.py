"""Functions and a schema shared by the tools for records."""

from __future__ import annotations

from typing import Any, Final

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.json_schema import text
from swarm_operator.memory.service.mcp.tool import Arguments, Call
from swarm_operator.memory.swarm import Record, RecordPage
from swarm_operator.memory.swarm.record import Kind

WORD: Final = text(most=128)


def document(arguments: Arguments, *names: str) -> dict[str, Any]:
    """Return the record described by the named arguments and the members of `details`. Raise InvalidInputError."""
    given = {name: arguments[name] for name in names if name in arguments}
    details = arguments.get("details", {})
    if twice := sorted(details.keys() & given.keys()):
        raise InvalidInputError(f"details.{twice[0][:64]}", "given once: as an argument or in details")
    return {**given, **details}


def one(call: Call, name: str, kind: Kind, record: Record) -> dict[str, Any]:
    """Return the result with one record."""
    namespace, key = kind.identity(record.id)
    return call.budget.record(name, record, namespace, key)


def page_arguments(call: Call, kind: Kind, arguments: Arguments) -> dict[str, Any]:
    """Return the arguments `after` and `limit` for a list. Raise InvalidInputError."""
    own = cursors.of_records(call.credential, kind.name, arguments)
    return {"after": own.decode(arguments.get("cursor")), "limit": arguments.get("limit", 50)}


def page(call: Call, name: str, kind: Kind, arguments: Arguments, found: RecordPage) -> dict[str, Any]:
    """Return the result with a page of records, as many as fit in the budget."""
    taken = call.budget.take(found.records, call.budget.brief)
    next_key = found.next_key if len(taken) == len(found.records) else kind.prefix + found.records[len(taken) - 1].id
    own = cursors.of_records(call.credential, kind.name, arguments)
    return {name: taken, "next_cursor": own.encode(next_key)}
