"""Searches for words: what limits them, and how they go on when the index takes too long."""

from dataclasses import replace

import pytest

from swarm_operator.memory.core import Draft, Put, Query
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.sqlite.search import blocks, by_text, fulltext, planner, slices


async def fill(store, *entries):
    await store.batch([Put(Draft.create(*entry)) for entry in entries])


async def pages(store, query, limit=2):
    """The pages of a search."""
    position, found = None, []
    for _ in range(1000):
        page = await store.search(query, position=position, limit=limit)
        found.append(page)
        position = page.position
        if position is None:
            return found
    raise AssertionError("no end")


async def keys(store, query, limit=2):
    return [hit.entry.key for page in await pages(store, query, limit) for hit in page.hits]


@pytest.fixture
def in_time(monkeypatch):
    """in_time(False, True): the first use of the index takes too long, the second one and those after it do not."""
    real = by_text._time_limit

    def limit(*outcomes):
        left = list(outcomes)

        def limited(db, expression):
            if left and not left.pop(0):
                raise by_text._OutOfTimeError
            return real(db, expression)

        monkeypatch.setattr(by_text, "_time_limit", limited)

    return limit


@pytest.fixture
def out_of_time(monkeypatch):
    """No time for the index of words."""
    monkeypatch.setattr(by_text, "_INDEX_SECONDS", -1)
    monkeypatch.setattr(by_text, "_PREFIX_SECONDS", -1)
    monkeypatch.setattr(by_text, "_CLOCK_SECONDS", -1)
    monkeypatch.setattr(by_text, "_CHECK_INTERVAL", 1)
    monkeypatch.setattr(planner, "_MAX_SECONDS", 60)  # a page that is full of candidates ends for their number only


NAMESPACES = ("a", "a/b", "ab", "a.b", "a:b", "A", "a/b/c", "--", "-")


@pytest.mark.parametrize("name", NAMESPACES)
@pytest.mark.parametrize("subtree", [False, True])
async def test_only_entries_of_the_namespace_are_candidates(store, name, subtree):
    await fill(store, *((each, f"k{number}", "word") for number, each in enumerate(NAMESPACES)))
    wanted = {each for each in NAMESPACES if each == name or (subtree and each.startswith(name + "/"))}
    page = await store.search(Query.create(text="word", namespace=name, subtree=subtree))
    assert {hit.entry.namespace for hit in page.hits} == wanted
    assert page.candidates == len(wanted)
    within = replace(Query.create(text="word"), within=(name,))
    page = await store.search(within)
    assert page.candidates == sum(each == name or each.startswith(name + "/") for each in NAMESPACES)


async def test_a_limit_to_no_namespace_has_no_candidates(store):
    await fill(store, ("a", "k", "word"))
    for asked in ({"text": "word"}, {"order": "updated"}, {}, {"text": "word", "namespace": "a"}):
        page = await store.search(replace(Query.create(**asked), within=()))
        assert (page.hits, page.candidates, page.position) == ([], 0, None)


async def test_a_search_that_is_out_of_time_goes_on_without_the_index(store, out_of_time):
    await fill(store, *(("n" if number % 3 else "m", f"k{number:03d}", f"word{number % 7}") for number in range(200)))
    for asked in ({"text": "word*"}, {"text": "word3"}, {"match": "word3 OR word4"}, {"text": "k19* word5"}):
        for scope in ({}, {"namespace": "n"}):
            query = Query.create(**asked, **scope)
            for each in (query, replace(query, within=("m", "n"))):
                found = await pages(store, each, limit=7)
                assert not any(page.ranked for page in found)
                assert sorted(hit.entry.key for page in found for hit in page.hits) == matching(asked, scope)
                assert {page.position[0] for page in found[:-1]} <= {"scan"}
                assert all(len(page.hits) == 7 for page in found[:-1]), "what does not match is no hit"


def matching(asked, scope):
    text = next(iter(asked.values()))
    numbers = [number for number in range(200) if number % 3 or not scope]
    tests = {
        "word*": lambda _: True,
        "word3": lambda number: number % 7 == 3,
        "word3 OR word4": lambda number: number % 7 in {3, 4},
        "k19* word5": lambda number: number >= 190 and number % 7 == 5,
    }
    return [f"k{number:03d}" for number in numbers if tests[text](number)]


async def test_a_page_that_ran_out_of_time_says_so_and_the_next_one_goes_on(store, out_of_time, monkeypatch):
    monkeypatch.setattr(planner, "MAX_CANDIDATES", 50)
    await fill(store, *(("n", f"k{number:03d}", "rare" if number == 3 else "word") for number in range(200)))
    found = await pages(store, Query.create(text="rare"))
    assert [(len(page.hits), page.partial, page.candidates) for page in found] == [
        (0, True, 50), (0, True, 50), (0, True, 50), (1, False, 50)
    ]  # fmt: skip
    monkeypatch.undo()
    assert [hit.entry.key for page in found for hit in page.hits] == ["k003"]


async def test_a_search_that_is_out_of_time_between_two_pages_repeats_nothing(store, monkeypatch):
    monkeypatch.setattr(by_text, "MAX_RANKED", 1)
    await fill(store, *(("n", f"k{number}", "word") for number in range(9)))
    query = Query.create(text="wor*")
    first = await store.search(query, limit=4)
    monkeypatch.setattr(by_text, "_INDEX_SECONDS", -1)
    monkeypatch.setattr(by_text, "_PREFIX_SECONDS", -1)
    monkeypatch.setattr(by_text, "_CLOCK_SECONDS", -1)
    monkeypatch.setattr(by_text, "_CHECK_INTERVAL", 1)
    second = await store.search(query, position=first.position, limit=4)
    third = await store.search(query, position=second.position, limit=4)
    assert [hit.entry.key for page in (first, second, third) for hit in page.hits] == [
        f"k{number}" for number in range(8, -1, -1)
    ]
    assert [page.position and page.position[0] for page in (first, second, third)] == ["newest", "scan", None]


async def test_ranks_that_take_too_long_are_left_out(store, in_time):
    await fill(store, *(("n", f"k{number}", "word") for number in range(5)))
    in_time(True, False)
    page = await store.search(Query.create(text="word"), limit=2)
    assert ([hit.entry.key for hit in page.hits], page.ranked, page.position[0]) == (["k4", "k3"], False, "newest")


@pytest.mark.parametrize("scope", [{}, {"namespace": "n"}])
async def test_rare_words_rank_what_frequent_words_limit(store, monkeypatch, scope):
    """FTS5 counts all entries with a word for a rank, and so it is not asked to do that for a frequent one."""
    monkeypatch.setattr(by_text, "MAX_RANKED", 3)
    texts = ("word", "rare word", "word", "rare rare word", "rare", "word")
    await fill(store, *(("n", f"k{number}", text) for number, text in enumerate(texts)))
    statements = []
    await store._readers._searchers[0].run(lambda db: db.set_trace_callback(statements.append))
    page = await store.search(Query.create(text="word rare", **scope))
    assert ([hit.entry.key for hit in page.hits], page.ranked) == (["k3", "k1"], True)
    (ranking,) = (each for each in statements if "bm25" in each)
    ranked, _ = ranking.split("rowid IN")
    assert ('"rare"' in ranked, '"word"' in ranked) == (True, False)


@pytest.mark.parametrize(("text", "ranked", "counts"), [("rare", True, 1), ("word", False, 2), ("word rare", True, 3)])
async def test_a_rare_word_alone_is_counted_once(store, monkeypatch, text, ranked, counts):
    monkeypatch.setattr(by_text, "MAX_RANKED", 3)
    texts = ("word", "rare word", "word", "rare rare word", "rare", "word")
    await fill(store, *(("n", f"k{number}", text) for number, text in enumerate(texts)))
    statements = []
    await store._readers._searchers[0].run(lambda db: db.set_trace_callback(statements.append))
    page = await store.search(Query.create(text=text, namespace="n"))
    assert page.ranked is ranked
    assert len([each for each in statements if each.lstrip().startswith("SELECT count(*) FROM (")]) == counts


async def test_prefixes_that_take_too_long_are_looked_for_among_the_other_words(store, in_time):
    await fill(store, *(("n", f"k{number}", "rare word" if number in {7, 9} else "word") for number in range(300)))
    query = Query.create(text="rare wor* k7")
    in_time(False)
    page = await store.search(query, limit=1)
    assert ([hit.entry.key for hit in page.hits], page.ranked, page.candidates) == (["k7"], False, 1)
    in_time(False)
    query = Query.create(text="rare wor*")
    first = await store.search(query, limit=1)
    assert ([hit.entry.key for hit in first.hits], first.position[0]) == (["k9"], "words")
    in_time(False)
    second = await store.search(query, position=first.position, limit=1)
    assert ([hit.entry.key for hit in second.hits], second.position) == (["k7"], None)
    assert second.candidates == 9, "now without any word"


async def far_apart(store, *values):
    """Write entries k0, k1, ... that are each in a block of their own."""
    for number, value in enumerate(values):
        await fill(store, ("n", f"k{number}", value))
        row = ((number + 1) << blocks._BITS, f"far{number}")
        await store._worker.run(lambda db, row=row: db.execute(FAR, row).fetchall())


FAR = """
    INSERT INTO entries (id, namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value)
    VALUES (?, 'far', ?, 1, 0, 0, 0, 1, '[]', '{}', x'31')
"""


@pytest.mark.parametrize("asked", [{"text": '"red blue"'}, {"match": "red NOT (green OR black)"}])
async def test_a_search_for_what_is_rarely_there_ends_between_blocks_and_goes_on(store, in_time, monkeypatch, asked):
    """FTS5 alone would look through all entries for a phrase, and for a word without others, in one statement."""
    monkeypatch.setattr(planner, "_MAX_SECONDS", -1)
    monkeypatch.setattr(slices, "MAX_INDEX_SECONDS", -1)
    await far_apart(store, "red blue", "blue black red", "green red", "red black blue")
    in_time(False)
    found = await pages(store, Query.create(**asked))
    assert [[hit.entry.key for hit in page.hits] for page in found] == [[], [], [], [], [], ["k0"]]
    starts = [number << blocks._BITS for number in (4, 3, 2, 1)]
    assert [page.position for page in found] == [["newest"], *(["newest", start] for start in starts), None]
    assert sum(page.candidates for page in found) == 1, "no text is tested"


async def test_words_of_a_phrase_that_never_stand_together_are_sought_one_by_one(store, in_time):
    await far_apart(store, "red blue", "blue red", "green red", "green blue")
    in_time(False, False)
    page = await store.search(Query.create(text='"red blue"'), limit=1)
    assert ([hit.entry.key for hit in page.hits], page.candidates, page.ranked) == (["k0"], 2, False)


@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("ranked", [1, 100])
async def test_a_page_goes_on_when_the_entry_that_ended_the_one_before_is_gone(
    store, clock, monkeypatch, ranked, limited
):
    monkeypatch.setattr(by_text, "MAX_RANKED", ranked)
    for number in range(9):
        await fill(store, ("n", f"k{number}", "word"))
        clock.advance(0.001)
    query = Query.create(text="word")
    query = replace(query, within=("n",)) if limited else query
    position, found = None, []
    while True:
        page = await store.search(query, position=position, limit=2)
        for hit in page.hits:
            found.append(hit.entry.key)
            await store.delete("n", hit.entry.key)
        position = page.position
        if position is None:
            break
    expected = [f"k{number}" for number in range(9)]
    assert found == (expected if ranked > 9 else expected[::-1])


async def test_an_entry_that_was_written_anew_does_not_begin_the_search_again(store, clock, monkeypatch):
    monkeypatch.setattr(by_text, "MAX_RANKED", 1)
    for number in range(6):
        await fill(store, ("n", f"k{number}", "word"))
        clock.advance(0.001)
    query = Query.create(text="word")
    page = await store.search(query, limit=2)
    await store.delete("n", "k4")
    await fill(store, ("n", "k4", "word"))
    rest = await store.search(query, position=page.position, limit=10)
    assert [hit.entry.key for hit in rest.hits] == ["k3", "k2", "k1", "k0"]


async def test_a_limited_search_has_the_ranks_of_its_own_entries(store):
    await fill(store, ("n", "1", "red red fox"), ("n", "2", "red"), ("n", "red", 1), ("m", "3", "other"))
    query = replace(Query.create(text="red"), within=("n",))
    before = await store.search(query)
    assert [hit.entry.key for hit in before.hits] == ["red", "1", "2"]
    assert before.ranked
    await fill(store, *(("m", f"k{number}", "red " * (number % 5)) for number in range(50)))
    after = await store.search(query)
    assert [hit.score for hit in after.hits] == [hit.score for hit in before.hits]
    assert after == before
    everything = await store.search(Query.create(text="red", namespace="n"))
    assert [hit.entry.key for hit in everything.hits] == ["red", "1", "2"]
    assert [hit.score for hit in everything.hits] != [hit.score for hit in before.hits]


async def test_a_limited_search_ranks_so_many_texts_and_bytes(store, monkeypatch):
    await fill(store, ("n", "1", "red " * 100), ("n", "2", "red " * 100), ("n", "3", "blue"))
    for text, ranked in (("red", False), ("blue", True)):
        monkeypatch.setattr(by_text, "MAX_RANKED_BYTES", 700)
        assert (await store.search(replace(Query.create(text=text), within=("n",)))).ranked is ranked
    monkeypatch.setattr(by_text, "MAX_RANKED_BYTES", 100)
    await store.delete("n", "1")
    assert (await store.search(replace(Query.create(text="red"), within=("n",)))).ranked, "one is always ranked"
    monkeypatch.setattr(by_text, "MAX_RANKED_BYTES", 10_000)
    monkeypatch.setattr(by_text, "MAX_RANKED", 1)
    await fill(store, ("n", "1", "red"))
    found = await pages(store, replace(Query.create(text="red"), within=("n",)), limit=1)
    assert [(page.ranked, [hit.entry.key for hit in page.hits]) for page in found] == [(False, ["1"]), (False, ["2"])]


@pytest.mark.parametrize(
    ("expression", "weaker"),
    [
        ('"a" "bcd" *', '"a"'),
        ('"bcd" * "a b" "c"', '"a" "b" "c"'),
        ('"a b" "c"', '"a" "b" "c"'),
        ('"a"', None),
        ('"a" "b"', None),
        ('"bcd" *', None),
        ("a bcd*", None),
        ('"a" OR "bcd" *', None),
        ('"a" NOT "bcd" *', None),
    ],
)
def test_a_weaker_expression_has_no_prefixes_and_no_phrases(expression, weaker):
    assert fulltext.weaker(expression) == weaker


async def test_texts_do_not_stay_in_memory(tmp_path):
    async with SqliteStore.open(tmp_path / "db") as store:
        await fill(store, ("n", "k", "word"))
        await store.search(replace(Query.create(text="word"), within=("n",)))
        count = "SELECT count(*) FROM page"
        worker = store._readers._searchers[0]
        assert await worker.run(lambda _: fulltext._table("none").execute(count).fetchone()) == (0,)
