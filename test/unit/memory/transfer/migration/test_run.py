"""A migration decides the same whatever the order, the interruptions and the target."""

import json
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import legacy

from swarm_operator.memory.client import MemoryClient, MemoryUnavailableError
from swarm_operator.memory.client.transfer import TransferClient
from swarm_operator.memory.core.entry import Draft
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.transfer.importer import Existing
from swarm_operator.memory.transfer.migration import run, scratch
from swarm_operator.memory.transfer.migration.items import Item, Kind
from swarm_operator.memory.transfer.migration.staging import Staging
from swarm_operator.memory.transfer.migration.targets import Service


def write(path, *entries):
    """A JSON store with entries of key, value and time."""
    found = [{"key": key, "value": value, "timestamp": 1_750_000_000_000 + time} for key, value, time in entries]
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"n": found}))


def values(entries):
    return {key: entry.value for (_, key), entry in entries.items()}


async def test_of_several_sources_the_newest_wins_once_and_the_others_are_counted(place):
    write(place.source / "a.json", ("k", "old", 1), ("same", 1, 1), ("a", 1, 1))
    write(place.source / "b" / "b.json", ("k", "new", 2), ("same", 1, 2))
    write(place.source / "c.json", ("k", "middle", 1))
    report = await place.migrate()
    assert values(await place.entries()) == {"k": "new", "same": 1, "a": 1}
    totals = report["totals"]
    assert (totals["found"], totals["created"], totals["duplicate"], totals["quarantined"]) == (6, 3, 1, 2)
    assert report["reasons"] == {"superseded": 2}
    lost = {item["source"]: json.loads(item["content"])["value"] for item in place.quarantined()}
    assert lost == {"a.json": "old", "c.json": "middle"}
    by_source = {each["source"]: each["kinds"]["entry"] for each in report["sources"]}
    assert by_source["a.json"]["created"] == 1
    assert by_source["b/b.json"]["created"] == 2
    again = await place.migrate()
    assert again["totals"] == {**totals, "created": 0, "unchanged": 3}


ITEMS = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 2), st.sampled_from(["x", "y"])), max_size=8
)


@given(items=ITEMS, data=st.data())
def test_the_order_of_the_sources_does_not_matter(tmp_path_factory, items, data):
    folder = tmp_path_factory.mktemp("staging")

    def staged(order):
        staging = Staging(folder)
        try:
            lost = 0
            for key, value, time, source in order:
                draft = Draft.create("n", key, value)
                lost += staging.add(source, Item(Kind.ENTRY, draft, updated_at=time)) is not None
            found = sorted(item.line for item in staging.items())
            assert len(found) + lost == len(order)
            return found
        finally:
            staging.close()
            (folder / "staging.db").unlink()

    found = staged(items)
    assert staged(data.draw(st.permutations(items))) == found
    newest = {key: max(time for each, _, time, _ in items if each == key) for key, *_ in items}
    assert {json.loads(line)["key"] for line in found} == newest.keys()


@pytest.mark.parametrize(
    ("existing", "expected"),
    [
        (Existing.KEEP, {"old": "theirs", "new": "theirs", "k": "x"}),
        (Existing.NEWER, {"old": "theirs", "new": "ours", "k": "x"}),
        (Existing.OVERWRITE, {"old": "ours", "new": "ours", "k": "x"}),
    ],
)
async def test_what_the_target_has_stays_unless_asked_otherwise(place, existing, expected):
    async with SqliteStore.open(place.target, StoreConfig()) as store:
        await store.put("n", "old", "theirs")
        await store.put("n", "new", "theirs")
    century = 100 * 365 * 86_400_000
    write(place.source / "a.json", ("old", "ours", 1), ("new", "ours", century), ("k", "x", 1))
    before = place.target.read_bytes()
    planned = await place.migrate(existing=existing, dry_run=True)
    assert place.target.read_bytes() == before
    report = await place.migrate(existing=existing)
    assert values(await place.entries()) == expected
    updated = list(expected.values()).count("ours")
    totals = report["totals"]
    assert planned["totals"] == totals
    assert (totals["created"], totals["updated"], totals["kept"]) == (1, updated, 2 - updated)


async def test_a_migration_that_is_killed_at_any_point_ends_the_same_when_it_is_run_again(place, monkeypatch):
    monkeypatch.setattr(run, "_BATCH_ITEMS", 2)
    monkeypatch.setattr(run, "_TURN", 1)
    legacy.hive(place.source / "hive.db", swarms=("s",))
    legacy.json_entries(place.source / "entries.json")
    write(place.source / "z.json", ("k", 1, 1), ("k2", 2, 1))
    steps = 0

    def count(_):
        nonlocal steps
        steps += 1

    whole = await place.migrate(progress=count)
    contents = {name: (entry.value, entry.tags, entry.metadata) for name, entry in (await place.entries()).items()}
    assert steps > 15
    for step in range(1, steps, 3):
        for path in place.root.glob("store.db*"):
            path.unlink()
        left = step

        def stop(_):
            nonlocal left
            left -= 1
            if left == 0:
                raise RuntimeError("killed")

        with pytest.raises(RuntimeError, match="killed"):
            await place.migrate(progress=stop)
        report = await place.migrate()
        found = await place.entries()
        assert {name: (entry.value, entry.tags, entry.metadata) for name, entry in found.items()} == contents
        assert {entry.version for entry in found.values()} == {1}
        totals = report["totals"]
        assert totals["created"] + totals["unchanged"] == whole["totals"]["created"]


async def test_a_service_is_a_target_too(place, start_service):
    for name in ("hive.db", "hive-mind.db", "entries.json"):
        legacy.SHAPES[name](place.source / name)
    async with start_service() as service:
        url = f"http://127.0.0.1:{service.port}"
        target = Service(url, service.tokens / "client-token", None, retry_for=0)
        planned = await place.migrate(target=target, dry_run=True, quarantine=None)
        async with MemoryClient(url, token_file=target.token_file) as memory:
            assert [each async for each in memory.namespaces()] == []
            report = await place.migrate(target=target)
            assert (planned["totals"], planned["reasons"]) == (report["totals"], report["reasons"])
            assert report["totals"]["created"] > 30
            stats = await memory.stats()
            assert stats.entries == report["totals"]["created"]
            assert stats.agents == report["kinds"]["agent"]["created"]
            again = await place.migrate(target=target)
            planned = await place.migrate(target=target, dry_run=True, quarantine=None)
            created, unchanged = report["totals"]["created"], again["totals"]["unchanged"]
            assert (again["totals"]["created"], unchanged) == (0, created)
            assert planned["totals"] == again["totals"]
            refused = await place.migrate(target=Service(url, None, None, retry_for=0))
            assert (refused["complete"], refused["totals"]["found"]) == (False, 0)


async def test_a_service_that_is_away_for_a_moment_is_tried_again_and_what_it_refuses_is_in_quarantine(
    place, start_service, monkeypatch
):
    write(place.source / "a.json", ("a", 1, 1), ("b", "x" * 2000, 1), ("c", 3, 1))
    async with start_service(config=StoreConfig(max_value_bytes=1000)) as service:
        client_stats, import_ = MemoryClient.stats, TransferClient.import_
        failures = [MemoryUnavailableError("away", uncertain=True)] * 2

        async def stats(self):
            found = await client_stats(self)
            found.settings["max_value_bytes"] = 1_000_000  # the limit was changed after the migration asked for it
            return found

        monkeypatch.setattr(MemoryClient, "stats", stats)

        async def unsteady(self, lines, **options):
            if failures:
                raise failures.pop()
            return await import_(self, lines, **options)

        monkeypatch.setattr(TransferClient, "import_", unsteady)
        url = f"http://127.0.0.1:{service.port}"
        report = await place.migrate(target=Service(url, service.tokens / "client-token", None, retry_for=60))
        assert failures == []
        totals = report["totals"]
        assert (totals["found"], totals["created"], totals["quarantined"]) == (3, 2, 1)
        (item,) = place.quarantined()
        assert (item["reason"], json.loads(item["content"])["key"]) == ("invalid", "b")
        failures.append(MemoryUnavailableError("away", uncertain=True))
        report = await place.migrate(target=Service(url, service.tokens / "client-token", None, retry_for=0))
        assert (report["complete"], "away" in report["problem"]) == (False, True)


async def test_files_of_the_migration_are_no_sources_and_a_clean_run_removes_an_old_quarantine(place):
    write(place.source / "a.json", ("a", 1, 1))
    inside = place.source / "out"
    inside.mkdir()
    places = {
        "target": inside / "store.db", "quarantine": inside / "quarantine.json", "outputs": (inside / "report.json",),
    }  # fmt: skip
    (inside / "report.json").write_text("{}")
    (inside / "quarantine.json").write_text('[{"key": "q", "value": 1}]')
    report = await place.migrate(**places)
    assert report["totals"]["found"] == 1
    assert not (inside / "quarantine.json").exists()
    report = await place.migrate(**places)
    assert report["ignored"]["counts"] == {"output-of-this-migration": 3}
    report = await place.migrate(**{**places, "source": inside / "store.db"})
    assert (report["totals"]["found"], report["ignored"]["counts"]) == (0, {"output-of-this-migration": 1})


async def test_a_target_that_is_in_use_or_of_another_program_is_left_alone(place):
    write(place.source / "a.json", ("a", 1, 1))
    async with SqliteStore.open(place.target, StoreConfig()):
        report = await place.migrate()
    assert (report["complete"], "already open" in report["problem"]) == (False, True)
    legacy.hive(place.root / "hive.db")
    before = (place.root / "hive.db").read_bytes()
    for dry_run in (True, False):
        report = await place.migrate(target=place.root / "hive.db", dry_run=dry_run)
        assert (report["complete"], "another program" in report["problem"]) == (False, True)
    assert (place.root / "hive.db").read_bytes() == before


def test_directories_of_killed_migrations_are_removed_and_those_in_use_are_not(tmp_path):
    left = tmp_path / f"{scratch._PREFIX}left"
    left.mkdir()
    (left / "lock").touch()
    (left / "staging.db").touch()
    with scratch.scratch_directory(tmp_path) as used:
        assert not left.exists()
        with scratch.scratch_directory(tmp_path) as other:
            assert used.is_dir()
            assert other != used
    assert list(tmp_path.iterdir()) == []


async def test_staging_that_fails_is_the_problem_of_the_report(place, monkeypatch):
    write(place.source / "a.json", ("a", 1, 1))

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Staging, "add", full)
    report = await place.migrate()
    assert (report["complete"], report["problem"]) == (False, "database or disk is full")
