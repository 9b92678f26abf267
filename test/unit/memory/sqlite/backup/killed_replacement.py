"""Replaces a database and is killed at a line of backup.replace: at each STEP-th line in turn, until none is left.

Run as a program: `killed_replacement.py DIRECTORY JOURNAL STEP`. Prints for each kill whether the old or the new data
are there. Exits with 1 if they are neither, or if the file is not consistent.
"""

import asyncio
import os
import random
import shutil
import signal
import sys
import threading
from pathlib import Path

from swarm_operator.memory.core import Delete, Draft, Put
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup import replace
from swarm_operator.memory.sqlite.backup.verify import check

ENTRIES = 60
SKIPPED = {"__init__", "prepare", "given", "stopped"}
"""Functions that only work on the copy."""


class Killer:
    """Kills this process when the given number of lines of backup.replace have begun, on whichever thread."""

    def __init__(self, number):
        self.left = number

    def trace(self, frame, event, _):
        if frame.f_code.co_filename != replace.__file__ or frame.f_code.co_name in SKIPPED:
            return None
        if event in {"line", "return"}:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


async def make(directory, config):
    """A backup, and a database beside it with more in its log than was checkpointed."""
    async with SqliteStore.open(directory / "store.db", config) as store:
        await store.batch([
            Put(Draft.create("n", f"k{number}", "new" + "x" * number, tags=["new"])) for number in range(ENTRIES)
        ])  # fmt: skip
        await store.backup(directory / "backup.db")


async def replaced(directory, config, number):
    async with SqliteStore.open(directory / "store.db", config) as store:
        await store.batch([
            Put(Draft.create("n", f"k{key}", "old" + "y" * key, tags=["old"])) if key % 2 == 0
            else Delete(("n", f"k{key}"))
            for key in range(ENTRIES)
        ])  # fmt: skip

        async def before(_):
            """Do nothing."""

        (directory / "restore").mkdir()
        copy = directory / "restore" / "copy.db"
        shutil.copyfile(directory / "backup.db", copy)
        killer = Killer(number)
        threading.settrace(killer.trace)
        sys.settrace(killer.trace)
        # The tracing of this frame's callees begins with their next call.
        await store.replace(copy, former=directory / "restore" / "former.db", before=before)
        os._exit(3)  # it was not killed


async def look(directory, config):
    """Say what is there."""
    async with SqliteStore.open(directory / "store.db", config) as store:
        values = {entry.key: entry for entry in (await store.list("n", limit=1000)).entries}
        old = {f"k{key}": "old" + "y" * key for key in range(0, ENTRIES, 2)}
        new = {f"k{number}": "new" + "x" * number for number in range(ENTRIES)}
        found = {key: entry.value for key, entry in values.items()}
        if found not in (old, new):
            raise AssertionError("neither the old data nor the new")
        if found == new and min(entry.version for entry in values.values()) <= 2:
            raise AssertionError("the versions were not raised")
        await store.put("n", "after", 1)
    report = check(directory / "store.db")
    if not report.ok:
        raise AssertionError(report.findings)
    sys.stdout.write("new\n" if found == new else "old\n")
    sys.stdout.flush()


def in_child(work):
    """The exit code of a child that does some work; a child, because this process must have no threads to fork."""
    child = os.fork()
    if not child:
        code = 1
        try:
            asyncio.run(work)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    work.close()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(directory, journal, step):
    config = StoreConfig(enable_wal=journal == "wal", gc_interval=1e9)
    (directory / "made").mkdir()
    if in_child(make(directory / "made", config)):
        return 1
    number = random.randint(1, step) - step
    while True:
        number += step
        there = directory / str(number)
        shutil.copytree(directory / "made", there)
        code = in_child(replaced(there, config, number))
        if code == 3:
            return 0
        if code != -signal.SIGKILL:
            return 1
        if in_child(look(there, config)):
            sys.stderr.write(f"after line {number}\n")
            return 1
        shutil.rmtree(there)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
