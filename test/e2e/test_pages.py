"""The commands of the pages for a first day, as they are written, against the kind cluster."""

from __future__ import annotations

import json
import os
import shutil
import venv
from pathlib import Path
from typing import Any

import pytest
from e2e.cluster import CONTEXT, eventually, kubectl, run
from support.page_runs import to_run
from support.pages import Command
from support.shell import answers, check, checkout

pytestmark = pytest.mark.timeout(900)

KUBECTL = """#!/bin/bash
# The namespace of the pages is the test's own here.
exec {kubectl} "${{@//claude-flow-swarm/{namespace}}}"
"""


@pytest.fixture
def shell(space, tmp_path) -> dict[str, str]:
    """A shell whose kubectl works in the test's namespace, as a reader's does after `kubectl config set-context`."""
    return shell_in(space.name, tmp_path)


def shell_in(namespace: str, tmp_path: Path) -> dict[str, str]:
    config = tmp_path / "kubeconfig"
    config.write_text(run("kubectl", "--context", CONTEXT, "config", "view", "--minify", "--flatten"))
    config.chmod(0o600)
    run("kubectl", "--kubeconfig", config, "config", "set-context", "--current", f"--namespace={namespace}")
    program = tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(KUBECTL.format(kubectl=shutil.which("kubectl"), namespace=namespace))
    program.chmod(0o700)
    return {"KUBECONFIG": str(config), "PATH": f"{program.parent}:{os.environ['PATH']}"}


async def test_the_readme_s_commands_work(space, tmp_path):
    # The README makes it.
    namespace = f"{space.name}-readme"
    shell = shell_in(namespace, tmp_path)
    commands = to_run("README.md", __file__)
    # What `make quickstart` ends with comes first on the page.
    (ending,) = [command for command in commands if "swarmclusters,swarmmemorystores,pods" in command.text]
    others = [command for command in commands if command is not ending]
    try:
        *_, described = await answers(others, checkout(tmp_path), seconds=400, **shell)
        (seen,) = await answers([ending], tmp_path, **shell)
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false", "--ignore-not-found")
    assert "Available" in described
    assert headers(seen) == headers(ending.answer)


def headers(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines() if line.startswith("NAMESPACE ")]


async def test_a_first_day_in_a_cluster_goes_as_its_page_says(space, shell, tmp_path):
    space.kubectl("apply", "-f", "examples/sqlite-memory-cluster.yaml")
    folder = checkout(tmp_path)
    await check(to_run("docs/in-a-cluster.md", __file__), folder, seconds=400, **shell)
    assert (folder / "monday.db").read_bytes().startswith(b"SQLite format 3\0")


@pytest.mark.usefixtures("operator_alone")
async def test_the_page_about_trouble_shows_how_to_look_without_showing_secrets(space, shell, tmp_path):
    space.apply_example()
    space.start_agent()
    space.memory("put", "demo", "k", '"a value of its own"')
    eventually(lambda: space.get("swarmmemorystore/my-cluster-memory")["status"]["entryCount"] == 1)
    await check(to_run("docs/SQLITE_MEMORY_INTEGRATION.md", __file__), tmp_path, **shell)
    outputs = await answers(to_run("docs/troubleshooting.md", __file__), tmp_path, **shell)
    assert "Available" in outputs[0]
    written = [(tmp_path / name).read_text() for name in ("state.yaml", "events.txt", "operator.log")]
    assert all(written)
    secret = space.get("secret/my-cluster-memory-auth")["data"]
    for text in (*outputs, *written):
        assert "a value of its own" not in text
        assert not any(value in text for value in secret.values())


async def test_on_the_worst_day_what_the_page_says_helps(space, shell, tmp_path):
    space.apply_example()
    space.start_agent()
    space.memory("put", "demo", "kept", '"what it was"')
    space.memory("put", "scratch", "k", "1")
    folder = checkout(tmp_path)
    commands = to_run("docs/worst-day.md", __file__)
    plan = next(number for number, command in enumerate(commands) if "plan.yaml" in command.text)
    end = next(number for number, command in enumerate(commands) if "swarmcluster/my-cluster --ignore" in command.text)
    await check(commands[:plan], folder, seconds=400, **shell)
    # What the page deletes for the sake of room is there again, for the page then restores everything.
    assert space.memory("get", "scratch", "k")["value"] == 1
    space.memory("put", "demo", "kept", '"nonsense"')
    await check(commands[plan:end], folder, seconds=400, **shell)
    assert space.memory("get", "demo", "kept")["value"] == "what it was"
    space.memory("put", "demo", "later", "1")
    await check(commands[end:], folder, seconds=600, **shell)
    (backup,) = [name for name in space.kubectl("get", "smb", "-o", "name").split() if "-final-" in name]
    store = space.get("swarmmemorystore/second-cluster-memory")
    assert store["status"]["restoredFrom"]["backup"] == backup.rpartition("/")[2]
    token = ("--token-file", "/etc/swarm-memory/tokens/client-token")
    listed = space.kubectl("exec", "second-cluster-memory-0", "--", "swarm-memory", "list", "demo", *token)
    assert [(entry["key"], entry["value"]) for entry in lines(listed)] == [("kept", "what it was"), ("later", 1)]


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.usefixtures("operator_alone")
async def test_the_operator_prints_its_stacks_as_its_page_says(shell, tmp_path):
    await answers(to_run("docs/operator.md", __file__), tmp_path, **shell)


@pytest.mark.timeout(1200)
async def test_the_client_is_installed_as_its_page_says(tmp_path):
    folder = checkout(tmp_path)
    venv.create(tmp_path / "agent", with_pip=True)
    path = f"{tmp_path / 'agent' / 'bin'}:{os.environ['PATH']}"
    commands = to_run("docs/client.md", __file__)
    assert [command.text.split()[1] for command in commands] == ["install", "wheel"]
    using = Command("python -I -c 'from swarm_operator.memory.client import MemoryClient, SyncMemoryClient'", "")
    await answers([*commands, using], folder, seconds=500, PATH=path)
    (wheel,) = (folder / "dist").glob("swarm_operator-*.whl")
    # As in the page's Dockerfile, in an environment of its own.
    venv.create(tmp_path / "image", with_pip=True)
    path = f"{tmp_path / 'image' / 'bin'}:{os.environ['PATH']}"
    installing = Command(f'pip install "$(echo {wheel.parent}/swarm_operator-*.whl)[client]"', "")
    await answers([installing, using], tmp_path, seconds=500, PATH=path)
