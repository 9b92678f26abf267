"""The real service on a file system that is filled up, and then grown while it is mounted, as a volume is.

The file system is a tmpfs: resize2fs needs a capability that containers for tests lack.
"""

import base64
import itertools
import os
import signal
import subprocess

import pytest

from swarm_operator.memory.client import MemoryClient, MemoryClientError

MIB = 1024 * 1024


@pytest.fixture
def volume(tmp_path):
    directory = tmp_path / "volume"
    directory.mkdir()
    mount(directory, "-t", "tmpfs", "-o", "size=96m", "tmpfs")
    yield directory
    subprocess.run(["umount", "--lazy", directory], check=True)


def mount(directory, *arguments):
    subprocess.run(["mount", *arguments, directory], check=True)


async def fill(memory):
    """Write until the volume is full. Return the keys of what was acknowledged, and the status of the refusal."""
    written = []
    for number in itertools.count():
        try:
            await memory.put("n", f"k{number}", base64.b64encode(os.urandom(750_000)).decode())
        except MemoryClientError as error:
            return written, error.status
        written.append(f"k{number}")
    return None


async def test_a_full_volume_serves_reads_and_deletes_and_takes_writes_when_it_has_grown(
    fork_process, volume, eventually
):
    process = await fork_process(data_dir=volume / "data")
    async with MemoryClient(process.url, token=process.token, retries=0) as memory:
        before = await memory.stats()
        assert before.volume_free_bytes < before.volume_size_bytes == 96 * MIB
        (volume / "ballast").write_bytes(b"\0" * 40 * MIB)  # half of what is left, to save time
        written, status = await fill(memory)
        assert (status, len(written) > 3) == (507, True)
        full = await memory.stats()
        assert (full.fault, (await memory.ready()).ready) == ("disk-full", True)
        assert full.volume_size_bytes == before.volume_size_bytes
        assert full.volume_free_bytes < before.volume_free_bytes
        assert len((await memory.get("n", written[-1])).value) == 1_000_000
        await memory.delete("n", written[0])
        with pytest.raises(MemoryClientError, match="full"):
            await memory.put("n", "more", 1)

        mount(volume, "-o", "remount,size=384m")

        async def serves_on():
            return (await memory.stats()).fault is None

        await eventually(serves_on, seconds=60)
        grown = await memory.stats()
        assert grown.volume_size_bytes > 3 * full.volume_size_bytes
        for number in range(30):  # more than was free before
            await memory.put("n", f"later{number}", base64.b64encode(os.urandom(750_000)).decode())
        found = [entry.key async for entry in memory.iterate("n", page=20)]
        assert sorted(found) == sorted([*written[1:], *(f"later{number}" for number in range(30))])
    assert await process.stop(signal.SIGTERM) == 0
