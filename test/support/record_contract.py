"""What every protocol guarantees about records, as a table: scenarios of steps, each an operation and its outcome.

A protocol takes part by an adapter (see store_drivers): `await adapter(operation, arguments)` gives
- the record, as a dictionary, or None where there is none;
- the ids of a list;
- True or False for deletions;
- or a Refusal.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Refusal:
    """kind: invalid (detail: the field), missing, state (detail: the reason)."""

    kind: str
    detail: str = ""


def invalid(name):
    return Refusal("invalid", name)


def state(reason):
    return Refusal("state", reason)


MISSING = Refusal("missing")


@dataclass(frozen=True)
class Has:
    """The record has these members, among others, and lacks those."""

    members: dict[str, Any]
    lacks: tuple[str, ...] = ()

    def __eq__(self, other):
        return (
            isinstance(other, dict)
            and all(name in other and other[name] == value for name, value in self.members.items())
            and not any(name in other for name in self.lacks)
        )

    __hash__ = None


@dataclass(frozen=True)
class Step:
    operation: str
    arguments: dict[str, Any]
    outcome: Any


@dataclass(frozen=True)
class Advance:
    """Time goes by."""

    seconds: float


@dataclass(frozen=True)
class Scenario:
    name: str
    steps: list = field(default_factory=list)


def step(operation, outcome, **arguments):
    return Step(operation, arguments, outcome)


def has(*lacks, **members):
    return Has(members, lacks)


AGENTS = [
    Scenario("an agent is registered, alive, stale, gone", [
        step("agents.get", None, id="a1"),
        step("agents.register", has(id="a1", type="coder", status="idle"), id="a1", document={"type": "coder"}),
        step("agents.register", has(type="coder", team=[1, None, "ü"]), id="a1", document={"team": [1, None, "ü"]}),
        step("agents.heartbeat", has(status="busy"), id="a1", status="busy"),
        step("agents.list", [], stale=True),
        Advance(60),
        step("agents.list", ["a1"], stale=True),
        step("agents.list", [], stale=True, stale_after=60.5),
        step("agents.heartbeat", has(status="busy"), id="a1"),
        step("agents.list", ["a1"], stale=False),
        step("agents.deregister", True, id="a1"),
        step("agents.deregister", False, id="a1"),
        step("agents.heartbeat", MISSING, id="a1"),
    ]),
    Scenario("agents are listed by what they are", [
        step("agents.register", has(), id="a1", document={"type": "coder", "capabilities": ["python", "go"]}),
        step("agents.register", has(), id="a2", document={"type": "coder", "status": "busy"}),
        step("agents.register", has(), id="a3", document={"type": "tester", "capabilities": ["go"]}),
        step("agents.list", ["a1", "a2", "a3"]),
        step("agents.list", ["a1", "a2"], type="coder"),
        step("agents.list", ["a1"], type="coder", status="idle"),
        step("agents.list", ["a1", "a3"], capability="go"),
        step("agents.list", ["a1"], limit=1),
        step("agents.list", [], type="queen"),
    ]),
    Scenario("an id may be any text", [
        step("agents.register", has(id=agent_id), id=agent_id, document={})
        for agent_id in ("a/b", "..", ".", "%2F", "ü ?#&", "agent:1", "claim")
    ]),
    Scenario("what is wrong with an agent is named", [
        step("agents.register", invalid("type"), id="a1", document={"type": 1}),
        step("agents.register", invalid("status"), id="a1", document={"status": ""}),
        step("agents.register", invalid("capabilities[1]"), id="a1", document={"capabilities": ["x", None]}),
        step("agents.register", invalid("id"), id="a1", document={"id": "a2"}),
        step("agents.register", invalid("id"), id="x" * 513, document={}),
        step("agents.heartbeat", invalid("status"), id="a1", status="x" * 129),
        step("agents.list", invalid("limit"), limit=1001),
        step("agents.list", invalid("limit"), limit=0),
        step("agents.list", invalid("stale_after"), stale_after=0),
        step("agents.list", invalid("type"), type=""),
        step("agents.list", []),
    ]),
]  # fmt: skip

TASKS = [
    Scenario("a task is created, claimed and completed", [
        step("tasks.create", has(id="t1", status="pending", priority="medium"), document={"id": "t1"}),
        step("tasks.create", state("exists"), document={"id": "t1"}),
        step("tasks.claim", has(status="in_progress", claimedBy="a1", attempts=1), id="t1", agent="a1"),
        step("tasks.claim", state("claimed"), id="t1", agent="a2"),
        step("tasks.set_status", state("not-claimed"), id="t1", status="completed", agent="a2"),
        step("tasks.set_status", has(status="completed", result=[1]), id="t1", status="completed", agent="a1",
             result=[1]),
        step("tasks.claim", state("not-allowed"), id="t1", agent="a1"),
        step("tasks.list", ["t1"], status="completed"),
        step("tasks.list", ["t1"], agent="a1"),
        step("tasks.list", [], status="pending"),
        step("tasks.delete", True, id="t1"),
        step("tasks.get", None, id="t1"),
        step("tasks.delete", False, id="t1"),
    ]),
    Scenario("a lease ends, is renewed, is given back", [
        step("tasks.create", has(), document={"id": "t1"}),
        step("tasks.claim_next", has(id="t1", leaseExpiresAt="2027-01-15T08:00:10.000Z"), agent="a1", lease=10),
        step("tasks.claim_next", None, agent="a2"),
        Advance(5),
        step("tasks.renew", has(leaseExpiresAt="2027-01-15T08:00:15.000Z"), id="t1", agent="a1", lease=10),
        step("tasks.renew", state("not-claimed"), id="t1", agent="a2"),
        Advance(10),
        step("tasks.claim_next", has(id="t1", claimedBy="a2", attempts=2), agent="a2"),
        step("tasks.renew", state("not-claimed"), id="t1", agent="a1"),
        step("tasks.release", state("not-claimed"), id="t1", agent="a1"),
        step("tasks.release", has("claimedBy", "leaseExpiresAt", status="pending"), id="t1", agent="a2", reason="bye"),
    ]),
    Scenario("the next task is the most urgent one", [
        step("tasks.create", has(), document={"id": "low", "priority": "low", "type": "code"}),
        step("tasks.create", has(), document={"id": "high", "priority": 9, "type": "test"}),
        step("tasks.create", has(), document={"id": "mine", "priority": 10, "assignedAgents": ["a9"]}),
        step("tasks.claim_next", has(id="low"), agent="a1", types=["code", "docs"]),
        step("tasks.claim_next", has(id="high"), agent="a1"),
        step("tasks.claim_next", None, agent="a1"),
        step("tasks.assign", has(assignedAgents=[]), id="mine", agents=[]),
        step("tasks.claim_next", has(id="mine"), agent="a1"),
    ]),
    Scenario("a task waits for others", [
        step("tasks.create", invalid("dependencies[0]"), document={"id": "b", "dependencies": ["a"]}),
        step("tasks.create", has(), document={"id": "a"}),
        step("tasks.create", has(), document={"id": "b", "dependencies": ["a"], "priority": "critical"}),
        step("tasks.update", invalid("dependencies[0]"), id="a", document={"dependencies": ["b"]}),
        step("tasks.claim", state("blocked"), id="b", agent="a1"),
        step("tasks.set_status", state("blocked"), id="b", status="in_progress"),
        step("tasks.claim_next", has(id="a"), agent="a1"),
        step("tasks.claim_next", None, agent="a1"),
        step("tasks.set_status", has(), id="a", status="completed"),
        step("tasks.claim_next", has(id="b"), agent="a1"),
    ]),
    Scenario("a task fails and is tried again", [
        step("tasks.create", has(), document={"id": "t1", "maxRetries": 1}),
        step("tasks.claim", has(), id="t1", agent="a1"),
        step("tasks.set_status", has(status="pending", failures=1, error={"no": 1}), id="t1", status="failed",
             agent="a1", error={"no": 1}),
        step("tasks.claim", has(attempts=2), id="t1", agent="a1"),
        step("tasks.set_status", has(status="failed", failures=2), id="t1", status="failed", agent="a1"),
        step("tasks.claim_next", None, agent="a1"),
    ]),
    Scenario("a task is changed as far as callers may", [
        step("tasks.create", has(description="old"), document={"id": "t1", "description": "old", "x": 1}),
        step("tasks.update", has("x", description="new"), id="t1", document={"description": "new", "x": None}),
        step("tasks.update", invalid("status"), id="t1", document={"status": "completed"}),
        step("tasks.update", MISSING, id="t2", document={}),
    ]),
    Scenario("what is wrong with a task is named", [
        step("tasks.create", invalid("priority"), document={"priority": "asap"}),
        step("tasks.create", invalid("dependencies"), document={"dependencies": "a"}),
        step("tasks.create", invalid("maxRetries"), document={"maxRetries": 101}),
        step("tasks.claim", invalid("agent"), id="t1", agent=""),
        step("tasks.claim", invalid("lease"), id="t1", agent="a", lease=-1),
        step("tasks.claim", MISSING, id="t1", agent="a"),
        step("tasks.claim_next", invalid("types"), agent="a", types=[]),
        step("tasks.claim_next", invalid("types[0]"), agent="a", types=[1]),
        step("tasks.set_status", invalid("status"), id="t1", status="done"),
        step("tasks.assign", invalid("agents[0]"), id="t1", agents=[""]),
        step("tasks.release", invalid("reason"), id="t1", agent="a", reason=""),
    ]),
]  # fmt: skip

PATTERNS = [
    Scenario("a pattern is stored, used and found again", [
        step("patterns.store", has(usageCount=0, successRate=0, confidence=0.5), id="p1",
             document={"type": "coordination", "confidence": 0.5}),
        step("patterns.record_use", has(usageCount=1, successRate=0.1), id="p1", success=True),
        step("patterns.store", has(usageCount=1, successRate=0.1, note="x"), id="p1", document={"note": "x"}),
        step("patterns.record_use", has(usageCount=2, successRate=0.09000000000000001), id="p1", success=False),
        step("patterns.list", ["p1"], type="coordination"),
        step("patterns.list", [], type="other"),
        step("patterns.delete", True, id="p1"),
        step("patterns.record_use", MISSING, id="p1", success=True),
        step("patterns.get", None, id="p1"),
    ]),
    Scenario("the best patterns are those with the highest score in a context", [
        step("patterns.store", has(), id="sure", document={"confidence": 1, "tags": ["review"]}),
        step("patterns.store", has(), id="used", document={"confidence": 0.6, "tags": ["review", "code"]}),
        step("patterns.store", has(), id="other", document={"confidence": 0.9, "type": "code"}),
        step("patterns.record_use", has(), id="used", success=True),
        step("patterns.best", ["used", "sure", "other"]),
        step("patterns.best", ["used"], limit=1),
        step("patterns.best", ["used", "other"], tags=["code"]),
        step("patterns.best", ["used", "sure"], tags=["review", "none"]),
        step("patterns.best", [], tags=["none"]),
    ]),
    Scenario("what is wrong with a pattern is named", [
        step("patterns.store", invalid("confidence"), id="p", document={"confidence": 1.1}),
        step("patterns.store", invalid("confidence"), id="p", document={"confidence": True}),
        step("patterns.store", invalid("tags[0]"), id="p", document={"tags": [1]}),
        step("patterns.store", invalid("usageCount"), id="p", document={"usageCount": 5}),
        step("patterns.record_use", invalid("success"), id="p", success="yes"),
        step("patterns.best", invalid("limit"), limit=101),
    ]),
]  # fmt: skip

CONSENSUS = [
    Scenario("named voters decide as soon as enough of them agree", [
        step("consensus.propose", has(status="open", threshold=0.66), document={
            "id": "c1", "voters": ["a", "b", "c"], "threshold": 0.66, "taskId": "t1"}),
        step("consensus.propose", state("exists"), document={"id": "c1"}),
        step("consensus.vote", has(status="open", tally={"approve": 1, "reject": 0, "abstain": 0}), id="c1", agent="a",
             choice="approve"),
        step("consensus.vote", state("not-a-voter"), id="c1", agent="x", choice="approve"),
        step("consensus.vote", has(tally={"approve": 0, "reject": 1, "abstain": 0}), id="c1", agent="a",
             choice="reject"),
        step("consensus.vote", has("outcome", status="open"), id="c1", agent="b", choice="abstain"),
        step("consensus.list", ["c1"], status="open", task="t1"),
        step("consensus.vote", has(status="decided", outcome="reject", decidedAt="2027-01-15T08:00:00.000Z"), id="c1",
             agent="c", choice="reject"),
        step("consensus.vote", has(outcome="reject"), id="c1", agent="c", choice="reject"),
        step("consensus.vote", state("closed"), id="c1", agent="c", choice="approve"),
        step("consensus.vote", state("closed"), id="c1", agent="b", choice="reject"),
        step("consensus.list", [], status="open"),
        step("consensus.delete", True, id="c1"),
        step("consensus.get", None, id="c1"),
    ]),
    Scenario("everyone may vote until the deadline", [
        step("consensus.propose", has(deadline="2027-01-15T08:01:00.000Z"), document={
            "id": "c1", "options": ["red", "green", "blue"], "deadlineSeconds": 60, "minVotes": 3}),
        step("consensus.vote", has(), id="c1", agent="a", choice="red"),
        step("consensus.vote", has(), id="c1", agent="b", choice="red"),
        step("consensus.vote", has(status="open"), id="c1", agent="c", choice="blue"),
        Advance(59.999),
        step("consensus.get", has(status="open"), id="c1"),
        Advance(0.001),
        step("consensus.list", ["c1"], status="decided"),
        step("consensus.vote", state("closed"), id="c1", agent="d", choice="blue"),
        step("consensus.get", has(status="decided", outcome="red", decidedAt="2027-01-15T08:01:00.000Z"), id="c1"),
    ]),
    Scenario("half is not more than half, and too few are none", [
        step("consensus.propose", has(), document={"id": "half"}),
        step("consensus.vote", has(), id="half", agent="a", choice="approve"),
        step("consensus.vote", has(), id="half", agent="b", choice="reject"),
        step("consensus.close", has(status="failed", outcome=None), id="half"),
        step("consensus.close", has(status="failed"), id="half"),
        step("consensus.propose", has(), document={"id": "few", "minVotes": 2}),
        step("consensus.vote", has(), id="few", agent="a", choice="approve"),
        step("consensus.close", has(status="failed"), id="few"),
        step("consensus.propose", has(), document={"id": "none"}),
        step("consensus.close", has(status="failed"), id="none"),
    ]),
    Scenario("what is wrong with a proposal is named", [
        step("consensus.propose", invalid("options"), document={"options": ["one"]}),
        step("consensus.propose", invalid("options"), document={"options": ["yes", "abstain"]}),
        step("consensus.propose", invalid("threshold"), document={"threshold": 0.4}),
        step("consensus.propose", invalid("voters"), document={"voters": []}),
        step("consensus.propose", invalid("minVotes"), document={"minVotes": 0}),
        step("consensus.propose", invalid("deadlineSeconds"), document={"deadlineSeconds": 0}),
        step("consensus.propose", invalid("status"), document={"status": "decided"}),
        step("consensus.propose", invalid("votes"), document={"votes": {}}),
        step("consensus.propose", has(), document={"id": "c1"}),
        step("consensus.vote", invalid("choice"), id="c1", agent="a", choice="maybe"),
        step("consensus.vote", invalid("choice"), id="c1", agent="a", choice=["approve"]),
        step("consensus.vote", invalid("agent"), id="c1", agent="", choice="approve"),
        step("consensus.vote", MISSING, id="c2", agent="a", choice="approve"),
        step("consensus.close", MISSING, id="c2"),
    ]),
]  # fmt: skip

BULLETINS = [
    Scenario("coordination is kept for an hour", [
        step("coordination.get", None, id="plan/a"),
        step("coordination.put", True, id="plan/a", state={"step": [1, None]}),
        step("coordination.get", {"step": [1, None]}, id="plan/a"),
        step("coordination.put", True, id="plan/a", state="text"),
        step("coordination.get", "text", id="plan/a"),
        Advance(3599.999),
        step("coordination.get", "text", id="plan/a"),
        Advance(0.001),
        step("coordination.get", None, id="plan/a"),
        step("coordination.delete", False, id="plan/a"),
        step("coordination.put", invalid("key"), id="x" * 1025, state=1),
    ]),
    Scenario("metrics are kept for a week", [
        step("metrics.store", has(id="m1", ms=5), id="m1", document={"type": "latency", "agentId": "a", "ms": 5}),
        step("metrics.list", ["m1"], type="latency", agent="a"),
        step("metrics.list", [], agent="b"),
        Advance(7 * 86_400),
        step("metrics.get", None, id="m1"),
        step("metrics.store", invalid("type"), id="m1", document={"type": 5}),
    ]),
]  # fmt: skip

LEASES = [
    Scenario("a lease is held by one agent at a time, and a holder that was killed is replaced when it ends", [
        step("leases.get", None, id="queen"),
        step("leases.renew", MISSING, id="queen", agent="a1"),
        step("leases.claim", has(holder="a1", term=1, leaseExpiresAt="2027-01-15T08:00:10.000Z"), id="queen",
             agent="a1", lease=10),
        step("leases.claim", state("claimed"), id="queen", agent="a2"),
        Advance(9),
        step("leases.get", has(held=True, holder="a1"), id="queen"),
        step("leases.claim", state("claimed"), id="queen", agent="a2"),
        Advance(1),
        step("leases.get", has(held=False, holder="a1", term=1), id="queen"),
        step("leases.claim", has(holder="a2", term=2, leaseExpiresAt="2027-01-15T08:00:40.000Z"), id="queen",
             agent="a2"),
        step("leases.renew", state("not-claimed"), id="queen", agent="a1"),
        step("leases.release", state("not-claimed"), id="queen", agent="a1"),
        step("leases.claim", state("claimed"), id="queen", agent="a1"),
    ]),
    Scenario("the holder of a lease renews it, late too, and its term stays", [
        step("leases.claim", has(term=1), id="queen", agent="a1", lease=10),
        Advance(5),
        step("leases.claim", has("held", term=1, claimedAt="2027-01-15T08:00:00.000Z",
                                 leaseExpiresAt="2027-01-15T08:00:15.000Z"), id="queen", agent="a1", lease=10),
        Advance(60),
        step("leases.renew", has(term=1, leaseExpiresAt="2027-01-15T08:01:35.000Z"), id="queen", agent="a1"),
        step("leases.claim", state("claimed"), id="queen", agent="a2"),
    ]),
    Scenario("a lease that was given back is free at once, and its term only grows", [
        step("leases.claim", has(term=1), id="queen", agent="a1"),
        step("leases.release", has("holder", "leaseExpiresAt", "claimedAt", term=1), id="queen", agent="a1"),
        step("leases.get", has(held=False, term=1), id="queen"),
        step("leases.release", state("not-claimed"), id="queen", agent="a1"),
        step("leases.renew", state("not-claimed"), id="queen", agent="a1"),
        step("leases.claim", has(term=2), id="queen", agent="a1", lease=1),
        Advance(1),
        step("leases.claim", has(term=3), id="queen", agent="a1"),
    ]),
    Scenario("what is wrong with a lease is named", [
        step("leases.claim", invalid("agent"), id="queen", agent=""),
        step("leases.claim", invalid("lease"), id="queen", agent="a", lease=-1),
        step("leases.renew", invalid("agent"), id="queen", agent=""),
        step("leases.release", MISSING, id="queen", agent="a"),
    ]),
]  # fmt: skip

SCENARIOS = [*AGENTS, *TASKS, *PATTERNS, *CONSENSUS, *LEASES, *BULLETINS]
