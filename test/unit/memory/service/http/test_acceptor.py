import asyncio
import contextlib
import errno
import itertools
import socket

import pytest
import uvloop

from swarm_operator.memory.service.http import acceptor as module
from swarm_operator.memory.service.http.acceptor import Acceptor


class Protocol(asyncio.Protocol):
    made = 0

    def connection_made(self, transport):
        type(self).made += 1
        transport.write(b"hello")
        transport.close()


class Unready:
    """A socket that can't accept for want of files, until it is told otherwise."""

    def __init__(self, sock):
        self._sock = sock
        self.attempts = 0
        self.tried = asyncio.Event()
        self.files = False

    def __getattr__(self, name):
        return getattr(self._sock, name)

    def accept(self):
        self.attempts += 1
        if self.attempts == 3:
            self.tried.set()
        if not self.files:
            raise OSError(errno.EMFILE, "Too many open files")
        return self._sock.accept()


@contextlib.contextmanager
def bound():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


@contextlib.asynccontextmanager
async def accepting(sock):
    Protocol.made = 0
    acceptor = Acceptor(sock, Protocol, backlog=256)
    try:
        yield acceptor
    finally:
        acceptor.close()
        await acceptor.wait_closed()


def test_many_connections_are_accepted_in_a_few_turns():
    """On the loop of the service, whose own server accepts one a turn. Not all at once: others have their turn, too."""

    async def run():
        with bound() as sock:
            async with accepting(sock):
                with contextlib.ExitStack() as clients:
                    for _ in range(3 * module._PER_TURN):
                        clients.enter_context(socket.create_connection(sock.getsockname()))
                    made = [0]
                    while made[-1] < 3 * module._PER_TURN:
                        await asyncio.sleep(0)
                        made.append(Protocol.made)
                    assert len(made) < module._PER_TURN
                    assert max(later - earlier for earlier, later in itertools.pairwise(made)) <= module._PER_TURN

    uvloop.run(run())


async def test_no_file_for_a_connection_is_a_pause_and_no_end(monkeypatch):
    monkeypatch.setattr(module, "_PAUSE", 0.0)
    with bound() as sock:
        unready = Unready(sock)
        async with accepting(unready):
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            await unready.tried.wait()
            unready.files = True
            assert await reader.read() == b"hello"
            writer.close()


async def test_a_closed_one_accepts_nothing():
    with bound() as sock:
        async with accepting(sock) as acceptor:
            acceptor.close()
            with socket.create_connection(sock.getsockname()):
                for _ in range(10):
                    await asyncio.sleep(0)
                assert Protocol.made == 0


@pytest.mark.parametrize("reset", [True, False])
async def test_a_client_that_has_gone_again_does_no_harm(reset):
    with bound() as sock:
        async with accepting(sock):
            client = socket.create_connection(sock.getsockname())
            if reset:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            assert await reader.read() == b"hello"
            writer.close()
