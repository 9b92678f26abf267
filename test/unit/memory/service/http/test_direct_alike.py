"""The direct path answers as the application does, byte for byte, and has the same effects."""

import asyncio
import contextlib
import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.budget import budget
from unit.memory.conftest import ADMIN_TOKEN, TOKEN, FakeClock, running_service
from unit.memory.service.http.requests import PATIENCE, READER, TEAM, request, response

FURTHER = {
    "tokens": [
        {"name": "reader", "token": READER, "access": "read"},
        {"name": "team", "token": TEAM, "access": "write", "namespaces": ["team"]},
    ]
}
LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
NAMES = [b"team/k"] * 3 + [
    b"team/l", b"team/%6C", b"team%3Aa/k", b"n/k", b"te%61m/k", b"%00/k", b"team/%00", b"%zz/k", b"%C3%BC/k", b"%FF/k",
    b"/k", b"x" * 256 + b"/k", b"team/k%2Ek", b"team/a/b", b"team//k", b"team/%2F", b"team/k?x=1", b"team/k?",
    b"team/k#f", b"team/", b"team/\xc3\xbc", b"team/%", b"team/" + b"x" * 1025, b'team/"', b"team/k;v", b"team",
    b"team/k v",
]  # fmt: skip
SCHEMES = [b"Bearer " + TOKEN.encode()] * 3 + [
    *(b"bearer " + token.encode() for token in (TOKEN, ADMIN_TOKEN, READER, TEAM)),
    b"Bearer wrong", b"Basic x", b"Bearer " + TOKEN.encode() + b" ", b"Bearer  " + TEAM.encode(),
]  # fmt: skip
FIELDS = [
    b"Accept: */*", b"User-Agent: x (y; z)", b"Connection: keep-alive", b"X-Any: 1", b"accept-encoding: gzip, br",
    b'If-Match: "1"', b"If-Match: *", b"if-none-match: *", b'If-None-Match: "1"', b"If-Match: x",
    b"X-Request-Id: mine", b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    b"Expect: 100-continue", b"Content-Encoding: gzip", b"Content-Encoding: identity", b"Content-Type: text/xml",
    b"Content-Type: text/plain; charset=x", b"content-type: application/json", b"Connection: close",
    b"Connection: Keep-Alive, x", b"Connection: upgrade\r\nUpgrade: h2c", b"Upgrade: h2c", b"X-Content-Length: 13",
    b"Content-Length: 13", b"content-length: 0", b"-Length: 11", b"X-Content-Length: 11", b"Transfer-Encoding: chunked",
    b"A: b\r\n c", b"Accept: */*\r\nAccept: x", b"Host: y", b"X:", b"X:y", b"X:  y", b"X: y ", b"X: \xff",
    b"Connection: close, x", b"bad name: x", b"X\t: y", b"Proxy-Connection: close",
    b"Authorization: Bearer " + TEAM.encode(),
    *[b"\r\n".join(b"x%d: y" % number for number in range(count)) for count in (40, 200)],
]  # fmt: skip
"""Header fields, plain ones and others."""
BODIES = [
    b'{"value":1}', b'{"value": {"a": [1, 2.5, null], "text": "word"}}', b'{"value":"\xc3\xbc"}',
    b'{"value":1,"tags":["a"],"metadata":{"m":1},"ttl":60}', b'{"value":1,"value":2}', b'{"value":1,"x":2}', b"{}",
    b"[]", b"{", b"", b'{"value":18446744073709551616}', b'{"value":{"a":1,"a":2}}', b'{"value":1,"ttl":true}',
    b'{"value":' + b"[" * 70 + b"]" * 70 + b"}", b'{"value":"' + b"x" * 70_000 + b'"}', b'{"value":"\\u003a"}',
    b'{"value":"a\\"b:c"}', b'{"value":12345678901234567890}', b'{"x":1}',
]  # fmt: skip


def odd_request(method, *, name=NAMES[0], scheme=SCHEMES[0], field=FIELDS[0], body=BODIES[0], place=2):
    """A request with the field at a place among the others, and a body if it is a PUT."""
    fields = [b"Host: x", b"Authorization: " + scheme]
    if method == b"PUT":
        fields.append(b"Content-Length: %d" % len(body))
    fields.insert(place, field)
    return request(method, b"/v1/entries/" + name, *fields) + (body if method == b"PUT" else b"")


def odd_requests(draw):
    """Arguments of `odd_request`, of which at most two are odd."""
    odd = draw(st.sets(st.sampled_from(["name", "scheme", "field", "body"]), max_size=2))
    choices = {"name": NAMES, "scheme": SCHEMES, "field": FIELDS, "body": BODIES}
    return {each: draw(st.sampled_from(choices[each])) for each in sorted(odd)}


@st.composite
def requests(draw, *, odd):
    """A request. One that is not odd ends no connection."""
    method = draw(st.sampled_from([b"GET", b"GET", b"PUT", b"PUT", b"PUT", b"DELETE", b"HEAD", b"POST"]))
    place = draw(st.integers(0, 3))
    if odd:
        return odd_request(method, place=place, **odd_requests(draw))
    name, field = draw(st.sampled_from(NAMES[:5])), draw(st.sampled_from(FIELDS[:5]))
    return odd_request(method, name=name, field=field, body=draw(st.sampled_from(BODIES[:6])), place=place)


async def talk(port, sent, *, cuts, one_by_one):
    """Send requests over one connection. Return all that comes back until the server closes the connection.

    Args:
        cuts: places where the bytes are cut into parts that are sent one after the other.
        one_by_one: wait for the response to each request before the next is sent.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    found = b""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            for each in sent if one_by_one else [b"".join(sent)]:
                places = sorted({cut % len(each) for cut in cuts} | {0, len(each)})
                for start, end in itertools.pairwise(places):
                    writer.write(each[start:end])
                    await writer.drain()
                    await asyncio.sleep(0)
                if one_by_one:
                    found += await response(reader, each.partition(b" ")[0])
            writer.write(LAST)
            await writer.drain()
        with contextlib.suppress(ConnectionError):
            while part := await reader.read(65536):
                found += part
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    return re.sub(rb"x-request-id: [0-9a-f]{32}", b"x-request-id: (any)", found)


async def effects(service):
    """The entries of a service, and what its metrics have counted."""
    entries = [await service.store.list(each.namespace) for each in (await service.store.namespaces()).namespaces]
    counts = re.findall(
        r"^swarm_memory_(?:http_requests_total|errors_total|operation_duration_seconds_count|cache_\w+_total).*$",
        await service.metrics(), re.MULTILINE,
    )  # fmt: skip
    return entries, sorted(counts)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A service with the direct path, and one without."""
    clock = FakeClock()
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()

        async def start(*, direct):
            directory = tmp_path_factory.mktemp("service")
            (directory / "tokens").mkdir()
            (directory / "tokens" / "tokens.json").write_text(json.dumps(FURTHER))
            return await stack.enter_async_context(running_service(directory, clock=clock, direct=direct))

        yield runner, runner.run(start(direct=True)), runner.run(start(direct=False)), clock
        runner.run(stack.aclose())


CLEAN = st.tuples(
    st.lists(requests(odd=False), min_size=1, max_size=5), st.lists(st.integers(0, 2000), max_size=2), st.booleans()
)
ODD = st.tuples(st.lists(requests(odd=True), min_size=1, max_size=5), st.just([]), st.just(True))
"""After an odd request that ends the connection, what is read of others that are in progress depends on the time."""


@settings(deadline=None, max_examples=budget(25, long=50))
@given(talk_of=st.one_of(CLEAN, ODD), seconds=st.sampled_from([0, 1, 61]))
def test_the_direct_path_and_the_application_answer_and_act_alike(pair, talk_of, seconds):
    sent, cuts, one_by_one = talk_of
    runner, direct, general, clock = pair
    clock.advance(seconds)

    async def both():
        ours = await talk(direct.port, sent, cuts=cuts, one_by_one=one_by_one)
        theirs = await talk(general.port, sent, cuts=cuts, one_by_one=one_by_one)
        assert ours == theirs
        assert await effects(direct) == await effects(general)

    runner.run(both())


@pytest.mark.parametrize(
    ("part", "values"),
    [
        pytest.param("name", NAMES, id="name"), pytest.param("scheme", SCHEMES, id="scheme"),
        pytest.param("field", FIELDS, id="field"), pytest.param("body", BODIES, id="body"),
    ],
)  # fmt: skip
def test_each_odd_request_is_answered_as_by_the_application(pair, part, values):
    """The request follows a plain one, and is sent twice: what the first one finds out may be remembered."""
    runner, direct, general, _ = pair

    async def both():
        for value, method in itertools.product(values, [b"PUT", b"GET", b"DELETE"]):
            odd = odd_request(method, **{part: value})
            sent = [odd_request(b"PUT"), odd, odd, odd_request(b"GET")]
            ours = await talk(direct.port, sent, cuts=[], one_by_one=True)
            assert ours == await talk(general.port, sent, cuts=[], one_by_one=True), odd
        assert await effects(direct) == await effects(general)

    runner.run(both())
