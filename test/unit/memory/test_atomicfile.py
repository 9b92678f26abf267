"""Files that are there whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from swarm_operator.memory import atomicfile
from swarm_operator.memory.atomicfile import SUFFIX, AtomicFile, remove_stale


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_it_has_no_name_before_it_is_published_and_nothing_else_afterwards(tmp_path):
    file = AtomicFile.create(tmp_path / "f")
    file.path.write_bytes(b"whole")
    assert names(tmp_path) == [file.path.name]
    assert file.path.stat().st_mode & 0o077 == 0
    file.publish()
    assert names(tmp_path) == ["f"]
    assert (tmp_path / "f").read_bytes() == b"whole"
    file.discard()
    assert names(tmp_path) == ["f"]


def test_what_is_discarded_leaves_nothing_not_even_beside_it(tmp_path):
    file = AtomicFile.create(tmp_path / "f")
    for suffix in ("-journal", "-wal", "-shm"):
        file.path.with_name(file.path.name + suffix).touch()
    file.discard()
    assert names(tmp_path) == []


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_is_there_is_never_replaced(tmp_path, monkeypatch, links):
    def refuse(*_):
        raise PermissionError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    file = AtomicFile.create(tmp_path / "f")
    (tmp_path / "f").write_bytes(b"another's")
    with pytest.raises(FileExistsError):
        file.publish()
    file.discard()
    with pytest.raises(FileExistsError):
        AtomicFile.create(tmp_path / "f")
    assert (names(tmp_path), (tmp_path / "f").read_bytes()) == (["f"], b"another's")
    file = AtomicFile.create(tmp_path / "g")
    file.publish()
    assert names(tmp_path) == ["f", "g"]


def test_a_link_that_leads_nowhere_counts_as_a_file(tmp_path):
    (tmp_path / "f").symlink_to(tmp_path / "missing")
    with pytest.raises(FileExistsError):
        AtomicFile.create(tmp_path / "f")


def test_the_bytes_and_then_the_name_are_synced(tmp_path, monkeypatch):
    synced = []
    real = os.fsync

    def sync(number):
        synced.append((str(Path(f"/proc/self/fd/{number}").readlink()), names(tmp_path)))
        real(number)

    monkeypatch.setattr(atomicfile.os, "fsync", sync)
    file = AtomicFile.create(tmp_path / "f")
    file.publish()
    assert synced == [(str(file.path), [file.path.name]), (str(tmp_path), ["f"])]


def test_what_a_killed_process_left_is_removed_and_what_is_at_work_is_not(tmp_path):
    code = (
        "import os, pathlib, sys; from swarm_operator.memory.atomicfile import AtomicFile;"
        "file = AtomicFile.create(pathlib.Path(sys.argv[1])); file.path.with_name(file.path.name + '-journal').touch();"
        "os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "f")], check=False).returncode == -9
    assert len(names(tmp_path)) == 2
    working = AtomicFile.create(tmp_path / "g")
    (tmp_path / "other").touch()
    assert remove_stale(tmp_path) == 1
    assert names(tmp_path) == sorted([working.path.name, "other"])
    assert working.path.name.endswith(SUFFIX)
    working.discard()
    assert remove_stale(tmp_path / "missing") == 0


def test_a_long_name_is_no_obstacle(tmp_path):
    file = AtomicFile.create(tmp_path / ("ü" * 127))
    file.publish()
    assert names(tmp_path) == ["ü" * 127]
