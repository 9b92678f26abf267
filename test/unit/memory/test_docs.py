"""The examples in the pages about the memory's features run, and answer as the pages say."""

import asyncio
import json
import os
import re
import sys
import textwrap

import pytest
from support.pages import COMMAND, DOCS, blocks, exchanges, one_line, pattern

from swarm_operator.memory.client import MemoryClient


async def shell(command, service, **environment):
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={
            **os.environ,
            **environment,
            "URL": f"http://127.0.0.1:{service.port}",
            "H": f"Authorization: Bearer {(service.tokens / 'client-token').read_text().strip()}",
        },
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return re.sub(r"^ +%.*|^.*--:--.*$", "", output.decode(), flags=re.MULTILINE)


async def python(code, memory):
    """Run it as the body of a coroutine function; each page's blocks are one function."""
    scope = {}
    exec("async def example(memory):\n" + textwrap.indent(code, "    "), scope)
    await scope["example"](memory)


@pytest.mark.parametrize(("page", "commands", "answers", "codes"), [
    ("batch.md", 1, 1, 1), ("search.md", 3, 1, 1), ("watch.md", 3, 1, 1),
])  # fmt: skip
async def test_the_examples_of_a_page_run_and_answer_as_it_says(start_service, page, commands, answers, codes):
    ran = answered = executed = 0
    output = ""
    async with (
        start_service() as service,
        MemoryClient(f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token") as memory,
    ):
        for block in blocks(page):
            documented = block
            if block.startswith("$ "):
                for command in COMMAND.findall(block):
                    output = await shell(command.replace("localhost:8080", "$URL"), service)
                    assert '"urn:swarm-memory:problem:' not in output or page == "batch.md", output
                    ran += 1
                documented = COMMAND.sub("", block).strip("\n")
            elif "memory." in block:
                await python(block, memory)
                executed += 1
                continue
            if documented:
                assert pattern(documented).search(one_line(output)), (documented, output)
                answered += 1
    assert (ran, answered, executed) == (commands, answers, codes)


async def test_the_page_about_tokens_refuses_what_it_says(start_service, tmp_path):
    file, kubernetes, session = blocks("tokens.md")
    assert "tokens.json" in kubernetes
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "tokens.json").write_text(file)
    holders = {each["name"]: each["token"] for each in json.loads(file)["tokens"]}
    async with start_service() as service:
        for exchange in session.removeprefix("$ ").split("\n$ "):
            command, answer = exchange.split("\n", maxsplit=1)
            output = await shell(command, service, TEAM=holders["team-a"], DASHBOARD=holders["dashboard"])
            assert pattern(answer).search(output), (command, output)


def test_an_answer_that_differs_is_noticed():
    assert pattern('{"a":1, ..., "at":"2026-11-23T11:40:00.000Z"}').fullmatch(
        '{"a":1,"b":2,"at":"1999-01-01T00:00:00.5Z"}'
    )
    assert not pattern('{"a":1,"b":2}').search('{"a":1,"b":3}')


def commands_of(page):
    """(command, the answer that the page shows or None), in the page's order."""
    found = []
    for block in blocks(page):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], None))
            elif found:
                found[-1] = (found[-1][0], line)
    return found


async def test_the_command_lines_page_runs_and_answers_as_it_says(start_process, tmp_path):
    process = await start_process()
    program = tmp_path / "bin" / "swarm-memory"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m swarm_operator.cmd.memory "$@"\n')
    program.chmod(0o700)
    environment = {
        **os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "SWARM_MEMORY_URL": process.url,
        "PYTHONPATH": str(DOCS.parent),
    }  # fmt: skip
    shown = commands_of("command-line.md")
    for command, answer in shown:
        done = await asyncio.create_subprocess_exec(
            "bash", "-c", command, cwd=tmp_path, env=environment,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        output, errors = await done.communicate()
        assert done.returncode == 0, (command, errors)
        if answer is not None:
            assert re.search(re.escape(answer).replace(r"\.\.\.", ".*"), output.decode()), (command, output)
        elif ">" not in command:
            assert output == b"", command
    ran = {command.split("swarm-memory ", 1)[1].split()[0] for command, _ in shown}
    page = (DOCS / "command-line.md").read_text()
    from swarm_operator.cmd import memory

    action = next(each for each in memory._parser()._actions if isinstance(each.choices, dict))
    assert ran == set(action.choices) - {"serve"}
    assert all(f"`{name}" in page for name in action.choices)


VOLATILE = {
    "created_at", "updated_at", "expires_at", "accessed_at", "started_at", "duration_seconds", "database_size_bytes",
    "wal_size_bytes", "sqlite_version", "version",
}  # fmt: skip
"""Members whose values differ from run to run, or from build to build."""


def alike(shown, seen):
    """Whether two answers have the same members, and the same values but for the volatile ones."""
    if isinstance(shown, dict) and isinstance(seen, dict):
        return list(shown) == list(seen) and all(
            (name in VOLATILE and type(shown[name]) is type(seen[name])) or alike(shown[name], seen[name])
            for name in shown
        )
    if isinstance(shown, list) and isinstance(seen, list):
        return len(shown) == len(seen) and all(map(alike, shown, seen))
    return shown == seen


def test_answers_that_differ_are_noticed():
    assert alike({"a": [1], "version": 1}, {"a": [1], "version": 2})
    for seen in ({"a": [1]}, {"a": [2], "version": 1}, {"a": [1], "version": "1"}, {"version": 1, "a": [1]}):
        assert not alike({"a": [1], "version": 1}, seen)


async def test_the_service_s_page_answers_as_it_says(start_process, monkeypatch):
    process = await start_process()
    monkeypatch.chdir(process.data_dir.parent)
    assert process.data_dir.name == "data"
    environment = {**os.environ, "H": f"Authorization: Bearer {process.token}"}
    page = blocks("memory-service.md")
    answered = 0
    for command, shown in (each for block in page if block.startswith("$ curl") for each in exchanges(block)):
        there = command.replace("localhost:8080", process.url.removeprefix("http://")).replace("curl", "curl -s")
        done = await asyncio.create_subprocess_exec(
            "bash", "-c", there, env=environment, stdout=asyncio.subprocess.PIPE
        )
        output = (await done.communicate())[0].decode()
        if shown.startswith("HTTP/"):
            head, _, shown = shown.partition("\n\n")  # noqa: PLW2901 - what is left of it
            seen_head, _, output = output.replace("\r", "").partition("\n\n")
            names = [[line.partition(":")[0] for line in each.splitlines()] for each in (head, seen_head)]
            assert names[0] == names[1]
        assert alike(json.loads(one_line(shown)), json.loads(output)), (command, output)
        answered += 1
    assert answered == 7
    (code,) = (block for block in page if block.startswith("from pathlib"))
    scope = {}
    exec("async def example():\n" + textwrap.indent(code.replace("http://127.0.0.1:8080", process.url), "    "), scope)
    await scope["example"]()


async def test_the_first_commands_of_the_service_s_page_run(start_process, tmp_path):
    process = await start_process()
    environment = {**os.environ, "SWARM_MEMORY_URL": process.url, "PYTHONPATH": str(DOCS.parent)}
    start, first, *_ = blocks("memory-service.md")
    assert start == "swarm-memory serve --data-dir ./data"
    for line in first.splitlines():
        command = line.replace("swarm-memory", f"{sys.executable} -m swarm_operator.cmd.memory")
        done = await asyncio.create_subprocess_exec("bash", "-c", command, cwd=tmp_path, env=environment)
        assert await done.wait() == 0, line
    assert (tmp_path / "monday.db").is_file()
