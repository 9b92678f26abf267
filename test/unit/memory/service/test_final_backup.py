"""`serve --final-backup`: after that backup the memory reads only, also when it is started again."""

import asyncio
import signal

import pytest

from swarm_operator.cmd.memory import main
from swarm_operator.memory.client import MemoryBusyError, MemoryClient

NAME = "bees-final-0123456789"


async def test_a_killed_service_refuses_writes_until_its_final_backup_is_called_off(fork_process, tmp_path):
    (tmp_path / "vault").mkdir()
    flags = ("--backups", f"file://{tmp_path}/vault", "--final-backup", NAME)
    first = await fork_process(*flags)
    token = (first.data_dir / "tokens" / "admin-token").read_text().strip()
    async with MemoryClient(first.url, token=token) as memory:
        await memory.put("n", "k", 1)
        await memory.backups.make(NAME, reason="Final")
        assert (await memory.backups.wait(NAME)).phase == "Completed"
    await first.stop(signal.SIGKILL)
    second = await fork_process(*flags)
    async with MemoryClient(second.url, token=token, retries=0) as memory:
        assert (await memory.ready()).ready
        assert (await memory.get("n", "k")).value == 1
        with pytest.raises(MemoryBusyError, match="is being deleted"):
            await memory.put("n", "k", 2)
        await memory.backups.delete(NAME)
        await memory.put("n", "k", 2)
    assert await second.stop(signal.SIGTERM) == 0
    assert {line["level"] for line in second.log} == {"info"}


async def test_a_job_s_final_backup_counts_for_the_pod_too(fork_process, tmp_path):
    (tmp_path / "vault").mkdir()
    first = await fork_process()
    async with MemoryClient(first.url, token=first.token) as memory:
        await memory.put("n", "k", 1)
    await first.stop(signal.SIGTERM)
    location = f"file://{tmp_path}/vault/default/{NAME}"
    arguments = ["backups", "make", location, "--data-dir", str(first.data_dir), "--reason", "Final"]
    assert await asyncio.to_thread(main, arguments) == 0
    second = await fork_process("--final-backup", NAME)
    async with MemoryClient(second.url, token=second.token, retries=0) as memory:
        with pytest.raises(MemoryBusyError, match="is being deleted"):
            await memory.put("n", "k", 2)
