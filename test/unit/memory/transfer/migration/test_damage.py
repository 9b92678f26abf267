"""What can't be migrated is named, with its reason, and costs only itself."""

import asyncio
import hashlib
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from support import legacy

from swarm_operator.memory.sqlite import StoreConfig
from swarm_operator.memory.transfer.migration import database_copies, json_stores, run, sources, targets


def store(*entries):
    return json.dumps({"n": [{"key": key, "value": value} for key, value in entries]})


async def test_a_truncated_file_gives_what_is_before_the_cut_and_the_rest_is_in_quarantine(place):
    text = json.dumps([legacy.json_entry("one", 1), legacy.json_entry("two", 2)], indent=1)
    cut = text.index('"two"') + 20
    (place.source / "a.json").write_text(text[:cut])
    report = await place.migrate()
    assert (report["totals"]["created"], report["totals"]["quarantined"]) == (1, 1)
    assert report["complete"]
    (item,) = place.quarantined()
    assert (item["source"], item["reason"], item["kind"]) == ("a.json", "truncated", "file")
    assert item["where"]["line"] == text[: item["where"]["offset"]].count("\n") + 1
    assert item["content"] == text[item["where"]["offset"] : cut]


async def test_an_element_that_is_bad_costs_only_itself(place):
    parts = [
        b'{"key": "a", "value": 1}',
        b'{"key": "b", "value": "\xff"}',
        b'{"key": "c", "value": 1, "value": 2}',
        b'{"key": "d", "value": ["\\ud800"]}',
        b'{"key": "e", "value": nul}',
        b'{"key": "f", "value": 6}',
    ]
    (place.source / "a.json").write_bytes(b'{"n": [' + b",\n".join(parts) + b"]}")
    report = await place.migrate()
    assert {key for _, key in await place.entries()} == {"a", "f"}
    assert report["reasons"] == {"invalid-json": 4}
    text = place.quarantine.read_text()
    assert "content_base64" in text
    assert '{\\"key\\": \\"c\\", \\"value\\": 1, \\"value\\": 2}' in text


async def test_conflict_markers_refuse_the_whole_file_by_their_line(place, monkeypatch):
    lines = [
        "{",
        '"agents": [{"id": "a1"}],',
        "<<<<<<< HEAD",
        '"tasks": []',
        "=======",
        '"tasks": [{"id": "t"}]',
        ">>>>>>> x",
        "}",
    ]
    (place.source / "state.json").write_text("\n".join(lines))
    for chunk in (1, 5, 13, 1000):
        monkeypatch.setattr(json_stores, "_CHUNK", chunk)
        report = await place.migrate(dry_run=True)
        assert (report["totals"]["found"], report["reasons"]) == (1, {"conflict-markers": 1})
        (item,) = place.quarantined()
        assert (item["where"], "line 3" in item["detail"]) == ({"line": 3}, True)


async def test_a_value_over_the_limit_is_in_quarantine_as_a_whole(place, monkeypatch):
    monkeypatch.setattr(targets, "StoreConfig", lambda **given: StoreConfig(max_value_bytes=1000, **given))
    large = "ü" * 1_000_000
    (place.source / "a.json").write_text(store(("small", 1), ("large", large), ("over", "x" * 999)))
    with closing(sqlite3.connect(place.source / "b.db")) as db, db:
        db.execute("CREATE TABLE memories (namespace TEXT, key TEXT, value TEXT, number INTEGER)")
        rows = [("m", "before", "x", 1), ("m", "large", large, 2), ("m", "after", "x", 3)]
        db.executemany("INSERT INTO memories VALUES (?, ?, ?, ?)", rows)
    report = await place.migrate()
    assert set(await place.entries()) == {("n", "small"), ("m", "before"), ("m", "after")}
    assert report["reasons"] == {"too-large": 3}
    first, over, row = sorted(place.quarantined(), key=lambda item: (item["source"], -len(item["content"])))
    assert json.loads(first["content"]) == {"key": "large", "value": large}
    assert over["where"]["key"] == "over"
    assert row["where"] == {"table": "memories", "rowid": 2, "columns": ["namespace", "key", "value", "number"]}
    assert row["content"] == f"\nnamespace: m\nkey: large\nvalue: {large}\nnumber: 2"


async def test_a_checksum_of_another_value_is_refused(place):
    changed = legacy.json_entry("changed", "text")
    changed["value"] = "another text"
    (place.source / "a.json").write_text(json.dumps([legacy.json_entry("whole", "text"), changed]))
    report = await place.migrate()
    assert (report["totals"]["created"], report["reasons"]) == (1, {"checksum": 1})


def damage(path, needle):
    """Overwrite the page of a database that has these bytes."""
    data = bytearray(path.read_bytes())
    page = data.index(needle) // 4096
    assert page > 0
    data[page * 4096 : (page + 1) * 4096] = b"\xee" * 4096
    path.write_bytes(data)


async def test_a_damaged_database_gives_the_rows_of_its_sound_pages(place):
    path = place.source / "a.db"
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("PRAGMA page_size = 4096")
        db.execute("CREATE TABLE memories (namespace TEXT, key TEXT, value TEXT)")
        rows = (("n", f"key-{number:04}", f"value {number:04} " + "x" * 300) for number in range(400))
        db.executemany("INSERT INTO memories VALUES (?, ?, ?)", rows)
        db.execute("CREATE TABLE collective_memory (id TEXT, swarm_id TEXT, key TEXT, value TEXT, type TEXT)")
        db.execute("INSERT INTO collective_memory VALUES ('i', 's', 'k', '1', 'config')")
    for needle in (b"value 0100", b"value 0300"):
        damage(path, needle)
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("INSERT INTO collective_memory (rowid, key) VALUES (?, 'first'), (?, 'last')", (-(2**63), 2**63 - 1))
    report = await place.migrate()
    found = sorted(int(key[4:]) for namespace, key in await place.entries() if namespace == "n")
    missing = sorted(set(range(400)) - set(found))
    assert 100 in missing
    assert 300 in missing
    assert len(missing) < 40
    assert report["reasons"] == {"corrupt": 2}
    gaps = [item["where"] for item in place.quarantined()]
    named = {number - 1 for gap in gaps for number in range(gap["from_rowid"], gap["to_rowid"] + 1)}
    assert named == set(missing)
    assert report["kinds"]["entry"]["created"] == len(found) + 3


async def test_a_database_without_a_readable_schema_is_named(place):
    legacy.memories(place.source / "whole.db")
    data = bytearray((place.source / "whole.db").read_bytes())
    data[100:2000] = b"\xee" * 1900
    (place.source / "whole.db").write_bytes(data)
    report = await place.migrate()
    assert report["reasons"] == {"corrupt": 1}
    assert report["complete"]


async def test_files_that_are_no_memory_are_left_alone_or_named(place, monkeypatch):
    source = place.source
    (source / "garbage.db").write_bytes(b"\xff" + os.urandom(5000).replace(b"{", b"x"))
    (source / "garbage.json").write_bytes(b"\x00\x01garbage")
    (source / "notes.md").write_text("# notes")
    (source / "package.json").write_text('{"name": "x", "keywords": ["a"], "dependencies": {}, "files": [{"a": 1}]}')
    (source / "empty.json").write_text("")
    (source / "gone.db-wal").write_bytes(b"x")
    with closing(sqlite3.connect(source / "browser.db")) as db, db:
        db.execute("CREATE TABLE cookies (host TEXT)")
    os.mkfifo(source / "pipe")
    (place.root / "outside.json").write_text(store(("outside", 1)))
    (source / "link.json").symlink_to(place.root / "outside.json")
    (source / "up").symlink_to(place.root, target_is_directory=True)
    (source / "lost+found").mkdir()
    (source / "locked").mkdir()
    (source / "locked" / "a.json").write_text(store(("a", 1)))
    (source / "unreadable.json").write_text(store(("a", 1)))
    opened, scanned = sources.open_regular, os.scandir

    def refuse(path):
        if path.name == "unreadable.json":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path)

    def refuse_folder(path):
        if isinstance(path, Path) and path.name in {"locked", "lost+found"}:
            raise PermissionError(13, "Permission denied", str(path))
        return scanned(path)

    monkeypatch.setattr(sources, "open_regular", refuse)
    monkeypatch.setattr(sources.os, "scandir", refuse_folder)
    report = await place.migrate()
    assert {item["source"]: item["reason"] for item in report["ignored"]["files"]} == {
        "notes.md": "not-a-memory", "empty.json": "empty", "gone.db-wal": "sidecar-without-database",
        "pipe": "special-file", "link.json": "symlink", "up": "symlink",
    }  # fmt: skip
    assert {each["source"]: [*each["reasons"]] for each in report["sources"]} == {
        "garbage.db": ["not-a-database"], "garbage.json": ["not-json"], "unreadable.json": ["unreadable"],
        "locked": ["unreadable"], "package.json": [], "browser.db": [],
    }  # fmt: skip
    notices = {each["source"]: each["notices"] for each in report["sources"] if each["notices"]}
    assert notices.keys() == {"package.json", "browser.db"}
    assert all(notice.startswith("not-a-memory") for (notice,) in notices.values())
    assert report["totals"]["created"] == 0


async def test_an_empty_directory_and_a_source_that_is_not_there_end_clearly(place):
    report = await place.migrate()
    assert (report["complete"], report["totals"]["found"], report["sources"]) == (True, 0, [])
    report = await place.migrate(source=place.root / "none")
    assert not report["complete"]
    assert "none" in report["problem"]


async def test_names_that_the_store_refuses_are_mapped_and_can_be_read_again(place):
    with closing(sqlite3.connect(place.source / "a.db")) as db, db:
        db.execute("CREATE TABLE memories (namespace TEXT, key TEXT, value, tags TEXT)")
        tags = json.dumps(["good", "", 5, "x" * 300])
        rows = [
            ("n" * 300, "k" * 2000, "x", tags),
            ("n", "nul\0", "x", None),
            ("n", "", "x", "a, b"),
            ("", b"bytes", 1.5, None),
        ]
        db.executemany("INSERT INTO memories VALUES (?, ?, ?, ?)", rows)
        db.execute("INSERT INTO memories VALUES ('n', CAST(x'6bff' AS TEXT), CAST(x'76ff' AS TEXT), NULL)")
        db.execute("INSERT INTO memories VALUES ('n', 'infinite', 9e999, NULL)")
        db.execute("CREATE TABLE agents (id TEXT, swarm_id TEXT)")
        db.execute("INSERT INTO agents VALUES (?, 'a/b%')", ("i" * 600,))
        db.execute("INSERT INTO agents VALUES (NULL, 's')")
    report = await place.migrate()
    assert report["reasons"] == {"invalid": 1}
    entries = await place.entries()
    originals = {
        json.loads(entry.metadata["legacy"]["key"])
        for entry in entries.values()
        if "key" in entry.metadata.get("legacy", {})
    }
    assert originals == {"k" * 2000, "nul\0", "", "k\udcff"}
    name = "~" + hashlib.sha256(b"n" * 300).hexdigest()
    long = entries[name, "~" + hashlib.sha256(b"k" * 2000).hexdigest()]
    assert json.loads(long.metadata["legacy"]["namespace"]) == "n" * 300
    assert (long.tags, long.metadata["legacy"]["tags"]) == (["good"], ["good", "", 5, "x" * 300])
    assert entries["n", "~" + hashlib.sha256(b"").hexdigest()].tags == ["a", "b"]
    assert entries["default", "bytes"].value == 1.5
    assert entries["n", "infinite"].value == "inf"
    assert entries["n", "~" + hashlib.sha256("k\udcff".encode(errors="surrogatepass")).hexdigest()].value == {
        "base64": "dv8="
    }
    (agent,) = (entry for (namespace, _), entry in entries.items() if namespace == "swarm:agents")
    assert json.loads(agent.metadata["legacy"]["id"]) == "a%2Fb%25/" + "i" * 600


async def test_a_source_that_is_being_written_is_read_and_said(place, monkeypatch):
    (place.source / "a.json").write_text(store(("a", 1)))
    legacy.memories(place.source / "b.db")
    copy, read = database_copies.shutil.copyfile, json_stores.read

    def growing(source, *rest):
        os.utime(source, ns=(0, source.stat().st_mtime_ns + 1_000_000))
        return copy(source, *rest)

    def reading(path, file, context):
        yield from read(path, file, context)
        path.write_text(store(("a", 1), ("b", 2)))

    monkeypatch.setattr(database_copies.shutil, "copyfile", growing)
    monkeypatch.setattr(run.json_stores, "read", reading)
    report = await place.migrate()
    assert report["totals"]["created"] == 3
    for source in report["sources"]:
        (notice,) = source["notices"]
        assert notice.startswith("changed-while-read")


async def test_a_database_that_is_written_while_it_is_copied_is_copied_again(place, monkeypatch):
    path = place.source / "b.db"
    legacy.memories(path)
    copy, copies = database_copies.shutil.copyfile, []

    def writing(source, *rest):
        copy(source, *rest)
        if not copies:
            os.utime(source, ns=(0, source.stat().st_mtime_ns + 1_000_000))
        copies.append(source)

    monkeypatch.setattr(database_copies.shutil, "copyfile", writing)
    report = await place.migrate()
    assert copies.count(path) == 2
    assert [source["notices"] for source in report["sources"]] == [[]]


async def test_a_database_that_another_program_has_locked_is_read(place):
    path = place.source / "a.db"
    legacy.memories(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN EXCLUSIVE")
        report = await place.migrate()
    assert report["totals"]["created"] == 2


async def test_a_disk_without_room_for_a_copy_fails_the_migration(place, monkeypatch):
    legacy.memories(place.source / "a.db")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(database_copies.shutil, "copyfile", full)
    report = await place.migrate()
    assert (report["complete"], report["reasons"]) == (False, {})
    assert "No space left" in report["problem"]


async def test_ctrl_c_ends_a_migration_while_it_reads(place):
    (place.source / "a.json").write_text(store(*((str(number), number) for number in range(1000))))

    told = []

    def cancel(progress):
        told.append(progress.phase)
        task.cancel()

    task = asyncio.create_task(place.migrate(progress=cancel))
    with pytest.raises(asyncio.CancelledError):
        await task
    assert told == ["reading", "reading"]  # at the start, and when the loop had its first turn
    assert list((place.root / "scratch").iterdir()) == []
    assert not place.quarantine.exists()
