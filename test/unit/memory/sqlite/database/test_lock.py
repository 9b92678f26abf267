"""One process opens the database."""

import json
import os
import socket

import pytest

from swarm_operator.memory.core.errors import DatabaseInUseError
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.sqlite.database.lock import ProcessLock


async def test_a_second_opener_is_refused_and_told_who_has_it(tmp_path):
    path = tmp_path / "db"
    async with SqliteStore.open(path) as store:
        with pytest.raises(DatabaseInUseError) as caught:
            async with SqliteStore.open(path):
                pass
        assert f"{path} is already open in process {os.getpid()} on host {socket.gethostname()}" in str(caught.value)
        await store.put("n", "k", 1)
    async with SqliteStore.open(path) as store:
        assert (await store.get("n", "k")).value == 1


def test_a_lock_file_left_by_a_dead_process_means_nothing(tmp_path):
    (tmp_path / "db.lock").write_text(json.dumps({"pid": 1, "host": "gone"}))
    lock = ProcessLock(tmp_path / "db")
    lock.acquire()
    assert json.loads(lock.path.read_text())["pid"] == os.getpid()
    lock.release()
    lock.release()
    assert lock.path.read_text() == ""


@pytest.mark.parametrize("content", ["", "not json", "[]", "{}"])
def test_a_holder_that_has_not_written_its_name_yet_still_holds(tmp_path, content):
    first, second = ProcessLock(tmp_path / "db"), ProcessLock(tmp_path / "db")
    first.acquire()
    first.path.write_text(content)
    with pytest.raises(DatabaseInUseError, match="another process"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()
