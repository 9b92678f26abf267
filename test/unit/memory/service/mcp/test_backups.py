"""memory_backup and memory_restore."""

import shutil
from types import SimpleNamespace

import pytest


async def test_a_memory_is_backed_up_and_restored(admin, service):
    for number in range(3):
        await service.store.put("n", f"k{number}", number)
    made = await admin.call("memory_backup")
    assert made["path"] == "swarm-memory-20270115T080000Z.db"
    path = service.store.path.parent / "backups" / made["path"]
    assert path.stat().st_size == made["size_bytes"]
    assert (path.stat().st_mode & 0o777, path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    await service.store.put("n", "k0", "changed")
    await service.store.delete("n", "k1")
    await service.store.put("n", "new", 1)
    kept = await admin.call("memory_restore", backupPath=made["path"], existing="keep")
    assert kept == {"created": 1, "updated": 0, "unchanged": 1, "kept": 1}
    done = await admin.call("memory_restore", backupPath=made["path"])
    assert done == {"created": 0, "updated": 1, "unchanged": 2, "kept": 0}
    assert [entry.value for entry in (await service.store.list("n")).entries] == [0, 1, 2, 1]
    metrics = await service.metrics()
    assert 'swarm_memory_operation_duration_seconds_count{operation="backup"} 1.0' in metrics
    assert 'swarm_memory_operation_duration_seconds_count{operation="import"} 2.0' in metrics


async def test_both_take_the_admin_token(mcp, service):
    for name, arguments in (("memory_backup", {}), ("memory_restore", {"backupPath": "a.db"})):
        assert (await mcp.fail(name, **arguments))["code"] == "forbidden"
    assert not (service.store.path.parent / "backups").exists()


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "/etc/passwd", ".hidden", "a\0", "ä", "a b", "x" * 129])
async def test_a_name_is_no_path(admin, service, name):
    for tool, argument in (("memory_backup", "path"), ("memory_restore", "backupPath")):
        error = await admin.fail(tool, **{argument: name})
        assert (error["code"], error["field"]) == ("invalid-input", argument)
    assert not (service.store.path.parent / "backups").exists()


async def test_a_name_that_is_taken_is_refused_and_one_that_is_not_there_names_those_that_are(admin, service):
    assert "there is none" in (await admin.fail("memory_restore", backupPath="first"))["allowed"]
    await admin.call("memory_backup", path="first")
    before = (service.store.path.parent / "backups/first").read_bytes()
    assert (await admin.fail("memory_backup", path="first"))["field"] == "path"
    assert (service.store.path.parent / "backups/first").read_bytes() == before
    assert "the newest of which are first" in (await admin.fail("memory_restore", backupPath="second"))["allowed"]
    (service.store.path.parent / "backups/text").write_text("text")
    error = await admin.fail("memory_restore", backupPath="text")
    assert (error["code"], error["field"]) == ("invalid-input", "backupPath")


async def test_a_backup_leaves_room_for_the_database(admin, service, monkeypatch):
    size = (await service.store.stats()).database_size_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=9 * size, free=2 * size - 1))
    assert (await admin.fail("memory_backup", path="a"))["code"] == "disk-full"
    assert service.store.fault is None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(total=9 * size, free=2 * size))
    await admin.call("memory_backup", path="a")


async def test_one_restore_at_a_time(admin, monkeypatch):
    await admin.call("memory_backup", path="a")
    refused = []

    async def meanwhile(*_, **__):
        refused.append((await admin.fail("memory_restore", backupPath="a"))["code"])
        return SimpleNamespace(counts={})

    monkeypatch.setattr("swarm_operator.memory.service.mcp.tools.backups.restore", meanwhile)
    await admin.call("memory_restore", backupPath="a")
    await admin.call("memory_restore", backupPath="a")
    assert refused == ["overloaded", "overloaded"]
