"""examples/agents/llm_agent.py with a scripted server in the place of a model: it speaks the chat-completions API."""

import importlib.util
import json

import pytest
from aiohttp import web
from support.pages import TOP

from swarm_operator.memory.agent import Agent, AgentSettings
from swarm_operator.memory.client import MemoryClient

EXAMPLE = TOP / "examples/agents/llm_agent.py"


def call(number, name, arguments):
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


class Model:
    """Answers each request with the next message of a script, or with a status."""

    def __init__(self, *script):
        self.script = [*script]
        self.requests = []

    async def answer(self, request):
        assert request.headers["Authorization"] == "Bearer secret-of-the-model"
        self.requests.append(await request.json())
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, int):
            return web.json_response({"error": {"message": "overloaded"}}, status=step)
        message = {"role": "assistant", "content": None, **step}
        return web.json_response({"object": "chat.completion", "choices": [{"index": 0, "message": message}]})


@pytest.fixture
async def complete(start_service, monkeypatch, background, eventually):
    """complete(model): the task t1 once the example's agent has carried it out with that model, and the memory."""
    # The service imports the package on a thread. Another import at that moment can meet half of it.
    importlib.import_module("mcp.client.streamable_http")
    async with start_service(mcp=True) as service:
        url = f"http://127.0.0.1:{service.port}"

        async def run(model):
            app = web.Application()
            app.router.add_post("/v1/chat/completions", model.answer)
            runner = web.AppRunner(app)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = site._server.sockets[0].getsockname()[1]
            for name, value in {
                "SWARM_MEMORY_URL": url, "SWARM_MEMORY_TOKEN_FILE": str(service.tokens / "client-token"),
                "OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "secret-of-the-model",
                "OPENAI_MODEL": "scripted",
            }.items():  # fmt: skip
                monkeypatch.setenv(name, value)
            spec = importlib.util.spec_from_file_location("llm_agent", EXAMPLE)
            example = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(example)
            try:
                async with MemoryClient(url, token_file=service.tokens / "client-token") as memory:
                    await memory.tasks.create(id="t1", description="Decide where the queue lives")
                    agent = Agent(memory, AgentSettings(agent_id="a1"), example.work)
                    running = background(agent.run())

                    async def ended():
                        task = await memory.tasks.get("t1")
                        return task if task["status"] in {"completed", "failed"} else None

                    task = await eventually(ended, seconds=90)
                    agent.stop()
                    await running
                    return task, await memory.get("decisions", "queue")
            finally:
                await runner.cleanup()

        yield run


def said(request):
    return [message["content"] for message in request["messages"] if message["role"] == "tool"]


async def test_the_model_uses_the_memory_s_tools_and_answers(complete):
    model = Model(
        {"tool_calls": [
            call(1, "memory_search", '{"text": "queue"}'),
            call(2, "memory_store", '{"namespace": "decisions", "key": "queue", "value": "in the memory"}'),
        ]},
        {"tool_calls": [call(3, "memory_retrieve", '{"namespace": "decisions", "key": "queue"}')]},
        {"content": "It lives in the memory."},
    )  # fmt: skip
    task, entry = await complete(model)
    assert (task["status"], task["result"]) == ("completed", "It lives in the memory.")
    assert entry.value == "in the memory"
    first, second, third = model.requests
    assert first["model"] == "scripted"
    assert {"memory_store", "memory_search"} <= {tool["function"]["name"] for tool in first["tools"]}
    assert all(tool["function"]["parameters"]["type"] == "object" for tool in first["tools"])
    assert "Decide where the queue lives" in first["messages"][-1]["content"]
    assert [message["tool_call_id"] for message in second["messages"] if message["role"] == "tool"] == [
        "call_1", "call_2",
    ]  # fmt: skip
    assert json.loads(said(third)[2])["value"] == "in the memory"


async def test_the_model_reads_what_was_wrong_with_its_call(complete):
    model = Model(
        {"tool_calls": [call(1, "memory_store", "{not json"), call(2, "memory_store", "{}")]}, {"content": "done"}
    )
    task, _ = await complete(model)
    assert task["status"] == "completed"
    no_json, no_key = said(model.requests[1])
    assert no_json.startswith("arguments: ")
    assert "key" in no_key


async def test_a_server_that_refuses_fails_the_task(complete):
    task, _ = await complete(Model(503))
    assert task["status"] == "failed"
    assert "answered 503" in task["error"]


async def test_a_model_that_never_answers_fails_the_task(complete):
    task, _ = await complete(Model({"tool_calls": [call(1, "memory_list", "{}")]}))
    assert (task["status"], task["error"]) == ("failed", "the model did not finish (limit: 20 turns)")


def test_the_example_is_short():
    assert len(EXAMPLE.read_text().splitlines()) < 100
