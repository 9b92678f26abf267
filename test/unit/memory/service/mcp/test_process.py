"""MCP in the process: loaded only when it is on, ended in order, quiet in the log."""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from swarm_operator.cmd import memory as command
from swarm_operator.cmd.memory import values

CALL = json.dumps({
    "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    "params": {
        "name": "memory_store", "arguments": {"key": "k", "value": 1},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        },
    },
}).encode()  # fmt: skip
OF_MCP = (
    "Accept: application/json, text/event-stream", "Mcp-Protocol-Version: 2026-07-28", "Mcp-Method: tools/call",
    "Mcp-Name: memory_store",
)  # fmt: skip


def modules(*flags):
    """What the process has imported when it serves."""
    code = f"""
import sys, threading, json, time
from swarm_operator.cmd import memory
from swarm_operator.memory.service import server
def stop(*_):
    print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})), flush=True)
    import os, signal
    os.kill(os.getpid(), signal.SIGTERM)
server._announce = stop
sys.exit(memory.main(["serve", "--http-port", "0", "--grpc-port", "off", "--metrics-port", "0", *{list(flags)!r}]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stdout))


def test_switched_off_its_package_and_grpc_s_are_not_loaded(tmp_path):
    assert not modules("--data-dir", str(tmp_path)) & {"mcp", "mcp_types", "jsonschema", "httpx2", "grpc"}


async def test_a_signal_ends_the_service_with_sessions_and_streams_open(fork_process):
    process = await fork_process("--mcp", "true")
    headers = {"Authorization": f"Bearer {process.token}"}
    async with asyncio.timeout(60):
        for era in ("legacy", "2026-07-28"):
            async with httpx2.AsyncClient(verify=False, headers=headers, timeout=30) as http:
                client = Client(streamable_http_client(f"{process.url}/mcp", http_client=http), mode=era)
                async with client:
                    await client.call_tool("memory_store", {"key": era, "value": 1})
                    if era == "legacy":
                        continue
                    async with client.listen(resource_subscriptions=["memory://default"]) as events:
                        process.process.send_signal(signal.SIGTERM)
                        assert [event async for event in events] == []
                        assert await process.ended() == 0
    assert [event["event"] for event in process.log] == ["tokens made", "serving", "stopping", "stopped"], process.log


async def begin(process, path, *headers):
    """Begin a request whose body the service awaits."""
    host, port = process.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = [
        f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(CALL)}", "Expect: 100-continue",
        "Content-Type: application/json", f"Authorization: Bearer {process.token}", *headers,
    ]  # fmt: skip
    writer.write("\r\n".join([*head, "", ""]).encode())
    await reader.readuntil(b"100 Continue\r\n\r\n")
    return reader, writer


async def stopping(process):
    """Send the signal, and return when the service has begun to stop."""
    process.process.send_signal(signal.SIGTERM)
    while process.log[-1]["event"] != "stopping":
        process.log.append(json.loads(await process.process.stderr.readline()))


async def test_a_call_under_way_is_finished_before_the_end(fork_process):
    process = await fork_process("--mcp", "true")
    reader, writer = await begin(process, "/mcp", *OF_MCP)
    await stopping(process)
    writer.write(CALL)
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    assert b'"created":true' in answer.replace(b'\\"', b'"')
    assert await process.ended() == 0


async def test_the_second_signal_cuts_requests_off_with_one_line_in_the_log(fork_process):
    process = await fork_process("--mcp", "true")
    begun = [await begin(process, "/mcp", *OF_MCP), await begin(process, "/v1/batch")]
    await stopping(process)
    assert await process.stop(signal.SIGTERM) == 0
    events = [event["event"] for event in process.log]
    assert events == ["tokens made", "serving", "stopping", "requests cut off", "stopped"], process.log
    assert process.log[-2]["requests"] == 2
    for reader, writer in begun:
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b"", "no response: the client does not know whether it was done"
        writer.close()


async def test_a_session_s_stream_does_not_hold_up_the_end(fork_process):
    process = await fork_process("--mcp", "true", "--log-level", "debug")
    headers = {"Authorization": f"Bearer {process.token}"}
    async with httpx2.AsyncClient(verify=False, headers=headers, timeout=30) as http:
        hello = {
            "jsonrpc": "2.0", "id": 1, "method": "initialize",
            "params": {
                "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"},
            },
        }  # fmt: skip
        accept = {"Accept": "application/json, text/event-stream"}
        opened = await http.post(f"{process.url}/mcp", json=hello, headers=accept)
        session = {"Mcp-Session-Id": opened.headers["mcp-session-id"], "Mcp-Protocol-Version": "2025-06-18"}
        done = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await http.post(f"{process.url}/mcp", json=done, headers=accept | session)
        async with http.stream("GET", f"{process.url}/mcp", headers=accept | session) as stream, asyncio.timeout(15):
            assert stream.status_code == 200
            assert await process.stop(signal.SIGTERM) == 0
    log = json.dumps(process.log)
    assert session["Mcp-Session-Id"] not in log
    assert process.token not in log
    assert all("event" in line for line in process.log)


@pytest.mark.parametrize(
    ("flags", "wrong"),
    [
        (["--mcp", "perhaps"], "'perhaps' is not allowed: true or false"),
        (["--mcp-answer-bytes", "16383"], "'16383' is not allowed: a whole number from 16384 to 16777216"),
        (["--mcp-toolsets", "core,more"], "'core,more' is not allowed: one or more of core, tasks, swarm, classic,"),
        (["--mcp-toolsets", "core,more"], "separated by commas; 'more' is none of them"),
        (["--mcp-allowed-origins", "example.com"], "'example.com' is not allowed: an origin is https://HOST"),
        (["--mcp-allowed-origins", "https://a,https://b/path"], "'https://b/path' is not allowed"),
        (["--mcp-allowed-origins", "*"], "'*' is not allowed"),
    ],
)
def test_a_flag_that_is_not_allowed_is_told(capsys, flags, wrong):
    assert command.main(["serve", *flags]) == 2
    assert wrong in capsys.readouterr().err


def test_origins_are_taken_with_commas_between():
    assert values.origins("https://a.example, http://localhost:3000") == (
        "https://a.example",
        "http://localhost:3000",
    )
    assert values.origins("") == ()
