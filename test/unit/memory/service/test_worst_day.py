"""docs/worst-day.md's commands in a memory's pod, on a volume that is full and on a file that is corrupt."""

import asyncio
import contextlib
import os
import re
import shlex
import signal
import subprocess
import sys

import pytest
from support.pages import DOCS

from swarm_operator.memory.client import MemoryClient, MemoryClientError
from swarm_operator.memory.sqlite.backup.verify import check

PAGE = 4096
BACKUP = "before-the-experiment"


async def follow(section, process):
    """Run what a section of the page says is to be typed in the pod."""
    text = (DOCS / "worst-day.md").read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    commands = re.findall(r"^    \$ kubectl exec my-cluster-memory-0 -- (swarm-memory .*)$", text, re.MULTILINE)
    assert commands
    for command in commands:
        arguments = shlex.split(command.replace("/etc/swarm-memory/tokens", str(process.data_dir / "tokens")))[1:]
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "swarm_operator.cmd.memory", *arguments],
            env={**os.environ, "SWARM_MEMORY_URL": process.url},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, (command, done)


def client(process):
    token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    return MemoryClient(process.url, token=token, retries=0)


@pytest.fixture
def small_volume(tmp_path):
    """A directory on a file system of 192 MiB."""
    folder = tmp_path / "volume"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def fill(folder):
    """Take up what is left of a file system."""
    with contextlib.suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while file.write(bytes(64 * 1024)):
            pass
    assert os.statvfs(folder).f_bavail == 0


async def write_on(memory):
    for number in range(100):
        await memory.put("keep", f"k{number}", os.urandom(100_000).hex())


def overwrite(file):
    """Replace half of the pages of a file."""
    pages = file.stat().st_size // PAGE
    part = ("bs=4096", f"seek={pages // 3}", f"count={pages // 2}", "conv=notrunc")
    subprocess.run(["dd", "if=/dev/urandom", f"of={file}", *part], check=True, capture_output=True)


async def test_a_volume_that_is_full_is_written_to_again(fork_process, small_volume):
    process = await fork_process(data_dir=small_volume / "data")
    try:
        async with client(process) as memory:
            await memory.put("keep", "k", "kept")
            for number in range(190):
                await memory.put("scratch", f"k{number}", os.urandom(250_000).hex())
            fill(small_volume)
            with pytest.raises(MemoryClientError) as refused:
                await write_on(memory)
            assert (refused.value.status, refused.value.code) == (507, "disk-full")
            assert (await memory.get("keep", "k")).value == "kept"
            assert (await memory.ready()).ready
            await follow("The volume is full", process)
            async with asyncio.timeout(60):
                while True:
                    with contextlib.suppress(MemoryClientError):
                        await memory.put("keep", "after", "written")
                        break
                    await asyncio.sleep(0.1)  # the service looks for room by itself
            assert (await memory.get("keep", "k")).value == "kept"
    finally:
        await process.stop(signal.SIGTERM)
    assert check(process.data_dir / "swarm-memory.db").ok


async def test_a_corrupt_file_is_replaced_by_the_backup(fork_process, tmp_path):
    (tmp_path / "vault").mkdir()
    flags = ("--backups", f"file://{tmp_path}/vault")
    first = await fork_process(*flags)
    async with client(first) as memory:
        for number in range(100):
            await memory.put("n", f"k{number}", os.urandom(5000).hex())
        await memory.backups.make(BACKUP)
        assert (await memory.backups.wait(BACKUP)).phase == "Completed"
    await first.stop(signal.SIGTERM)
    process = await fork_process(*flags)  # nothing of the file is in memory
    file = process.data_dir / "swarm-memory.db"
    overwrite(file)
    async with client(process) as memory:
        codes = set()
        for number in range(100):
            try:
                await memory.get("n", f"k{number}")
            except MemoryClientError as error:
                codes.add((error.status, error.code))
        # A damaged page may hold only the end of a value.
        assert (503, "corrupt") in codes
        assert codes <= {(503, "corrupt"), (503, "corrupt-value")}
        await follow("The file is corrupt", process)
        assert len([entry async for entry in memory.iterate("n")]) == 100
        await memory.put("n", "after", 1)
        assert (await memory.ready()).ready
    assert await process.stop(signal.SIGTERM) == 0
    assert check(file).ok
