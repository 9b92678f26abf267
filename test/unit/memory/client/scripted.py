"""A server that sends prepared responses, to test how the client handles failures."""

import asyncio
import contextlib

from swarm_operator.memory.client import MemoryClient

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 57\r\n\r\n{"version": 1, "size": 1, "expires_at": null, "value": 1}'
assert len(OK.partition(b"\r\n\r\n")[2]) == 57
BUSY = b'HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 17\r\n\r\n{"detail":"full"}'
BROKEN = b'HTTP/1.1 507 Insufficient Storage\r\nContent-Length: 17\r\n\r\n{"detail":"disk"}'
UNAUTHORIZED = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
MOVED = b"HTTP/1.1 302 SearchPage\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
CHANGE = b'{"seq": 7, "op": "put", "namespace": "n", "key": "k", "version": 1, "at": "2027-01-15T08:00:00.000Z"}'
WATCH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\nevent: change\ndata: %b\n\n" % (len(CHANGE) + 22, CHANGE)
HANG_UP = b""
SILENCE = None


@contextlib.asynccontextmanager
async def scripted(*answers, **options):
    """Start a server that sends these responses in turn, and a client that does not wait between attempts."""
    options = {"token": "t", **options}
    requests, pauses, left = [], [], list(answers)
    done = asyncio.Event()

    async def handle(reader, writer):
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                requests.append(head.split(b"\r\n")[0].decode())
                for line in head.split(b"\r\n"):
                    if line.lower().startswith(b"content-length:"):
                        await reader.readexactly(int(line.split(b":")[1]))
                answer = left.pop(0)
                if answer is SILENCE:
                    await done.wait()
                if not answer:
                    return
                writer.write(answer)
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()

    async def pause(seconds):
        pauses.append(seconds)

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with MemoryClient(f"http://127.0.0.1:{port}", timeout=0.2, sleep=pause, **options) as client:
        client.requests, client.pauses = requests, pauses
        yield client
    done.set()
    server.close()
    await server.wait_closed()
