"""The cache in front of the readers: what is shared, what is kept, and that nothing old is shown."""

import asyncio

import pytest

from swarm_operator.memory.core import Draft, Entry
from swarm_operator.memory.core.errors import StorageIOError
from swarm_operator.memory.sqlite.read.entries import EntryCache, EntryReader
from swarm_operator.memory.sqlite.tables.access_times import AccessTimes

K = ("n", "k")


def entry(version, *, key="k", expires_at=None):
    draft = Draft.create("n", key, version)
    return Entry("n", key, draft.value_json, "[]", "{}", 0, version, 0, 0, expires_at)


class Database:
    """A reader whose answers wait for the test. What it answers is decided when a read begins."""

    def __init__(self):
        self.rows = {}
        self.reads = []
        self._begun = asyncio.Event()

    async def fetch(self, identities):
        answer = [self.rows.get(identity) for identity in identities]
        gate = asyncio.Event()
        self.reads.append((list(identities), gate))
        self._begun.set()
        await gate.wait()
        return answer

    async def begun(self, count):
        while len(self.reads) < count:
            self._begun.clear()
            await self._begun.wait()

    def answer(self, index=-1):
        self.reads[index][1].set()


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

    async def fetch(identities):
        if error := failing.pop(0):
            raise error
        return [entry(1)] * len(identities)

    lookup = EntryReader(cache, fetch, now=lambda: 0, accesses=AccessTimes())
    results = await asyncio.gather(lookup.get(K), lookup.get(K), return_exceptions=True)
    assert [type(result) for result in results] == [StorageIOError] * 2
    assert results[0] is not results[1]
    assert (await lookup.get(K)).version == 1
