"""Random operations on tasks and proposals, and on a plain model of them; the store restarts in between."""

import asyncio
import contextlib
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from support.budget import budget

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.swarm import RecordNotFoundError, RecordStateError, Swarm

IDS = st.sampled_from(["a", "b", "c", "d"])
AGENTS = st.sampled_from(["x", "y", "z"])
LEASES = st.sampled_from([5, 10])
RANKS = {"low": 2, "medium": 5, 7: 7, "critical": 10}
SETTINGS = settings(
    max_examples=budget(15, long=40),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


class Clock:
    seconds = 1_800_000_000.0

    def __call__(self):
        return self.seconds


class SwarmMachine(RuleBasedStateMachine):
    """A swarm on a real file, and a clock that only rules move."""

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.runner = asyncio.Runner()
        self.clock = Clock()
        self.model = {}
        self.stack = None

    @initialize()
    def open(self):
        async def enter():
            self.stack = contextlib.AsyncExitStack()
            store = await self.stack.enter_async_context(SqliteStore.open(self.directory / "db", clock=self.clock))
            self.swarm = Swarm(store)

        self.runner.run(enter())

    @rule()
    def restart(self):
        self.runner.run(self.stack.aclose())
        self.open()

    @rule(seconds=st.sampled_from([1, 5, 20]))
    def advance(self, seconds):
        self.clock.seconds += seconds

    def teardown(self):
        if self.stack is not None:
            self.runner.run(self.stack.aclose())
        self.runner.close()
        shutil.rmtree(self.directory)

    def outcome(self, call):
        """The record's members, or why not: a reason, "missing" or "invalid"."""
        try:
            record = self.runner.run(call)
        except RecordStateError as error:
            return error.reason
        except RecordNotFoundError:
            return "missing"
        except InvalidInputError:
            return "invalid"
        return getattr(record, "document", record)


@dataclass
class Task:
    rank: int
    retries: int
    assigned: frozenset
    waits_for: set
    status: str = "pending"
    owner: str | None = None
    until: float | None = None
    attempts: int = 0
    failures: int = 0


class TaskMachine(SwarmMachine):
    def unmet(self, task):
        return {other for other in task.waits_for if other not in self.model or self.model[other].status != "completed"}

    def refusal(self, task, agent):
        """Why the agent may not claim it; None if it may."""
        if task.status == "in_progress" and not (task.until is not None and task.until <= self.clock.seconds):
            return "claimed"
        if task.status not in {"pending", "in_progress"}:
            return "not-allowed"
        if task.assigned and agent not in task.assigned:
            return "assigned"
        return "blocked" if self.unmet(task) else None

    def give(self, task, agent, lease):
        task.status, task.owner, task.until = "in_progress", agent, self.clock.seconds + lease
        task.attempts += 1

    def holds(self, task, agent):
        return task.status == "in_progress" and task.owner == agent

    def reaches(self, start, target):
        seen, left = set(), list(start)
        while left:
            current = left.pop()
            if current == target:
                return True
            if current not in seen and current in self.model:
                seen.add(current)
                left += self.named[current]
        return False

    def __init__(self):
        super().__init__()
        self.named = {}
        """All dependencies of each task, as they were named: also those that were completed already."""

    def may_wait_for(self, task_id, wanted):
        return task_id not in wanted and wanted <= self.model.keys() and not self.reaches(wanted, task_id)

    def open_ones(self, wanted):
        return {other for other in wanted if self.model[other].status != "completed"}

    @rule(
        task_id=IDS,
        priority=st.sampled_from(list(RANKS)),
        retries=st.integers(0, 1),
        assigned=st.frozensets(AGENTS, max_size=2),
        wanted=st.frozensets(IDS, max_size=2),
    )
    def create(self, task_id, priority, retries, assigned, wanted):
        outcome = self.outcome(
            self.swarm.tasks.create({
                "id": task_id, "priority": priority, "maxRetries": retries, "assignedAgents": sorted(assigned),
                "dependencies": sorted(wanted),
            })
        )  # fmt: skip
        if not self.may_wait_for(task_id, wanted):
            assert outcome == "invalid"
        elif task_id in self.model:
            assert outcome == "exists"
        else:
            assert outcome["status"] == "pending"
            self.model[task_id] = Task(RANKS[priority], retries, assigned, self.open_ones(wanted))
            self.named[task_id] = set(wanted)

    @rule(task_id=IDS, wanted=st.frozensets(IDS, max_size=2))
    def wait_for(self, task_id, wanted):
        outcome = self.outcome(self.swarm.tasks.update(task_id, {"dependencies": sorted(wanted)}))
        task = self.model.get(task_id)
        if not self.may_wait_for(task_id, wanted):
            assert outcome == "invalid"
        elif task is None:
            assert outcome == "missing"
        elif self.named[task_id] == set(wanted):
            assert outcome["status"] == task.status
        elif task.status != "pending":
            assert outcome == "not-allowed"
        else:
            task.waits_for, self.named[task_id] = self.open_ones(wanted), set(wanted)

    @rule(task_id=IDS, agent=AGENTS, lease=LEASES)
    def claim(self, task_id, agent, lease):
        outcome = self.outcome(self.swarm.tasks.claim(task_id, agent, lease=lease))
        task = self.model.get(task_id)
        if task is None:
            assert outcome == "missing"
        elif self.holds(task, agent) and (task.until is None or task.until > self.clock.seconds):
            assert outcome["attempts"] == task.attempts
            task.until = self.clock.seconds + lease
        elif (refusal := self.refusal(task, agent)) is not None:
            assert outcome == refusal
        else:
            self.give(task, agent, lease)
            assert (outcome["claimedBy"], outcome["attempts"]) == (agent, task.attempts)

    @rule(agent=AGENTS, lease=LEASES)
    def claim_next(self, agent, lease):
        outcome = self.outcome(self.swarm.tasks.claim_next(agent, lease=lease))
        ready = [(-task.rank, name) for name, task in self.model.items() if self.refusal(task, agent) is None]
        if not ready:
            assert outcome is None
        else:
            assert outcome["id"] == min(ready)[1]
            self.give(self.model[outcome["id"]], agent, lease)

    @rule(task_id=IDS, agent=AGENTS, lease=LEASES)
    def renew(self, task_id, agent, lease):
        outcome = self.outcome(self.swarm.tasks.renew(task_id, agent, lease=lease))
        task = self.model.get(task_id)
        if task is None:
            assert outcome == "missing"
        elif not self.holds(task, agent):
            assert outcome == "not-claimed"
        else:
            task.until = self.clock.seconds + lease

    @rule(task_id=IDS, agent=AGENTS)
    def release(self, task_id, agent):
        outcome = self.outcome(self.swarm.tasks.release(task_id, agent))
        task = self.model.get(task_id)
        if task is None:
            assert outcome == "missing"
        elif not self.holds(task, agent):
            assert outcome == "not-claimed"
        else:
            task.status, task.owner, task.until = "pending", None, None

    @rule(task_id=IDS, agent=AGENTS, status=st.sampled_from(["completed", "completed", "failed"]))
    def finish(self, task_id, agent, status):
        outcome = self.outcome(self.swarm.tasks.set_status(task_id, status, agent=agent))
        task = self.model.get(task_id)
        if task is None:
            assert outcome == "missing"
        elif task.status == status:
            assert outcome == "claimed" if task.owner not in {None, agent} else outcome["status"] == status
        elif task.status in {"completed", "failed"}:
            assert outcome == "not-allowed"
        elif status == "completed" and self.unmet(task):
            assert outcome == "blocked"
        elif not self.holds(task, agent):
            assert outcome == "not-claimed"
        else:
            task.until = None
            if status == "failed":
                task.failures += 1
                if task.failures <= task.retries:
                    status, task.owner = "pending", None
            task.status = status
            assert outcome["status"] == status

    @rule(task_id=IDS)
    def delete(self, task_id):
        assert self.runner.run(self.swarm.tasks.delete(task_id)) == (task_id in self.model)
        self.model.pop(task_id, None)
        self.named.pop(task_id, None)

    @invariant()
    def what_is_stored_is_what_the_model_says(self):
        if self.stack is None:
            return
        found = {
            record.id: (
                record.document["status"],
                record.document.get("claimedBy"),
                record.document["attempts"],
                record.document.get("failures", 0),
            )
            for record in self.runner.run(self.swarm.tasks.list()).records
        }
        assert found == {
            name: (task.status, task.owner, task.attempts, task.failures) for name, task in self.model.items()
        }


@dataclass
class Proposal:
    voters: frozenset
    threshold: float
    least: int
    deadline: float | None
    status: str = "open"
    outcome: str | None = None
    votes: dict = field(default_factory=dict)


class ConsensusMachine(SwarmMachine):
    def settle(self, proposal, *, at_once=False):
        due = proposal.deadline is not None and proposal.deadline <= self.clock.seconds
        if proposal.status != "open" or not (due or at_once):
            return
        electorate = len(proposal.voters) or len(proposal.votes)
        winner = self.winner(proposal, electorate) if len(proposal.votes) >= proposal.least else None
        proposal.status, proposal.outcome = ("failed", None) if winner is None else ("decided", winner)

    def winner(self, proposal, electorate):
        for option in ("approve", "reject"):
            votes = list(proposal.votes.values()).count(option)
            enough = votes > electorate / 2 if proposal.threshold == 0.5 else votes >= proposal.threshold * electorate
            if votes and enough:
                return option
        return None

    @rule(
        proposal_id=IDS,
        voters=st.frozensets(AGENTS),
        threshold=st.sampled_from([0.5, 0.75, 1]),
        least=st.integers(1, 2),
        seconds=st.sampled_from([None, 10]),
    )
    def propose(self, proposal_id, voters, threshold, least, seconds):
        document = {"id": proposal_id, "threshold": threshold, "minVotes": least, "deadlineSeconds": seconds}
        outcome = self.outcome(self.swarm.consensus.propose(document | ({"voters": sorted(voters)} if voters else {})))
        if proposal_id in self.model:
            assert outcome == "exists"
        else:
            deadline = None if seconds is None else self.clock.seconds + seconds
            self.model[proposal_id] = Proposal(voters, threshold, least, deadline)

    @rule(proposal_id=IDS, agent=AGENTS, choice=st.sampled_from(["approve", "reject", "abstain"]))
    def vote(self, proposal_id, agent, choice):
        outcome = self.outcome(self.swarm.consensus.vote(proposal_id, agent, choice))
        proposal = self.model.get(proposal_id)
        if proposal is None:
            assert outcome == "missing"
            return
        self.settle(proposal)
        if proposal.votes.get(agent) == choice:
            assert outcome["votes"][agent]["choice"] == choice
        elif proposal.status != "open":
            assert outcome == "closed"
        elif proposal.voters and agent not in proposal.voters:
            assert outcome == "not-a-voter"
        else:
            proposal.votes[agent] = choice
            if proposal.voters and (winner := self.winner(proposal, len(proposal.voters))) is not None:
                proposal.status, proposal.outcome = "decided", winner
            assert outcome["status"] == proposal.status

    @rule(proposal_id=IDS)
    def close(self, proposal_id):
        outcome = self.outcome(self.swarm.consensus.close(proposal_id))
        if (proposal := self.model.get(proposal_id)) is None:
            assert outcome == "missing"
        else:
            self.settle(proposal, at_once=True)
            assert outcome["status"] == proposal.status

    @rule(proposal_id=IDS)
    def get(self, proposal_id):
        outcome = self.outcome(self.swarm.consensus.get(proposal_id))
        if (proposal := self.model.get(proposal_id)) is None:
            assert outcome == "missing"
        else:
            self.settle(proposal)
            tally = {option: list(proposal.votes.values()).count(option) for option in ("approve", "reject", "abstain")}
            assert (outcome["status"], outcome.get("outcome"), outcome["tally"]) == (
                proposal.status, proposal.outcome, tally,
            )  # fmt: skip

    @invariant()
    def what_is_listed_is_what_the_model_says(self):
        if self.stack is None:
            return
        for proposal in self.model.values():
            self.settle(proposal)
        records = self.runner.run(self.swarm.consensus.list()).records
        found = {record.id: (record.document["status"], record.document.get("outcome")) for record in records}
        assert found == {name: (proposal.status, proposal.outcome) for name, proposal in self.model.items()}


TestTasks = TaskMachine.TestCase
TestTasks.settings = SETTINGS
TestConsensus = ConsensusMachine.TestCase
TestConsensus.settings = SETTINGS
