from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.swarmmemorystore.backups.schedule import CRON_SPREAD, InvalidScheduleError, next_due

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def scheduled(uid="u", **spec):
    return SwarmMemoryStore.model_validate({"metadata": {"name": "bees", "uid": uid}, "spec": spec})


def test_without_a_schedule_nothing_is_due():
    assert next_due(scheduled(), NOON) is None


@given(uid=st.text(max_size=40), seconds=st.integers(1, 10**6), later=st.floats(0, 10**7))
def test_an_interval_is_kept_whenever_one_looks(uid, seconds, later):
    store, now = scheduled(uid, backupInterval=f"{seconds}s"), NOON + timedelta(seconds=later)
    due = next_due(store, now)
    assert now < due <= now + timedelta(seconds=seconds)
    assert due.microsecond == 0, "what is written into the status is what is due"
    assert next_due(store, due) == due + timedelta(seconds=seconds)
    assert next_due(store, due - timedelta(microseconds=1)) == due


def test_an_interval_below_a_second_is_one():
    store = scheduled(backupInterval="1.4s")
    assert next_due(store, NOON) == NOON + timedelta(seconds=1)


def test_200_stores_are_spread_over_the_interval():
    due = [next_due(scheduled(f"uid-{number}", backupInterval="1h"), NOON) for number in range(200)]
    per_minute = [sum(moment.minute == minute for moment in due) for minute in range(60)]
    assert max(per_minute) <= 12
    assert min(due) < NOON + timedelta(minutes=3)
    assert max(due) > NOON + timedelta(minutes=57)


def test_200_stores_are_spread_over_the_first_minutes_after_a_cron_time():
    stores = [scheduled(f"uid-{number}", backupSchedule="0 3 * * *") for number in range(200)]
    late = [(next_due(store, NOON) - datetime(2026, 11, 24, 3, tzinfo=UTC)).total_seconds() for store in stores]
    assert 0 <= min(late) < 0.1 * CRON_SPREAD
    assert 0.9 * CRON_SPREAD < max(late) < CRON_SPREAD
    assert len(set(late)) > 100


@given(uid=st.text(max_size=40), later=st.integers(0, 10**7))
def test_a_cron_expression_names_each_time_once(uid, later):
    store, now = scheduled(uid, backupSchedule="*/10 * * * *"), NOON + timedelta(seconds=later)
    due = next_due(store, now)
    assert now < due <= now + timedelta(minutes=10)
    assert next_due(store, due) == due + timedelta(minutes=10)


def without_spread(store, after):
    """The time that the expression itself names."""
    due = next_due(store, after)
    return due - timedelta(seconds=due.timestamp() % 60, minutes=due.minute % 30)


def test_the_hour_is_that_of_the_time_zone_in_summer_and_in_winter():
    store = scheduled(backupSchedule="0 3 * * *", backupTimeZone="Europe/Berlin")
    winter, summer = (without_spread(store, datetime(2026, month, 10, 12, tzinfo=UTC)) for month in (1, 7))
    assert (winter.hour, summer.hour) == (2, 1)


def test_an_hour_that_the_clocks_skip_or_repeat_is_one_backup():
    store = scheduled(backupSchedule="30 2 * * *", backupTimeZone="Europe/Berlin")
    for day in (datetime(2026, 3, 28, 12, tzinfo=UTC), datetime(2026, 10, 24, 12, tzinfo=UTC)):
        first = next_due(store, day)
        assert (next_due(store, first) - first) > timedelta(hours=20)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"backupSchedule": "61 * * * *"}, "spec.backupSchedule: Bad minute"),
        ({"backupSchedule": "0 0 30 2 *"}, "spec.backupSchedule: "),
        ({"backupSchedule": "x"}, "spec.backupSchedule: "),
        ({"backupSchedule": "0 3 * * *", "backupTimeZone": "Mars/Olympus"}, "spec.backupTimeZone: 'Mars/Olympus'"),
        ({"backupSchedule": "0 3 * * *", "backupTimeZone": "Europe"}, "spec.backupTimeZone: 'Europe'"),
    ],
)
def test_what_is_not_valid_is_told_by_its_field(spec, said):
    with pytest.raises(InvalidScheduleError) as caught:
        next_due(scheduled(**spec), NOON)
    assert str(caught.value).startswith(said)
    assert "allowed" in str(caught.value)
