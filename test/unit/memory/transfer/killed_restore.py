"""Restores a backup in place and is killed at a line of restores.jobs or backup.closed: at each STEP-th line in turn.

Run as a program: `killed_restore.py DIRECTORY`. Prints for each kill whether the old or the new data are there. Then
the restore goes on or is asked for again, and must end right. Exits with 1 if it does not. The lines of backup.replace
are those of killed_replacement.py.
"""

import asyncio
import contextlib
import os
import random
import shutil
import signal
import sys
import threading
from pathlib import Path

import structlog

from swarm_operator.memory.core import Draft, Put
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.backup import closed
from swarm_operator.memory.transfer.backups.catalog import Catalog
from swarm_operator.memory.transfer.backups.folder import FolderDestination
from swarm_operator.memory.transfer.restores import jobs
from swarm_operator.memory.transfer.restores.jobs import RestoreJobs
from swarm_operator.memory.transfer.restores.states import Phase, Request

STEP = 8
SKIPPED = {"list", "get", "<listcomp>"}
"""What looks at the restore while it runs."""
KEYS = [f"k{number}" for number in range(20)]
CONFIG = StoreConfig(gc_interval=1e9)
REQUEST = Request.create(backup="saved")


class Killer:
    """Kills this process when the given number of lines have begun, on whichever thread."""

    def __init__(self, number):
        self.left = number

    def trace(self, frame, event, _):
        if frame.f_code.co_filename not in {jobs.__file__, closed.__file__} or frame.f_code.co_name in SKIPPED:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return self.trace


@contextlib.asynccontextmanager
async def opened(directory):
    async with SqliteStore.open(directory / "store.db", CONFIG) as store:
        catalog = Catalog(FolderDestination(directory), source=store, scratch=directory)
        restores = RestoreJobs(
            store, catalog=catalog, open_catalog=None, directory=directory, slot=contextlib.nullcontext
        )
        await restores.open()
        try:
            yield store, catalog, restores
        finally:
            await restores.close()


async def write(store, value):
    await store.batch([Put(Draft.create("n", key, value)) for key in KEYS])


async def values(store):
    return {entry.value for entry in (await store.list("n", limit=1000)).entries}


async def end(restores):
    """Wait for the end of the restore, if there is one."""
    while restores.list() and not restores.list()[0].phase.ended:  # noqa: ASYNC110 - it is over in no time
        await asyncio.sleep(0.001)


async def make(directory):
    async with opened(directory) as (store, catalog, _):
        await write(store, "saved")
        await catalog.make("saved", "Requested")
        await write(store, "later")


async def restored(directory, number):
    async with opened(directory) as (_, _, restores):
        killer = Killer(number)
        threading.settrace(killer.trace)
        sys.settrace(killer.trace)
        restores.ask("r", REQUEST)
        await end(restores)
        os._exit(3)  # it was not killed


async def look(directory):
    async with opened(directory) as (store, catalog, restores):
        found = await values(store)
        await end(restores)
        new = found == {"saved"}
        assert new or found == {"later"}, found
        assert not new or restores.get("r").phase is Phase.COMPLETED, restores.list()
        await store.put("other", "k", "written")
        restores.ask("r", REQUEST)
        await end(restores)
        state = restores.get("r")
        assert state.phase is Phase.COMPLETED, state
        assert await values(store) == {"saved"}
        # What has restored asks for nothing twice.
        assert (await store.get("other", "k") is not None) == new
        assert not (directory / "former").exists()
        assert not (directory / "restoring").exists()
        await catalog.verify(state.safety_backup)
    async with SqliteStore.open(directory / state.safety_backup / "memory.db", CONFIG) as safety:
        assert await values(safety) == {"later"}
    sys.stdout.write("new\n" if new else "old\n")
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


def main(directory):
    (directory / "made").mkdir()
    if in_child(make(directory / "made")):
        return 1
    number = random.randint(1, STEP)
    while True:
        there = directory / str(number)
        shutil.copytree(directory / "made", there)
        code = in_child(restored(there, number))
        if code == 3:
            return 0
        if code != -signal.SIGKILL or in_child(look(there)):
            sys.stderr.write(f"at line {number}\n")
            return 1
        shutil.rmtree(there)
        number += STEP


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    sys.exit(main(Path(sys.argv[1])))
