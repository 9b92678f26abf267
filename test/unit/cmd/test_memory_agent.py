"""Flags of `swarm-memory agent`."""

import socket

import click
import pytest
import yaml
from support.command_line import commands
from support.command_line import parse as parse_command
from support.pages import DOCS, TOP

from swarm_operator.cmd import memory as command

VARIABLES = (
    "SWARM_MEMORY_URL", "SWARM_MEMORY_TOKEN_FILE", "SWARM_ID", "AGENT_ID", "AGENT_TASK_TYPES", "AGENT_EXEC",
    "AGENT_LEASE", "AGENT_POLL", "AGENT_HEARTBEAT", "AGENT_GRACE", "LOG_LEVEL",
    "SWARM_HIVE_MIND_URL", "SWARM_HIVE_MIND_TOKEN_FILE", "AGENT_QUEEN_LEASE",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def parse(*arguments):
    return parse_command("agent", *arguments)


def test_the_defaults():
    options = parse()
    assert (options.url, options.token_file, options.swarm_id) == ("http://127.0.0.1:8080", None, None)
    assert (options.agent_id, options.types, options.program) == (socket.gethostname(), (), ())
    assert (options.lease, options.poll, options.heartbeat, options.grace) == (60, 1, 20, 30)
    assert (options.hive_mind_url, options.hive_mind_token_file, options.queen_lease) == (None, None, 30)


def test_the_environment_gives_defaults_and_flags_win(monkeypatch):
    monkeypatch.setenv("SWARM_ID", "blue")
    monkeypatch.setenv("AGENT_ID", "agent-0")
    monkeypatch.setenv("AGENT_TASK_TYPES", "coder, reviewer,,coder")
    monkeypatch.setenv("AGENT_EXEC", "sh -c 'cat; true'")
    options = parse("--agent-id", "agent-1")
    assert (options.swarm_id, options.agent_id) == ("blue", "agent-1")
    assert options.types == ("coder", "reviewer")
    assert options.program == ("sh", "-c", "cat; true")


@pytest.mark.parametrize(
    ("flag", "value", "said"),
    [
        ("--agent-id", "", "1 to 512 bytes"),
        ("--agent-id", "x" * 513, "1 to 512 bytes"),
        ("--swarm-id", "x" * 256, "1 to 255 bytes"),
        ("--type", "x" * 129, "at most 64 words of at most 128 bytes"),
        ("--type", ",".join(map(str, range(65))), "at most 64 words of at most 128 bytes"),
        ("--exec", "'", "No closing quotation"),
        ("--lease", "0", "1s or longer"),
        ("--grace", "-1s", "1s or longer"),
        ("--url", "memory:8080", "http://HOST:PORT"),
        ("--hive-mind-url", "hive:8080", "http://HOST:PORT"),
    ],
)
def test_what_is_not_allowed_is_named(flag, value, said):
    with pytest.raises(click.UsageError, match=said) as caught:
        parse(f"{flag}={value}")
    assert flag in caught.value.format_message()


def test_a_wrong_address_is_said_in_one_line(capsys, monkeypatch):
    monkeypatch.setattr("swarm_operator.cmd.logs.configure", lambda _: None)
    assert command.main(["agent", "--url", "http://user@host"]) == 1
    assert "base_url: 'http://user@host' is not allowed" in capsys.readouterr().err


def test_the_page_has_every_flag_and_its_variable():
    page = (DOCS / "agents.md").read_text()
    for option in commands()["agent"].params:
        assert f"`{option.opts[0]}`" in page
        assert f"`{option.envvar}`" in page


def test_the_example_s_pod_outlives_its_agent():
    """The grace period, then the end of the work, the release and the deregistration."""
    template = yaml.safe_load((TOP / "examples/agents/deployment.yaml").read_text())["spec"]["template"]["spec"]
    (container,) = template["containers"]
    program, *arguments = container["command"]
    assert program == "swarm-memory"
    options = parse_command(*arguments)
    assert template["terminationGracePeriodSeconds"] >= options.grace + 15
    variables = {each["name"] for each in container["env"]}
    assert variables == {"SWARM_ID", "AGENT_ID", "SWARM_MEMORY_URL", "SWARM_MEMORY_TOKEN_FILE"}
