"""Backups over HTTP, and their way back."""

import asyncio
import base64
import contextlib
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from swarm_operator.memory.client import (
    MemoryAuthError,
    MemoryBusyError,
    MemoryClient,
    MemoryProtocolError,
    MemoryUnavailableError,
)
from swarm_operator.memory.service.http.routes import backup
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.sqlite.backup.verify import check

TOKEN = "client-0123456789abcdef"
ADMIN_TOKEN = "admin-0123456789abcdef"


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def client(service, token=ADMIN_TOKEN, **options):
    return MemoryClient(f"http://127.0.0.1:{service.port}", token=token, retries=0, **options)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - files, which tell nobody
            await asyncio.sleep(0.005)


@pytest.fixture
def ballast(service):
    """More than the sockets' buffers hold."""

    async def write():
        for number in range(8):
            await service.store.put("n", f"ballast{number}", os.urandom(1_000_000).hex())

    return write


async def test_a_backup_is_a_database_of_one_moment(service, tmp_path):
    await service.put("n/k", "ü" * 100_000, tags=["t"])
    before = names(tmp_path)
    answer = await service.call("GET", "/admin/backup", token=ADMIN_TOKEN)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/vnd.sqlite3")
    assert int(answer.headers["content-length"]) == len(answer.body)
    digest = base64.b64encode(hashlib.sha256(answer.body).digest()).decode()
    assert answer.headers["repr-digest"] == f"sha-256=:{digest}:"
    assert names(tmp_path) == before
    (tmp_path / "copy.db").write_bytes(answer.body)
    assert check(tmp_path / "copy.db").findings == ()
    async with SqliteStore.open(tmp_path / "copy.db") as copy:
        assert (await copy.get("n", "k")).value == "ü" * 100_000
    metrics = await service.metrics()
    assert 'swarm_memory_http_requests_total{code="200",method="GET",route="/admin/backup"} 1.0' in metrics
    assert 'swarm_memory_operation_duration_seconds_count{operation="backup"} 1.0' in metrics


async def test_it_takes_the_admin_token_the_right_method_and_no_parameters(service):
    assert (await service.call("GET", "/admin/backup")).status == 403
    assert (await service.call("GET", "/admin/backup", token=None)).status == 401
    for method in ("POST", "HEAD", "DELETE"):
        answer = await service.call(method, "/admin/backup", token=ADMIN_TOKEN)
        assert (answer.status, answer.headers["allow"]) == (405, "GET")
    answer = await service.call("GET", "/admin/backup?path=/etc", token=ADMIN_TOKEN)
    assert (answer.status, answer.json["field"]) == (400, "query parameter 'path'")


async def test_one_at_a_time_and_a_client_that_hangs_up_frees_its_place_and_its_room(service, tmp_path, ballast):
    await ballast()
    before = names(tmp_path)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
    writer.write(f"GET /admin/backup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    refused = await service.call("GET", "/admin/backup", token=ADMIN_TOKEN)
    assert (refused.status, refused.json["type"]) == (429, "urn:swarm-memory:problem:overloaded")
    assert refused.headers["retry-after"] == "1"
    async with client(service) as memory:
        with pytest.raises(MemoryBusyError):
            await memory.backup(tmp_path / "second.db")
    assert held(tmp_path) == 1
    assert names(tmp_path) == before
    writer.transport.abort()
    await until(lambda: held(tmp_path) == 0)
    async with client(service) as memory:
        await memory.backup(tmp_path / "third.db")
    assert check(tmp_path / "third.db").ok


def held(directory):
    """Files without a name that this process has open in there."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            target = str(descriptor.readlink())
            found += target.startswith(str(directory)) and target.endswith("(deleted)")
    return found


async def test_a_client_that_hangs_up_before_the_copy_is_made_stops_it(service, tmp_path, monkeypatch):
    from swarm_operator.memory.sqlite.backup import backup as engine

    before = names(tmp_path)

    def finish(_, stop):
        assert stop.wait(60)
        raise engine._StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(engine, "_finish", finish)
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(f"GET /admin/backup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
        await until(lambda: names(tmp_path) != before)
        writer.transport.abort()
        await until(lambda: names(tmp_path) == before)
    async with client(service) as memory:
        await memory.backup(tmp_path / "b.db")


async def test_a_client_that_stops_reading_is_cut_off(service, tmp_path, ballast, monkeypatch):
    await ballast()
    monkeypatch.setattr(backup, "_SEND_TIMEOUT", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
    writer.write(f"GET /admin/backup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    await until(lambda: held(tmp_path) == 0)
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await reader.readexactly(16_000_000)
    writer.close()


async def test_the_client_fetches_a_whole_file_and_tells_how_far_it_is(service, tmp_path, ballast):
    await ballast()
    told = []
    async with client(service) as memory:
        size = await memory.backup(tmp_path / "b.db", progress=lambda *numbers: told.append(numbers))
        assert size == (tmp_path / "b.db").stat().st_size == told[-1][0] == told[-1][1]
        assert [received for received, _ in told] == sorted(received for received, _ in told)
        assert (tmp_path / "b.db").stat().st_mode & 0o077 == 0
        with pytest.raises(FileExistsError):
            await memory.backup(tmp_path / "b.db")
    assert check(tmp_path / "b.db").findings == ()
    async with client(service, TOKEN) as memory:
        with pytest.raises(MemoryAuthError, match="may not do that"):
            await memory.backup(tmp_path / "c.db")
    assert [name for name in names(tmp_path) if "swarm-partial" in name or name == "c.db"] == []


@pytest.mark.parametrize(("head", "body", "kind"), [
    (b"Content-Type: application/vnd.sqlite3\r\nContent-Length: 100\r\n", b"x" * 50, MemoryUnavailableError),
    (b"Content-Type: application/vnd.sqlite3\r\nContent-Length: 3\r\nRepr-Digest: sha-256=:AAAA:\r\n", b"abc",
     MemoryUnavailableError),
    (b"Content-Type: text/html\r\nContent-Length: 3\r\n", b"abc", MemoryProtocolError),
    (b"Content-Type: application/vnd.sqlite3\r\n", b"abc", MemoryProtocolError),
])  # fmt: skip
async def test_what_comes_short_damaged_or_from_somebody_else_leaves_no_file(tmp_path, head, body, kind):
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + head + b"\r\n" + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, MemoryClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", token="t") as memory:
        with pytest.raises(kind):
            await memory.backup(tmp_path / "b.db")
    assert names(tmp_path) == []


async def test_a_missing_directory_is_the_callers_error_and_asks_the_service_for_nothing(tmp_path):
    async with MemoryClient("http://127.0.0.1:1", token="t") as memory:
        with pytest.raises(FileNotFoundError):
            await memory.backup(tmp_path / "missing" / "b.db")


def test_a_file_that_takes_no_more_is_an_error_of_the_file(tmp_path):
    code = (
        "import asyncio, resource, signal, sys, os, contextlib\n"
        "from swarm_operator.memory.client import MemoryClient\n"
        "async def answer(reader, writer):\n"
        "    await reader.readuntil(b'\\r\\n\\r\\n')\n"
        "    writer.write(b'HTTP/1.1 200 OK\\r\\nContent-Type: application/vnd.sqlite3\\r\\n')\n"
        "    writer.write(b'Content-Length: 2000000\\r\\n\\r\\n')\n"
        "    writer.write(b'x' * 2000000)\n"
        "    with contextlib.suppress(OSError):\n"
        "        await writer.drain()\n"
        "async def main():\n"
        "    server = await asyncio.start_server(answer, '127.0.0.1', 0)\n"
        "    port = server.sockets[0].getsockname()[1]\n"
        "    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))\n"
        "    async with MemoryClient(f'http://127.0.0.1:{port}', token='t') as memory:\n"
        "        try:\n"
        "            await memory.backup(sys.argv[1])\n"
        "        except OSError as error:\n"
        "            print(error.strerror, os.listdir(os.path.dirname(sys.argv[1])))\n"
        "asyncio.run(main())\n"
    )
    (tmp_path / "to").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "to" / "b.db")], check=False, capture_output=True, text=True
    )
    assert done.stdout == "File too large []\n", done.stderr


async def test_a_backup_is_restored_by_putting_it_in_the_databases_place(fork_process, tmp_path):
    first = await fork_process()
    admin = (first.data_dir / "tokens" / "admin-token").read_text().strip()
    async with MemoryClient(first.url, token=admin) as memory:
        await memory.put("n", "k", "kept", tags=["t"])
        await memory.backup(tmp_path / "b.db")
        await memory.put("n", "k", "regretted")
    # A clean stop leaves no log; after a kill there is one, which belongs to the former file.
    await first.stop(signal.SIGKILL)
    for name in ("swarm-memory.db", "swarm-memory.db-wal", "swarm-memory.db-shm"):
        (first.data_dir / name).unlink()
    (tmp_path / "b.db").rename(first.data_dir / "swarm-memory.db")
    second = await fork_process()
    async with MemoryClient(second.url, token=admin) as memory:
        entry = await memory.get("n", "k")
        assert (entry.value, entry.tags, entry.version) == ("kept", ["t"], 1)
        assert [hit.key for hit in (await memory.search(text="kept")).hits] == ["k"]
        assert (await memory.put("n", "k", "again")).version == 2
    assert await second.stop(signal.SIGTERM) == 0
    assert check(first.data_dir / "swarm-memory.db").findings == ()


async def test_a_stop_of_the_service_cuts_a_backup_off_and_leaves_nothing(fork_process, tmp_path):
    process = await fork_process()
    admin = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    async with MemoryClient(process.url, token=admin) as memory:
        for number in range(8):
            await memory.put("n", f"k{number}", os.urandom(400_000).hex())
    port = int(process.url.rsplit(":", 1)[1])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
    writer.write(f"GET /admin/backup HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {admin}\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    process.process.send_signal(signal.SIGTERM)
    while json.loads(await process.process.stderr.readline())["event"] != "stopping":
        continue
    # The second signal cuts the grace short.
    assert await process.stop(signal.SIGTERM) == 0
    writer.close()
    assert [name for name in names(process.data_dir) if name.startswith(".")] == []
    assert json.dumps(process.log).count("stopped") == 1
    assert check(process.data_dir / "swarm-memory.db").ok
