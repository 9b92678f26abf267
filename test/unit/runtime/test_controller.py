import asyncio

import pytest
import structlog

from swarm_operator.runtime import handlers
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.controller import Controller, Result
from swarm_operator.runtime.errors import NotFoundError, ServerError, TerminalError, TooManyRequestsError
from swarm_operator.runtime.resource import Key, Resource
from swarm_operator.runtime.workqueue import LOW_PRIORITY

pytestmark = pytest.mark.virtual_time

A, B = Key("ns", "a"), Key("ns", "b")
GADGETS = Resource("example.com", "v1", "Gadget", "gadgets")


class Scripted:
    """A reconciler that does as it is told, once each, and then succeeds."""

    def __init__(self):
        self.script = []
        self.seen = []
        self.times = []

    async def reconcile(self, key):
        self.seen.append(key)
        self.times.append(asyncio.get_running_loop().time())
        step = self.script.pop(0) if self.script else Result()
        if isinstance(step, BaseException):
            raise step
        return step if isinstance(step, Result) else await step()


@pytest.fixture
def reconciler():
    return Scripted()


@pytest.fixture
def cache():
    return Cache(None)


@pytest.fixture
def controller(name, reconciler, cache, clock, metrics):
    return Controller(name, reconciler, cache, reconcile_timeout=60.0, clock=clock, metrics=metrics)


@pytest.fixture
def counts(name, sample):
    """The counters of the controller that are not 0."""

    def read():
        found = {
            result: sample("controller_runtime_reconcile_total", controller=name, result=result)
            for result in ("success", "error", "requeue", "requeue_after")
        }
        for kind in ("errors", "panics", "timeouts"):
            found[kind] = sample(f"controller_runtime_reconcile_{kind}_total", controller=name)
        found["terminal"] = sample("controller_runtime_terminal_reconcile_errors_total", controller=name)
        return {label: value for label, value in found.items() if value}

    return read


@pytest.fixture
def once(controller, background, clock):
    """Reconciles A, and whatever follows from it within some seconds."""

    async def run(seconds=0.001):
        background(controller.run())
        controller.queue.add(A)
        await clock.sleep(seconds)

    return run


async def test_success_forgets_the_back_off_and_does_not_come_again(once, controller, reconciler, counts):
    controller.queue.add_rate_limited(A)
    await once(10_000)
    assert reconciler.seen == [A]
    assert counts() == {"success": 1}
    assert controller.queue.failures(A) == 0


async def test_a_result_with_a_time_forgets_the_back_off_and_comes_again_then(once, controller, reconciler, counts):
    controller.queue.add_rate_limited(A)
    reconciler.script = [Result(requeue_after=30.0)]
    await once(1000)
    assert reconciler.times == [0.0, pytest.approx(30.0)]
    assert counts() == {"requeue_after": 1, "success": 1}
    assert controller.queue.failures(A) == 0


async def test_an_error_of_the_server_comes_again_after_a_growing_delay(once, controller, reconciler, counts):
    reconciler.script = [ServerError("down", status=500) for _ in range(3)]
    await once(0.014)
    assert reconciler.times == [0.0, pytest.approx(0.005)]
    assert controller.queue.failures(A) == 2
    assert counts() == {"error": 2, "errors": 2}


async def test_success_after_errors_starts_the_delay_over(once, controller, reconciler, counts):
    reconciler.script = [ServerError("down", status=500) for _ in range(3)]
    await once(10)
    assert counts() == {"error": 3, "errors": 3, "success": 1}
    assert controller.queue.failures(A) == 0


async def test_the_server_s_wish_to_wait_is_honoured(once, reconciler):
    reconciler.script = [TooManyRequestsError("busy", status=429, retry_after=20.0)]
    await once(100)
    assert reconciler.times == [0.0, pytest.approx(20.0)]


async def test_an_error_that_is_not_transient_is_tried_again_all_the_same(once, reconciler, counts):
    """It may be due to a cache that is behind; a reconciler that knows better raises TerminalError."""
    reconciler.script = [NotFoundError("gone", status=404)]
    await once(1)
    assert counts() == {"error": 1, "errors": 1, "success": 1}


async def test_a_terminal_error_does_not_come_again_and_keeps_the_failures(once, controller, reconciler, counts):
    controller.queue.add_rate_limited(A)
    reconciler.script = [TerminalError("no way")]
    await once(10_000)
    assert reconciler.seen == [A]
    assert counts() == {"error": 1, "errors": 1, "terminal": 1}
    assert controller.queue.failures(A) == 1


async def test_a_change_after_a_terminal_error_is_reconciled(once, controller, reconciler, settled):
    reconciler.script = [TerminalError("no way")]
    await once()
    controller.queue.add(A)
    await settled()
    assert reconciler.seen == [A, A]


async def test_anything_else_is_a_panic_and_comes_again(once, reconciler, counts, logged):
    reconciler.script = [ZeroDivisionError("oh")]
    await once(1)
    assert counts() == {"error": 1, "errors": 1, "panics": 1, "success": 1}
    assert [entry["log_level"] for entry in logged if entry.get("exc_info")] == ["error"]


async def test_a_cancelled_error_of_a_reconcile_is_a_panic_and_ends_no_worker(once, reconciler, counts, logged):
    async def wait_for_what_is_cancelled():
        task = asyncio.ensure_future(asyncio.sleep(5))
        task.cancel()
        await task

    reconciler.script = [asyncio.CancelledError(), wait_for_what_is_cancelled]
    await once(1)
    assert reconciler.seen == [A, A, A]
    assert counts() == {"error": 2, "errors": 2, "panics": 2, "success": 1}


async def test_a_reconcile_that_takes_too_long_is_cancelled_counted_and_comes_again(
    once, reconciler, counts, clock, logged
):
    async def hang():
        await clock.sleep(1e6)

    reconciler.script = [hang]
    await once(100)
    assert reconciler.times == [0.0, pytest.approx(60.005)]
    assert counts() == {"error": 1, "errors": 1, "timeouts": 1, "success": 1}
    assert any("took longer than 60" in entry.get("error", "") for entry in logged)


async def test_the_default_timeout_of_a_reconcile_is_two_minutes(
    name, reconciler, cache, background, clock, counts, metrics
):
    async def hang():
        await clock.sleep(1e6)

    reconciler.script = [hang]
    controller = Controller(name, reconciler, cache, clock=clock, metrics=metrics)
    background(controller.run())
    controller.queue.add(A)
    await clock.sleep(119.9)
    assert counts() == {}
    await clock.sleep(1)
    assert counts() == {"error": 1, "errors": 1, "timeouts": 1, "success": 1}


async def test_a_timeout_of_the_reconciler_s_own_is_a_panic_and_no_timeout_of_the_reconcile(
    once, reconciler, counts, logged
):
    reconciler.script = [TimeoutError("mine")]
    await once(1)
    assert counts() == {"error": 1, "errors": 1, "panics": 1, "success": 1}
    assert not any("took longer" in entry.get("error", "") for entry in logged)


async def test_a_requeue_keeps_the_priority_of_its_key(controller, reconciler, background, clock):
    reconciler.script = [Result(requeue_after=30.0), ServerError("down", status=500)]
    handed_out = []
    get = controller.queue.get

    async def watched():
        handed_out.append(await get())
        return handed_out[-1]

    controller.queue.get = watched
    background(controller.run())
    controller.queue.add(A, priority=LOW_PRIORITY)
    await clock.sleep(30.1)
    assert handed_out == [(A, LOW_PRIORITY)] * 3


async def test_a_failure_of_one_key_holds_up_no_other(controller, reconciler, background, settled):
    reconciler.script = [ServerError("down", status=500)]
    background(controller.run())
    controller.queue.add(A)
    controller.queue.add(B)
    await settled()
    assert reconciler.seen == [A, B]


@pytest.mark.parametrize("workers", [1, 3])
async def test_as_many_keys_are_worked_on_at_once_as_there_are_workers(
    name, cache, background, settled, clock, metrics, sample, workers
):
    reconciler = Scripted()

    async def work():
        await clock.sleep(5)
        return Result()

    reconciler.script = [work] * 5
    controller = Controller(name, reconciler, cache, workers=workers, clock=clock, metrics=metrics)
    background(controller.run())
    for number in range(5):
        controller.queue.add(Key("ns", str(number)))
    await settled()
    assert len(reconciler.seen) == workers
    assert sample("controller_runtime_active_workers", controller=name) == workers
    assert sample("controller_runtime_max_concurrent_reconciles", controller=name) == workers
    await clock.sleep(100)
    assert len(reconciler.seen) == 5
    assert sample("controller_runtime_active_workers", controller=name) == 0


async def test_the_time_of_a_reconcile_is_measured(once, reconciler, clock, name, sample):
    async def work():
        await clock.sleep(3)
        return Result()

    reconciler.script = [work]
    await once(10)
    assert sample("controller_runtime_reconcile_time_seconds_sum", controller=name) == pytest.approx(3.0)
    assert sample("controller_runtime_reconcile_time_seconds_count", controller=name) == 1


async def test_workers_wait_for_the_kinds_that_are_read_and_for_no_other(
    controller, reconciler, cache, widgets, widget, background, settled
):
    others = Resource("example.com", "v1", "Other", "others")
    cache.add(others)  # another controller's
    controller.watch(widgets)
    controller.reads(GADGETS)
    background(controller.run())
    cache.add(widgets)[0].replaced([widget("a")], "1")
    await settled()
    assert reconciler.seen == []
    cache.add(GADGETS)[0].replaced([widget("g")], "1")
    await settled()
    assert reconciler.seen == [A], "a change of what is only read queues nothing"


async def test_workers_start_only_when_every_informer_has_its_first_list(
    controller, reconciler, cache, widgets, widget, background, settled
):
    controller.watch(widgets)
    controller.watch(GADGETS, handlers.enqueue_by_label("widget"))
    background(controller.run())
    (widget_informer,), (gadget_informer,) = cache.add(widgets), cache.add(GADGETS)
    widget_informer.replaced([widget("a")], "1")
    await settled()
    assert reconciler.seen == []
    gadget_informer.replaced([widget("g", labels={"widget": "b"})], "1")
    await settled()
    assert sorted(reconciler.seen) == [A, B]


async def test_what_was_there_before_goes_behind_what_changes_now(
    controller, reconciler, cache, widgets, widget, background, settled
):
    controller.watch(widgets)
    (informer,) = cache.add(widgets)
    informer.replaced([widget("a", 1), widget("b", 2)], "2")
    informer.changed(widget("c", 3))
    background(controller.run())
    await settled()
    assert reconciler.seen == [Key("ns", "c"), A, B]


async def test_only_changes_that_the_predicate_lets_through_are_reconciled(
    controller, reconciler, cache, widgets, widget, background, settled
):
    controller.watch(widgets, predicate=handlers.spec_or_metadata_changed)
    (informer,) = cache.add(widgets)
    informer.replaced([widget("a", 1, generation=1)], "1")
    background(controller.run())
    await settled()
    informer.changed(widget("a", 2, generation=1))
    await settled()
    assert reconciler.seen == [A]
    informer.changed(widget("a", 3, generation=2))
    await settled()
    assert reconciler.seen == [A, A]


async def test_stopping_lets_the_reconciles_under_way_end_and_drops_the_rest(
    controller, reconciler, background, settled, clock
):
    async def work():
        await clock.sleep(5)
        return Result()

    reconciler.script = [work]
    running = background(controller.run())
    controller.queue.add(A)
    controller.queue.add(B)
    await settled()
    await asyncio.wait_for(controller.stop(), 10)
    assert clock.monotonic() == pytest.approx(5.0)
    await asyncio.wait_for(running, 30)
    assert reconciler.seen == [A]


async def test_stopping_ends_the_wait_for_the_first_list(controller, widgets, background, settled):
    """Otherwise an operator that cannot reach the API server would take its whole grace period to end."""
    controller.watch(widgets)
    running = background(controller.run())
    await settled()
    await asyncio.wait_for(controller.stop(), 1)
    await asyncio.wait_for(running, 30)


async def test_cancelling_cancels_the_reconciles_under_way(controller, reconciler, background, settled, clock):
    cancelled = []

    async def work():
        try:
            await clock.sleep(5)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    reconciler.script = [work]
    running = background(controller.run())
    controller.queue.add(A)
    await settled()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert cancelled == [True]
    assert clock.monotonic() == 0.0


async def test_cancelling_ends_the_wait_for_the_first_list(controller, widgets, background, settled):
    controller.watch(widgets)
    running = background(controller.run())
    await settled()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await settled()
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def test_log_lines_of_a_reconcile_name_it(once, reconciler, name, logged):
    async def work():
        structlog.get_logger("test").info("at work")
        return Result()

    reconciler.script = [work]
    await once()
    (entry,) = [entry for entry in logged if entry["event"] == "at work"]
    assert (entry["controller"], entry["namespace"], entry["name"]) == (name, "ns", "a")
    assert len(entry["reconcileID"]) == 36
    assert structlog.contextvars.get_contextvars() == {}


async def test_the_gauges_of_work_in_progress_are_kept_up_to_date(once, reconciler, clock, name, sample):
    async def work():
        await clock.sleep(10)
        return Result()

    reconciler.script = [work]
    await once(9)
    assert 8 < sample("workqueue_longest_running_processor_seconds", name=name, controller=name) <= 9
