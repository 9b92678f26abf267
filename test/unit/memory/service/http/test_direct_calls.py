"""How many calls of functions a plain request takes on the thread of the event loop: a bound that needs no clock."""

import asyncio
import contextlib
import itertools
import socket
import sys

import orjson
import pytest
import uvloop
from support.service_accounts import Issuer
from unit.memory.conftest import TOKEN, running_service
from unit.memory.service.http.requests import PATIENCE, request


class Calls:
    """Counts calls of functions and methods on this thread, those of the library in C among them."""

    def __init__(self):
        self.count = 0

    def __call__(self, _frame, event, _argument):
        self.count += event in {"call", "c_call"}


@pytest.mark.parametrize(
    ("kind", "holder", "most"),
    [("PUT", "client", 110), ("GET", "client", 60), ("DELETE", "client", 75), ("PUT", "pod", 110), ("GET", "pod", 60)],
)
def test_a_request_costs_few_calls(tmp_path, kind, holder, most):
    """Measured on the thread of the loop, with 16 connections and the header fields of the Python client."""
    issuer, file = Issuer(), tmp_path / "service-accounts.json"
    issuer.write(file)
    token = issuer.token() if holder == "pod" else TOKEN
    connections, rounds, calls = 16, 8, Calls()
    fields = [
        b"Host: x", b"Authorization: Bearer " + token.encode(), b"Accept: */*", b"Accept-Encoding: gzip, deflate",
        b"User-Agent: Python/3.11 aiohttp/3.12.15",
    ]  # fmt: skip
    body = orjson.dumps({"value": {"text": " ".join(f"word{number}" for number in range(24))}})
    put_fields = (*fields, b"Content-Type: application/json")

    def sent(method, key):
        path = b"/v1/entries/team/k%d" % key
        # The client announces an empty body with a DELETE.
        return {
            b"PUT": request(method, path, *put_fields, body=body),
            b"GET": request(method, path, *fields),
            b"DELETE": request(method, path, *fields, body=b""),
        }[method]

    def talk_to(sockets, method, rounds):
        for number, (place, each) in itertools.product(range(rounds), enumerate(sockets)):
            each.sendall(sent(method, number * connections + place))
            if place == connections - 1:
                for other in sockets:
                    assert other.recv(65536).startswith((b"HTTP/1.1 200", b"HTTP/1.1 201", b"HTTP/1.1 204"))

    async def measure():
        async with contextlib.AsyncExitStack() as stack:
            service = await stack.enter_async_context(running_service(tmp_path, service_accounts=file))
            address = ("127.0.0.1", service.port)
            sockets = [await asyncio.to_thread(socket.create_connection, address, PATIENCE) for _ in range(connections)]
            for each in sockets:
                stack.callback(each.close)
            await asyncio.to_thread(talk_to, sockets, b"PUT", rounds)
            await asyncio.to_thread(talk_to, sockets, b"GET", 1)  # the first request of a connection costs more
            sys.setprofile(calls)
            try:
                await asyncio.to_thread(talk_to, sockets, kind.encode(), rounds)
            finally:
                sys.setprofile(None)

    uvloop.run(measure())
    assert calls.count / (connections * rounds) <= most
