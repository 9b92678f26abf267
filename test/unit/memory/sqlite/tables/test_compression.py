"""Long values are stored as LZ4 frames, and what comes back is what was sent or an error."""

import asyncio
import os
import threading

import lz4.frame
import pytest

from swarm_operator.memory.core.errors import ConfigError, CorruptValueError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.tables import compression
from swarm_operator.memory.sqlite.tables.compression import Codec, compress, decompress

LONG = {"notes": ["the same words again and again"] * 2000}
NOISE = os.urandom(20_000).hex()  # hexadecimal digits: half of it can be saved


def rows(path):
    db = sqlite3.connect(path)
    try:
        return {key: facts for key, *facts in db.execute("SELECT key, codec, size, length(value) FROM entries")}
    finally:
        db.close()


def totals(path):
    """What the file counts, and what a count would say."""
    db = sqlite3.connect(path)
    try:
        kept = db.execute("SELECT entries, raw, stored FROM compression").fetchall()
        counted = db.execute(
            "SELECT count(*), coalesce(sum(size), 0), coalesce(sum(length(value)), 0) FROM entries WHERE codec <> 0"
        ).fetchall()
        return kept, counted
    finally:
        db.close()


def test_a_value_at_the_threshold_is_plain_and_one_above_it_is_a_frame():
    raw = b'"' + b"x" * 98 + b'"'
    assert compress(raw, 100).codec is Codec.PLAIN
    packed = compress(raw, 99)
    assert packed.codec is Codec.LZ4
    assert len(packed.blob) < len(raw)
    assert decompress(packed.codec, packed.blob, 100) == raw
    info = lz4.frame.get_frame_info(packed.blob)
    assert (info["content_checksum"], info["content_size"]) == (True, 100)


def test_zero_is_never_and_what_does_not_shrink_stays_plain():
    assert compress(b"x" * 1_000_000, 0).codec is Codec.PLAIN
    raw = os.urandom(100_000)
    packed = compress(raw, 1)
    assert packed.codec is Codec.PLAIN
    assert packed.blob is raw


def damaged_frames():
    raw = b"".join(b"%d," % number for number in range(5000))
    frame = compress(raw, 1).blob
    flipped = [bytes((*frame[:at], frame[at] ^ 0x40, *frame[at + 1 :])) for at in range(0, len(frame), 97)]
    wrong_length = lz4.frame.compress(raw[:-1], content_checksum=True, store_size=True)
    without_length = lz4.frame.compress(raw, content_checksum=True, store_size=False)
    bomb = lz4.frame.compress(b"0" * 50_000_000, content_checksum=True, store_size=True)
    extra = [b"", b"x", frame[:-1], frame[: len(frame) // 2], frame[:10], frame + b"x", frame + frame]
    return raw, [*flipped, wrong_length, without_length, bomb, *extra, raw]


def test_no_damage_gives_garbage():
    raw, frames = damaged_frames()
    for frame in frames:
        with pytest.raises(CorruptValueError):
            decompress(Codec.LZ4, frame, len(raw))
    with pytest.raises(CorruptValueError, match="codec 7"):
        decompress(7, raw, len(raw))


def test_a_frame_that_would_grow_beyond_the_cap_is_not_unpacked(monkeypatch):
    monkeypatch.setattr(compression, "MAX_RAW_BYTES", 1000)
    frame = compress(b"0" * 1001, 1).blob
    monkeypatch.setattr(lz4.frame, "decompress", None)
    with pytest.raises(CorruptValueError):
        decompress(Codec.LZ4, frame, 1001)


async def test_a_long_value_takes_less_room_and_comes_back_whole(tmp_path, clock):
    """The seed's flag was set, compressed nothing, and its ratio was a constant."""
    path = tmp_path / "db"
    async with SqliteStore.open(path, StoreConfig(cache_size=1), clock=clock) as store:
        assert (await store.stats()).compression_ratio is None
        await store.put("n", "long", LONG)
        await store.put("n", "noise", NOISE)
        await store.put("n", "short", "x" * 10_000)
        entry = await store.get("n", "long")
        assert entry.value == LONG
        assert (await store.get("n", "noise")).value == NOISE
        page = await store.list("n")
        assert [entry.value for entry in page.entries] == [LONG, NOISE, "x" * 10_000]
        stats = await store.stats()
        assert stats.compressed_entries == 2
        assert stats.value_bytes == entry.size + 40_002 + 10_002
    stored = rows(path)
    assert {key: facts[0] for key, facts in stored.items()} == {"long": 1, "noise": 1, "short": 0}
    assert stored["long"][1] == entry.size
    assert stored["long"][2] < entry.size / 50
    assert stats.compression_ratio == (stored["long"][2] + stored["noise"][2]) / (entry.size + 40_002)


async def test_the_totals_follow_every_overwrite_and_deletion(tmp_path):
    path = tmp_path / "db"
    config = StoreConfig(compression_threshold=50)
    for values in (["x" * 1000, "y" * 500], ["short", "y" * 5000], [1, 2], ["z" * 60, "z" * 70]):
        async with SqliteStore.open(path, config) as store:
            await asyncio.gather(*(store.put("n", f"k{number}", value) for number, value in enumerate(values)))
            await store.put("n", "gone", "g" * 700)
            await store.delete("n", "gone")
        kept, counted = totals(path)
        assert kept == counted


@pytest.mark.parametrize(
    ("value", "end"),
    [(LONG, b"\xff"), ("x" * 5000, b"\xff"), ("x" * 5000, b"\0")],
    ids=["a frame", "not UTF-8", "zeros"],
)
async def test_a_damaged_value_is_an_error_of_its_own_entry_that_can_be_written_over(tmp_path, value, end):
    path = tmp_path / "db"
    async with SqliteStore.open(path) as store:
        await store.put("n", "bad", value)
        await store.put("n", "good", LONG)
    db = sqlite3.connect(path)
    (blob,) = db.execute("SELECT value FROM entries WHERE key = 'bad'").fetchone()
    db.execute("UPDATE entries SET value = ? WHERE key = 'bad'", (blob[:-1] + end,))
    db.commit()
    db.close()
    async with SqliteStore.open(path) as store:
        results = await asyncio.gather(store.get("n", "bad"), store.get("n", "good"), return_exceptions=True)
        assert isinstance(results[0], CorruptValueError)
        assert "'bad' in 'n'" in str(results[0])
        assert results[1].value == LONG
        with pytest.raises(CorruptValueError):
            await store.list("n")
        await store.put("n", "bad", 1)
        assert len((await store.list("n")).entries) == 2
        assert store.fault is None


async def test_the_threshold_may_change_and_old_values_stay_readable(tmp_path):
    path = tmp_path / "db"
    for threshold in (0, 10_240, 0):
        async with SqliteStore.open(path, StoreConfig(compression_threshold=threshold)) as store:
            for entry in (await store.list("n")).entries:
                assert entry.value == LONG
            await store.put("n", f"with {threshold}", LONG, create_only=False)
    assert {key: facts[0] for key, facts in rows(path).items()} == {"with 0": 0, "with 10240": 1}


async def test_a_file_of_version_1_is_brought_forward(tmp_path, monkeypatch):
    path = tmp_path / "db"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")
    schema.migrate(db, 0, until=1)
    db.execute(
        "INSERT INTO entries (namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value)"
        " VALUES ('n', 'old', 3, 1, 1, 0, 2, '[]', '{}', x'3432')"
    )
    db.execute("INSERT INTO namespaces VALUES ('n', 1, 2)")
    db.close()
    async with SqliteStore.open(path) as store:
        old = await store.get("n", "old")
        assert (old.value, old.version) == (42, 3)
        entry, _ = await store.put("n", "old", LONG)
        assert entry.version == 4
        assert (await store.stats()).compressed_entries == 1


async def test_large_values_are_compressed_off_the_event_loop_and_small_ones_on_it(tmp_path, monkeypatch):
    threads = []
    real = compression.compress

    def spy(raw, threshold):
        threads.append(threading.current_thread())
        return real(raw, threshold)

    monkeypatch.setattr(compression, "compress", spy)
    async with SqliteStore.open(tmp_path / "db") as store:
        await store.put("n", "small", "x" * 20_000)
        await store.put("n", "large", "x" * 200_000)
        assert threads[0] is threading.main_thread()
        assert threads[1] is not threading.main_thread()
        assert store._packer._packing == 0


@pytest.mark.parametrize("threshold", [-1, 2**31, True])
def test_a_threshold_out_of_range_is_refused(threshold):
    with pytest.raises(ConfigError, match="compression_threshold"):
        StoreConfig(compression_threshold=threshold)
