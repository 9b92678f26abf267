"""Accepts the connections of a socket, many per turn of the event loop.

uvloop's server accepts one connection per turn. While turns are slow, new connections, including probes, would wait for
seconds behind many others.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final

_PER_TURN: Final = 8
"""Maximum connections accepted in one turn, which takes 2 to 8 ms; their first requests take as much in the next."""
_PAUSE: Final = 0.1
"""Seconds until the next attempt after the process has reached its limit of open files."""


class Acceptor:
    """Makes a protocol for each connection of a listening socket. It has the methods of asyncio.Server that are used.

    Args:
        sock: a bound socket; the caller closes it.
        factory: makes a protocol.
        backlog: number of connections that may wait.
    """

    def __init__(self, sock: socket.socket, factory: Callable[[], asyncio.BaseProtocol], *, backlog: int) -> None:
        self._socket = sock
        self._factory = factory
        self._loop = asyncio.get_running_loop()
        self._connecting: set[asyncio.Task[object]] = set()
        self._resuming: asyncio.TimerHandle | None = None
        sock.setblocking(False)
        sock.listen(backlog)
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Stop accepting. Connections stay open."""
        self._loop.remove_reader(self._socket)
        if self._resuming is not None:
            self._resuming.cancel()

    async def wait_closed(self) -> None:
        """Wait until all accepted connections have their protocols."""
        if self._connecting:
            await asyncio.wait(self._connecting)

    def _accept(self) -> None:
        for _ in range(_PER_TURN):
            try:
                connection, _ = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError:
                # At the limit of open files, the socket stays readable and would keep the loop busy.
                self._loop.remove_reader(self._socket)
                self._resuming = self._loop.call_later(_PAUSE, self._loop.add_reader, self._socket, self._accept)
                return
            connection.setblocking(False)
            task = self._loop.create_task(self._connect(connection))
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _connect(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._factory, connection)
        except OSError:  # the client has disconnected
            connection.close()
