"""The files through which one request passes are those that docs/design/requests.md lists, at most 20."""

import asyncio
import contextlib
import http.client
import json
import re
import sys
import threading
from pathlib import Path

import pytest
from support.pages import DOCS
from unit.memory.conftest import TOKEN, running_service

import swarm_operator
from swarm_operator.memory.sqlite import StoreConfig

PACKAGE = Path(swarm_operator.__file__).parent
PAGE = (DOCS / "design" / "requests.md").read_text()


def listed(section):
    """The files of a section of the page, in its order."""
    text = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", PAGE, re.DOTALL | re.MULTILINE).group(1)
    return re.findall(r"^\d+\. `([^`]+)`", text, re.MULTILINE)


class Trace:
    """The files of the package whose functions run while this is on."""

    def __init__(self):
        self.files = set()
        self.on = False

    def __call__(self, frame, event, _):
        name = frame.f_code.co_filename
        if self.on and event == "call" and name.startswith(str(PACKAGE)):
            self.files.add(str(Path(name).relative_to(PACKAGE)))


@contextlib.contextmanager
def traced():
    """Trace all threads that begin meanwhile, and this one."""
    trace = Trace()
    threading.setprofile(trace)
    sys.setprofile(trace)
    try:
        yield trace
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


class OneWrite(http.client.HTTPConnection):
    """Sends the head and the body of a request together, as our client does."""

    def request(self, *arguments, **options):
        self._parts = []
        super().request(*arguments, **options)
        super().send(b"".join(self._parts))

    def send(self, data):
        self._parts.append(data)


async def request(connection, method, path, body, **headers):
    def send():
        connection.request(method, path, body, {"Authorization": f"Bearer {TOKEN}", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read()

    return await asyncio.to_thread(send)


def put(connection):
    return request(connection, "PUT", "/v1/entries/n/k", '{"value": {"a": 1}, "tags": ["t"]}')


def retrieve(connection):
    name, version = "memory_retrieve", "2026-07-28"
    about = {"name": "test", "version": "1"}
    meta = {"protocolVersion": version, "clientInfo": about, "clientCapabilities": {}}
    parameters = {
        "name": name, "arguments": {"namespace": "n", "key": "there"},
        "_meta": {f"io.modelcontextprotocol/{key}": value for key, value in meta.items()},
    }  # fmt: skip
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": parameters})
    headers = {
        "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": version, "Mcp-Method": "tools/call", "Mcp-Name": name,
    }  # fmt: skip
    return request(connection, "POST", "/mcp", body, **headers)


@pytest.mark.parametrize(("section", "send"), [("One PUT", put), ("One MCP tool call", retrieve)])
async def test_a_request_passes_the_files_that_the_page_lists(tmp_path, section, send):
    files = listed(section)
    config = StoreConfig(full_text=False)  # a step of the index of words is no part of the request
    with traced() as trace:
        async with running_service(tmp_path, mcp=True, config=config) as service:
            await service.store.put("n", "there", 1)
            with contextlib.closing(OneWrite("127.0.0.1", service.port)) as connection:
                # The first call of a kind loads and compiles what later ones do not, and opens the connection.
                status, answer = await retrieve(connection)
                assert status == 200, answer
                trace.on = True
                status, answer = await send(connection)
                trace.on = False
            assert status in {200, 201}, answer
    assert sorted(trace.files) == sorted(files)
    assert len(files) <= 20
