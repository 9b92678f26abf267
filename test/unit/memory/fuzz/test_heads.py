"""Whatever comes as the head of a request, on either port that speaks HTTP, with and without a token."""

import asyncio
import re

import pytest
from hypothesis import strategies as st
from unit.memory.fuzz.inputs import Sent
from unit.memory.fuzz.target import TOKENS, exchange, refused_or_served

pytestmark = pytest.mark.timeout(1800)  # to find the smallest example of a failure takes minutes

NEXT = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
"""Behind every head that is not cut: the connection ends when the head was understood."""
BEGINS = 0.5
"""Seconds to wait for an answer: to half a head there is none."""

filler = st.builds(
    lambda piece, times: Sent(piece * times),
    st.sampled_from([b"a", b" ", b"\t", b",", b"%41", b"\xff", b"=", b"/", b";q=0.1,", b"\\", b'"']),
    st.sampled_from([1, 10, 1000, 70_000, 1_000_000]),
)
methods = st.sampled_from(
    [
        b"GET",
        b"PUT",
        b"POST",
        b"DELETE",
        b"HEAD",
        b"OPTIONS",
        b"PATCH",
        b"CONNECT",
        b"TRACE",
        b"PRI",
        b"get",
        b"",
        b"\0",
    ]
) | st.binary(max_size=5)
targets = st.sampled_from([
    b"/", b"/healthz", b"/readyz", b"/metrics", b"/openapi.json", b"/mcp", b"/v1/entries/a/k", b"/v1/watch", b"*",
    b"/v1/entries?namespace=a&namespace=a", b"/v1/search?text=a", b"/admin/gc", b"/%61dmin/gc", b"/%", b"/%00", b"//",
    b"/v1/../admin/gc", b"/v1/entries/a/k#f", b"http://x/healthz", b"https://[::1/", b"localhost:1", b"/a b", b"",
]) | filler.map(b"/".__add__)  # fmt: skip
versions = st.sampled_from(
    [b"HTTP/1.1"] * 6 + [b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.10", b"HTTP/9.9", b"http/1.1", b"ICY", b""]
)
fields = st.sampled_from([
    b"Host", b"Content-Length", b"Transfer-Encoding", b"Authorization", b"Connection", b"Expect", b"Upgrade", b"Range",
    b"If-Match", b"If-None-Match", b"Accept", b"Content-Type", b"Content-Encoding", b"Last-Event-ID", b"Traceparent",
    b"X-Request-ID", b"Origin", b"Cookie", b"Mcp-Session-Id", b"Mcp-Protocol-Version", b"Trailer", b"TE", b"Keep-Alive",
    b"Sec-WebSocket-Key", b"HTTP2-Settings", b"Proxy-Connection", b"X-Forwarded-For", b"Content-Length ", b" Host", b"",
]) | st.binary(max_size=5)  # fmt: skip
bearers = st.sampled_from([f"Bearer {token}".encode() for token in TOKENS if token])
words = st.sampled_from([
    b"", b"localhost", b"0", b"5", b"-1", b"+5", b"5, 5", b"1e3", b"0x5", b"99999999999999999999", b"chunked",
    b"gzip, chunked", b"chunked, chunked", b"identity", b"100-continue", b"close", b"keep-alive", b"Upgrade", b"h2c",
    b"websocket", b"bytes=0-", b"*", b'"1"', b'W/"1"', b'"1", "2"', b"application/json", b"text/html;q=0", b"gzip",
    b"Bearer", b"Basic YTpi", b"00-" + b"0" * 32 + b"-" + b"1" * 16 + b"-01", b"\xff", b"\0", b"a\rb", b"a\nb: c",
])  # fmt: skip
contents = words | bearers | filler
ends = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\n ", b"\r\n\t", b" \r\n", b"\0\r\n", b"\r\r\n"])
bodies = st.sampled_from([
    b"", b"hello", b'{"value":1}', b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"ffffffffffffffff\r\n", b"-1\r\n",
    b"\r\n", b"5;x=" + b"y" * 70_000 + b"\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n0\r\nTrailer: x\r\n\r\n", b"g\r\n",
    b"\xff" * 20, b"5\r\nhello", b"0\r\n" + b"T: t\r\n" * 20_000 + b"\r\n", b"1\r\na\r\n" * 20_000 + b"0\r\n\r\n",
])  # fmt: skip


well_formed = {
    "method": st.sampled_from([b"GET", b"GET", b"PUT", b"POST", b"DELETE", b"HEAD", b"OPTIONS"]),
    "version": st.just(b"HTTP/1.1"),
    "fields": fields.filter(lambda name: re.fullmatch(rb"[A-Za-z0-9-]+", name)),
    "contents": contents.filter(lambda content: not re.search(rb"[\0\r\n]", content)),
    "between": st.just(b": "),
    "end": st.just(b"\r\n"),
}
malformed = {
    "method": methods,
    "version": versions,
    "fields": fields,
    "contents": contents,
    "between": st.sampled_from([b": ", b":", b" : ", b""]),
    "end": ends,
}


@st.composite
def heads(draw):
    """The bytes of a request, well formed or not, and those of another one."""
    parts = draw(st.sampled_from([well_formed, well_formed, malformed]))
    head = draw(parts["method"]) + b" " + draw(targets) + b" " + draw(parts["version"]) + draw(parts["end"])
    if draw(st.booleans()):
        head += b"Host: localhost\r\n"
    for name, content in draw(st.lists(st.tuples(parts["fields"], parts["contents"]), max_size=6)):
        head += name + draw(parts["between"]) + content + draw(parts["end"])
    head += draw(st.sampled_from([b"\r\n"] * 9 + [b"X: y\r\n" * 10_000 + b"\r\n"])) + draw(bodies)
    cut = draw(st.sampled_from([None] * 9 + [-1, -2, 1, 20]))
    return Sent(head + NEXT if cut is None else head[:cut])


def test_whatever_the_head_is(fuzz, target):
    async def send(sent):
        answers = await asyncio.gather(*(exchange(port, head, begins=BEGINS) for port, head in sent))
        for (_, head), answer in zip(sent, answers, strict=True):
            assert refused_or_served(answer), (head, answer)

    ports = st.sampled_from([target.http] * 3 + [target.metrics])
    fuzz(st.lists(st.tuples(ports, heads()), min_size=1, max_size=12), send)
