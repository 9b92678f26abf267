"""Real servers of object stores on this machine, and a proxy before one that fails in the ways that networks do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import http.client
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from pathlib import Path
from typing import Self

HERE = Path(__file__).parent
SECRET = "K7secretK7/+K7secretK7"
"""A secret key that occurs nowhere else: where a log has it, the log leaks."""
_EMULATED_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's own, which is public."""


@dataclass
class ObjectStore:
    """A server with an empty bucket.

    Attributes:
        url: destination of backups in the bucket.
        port: the server's.
        options: of the destination.
        credentials: contents of the files in the directory of credentials.
        process: the server.
    """

    url: str
    port: int
    options: dict[str, object]
    credentials: dict[str, str]
    process: subprocess.Popen[bytes] = field(repr=False)

    def write(self, directory: Path, *, port: int | None = None, **changes: object) -> list[str]:
        """Write the files of a destination. Return the flags that name them."""
        directory.mkdir(exist_ok=True)
        keys = directory / "credentials"
        keys.mkdir(exist_ok=True)
        for name, text in self.credentials.items():
            (keys / name).write_text(text + "\n")
        options = {**self.options, **changes}
        if port is not None:
            options["endpoint"] = str(options["endpoint"]).replace(f":{self.port}", f":{port}")
        (directory / "options.json").write_text(json.dumps(options))
        return ["--backups-options", str(directory / "options.json"), "--backups-credentials", str(keys)]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return sock.getsockname()[1]


def built(*command: str) -> str:
    """What a script has built into the cache."""
    done = subprocess.run([HERE / command[0], *command[1:]], check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout.strip()


@contextlib.contextmanager
def running(port: int, *command: str, cwd: Path, host: str = "127.0.0.1") -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until it listens, and to the end of the block."""
    with (cwd / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=cwd, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, port)):
                break
            assert process.poll() is None, (cwd / "server.log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def versitygw(
    directory: Path,
    *,
    host: str = "127.0.0.1",
    certificate: Path | None = None,
    bucket: str = "bucket",
    region: str = "us-east-1",
) -> Iterator[ObjectStore]:
    """S3. With a certificate, a file that has its key too, over HTTPS."""
    program, port = built("versitygw/build.sh"), free_port()
    (directory / "s3" / bucket).mkdir(parents=True)
    tls = ("--cert", str(certificate), "--key", str(certificate)) if certificate else ()
    command = (
        *(program, "--port", f"{host}:{port}", "--access", "user", "--secret", SECRET, "--region", region, "--quiet"),
        *(*tls, "posix", "s3"),
    )
    with running(port, *command, cwd=directory, host=host) as process:
        scheme = "https" if certificate else "http"
        options = {"endpoint": f"{scheme}://{host}:{port}", "region": region, "allow_http": not certificate}
        keys = {"access_key_id": "user", "AWS_SECRET_ACCESS_KEY": SECRET}
        yield ObjectStore(f"s3://{bucket}/pre/fix", port, options, keys, process)


@contextlib.contextmanager
def azurite(directory: Path) -> Iterator[ObjectStore]:
    """Azure Blob Storage."""
    folder, port = built("azurite/install.sh"), free_port()
    command = (
        *(f"{folder}/node_modules/.bin/azurite-blob", "--blobPort", str(port), "--silent", "--inMemoryPersistence"),
        *("--disableTelemetry", "--skipApiVersionCheck"),
    )
    with running(port, *command, cwd=directory) as process:
        _create_container(port, "devstoreaccount1", _EMULATED_KEY, "bucket")
        options = {
            "endpoint": f"http://127.0.0.1:{port}/devstoreaccount1", "account": "devstoreaccount1", "allow_http": True,
        }  # fmt: skip
        yield ObjectStore("az://bucket/pre/fix", port, options, {"account_key": _EMULATED_KEY}, process)


def _create_container(port: int, account: str, key: str, name: str) -> None:
    headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
    signed = "".join(f"{each}:{value}\n" for each, value in headers.items())
    text = "PUT" + "\n" * 12 + signed + f"/{account}/{account}/{name}\nrestype:container"
    digest = hmac.new(base64.b64decode(key), text.encode(), hashlib.sha256).digest()
    headers["Authorization"] = f"SharedKey {account}:{base64.b64encode(digest).decode()}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("PUT", f"/{account}/{name}?restype=container", headers={**headers, "Content-Length": "0"})
    answer = connection.getresponse()
    assert answer.status == 201, answer.read()
    connection.close()


class Proxy:
    """Stands before a server.

    Attributes:
        rate: bytes a second that a connection passes on towards the server; None: all that come.
        cuts: how many connections are cut off, each after `cut_after` bytes towards the server.
        cut_after: see cuts.
        stalled: nothing is passed on.
        full: requests that bring a body are answered as by a server without room.
        passed: bytes that went to the server.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self.port = 0
        self.rate: float | None = None
        self.cuts = 0
        self.cut_after = 0
        self.stalled = False
        self.full = False
        self.passed = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=64 * 1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # asyncio's streams would log a cancellation as an error.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            if self.full:
                await self._refuse(reader, writer)
            else:
                await self._forward(reader, writer)
        writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._upstream)
        back = asyncio.ensure_future(self._copy(from_server, writer, counted=False))
        try:
            await self._copy(reader, to_server, counted=True)
        finally:
            to_server.transport.abort()
            back.cancel()
            await asyncio.gather(back, return_exceptions=True)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        passed = 0
        while part := await reader.read(16 * 1024):
            while self.stalled:  # noqa: ASYNC110 - the test says when it ends
                await asyncio.sleep(0.05)
            if counted:
                passed += len(part)
                self.passed += len(part)
                if self.cuts and passed > self.cut_after:
                    self.cuts -= 1
                    return
                if self.rate is not None:
                    await asyncio.sleep(len(part) / self.rate)
            writer.write(part)
            await writer.drain()

    async def _refuse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer requests as versitygw's and MinIO's clients see a full disk; pass none on."""
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            length = int((head.partition("content-length:")[2].partition("\r\n")[0] or "0").strip())
            await reader.readexactly(length)
            status, body = "507 Insufficient Storage", b"<Error><Code>XMinioStorageFull</Code></Error>"
            if head.startswith("get"):
                status, body = "200 OK", b"<ListBucketResult></ListBucketResult>"
            if head.startswith("delete"):
                status, body = "204 No Content", b""
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
