"""The contract of records: over HTTP with the Python client, over MCP with the official client."""

import contextlib
import json

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from support import record_contract as contract
from support.store_drivers import play

from swarm_operator.memory.client import MemoryClient, MemoryNotFoundError, MemoryRequestError, MemoryStateError


class Http:
    """Calls the service with the client."""

    def __init__(self, client):
        self.client = client

    async def __call__(self, operation, arguments):
        kind, name = operation.split(".")
        keywords = dict(arguments)
        positional = [keywords.pop("id")] if "id" in keywords else []
        document = keywords.pop("document", None)
        try:
            if document is not None and document.keys() & {"self", "agent_id", "task_id"}:
                raise AssertionError("the client takes members as keywords")
            result = await getattr(getattr(self.client, kind), name)(*positional, **{**keywords, **(document or {})})
        except MemoryStateError as error:
            return contract.state(error.reason)
        except MemoryNotFoundError:
            return contract.MISSING
        except MemoryRequestError as error:
            return contract.invalid(error.problem["field"] if error.status == 400 else str(error))
        if operation == "coordination.put":
            return True
        if operation == "patterns.best":
            return [pattern["id"] for pattern in result]
        return [record["id"] for record in result.records] if hasattr(result, "records") else result


TOOLS = {
    "agents.deregister": "agent_deregister", "patterns.record_use": "pattern_use",
    "consensus.get": "consensus_result",
}  # fmt: skip
"""Those that are called otherwise than the library's methods."""
MEMBERS = {
    "agents.register": {"type", "status", "capabilities"},
    "tasks.create": {
        "id", "type", "description", "priority", "assignedAgents", "dependencies", "maxRetries",
    },
    "tasks.update": {"type", "description", "priority", "assignedAgents", "dependencies", "maxRetries"},
    "patterns.store": {"type", "confidence", "tags"},
    "consensus.propose": {
        "id", "options", "threshold", "voters", "minVotes", "deadlineSeconds", "taskId",
    },
}  # fmt: skip
"""Of records, that are arguments of their own; the others stand in `details`."""


class Mcp:
    """Calls the service's MCP tools."""

    def __init__(self, client):
        self.client = client

    async def __call__(self, operation, arguments):
        kind, name = operation.split(".")
        keywords = dict(arguments)
        for member, value in keywords.pop("document", {}).items():
            if member in MEMBERS[operation] and value is not None:
                keywords[member] = value
            else:
                keywords.setdefault("details", {})[member] = value
        if operation == "consensus.list" and "task" in keywords:
            keywords["taskId"] = keywords.pop("task")
        tool = TOOLS.get(operation, f"{kind.rstrip('s') if kind != 'consensus' else kind}_{name}")
        result = await self.client.call_tool(tool, keywords)
        if result.is_error:
            error = json.loads(result.content[0].text)["error"]
            if error["code"] == "not-found":
                return None if name == "get" else contract.MISSING
            return (
                contract.invalid(error["field"].removeprefix("details."))
                if error["code"] == "invalid-input"
                else contract.state(error["reason"])
            )
        answer = json.loads(result.content[0].text)
        if "deleted" in answer:
            return answer["deleted"]
        listed = next((answer[each] for each in ("agents", "tasks", "patterns", "proposals") if each in answer), None)
        if listed is not None:
            return [record["id"] for record in listed]
        return next(answer[each] for each in ("agent", "task", "pattern", "proposal", "lease") if each in answer)


scenarios = pytest.mark.parametrize("scenario", contract.SCENARIOS, ids=lambda scenario: scenario.name)


def covered(scenario):
    """Coordination and metrics have no tools: they are entries like others."""
    steps = [each for each in scenario.steps if isinstance(each, contract.Step)]
    return not any(each.operation.startswith(("coordination.", "metrics.")) for each in steps)


@pytest.mark.parametrize(
    "scenario", [each for each in contract.SCENARIOS if covered(each)], ids=lambda scenario: scenario.name
)
@pytest.mark.parametrize("era", ["legacy", "2026-07-28"])
async def test_the_tools_keep_the_contract(scenario, start_service, clock, era):
    async with contextlib.AsyncExitStack() as stack:
        service = await stack.enter_async_context(start_service(clock=clock, mcp=True))
        token = (service.tokens / "client-token").read_text().strip()
        http = await stack.enter_async_context(
            httpx2.AsyncClient(verify=False, headers={"Authorization": f"Bearer {token}"}, timeout=60)
        )
        transport = streamable_http_client(f"http://127.0.0.1:{service.port}/mcp", http_client=http)
        client = await stack.enter_async_context(Client(transport, mode=era))
        await play(scenario, Mcp(client), clock)


@scenarios
async def test_the_service_and_its_client_keep_the_contract(scenario, service, clock):
    url = f"http://127.0.0.1:{service.port}"
    async with MemoryClient(url, token_file=service.tokens / "client-token") as client:
        await play(scenario, Http(client), clock)
