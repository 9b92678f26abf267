"""Retries, authentication and errors of the transport, mostly against servers that misbehave."""

import asyncio
import contextlib
import signal
import socket

import aiohttp
import pytest
from unit.memory.client.scripted import (
    BAD_GATEWAY,
    BROKEN,
    BUSY,
    ENTRY,
    GONE,
    HANG_UP,
    HEAD,
    MOVED,
    OK,
    PAGE,
    SILENCE,
    UNAUTHORIZED,
    WATCH,
    answer,
    problem,
    scripted,
)

from swarm_operator.memory.client import (
    MemoryAuthError,
    MemoryBusyError,
    MemoryClient,
    MemoryClientError,
    MemoryProtocolError,
    MemoryRequestError,
    MemoryServerError,
    MemoryUnavailableError,
)
from swarm_operator.memory.service.access.tokens import Tokens
from swarm_operator.memory.service.errors import UnauthorizedError

TOKEN = "client-0123456789abcdef"


async def test_a_token_file_is_read_again_after_a_401(service, tmp_path):
    file = tmp_path / "mine"
    file.write_text("former")
    async with MemoryClient(f"http://127.0.0.1:{service.port}/", token_file=file) as client:
        with pytest.raises(MemoryAuthError):
            await client.stats()
        file.write_text(TOKEN + "\n")
        assert (await client.stats()).entries == 0
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=tmp_path / "missing") as client:
        with pytest.raises(MemoryClientError, match="missing"):
            await client.stats()


async def test_a_renewed_token_is_read_without_a_refusal(service, tmp_path, monkeypatch):
    refused, authenticate = [], Tokens.authenticate

    def authenticating(tokens, header):
        try:
            return authenticate(tokens, header)
        except UnauthorizedError:
            refused.append(header)
            raise

    monkeypatch.setattr(Tokens, "authenticate", authenticating)
    monkeypatch.setattr("swarm_operator.memory.client.transport._REREAD_SECONDS", 0.0)
    monkeypatch.setattr("swarm_operator.memory.service.access.tokens._CHECK_SECONDS", 0.0)
    file = tmp_path / "mine"
    file.write_text(TOKEN)
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=file) as client:
        assert (await client.stats()).entries == 0
        for path in (service.tokens / "client-token", file):
            path.write_text("renewed-0123456789")
        assert (await client.stats()).entries == 0
        file.unlink()
        assert (await client.stats()).entries == 0, "a file that is being replaced is no reason to stop"
    assert refused == []


async def test_a_connection_that_can_not_be_made_is_tried_again_and_then_told():
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)

    async with MemoryClient("http://127.0.0.1:1", token="t", retries=3, backoff=0.1, sleep=pause) as client:
        with pytest.raises(MemoryUnavailableError) as caught:
            await client.put("n", "k", 1, create_only=True)
        assert not caught.value.uncertain
        readiness = await client.ready()
    assert (readiness.ready, "127.0.0.1:1" in readiness.reason) == (False, True)
    assert len(pauses) == 3
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, (0.1, 0.2, 0.4), strict=True))


async def backup(client, tmp_path):
    await client.backup(tmp_path / "b.db")
    return (tmp_path / "b.db").read_bytes()


async def export(client, _):
    return b"".join([line async for line in client.swarm.export()])


STREAMS = [(backup, "application/vnd.sqlite3"), (export, "application/x-ndjson")]


@pytest.mark.parametrize(("stream", "media_type"), STREAMS)
async def test_a_stream_is_asked_for_again_until_it_begins(tmp_path, stream, media_type):
    whole = answer(200, b"{}\n", media_type)
    async with scripted(HANG_UP, BUSY, whole, retries=2) as client:
        assert await stream(client, tmp_path) == b"{}\n"
        assert len(client.requests) == 3
    (tmp_path / "b.db").unlink(missing_ok=True)
    for refused, kind in (
        ([HANG_UP, HANG_UP, HANG_UP, whole], MemoryUnavailableError),
        ([PAGE, whole], MemoryProtocolError),
    ):
        async with scripted(*refused, retries=2) as client:
            with pytest.raises(kind):
                await stream(client, tmp_path)
            assert len(client.requests) == len(refused) - 1


async def test_a_refusal_for_now_is_tried_again_after_the_time_it_names():
    async with scripted(BUSY, BUSY, OK) as client:
        assert (await client.put("n", "k", 1, create_only=True)).version == 1
        assert client.pauses == [1.0, 1.0]
    async with scripted(*[BUSY] * 4, retries=3) as client:
        with pytest.raises(MemoryBusyError) as caught:
            await client.get("n", "k")
        assert caught.value.transient
        assert len(client.requests) == 4


@pytest.mark.parametrize(
    "lost",
    [
        HANG_UP, SILENCE, b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
        b"rubbish\r\n\r\n", BAD_GATEWAY, answer(503, b"no upstream", "text/plain", Retry_After=1),
        answer(504, media_type=None),
    ],
)  # fmt: skip
async def test_a_lost_answer_is_asked_for_again_where_that_is_harmless(lost):
    async with scripted(lost, OK, lost, OK, lost, GONE, timeout=2) as client:
        assert (await client.get("n", "k")).value == 1
        assert (await client.put("n", "k", 1)).version == 1
        assert await client.delete("n", "k")
        assert [request.split()[0] for request in client.requests] == ["GET", "GET", "PUT", "PUT", "DELETE", "DELETE"]


CONDITIONAL = {
    "put": lambda client: client.put("n", "k", 1, if_version=1),
    "create": lambda client: client.put("n", "k", 1, create_only=True),
    "delete": lambda client: client.delete("n", "k", if_version=1),
    "batch that creates": lambda client: client.batch(
        [
            {"op": "get", "namespace": "n", "key": "k"},
            {"op": "put", "namespace": "n", "key": "k", "value": 1, "create_only": True},
        ]
    ),
    "batch that compares": lambda client: client.batch(
        [{"op": "delete", "namespace": "n", "key": "k", "if_version": 0}]
    ),
}


@pytest.mark.parametrize("call", CONDITIONAL)
@pytest.mark.parametrize("lost", [HANG_UP, SILENCE, BAD_GATEWAY], ids=["hung up", "silence", "bad gateway"])
async def test_a_conditional_write_whose_answer_is_lost_is_never_repeated(lost, call):
    # The first request opens the connection: on a kept-alive one aiohttp itself would repeat a PUT.
    async with scripted(OK, lost, OK, timeout=2) as client:
        await client.get("n", "k")
        with pytest.raises(MemoryUnavailableError) as caught:
            await CONDITIONAL[call](client)
        assert caught.value.uncertain
        assert len(client.requests) == 2


async def test_an_unconditional_batch_whose_answer_is_lost_is_repeated():
    done = answer(200, {"results": [{"status": 200, "entry": HEAD}]})
    async with scripted(HANG_UP, done) as client:
        (result,) = await client.batch([{"op": "put", "namespace": "n", "key": "k", "value": 1}])
        assert (result.ok, len(client.requests)) == (True, 2)


async def test_requests_are_tried_again_for_a_quarter_of_a_minute():
    async with scripted(*[HANG_UP] * 100) as client:
        with pytest.raises(MemoryUnavailableError):
            await client.put("n", "k", 1)
        # What the attempts took counts, too.
        assert 12 < sum(client.pauses) <= 15
        assert max(client.pauses) <= 1
    async with scripted(*[HANG_UP] * 100, retry_for=3) as client:
        with pytest.raises(MemoryUnavailableError):
            await client.get("n", "k")
        assert 1.5 < sum(client.pauses) <= 3
    async with scripted(HANG_UP, HANG_UP, retry_for=0) as client:
        with pytest.raises(MemoryUnavailableError):
            await client.get("n", "k")
        assert client.pauses == []


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
async def test_writers_see_no_error_when_the_service_is_replaced(fork_process, end):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    process = await fork_process("--http-port", port)
    written = asyncio.Queue()
    stopped = asyncio.Event()

    async def write(memory, name):
        number = 0
        while not stopped.is_set():
            number += 1
            await memory.put("n", name, number)
            written.put_nowait(name)
        return number

    async with MemoryClient(process.url, token=process.token) as memory, asyncio.TaskGroup() as group:
        writers = [group.create_task(write(memory, f"w{number}")) for number in range(4)]
        await written.get()
        await process.stop(end)
        await fork_process("--http-port", port)
        while not written.empty():
            written.get_nowait()
        await written.get()
        stopped.set()
        for number, writer in enumerate(writers):
            last = await writer
            assert (await memory.get("n", f"w{number}")).value == last


@pytest.mark.parametrize(
    ("scheme", "retries", "seconds"),
    [("http", 0, "0.1"), ("http", 3, "0.1"), ("https", 0, "0.1"), ("https", 1, "0.2"), ("https", 3, "0.4")],
)
async def test_a_connection_that_is_not_answered_has_a_time_of_its_own(scheme, retries, seconds):
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        # The kernel drops what comes to a full queue, as a network drops what is sent to a pod that has gone.
        for _ in range(3):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
        options = {"timeout": 10, "connect_timeout": 0.1, "retries": retries, "backoff": 0.001}
        async with MemoryClient(url, token="t", **options) as client:
            with pytest.raises(MemoryUnavailableError, match=f"no connection within {seconds} s") as caught:
                await client.put("n", "k", 1, create_only=True)
    assert not caught.value.uncertain
    assert caught.value.transient


class Answer:
    """A response of aiohttp to a DELETE."""

    status, content_type = 204, ""

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def read(self):
        return b""


@pytest.mark.parametrize(
    ("scheme", "seconds"), [("http", [1, 1, 1, 1, 1, 1]), ("https", [1, 2, 4, 4, 1, 2])], ids=["http", "https"]
)
async def test_handshakes_that_take_long_get_more_time_until_one_succeeds(monkeypatch, scheme, seconds):
    late, tried = aiohttp.ConnectionTimeoutError, []
    outcomes = [late(), late(), late(), Answer(), late(), Answer()]

    async def attempt(session, method, url, *, timeout, **options):
        tried.append(timeout.sock_connect)
        outcome = outcomes[len(tried) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async with MemoryClient(f"{scheme}://any", token="t", connect_timeout=1, backoff=0) as client:
        monkeypatch.setattr(client._transport, "_answer", attempt)
        await client.delete("n", "k")
        await client.delete("n", "k")
    assert tried == seconds


async def test_a_server_error_is_told_at_once():
    async with scripted(BROKEN) as client:
        with pytest.raises(MemoryServerError, match="507: disk"):
            await client.put("n", "k", 1)
        assert client.pauses == []


async def test_connections_are_kept_and_used_again():
    connections = 0

    async def handle(reader, writer):
        nonlocal connections
        connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError):
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(OK)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with MemoryClient(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", token="t") as client:
        for _ in range(5):
            await client.get("n", "k")
    server.close()
    await server.wait_closed()
    assert connections == 1


@pytest.mark.parametrize("call", ["get", "watch"])
async def test_requests_and_streams_read_the_token_file_again_once(tmp_path, call):
    (tmp_path / "token").write_text("t")
    options = {"token": None, "token_file": tmp_path / "token"}

    async def first(client):
        return await (client.get("n", "k") if call == "get" else anext(client.watch()))

    async with scripted(UNAUTHORIZED, OK if call == "get" else WATCH, **options) as client:
        assert (await first(client)).version == 1
        assert (len(client.requests), client.pauses) == (2, [])
    async with scripted(UNAUTHORIZED, UNAUTHORIZED, **options) as client:
        with pytest.raises(MemoryAuthError):
            await first(client)
        assert (len(client.requests), client.pauses) == (2, [])
    async with scripted(UNAUTHORIZED) as client:
        with pytest.raises(MemoryAuthError):
            await first(client)


PUTS = {"put": lambda client: client.put("n", "k", 1), "delete": lambda client: client.delete("n", "k")}
CALLS = {
    **PUTS,
    "get": lambda client: client.get("n", "k"),
    "list": lambda client: client.list("n"),
    "batch": lambda client: client.batch([{"op": "put", "namespace": "n", "key": "k", "value": 1}]),
    "range": lambda client: client.delete_range("n", prefix=""),
    "search": lambda client: client.search(text="x"),
    "namespaces": lambda client: anext(client.namespaces()),
    "stats": lambda client: client.stats(),
    "gc": lambda client: client.gc(),
    "watch": lambda client: anext(client.watch(retry_for=0)),
    "export": lambda client: anext(client.swarm.export()),
    "import": lambda client: client.swarm.import_([b"{}"]),
    "register": lambda client: client.agents.register("a"),
    "task": lambda client: client.tasks.create(id="t"),
    "claim": lambda client: client.tasks.claim_next(agent="a"),
    "best": lambda client: client.patterns.best(),
    "send": lambda client: client.communications.send("hi", from_agent="a"),
    "state": lambda client: client.coordination.put("k", 1),
    "agents": lambda client: client.agents.list(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_redirect_is_an_error_and_is_not_followed(call):
    # Where it leads there is an answer that would do.
    good = {"get": OK, "put": OK, "delete": GONE, "watch": WATCH}.get(call, OK)
    async with scripted(MOVED, good, good) as client:
        with pytest.raises(MemoryProtocolError, match=r"307 .* to /elsewhere is not a response"):
            await CALLS[call](client)
        assert len(client.requests) == 1
        assert "/elsewhere" not in client.requests[0]


async def test_a_readiness_check_follows_no_redirect():
    async with scripted(MOVED, answer(200, {"status": "ok"})) as client:
        readiness = await client.ready()
        assert (readiness.ready, "307" in readiness.reason, len(client.requests)) == (False, True, 1)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "foreign",
    [
        PAGE, answer(200, media_type=None), answer(202, ENTRY), answer(200, b"[1]"), answer(200, b"{"),
        answer(200, {"status": "fine"}, "application/problem+json"), answer(404, b"<html>", "text/html"),
        answer(412, b"", None),
    ],
    ids=["page", "nothing", "202", "list", "broken", "problem", "proxy's 404", "proxy's 412"],
)  # fmt: skip
async def test_what_another_answers_is_never_taken_for_the_services(foreign, call):
    async with scripted(foreign, OK) as client:
        with pytest.raises(MemoryProtocolError) as caught:
            await CALLS[call](client)
        assert not caught.value.transient
        assert len(client.requests) == 1
        assert client.pauses == []


@pytest.mark.parametrize("call", PUTS)
async def test_the_error_says_what_answered_and_that_a_write_may_be_lost(call):
    async with scripted(PAGE) as client:
        with pytest.raises(MemoryProtocolError, match=r"200 text/html b'<html>Sign in</html>' is not a resp") as caught:
            await PUTS[call](client)
        assert caught.value.uncertain


@pytest.mark.parametrize("missing", ["namespace", "key", "version", "size", "ttl", "created_at", "updated_at"])
async def test_a_write_is_believed_only_with_the_whole_head_of_its_entry(missing):
    short = {name: value for name, value in HEAD.items() if name != missing}
    operation = {"op": "put", "namespace": "n", "key": "k", "value": 1}
    async with scripted(
        answer(201, short),
        answer(201, {**HEAD, missing: None}),
        answer(200, {"results": [{"status": 201, "entry": short}]}),
    ) as client:
        for _ in range(2):
            with pytest.raises(MemoryProtocolError, match=missing):
                await client.put("n", "k", 1)
        with pytest.raises(MemoryProtocolError, match=missing):
            await client.batch([operation])


@pytest.mark.parametrize(
    "results",
    [
        [], [{"status": 201, "entry": HEAD}] * 2, [{"status": 201}], [{"entry": HEAD}],
        [{"status": 201, "entry": {**HEAD, "key": "other"}}], [{"status": 412}], ["ok"], None,
    ],
)  # fmt: skip
async def test_a_batch_is_believed_only_with_a_result_for_each_operation(results):
    async with scripted(answer(200, {"results": results})) as client:
        with pytest.raises(MemoryProtocolError):
            await client.batch([{"op": "put", "namespace": "n", "key": "k", "value": 1}])


async def test_an_entry_of_another_name_is_not_the_services_answer():
    other = answer(200, {**ENTRY, "key": "other"})
    async with scripted(other, other, answer(200, HEAD)) as client:
        with pytest.raises(MemoryProtocolError, match="'other' in 'n'"):
            await client.put("n", "k", 1)
        with pytest.raises(MemoryProtocolError, match="'other' in 'n'"):
            await client.get("n", "k")
        with pytest.raises(MemoryProtocolError, match="value"):
            await client.get("n", "k")


async def test_an_error_without_a_problem_document_says_what_answered():
    plain = answer(400, b"Invalid HTTP request received.", "text/plain")
    async with scripted(plain, answer(403, b"blocked", "text/html"), answer(500, b"oops", "text/plain")) as client:
        for kind, said in (
            (MemoryRequestError, "400 text/plain b'Invalid HTTP"), (MemoryAuthError, "403 text/html b'blocked'"),
            (MemoryServerError, "500 text/plain b'oops'"),
        ):  # fmt: skip
            with pytest.raises(kind, match=said):
                await client.get("n", "k")


async def test_a_problem_of_the_service_is_believed():
    missing = problem(404, "no entry")
    async with scripted(missing, missing, problem(503, "stopping", Retry_After=0), OK) as client:
        assert await client.get("n", "k") is None
        assert not await client.delete("n", "k")
        assert (await client.get("n", "k")).value == 1


@pytest.mark.parametrize(
    "url",
    ["no url", "h:8080", "ftp://h:1", "http://", "http://h:99999", "http://u:p@h", "http://h/?q=1", "http://h/#f", ""],
)
def test_a_url_that_is_none_is_refused_before_anything_is_sent(url):
    with pytest.raises(ValueError, match=r"base_url: .* is not allowed; http://HOST:PORT"):
        MemoryClient(url, token="t")


@pytest.mark.parametrize("url", ["http://h", "http://h:1/", "https://[::1]:8443/memory", "http://h.ns.svc:8080"])
def test_other_urls_are_allowed(url):
    MemoryClient(url, token="t")


async def test_a_lost_watch_leaves_nothing_uncertain():
    async with scripted(HANG_UP, retries=0) as client:
        with pytest.raises(MemoryUnavailableError) as caught:
            await anext(client.watch())
        assert not caught.value.uncertain


async def test_a_timeout_says_how_long_the_client_waited():
    async with scripted(SILENCE, retries=0, timeout=0.2) as client:
        with pytest.raises(MemoryUnavailableError, match=r"no answer within 0\.2 s") as caught:
            await client.get("n", "k")
        assert not caught.value.uncertain  # a read changes nothing
