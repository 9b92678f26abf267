"""The command line: the commands of the client, and the program itself."""

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.command_line import commands
from support.command_line import parse as parse_command

from swarm_operator import __version__
from swarm_operator.cmd import memory as command

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def service(serve):
    """A service on tmp_path/data, where the client commands look for its token by themselves."""
    return serve("--grpc-port", "0")


def test_the_client_commands_do_what_they_say(service, capsys):
    def run(*arguments):
        code = command.main([arguments[0], "--url", service, *arguments[1:]])
        output = capsys.readouterr()
        assert code in {0, 3}, output.err
        return code, [json.loads(line) for line in output.out.splitlines()]

    code, (head,) = run("put", "a/b", "k 1", '{"x": "ü"}', "--ttl", "60", "--tag", "one", "--tag", "two")
    assert (code, head["version"]) == (0, 1)
    assert run("put", "a/b", "k 2", "null")[0] == 0
    code, (entry,) = run("get", "a/b", "k 1")
    assert (code, entry["value"], entry["tags"], entry["ttl"]) == (0, {"x": "ü"}, ["one", "two"], 60)
    code, entries = run("list", "a/b", "--prefix", "k")
    assert (code, [entry["key"] for entry in entries]) == (0, ["k 1", "k 2"])
    code, (stats,) = run("stats")
    assert (code, stats["entries"]) == (0, 2)
    code, (collection,) = run("gc")
    assert (code, collection["collected"]) == (0, 0)
    assert run("delete", "a/b", "k 1")[0] == 0
    assert run("get", "a/b", "k 1") == (3, [])
    assert run("delete", "a/b", "k 1") == (3, [])


def test_what_went_wrong_is_one_line_and_exit_1(service, capsys, tmp_path):
    (tmp_path / "wrong").write_text("wrong")
    assert command.main(["stats", "--url", service, "--token-file", str(tmp_path / "wrong")]) == 1
    assert capsys.readouterr().err == "swarm-memory: 401: a valid bearer token is required\n"
    assert command.main(["put", "--url", service, "n", "k" * 2000, "1"]) == 1
    assert capsys.readouterr().err.startswith("swarm-memory: 400: key: ")


def test_an_entry_is_put_under_a_condition_and_with_metadata(service, capsys, monkeypatch):
    monkeypatch.setenv("SWARM_MEMORY_URL", service)

    def run(*arguments):
        code = command.main(list(arguments))
        output = capsys.readouterr()
        return code, output.err or json.loads(output.out)

    code, head = run("put", "n", "k", "1", "--create-only", "--metadata", '{"by": "me"}')
    assert (code, head["version"]) == (0, 1)
    assert run("put", "n", "k", "2", "--create-only") == (1, "swarm-memory: 412: the entry has version 1\n")
    assert run("put", "n", "k", "2", "--if-version", "7") == (1, "swarm-memory: 412: the entry has version 1\n")
    assert run("get", "n", "k")[1]["metadata"] == {"by": "me"}
    code, head = run("put", "n", "k", "2", "--if-version", "1")
    assert (code, head["version"]) == (0, 2)
    for flags, said in (
        (["--metadata", "[1]"], "a JSON object"), (["--metadata", "x"], "a JSON value"),
        (["--create-only", "--if-version", "1"], "not allowed with --create-only"), (["--if-version", "-1"], "from 0"),
    ):  # fmt: skip
        assert command.main(["put", "n", "k", "3", *flags]) == 2
        assert said in capsys.readouterr().err
    assert run("put", "n", "k", '"\\ud800"') == (
        1, "swarm-memory: value: a lone surrogate is not text; valid Unicode is allowed\n",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "value"),
    [(b'{"a": "\xc3\xbc"}\n', {"a": "ü"}), (b'"-"', "-"), (b"", None), (b"text", None), (b"\xff", None)],
)
def test_a_value_comes_from_standard_input(service, capsys, monkeypatch, text, value):
    monkeypatch.setenv("SWARM_MEMORY_URL", service)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    if value is None:
        assert command.main(["put", "n", "k", "-"]) == 2
        assert "for 'VALUE': " in capsys.readouterr().err
        return
    assert command.main(["put", "n", "k", "-"]) == 0
    capsys.readouterr()
    assert command.main(["get", "n", "k"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == value


def test_a_list_has_a_limit_and_namespaces_are_listed(service, capsys, monkeypatch):
    monkeypatch.setenv("SWARM_MEMORY_URL", service)

    def run(*arguments):
        assert command.main(list(arguments)) == 0
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert run("namespaces") == []
    for number in range(3):
        run("put", "a/b", f"k{number}", str(number))
    run("put", "c", "k", "[]")
    assert [entry["key"] for entry in run("list", "a/b", "--limit", "2")] == ["k0", "k1"]
    assert len(run("list", "a/b", "--limit", "1000000")) == 3
    assert run("namespaces") == [
        {"namespace": "a/b", "entries": 3, "bytes": 3}, {"namespace": "c", "entries": 1, "bytes": 2},
    ]  # fmt: skip


def test_a_status_that_no_task_has_is_refused_with_those_that_are_allowed(capsys):
    from swarm_operator.cmd.memory.swarm import TASK_STATUSES
    from swarm_operator.memory.swarm.tasks.rules import STATUSES

    assert TASK_STATUSES == STATUSES
    assert command.main(["tasks", "--status", "nope"]) == 2
    said = capsys.readouterr().err
    assert "for '--status': 'nope' is not allowed: one of pending, in_progress, completed, failed" in said


def test_a_service_that_is_not_there_is_tried_for_as_long_as_the_flag_says(capsys, monkeypatch):
    from swarm_operator.memory import client

    seen = []

    class Seen(client.MemoryClient):
        def __init__(self, url, **options):
            seen.append(options.pop("retry_for"))
            super().__init__(url, retry_for=0, **options)

    monkeypatch.setattr(client, "MemoryClient", Seen)
    monkeypatch.setenv("SWARM_MEMORY_URL", "http://127.0.0.1:1")
    assert command.main(["stats"]) == 1
    assert command.main(["stats", "--retry-for", "30"]) == 1
    assert seen == [2, 30]
    assert command.main(["stats", "--url", "http://"]) == 1
    assert "swarm-memory: base_url: 'http://' is not allowed" in capsys.readouterr().err


async def cli(*arguments, **options):
    """A command as a process of its own, which SIGINT ends even where this one ignores it."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarm_operator.cmd.memory", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), **options,
    )  # fmt: skip


async def test_ctrl_c_ends_a_watch_with_130_and_in_silence(service):
    process = await cli("watch", "--url", service)
    assert await process.stderr.readline() == b"watching from 0 on\n"
    process.send_signal(signal.SIGINT)
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130


@contextlib.asynccontextmanager
async def half_an_export():
    """A service that begins an export; gives its address, and what says how it ends."""
    cut = asyncio.Event()

    async def handle(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        lines = b'{"line": 1}\n' * 10_000
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n" % (len(lines), lines))
        await writer.drain()
        await cut.wait()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", cut
    cut.set()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("end", ["Ctrl-C", "cut off"])
async def test_an_export_that_ends_early_leaves_no_file(tmp_path, eventually, end):
    async with half_an_export() as (url, cut):
        process = await cli("export", "swarm.ndjson", "--url", url, cwd=tmp_path)

        async def begun():
            return sum(path.stat().st_size for path in tmp_path.iterdir()) > 0

        await eventually(begun)
        if end == "Ctrl-C":
            process.send_signal(signal.SIGINT)
        else:
            cut.set()
        output, errors = await process.communicate()
    assert list(tmp_path.iterdir()) == []
    assert output == b""
    if end == "Ctrl-C":
        assert (process.returncode, errors) == (130, b"")
    else:
        assert process.returncode == 1
        assert errors.startswith(b"swarm-memory: http://127.0.0.1:")


async def test_ctrl_c_ends_an_export_to_a_pipe_with_130():
    async with half_an_export() as (url, _):
        process = await cli("export", "--url", url)
        assert await process.stdout.readline() == b'{"line": 1}\n'
        process.send_signal(signal.SIGINT)
        _, errors = await process.communicate()
        assert (process.returncode, errors) == (130, b"")


def test_an_export_to_a_file_is_whole_and_replaces_none(service, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SWARM_MEMORY_URL", service)
    assert command.main(["put", "swarm:agents", "a", "1"]) == 0
    capsys.readouterr()
    assert command.main(["export", "swarm.ndjson"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": "swarm.ndjson", "lines": 3}
    written = (tmp_path / "swarm.ndjson").read_bytes()
    assert command.main(["import", "swarm.ndjson"]) == 0
    assert json.loads(capsys.readouterr().out)["unchanged"] == 1
    assert command.main(["export", "swarm.ndjson"]) == 1
    assert capsys.readouterr().err == "swarm-memory: swarm.ndjson: File exists\n"
    assert command.main(["export", "missing/swarm.ndjson"]) == 1
    assert capsys.readouterr().err == "swarm-memory: missing/swarm.ndjson: No such file or directory\n"
    assert (tmp_path / "swarm.ndjson").read_bytes() == written
    assert [path.name for path in tmp_path.iterdir() if "partial" in path.name] == []


@pytest.mark.parametrize("value", ["{bad", "text", "NaN", "", pytest.param("[" * 100_000, id="deep")])
def test_a_value_that_is_not_json_exits_2(capsys, value):
    assert command.main(["put", "n", "k", value]) == 2
    assert "a JSON value" in capsys.readouterr().err


def test_the_client_commands_start_without_the_engine_and_the_server():
    code = (
        "import sys; from swarm_operator.cmd import memory;"
        "memory.main(['get', 'n', 'k', '--url', 'http://127.0.0.1:1', '--token-file', '/dev/null',"
        " '--retry-for', '0']);"
        "heavy = ('swarm_operator.memory.core', 'swarm_operator.memory.sqlite', 'swarm_operator.memory.service',"
        " 'aiosqlite', 'starlette', 'uvicorn', 'structlog', 'rich');"
        "bad = [m for m in sys.modules if m.startswith(heavy)];"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_version_and_help_are_there(capsys):
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"swarm-memory {__version__}\n"
    assert command.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in commands())


@pytest.mark.parametrize("name", ["", "put", "serve"])
def test_help_imports_the_module_of_its_command_and_nothing_slow(name):
    code = (
        "import json, sys; from swarm_operator.cmd import memory;"
        f"memory.main([*{name.split()!r}, '--help']); print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    imported = set(json.loads(done.stderr))
    assert not {"argparse", "asyncio", "ssl"} & imported
    groups = {"agent", "backups", "checking", "entries", "finding", "migrating", "restoring", "serving", "swarm"}
    ours = {module for module in groups if f"swarm_operator.cmd.memory.{module}" in imported}
    assert ours == {"": groups, "put": {"entries"}, "serve": {"serving"}}[name]


def test_a_negative_number_is_a_value_and_a_wrong_option_is_none(capsys):
    assert parse_command("put", "n", "k", "-1").value == -1
    assert parse_command("put", "n", "k", "-0.5e1", "--ttl", "3").ttl == 3
    assert command.main(["put", "n", "k", "--tll", "-1"]) == 2
    assert command.main(["put", "n", "k", "1", "--tll"]) == 2
    assert "No such option '--tll'" in capsys.readouterr().err


def test_one_of_a_key_and_a_prefix_is_deleted(capsys):
    for arguments in ([], ["k", "--prefix", ""]):
        assert command.main(["delete", "n", *arguments, "--url", "http://127.0.0.1:1"]) == 2
        assert "KEY: one of KEY and --prefix is needed, and not both" in capsys.readouterr().err


def test_namespaces_to_restore_are_all_words_up_to_the_next_option(capsys):
    options = parse_command("restore", "monday", "--namespaces", "a", "b", "--dry-run", "--namespaces", "c")
    assert (options.backup, options.namespaces, options.dry_run) == ("monday", ("a", "b", "c"), True)
    assert command.main(["restore", "--namespaces", "a", "monday"]) == 2
    assert "Missing argument 'BACKUP'" in capsys.readouterr().err


def test_the_swarms_agents_and_tasks_are_printed_one_a_line(service, monkeypatch, capsys):
    from pathlib import Path

    from swarm_operator.memory.client import MemoryClient

    async def prepare():
        async with MemoryClient(service, token_file=Path("data/tokens/client-token")) as memory:
            await memory.agents.register("a1", type="coder", capabilities=["go"])
            await memory.agents.register("a2", type="tester")
            await memory.tasks.create(id="t1")
            await memory.tasks.create(id="t2")
            await memory.tasks.claim("t2", agent="a1")

    def run(*arguments):
        assert command.main(list(arguments)) == 0
        return [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]

    monkeypatch.setenv("SWARM_MEMORY_URL", service)
    asyncio.run(prepare())
    assert run("agents") == ["a1", "a2"]
    assert run("agents", "--type", "coder", "--capability", "go", "--stale", "false") == ["a1"]
    assert run("agents", "--stale", "true") == []
    assert run("tasks", "--status", "pending") == ["t1"]
    assert run("tasks", "--agent", "a1") == ["t2"]


def test_a_swarm_is_exported_to_a_file_and_imported_from_it(service, monkeypatch, capfdbinary, tmp_path):
    monkeypatch.setenv("SWARM_MEMORY_URL", service)
    assert command.main(["put", "swarm:agents", "agent:1", '{"status": "idle"}', "--tag", "agent"]) == 0
    assert command.main(["put", "other", "k", "1"]) == 0
    capfdbinary.readouterr()
    assert command.main(["export"]) == 0
    exported = capfdbinary.readouterr().out
    assert len(exported.splitlines()) == 3
    (tmp_path / "swarm.ndjson").write_bytes(exported)
    assert command.main(["delete", "swarm:agents", "agent:1"]) == 0
    capfdbinary.readouterr()
    assert command.main(["import", "swarm.ndjson"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["created"] == 1
    (tmp_path / "swarm.ndjson").write_bytes(exported.replace(b"idle", b"busy"))
    assert command.main(["import", "swarm.ndjson", "--existing", "keep"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["kept"] == 1
    assert command.main(["export", "--all"]) == 0
    assert len(capfdbinary.readouterr().out.splitlines()) == 4
    (tmp_path / "swarm.ndjson").write_bytes(exported[:-15])
    assert command.main(["import", "swarm.ndjson"]) == 1
    assert b"line 3" in capfdbinary.readouterr().err
    assert command.main(["import", "none.ndjson"]) == 1
    assert capfdbinary.readouterr().err == b"swarm-memory: none.ndjson: No such file or directory\n"
    assert command.main(["cleanup", "--max-age", "1h", "--dry-run"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["total"] == 0


PROGRAM = """
import atexit, sys
from swarm_operator.cmd.memory import program
atexit.register(print, "taken apart", file=sys.stderr)
program()
"""


@pytest.mark.parametrize(
    ("arguments", "code"), [(["completion", "bash"], 0), (["get", "n", "k", "--retry-for", "0"], 1)]
)
def test_the_program_ends_with_the_code_and_all_of_the_output_and_is_not_taken_apart(arguments, code):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments, *(["--url", "http://127.0.0.1:1"] if code else [])],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert "taken apart" not in done.stderr
    if code:
        assert done.stderr.startswith("swarm-memory: http://127.0.0.1:1: Cannot connect")
    else:
        assert done.stdout.rstrip().endswith("_swarm_memory_completion_setup;")


def test_the_program_reports_output_that_could_not_be_written():
    code = "from swarm_operator.cmd import memory; memory.main = lambda: print('a line') or 0; memory.program()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=full,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            timeout=60,
            check=False,
        )
    assert done.returncode == 120
    assert b"No space left" in done.stderr
