"""Who may read the service's files."""

import os
import signal
import stat

import httpx2


async def test_the_files_of_a_service_are_its_owner_s_whatever_the_umask_was(start_process):
    process = await start_process(limits=lambda: os.umask(0))
    async with httpx2.AsyncClient(
        verify=False, headers={"Authorization": f"Bearer {process.token}"}, timeout=60
    ) as http:
        answer = await http.put(f"{process.url}/v1/entries/n/k", json={"value": "secret"})
        assert answer.status_code == 201
    paths = [process.data_dir, *process.data_dir.rglob("*")]
    assert {"swarm-memory.db", "swarm-memory.db-wal", "swarm-memory.db-shm", "tokens"} <= {path.name for path in paths}
    open_to_others = {path.name: oct(mode) for path in paths if (mode := stat.S_IMODE(path.stat().st_mode)) & 0o077}
    assert not open_to_others
    assert await process.stop(signal.SIGTERM) == 0
