"""Searches, on each engine: order, pages, scores, filters and the limit to namespaces."""

from dataclasses import replace

import pytest
from support.engines import open_store
from support.store_calls import fill, found, named, put

from swarm_operator.memory.core import Query
from swarm_operator.memory.core.namespaces import covers


async def test_a_search_by_key_goes_on_behind_any_key(store):
    await fill(store, ("m", "a"), ("n", "a"), ("n", "c"), ("o", "a"))
    query = Query.create(order="key")
    for position, first in ((["key", "n", "b"], ("n", "c")), (["key", "n", "c"], ("o", "a")), (None, ("m", "a"))):
        page = await store.search(query, position=position, limit=1)
        assert [(hit.entry.namespace, hit.entry.key) for hit in page.hits] == [first]
    only = Query.create(namespace="n", prefix="", tags=[])
    page = await store.search(only, limit=1)
    assert page.position == ["key", "n", "a"]


async def test_the_last_written_comes_first(store, clock):
    for key in ("b", "a", "c"):
        await put(store, key)
        clock.advance(1)
    await put(store, "a", 2)
    query = Query.create(order="updated")
    assert await found(store, query) == [("n", "a"), ("n", "c"), ("n", "b")]
    assert await found(store, query, limit=1) == [("n", "a"), ("n", "c"), ("n", "b")]
    since = Query.create(updated_since=store.now() - 1000)
    assert await found(store, since) == [("n", "a"), ("n", "c")]


async def test_a_text_gives_scores_and_snippets(store):
    await put(store, "k1", "one fox")
    await put(store, "k2", {"animal": "fox", "more": "fox fox"})

    async def all_hits(text):
        position, hits = None, []
        while True:
            page = await store.search(Query.create(text=text), position=position)
            hits += page.hits
            position = page.position
            if position is None:
                return hits

    hits = await all_hits("fox")
    assert hits[0].entry.key == "k2"
    assert hits[0].score >= hits[1].score
    assert all("**fox**" in hit.snippet for hit in hits)
    assert [hit.matched for hit in hits] == [("value",), ("value",)]
    (page,) = [await store.search(Query.create(prefix="k1"))]
    assert all((hit.score, hit.snippet, hit.matched) == (None, None, ()) for hit in page.hits)
    await put(store, "fox", "a bear")
    assert [hit.matched for hit in await all_hits("fox") if hit.entry.key == "fox"] == [("key",)]
    assert [hit.matched for hit in await all_hits("fox bear")] == [("key", "value")]


@pytest.mark.parametrize("order", ["key", "updated"])
async def test_metadata_is_compared_as_json(store, order):
    await put(store, "one", metadata={"m": 1, "deep": {"x": [1]}})
    await put(store, "true", metadata={"m": True, "deep": {"x": [True]}})
    for asked, key in (({"m": 1.0}, "one"), ({"m": True}, "true"), ({"deep": {"x": [1]}}, "one")):
        assert await found(store, Query.create(metadata=asked, order=order)) == [("n", key)]


@pytest.mark.parametrize("conditions", [{}, {"order": "updated"}, {"text": "word"}, {"tags": ["t"]}], ids=str)
async def test_a_search_finds_what_somebody_has_written_last(store, conditions):
    for number, name in enumerate(("ann", "bob", "ann", None, "an")):
        await put(store, f"{number}", "word", tags=["t"], updated_by=name)
    await put(store, "2", "word", tags=["t"], updated_by="bob")
    assert await found(store, Query.create(updated_by="ann", **conditions)) == [("n", "0")]
    assert sorted(await found(store, Query.create(updated_by="bob", **conditions), 1)) == [("n", "1"), ("n", "2")]
    assert await found(store, Query.create(updated_by="nobody", **conditions)) == []


PLACES = [("a", "1"), ("a/b", "2"), ("a/b/c", "3"), ("ab", "4"), ("b", "5")]


@pytest.mark.parametrize(
    ("roots", "namespaces"),
    [
        (None, ["a", "a/b", "a/b/c", "ab", "b"]),
        (["a"], ["a", "a/b", "a/b/c"]),
        (["a/b", "b"], ["a/b", "a/b/c", "b"]),
        (["a", "a/b", "a"], ["a", "a/b", "a/b/c"]),
        ([], []),
        (["none"], []),
    ],
)
async def test_within_limits_searches_namespaces_and_watches(engine, tmp_path, clock, roots, namespaces):
    async with open_store(engine, tmp_path / "store.db", clock=clock) as store:
        await fill(store, *PLACES)
        wanted = [place for place in PLACES if place[0] in namespaces]
        assert await named(store, within=roots) == [(name, 1, 1) for name in namespaces]
        assert await named(store, within=roots, limit=1) == [(name, 1, 1) for name in namespaces]
        for asked in ({}, {"updated_since": 0}, {"text": "1"}, {"namespace": "a", "subtree": True}):
            query = Query.create(**asked)
            inside = [place for place in await found(store, query) if place in wanted]
            limited = Query(
                **{name: getattr(query, name) for name in Query.__slots__ if name != "within"},
                within=None if roots is None else tuple(roots),
            )
            for limit in (50, 1):
                order = sorted if "text" in asked else list  # the ranks of a limited search are its own
                assert order(await found(store, limited, limit=limit)) == order(inside)
        async with store.watch(since=0, within=roots) as watch:
            await put(store, "last", namespace="b")
            told = []
            while watch.position < 6:
                told += await watch.next(0.1)
        assert [(change.namespace, change.key) for change in told] == [
            place for place in [*PLACES, ("b", "last")] if place[0] in namespaces
        ]


@pytest.mark.parametrize("roots", [("a",), ("a/b", "b"), ("none",), ()])
@pytest.mark.parametrize(
    "asked",
    [{}, {"order": "updated"}, {"text": "1"}, {"tags": ["x"]}, {"prefix": "2"}, {"namespace": "a", "subtree": True}],
)
async def test_within_leaves_no_trace_of_other_entries(engine, tmp_path, clock, roots, asked):
    query = replace(Query.create(**asked), within=roots)
    pages = []
    for name, places in (
        ("own", [place for place in PLACES if covers(roots, place[0])]),
        ("all", [("0", "1"), *PLACES, ("a.b", "1"), ("c", "2")]),
    ):
        async with open_store(engine, tmp_path / name, clock=clock) as store:
            for namespace, key in places:
                await put(store, key, namespace=namespace, tags=["x"])
            found, position = [], None
            while True:
                page = await store.search(query, position=position, limit=1)
                hits = [(hit.entry.namespace, hit.entry.key, hit.score) for hit in page.hits]
                found.append((hits, page.candidates, page.partial, page.ranked, page.position))
                position = page.position
                if position is None:
                    break
            pages.append(found)
    assert pages[0] == pages[1]
