"""Each row of the table of record operations fits its method, and what is made from it is of use."""

import inspect

import pytest

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service.http.endpoint import Call
from swarm_operator.memory.service.http.openapi import OPERATIONS
from swarm_operator.memory.service.http.routes.records import endpoint
from swarm_operator.memory.service.mcp.tools import TOOLS
from swarm_operator.memory.service.records.operation import Body, Field, RecordOperation, Resource, Result
from swarm_operator.memory.service.records.schemas import FILTER
from swarm_operator.memory.service.records.table import RESOURCES

ROWS = [(resource, row) for resource in RESOURCES for row in resource.operations]
PAGING = {Result.PAGE: ("after", "limit"), Result.MESSAGES: ("since", "limit")}
by_row = pytest.mark.parametrize(("resource", "row"), ROWS, ids=[row.name for _, row in ROWS])


@by_row
def test_method_takes_every_field_and_no_more_than_the_required_ones(resource, row):
    signature = inspect.signature(row.call)
    positional = [None, *["id"] * row.path.count("{")]
    if row.body in {Body.DOCUMENT, Body.VALUE}:
        signature.bind(*positional, {})
        return
    fields = {field.python_name: field.required for field in row.fields}
    fields |= dict.fromkeys(PAGING.get(row.result, ()), False)
    signature.bind(*positional, **dict.fromkeys(fields))
    signature.bind(*positional, **{name: None for name, required in fields.items() if required})


@by_row
def test_row_has_its_operation_and_its_tool(resource, row):
    (operation,) = (each for each in OPERATIONS if each.name == row.name)
    assert (operation.method, operation.path) == (row.method, row.path)
    tools = [tool for tool in TOOLS if tool.operation == row.name]
    assert [tool.name for tool in tools] == ([row.tool_name] if row.tool else [])
    for tool in tools:
        assert tool.namespace == resource.namespace
        named = {"id", "details", "limit", "cursor"} | {field.tool_name for field in row.fields}
        assert {field.tool_name for field in row.fields} <= tool.input["properties"].keys() <= named


async def test_query_parameter_that_is_required_and_missing_is_named():
    async def method(_, term):
        return {"term": term}

    fields = (Field("term", FILTER, required=True),)
    row = RecordOperation("x", "GET", "/v1/x", method, "X.", fields, Body.QUERY, Result.REPORT)
    made = endpoint(Resource(None, lambda store: store, "x", "x", (row,)), row)

    async def answer(query):
        return await made.handler(Call(made.operation, (), {}, b"", None, None, None, {"query_string": query}, None))

    assert (await answer(b"term=a")).body == b'{"term":"a"}'
    with pytest.raises(InvalidInputError, match="term"):
        await answer(b"")


def test_orders_name_tools_and_arguments_that_exist():
    for resource in RESOURCES:
        assert set(resource.tools) <= {row.tool_name for row in resource.operations if row.tool}
    for _, row in ROWS:
        assert set(row.tool.arguments if row.tool else ()) <= {field.tool_name for field in row.fields}
