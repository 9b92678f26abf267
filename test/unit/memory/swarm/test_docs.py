"""The examples of docs/swarm-records.md, run against a real service."""

import asyncio
import json
import re
from pathlib import Path

from swarm_operator.memory.client import MemoryClient

TEXT = (Path(__file__).parents[4] / "docs" / "swarm-records.md").read_text()


def shell_examples():
    """(command, what it prints) in the order of the page; an answer's continuation lines are indented by two more."""
    for block in re.split(r"\n\n(?=    \$ )", TEXT)[1:]:
        for part in re.split(r"^    \$ ", block.split("\n\n")[0], flags=re.MULTILINE)[1:]:
            lines = part.split("\n")
            command = [lines.pop(0)]
            while lines and command[-1].endswith("\\"):
                command.append(lines.pop(0))
            yield "\n".join(command), [line.strip() for line in lines if line.strip()]


def python_example(introduction):
    code = re.search(re.escape(introduction) + r"\n\n((?:    .*\n|\n(?=    ))+)", TEXT)[1]
    return "async def example(memory, work):\n" + code


async def test_the_shell_examples_print_what_the_page_says(service, tmp_path):
    examples = list(shell_examples())
    assert len(examples) >= 7
    for command, expected in examples:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", command,
            env={
                "PATH": "/usr/bin:/bin:/usr/local/bin",
                "U": f"http://127.0.0.1:{service.port}",
                "H": "Authorization: Bearer client-0123456789abcdef",
            },
            stdout=asyncio.subprocess.PIPE,
            cwd=tmp_path,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode == 0, command
        printed = [json.loads(line) for line in output.decode().splitlines()]
        wanted, text = [], ""
        for line in expected:
            text += line
            try:
                wanted.append(json.loads(text))
            except ValueError:
                continue
            text = ""
        assert (printed, text) == (wanted, ""), command


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
        exec(python_example("An agent that works through whatever there is, in Python:"), scope)
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
