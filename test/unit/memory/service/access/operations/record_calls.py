"""Requests of every operation on records, over HTTP and as tools. A row of the table needs nothing here.

The table says what is sent and which namespace it is about. What a request takes follows from that by a plain rule:
GET reads the namespace and all else writes it. The service's own checks are not asked.
"""

from urllib.parse import quote

from unit.memory.service.access.operations.model import LEASES, STONES, SWARM, Case, read, write

from swarm_operator.memory.service.records.operation import Body
from swarm_operator.memory.service.records.table import RESOURCES

STORED = {
    "agents": "ada", "tasks": "open", "patterns": "review", "consensus": "name", "leases": "queen",
    "coordination": "state", "metrics": "load",
}  # fmt: skip
"""IDs of records that the test has stored, by the plural of their kind."""
OTHERS = {"task-renew": "claimed", "task-release": "claimed", "task-status": "claimed", "scale": "*"}
"""Those of operations that take another."""
EXAMPLES = {"agent": "ada", "success": True, "status": "completed", "choice": "approve", "id": "new"}
"""Values of fields; those of others follow from their types."""
BY_TYPE = {"string": "ada", "integer": 1, "number": 1, "boolean": True, "array": ["ada"], "object": {}}
COUNTS = {"scale", "swarm-stats"}
"""Operations that read and show nothing of what they read."""


def _value(resource, field):
    if resource.plural == "leases" and field.name == "agent":
        return STONES[LEASES]
    kind = field.schema.get("type", "")
    return EXAMPLES.get(field.name, BY_TYPE.get(kind if isinstance(kind, str) else kind[0], 1))


def _case(resource, row, request):
    namespaces = SWARM if resource.namespace is None else (resource.namespace,)
    reads = row.method == "GET"
    shows = namespaces if reads and row.name not in COUNTS else ()
    return [Case(read(*namespaces) if reads else write(*namespaces), request, shows=shows)]


def _id(resource, row):
    return OTHERS.get(row.name, STORED.get(resource.plural, ""))


def _given(resource, row, name):
    """The fields that a request must have, and the ID of what it makes."""
    return {
        getattr(field, name): _value(resource, field)
        for field in row.fields if field.required or (field.name == "id" and row.body is Body.DOCUMENT)
    }  # fmt: skip


def _http(resource, row):
    path = row.path
    if "{" in path:
        start, _, rest = path.partition("{")
        path = start + quote(_id(resource, row), safe="*") + rest.partition("}")[2]
    body = None if row.body is Body.QUERY else 1 if row.body is Body.VALUE else _given(resource, row, "name")
    return _case(resource, row, (row.method, path, body))


def _tool(resource, row):
    arguments = _given(resource, row, "tool_name")
    if "{" in row.path:
        arguments["id"] = _id(resource, row)
    return _case(resource, row, arguments)


HTTP = {row.name: _http(resource, row) for resource in RESOURCES for row in resource.operations}
"""By the name of the operation."""
TOOLS = {row.tool_name: _tool(resource, row) for resource in RESOURCES for row in resource.operations if row.tool}
"""By the name of the tool."""
