"""`pip install swarm-operator[client]` brings what the client needs, and nothing else."""

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hatchling.build import prepare_metadata_for_build_wheel
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = """
import sys
from importlib.machinery import PathFinder

OURS = {
    "swarm_operator", "swarm_operator.memory", "swarm_operator.memory.client", "swarm_operator.memory.atomicfile",
    "swarm_operator.cmd", "swarm_operator.api", "swarm_operator.api.duration",
    "swarm_operator.shared", "swarm_operator.shared.limits", "swarm_operator.shared.log_level",
}
BELOW = ("swarm_operator.memory.client.", "swarm_operator.cmd.")

class Allowed(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        top = name.partition(".")[0]
        if top == "swarm_operator":
            allowed = name in OURS or name.startswith(BELOW)
        else:
            allowed = top in ALLOWED or top in sys.stdlib_module_names
        return super().find_spec(name, path, target) if allowed else None


sys.meta_path[:] = [Allowed if each is PathFinder else each for each in sys.meta_path]
"""
USE = """
import asyncio
from swarm_operator.memory.client import MemoryClient, SyncMemoryClient


async def main():
    async with MemoryClient("http://127.0.0.1:1", retries=0) as memory:
        return (await memory.ready()).ready


with SyncMemoryClient("http://127.0.0.1:1", retries=0) as memory:
    assert not memory.ready().ready
assert not asyncio.run(main())
"""


@pytest.fixture(scope="module")
def requirements(tmp_path_factory):
    """What the wheel would ask for."""
    target, before = tmp_path_factory.mktemp("metadata"), Path.cwd()
    os.chdir(ROOT)
    try:
        name = prepare_metadata_for_build_wheel(str(target))
    finally:
        os.chdir(before)
    metadata = importlib.metadata.PathDistribution(target / name).metadata
    return [Requirement(each) for each in metadata.get_all("Requires-Dist")]


def brought_by(requirements, *extras):
    """Names of the packages that pip would install with the extras, those that they need included."""
    found, asked = set(), {("swarm-operator", extra) for extra in ("", *extras)}
    while asked:
        name, extra = asked.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        texts = importlib.metadata.requires(name) or () if name != "swarm-operator" else ()
        wanted = requirements if name == "swarm-operator" else [Requirement(each) for each in texts]
        for each in wanted:
            if each.marker is None or each.marker.evaluate({"extra": extra}):
                asked |= {(canonicalize_name(each.name), more) for more in ("", *each.extras)}
    return {name for name, _ in found} - {"swarm-operator"}


def test_nothing_is_brought_by_the_package_itself(requirements):
    assert brought_by(requirements) == set()


def test_the_client_brings_its_http_library_only(requirements):
    direct = {each.name for each in requirements if each.marker and each.marker.evaluate({"extra": "client"})}
    assert direct == {"aiohttp", "yarl"}
    assert brought_by(requirements, "client") <= {
        "aiohttp", "yarl", "aiohappyeyeballs", "aiosignal", "attrs", "frozenlist", "idna", "multidict", "propcache",
        "typing-extensions",
    }  # fmt: skip


def test_the_programs_bring_what_they_need(requirements):
    shared = {"aiohttp", "yarl", "prometheus-client", "pydantic", "structlog", "uvloop"}
    memory, operator = brought_by(requirements, "memory"), brought_by(requirements, "operator")
    assert shared | {"grpcio", "mcp", "uvicorn", "rich", "click", "aiosqlite"} <= memory
    assert shared | {"kubernetes-asyncio", "cryptography"} <= operator
    assert not {"grpcio", "mcp", "uvicorn", "rich"} & operator
    assert brought_by(requirements, "cli") >= {"aiohttp", "rich", "click"}


def run(requirements, program, *extras):
    tops = importlib.metadata.packages_distributions()
    brought = brought_by(requirements, *extras)
    allowed = {top for top, names in tops.items() if any(canonicalize_name(name) in brought for name in names)}
    return subprocess.run(
        [sys.executable, "-c", f"ALLOWED = {allowed!r}\n{PROGRAM}{program}"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_both_clients_run_where_nothing_else_can_be_imported(requirements):
    done = run(requirements, USE, "client")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", ["pydantic", "grpc", "rich", "swarm_operator.memory.core", "swarm_operator.runtime"])
def test_the_block_is_in_force(requirements, module):
    done = run(requirements, f"import {module}", "client")
    assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: No module named '{module}'"


def test_the_command_line_without_its_packages_says_what_to_install(requirements):
    code = "from swarm_operator.cmd.memory import main; sys.exit(main(sys.argv[1:] or ['get', 'n', 'k']))"
    for extras in ((), ("client",)):
        done = run(requirements, code, *extras)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("swarm-memory: the Python package click is missing; install swarm-operator[cli]")
        assert done.stderr.count("\n") == 1
    there = code.replace("'k']", "'k', '--url', 'http://127.0.0.1:1', '--retry-for', '0']")
    assert run(requirements, there, "cli").stderr.startswith("swarm-memory: http://127.0.0.1:1: ")
    aged = there.replace("['get', 'n', 'k',", "['cleanup', '--max-age', '604800',")
    assert run(requirements, aged, "cli").stderr.startswith("swarm-memory: http://127.0.0.1:1: ")
    serve = "BELOW += ('swarm_operator.memory.',)\n" + code.replace("['get', 'n', 'k']", "['serve']")
    serving = run(requirements, serve, "cli")
    assert (serving.returncode, serving.stderr.count("\n")) == (1, 1)
    assert "missing; install" in serving.stderr
