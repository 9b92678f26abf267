"""The cache in front of the readers: what is shared, what is kept, and that nothing old is shown."""

import asyncio
import functools
import math

import pytest

from swarm_operator.memory.core import Draft, Entry
from swarm_operator.memory.core.errors import InvalidInputError, StorageIOError, StoreClosedError
from swarm_operator.memory.sqlite.read.entries import EntryCache, EntryReader
from swarm_operator.memory.sqlite.tables.access_times import AccessTimes

K = ("n", "k")


def entry(version, *, key="k", expires_at=None):
    draft = Draft.create("n", key, version)
    return Entry("n", key, draft.value_json, "[]", "{}", 0, version, 0, 0, expires_at)


class Database:
    """A reader whose answers wait for the test. What it answers is decided when a read begins."""

    def __init__(self, most=math.inf):
        self.rows = {}
        self.reads = []
        self.most = most
        self.waits = True
        self._begun = asyncio.Event()

    def fetch(self, identities, receiver):
        answer, size = [], 0
        for identity in identities:
            answer.append(self.rows.get(identity))
            size += len(answer[-1].value_json) if isinstance(answer[-1], Entry) else 0
            if size >= self.most:
                break
        give = functools.partial(asyncio.get_running_loop().call_soon, receiver.set_result, answer)
        self.reads.append((list(identities), give))
        self._begun.set()
        if not self.waits:
            give()

    async def begun(self, count):
        while len(self.reads) < count:
            self._begun.clear()
            await self._begun.wait()

    def answer(self, index=-1):
        self.reads[index][1]()


@pytest.fixture
def database():
    return Database()


@pytest.fixture
def cache():
    return EntryCache(max_entries=10, max_bytes=100_000)


@pytest.fixture
def lookup(database, cache):
    return EntryReader(cache, database.fetch, now=lambda: 1000, accesses=AccessTimes())


async def test_callers_that_want_the_same_entry_share_one_read(database, cache, lookup):
    database.rows[K] = entry(1)
    gets = [asyncio.ensure_future(lookup.get(K)) for _ in range(5)]
    await database.begun(1)
    gets.append(asyncio.ensure_future(lookup.get(K)))
    await asyncio.sleep(0)
    database.answer()
    assert {got.version for got in await asyncio.gather(*gets)} == {1}
    assert len(database.reads) == 1
    assert (await lookup.get(K)).version == 1
    assert (cache.hits, cache.misses) == (1, 6)


async def test_reads_that_arrive_during_a_read_go_over_together(database, lookup):
    first = asyncio.ensure_future(lookup.get(K))
    await database.begun(1)
    others = [asyncio.ensure_future(lookup.get(("n", str(number)))) for number in range(20)]
    await asyncio.sleep(0)
    database.answer()
    await database.begun(2)
    database.answer()
    await asyncio.gather(first, *others)
    assert [len(identities) for identities, _ in database.reads] == [1, 20]


async def test_what_does_not_fit_into_one_fetch_is_fetched_next(database, lookup):
    database.most = 2
    places = [("n", str(number)) for number in range(5)]
    database.rows = {place: entry(1, key=place[1]) for place in places}
    reading = asyncio.ensure_future(lookup.get_each([*places, K], max_bytes=100))
    for count in (1, 2, 3):
        await database.begun(count)
        if count == 2:  # a later read waits for its turn, behind those that were before it
            later = asyncio.ensure_future(lookup.get(("n", "later")))
            await asyncio.sleep(0)
        database.answer()
    found = await reading
    assert [each and each.key for each in found] == ["0", "1", "2", "3", "4", None]
    assert await later is None
    assert [[key for _, key in identities] for identities, _ in database.reads] == [
        ["0", "1", "2", "3", "4", "k"], ["2", "3", "4", "k"], ["4", "k", "later"],
    ]  # fmt: skip


async def test_what_is_beyond_the_bytes_of_all_values_is_not_read(database, lookup):
    database.most = 1
    places = [("n", str(number)) for number in range(6)]
    database.rows = {place: entry(1, key=place[1]) for place in places}
    reading = asyncio.ensure_future(lookup.get_each(places, max_bytes=2))
    shared = asyncio.ensure_future(lookup.get(places[5]))
    for count in range(1, 5):
        await database.begun(count)
        database.waits = count < 4  # reads that should not come are not waited for
        database.answer()
    found = await reading
    assert [each.key for each in found[:2]] == ["0", "1"]
    assert {type(each) for each in found[2:]} == {InvalidInputError}
    assert (await shared).key == "5"
    # The third fetch had begun when the second value was there.
    assert [identities[0][1] for identities, _ in database.reads] == ["0", "1", "2", "5"]
    again = asyncio.ensure_future(lookup.get(places[3]))
    await database.begun(5)
    database.answer()
    assert (await again).key == "3"


async def test_each_read_fails_alone(database, lookup):
    failed = StorageIOError("damaged")
    database.rows = {K: entry(1), ("n", "bad"): failed}
    reading = asyncio.ensure_future(lookup.get_each([K, ("n", "bad"), ("n", "none")], max_bytes=100))
    await database.begun(1)
    database.answer()
    first, second, third = await reading
    assert (first.key, type(second), third) == ("k", StorageIOError, None)


async def test_a_read_that_a_write_has_overtaken_is_not_cached(database, cache, lookup):
    database.rows[K] = entry(1)
    early = asyncio.ensure_future(lookup.get(K))
    await database.begun(1)
    lookup.before_commit([K])
    database.rows[K] = entry(2)
    lookup.after_commit([(K, entry(2))])
    cache.discard(K)  # for want of room
    late = asyncio.ensure_future(lookup.get(K))
    await asyncio.sleep(0)
    database.answer(0)
    await database.begun(2)
    database.answer(1)
    assert (await early).version == 1
    assert (await late).version == 2
    assert (await lookup.get(K)).version == 2


async def test_during_a_write_gets_ask_the_database_and_nothing_is_kept(database, cache, lookup):
    cache.put(entry(1))
    lookup.before_commit([K])
    for version in (1, 2):  # committed between the two reads, not acknowledged yet
        database.rows[K] = entry(version)
        get = asyncio.ensure_future(lookup.get(K))
        await database.begun(version)
        database.answer()
        assert (await get).version == version
        assert len(cache) == 0
    lookup.after_commit([(K, entry(2))])
    assert (await lookup.get(K)).version == 2
    assert len(database.reads) == 2


async def test_a_failed_commit_leaves_nothing_in_the_cache(database, cache, lookup):
    cache.put(entry(1))
    lookup.before_commit([K])
    lookup.after_commit([])
    assert len(cache) == 0


async def test_a_delete_empties_the_cache(database, cache, lookup):
    lookup.before_commit([K])
    lookup.after_commit([(K, entry(1)), (K, None)])
    get = asyncio.ensure_future(lookup.get(K))
    await database.begun(1)
    database.answer()
    assert await get is None


async def test_an_expired_row_is_a_miss_and_so_is_an_expired_copy(database, cache, lookup):
    database.rows[K] = entry(1, expires_at=1000)
    cache.put(entry(1, expires_at=1000))
    get = asyncio.ensure_future(lookup.get(K))
    await database.begun(1)
    database.answer()
    assert await get is None
    assert (cache.hits, cache.misses) == (0, 1)


async def test_one_impatient_caller_does_not_disturb_the_others(database, lookup):
    database.rows[K] = entry(1)
    impatient, patient = (asyncio.ensure_future(lookup.get(K)) for _ in range(2))
    await database.begun(1)
    impatient.cancel()
    database.answer()
    assert (await patient).version == 1
    with pytest.raises(asyncio.CancelledError):
        await impatient


async def test_a_failed_read_fails_its_callers_and_the_next_one_tries_again(cache):
    failing = [StorageIOError("disk"), None]

    def fetch(identities, receiver):
        pass_on = asyncio.get_running_loop().call_soon
        if error := failing.pop(0):
            pass_on(receiver.set_exception, error)
        else:
            pass_on(receiver.set_result, [entry(1)] * len(identities))

    lookup = EntryReader(cache, fetch, now=lambda: 0, accesses=AccessTimes())
    results = await asyncio.gather(lookup.get(K), lookup.get(K), return_exceptions=True)
    assert [type(result) for result in results] == [StorageIOError] * 2
    assert results[0] is not results[1]
    assert (await lookup.get(K)).version == 1


@pytest.mark.parametrize("error", [StoreClosedError("closed"), ZeroDivisionError()])
async def test_reads_that_do_not_begin_fail(cache, error):
    def fetch(_identities, _receiver):
        raise error

    lookup = EntryReader(cache, fetch, now=lambda: 0, accesses=AccessTimes())
    for _ in range(2):
        with pytest.raises(type(error)):
            await lookup.get(K)
    await lookup.close()


async def test_closing_waits_for_reads(database, lookup):
    get = asyncio.ensure_future(lookup.get(K))
    await database.begun(1)
    closing = asyncio.ensure_future(lookup.close())
    later = asyncio.ensure_future(lookup.get(("n", "later")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not closing.done()
    database.answer()
    await database.begun(2)
    assert not closing.done()
    database.answer()
    await closing
    assert (await get, await later) == (None, None)
