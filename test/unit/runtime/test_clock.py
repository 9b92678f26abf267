from datetime import UTC, datetime, timedelta, timezone

from swarm_operator.runtime.clock import SystemClock, rfc3339, rfc3339_micro


def test_times_are_written_in_utc():
    moment = datetime(2026, 11, 23, 1, 2, 3, 4567, tzinfo=timezone(timedelta(hours=2)))
    assert rfc3339(moment) == "2026-11-22T23:02:03Z"
    assert rfc3339_micro(moment) == "2026-11-22T23:02:03.004567Z"


async def test_the_system_s_clock_moves_forward_while_one_sleeps():
    clock = SystemClock()
    before, wall = clock.monotonic(), clock.now()
    await clock.sleep(0.001)
    assert clock.monotonic() > before
    assert wall.tzinfo is UTC
