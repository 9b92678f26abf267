"""The examples in the pages about the memory's features run, and answer as the pages say."""

import asyncio
import json
import re
import signal
import textwrap
from dataclasses import replace

import pytest
from support import legacy
from support.command_line import commands as all_commands
from support.memory_process import Process
from support.page_runs import to_run
from support.pages import DOCS, blocks, commands, exchanges, one_line, pattern
from support.shell import answers, check, connecting, variables

from swarm_operator.memory.client import MemoryClient


def addresses(service, folder):
    """The variables that the pages use."""
    token = (service.tokens / "client-token").read_text().strip()
    return {
        **connecting(folder, service.port), "URL": f"http://127.0.0.1:{service.port}",
        "H": f"Authorization: Bearer {token}",
    }  # fmt: skip


async def python(code, memory):
    """Run it as the body of a coroutine function; each page's blocks are one function."""
    scope = {}
    exec("async def example(memory):\n" + textwrap.indent(code, "    "), scope)
    await scope["example"](memory)


@pytest.mark.parametrize(("page", "shown", "codes"), [("batch.md", 1, 1), ("search.md", 5, 1), ("watch.md", 1, 1)])
async def test_the_examples_of_a_page_run_and_answer_as_it_says(start_service, tmp_path, page, shown, codes):
    left = to_run(f"docs/{page}", __file__)
    answered = executed = 0
    output, told = "", True
    async with (
        start_service() as service,
        MemoryClient(f"http://127.0.0.1:{service.port}", token_file=service.tokens / "client-token") as memory,
    ):
        for block in blocks(page):
            documented = block
            if block.startswith("$ "):
                commands = exchanges(block)
                assert told, output
                assert commands == left[: len(commands)]
                left = left[len(commands) :]
                *_, output = await answers(commands, tmp_path, **addresses(service, tmp_path))
                documented = commands[-1].answer
                told = '"urn:swarm-memory:problem:' not in output
            elif "memory." in block:
                await python(block, memory)
                executed += 1
                continue
            if documented:
                assert pattern(documented).search(one_line(output)), (documented, output)
                answered += 1
                told = True
    assert told, output
    assert (left, answered, executed) == ([], shown, codes)


async def test_the_page_about_tokens_refuses_what_it_says(start_service, tmp_path):
    (tmp_path / "tokens").mkdir()
    file = blocks("tokens.md")[0]
    (tmp_path / "tokens" / "tokens.json").write_text(file)
    holders = {each["name"]: each["token"] for each in json.loads(file)["tokens"]}
    async with start_service() as service:
        await check(
            to_run("docs/tokens.md", __file__), tmp_path, **addresses(service, tmp_path),
            TEAM=holders["team-a"], DASHBOARD=holders["dashboard"],
        )  # fmt: skip


def test_an_answer_that_differs_is_noticed():
    assert pattern('{"a":1, ..., "at":"2026-11-23T11:40:00.000Z"}').fullmatch(
        '{"a":1,"b":2,"at":"1999-01-01T00:00:00.5Z"}'
    )
    assert not pattern('{"a":1,"b":2}').search('{"a":1,"b":3}')


async def test_the_command_lines_page_runs_and_answers_as_it_says(fork_process, tmp_path):
    process = await fork_process()
    shown = to_run("docs/command-line.md", __file__)
    outputs = await answers(shown, tmp_path, seconds=360, SWARM_MEMORY_URL=process.url)
    for command, output in zip(shown, outputs, strict=True):
        if command.answer:
            assert re.search(re.escape(command.answer).replace(r"\.\.\.", ".*"), output), (command, output)
        elif ">" not in command.text:
            assert output == "", command
    ran = {command.text.split("swarm-memory ", 1)[1].split()[0] for command in shown}
    page = (DOCS / "command-line.md").read_text()
    others = [*commands("docs/restoring.md"), *commands("docs/migration.md"), *commands("docs/agents.md")]
    elsewhere = {found for each in others for found in re.findall(r"swarm-memory ([a-z]+)", each.text)}
    assert ran | elsewhere == set(all_commands()) - {"serve"}
    assert all(f"`{name}" in page for name in all_commands())


async def test_the_page_about_migration_runs_and_answers_as_it_says(start_service, tmp_path):
    (tmp_path / "legacy").mkdir()
    legacy.hive(tmp_path / "legacy" / "hive.db", swarms=("swarm-1",))
    shown = to_run("docs/migration.md", __file__)
    async with start_service() as service:
        here, token = f"127.0.0.1:{service.port}", str(service.tokens / "client-token")
        moved = [replace(each, text=each.text.replace("127.0.0.1:8080", here)) for each in shown]
        outputs = await answers(moved, tmp_path, SWARM_MEMORY_TOKEN_FILE=token)
    for command, output in zip(shown, outputs, strict=True):
        answer = command.answer.replace("127.0.0.1:8080", here)
        assert re.search(re.escape(answer).replace(r"\.\.\.", ".*"), output), (command, output)
    assert json.loads((tmp_path / "report.json").read_text())["complete"]


VOLATILE = {
    "created_at", "updated_at", "expires_at", "accessed_at", "started_at", "duration_seconds", "database_size_bytes",
    "wal_size_bytes", "volume_size_bytes", "volume_free_bytes", "sqlite_version", "version", "lag",
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


@pytest.mark.parametrize("page", ["http-api.md", "settings.md"])
async def test_the_pages_about_http_answer_as_they_say(fork_process, tmp_path, page):
    process = await fork_process()
    assert process.data_dir.name == "data"
    shown = to_run(f"docs/{page}", __file__)
    port = int(process.url.rpartition(":")[2])
    outputs = await answers(
        shown, process.data_dir.parent, **connecting(tmp_path, port), H=f"Authorization: Bearer {process.token}"
    )
    for command, output in zip(shown, outputs, strict=True):
        answer, seen = command.answer, output.replace("\r", "")
        if answer.startswith("HTTP/"):
            (head, _, answer), (seen_head, _, seen) = answer.partition("\n\n"), seen.partition("\n\n")
            names = [[line.partition(":")[0] for line in each.splitlines()] for each in (head, seen_head)]
            assert names[0] == names[1]
        assert alike(json.loads(one_line(answer)), json.loads(seen)), (command, output)


async def test_the_service_s_page_runs_and_answers_as_it_says(tmp_path, monkeypatch):
    start, *others = to_run("docs/memory-service.md", __file__)
    monkeypatch.chdir(tmp_path)
    process = await serving(start, tmp_path)
    try:
        port = int(process.url.rpartition(":")[2])
        outputs = await answers(others, tmp_path, **connecting(tmp_path, port), SWARM_MEMORY_URL=process.url)
        (collected,) = (pair for pair in zip(others, outputs, strict=True) if pair[0].text.startswith("curl "))
        assert alike(json.loads(one_line(collected[0].answer)), json.loads(collected[1]))
        (code,) = (block for block in blocks("memory-service.md") if block.startswith("from pathlib"))
        await python(code.replace("http://127.0.0.1:8080", process.url), None)
    finally:
        assert await process.stop(signal.SIGTERM) == 0
    assert (tmp_path / "monday.db").is_file()


async def serving(command, folder):
    """The service that a page's command starts, on ports of its own."""
    ports = {f"{name}_PORT": "0" for name in ("HTTP", "GRPC", "METRICS")}
    started = await asyncio.create_subprocess_exec(
        "bash", "-c", f"exec {command.text}", cwd=folder, stderr=asyncio.subprocess.PIPE,
        env=variables(folder, **ports),
    )  # fmt: skip
    return await Process.announced(started, folder / re.search(r"--data-dir (\S+)", command.text)[1])


async def test_the_page_about_backups_runs_and_answers_as_it_says(tmp_path):
    start, make, *others, restart = to_run("docs/backups.md", __file__)
    (tmp_path / "backups").mkdir()
    process = await serving(start, tmp_path)
    try:
        admin = (process.data_dir / "tokens" / "admin-token").read_text().strip()
        environment = {
            **connecting(tmp_path, int(process.url.rpartition(":")[2])),
            "ADMIN": f"Authorization: Bearer {admin}",
        }
        async with MemoryClient(process.url, token=admin) as memory:
            await memory.put("n", "k", 1)
            await check([make], tmp_path, **environment)
            await memory.backups.wait("monday")
            (code,) = (block for block in blocks("backups.md") if block.startswith("await "))
            await python(code, memory)
            asked = [each for each in others if each.text.startswith("curl")]
            await check(asked, tmp_path, **environment)
            await memory.backups.wait("monday")
        await check([each for each in others if each not in asked], tmp_path)
    finally:
        assert await process.stop(signal.SIGTERM) == 0
    for path in (tmp_path / "new/data").iterdir():
        path.unlink()
    restored = await serving(restart, tmp_path)
    try:
        async with MemoryClient(restored.url, token=restored.token) as memory:
            assert (await memory.get("n", "k")).value == 1
    finally:
        assert await restored.stop(signal.SIGTERM) == 0


async def test_the_page_about_agents_runs_and_answers_as_it_says(service, tmp_path):
    (tmp_path / "laptop/data").mkdir(parents=True)
    (tmp_path / "laptop/data/tokens").symlink_to(service.tokens)
    url = f"http://127.0.0.1:{service.port}"
    await check(
        to_run("docs/agents.md", __file__), tmp_path / "laptop",
        U=url, H="Authorization: Bearer client-0123456789abcdef", SWARM_MEMORY_URL=url,
        SWARM_MEMORY_TOKEN_FILE=str(service.tokens / "client-token"),
    )  # fmt: skip


async def test_the_page_about_restoring_runs(fork_process, tmp_path):
    (tmp_path / "backups").mkdir()
    process = await fork_process("--backups", f"file://{tmp_path}/backups")
    admin = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    async with MemoryClient(process.url, token=admin) as memory:
        await memory.put("team:a", "task:1", 1)
        await memory.backups.make("monday")
        await memory.backups.wait("monday")
        await memory.put("team:a", "task:1", 2)
        await answers(
            to_run("docs/restoring.md", __file__),
            tmp_path,
            SWARM_MEMORY_URL=process.url,
            SWARM_MEMORY_ADMIN_TOKEN_FILE=str(process.data_dir / "tokens" / "admin-token"),
        )
        assert (await memory.get("team:a", "task:1")).value == 1
        (code,) = (block for block in blocks("restoring.md") if block.startswith("state = "))
        scope = {}
        exec("async def example(admin):\n" + textwrap.indent(code, "    "), scope)
        await scope["example"](memory)
