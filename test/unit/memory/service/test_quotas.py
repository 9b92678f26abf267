"""No token takes everything: shares over HTTP, what is counted, and that each amount is given back."""

import asyncio
import contextlib
import json
from dataclasses import dataclass

import pytest

from swarm_operator.memory.core.errors import OverloadedError
from swarm_operator.memory.service.http.routes import transfer
from swarm_operator.memory.service.quotas import Quota

CLIENT, ADMIN = "client-0123456789abcdef", "admin-0123456789abcdef"
A, B = "team-a-0123456789abcdef", "team-b-0123456789abcdef"
TOKENS = {"tokens": [{"name": "a", "token": A, "access": "write"}, {"name": "b", "token": B, "access": "write"}]}
MIB = 1024 * 1024


@dataclass
class Holder:
    name: str
    admin: bool = False
    writes: bool = True


ONE, TWO, THREE, BOSS = Holder("one"), Holder("two"), Holder("three"), Holder("boss", admin=True)


def test_a_token_has_a_share_the_others_leave_a_reserve_and_the_admin_gets_in():
    quota = Quota("seats", 16, percent=50)
    for _ in range(8):
        quota.take(ONE)
    with pytest.raises(OverloadedError, match="holds 8 and asks for 1 more; the share of one token is 8 of 16"):
        quota.take(ONE)
    for _ in range(6):
        quota.take(TWO)
    with pytest.raises(OverloadedError, match="seats: all tokens hold 14, and 1 more are asked for; the limit is 14"):
        quota.take(THREE)
    assert not quota.has_room(THREE)
    for _ in range(2):
        quota.take(BOSS)
    with pytest.raises(OverloadedError, match="the limit is 16"):
        quota.take(BOSS)
    assert (quota.held, quota.refused) == (16, 3)


def test_what_is_given_back_can_be_taken_again():
    quota = Quota("seats", 4, percent=25)
    for _ in range(3):
        with quota.holding(ONE), pytest.raises(OverloadedError), quota.holding(ONE):
            raise AssertionError("a second one was given")
        with contextlib.suppress(ValueError), quota.holding(ONE):
            raise ValueError
    assert quota.held == 0
    assert quota._held == {}


def test_a_request_that_is_alone_gets_more_than_the_limit_and_no_other_beside_it():
    quota = Quota("bytes", 100)
    quota.take(ONE, 60)
    quota.take(ONE, 200, mine=60)
    for holder in (ONE, TWO, BOSS):
        with pytest.raises(OverloadedError):
            quota.take(holder, 1)
    quota.give_back(ONE, 260)
    assert quota.has_room(TWO)


def test_one_is_enough_for_anybody():
    quota = Quota("backups", 1)
    quota.take(ONE)
    with pytest.raises(OverloadedError):
        quota.take(BOSS)


@pytest.fixture
def start(start_service, tmp_path):
    """start(max_watches=...) is a service with two further tokens."""
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "tokens.json").write_text(json.dumps(TOKENS))
    return start_service


class Request:
    """A request of which only a part is sent."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    @classmethod
    async def begin(cls, service, head, token, *, length=None, body=b""):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        lines = [f"{head} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", "Connection: close"]
        if length is not None:
            lines += [f"Content-Length: {length}", "Expect: 100-continue"]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        if length is not None:
            await reader.readuntil(b"100 Continue\r\n\r\n")
        writer.write(body)
        return cls(reader, writer)

    async def status(self):
        return int((await self.reader.readline()).split()[1])

    async def close(self):
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


@pytest.fixture
async def begin():
    """begin(service, head, token, ...) begins a request, which is closed at the end."""
    begun = []

    async def beginning(*arguments, **options):
        begun.append(await Request.begin(*arguments, **options))
        return begun[-1]

    yield beginning
    for request in begun:
        await request.close()


async def test_watches_have_shares(start, begin, eventually):
    async with start(max_watches=4) as service:

        async def watch(token):
            return await (await begin(service, "GET /v1/watch", token)).status()

        assert [await watch(A) for _ in range(3)] == [200, 200, 429]
        assert [await watch(B) for _ in range(2)] == [200, 429]
        assert [await watch(ADMIN) for _ in range(2)] == [200, 429]
        metrics = await service.metrics()
        for line in (
            'swarm_memory_quota_held{resource="watches"} 4.0',
            'swarm_memory_quota_limit{resource="watches"} 4.0',
            'swarm_memory_quota_refused_total{resource="watches"} 3.0',
            'swarm_memory_quota_held{resource="bodies"} 0.0',
        ):
            assert line in metrics


async def test_exports_have_shares(start, begin, monkeypatch):
    gate = asyncio.Event()

    async def lines(_store, **_):
        yield b"x" * 100_000
        await gate.wait()

    monkeypatch.setattr(transfer, "export_lines", lines)
    async with start() as service:
        statuses = [await (await begin(service, "GET /v1/export", A)).status() for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert await (await begin(service, "GET /v1/export", B)).status() == 200
        assert service.quotas.exports.held == 3
        gate.set()


async def test_imports_that_trickle_have_shares_and_free_their_place_when_they_hang_up(start, begin, eventually):
    async with start() as service:
        slow = [await begin(service, "POST /v1/import", A, length=100, body=b"\n") for _ in range(2)]
        answer = await service.call("POST", "/v1/import", b"", token=A)
        assert (answer.status, answer.headers.get("retry-after")) == (429, "1")
        assert "imports: the token a holds 2" in answer.json["detail"]
        assert (await service.call("POST", "/v1/import", b"", token=B)).status == 200
        for request in slow:
            await request.close()

        async def free():
            return service.quotas.imports.held == 0

        await eventually(free)


async def holds(service, size, eventually):
    """Wait until this many bytes of bodies have arrived; more must not be held."""

    async def arrived():
        return service.quotas.bodies.held >= size

    await eventually(arrived)
    assert service.quotas.bodies.held == size


async def test_a_body_that_is_announced_and_not_sent_holds_nothing(start, begin, eventually):
    async with start() as service:
        for number in range(16):
            await begin(service, f"PUT /v1/entries/n/{number}", A, length=16 * MIB, body=b"x" * 70_000)
        await holds(service, 16 * 70_000, eventually)
        body = b'{"value":"' + b"x" * MIB + b'"}'
        for token in (A, B):
            assert (await service.call("PUT", "/v1/entries/n/k", body, token=token)).status in {200, 201}


async def test_the_bytes_of_large_bodies_have_shares(start, begin, eventually):
    async with start(max_held_body_bytes=400_000) as service:

        async def put(token, size=100_000):
            return await service.call("PUT", f"/v1/entries/{token}/k", b'{"value":"' + b"x" * size + b'"}', token=token)

        async def slow(token):
            return await begin(service, f"PUT /v1/entries/{token}/s", token, length=300_000, body=b"x" * 150_000)

        async def one_left():
            return service.quotas.bodies.held == 150_000

        first = await slow(A)
        await holds(service, 150_000, eventually)
        refused = await put(A)
        assert (refused.status, refused.headers.get("retry-after")) == (429, "1")
        assert "bytes of requests: the token a holds 150000" in refused.json["detail"]
        assert (await put(A, 1000)).status == 201, "small ones are not counted"
        assert (await put(B)).status == 201
        await slow(B)
        await holds(service, 300_000, eventually)
        assert "all tokens hold 300000" in (await put(CLIENT)).json["detail"]
        assert (await put(ADMIN, 90_000)).status == 201
        await first.close()
        await eventually(one_left)
        assert (await put(A)).status in {200, 201}


async def test_a_large_body_is_held_until_its_request_is_answered(start, monkeypatch):
    async with start() as service:
        held = []
        original = type(service.store).write

        async def write(*arguments, **options):
            held.append(service.quotas.bodies.held)
            return await original(*arguments, **options)

        monkeypatch.setattr(type(service.store), "write", write)
        body = b'{"value":"' + b"x" * 100_000 + b'"}'
        assert (await service.call("PUT", "/v1/entries/n/k", body)).status == 201
        # With an id, so that the application answers it: a small body that it does not read is not held either.
        assert (await service.call("PUT", "/v1/entries/n/k", b'{"value":1}', X_Request_Id="a")).status == 200
        assert (held, service.quotas.bodies.held) == ([len(body), 0], 0)
        assert (await service.call("PUT", "/v1/entries/n/k", body[:-1] + b"!")).status == 400
        assert service.quotas.bodies.held == 0
