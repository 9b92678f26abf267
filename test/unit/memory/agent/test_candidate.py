"""Agents that stand for queen: one at a time is it, each in a term of her own."""

import asyncio

import pytest

from swarm_operator.memory.agent import Candidate
from swarm_operator.memory.client import MemoryClient, MemoryUnavailableError

LEASE = 1.0
"""Seconds. Candidates pause by the real clock, and the hive mind counts by its own, which tests move."""


@pytest.fixture
async def stand(memory, background):
    """stand("a") gives a candidate and the task in which it stands; stand("a", client) does so with another client."""

    def start(agent_id, client=memory, lease=LEASE):
        candidate = Candidate(client, agent_id, lease=lease)
        return candidate, background(candidate.run())

    return start


@pytest.fixture
def looked(memory, monkeypatch, eventually):
    """Wait until the lease has been looked at some more times."""
    looks = []
    get = memory.leases.get

    async def counting(name):
        looks.append(name)
        return await get(name)

    monkeypatch.setattr(memory.leases, "get", counting)

    async def wait(times):
        seen = len(looks)

        async def enough():
            return len(looks) >= seen + times

        await eventually(enough)

    return wait


@pytest.fixture
def reigns(eventually):
    """Wait until a candidate is queen, and return her term."""

    async def wait(candidate):
        async def is_queen():
            return candidate.term

        return await eventually(is_queen)

    return wait


async def die(standing):
    standing.cancel()
    await asyncio.wait([standing])


async def test_one_agent_at_a_time_is_queen_and_the_next_follows_when_she_stops(stand, reigns, looked, memory):
    first, running = stand("a")
    assert await reigns(first) == 1
    second, _ = stand("b")
    await looked(3)
    assert second.term is None
    first.stop()
    await running
    assert first.term is None
    assert await reigns(second) == 2
    assert (await memory.leases.get("queen"))["holder"] == "b"


async def test_a_queen_that_was_killed_is_followed_when_her_lease_ends_and_not_before(stand, reigns, looked, clock):
    first, standing = stand("a")
    await reigns(first)
    second, _ = stand("b")
    await die(standing)
    await looked(3)
    assert second.term is None
    clock.advance(LEASE)
    assert await reigns(second) == 2


async def test_her_own_next_process_waits_too_and_has_a_term_of_its_own(stand, reigns, looked, clock):
    first, standing = stand("a")
    await reigns(first)
    await die(standing)
    again, _ = stand("a")
    await looked(3)
    assert again.term is None, "an order of the first is told from one of the second"
    clock.advance(LEASE)
    assert await reigns(again) == 2


@pytest.mark.parametrize("other", ["b", "a"])
async def test_a_queen_that_was_away_learns_that_another_is_queen(
    stand, reigns, memory, clock, eventually, monkeypatch, other
):
    """With "a" the other one is a second process of her own ID, which an agent on a lost node may get."""
    first, _ = stand("a")
    await reigns(first)
    renew, may_renew = memory.leases.renew, asyncio.Event()

    async def late(*arguments, **options):
        await may_renew.wait()
        return await renew(*arguments, **options)

    monkeypatch.setattr(memory.leases, "renew", late)
    clock.advance(LEASE)
    assert (await memory.leases.claim("queen", agent=other, lease=60))["term"] == 2
    may_renew.set()

    async def knows():
        return first._term is None

    await eventually(knows)
    assert (await memory.leases.get("queen"))["term"] == 2


async def test_a_queen_that_cannot_renew_is_none_when_her_lease_ends_and_is_again_when_it_can(
    stand, reigns, memory, eventually, monkeypatch
):
    renew, away = memory.leases.renew, asyncio.Event()
    away.set()

    async def unreachable(*arguments, **options):
        if away.is_set():
            raise MemoryUnavailableError("away", uncertain=True)
        return await renew(*arguments, **options)

    monkeypatch.setattr(memory.leases, "renew", unreachable)
    queen, _ = stand("a")
    assert await reigns(queen) == 1

    async def is_none():
        return queen.term is None

    await eventually(is_none)
    away.clear()
    assert await reigns(queen) == 1, "nobody was queen meanwhile"


async def test_a_lease_that_is_gone_is_claimed_anew(stand, reigns, memory, eventually):
    queen, _ = stand("a")
    await reigns(queen)
    await memory.delete("swarm:leases", "lease:queen")

    async def is_back():
        return await memory.leases.get("queen")

    await eventually(is_back)
    assert await reigns(queen) == 1


async def test_a_hive_mind_whose_token_is_not_there_yet_is_waited_for_and_told_once(
    service, stand, reigns, tmp_path, logged, eventually
):
    token_file = tmp_path / "token"
    async with MemoryClient(f"http://127.0.0.1:{service.port}", token_file=token_file) as hive:
        looks, get = [], hive.leases.get
        hive.leases.get = lambda name: looks.append(name) or get(name)
        candidate, standing = stand("a", hive)

        async def often():
            return len(looks) >= 3

        await eventually(often)
        token_file.write_text((service.tokens / "client-token").read_text())
        await reigns(candidate)
        candidate.stop()
        await standing
    told = [each["event"] for each in logged if "hive" in each["event"] or "queen" in each["event"]]
    assert told == ["waiting for the hive mind", "is queen"]
