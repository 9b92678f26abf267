"""Consensus: votes of many at once, and what older clients wrote. How votes count is in the contract and in ballots."""

import asyncio

import pytest

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import RecordStateError
from swarm_operator.memory.swarm.consensus import ballots

NOW = "2027-01-15T08:00:00.000Z"


async def test_a_proposal_is_stored_as_the_seed_stores_it(swarm, store):
    await swarm.consensus.propose({"id": "c1", "taskId": "t1", "threshold": 0.75, "topic": "names"})
    entry = await store.get("swarm:consensus", "consensus:c1")
    assert entry.tags == ["consensus", "open"]
    assert entry.metadata == {"swarmId": "default", "taskId": "t1", "threshold": 0.75}
    assert (entry.value["timestamp"], entry.value["topic"], entry.value["swarmId"]) == (NOW, "names", "default")
    await swarm.consensus.close("c1")
    assert (await store.get("swarm:consensus", "consensus:c1")).tags == ["consensus", "failed"]


async def test_of_many_votes_at_once_each_agent_has_one_and_the_deciding_one_decides(swarm):
    voters = [f"a{number}" for number in range(21)]
    await swarm.consensus.propose({"id": "c1", "voters": voters})
    results = await asyncio.gather(
        *(swarm.consensus.vote("c1", agent, "approve") for agent in voters for _ in range(2)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, RecordStateError)]
    assert {result.reason for result in refused} == {"closed"}
    stored = (await swarm.consensus.get("c1")).document
    assert (stored["status"], stored["outcome"], stored["tally"]["approve"]) == ("decided", "approve", 11)
    assert len(stored["votes"]) == 11
    assert len(refused) == 20


@pytest.mark.parametrize(
    ("voters", "threshold", "needed"),
    [(3, 0.5, 2), (4, 0.5, 3), (1, 0.5, 1), (3, 0.66, 2), (3, 0.67, 3), (10, 0.7, 7), (30, 0.9, 27), (5, 1, 5)],
)
def test_so_many_votes_are_enough(voters, threshold, needed):
    names = [f"a{number}" for number in range(voters)]
    proposal = ballots.new(ballots.check_new({"voters": names, "threshold": threshold}, "c"), 0)
    for count, name in enumerate(names, start=1):
        proposal = ballots.cast(proposal, name, "approve", 0)
        assert (proposal["status"] == "decided") == (count == needed)
        if count == needed:
            break


async def test_the_number_of_votes_is_bounded(swarm, monkeypatch):
    monkeypatch.setattr(ballots, "MAX_VOTES", 2)
    await swarm.consensus.propose({"id": "c1"})
    for agent in ("a", "b"):
        await swarm.consensus.vote("c1", agent, "approve")
    with pytest.raises(RecordStateError) as caught:
        await swarm.consensus.vote("c1", "c", "approve")
    assert caught.value.reason == "full"
    assert (await swarm.consensus.vote("c1", "a", "reject")).document["tally"]["reject"] == 1


async def test_a_proposal_whose_deadline_has_passed_is_settled_once_for_all(swarm, store, clock):
    await swarm.consensus.propose({"id": "c1", "deadlineSeconds": 10})
    await swarm.consensus.vote("c1", "a", "approve")
    clock.advance(3600)
    first = await swarm.consensus.get("c1")
    assert (first.document["outcome"], first.document["decidedAt"]) == ("approve", "2027-01-15T08:00:10.000Z")
    assert (await store.get("swarm:consensus", "consensus:c1")).tags == ["consensus", "decided"]
    clock.advance(3600)
    assert await swarm.consensus.get("c1") == first


@pytest.mark.parametrize(
    "value",
    [
        None, [], {"status": "approved", "votes": {"for": 3, "against": 1}},
        {"status": "open", "votes": {"for": 3}, "deadline": "soon", "options": "yes"},
    ],
)  # fmt: skip
async def test_what_older_clients_wrote_can_be_read_listed_and_closed(swarm, store, value):
    await store.put("swarm:consensus", "consensus:old", value)
    assert (await swarm.consensus.get("old")).id == "old"
    assert len((await swarm.consensus.list()).records) == 1
    closed = (await swarm.consensus.close("old")).document
    assert closed.get("status") != "open"
    if value:
        assert closed["votes"] == value["votes"]
    with pytest.raises(RecordStateError):
        await swarm.consensus.vote("old", "a", "approve")


async def test_a_choice_that_is_no_text_is_refused_also_when_it_is_over(swarm):
    await swarm.consensus.propose({"id": "p"})
    await swarm.consensus.close("p")
    for choice in (None, 1, ["approve"]):
        with pytest.raises(InvalidInputError, match="choice"):
            await swarm.consensus.vote("p", "a", choice)
