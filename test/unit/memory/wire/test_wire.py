"""What is sent over HTTP, gRPC and MCP is, byte for byte, what it was when the recordings were made (see recording).

A test here that fails means that a client of before sees another answer. The service is driven from outside: nothing of
swarm_operator.memory is imported, so that these tests need no change when its modules do.
"""

import json
import re
from pathlib import Path

import pytest
from unit.memory.wire import recording
from unit.memory.wire.scenarios import SCENARIOS

ROOT = Path(__file__).parents[4]
NOT_TO_BE_HAD = {408, 429, 500, 502, 503, 507}
"""It takes 30 seconds of silence, a full disk, a broken destination, a defect, or luck to be answered so."""
NEVER_SAID = {("namespaces", 403), ("task-create", 404), ("import", 413)}
"""The document says it of all operations of a kind; these never answer so."""


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_answers_are_those_that_were_recorded(scenario, tmp_path, zygote):
    differences = recording.differences(recording.read(scenario.name), recording.play(scenario, tmp_path, zygote))
    assert not differences, "\n" + differences


def recorded():
    return [exchange for scenario in SCENARIOS for exchange in recording.read(scenario.name)]


def test_every_operation_of_http_has_succeeded_and_been_refused():
    answers = {}
    for exchange in recorded():
        if "sent" in exchange:
            method, target, _ = exchange["sent"][0].split(" ")
            answers.setdefault(method, []).append((target.partition("?")[0], int(exchange["got"][0].split()[1])))
    for path, operations in json.loads((ROOT / "docs" / "openapi.json").read_text())["paths"].items():
        pattern = re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))
        for method, operation in operations.items():
            seen = {status for target, status in answers[method.upper()] if pattern.fullmatch(target)}
            assert any(status < 400 for status in seen), operation["operationId"]
            name = operation["operationId"]
            documented = {int(status) for status in operation["responses"]} - NOT_TO_BE_HAD
            missing = {status for status in documented - seen if (name, status) not in NEVER_SAID}
            assert not missing, (name, missing)


def test_every_call_of_grpc_has_succeeded_and_been_refused():
    proto = (ROOT / "swarm_operator/memory/service/grpc/memory.proto").read_text()
    calls = re.findall(r"rpc (\w+)\(", proto)
    assert len(calls) == 11
    for call in calls:
        seen = {exchange["status"] for exchange in recorded() if exchange.get("method", "").endswith(f".Memory/{call}")}
        assert seen & {"OK", "<cancelled by the test>"}, call
        assert {"UNAUTHENTICATED", "PERMISSION_DENIED"} <= seen or call == "Namespaces", call


def test_every_tool_of_mcp_has_succeeded():
    (listed,) = (
        json.loads(exchange["answer"][0]) for exchange in recorded() if exchange["name"] == "tools for an admin"
    )
    tools = {tool["name"] for tool in listed["result"]["tools"]}
    assert len(tools) == 48
    succeeded = set()
    for exchange in recorded():
        if "/mcp" in exchange.get("sent", [""])[0] and '"isError":false' in "".join(exchange["answer"]):
            succeeded.add(exchange["name"].split()[0])
    assert succeeded == tools
