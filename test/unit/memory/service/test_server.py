"""The process: signals, ports, the lock, a failing disk."""

import asyncio
import json
import resource
import signal
import socket
import sys

import aiohttp
import pytest
from support.memory_process import Process
from support.without_ipv6 import without_ipv6

from swarm_operator.memory.client import MemoryClient, MemoryServerError
from swarm_operator.memory.service.access.tokens import generate
from swarm_operator.memory.sqlite.database.driver import has_wal_reset_bug

KIB = 1024


def client(process, **options):
    return MemoryClient(process.url, token=process.token, **options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_service_cleanly(start_process, number):
    process = await start_process()
    async with client(process) as memory:
        await memory.put("n", "k", 1)
        assert (process.data_dir / "swarm-memory.db-wal").stat().st_size > 0
        assert await process.stop(number) == 0
    assert sorted(file.name for file in process.data_dir.iterdir()) == [
        "cursor-key",
        "swarm-memory.db",
        "swarm-memory.db-reserve",
        "swarm-memory.db.lock",
        "tokens",
    ]
    assert [event["event"] for event in process.log] == ["tokens made", "serving", "stopping", "stopped"]
    serving = process.log[1]
    assert serving["sqlite_wal_reset_bug"] is has_wal_reset_bug(serving["sqlite_version"])


async def refused(host, port):
    """Wait until nothing listens."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, port)
            except (ConnectionRefusedError, ConnectionResetError):  # reset: it was in the backlog of a closed socket
                return
            writer.close()
            await writer.wait_closed()


async def test_requests_under_way_are_finished_before_the_end(fork_process):
    process = await fork_process()
    host, port = process.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"PUT /v1/entries/n/k HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nExpect: 100-continue\r\n"
        b"Authorization: Bearer " + process.token.encode() + b"\r\n\r\n"
    )
    await reader.readuntil(b"100 Continue\r\n\r\n")
    process.process.send_signal(signal.SIGTERM)
    while process.log[-1]["event"] != "stopping":
        process.log.append(json.loads(await process.process.stderr.readline()))
    await refused(host, int(port))  # from here on the service only waits for what is under way
    writer.write(b'{"value":1}')
    assert (await reader.read()).startswith(b"HTTP/1.1 201")
    writer.close()
    assert await process.stop(signal.SIGTERM) == 0
    again = await fork_process()
    async with client(again) as memory:
        assert (await memory.get("n", "k")).value == 1


def ports(process):
    """Return the ports of the API, of gRPC and of the metrics."""
    serving = process.log[-1]
    return [int(serving[name].rpartition(":")[2]) for name in ("http", "metrics")] + [serving["grpc_port"]]


@pytest.mark.parametrize(
    ("host", "reached"),
    [("::", {"127.0.0.1", "::1"}), ("127.0.0.1", {"127.0.0.1"}), ("::1", {"::1"})],
)
async def test_all_ports_listen_on_the_host_and_on_both_families_for_all_addresses(fork_process, host, reached):
    process = await fork_process("--host", host)
    for port in ports(process):
        for address in reached:
            socket.create_connection((address, port), timeout=60).close()
        for address in {"127.0.0.1", "::1"} - reached:
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((address, port), timeout=60)


async def test_where_the_kernel_has_no_ipv6_all_addresses_are_those_of_ipv4(start_process):
    process = await start_process("--host", "::", limits=without_ipv6)
    assert process.url.startswith("http://0.0.0.0:")
    for port in ports(process):
        socket.create_connection(("127.0.0.1", port), timeout=60).close()


async def test_a_second_process_on_the_same_directory_is_told_who_has_it(fork_process):
    first = await fork_process()
    second = await fork_process()
    assert second.url == ""
    assert second.process.returncode == 1
    assert f"is already open in process {first.process.pid} on host" in second.log[-1]["reason"]
    async with client(first) as memory:
        await memory.put("n", "k", 1)


async def test_a_port_in_use_and_a_bad_token_directory_are_told(fork_process, tmp_path):
    first = await fork_process()
    port = first.url.rsplit(":", 1)[1]
    second = await fork_process("--http-port", port, data_dir=tmp_path / "second")
    assert second.process.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in second.log[-1]["reason"]
    third = await fork_process("--token-dir", str(tmp_path), data_dir=tmp_path / "third")
    assert third.process.returncode == 1
    assert "client-token" in third.log[-1]["reason"]


async def test_a_bad_file_of_further_tokens_keeps_no_service_from_starting_and_is_told(fork_process, tmp_path):
    tokens = tmp_path / "tokens"
    generate(tokens)
    (tokens / "tokens.json").write_text('{"tokens": [{"name": "a", "token": "SECRET", "access": "read"}]}')
    process = await fork_process("--token-dir", str(tokens), data_dir=tmp_path / "data")
    (told,) = [event for event in process.log if event["level"] == "error"]
    assert "tokens.json: tokens[0].token: 16 to 4096" in told["reason"]
    assert "SECRET" not in json.dumps(process.log)
    token = (tokens / "client-token").read_text().strip()
    async with MemoryClient(process.url, token=token) as memory, aiohttp.ClientSession() as session:

        async def metric() -> str:
            async with session.get(f"{process.metrics_url}/metrics") as answer:
                (line,) = [
                    line
                    for line in (await answer.text()).splitlines()
                    if line.startswith("swarm_memory_tokens_last_reload_successful ")
                ]
                return line.split()[1]

        await memory.put("n", "k", 1)
        assert await metric() == "0.0"
        (tokens / "tokens.json").write_text('{"tokens": []}')
        async with asyncio.timeout(60):
            while await metric() != "1.0":
                await memory.get("n", "k")


async def test_both_ports_serve_and_the_log_is_json_without_secrets(fork_process):
    process = await fork_process("--log-level", "debug")
    async with client(process) as memory, aiohttp.ClientSession() as session:
        await memory.put("n", "k", "a secret value")
        async with session.get(f"{process.metrics_url}/metrics") as answer:
            assert "swarm_memory_entries_total 1.0" in await answer.text()
    assert await process.stop(signal.SIGTERM) == 0
    text = json.dumps(process.log)
    assert process.token not in text
    assert "secret value" not in text
    assert all({"event", "level", "timestamp"} <= event.keys() for event in process.log)


async def test_when_the_disk_takes_no_more_reads_go_on_and_writes_come_back(start_process):
    """A limit on the size of files stands in for the end of the disk: the same path, without root's rights."""
    unlimited = resource.RLIM_INFINITY

    def limits():
        resource.setrlimit(resource.RLIMIT_FSIZE, (400 * KIB, unlimited))

    process = await start_process(limits=limits)
    async with client(process, retries=0) as memory:
        stored = []

        async def fill():
            for number in range(100):
                await memory.put("n", f"{number:03d}", "x" * 20_000)
                stored.append(f"{number:03d}")

        with pytest.raises(MemoryServerError) as caught:
            await fill()
        assert caught.value.status in {503, 507}
        assert len(stored) > 1
        assert [entry.key async for entry in memory.iterate("n")] == stored
        readiness = await memory.ready()
        assert not readiness.ready
        assert "the last write failed" in readiness.reason
        assert (await memory.stats()).entries == len(stored)

        resource.prlimit(process.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
        async with asyncio.timeout(60):
            while not (await memory.ready()).ready:  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.05)
        await memory.put("n", "after", "x" * 20_000)
        assert [entry.key async for entry in memory.iterate("n")] == [*stored, "after"]
    assert await process.stop(signal.SIGTERM) == 0
    assert {"write failed", "writes work again"} <= {event["event"] for event in process.log}


REPORTING = """
import gc, importlib, json, sys, threading
from swarm_operator.cmd.memory import main
from swarm_operator.memory.service import server

MCP = "swarm_operator.memory.service.mcp.server"
announced, announce, load = threading.Event(), server._announce, importlib.import_module

def announce_first(*arguments):
    announce(*arguments)
    announced.set()

def load_mcp_last(name, package=None):
    if name == MCP:
        announced.wait()
    return load(name, package)

server._announce, importlib.import_module = announce_first, load_mcp_last
assert main() == 0
tracked = {id(each) for each in gc.get_objects()}
print(json.dumps([name for name in ("uvicorn", "grpc", MCP) if id(sys.modules[name].__dict__) in tracked]))
"""


async def test_what_was_loaded_is_no_work_for_the_garbage_collector(tmp_path):
    """A collection of it would stop all requests for 50 ms and more."""
    ports = ("--http-port", "0", "--grpc-port", "0", "--metrics-port", "0")
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", REPORTING, "serve", "--data-dir", str(tmp_path / "data"), "--mcp", "true", *ports,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    process = await Process.announced(started, tmp_path / "data")
    try:
        assert await process.stop(signal.SIGTERM) == 0  # noticed when all has been loaded
    finally:
        if started.returncode is None:
            started.kill()
            await started.wait()
    assert json.loads(await started.stdout.read()) == []
