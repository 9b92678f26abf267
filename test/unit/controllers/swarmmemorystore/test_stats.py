import asyncio
import random
from dataclasses import dataclass, replace

import pytest
from aiohttp import web

from swarm_operator.controllers.swarmmemorystore import stats
from swarm_operator.controllers.swarmmemorystore.stats import Observation, Observer, Poller, Target, rounded
from swarm_operator.memory.client import MemoryClientError, MemoryUnavailableError, Stats
from swarm_operator.runtime.resource import Key

TARGET = Target("t0ken", "adm1n", {})


class Numbers:
    """Stands for Stats: only what is read of it."""

    entries, agents, tasks, patterns, database_size_bytes, cache_hit_rate = 5, 0, 2, 3, 4096, 0.98765
    fault, settings, volume_size_bytes, volume_free_bytes = None, {}, 1000, 900


def test_the_numbers_become_fields_of_the_status():
    assert Observation(Numbers()).to_status() == {
        "databaseSize": 4100,
        "entryCount": 5,
        "agentCount": 0,
        "taskCount": 2,
        "patternCount": 3,
        "cacheHitRate": 0.99,
    }


def test_numbers_have_the_attributes_that_are_read():
    assert {"entries", "agents", "tasks", "patterns", "database_size_bytes", "cache_hit_rate"} <= set(
        Stats.__dataclass_fields__
    )


def test_a_rate_that_is_not_known_stays_unknown():
    numbers = Numbers()
    numbers.cache_hit_rate = None
    assert Observation(numbers).to_status()["cacheHitRate"] is None


def test_nothing_known_is_nothing_said():
    assert Observation().to_status() == {}


@pytest.fixture
def memory(monkeypatch):
    """Puts a double in the place of the memory client; returns what it was asked with and what it answers."""
    seen = {"answer": Numbers()}

    class Double:
        def __init__(self, url, **options):
            seen.update(url=url, **options)

        async def __aenter__(self):
            return self

        async def __aexit__(self, *error):
            seen["closed"] = True

        async def stats(self):
            if isinstance(seen["answer"], Exception):
                raise seen["answer"]
            return seen["answer"]

        @property
        def settings(self):
            return self

        async def change(self, settings):
            seen["changes"] = settings
            if "refusal" in seen:
                raise seen["refusal"]
            return settings

    monkeypatch.setattr(stats, "MemoryClient", Double)
    return seen


async def test_a_store_is_asked_once_under_its_name_with_its_token(memory, store):
    found = await Observer("http://{name}.{namespace}.svc:8080", timeout=3.0).observe(store(), TARGET)
    assert found.stats is memory["answer"]
    assert (memory["url"], memory["token"]) == ("http://bees.ns.svc:8080", "t0ken")
    assert (memory["timeout"], memory["retries"], memory["closed"]) == (3.0, 0, True)


@dataclass
class Reported:
    """Stands for Stats with settings."""

    settings: dict


async def test_settings_that_differ_are_changed_with_the_admin_token(memory, store):
    memory["answer"] = Reported({"cache_size": 1, "enable_vacuum": True, "full_text": True})
    target = Target("t0ken", "adm1n", {"cache_size": 7, "enable_vacuum": True, "newer": 1})
    found = await Observer("http://{name}").observe(store(), target)
    assert (memory["changes"], memory["token"]) == ({"cache_size": 7}, "adm1n")
    assert found.stats.settings == {"cache_size": 7, "enable_vacuum": True, "full_text": True}
    del memory["changes"]
    memory["answer"] = found.stats
    assert await Observer("http://{name}").observe(store(), target) == found
    assert "changes" not in memory, "they are in force"
    assert memory["token"] == "t0ken"


async def test_a_refusal_has_the_service_s_words_and_the_numbers_are_kept(memory, store):
    memory.update(answer=Reported({"cache_size": 1}), refusal=MemoryClientError("cache_size: too many"))
    found = await Observer("http://{name}").observe(store(), Target("t0ken", "adm1n", {"cache_size": 7}))
    assert (found.stats, found.refusal) == (Reported({"cache_size": 1}), "cache_size: too many")


@pytest.mark.parametrize(
    "error", [MemoryClientError("odd"), MemoryUnavailableError("connection refused", uncertain=False)]
)
async def test_no_answer_is_an_empty_observation_and_no_error(memory, store, error, logged):
    memory["answer"] = error
    assert await Observer("http://{name}").observe(store(), TARGET) == Observation(error=str(error))
    assert memory["closed"]
    (entry,) = logged
    assert "t0ken" not in str(entry)


@pytest.mark.parametrize("token", ["t0ken", None])
async def test_a_service_that_answers_nonsense_is_an_empty_observation(store, token):
    async def nonsense(_):
        return web.Response(text="<html>", content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", nonsense)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        found = await Observer(url).observe(store(), Target(token, None, {}))
        assert found.stats is None
        assert "not a response of the memory" in found.error
    finally:
        await runner.cleanup()


async def test_a_service_that_is_not_there_is_an_empty_observation(store, unused_tcp_port):
    found = await Observer(f"http://127.0.0.1:{unused_tcp_port}", timeout=1.0).observe(store(), Target(None, None, {}))
    assert found.stats is None
    assert str(unused_tcp_port) in found.error


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, 0), (999, 999), (1000, 1000), (1004, 1000), (1005, 1000), (98765, 98800), (10**9 + 1, 10**9)],
)
def test_a_large_number_has_three_digits(number, shown):
    assert rounded(number) == shown


class Slow:
    """An observer that answers when it is told to."""

    def __init__(self):
        self.asked = []
        self.answer = asyncio.Event()
        self.found = Observation(error="nothing yet")

    async def observe(self, store, target):
        self.asked.append(store.metadata.name)
        await self.answer.wait()
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


def status_of(store, target, observation):
    """Return the status that a former operator has written of an observation."""
    conditions = [
        {
            "type": type_,
            "status": str(outcome.is_done),
            "reason": outcome.reason,
            "message": outcome.message,
            "observedGeneration": 1,
            "lastTransitionTime": "2026-11-23T12:00:00Z",
        }
        for type_, outcome in stats.judged(store, target.settings, observation).items()
    ]
    used = observation.volume_used
    return observation.to_status() | {
        "conditions": conditions,
        "volumeUsedPercent": None if used is None else int(used),
    }


class TestPoller:
    @pytest.fixture
    def observer(self):
        return Slow()

    @pytest.fixture
    async def poller(self, observer, clock):
        made = Poller(observer, 30.0, 5.0, rng=random.Random(1), monotonic=clock.monotonic, most=2)
        self.enqueued = []
        made.enqueue = self.enqueued.append
        return made

    async def turn(self):
        for _ in range(5):
            await asyncio.sleep(0)

    async def test_it_waits_for_no_answer(self, poller, observer, store):
        observation, delay = poller.poll(store(), TARGET)
        assert observation is None
        assert delay > 0
        await self.turn()
        poller.poll(store(), TARGET)
        assert observer.asked == ["bees"], "one is under way"

    async def test_what_is_new_enqueues_the_store_and_what_is_known_does_not(self, poller, observer, store, clock):
        observer.answer.set()
        for _ in range(3):
            poller.poll(store(), TARGET)
            await self.turn()
            clock.advance(33)
        assert self.enqueued == [Key("ns", "bees")]
        observer.found = Observation(Numbers())
        poller.poll(store(), TARGET)
        await self.turn()
        assert self.enqueued == [Key("ns", "bees")] * 2
        clock.advance(33)
        observer.found = Observation(Numbers())
        observer.found.stats.fault = "disk-full"
        poller.poll(store(), TARGET)
        await self.turn()
        assert self.enqueued == [Key("ns", "bees")] * 3
        assert poller.poll(store(), TARGET)[0] == observer.found

    @pytest.mark.parametrize(
        ("different", "enqueues"),
        [
            ({}, False),
            ({"is_reported": False}, True),
            ({"generation": 2}, True),
            ({"entries": 6}, True),
            ({"fault": "disk-full"}, True),
            ({"settings": {"cache_size": 1}}, True),
            ({"volume_free_bytes": 800}, True),
            ({"volume_free_bytes": 895}, False),
        ],
    )
    async def test_the_first_answer_to_a_restarted_operator_enqueues_only_what_the_status_lacks(
        self, poller, observer, store, different, enqueues
    ):
        observer.answer.set()
        observer.found = Observation(Numbers())
        target = replace(TARGET, settings={"cache_size": 7})
        made = store()
        made.status = type(made.status).model_validate(status_of(made, target, observer.found))
        made.metadata.generation = different.get("generation", 1)
        for name in vars(Numbers).keys() & different.keys():
            setattr(observer.found.stats, name, different[name])
        poller.poll(made, target, is_reported=different.get("is_reported", True))
        await self.turn()
        assert self.enqueued == [Key("ns", "bees")] * enqueues
        assert poller.newest(Key("ns", "bees")) == observer.found

    async def test_a_service_that_still_does_not_answer_enqueues_nothing(self, poller, observer, store):
        observer.answer.set()
        made = store()
        made.status = type(made.status).model_validate(status_of(made, TARGET, observer.found))
        poller.poll(made, TARGET, is_reported=True)
        await self.turn()
        assert self.enqueued == []
        observer.found = Observation(error="another reason")
        poller.forget(Key("ns", "bees"))
        poller.poll(made, TARGET, is_reported=True)
        await self.turn()
        assert self.enqueued == [Key("ns", "bees")]

    async def test_one_lost_answer_is_asked_for_again_soon_and_the_second_is_told(self, poller, observer, store, clock):
        async def found(observation):
            observer.found = observation
            poller.poll(store(), TARGET)
            await self.turn()
            return poller.poll(store(), TARGET)

        observer.answer.set()
        answer, lost = Observation(Numbers()), Observation(error="timed out")
        assert await found(answer) == (answer, pytest.approx(30, rel=0.11))
        for _ in range(2):
            clock.advance(33)
            assert await found(lost) == (answer, pytest.approx(5, rel=0.11))
            clock.advance(6)
            assert (await found(answer))[0] == answer
        clock.advance(33)
        await found(lost)
        clock.advance(6)
        assert await found(lost) == (lost, pytest.approx(5, rel=0.11))

    async def test_other_settings_are_due_at_once(self, poller, observer, store):
        observer.answer.set()
        poller.poll(store(), TARGET)
        await self.turn()
        for settings in ({"cache_size": 7}, {"cache_size": 7}, {"cache_size": 8}):
            _, delay = poller.poll(store(), replace(TARGET, settings=settings))
            assert delay > 0
            await self.turn()
        assert len(observer.asked) == 3

    async def test_settings_that_change_during_a_poll_are_due_when_it_ends(self, poller, observer, store):
        poller.poll(store(), TARGET)
        await self.turn()
        newer = replace(TARGET, settings={"cache_size": 7})
        poller.poll(store(), newer)
        observer.answer.set()
        await self.turn()
        assert (self.enqueued, len(observer.asked)) == ([Key("ns", "bees")], 1)
        poller.poll(store(), newer)
        await self.turn()
        assert len(observer.asked) == 2
        assert poller.poll(store(), newer)[0] == observer.found

    async def test_only_some_are_asked_at_one_time(self, poller, observer, store):
        for number in range(5):
            poller.poll(store(f"s{number}"), TARGET)
        await self.turn()
        assert observer.asked == ["s0", "s1"]
        observer.answer.set()
        await self.turn()
        assert len(observer.asked) == 5

    async def test_a_store_that_is_gone_is_not_asked_any_more(self, poller, observer, store):
        poller.poll(store(), TARGET)
        await self.turn()
        poller.forget(Key("ns", "bees"))
        observer.answer.set()
        await self.turn()
        assert self.enqueued == []
        assert poller.poll(store(), TARGET)[0] is None

    async def test_an_error_of_the_poll_itself_is_told(self, poller, observer, store, logged):
        observer.found = RuntimeError("a bug")
        observer.answer.set()
        poller.poll(store(), TARGET)
        await self.turn()
        assert "a bug" in poller.poll(store(), TARGET)[0].error
        assert logged[0]["event"] == "a poll failed"
