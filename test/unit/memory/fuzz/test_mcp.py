"""Whatever comes as a message of the Model Context Protocol, of either of its eras."""

import asyncio
import itertools
import json
import re

import pytest
from hypothesis import strategies as st
from unit.memory.fuzz.inputs import encoded, names, scalars, values
from unit.memory.fuzz.target import ADMIN, CLIENT, READER, TEAM, exchange, refused_or_served

pytestmark = pytest.mark.timeout(1800)  # to find the smallest example of a failure takes minutes

OLD, NEW = "2025-06-18", "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": NEW,
    "io.modelcontextprotocol/clientInfo": {"name": "fuzz", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {"protocolVersion": OLD, "capabilities": {}, "clientInfo": {"name": "fuzz", "version": "1"}}
METHODS = [
    "initialize", "ping", "tools/list", "resources/list", "resources/templates/list", "resources/read",
    "resources/subscribe", "resources/unsubscribe", "subscriptions/listen", "completion/complete", "logging/setLevel",
    "prompts/list", "prompts/get", "notifications/initialized", "notifications/cancelled", "notifications/progress",
    "server/discover", "tasks/get", "", "rpc.discover",
]  # fmt: skip
HOLDERS = [CLIENT, CLIENT, ADMIN, READER, TEAM]
INTERNAL_ERROR = -32603


def post(body, token, *headers):
    lines = [
        "POST /mcp HTTP/1.1", "Host: localhost", "Connection: close", "Content-Type: application/json",
        "Accept: application/json, text/event-stream", f"Authorization: Bearer {token}",
        f"Content-Length: {len(body)}", *headers,
    ]  # fmt: skip
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


def message(method, params):
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


@pytest.fixture
def sessions(target, runner):
    """The headers of a session of each holder."""
    found = {}
    for token in set(HOLDERS):
        answer = runner.run(exchange(target.http, post(json.dumps(message("initialize", HELLO)).encode(), token)))
        session = re.search(rb"mcp-session-id: (\S+)", answer, re.IGNORECASE)[1].decode()
        found[token] = (f"Mcp-Session-Id: {session}", f"MCP-Protocol-Version: {OLD}")
    return found


@pytest.fixture
def tools(target, runner, sessions):
    """Names of all tools, with the names of their arguments."""
    listing = json.dumps(message("tools/list", {})).encode()
    answer = runner.run(exchange(target.http, post(listing, ADMIN, *sessions[ADMIN])))
    listed = json.loads(answer.partition(b"\r\n\r\n")[2])["result"]["tools"]
    return {tool["name"]: sorted(tool["inputSchema"].get("properties", ())) for tool in listed}


def parameters(tools):
    """Parameters of a method: of a tool's call as its schema has them, and anything else."""

    def call(name):
        arguments = st.dictionaries(st.sampled_from([*tools[name], "x"]), values(tools[name]) | scalars, max_size=6)
        return st.fixed_dictionaries({"name": st.just(name), "arguments": arguments | arguments | values()})

    called = st.tuples(st.just("tools/call"), st.sampled_from(sorted(tools)).flatmap(call))
    uris = st.builds("memory://{}/{}".format, names, names) | names
    anything = st.fixed_dictionaries({}, optional={"uri": uris, "name": names, "cursor": names, "x": values()})
    return called | called | st.tuples(st.sampled_from(METHODS), anything) | st.tuples(names, values())


def test_whatever_the_message_is(fuzz, target, sessions, tools):
    count = itertools.count(2)

    def build(asked, token, alone, number):
        method, params = asked
        if alone and isinstance(params, dict):
            params = {**params, "_meta": META}
        document = {**message(method, params), "id": number(next(count)) if callable(number) else number}
        if not alone:
            return document, token, sessions[token]
        called = params.get("name", params.get("uri")) if isinstance(params, dict) else None
        headers = [f"MCP-Protocol-Version: {NEW}", f"Mcp-Method: {re.sub('[^!-~]', '', method)}"]
        if isinstance(called, str):
            headers.append(f"Mcp-Name: {re.sub('[^ -~]', '', called)}")
        return document, token, tuple(headers)

    # A client may not use a number twice in a session; one that does has an answer to each request all the same.
    numbers = st.sampled_from(
        [int, int, int, str, (2**70).__add__, int.__neg__, None, 1.5, [], 1, 1, "1", "_GET_stream"]
    )
    whole = st.builds(build, parameters(tools), st.sampled_from(HOLDERS), st.booleans(), numbers)
    batches = st.lists(whole, max_size=3).map(
        lambda several: ([each for each, *_ in several], CLIENT, sessions[CLIENT])
    )
    documents = (whole | batches).map(lambda each: post(json.dumps(each[0]).encode(), *each[1:2], *each[2]))
    others = st.builds(post, encoded(values({"jsonrpc", "id", "method", "params"})), st.sampled_from(HOLDERS))
    in_session = st.builds(
        lambda body: post(body, CLIENT, *sessions[CLIENT]), encoded(values({"jsonrpc", "id", "method", "params"}))
    )

    async def send(sent):
        answers = await asyncio.gather(*(exchange(target.http, each) for each in sent))
        for each, answer in zip(sent, answers, strict=True):
            assert answer, each
            assert refused_or_served(answer), (each, answer)
            assert not re.search(rb'"code": ?%d\b' % INTERNAL_ERROR, answer), (each, answer)

    fuzz(st.lists(documents | documents | others | in_session, min_size=1, max_size=8), send)
