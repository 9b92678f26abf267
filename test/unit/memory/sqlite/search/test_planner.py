"""What a search finds, in which order, how it goes on, and that it never takes long."""

import asyncio
import contextlib
import fnmatch
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_operator.memory.core import Delete, Draft, Put, Query
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.search import by_text, by_update, candidates, fulltext, planner, slices


async def fill(store, *entries):
    """(namespace, key, value, tags, metadata); the last ones may be missing."""
    for namespace, key, *rest in entries:
        value, tags, metadata = (*rest, *(None, [], {})[len(rest) :])
        await store.put(namespace, key, value, tags=tags, metadata=metadata)


async def pages(store, limit=2, **query):
    """All pages' hits; fails on a search that does not end."""
    asked, position, found = Query.create(**query), None, []
    for _ in range(1000):
        page = await store.search(asked, position=position, limit=limit)
        found += page.hits
        position = page.position
        if position is None:
            return found
    raise AssertionError("no end")


async def keys(store, **query):
    return [f"{hit.entry.namespace}|{hit.entry.key}" for hit in await pages(store, **query)]


@pytest.fixture
async def filled(either_store, clock):
    await fill(
        either_store,
        ("a", "k1", "red fox", ["x"], {"n": 1}),
        ("a", "k2", "red dog", ["x", "y"], {"n": True}),
        ("a/b", "k1", "blue fox", ["y"], {"n": 1.0, "m": [1]}),
        ("a/b/c", "j1", "red red red fox", ["x", "y", "z"]),
        ("ab", "k1", "grey fox"),
        ("A", "k%", {"note": "line one\nline two"}, ["X"]),
    )
    return either_store


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({}, "A|k% a|k1 a|k2 a/b|k1 a/b/c|j1 ab|k1"),
        ({"namespace": "a"}, "a|k1 a|k2"),
        ({"namespace": "a", "subtree": True}, "a|k1 a|k2 a/b|k1 a/b/c|j1"),
        ({"namespace": "a/b", "subtree": True}, "a/b|k1 a/b/c|j1"),
        ({"namespace": "none"}, ""),
        ({"prefix": "k1"}, "a|k1 a/b|k1 ab|k1"),
        ({"prefix": "k%"}, "A|k%"),
        ({"glob": "*1"}, "a|k1 a/b|k1 a/b/c|j1 ab|k1"),
        ({"glob": "[jx]?"}, "a/b/c|j1"),
        ({"glob": "[!k]*", "namespace": "a/b/c"}, "a/b/c|j1"),
        ({"glob": "k1*", "prefix": "k"}, "a|k1 a/b|k1 ab|k1"),
        ({"glob": "j*", "prefix": "k"}, ""),
        ({"glob": "K1"}, ""),
        ({"tags": ["x"]}, "a|k1 a|k2 a/b/c|j1"),
        ({"tags": ["x", "y"]}, "a|k2 a/b/c|j1"),
        ({"any_tags": ["z", "y"]}, "a|k2 a/b|k1 a/b/c|j1"),
        ({"tags": ["x"], "any_tags": ["z", "y"], "prefix": "k"}, "a|k2"),
        ({"any_tags": ["x", "y"], "namespace": "a", "subtree": True, "prefix": "k"}, "a|k1 a|k2 a/b|k1"),
        ({"metadata": {"n": 1}}, "a|k1 a/b|k1"),
        ({"metadata": {"n": True}}, "a|k2"),
        ({"metadata": {"m": [1.0], "n": 1}}, "a/b|k1"),
        ({"metadata": {"m": [True]}}, ""),
        ({"metadata": {"q": None}}, ""),
    ],
)
async def test_all_that_is_asked_must_hold_and_keys_are_in_order(filled, query, expected):
    for limit in (1, 2, 1000):
        assert await keys(filled, limit=limit, **query) == expected.split()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"text": "fox"}, {"a|k1", "a/b|k1", "a/b/c|j1", "ab|k1"}),
        ({"text": "RED fox"}, {"a|k1", "a/b/c|j1"}),
        ({"text": '"red fox"'}, {"a|k1", "a/b/c|j1"}),
        ({"text": '"fox red"'}, set()),
        ({"text": "two"}, {"A|k%"}),
        ({"text": "fo:x or-nothing"}, set()),
        ({"text": "gr*"}, {"ab|k1"}),
        ({"match": "gr* OR do*"}, {"ab|k1", "a|k2"}),
        ({"match": "dog OR grey"}, {"a|k2", "ab|k1"}),
        ({"match": "fox NOT red"}, {"a/b|k1", "ab|k1"}),
        ({"match": "key : j1"}, {"a/b/c|j1"}),
        ({"text": "fox", "namespace": "a"}, {"a|k1"}),
        ({"text": "fox", "namespace": "a", "subtree": True}, {"a|k1", "a/b|k1", "a/b/c|j1"}),
        ({"text": "fox", "tags": ["y"], "prefix": "k"}, {"a/b|k1"}),
        ({"match": "dog OR grey", "namespace": "a"}, {"a|k2"}),
    ],
)
async def test_words_are_found_in_keys_and_values(filled, query, expected):
    for limit in (1, 1000):
        found = await keys(filled, limit=limit, **query)
        assert set(found) == expected
        assert len(found) == len(expected)


async def test_the_best_match_comes_first_with_an_extract(filled):
    hits = await pages(filled, text="red", namespace="a", subtree=True)
    assert hits[0].entry.key == "j1"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].snippet == '"**red** **red** **red** fox"'


async def test_a_key_counts_for_more_than_a_value(store):
    await fill(store, ("n", "1", "moon and nothing else"), ("n", "moon", "nothing"), ("n", "2", "moon moon"))
    assert (await keys(store, text="moon"))[0] == "n|moon"


async def test_when_very_many_match_the_newest_come_first(store, monkeypatch):
    monkeypatch.setattr(by_text, "MAX_RANKED", 4)
    await fill(store, *(("n", str(number), "word") for number in range(6)))
    page = await store.search(Query.create(text="word"), limit=4)
    assert ([hit.entry.key for hit in page.hits], page.ranked) == (["5", "4", "3", "2"], False)
    assert [hit.score for hit in page.hits] == [None] * 4
    assert (await keys(store, text="word")) == [f"n|{number}" for number in (5, 4, 3, 2, 1, 0)]
    assert (await store.search(Query.create(text="5"), limit=4)).ranked


async def test_the_last_written_come_first_and_since_is_a_bound(store, clock):
    moments = []
    for key in ("a", "b", "c"):
        moments.append(int(clock() * 1000))
        await store.put("n", key, 1)
        clock.advance(1)
    await store.put("n", "a", 2)
    assert await keys(store, order="updated", limit=1) == ["n|a", "n|c", "n|b"]
    assert await keys(store, updated_since=moments[2]) == ["n|a", "n|c"]
    assert await keys(store, updated_since=moments[2], order="key") == ["n|a", "n|c"]
    assert await keys(store, updated_since=moments[2] + 5000) == []


@pytest.mark.parametrize(
    "query", [{}, {"tags": ["t"]}, {"any_tags": ["t", "u"]}, {"order": "updated"}, {"text": "word"}]
)
async def test_what_has_expired_is_never_found(either_store, clock, query):
    await either_store.put("n", "short", "word", tags=["t"], ttl=1)
    await either_store.put("n", "long", "word", tags=["t"])
    clock.advance(1)
    assert await keys(either_store, **query) == ["n|long"]
    await either_store.collect_garbage()
    assert await keys(either_store, **query) == ["n|long"]


async def test_indexes_follow_every_way_of_writing(either_store, clock):
    store = either_store
    await store.put("n", "k", "first", tags=["a"], ttl=1)
    await store.put("n", "k", "second", tags=["b"])
    assert [await keys(store, **query) for query in ({"text": "first"}, {"tags": ["a"]})] == [[], []]
    assert [await keys(store, **query) for query in ({"text": "second"}, {"tags": ["b"]})] == [["n|k"]] * 2
    # In one transaction the row of one entry may become that of another.
    await store.batch([
        Delete(("n", "k")),
        Put(Draft.create("n", "other", "third", tags=["b"])),
        Put(Draft.create("n", "gone", "third")),
        Delete(("n", "gone")),
        Put(Draft.create("n", "other", "fourth", tags=["c"])),
    ])  # fmt: skip
    asked = [{"text": "second"}, {"tags": ["b"]}, {"text": "third"}, {"text": "fourth"}, {"tags": ["c"]}]
    assert [await keys(store, **query) for query in asked] == [[], [], [], ["n|other"], ["n|other"]]
    assert await store.delete_range("n") == 1
    assert await keys(store, text="fourth") == []


async def test_a_page_goes_on_where_the_one_before_ended_whatever_is_written_between(store):
    await fill(store, *(("n", f"k{number}", number, ["t"]) for number in range(6)))
    for query in ({"prefix": "k"}, {"tags": ["t"]}, {"any_tags": ["t", "u"]}):
        asked = Query.create(**query)
        first = await store.search(asked, limit=3)
        await store.delete("n", "k2")
        await store.put("n", "k0a", 1, tags=["t"])
        second = await store.search(asked, position=first.position, limit=3)
        assert [hit.entry.key for hit in second.hits] == ["k3", "k4", "k5"]
        await store.put("n", "k2", 2, tags=["t"])
        await store.delete("n", "k0a")


@pytest.mark.parametrize(
    "query",
    [{}, {"tags": ["t"]}, {"any_tags": ["t"]}, {"order": "updated"}, {"text": "word"}, {"match": "word OR nothing"}],
)
@pytest.mark.parametrize("ranked", [1, 3000])
async def test_a_search_that_looks_at_too_much_gives_a_part_and_goes_on(store, monkeypatch, query, ranked):
    monkeypatch.setattr(planner, "MAX_CANDIDATES", 7)
    monkeypatch.setattr(by_text, "MAX_RANKED", ranked)
    await fill(store, *((f"n{number % 3}", f"{number:02d}", "word", ["t"], {"n": number}) for number in range(40)))
    page = await store.search(Query.create(metadata={"n": 39}, **query), limit=10)
    assert page.partial or page.hits
    assert page.candidates <= 7
    assert await keys(store, metadata={"n": 39}, **query) == ["n0|39"]
    assert await keys(store, metadata={"n": 99}, **query) == []
    assert len(await keys(store, **query)) == 40


async def test_very_many_namespaces_are_bounded_work_too(store, monkeypatch):
    monkeypatch.setattr(planner, "MAX_CANDIDATES", 5)
    await fill(store, *((f"n{number:02d}", "k", number) for number in range(20)))
    page = await store.search(Query.create(prefix="x"))
    assert (page.hits, page.partial, page.candidates) == ([], True, 5)
    assert await keys(store, prefix="x") == []
    assert len(await keys(store, prefix="k")) == 20


async def test_a_slow_search_ends_its_slice_and_its_page_by_its_work(tmp_path, monkeypatch, recorder):
    monkeypatch.setattr(planner, "_BLOCK", 16)
    monkeypatch.setattr(planner, "_MAX_SECONDS", -1)
    monkeypatch.setattr(slices, "MAX_SECONDS", 60)
    async with SqliteStore.open(tmp_path / "db", observer=recorder) as store:
        await fill(store, *(("n", f"{number:03d}", number) for number in range(200)))
        page = await store.search(Query.create(glob="*9"), limit=1000)
        assert (page.partial, page.candidates, len(page.hits)) == (False, 201, 20), "the end of a namespace counts"
        monkeypatch.setattr(slices, "MAX_SECONDS", -1)
        page = await store.search(Query.create(glob="*9"), limit=1000)
        assert (page.partial, page.candidates) == (True, 64)
        assert recorder.searches == [("conditions", 4), ("conditions", 1)]
        assert len(await keys(store, glob="*9")) == 20


@pytest.mark.parametrize("block", [1, 3, 10, 500])
async def test_a_glob_is_tested_block_by_block(store, monkeypatch, block):
    monkeypatch.setattr(planner, "_BLOCK", block)
    names = [f"{number:02d}" for number in range(30)]
    await fill(store, *(("n", name, 1) for name in names), ("o", "19", 1))
    for glob, last in (("*9", "9"), ("?[39]", "39"), ("1*", "0123456789")):
        expected = [f"n|{name}" for name in names if name[1] in last and (glob != "1*" or name[0] == "1")]
        assert await keys(store, glob=glob) == [*expected, "o|19"]
    page = await store.search(Query.create(glob="*9", namespace="n"))
    assert (page.candidates, page.position) == (31, None), "every key, and the end of the namespace"


async def test_sqlite_drops_the_keys_that_do_not_match(store, monkeypatch):
    await fill(store, *(("n", f"{number:02d}", 1) for number in range(50)))
    tested, test = [], planner.Filter.__call__

    def noted(self, row):
        tested.append(row[2])
        return test(self, row)

    monkeypatch.setattr(planner.Filter, "__call__", noted)
    assert await keys(store, glob="*[4]") == [f"n|{tens}4" for tens in range(5)]
    assert len(tested) < 60, "brackets are left to Python"
    tested.clear()
    assert len(await keys(store, glob="4*4")) == 1
    assert tested == ["44"]


@given(st.text("ab*?[]!-^é\n", max_size=8), st.text("ab[]!-^é*?\n", max_size=6))
def test_sqlite_finds_each_key_that_matches_a_glob(glob, key):
    with contextlib.closing(sqlite3.connect(":memory:")) as db:
        [(found,)] = db.execute("SELECT ? GLOB ?", (key, planner._sqlite_glob(glob)))
    assert found or not fnmatch.fnmatchcase(key, glob)


async def test_a_page_of_many_slices_has_the_limits_of_one(tmp_path, monkeypatch):
    monkeypatch.setattr(planner, "_MAX_SECONDS", -1)
    monkeypatch.setattr(planner, "_MIN_CANDIDATES", 1)
    monkeypatch.setattr(slices, "MAX_SECONDS", 60)
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_page_bytes=1000)) as store:
        names = [f"{number:03d}" for number in range(100)]
        await fill(store, *(("n", name, "x" * (600 if name in {"060", "068"} else 0)) for name in names))
        page = await store.search(Query.create(), limit=50)
        assert ([hit.entry.key for hit in page.hits], page.partial) == (names[:50], False)
        page = await store.search(Query.create(), limit=100)
        assert [hit.entry.key for hit in page.hits] == names[:68], "a slice begins between the two long ones"
        page = await store.search(Query.create(), position=page.position, limit=100)
        assert ([hit.entry.key for hit in page.hits], page.position) == (names[68:], None)
        monkeypatch.setattr(planner, "MAX_CANDIDATES", 40)
        page = await store.search(Query.create(glob="*nothing"))
        assert (page.hits, page.partial, page.candidates) == ([], True, 40)


async def test_a_page_ends_early_when_its_values_grow_large(tmp_path):
    async with SqliteStore.open(tmp_path / "db", StoreConfig(max_page_bytes=1000)) as store:
        await fill(store, *(("n", str(number), "x" * 600) for number in range(3)))
        page = await store.search(Query.create())
        assert [hit.entry.key for hit in page.hits] == ["0"]
        assert len(await keys(store)) == 3


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"namespace": ""}, "namespace"),
        ({"subtree": True}, "subtree"),
        ({"prefix": "\0"}, "prefix"),
        ({"glob": ""}, "glob"),
        ({"glob": "*" * 9}, "glob"),
        ({"glob": "x" * 1025}, "glob"),
        ({"tags": ["x"] * 17}, "tag"),
        ({"any_tags": [""]}, "any_tag"),
        ({"metadata": {str(number): 1 for number in range(17)}}, "metadata"),
        ({"metadata": []}, "metadata"),
        ({"metadata": {"x": "y" * 70_000}}, "metadata"),
        ({"updated_since": -1}, "updated_since"),
        ({"text": ""}, "text"),
        ({"text": "--"}, "text"),
        ({"text": "x" * 1025}, "text"),
        ({"text": "w " * 4097}, "text"),
        ({"match": "a*"}, "match"),
        ({"text": "\ud800"}, "text"),
        ({"text": "nul\0"}, "text"),
        ({"match": "x*"}, "match"),
        ({"match": '"x" *'}, "match"),
        ({"match": "a OR " * 70 + "b"}, "match"),
        ({"match": "a", "text": "b"}, "match"),
        ({"order": "rank"}, "order"),
        ({"order": "random"}, "order"),
        ({"order": "key", "text": "a"}, "order"),
    ],
)
def test_what_cannot_be_searched_is_refused_by_name(query, field):
    with pytest.raises(InvalidInputError) as caught:
        Query.create(**query)
    assert caught.value.field == field


@pytest.mark.parametrize("match", ["a) OR (b", '"open', "namespace : a", "*reads"])
async def test_an_expression_that_breaks_the_grammar_is_refused_by_the_search(store, match):
    with pytest.raises(InvalidInputError) as caught:
        await store.search(Query.create(match=match))
    assert caught.value.field == "match"


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40))
def test_words_of_any_text_follow_the_grammar(text):
    with contextlib.suppress(InvalidInputError):
        fulltext.check(Query.create(text=text).expression)


async def test_the_plans_walk_indexes_and_sort_nothing(store):
    def explain(db):
        plans = {}
        for module, name, parameters in (
            (planner, "_BY_KEY", ("n", "", b"")),
            (planner, "_BY_TAG", ("t", "n", "", b"")),
            (planner, "_PROBE_TAG", ("t", "n", "", b"", 5)),
            (candidates, "_BY_ID", (1,)),
            (candidates, "_NAMESPACES", ("", b"")),
            (by_update, "_ALL", (0, 1, "n", "k")),
            (by_update, "_IN", ("n", 0, 1, "k", 5)),
            (by_update, "_LATEST", ("n", 0, 1)),
            (by_text, "_NEWEST", ("word", 5, 5)),
            (by_text, "_NEWEST_OF_ALL", (5, 5)),
            (by_text, "_ID", ("n", "k")),
            (by_text, "_FROM_ID", (1,)),
        ):
            rows = db.execute("EXPLAIN QUERY PLAN " + getattr(module, name), parameters).fetchall()
            plans[name] = [row[3] for row in rows]
        return plans

    plans = await store._worker.run(explain)
    # Only entries that were updated in one millisecond are sorted.
    last = "USE TEMP B-TREE FOR LAST {}TERM{} OF ORDER BY"
    assert plans.pop("_ALL") == [
        "SEARCH e USING INDEX entries_updated (updated_at>? AND updated_at<?)",
        last.format("2 ", "S"),
    ]
    assert plans.pop("_IN") == [
        "SEARCH e USING INDEX entries_updated_in (namespace=? AND updated_at>? AND updated_at<?)", last.format("", "")
    ]  # fmt: skip
    assert all("SORT" not in step.upper() and "B-TREE" not in step for steps in plans.values() for step in steps), plans
    assert plans["_BY_KEY"] == ["SEARCH e USING INDEX sqlite_autoindex_entries_1 (namespace=? AND key>? AND key<?)"]
    assert plans["_BY_TAG"] == [
        "SEARCH t USING PRIMARY KEY (tag=? AND namespace=? AND key>? AND key<?)",
        "SEARCH e USING INDEX sqlite_autoindex_entries_1 (namespace=? AND key=?)",
    ]
    assert "COVERING INDEX entries_updated_in (namespace=? AND updated_at>? AND updated_at<?)" in plans["_LATEST"][0]


async def test_what_a_page_reads_is_of_one_moment(store, monkeypatch):
    """An entry that is deleted while its page is made is still in it."""
    await fill(store, ("n", "k", "word"))
    loop, hits = asyncio.get_running_loop(), planner._hits

    def delete_first(*arguments):
        asyncio.run_coroutine_threadsafe(store.delete("n", "k"), loop).result(30)
        return hits(*arguments)

    monkeypatch.setattr(planner, "_hits", delete_first)
    for query in ({}, {"text": "word"}):
        assert [hit.entry.key for hit in (await store.search(Query.create(**query))).hits] == ["k"]
        await fill(store, ("n", "k", "word"))


async def test_tags_that_a_replacement_drops_are_no_candidates(store):
    await fill(store, ("n", "k", 1, ["a", "b"]))
    await fill(store, ("n", "k", 2, ["b", "c"]))
    asked = {tag: await store.search(Query.create(tags=[tag])) for tag in "abc"}
    assert {tag: page.candidates for tag, page in asked.items()} == {"a": 1, "b": 2, "c": 2}, "one is the namespace"
    assert await store.tag_counts("n", ["a", "b", "c"]) == {"a": 0, "b": 1, "c": 1}
