"""A server that sends prepared responses, to test how the client handles failures."""

import asyncio
import contextlib
import json

from swarm_operator.memory.client import MemoryClient


def answer(status, body=b"", media_type="application/json", **headers):
    """A response; `body` is bytes, or a document. header_name="..." sends header-name."""
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Any", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {media_type}"] if media_type else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def problem(status, detail, **headers):
    return answer(status, {"detail": detail}, "application/problem+json", **headers)


def events(*documents, name="change"):
    """A watch that ends after these events."""
    body = b"".join(b"event: %b\ndata: %b\n\n" % (name.encode(), json.dumps(each).encode()) for each in documents)
    return answer(200, body, "text/event-stream")


TIME = "2027-01-15T08:00:00.000Z"
HEAD = {
    "namespace": "n", "key": "k", "version": 1, "size": 1, "ttl": 0, "created_at": TIME, "updated_at": TIME,
    "updated_by": "client", "expires_at": None,
}  # fmt: skip
ENTRY = {**HEAD, "tags": [], "metadata": {}, "value": 1}
OK = answer(200, ENTRY)
GONE = answer(204, media_type=None)
BUSY = problem(429, "full", Retry_After=1)
BROKEN = problem(507, "disk")
UNAUTHORIZED = problem(401, "no token")
MOVED = answer(307, media_type=None, Location="/elsewhere")
PAGE = answer(200, b"<html>Sign in</html>", "text/html")
BAD_GATEWAY = answer(502, b"<html>bad gateway</html>", "text/html")
CHANGE = {"seq": 7, "op": "put", "namespace": "n", "key": "k", "version": 1, "at": TIME}
WATCH = events(CHANGE)
HANG_UP = b""
SILENCE = None


@contextlib.asynccontextmanager
async def scripted(*answers, **options):
    """Start a server that sends these responses in turn, and a client that does not wait between attempts."""
    options = {"token": "t", "timeout": 60, "connect_timeout": 60, **options}
    requests, pauses, left = [], [], list(answers)
    done = asyncio.Event()

    async def handle(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                requests.append(head.split(b"\r\n")[0].decode())
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        await reader.readexactly(int(line.split(b":")[1]))
                response = left.pop(0)
                if response is SILENCE:
                    await done.wait()
                if not response:
                    return
                writer.write(response)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    async def pause(seconds):
        pauses.append(seconds)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with MemoryClient(f"http://127.0.0.1:{port}", sleep=pause, **options) as client:
        client.requests, client.pauses = requests, pauses
        yield client
    done.set()
    server.close()
    await server.wait_closed()
