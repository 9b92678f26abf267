"""Versions after many replacements: clients read them as JSON numbers, which are exact below 2**53 only."""

from swarm_operator.memory.sqlite.backup.replace import MARGIN


async def test_restores_of_their_own_backups_add_to_versions_and_do_not_double_them(store, tmp_path):
    for number in range(3):
        await store.put("n", f"k{number}", number)
    for turn in range(40):
        copy = tmp_path / f"copy-{turn}.db"
        await store.backup(copy)
        known = (await store.get("n", "k2")).version
        await store.replace(copy, former=tmp_path / "former.db", before=_nothing)
        (tmp_path / "former.db").unlink()
        assert (await store.get("n", "k0")).version > known
    entry, _ = await store.put("n", "k2", "written")
    assert entry.version < 41 * (MARGIN + 10)


async def test_a_backup_without_entries_raises_the_versions_too(store, tmp_path):
    await store.put("n", "k", 1)
    await store.delete("n", "k")
    await store.backup(tmp_path / "copy.db")
    known = (await store.put("n", "k", 2))[0].version
    await store.replace(tmp_path / "copy.db", former=tmp_path / "former.db", before=_nothing)
    assert (await store.put("n", "k", 3))[0].version > known


async def _nothing(_):
    """Do nothing before the exchange."""
