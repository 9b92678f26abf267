"""Creates a database, changes its schema, or puts its copy back, and is killed at each STEP-th line of what does that.

Run as a program: `killed_upgrade.py DIRECTORY WHO`; WHO is `create`: this release makes the database; `upgrade`: the
next release opens it, is ready and takes a write; or `return`: this release opens what the next one has left. Prints
for each kill what this release finds afterwards: `same`, `put-back`, or `newer`; then the next release must have each
write that was acknowledged. Exits with 1 if one is lost, or if a new database is not as it should be.
"""

import asyncio
import os
import random
import shutil
import signal
import sys
import threading
from pathlib import Path

from swarm_operator.memory.core.errors import NewerSchemaError
from swarm_operator.memory.core.observer import SilentObserver
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig, store
from swarm_operator.memory.sqlite.backup import verify
from swarm_operator.memory.sqlite.database import connect, former, schema

STEP = 7
CONFIG = StoreConfig(keep_former=True, gc_interval=1e9)
CHANGES = (("CREATE TABLE more (x INTEGER) STRICT",), ("UPDATE entries SET value = x'5b5d', size = 2",))
FILES = {former.__file__, connect.__file__}
FUNCTIONS = {schema.__file__: {"migrate", "_apply"}, store.__file__: {"confirm_upgrade"}}


class Killer:
    """Kills this process when the given number of lines have begun, on whichever thread."""

    def __init__(self, number):
        self.left = number

    def trace(self, frame, event, _):
        code = frame.f_code
        if code.co_filename not in FILES and code.co_name not in FUNCTIONS.get(code.co_filename, ()):
            return None
        if event in {"line", "return"}:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace

    def start(self):
        threading.settrace(self.trace)
        sys.settrace(self.trace)


class Seen(SilentObserver):
    def __init__(self):
        self.outcomes = []

    def former_database(self, outcome):
        self.outcomes.append(outcome)


def be_next():
    schema._MIGRATIONS = (*schema._MIGRATIONS, *CHANGES)
    schema.LATEST = len(schema._MIGRATIONS)


def acknowledge(directory, key):
    (directory / key).touch()


async def make(directory):
    async with SqliteStore.open(directory / "m.db", CONFIG) as opened:
        await opened.put("n", "before", 1)
    acknowledge(directory, "before")


async def leave(directory):
    """The next release ends before it is ready, and leaves its log."""
    be_next()
    async with SqliteStore.open(directory / "m.db", CONFIG):
        os._exit(0)


async def upgrade(directory, number):
    be_next()
    Killer(number).start()
    async with SqliteStore.open(directory / "m.db", CONFIG) as opened:
        await opened.confirm_upgrade()
        await opened.put("n", "after", 1)
        acknowledge(directory, "after")
    os._exit(3)  # it was not killed


async def take_write(directory, number):
    Killer(number).start()
    async with SqliteStore.open(directory / "m.db", CONFIG) as opened:
        await opened.put("n", "after", 1)
        acknowledge(directory, "after")
    os._exit(3)


async def look(directory):
    acknowledged = {key for key in ("before", "after") if (directory / key).exists()}
    seen = Seen()
    try:
        async with SqliteStore.open(directory / "m.db", CONFIG, observer=seen) as opened:
            await check(opened, acknowledged)
            await opened.put("n", "later", 1)
        assert "before" in acknowledged or not verify.check(directory / "m.db").findings
        outcome = "put-back" if "put-back" in seen.outcomes else "same"
    except NewerSchemaError:
        be_next()
        async with SqliteStore.open(directory / "m.db", CONFIG) as opened:
            await check(opened, acknowledged)
        outcome = "newer"
    sys.stdout.write(f"{outcome}\n")
    sys.stdout.flush()


async def check(opened, acknowledged):
    lost = {key for key in acknowledged if await opened.get("n", key) is None}
    assert not lost, lost


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


def main(directory, who):
    made = directory / "made"
    made.mkdir()
    if (who != "create" and in_child(make(made))) or (who == "return" and in_child(leave(made))):
        return 1
    work = upgrade if who == "upgrade" else take_write
    number = random.randint(1, STEP)
    while True:
        there = directory / str(number)
        shutil.copytree(made, there)
        code = in_child(work(there, number))
        if code == 3:
            return 0
        if code != -signal.SIGKILL or in_child(look(there)):
            sys.stderr.write(f"at line {number}\n")
            return 1
        shutil.rmtree(there)
        number += STEP


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
