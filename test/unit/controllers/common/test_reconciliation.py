import pytest

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.errors import NameTakenError
from swarm_operator.controllers.common.reconciliation import Outcome, Step, StepReconciler, done, failed, waiting
from swarm_operator.runtime.controller import Result
from swarm_operator.runtime.errors import Cause, ConflictError, ForbiddenError, InvalidError, ServerError, TerminalError
from swarm_operator.runtime.resource import key_of

STORE = kinds.SWARM_MEMORY_STORE


async def test_a_status_that_says_nothing_new_is_not_written(write, client, clock, recorder):
    await write({"phase": "Ready", "entryCount": 3}, Ready=(True, "Available"))
    client.requests.clear()
    recorder.events.clear()
    clock.advance(3600)
    await write({"phase": "Ready", "entryCount": 3}, Ready=(True, "Available"))
    assert client.requests == []
    assert recorder.events == []


@pytest.mark.parametrize(
    "change", [{"phase": "Error"}, {"entryCount": 4}, {"entryCount": None}, {"storageReady": True}]
)
async def test_a_status_that_says_something_new_is_written_once(write, client, change):
    status = {"phase": "Ready", "entryCount": 3}
    await write(status, Ready=(True, "Available"))
    client.requests.clear()
    await write(status | change, Ready=(True, "Available"))
    await write(status | change, Ready=(True, "Available"))
    assert client.requests == [("apply status", "SwarmMemoryStore", "bees")]


async def test_what_is_not_known_is_absent_and_never_null(write, cache, obj):
    await write({"phase": "Ready", "entryCount": None, "databaseSize": 0}, Ready=(True, "Available"))
    status = cache.get(STORE, key_of(obj))["status"]
    assert "entryCount" not in status
    assert status["databaseSize"] == 0
    assert status["observedGeneration"] == 1


async def test_a_new_generation_is_acknowledged(write, seen, cache, obj):
    await write(Ready=(True, "Available"))
    live = cache.get(STORE, key_of(obj))
    seen(STORE, live | {"metadata": live["metadata"] | {"generation": 2}})
    assert (await write(Ready=(True, "Available")))["Ready"]["observedGeneration"] == 2
    assert cache.get(STORE, key_of(obj))["status"]["observedGeneration"] == 2


async def test_the_write_is_for_one_uid_only(reconciliation, recorder, obj, client):
    applied = []

    async def apply(resource, sent, **options):
        applied.append((sent, options))
        raise ConflictError("another uid", status=409)

    client.apply = apply
    with pytest.raises(ConflictError):
        await reconciliation(obj).write_status({"phase": "Ready"})
    ((sent, options),) = applied
    assert sent["metadata"] == {"name": "bees", "namespace": "ns", "uid": "uid-bees"}
    assert options["subresource"] == "status"
    assert recorder.events == []


@pytest.fixture
def stored(store_object, seen):
    """A store with a status."""
    return seen(STORE, store_object() | {"status": {"phase": "Ready", "entryCount": 3}})


@pytest.fixture
def run(caching, recorder, clock, stored):
    """Runs one pass with steps that do as they are told."""

    async def call(*steps):
        return await StepReconciler(STORE, SwarmMemoryStore, steps, caching, recorder, clock).reconcile(key_of(stored))

    return call


@pytest.fixture
def status(cache, stored):
    return lambda: cache.get(STORE, key_of(stored))["status"]


@pytest.fixture
def conditions(status):
    """All conditions but those that follow from Ready: see TestProgress."""

    def read():
        found = {c["type"]: (c["status"], c["reason"], c["message"]) for c in status()["conditions"]}
        return {type_: said for type_, said in found.items() if type_ not in {"Reconciling", "Stalled"}}

    return read


def step(name, does, *needs, **attributes):
    """A step of a class of its own that returns an outcome or raises an error."""

    async def run(self, r):
        self.ran = True
        if isinstance(does, Exception):
            raise does
        r.status |= attributes.get("status", {})
        return does

    condition, reports = attributes.get("condition", ""), attributes.get("reports", ())
    fields = {"run": run, "needs": needs, "ran": False, "condition": condition, "reports": reports}
    return type(name, (Step,), fields)()


def ready(outcome=None):
    return step("Primary", outcome or done("Available", "it answers"), condition="Ready")


class TestConditionsComeFromOutcomes:
    @pytest.mark.parametrize(
        ("outcome", "status_of_it", "phase"),
        [
            (done("Available", "it answers"), "True", "Ready"),
            (waiting("WaitingForPod", "not yet"), "False", "Initializing"),
            (failed("CrashLoopBackOff", "oh"), "False", "Error"),
        ],
    )
    async def test_ready_and_the_phase(self, run, status, conditions, outcome, status_of_it, phase):
        assert await run(ready(outcome)) == Result()
        assert conditions() == {"Ready": (status_of_it, outcome.reason, outcome.message)}
        assert status()["phase"] == phase

    async def test_a_step_has_a_condition_of_its_own_that_does_not_decide_ready(self, run, conditions):
        await run(step("Volume", waiting("WaitingForVolume", "no volume"), condition="StorageReady"), ready())
        assert conditions() == {
            "StorageReady": ("False", "WaitingForVolume", "no volume"),
            "Ready": ("True", "Available", "it answers"),
        }

    async def test_of_several_steps_the_first_that_is_not_done_decides_ready(self, run, conditions):
        await run(
            step("A", done("Available"), condition="Ready"),
            step("B", waiting("WaitingForB", "b"), condition="Ready"),
            step("C", failed("BrokenC", "c"), condition="Ready"),
        )
        assert conditions()["Ready"] == ("False", "WaitingForB", "b")

    async def test_an_error_of_any_step_goes_before_them(self, run, conditions):
        with pytest.raises(InvalidError):
            await run(ready(), step("Odd", InvalidError("odd", status=422), condition="StorageReady"))
        unknown = ("Unknown", "Pending", "not checked yet: see Ready")
        assert conditions() == {"Ready": ("False", "Refused", "odd"), "StorageReady": unknown}


class TestProgress:
    """kstatus: an object with neither is as wanted if it is Ready; each says so only while it is True."""

    @pytest.fixture
    def progress(self, status):
        def read():
            found = {c["type"]: c for c in status()["conditions"] if c["type"] in {"Reconciling", "Stalled"}}
            assert all((c["status"], c["observedGeneration"]) == ("True", 1) for c in found.values())
            return {type_: (c["reason"], c["message"]) for type_, c in found.items()}

        return read

    async def test_each_is_there_while_it_is_true(self, run, progress):
        await run(ready(waiting("WaitingForPod", "not yet")))
        assert progress() == {"Reconciling": ("WaitingForPod", "not yet")}
        await run(ready(failed("CrashLoopBackOff", "oh")))
        assert progress() == {"Stalled": ("CrashLoopBackOff", "oh")}
        await run(ready(waiting("WaitingForPod", "again")))
        assert progress() == {"Reconciling": ("WaitingForPod", "again")}
        await run(ready())
        assert progress() == {}

    async def test_an_error_that_is_reported_stalls(self, run, progress):
        await run(ready(), step("Odd", NameTakenError(kinds.SERVICE, "bees")))
        assert progress().keys() == {"Stalled"}

    async def test_neither_is_told_by_an_event(self, run, recorder):
        await run(ready(failed("CrashLoopBackOff", "oh")))
        assert recorder.reasons == ["CrashLoopBackOff"]


class TestAllConditionsAreThere:
    @pytest.fixture
    def steps(self):
        """A step that fails, one that needs it and has a condition, and one that reports a further one."""

        def make(error):
            first = step("First", error, condition="StorageReady")
            second = step("Second", done("Fine"), type(first), condition="Writable")
            third = step("Third", done("Fine"), reports=("Reachable",))
            return first, second, third, ready()

        return make

    async def test_a_name_that_is_taken_leaves_them_unknown_and_makes_one_event(self, run, steps, conditions, recorder):
        await run(*steps(NameTakenError(kinds.SERVICE, "bees")))
        unknown = ("Unknown", "Pending", "not checked yet: see Ready")
        assert conditions()["Ready"][:2] == ("False", "NameTaken")
        assert {name: found for name, found in conditions().items() if name != "Ready"} == dict.fromkeys(
            ("StorageReady", "Writable", "Reachable"), unknown
        )
        assert recorder.reasons == ["NameTaken"]

    async def test_so_does_a_spec_that_is_not_valid(self, run, steps, conditions, seen, stored):
        seen(STORE, stored | {"spec": {"storageSize": "lots"}})
        with pytest.raises(TerminalError):
            await run(*steps(done()))
        assert {name: found[1] for name, found in conditions().items()} == {
            "Ready": "InvalidSpec",
            **dict.fromkeys(("StorageReady", "Writable", "Reachable"), "Pending"),
        }

    async def test_what_was_judged_before_stays(self, run, steps, conditions):
        first, second, third, last = steps(done("Bound"))
        await run(first, second, third, last)
        await run(*steps(NameTakenError(kinds.SERVICE, "bees")))
        assert conditions()["StorageReady"][:2] == ("True", "Bound")


class TestPaused:
    @pytest.fixture
    def paused(self, seen, stored, cache):
        """paused(True) sets spec.paused of the stored object."""

        def set_to(value):
            live = cache.get(STORE, key_of(stored))
            metadata = {**live["metadata"], "generation": live["metadata"]["generation"] + 1}
            seen(STORE, {**live, "spec": {"paused": value}, "metadata": metadata})

        return set_to

    async def test_no_step_runs_and_the_rest_of_the_status_stays(
        self, run, paused, status, conditions, recorder, client
    ):
        first = ready()
        paused(True)
        assert await run(first) == Result()
        assert not first.ran
        assert {name: found[:2] for name, found in conditions().items()} == {"Paused": ("True", "Paused")}
        assert (status()["phase"], status()["entryCount"]) == ("Ready", 3)
        assert recorder.reasons == ["Paused"]
        client.requests.clear()
        await run(first)
        assert client.requests == []

    async def test_it_goes_on_where_it_was(self, run, paused, conditions):
        paused(True)
        await run(ready())
        paused(False)
        await run(ready())
        assert {name: found[:2] for name, found in conditions().items()} == {"Ready": ("True", "Available")}


class TestSteps:
    async def test_the_earliest_requeue_of_all_counts(self, run):
        steps = [step(name, done(requeue_after=seconds)) for name, seconds in (("A", 7.0), ("B", 3.0), ("C", 0.0))]
        assert await run(ready(), *steps) == Result(requeue_after=3.0)

    @pytest.mark.parametrize(
        "outcome", [waiting("Migrating", "soon", blocks=True), failed("MigrationFailed", "oh", blocks=True)]
    )
    async def test_an_outcome_that_blocks_skips_the_steps_that_need_it_and_theirs(self, run, conditions, outcome):
        first = step("First", outcome)
        second = step("Second", done("Available"), type(first), condition="Ready")
        third = step("Third", done(), type(second))
        other = step("Other", done())
        await run(first, second, third, other)
        assert [each.ran for each in (first, second, third, other)] == [True, False, False, True]
        assert conditions()["Ready"] == ("False", outcome.reason, outcome.message)

    async def test_an_outcome_that_does_not_block_skips_none(self, run):
        first = step("First", waiting("WaitingForVolume", "no volume"))
        second = step("Second", done("Available"), type(first), condition="Ready")
        await run(first, second)
        assert second.ran

    async def test_an_error_skips_the_steps_that_need_it(self, run):
        first = step("First", ServerError("down", status=500))
        second = step("Second", done("Available"), type(first), condition="Ready")
        other = step("Other", done())
        with pytest.raises(ServerError):
            await run(first, second, other)
        assert [second.ran, other.ran] == [False, True]

    async def test_a_bug_is_not_taken_for_the_failure_of_a_child(self, run, client):
        with pytest.raises(KeyError):
            await run(step("Bug", KeyError("x")), ready())
        assert client.writes() == []

    def test_an_outcome_says_when_to_come_back_and_whether_it_is_done(self):
        assert done("A", "b", requeue_after=3.0) == Outcome("Ready", "A", "b", 3.0, blocks=False)
        assert [outcome.is_done for outcome in (done(), waiting("A", "b"), failed("A", "b"))] == [True, False, False]


class TestErrors:
    async def test_a_spec_that_is_not_valid_is_an_error_until_it_changes(self, run, seen, stored, conditions):
        seen(STORE, stored | {"spec": {"storageSize": "lots", "cacheSize": 0}})
        first = ready()
        with pytest.raises(TerminalError, match=r"spec\.storageSize"):
            await run(first)
        status, reason, message = conditions()["Ready"]
        assert (status, reason) == ("False", "InvalidSpec")
        assert "spec.storageSize: " in message
        assert "; spec.cacheSize: " in message
        assert not first.ran

    async def test_what_the_server_finds_invalid_is_tried_again(self, run, conditions):
        error = InvalidError("field is immutable", status=422)
        with pytest.raises(InvalidError) as caught:
            await run(step("Odd", error), ready())
        assert caught.value is error
        assert conditions()["Ready"] == ("False", "Refused", "field is immutable")

    async def test_what_is_forbidden_is_tried_again(self, run, conditions):
        with pytest.raises(ForbiddenError):
            await run(step("Odd", ForbiddenError("exceeded quota", status=403)), ready())
        assert conditions()["Ready"][1] == "Forbidden"

    async def test_a_namespace_on_its_way_out_is_no_error(self, run, client):
        error = ForbiddenError("terminating", status=403, causes=(Cause("", "", "NamespaceTerminating"),))
        other = ready()
        assert await run(step("Odd", error), other) == Result()
        assert client.writes() == []
        assert not other.ran

    async def test_a_name_that_is_taken_is_looked_at_again_after_a_minute(self, run, conditions):
        assert await run(step("Odd", NameTakenError(kinds.SERVICE, "bees")), ready()) == Result(requeue_after=60.0)
        assert conditions()["Ready"][1] == "NameTaken"

    async def test_the_rest_of_the_status_stays(self, run, status, recorder):
        found = step("Found", done(), status={"databaseSize": 9, "taskCount": None})
        await run(step("Odd", NameTakenError(kinds.SERVICE, "bees")), found, ready())
        assert (status()["entryCount"], status()["databaseSize"]) == (3, 9)
        assert status()["phase"] == "Error"
        assert [(kind, reason) for kind, reason, _ in recorder.events] == [("Warning", "NameTaken")]

    async def test_an_error_that_is_only_retried_writes_no_status(self, run, client, stored, cache, logged):
        errors = [ConflictError("changed", status=409), ServerError("down", status=500)]
        with pytest.raises(ConflictError):
            await run(step("A", errors[0]), step("B", errors[1]), ready())
        assert client.writes() == []
        assert cache.get(STORE, key_of(stored))["status"] == stored["status"]
        assert [entry["error"] for entry in logged] == ["down"], "the controller logs the first"

    async def test_a_name_that_is_taken_does_not_keep_an_error_from_being_retried(self, run):
        with pytest.raises(ServerError):
            await run(
                step("A", NameTakenError(kinds.SERVICE, "bees")), step("B", ServerError("down", status=500)), ready()
            )
