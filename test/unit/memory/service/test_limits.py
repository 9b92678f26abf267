"""Bad input of every kind is a 4xx that names what is wrong; the service keeps answering."""

import asyncio
import contextlib
import json
import threading

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.memory.conftest import exchange

from swarm_operator.memory.core import strict_json

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"not json", "body"),
        (b"[1]", "body"),
        (b"null", "body"),
        (b"{}", "body"),
        (b'{"value":NaN}', "body"),
        (b'{"value":1e999}', "body"),
        (b'{"value":"\\ud800"}', "body"),
        (b'{"value":"\xff"}', "body"),
        (b'{"value":123456789012345678901234567890}', "body"),
        (b'{"value":1,"value":2}', "body"),
        (b'{"value":{"a":{"b":1,"b":2}}}', "body"),
        (b'{"value":' + b"[" * 70 + b"]" * 70 + b"}", "body"),
        (b'{"value":' + b"[" * 100_000, "body"),
        (b'{"value":1,"values":2}', "body: unknown member 'values'"),
        (b'{"value":1,"ttl":-1}', "ttl"),
        (b'{"value":1,"ttl":"60"}', "ttl"),
        (b'{"value":1,"ttl":1.0}', "ttl"),
        (b'{"value":1,"ttl":true}', "ttl"),
        (b'{"value":1,"ttl":9999999999999}', "ttl"),
        (b'{"value":1,"tags":"a"}', "tags"),
        (b'{"value":1,"tags":{"a":1}}', "tags"),
        (b'{"value":1,"tags":[1]}', "tags[0]"),
        (b'{"value":1,"tags":["a",""]}', "tags[1]"),
        (b'{"value":1,"tags":["\\u0000"]}', "tags[0]"),
        (b'{"value":1,"tags":[' + b",".join(b'"%d"' % n for n in range(65)) + b"]}", "tags"),
        (b'{"value":1,"metadata":[]}', "metadata"),
        (b'{"value":1,"metadata":"x"}', "metadata"),
        (b'{"value":1,"metadata":{"x":"' + b"x" * 70_000 + b'"}}', "metadata"),
    ],
)
async def test_a_bad_body_is_a_400_that_names_the_field(service, body, field):
    answer = await service.call("PUT", "/v1/entries/n/k", body)
    assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
    assert answer.json["field"] == field
    assert answer.json["allowed"]
    assert (await service.call("GET", "/v1/entries/n/k")).status == 404


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("n/%zz", "key"),
        ("n/%", "key"),
        ("n/%2", "key"),
        ("%2/k", "namespace"),
        ("%ff/k", "namespace"),
        ("n/%ed%a0%80", "key"),
        ("n/%00", "key"),
        ("%00/k", "namespace"),
        ("/k", "namespace"),
        ("n/", "key"),
        ("n/" + "k" * 1025, "key"),
        ("n/" + "%C3%A9" * 513, "key"),
        ("n" * 256 + "/k", "namespace"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_a_bad_name_is_a_400_that_names_the_part(service, method, path, field):
    answer = await service.call(method, f"/v1/entries/{path}", {"value": 1})
    assert (answer.status, answer.json["field"]) == (400, field)


async def test_names_may_be_as_long_as_the_limits_say(service):
    for path in ("n" * 255 + "/" + "k" * 1024, "%C3%A9" * 127 + "/" + "%F0%9F%90%8D" * 256):
        await service.put(path, 1)
        assert (await service.call("GET", f"/v1/entries/{path}")).status == 200


async def test_a_body_may_be_as_long_as_the_limit_and_no_longer(start_service):
    async with start_service(max_body_bytes=100_000) as service:
        fits = b'{"value":"' + b"x" * (100_000 - 12) + b'"}'
        assert len(fits) == 100_000
        assert (await service.call("PUT", "/v1/entries/n/k", fits)).status == 201
        answer = await service.call("PUT", "/v1/entries/n/l", fits + b" ")
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert "100000" in answer.json["detail"]
        for length in ("99999999999999", str(2**70)):
            answer = await service.call("PUT", "/v1/entries/n/l", Content_Length=length)
            assert 400 <= answer.status < 500


async def test_a_token_that_may_only_read_sends_no_more_than_the_largest_batch_of_gets(start_service, tmp_path):
    reader = {"name": "reader", "token": "reader-0123456789abcdef", "access": "read"}
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "tokens.json").write_text(json.dumps({"tokens": [reader]}))
    longest = {"op": "get", "namespace": "n" * 255, "key": "\u00e9" * 512}
    largest = json.dumps({"operations": [longest] * 1000}, ensure_ascii=False).encode()
    async with start_service(mcp=True) as service:
        answer = await service.call("POST", "/v1/batch", largest, token=reader["token"])
        assert [result["status"] for result in answer.json["results"]] == [404] * 1000
        for path in ("/v1/batch", "/mcp"):
            answer = await service.call("POST", path, b" " * (2 * MIB + 1), token=reader["token"])
            assert (answer.status, answer.json["detail"]) == (
                413,
                "a body has at most 2097152 bytes with a token that may only read",
            )
        assert (await service.call("POST", "/v1/batch", b" " * (2 * MIB + 1))).status == 400


async def test_a_body_without_a_length_is_measured_as_it_comes(start_service):
    async with start_service(max_body_bytes=100_000) as service:
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        for count, status in ((2, 201), (8, 413)):
            chunks = b'b\r\n{"value":1}\r\n' + chunk * count + b"0\r\n\r\n"
            head = (
                b"PUT /v1/entries/n/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n"
                b"Authorization: Bearer client-0123456789abcdef\r\n\r\n"
            )
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(head + chunks)
            answer = await reader.read()
            writer.close()
            assert answer.split()[1] == str(status).encode()


async def test_the_largest_value_makes_the_round_trip(service):
    value = "x" * (16 * MIB - 12)
    assert (await service.call("PUT", "/v1/entries/n/k", b'{"value":"' + value.encode() + b'"}')).status == 201
    answer = await service.call("GET", "/v1/entries/n/k")
    assert answer.status == 200
    assert answer.json["value"] == value
    assert (await service.call("PUT", "/v1/entries/n/l", b'{"value":"' + value.encode() + b'x"}')).status == 413


async def test_a_client_that_stops_sending_is_given_up(start_service):
    async with start_service(body_timeout=0.05) as service:
        answer = await service.call("PUT", "/v1/entries/n/k", b'{"value"', Content_Length="100")
        assert answer.status in {400, 408}  # two Content-Length headers
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(
            b"PUT /v1/entries/n/k HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
            b'Authorization: Bearer client-0123456789abcdef\r\n\r\n{"value"'
        )
        assert (await reader.read()).startswith(b"HTTP/1.1 408")
        writer.close()
        assert (await service.call("GET", "/v1/stats")).json["entries"] == 0


async def test_a_client_that_hangs_up_writes_nothing(service):
    _, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(
        b"PUT /v1/entries/n/k HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n"
        b'Authorization: Bearer client-0123456789abcdef\r\n\r\n{"value":1}'
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await service.call("GET", "/v1/entries/n/k")).status == 404


async def test_a_full_write_queue_answers_429(start_service, monkeypatch):
    from swarm_operator.memory.core.errors import OverloadedError

    async with start_service() as service:

        def full(*_):
            raise OverloadedError("4096 writes are waiting")

        monkeypatch.setattr(service.store._writer, "enqueue", full)
        answer = await service.call("PUT", "/v1/entries/n/k", {"value": 1})
        assert (answer.status, answer.headers["retry-after"]) == (429, "1")
        assert 'swarm_memory_errors_total{code="overloaded"} 1.0' in await service.metrics()


async def test_a_compressed_body_is_refused_and_not_guessed_at(service):
    answer = await service.call("PUT", "/v1/entries/n/k", b"\x1f\x8b", Content_Encoding="gzip")
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "identity")


JSON_TYPES = [
    None, "application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json", "text/json",
    "application/x-www-form-urlencoded", "application/octet-stream", "text/plain;charset=UTF-8",
]  # fmt: skip
OTHER_TYPES = [
    "multipart/form-data; boundary=x",
    "application/xml",
    "text/html",
    "image/png",
    "application/msgpack",
    "x",
]


@pytest.mark.parametrize("sent", JSON_TYPES)
async def test_json_may_be_called_what_programs_call_it(service, sent):
    headers = {} if sent is None else {"Content_Type": sent}
    assert (await service.call("PUT", "/v1/entries/n/k", {"value": 1}, **headers)).status == 201
    assert (await service.call("POST", "/v1/batch", {"operations": []}, **headers)).status == 200
    assert (await service.call("PUT", "/v1/agents/a", {"type": "coder"}, **headers)).status == 201
    assert (await service.call("POST", "/v1/import", b"", **headers)).status == 200


@pytest.mark.parametrize("sent", OTHER_TYPES)
async def test_a_body_that_is_said_to_be_something_else_is_a_415(service, sent):
    for method, path in (
        ("PUT", "/v1/entries/n/k"),
        ("POST", "/v1/batch"),
        ("PUT", "/v1/agents/a"),
        ("POST", "/v1/import"),
    ):
        answer = await service.call(method, path, {"value": 1}, Content_Type=sent)
        assert (answer.status, answer.json["type"]) == (415, "urn:swarm-memory:problem:unsupported-media-type")
        assert answer.headers["accept"] == "application/json"
    assert (await service.call("GET", "/v1/entries/n/k", Content_Type=sent)).status == 404


async def test_accept_is_ignored(service):
    assert (await service.call("GET", "/v1/stats", Accept="text/html")).headers["content-type"] == "application/json"


@pytest.mark.parametrize("tokens", [["wrong", "client-0123456789abcdef"], ["client-0123456789abcdef"] * 2])
async def test_of_two_tokens_none_counts(service, tokens):
    lines = "".join(f"Authorization: Bearer {token}\r\n" for token in tokens)
    request = f"GET /v1/stats HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}\r\n"
    answer = await exchange(service.port, request.encode())
    assert answer.status == 401


@pytest.mark.parametrize("lengths", [(11, 11), (11, 40), (40, 11)])
async def test_of_two_lengths_none_counts(service, lengths):
    """A proxy may believe the other one, and take the rest of the body for a request."""
    lines = "".join(f"Content-Length: {length}\r\n" for length in lengths)
    request = (
        f"PUT /v1/entries/n/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{lines}"
        'Authorization: Bearer client-0123456789abcdef\r\n\r\n{"value":1}GET /healthz HTTP/1.1\r\n\r\n'
    )
    answer = await exchange(service.port, request.encode())
    assert (answer.status, answer.json["type"]) == (400, "urn:swarm-memory:problem:malformed-request")
    assert b"HTTP/1.1 " not in answer.body.replace(answer.json["detail"].encode(), b"")
    assert (await service.store.stats()).entries == 0


@pytest.mark.parametrize("hosts", [["localhost", "evil.example"], ["evil.example", "localhost"], ["localhost"] * 2])
async def test_of_two_hosts_none_counts(start_service, hosts):
    async with start_service(mcp=True, host="127.0.0.1") as service:
        lines = "".join(f"Host: {host}\r\n" for host in hosts)
        request = (
            f"POST /mcp HTTP/1.1\r\nConnection: close\r\nContent-Length: 2\r\n{lines}"
            "Authorization: Bearer client-0123456789abcdef\r\n\r\n{}"
        )
        answer = await exchange(service.port, request.encode())
        assert (answer.status, answer.json["detail"].partition(" ")[0]) == (403, "this")


async def test_a_condition_on_several_lines_is_one_list(service):
    await service.put("n/k", 1)
    request = (
        b"GET /v1/entries/n/k HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        b'Authorization: Bearer client-0123456789abcdef\r\nIf-None-Match: "1"\r\nIf-None-Match: "7"\r\n\r\n'
    )
    assert (await exchange(service.port, request)).status == 304


async def test_a_large_body_is_parsed_beside_the_event_loop(service, monkeypatch):
    """Each operation with a JSON body, and each line of an import."""
    loop_thread, threads = threading.get_ident(), set()
    parse = strict_json._loads

    def recording(text):
        if len(text) > 70_000:
            threads.add(threading.get_ident())
        return parse(text)

    monkeypatch.setattr(strict_json, "_loads", recording)
    text = "x" * 80_000
    put = {"op": "put", "namespace": "n", "key": "b", "value": text}
    line = json.dumps({"namespace": "n", "key": "i", "value": text}).encode()
    for method, path, body in (
        ("PUT", "/v1/entries/n/k", {"value": text}),
        ("POST", "/v1/batch", {"operations": [put]}),
        ("PUT", "/v1/agents/a", {"type": "coder", "note": text}),
        ("POST", "/v1/tasks", {"id": "t", "description": "x", "input": text}),
        ("POST", "/v1/import", line),
    ):
        threads.clear()
        answer = await service.call(method, path, body)
        assert answer.status in {200, 201}, answer
        assert threads, path
        assert loop_thread not in threads, path


RAW_TEXT = st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode(errors="surrogatepass"))
PATHS = st.one_of(
    RAW_TEXT.map(lambda raw: b"/v1/entries/n/" + b"".join(b"%%%02x" % byte for byte in raw)),
    RAW_TEXT.map(lambda raw: b"/v1/entries/" + raw),
    RAW_TEXT.map(lambda raw: b"/v1/entries?namespace=n&" + raw),
    st.sampled_from([b"/v1/entries/n/k", b"/v1/entries/a%2Fb/../../k", b"/v1/stats?x", b"/readyz?\xff", b"*", b"//"]),
)
HEADERS = st.sampled_from([b"If-Match", b"If-None-Match", b"Content-Length", b"Content-Encoding", b"Transfer-Encoding"])
MEMBERS = st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)
DOCUMENTS = st.fixed_dictionaries({}, optional=dict.fromkeys(("value", "tags", "metadata", "ttl"), MEMBERS))
BODIES = RAW_TEXT | DOCUMENTS.map(lambda document: json.dumps(document).encode())


async def test_no_request_however_odd_is_answered_with_a_5xx(service):
    loop = asyncio.get_running_loop()
    statuses = []

    async def send(method, path, header, value, body):
        lines = [
            method + b" " + path + b" HTTP/1.1",
            b"Host: x",
            b"Connection: close",
            b"Authorization: Bearer client-0123456789abcdef",
        ]
        if header is not None:
            lines.append(header + b": " + value)
        if header != b"Content-Length":
            lines.append(b"Content-Length: %d" % len(body))
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        with contextlib.suppress(ConnectionError):
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
            writer.write_eof()
        with contextlib.suppress(ConnectionError):
            answer = await reader.read()
            assert answer == b"" or answer.split()[1][:1] in b"1234", answer
            statuses.append(answer[9:12])
        writer.close()

    @settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from([b"GET", b"PUT", b"DELETE", b"POST", b"\xff"]), PATHS, st.none() | HEADERS, RAW_TEXT, BODIES)
    def fuzz(method, path, header, value, body):
        asyncio.run_coroutine_threadsafe(send(method, path, header, value, body), loop).result(10)

    await asyncio.to_thread(fuzz)
    assert {b"400", b"404"} <= set(statuses)
    assert (await service.call("GET", "/healthz", token=None)).status == 200
    listed = await service.call("GET", "/v1/entries?namespace=n&limit=1000")
    assert listed.status == 200
    orjson.loads(listed.body)
