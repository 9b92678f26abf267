"""The contract and the records import no SQLite: shown in an interpreter in which every such import fails."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
PROGRAM = """
import asyncio
import importlib
import pkgutil
import sys

BLOCKED = ("sqlite3", "_sqlite3", "pysqlite3", "aiosqlite", "swarm_operator.memory.sqlite")


class Blocker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if any(name == blocked or name.startswith(blocked + ".") for blocked in BLOCKED):
            raise ImportError(f"{name} is blocked")


assert not [name for name in sys.modules if name.startswith(BLOCKED)]
sys.meta_path.insert(0, Blocker)

import swarm_operator.memory.core
import swarm_operator.memory.swarm

names = [
    module.name
    for package in (swarm_operator.memory.core, swarm_operator.memory.swarm)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
]
for name in [*names, *EXTRA]:
    importlib.import_module(name)

from support.memory_store import MemoryStore
from swarm_operator.memory.swarm import Swarm


async def main():
    async with MemoryStore.open() as store:
        swarm = Swarm(store)
        await swarm.tasks.create({"id": "t1"})
        await swarm.communications.send("a1", None, "hello")
        return (await swarm.tasks.claim_next("a1")).id


print(len(names), asyncio.run(main()))
"""


def run(*extra):
    return subprocess.run(
        [sys.executable, "-c", f"EXTRA = {extra!r}\n{PROGRAM}"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "test")])},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_records_run_where_no_sqlite_can_be_imported():
    done = run()
    assert done.returncode == 0, done.stderr
    modules, claimed = done.stdout.split()
    assert int(modules) > 25
    assert claimed == "t1"


def test_the_block_is_in_force():
    for name in ("sqlite3", "swarm_operator.memory.sqlite.store", "swarm_operator.memory.transfer.restore"):
        done = run(name)
        assert done.returncode != 0
        assert "is blocked" in done.stderr.splitlines()[-1]
