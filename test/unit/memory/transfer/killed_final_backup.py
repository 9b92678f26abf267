"""Makes a final backup and is killed at a line of what makes it and refuses writes: at each STEP-th line in turn.

Run as a program: `killed_final_backup.py DIRECTORY HOW`; HOW is `made`, or `failed`: then the manifest is written, and
the destination says that it was not. Prints for each kill whether the next process takes a write. Then the final backup
is asked for again, and must have that write. Exits with 1 if it does not.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import sys
import threading
from pathlib import Path

from swarm_operator.memory.core.errors import DeletingError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig, store
from swarm_operator.memory.sqlite.database import deletion
from swarm_operator.memory.transfer.backups import catalog as catalogs
from swarm_operator.memory.transfer.backups import copies
from swarm_operator.memory.transfer.backups.catalog import FINAL_BACKUP, Catalog
from swarm_operator.memory.transfer.backups.errors import DestinationError
from swarm_operator.memory.transfer.backups.folder import FolderDestination

STEP = 4
NAME = "bees-final-1"
CONFIG = StoreConfig(gc_interval=1e9, final_backup=NAME)
FILES = {catalogs.__file__, copies.__file__, deletion.__file__}


class Liar(FolderDestination):
    """Writes the manifest, and says that it could not."""

    async def put(self, path, parts, size):
        await super().put(path, parts, size)
        if path.endswith(catalogs.MANIFEST):
            raise DestinationError("cut off")


class Killer:
    """Kills this process when the given number of lines have begun, on whichever thread."""

    def __init__(self, number):
        self.left = number

    def trace(self, frame, event, _):
        code = frame.f_code
        ours = code.co_filename in FILES or (code.co_filename == store.__file__ and code.co_name.endswith("_writes"))
        if not ours:
            return None
        if event in {"line", "return"}:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


@contextlib.asynccontextmanager
async def opened(directory, kind=FolderDestination):
    async with SqliteStore.open(directory / "store.db", CONFIG) as opened_store:
        yield opened_store, Catalog(kind(directory / "backups"), source=opened_store, scratch=directory)


async def make(directory):
    (directory / "backups").mkdir()
    async with opened(directory) as (opened_store, _):
        await opened_store.put("n", "before", 1)


async def made(directory, kind, number):
    async with opened(directory, kind) as (_, catalog):
        killer = Killer(number)
        threading.settrace(killer.trace)
        sys.settrace(killer.trace)
        with contextlib.suppress(DestinationError):
            await catalog.make(NAME, FINAL_BACKUP)
        os._exit(3)  # it was not killed


async def look(directory):
    async with opened(directory) as (opened_store, catalog):
        try:
            await opened_store.put("n", "after", 1)
            taken = True
        except DeletingError:
            taken = False
        await catalog.make(NAME, FINAL_BACKUP)
    with contextlib.closing(sqlite3.connect(directory / "backups" / NAME / "memory.db")) as copy:
        keys = {key for (key,) in copy.execute("SELECT key FROM entries")}
    assert keys == ({"before", "after"} if taken else {"before"}), keys
    sys.stdout.write("taken\n" if taken else "refused\n")
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


def main(directory, kind):
    (directory / "made").mkdir()
    if in_child(make(directory / "made")):
        return 1
    number = random.randint(1, STEP)
    while True:
        there = directory / str(number)
        shutil.copytree(directory / "made", there)
        code = in_child(made(there, kind, number))
        if code == 3:
            return 0
        if code != -signal.SIGKILL or in_child(look(there)):
            sys.stderr.write(f"at line {number}\n")
            return 1
        shutil.rmtree(there)
        number += STEP


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), {"made": FolderDestination, "failed": Liar}[sys.argv[2]]))
