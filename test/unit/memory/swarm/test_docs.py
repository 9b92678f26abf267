"""The examples of docs/swarm-records.md, run against a real service."""

import json
import re

from support.page_runs import to_run
from support.pages import DOCS, one_line
from support.shell import answers

from swarm_operator.memory.client import MemoryClient

TEXT = (DOCS / "swarm-records.md").read_text()


def python_example(introduction):
    code = re.search(re.escape(introduction) + r"\n\n((?:    .*\n|\n(?=    ))+)", TEXT)[1]
    return "async def example(memory, work):\n" + code


async def test_the_shell_examples_print_what_the_page_says(service, tmp_path):
    url = f"http://127.0.0.1:{service.port}"
    examples = to_run("docs/swarm-records.md", __file__)
    outputs = await answers(
        examples, tmp_path, U=url, H="Authorization: Bearer client-0123456789abcdef", SWARM_MEMORY_URL=url,
        SWARM_MEMORY_TOKEN_FILE=str(service.tokens / "client-token"),
    )  # fmt: skip
    for command, output in zip(examples, outputs, strict=True):
        if command.text.startswith("curl "):
            printed = [json.loads(line) for line in output.splitlines()]
            assert printed == ([json.loads(one_line(command.answer))] if command.answer else []), command.text


async def test_the_working_agent_works(service):
    async def work(task):
        if task["id"] == "bad":
            raise ValueError("no")
        return len(task["id"])

    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token") as memory:
        await memory.tasks.create(id="good")
        await memory.tasks.create(id="bad", maxRetries=1)
        await memory.tasks.create(id="after", dependencies=["good"])
        scope = {}
        exec(python_example("An agent that works on all tasks, in Python:"), scope)
        await scope["example"](memory, work)
        found = {task["id"]: task async for task in memory.tasks.iterate()}
        assert {name: task["status"] for name, task in found.items()} == {
            "good": "completed", "after": "completed", "bad": "failed",
        }  # fmt: skip
        assert found["after"]["result"] == 5
        assert found["bad"]["failures"] == 2


async def test_messages_are_read_on_from_where_one_was(service):
    code = re.search(r"## Communications\n\n((?:    .*\n)+)", TEXT)[1]
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token") as memory:
        await memory.communications.send("old", from_agent="lead")
        scope = {}
        exec("async def example(memory):\n" + code, scope)
        await scope["example"](memory)


async def test_a_swarm_moves_from_one_service_to_another(service):
    code = re.search(r"In Python, from one service to another:\n\n((?:    .*\n)+)", TEXT)[1]
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token") as memory:
        await memory.agents.register("a1")
        scope = {}
        exec("async def example(source, target):\n" + code, scope)
        await scope["example"](memory, memory)
