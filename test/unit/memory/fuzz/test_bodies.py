"""Whatever comes as a body, to every operation that the service's own OpenAPI document names, by every principal."""

import asyncio
import json
import re

import pytest
from hypothesis import strategies as st
from unit.memory.fuzz.inputs import Sent, encoded, escape, names, values
from unit.memory.fuzz.target import MIB, TOKENS, exchange, refused_or_served

pytestmark = pytest.mark.timeout(1800)  # to find the smallest example of a failure takes minutes

PIECES = [
    b"[],", b"{},", b"[", b'{"a":', b"0", b"9", b"1,", b'"",', b"\\u003a", b"\\ud800", b"\\", b'"', b" ", b"\n",
    b"\r\n", b"\n{}", b'{"namespace":"a","key":"b","value":1}\n', b"\xff", b"\xf0\x9f\x98\x80", b"\0", b"1e5,",
    b'"a":1,', b"-",
]  # fmt: skip
"""What a long body may consist of."""


@pytest.fixture
def document(target, runner):
    request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    return json.loads(runner.run(exchange(target.http, request)).partition(b"\r\n\r\n")[2])


@pytest.fixture
def operations(document):
    """Strategies of a method and a target, by the operation's name."""

    def fill(method, path, parameters):
        queried = [each["name"] for each in parameters if each["in"] == "query"]
        query = st.just({})
        if queried:
            query = st.dictionaries(st.sampled_from([*queried, "x"]), names, max_size=4)
        parts = st.tuples(*(names for _ in re.findall("{", path)))

        def build(pieces, query):
            filled = re.sub("{[^}]*}", "{}", path).format(*map(escape, pieces))
            asked = "&".join(f"{name}={escape(value)}" for name, value in query.items())
            return method.upper(), f"{filled}?{asked}" if asked else filled

        return st.builds(build, parts, query)

    listed = {
        f"{method.upper()} {path}": fill(method, path, operation.get("parameters", []))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert len(listed) > 40
    return listed


@pytest.fixture
def members(document):
    """Names of all members of all documents."""
    found = set()

    def look(schema):
        if isinstance(schema, dict):
            found.update(schema.get("properties", ()))
            for inner in schema.values():
                look(inner)
        elif isinstance(schema, list):
            for inner in schema:
                look(inner)

    look(document)
    return found


def request(operation, token, body, *, chunked, conditions):
    method, target = operation
    head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    if token is not None:
        head += f"Authorization: Bearer {token}\r\n"
    for name, value in conditions.items():
        head += f"{name}: {value}\r\n"
    if chunked:
        pieces = [body[start : start + 7] for start in range(0, min(len(body), 700), 7)]
        pieces += [body[700:]] if body[700:] else []
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        return Sent(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + body)
    return Sent(head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body)


conditions = st.dictionaries(
    st.sampled_from(["If-Match", "If-None-Match", "Last-Event-ID", "Content-Type", "Accept", "Content-Encoding"]),
    st.sampled_from(
        ["*", '"1"', '"1", "2"', 'W/"1"', "1", "-1", "", "application/json", "text/html", "gzip", "x" * 900]
    ),
    max_size=2,
)


def requests(operations, bodies):
    return st.builds(
        request,
        st.one_of(operations),
        st.sampled_from(TOKENS),
        bodies,
        chunked=st.booleans(),
        conditions=conditions,
    )


async def send_all(target, sent):
    answers = await asyncio.gather(*(exchange(target.http, each) for each in sent))
    for each, answer in zip(sent, answers, strict=True):
        # One that is refused before it has been sent may be reset before its answer is read.
        assert answer or len(each) > 64 * 1024, (each, "no answer")
        assert refused_or_served(answer), (each, answer[:1000])


def test_whatever_the_body_is(fuzz, target, operations, members):
    documents = values(members)
    lines = st.lists(encoded(documents), max_size=5).map(b"\n".join)
    bodies = encoded(st.dictionaries(st.sampled_from(sorted(members)), documents, max_size=6) | documents) | lines
    fuzz(
        st.lists(requests(list(operations.values()), bodies), min_size=1, max_size=8),
        lambda sent: send_all(target, sent),
    )


def test_however_long_the_body_is(fuzz, target, operations):
    """Up to a little more than the longest that is allowed, to what takes a body."""
    sizes = st.sampled_from([64 * 1024, 1 * MIB, 4 * MIB, 15 * MIB, 17 * MIB])
    frames = st.sampled_from(
        [
            (b'{"value":[', b"0]}"),
            (b'{"value":0,"vector":[', b"0]}"),
            (b'{"value":"', b'"}'),
            (b'{"operations":[', b"{}]}"),
            (b"", b""),
        ]
    )

    def build(piece, size, frame):
        begin, end = frame
        return Sent(begin + piece * (size // len(piece)) + end)

    bodies = st.builds(build, st.sampled_from(PIECES), sizes, frames)
    taking = [operations[name] for name in operations if not name.startswith(("GET", "DELETE"))]
    fuzz(st.lists(requests(taking, bodies), min_size=1, max_size=2), lambda sent: send_all(target, sent))
