"""The command `serve`: its flags and variables, and how it starts."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys

import click
import pytest
from support.command_line import commands
from support.command_line import parse as parse_command
from support.pages import DOCS

from swarm_operator.cmd import memory as command
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig

pytestmark = pytest.mark.usefixtures("clean_environment")


def parse(*arguments):
    return parse_command("serve", *arguments)


def test_the_defaults_are_the_documented_ones():
    options = parse()
    assert (str(options.data_dir), options.swarm_id, options.host) == ("data", "default", "127.0.0.1")
    assert (options.cache_size, options.cache_memory_mb, options.enable_wal) == (1000, 50, True)
    assert (options.compression_threshold, options.gc_interval, options.enable_vacuum) == (10_240, 300, True)
    config = StoreConfig()
    assert options.compression_threshold == config.compression_threshold
    assert (options.gc_interval, options.enable_vacuum) == (config.gc_interval, config.enable_vacuum)
    assert options.search_wait == config.search_wait
    assert (options.max_searches, options.max_waiting_searches) == (config.max_searches, config.max_waiting_searches)
    assert options.search_language == config.search_language
    assert (options.http_port, options.metrics_port, options.log_level) == (8080, 9091, "info")
    assert ServiceSettings().http_port == options.http_port


def test_the_page_has_every_flag_and_its_variable():
    page = (DOCS / "settings.md").read_text()
    for option in commands()["serve"].params:
        assert f"| `{option.opts[0]}` | `{option.envvar}` |" in page


LIMITS = {
    "--max-share": "max_share",
    "--max-held-body-bytes": "max_held_body_bytes",
    "--max-watches": "max_watches",
    "--max-exports": "max_exports",
    "--max-imports": "max_imports",
    "--max-grpc-calls": "max_grpc_calls",
    "--max-grpc-connections": "max_grpc_connections",
    "--mcp-max-sessions": "mcp_max_sessions",
}


def test_limits_have_flags_whose_defaults_are_those_of_the_settings(monkeypatch):
    served = []
    monkeypatch.setattr("swarm_operator.memory.service.server.serve", lambda settings, _: served.append(settings))
    monkeypatch.setattr("swarm_operator.cmd.logs.configure", lambda _: None)
    monkeypatch.setattr("uvloop.run", lambda _: 0)
    monkeypatch.setattr("os.umask", lambda _: None)
    numbers = {flag: 2_000_000 + index for index, flag in enumerate(LIMITS)} | {"--max-share": 30}
    assert command.main(["serve"]) == 0
    assert command.main(["serve", *(f"{flag}={number}" for flag, number in numbers.items())]) == 0
    for flag, name in LIMITS.items():
        assert getattr(served[0], name) == getattr(ServiceSettings(), name)
        assert getattr(served[1], name) == numbers[flag]


def test_a_flag_wins_over_the_environment_and_an_empty_variable_counts_as_unset(monkeypatch):
    monkeypatch.setenv("CACHE_SIZE", "77")
    monkeypatch.setenv("ENABLE_WAL", "False")
    monkeypatch.setenv("SWARM_ID", "")
    assert (parse().cache_size, parse().enable_wal, parse().swarm_id) == (77, False, "default")
    assert parse("--cache-size", "88").cache_size == 88


@pytest.mark.parametrize(
    ("flag", "variable", "value", "allowed"),
    [
        ("--cache-size", "CACHE_SIZE", "0", "a whole number from 1 to 10000000"),
        ("--cache-size", "CACHE_SIZE", "1e3", "a whole number"),
        ("--cache-memory-mb", "CACHE_MEMORY_MB", "-1", "a whole number from 1 to 65536"),
        ("--enable-wal", "ENABLE_WAL", "maybe", "true or false"),
        ("--compression-threshold", "COMPRESSION_THRESHOLD", "-1", "a whole number from 0 to 2147483647"),
        ("--gc-interval", "GC_INTERVAL", "soon", "1s or longer, as 90, 5m or 1h30m"),
        ("--gc-interval", "GC_INTERVAL", "0", "1s or longer"),
        ("--gc-interval", "GC_INTERVAL", "10ms", "1s or longer"),
        ("--enable-vacuum", "ENABLE_VACUUM", "2", "true or false"),
        ("--http-port", "HTTP_PORT", "65536", "a whole number from 0 to 65535"),
        ("--log-level", "LOG_LEVEL", "loud", "debug, info, warning, error"),
        ("--swarm-id", "SWARM_ID", "x" * 256, "1 to 255 bytes"),
        ("--max-share", "MAX_SHARE", "101", "a whole number from 1 to 100"),
        ("--max-watches", "MAX_WATCHES", "0", "a whole number from 1"),
        ("--max-held-body-bytes", "MAX_HELD_BODY_BYTES", "1024", "a whole number from 1048576"),
    ],
)
def test_a_bad_value_exits_2_and_names_the_flag_and_what_is_allowed(
    capsys, monkeypatch, flag, variable, value, allowed
):
    def check():
        assert command.main(["serve", *arguments]) == 2
        message = capsys.readouterr().err
        assert f"for '{flag}' (env var: '{variable}'): " in message
        assert allowed in message

    arguments = [f"{flag}={value}"]
    check()
    arguments = []
    monkeypatch.setenv(variable, value)
    check()


@pytest.mark.parametrize(
    ("text", "seconds"), [("1", 1), ("90", 90), ("5m", 300), ("1h30m", 5400), ("1.5s", 1.5), ("1000ms", 1)]
)
def test_an_interval_is_a_go_duration_or_seconds(text, seconds):
    assert parse("--gc-interval", text).gc_interval == seconds


def test_an_empty_path_is_none_and_an_empty_name_is_refused():
    options = parse("--tls-dir=", "--scratch", "", "--embedder-width=", "--backups=")
    assert (options.tls_dir, options.scratch, options.embedder_width, options.backups) == (None, None, None, None)
    with pytest.raises(click.UsageError, match="1 to 255 bytes"):
        parse("--swarm-id=")


async def test_the_database_is_its_owners_business_only(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "swarm_operator.cmd.memory", "serve", "--http-port", "0", "--grpc-port", "0",
        "--metrics-port", "0",
        "--cache-size", "5", stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "DATA_DIR": str(tmp_path / "elsewhere"), "SWARM_ID": "mine"},
    )  # fmt: skip
    while (event := json.loads(await process.stderr.readline()))["event"] != "serving":
        continue
    assert event["swarm_id"] == "mine"
    process.send_signal(signal.SIGTERM)
    await process.stderr.read()
    assert await process.wait() == 0
    assert (tmp_path / "elsewhere" / "swarm-memory.db").stat().st_mode & 0o077 == 0
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(SqliteStore.open(tmp_path / "elsewhere" / "swarm-memory.db"))


LISTENS = """
import json, os, socket, sys

def listen(self, *arguments):
    print(json.dumps(sorted(sys.modules)), flush=True)
    os._exit(0)

socket.socket.listen = listen
from swarm_operator.cmd.memory import main
main(["serve", "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--mcp", "true", "--gc-interval", "5m"])
"""


def test_the_service_listens_before_it_imports_what_takes_long_and_serves_no_entry():
    done = subprocess.run([sys.executable, "-c", LISTENS], capture_output=True, text=True, timeout=60, check=True)
    imported = set(json.loads(done.stdout))
    assert "swarm_operator.memory.service.app" in imported
    assert not {"aiohttp", "grpc", "jsonschema", "mcp", "pydantic", "rich"} & imported
