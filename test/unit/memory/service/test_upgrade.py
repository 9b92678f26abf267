"""`serve --keep-former`: a release that has changed the schema accepts no write before /readyz has succeeded once."""

import json
import lzma
import signal
from pathlib import Path

import pytest
from unit.memory.sqlite.database import earlier

from swarm_operator.memory.client import MemoryBusyError, MemoryClient
from swarm_operator.memory.sqlite.database import schema

EARLIER = Path(earlier.__path__[0]) / f"schema-{schema.LATEST - 1}.db.xz"


async def test_writes_wait_until_the_service_was_ready(fork_process, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / "swarm-memory.db").write_bytes(lzma.decompress(EARLIER.read_bytes()))
    copy = data / "swarm-memory.db-former"
    first = await fork_process("--keep-former", "true")
    async with MemoryClient(first.url, token=first.token, retries=0) as memory:
        assert (await memory.get("team", "object")).version == 1
        with pytest.raises(MemoryBusyError, match="until it is ready") as refused:
            await memory.put("team", "object", 2)
        assert (refused.value.code, refused.value.retry_after) == ("upgrading", 1.0)
        assert copy.exists()
        assert (await memory.ready()).ready
        assert not copy.exists()
        await memory.put("team", "object", 2)
    assert await first.stop(signal.SIGTERM) == 0
    events = [line["event"] for line in first.log]
    assert "database copied before its schema changes; writes wait for readiness" in events, json.dumps(first.log)
