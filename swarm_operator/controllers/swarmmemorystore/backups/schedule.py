"""Due times of a store's backups.

Due times follow only from the spec and the store's uid, so only the next one has to be stored. The uid spreads the
backups of many stores. Backups by interval are spread over the whole interval, and backups by cron expression over the
first minutes after its time.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from swarm_operator.api.duration import parse_duration
from swarm_operator.api.v1alpha1 import SwarmMemoryStore

CRON_SPREAD = 300
"""Seconds after the time that a cron expression names, within which the backup begins."""


class InvalidScheduleError(Exception):
    """The cron expression or the time zone is not valid. The message names the field and what is allowed."""


def next_due(store: SwarmMemoryStore, after: datetime) -> datetime | None:
    """Return the first time after `after` at which a backup is due, in whole seconds; None without a schedule.

    Raises:
        InvalidScheduleError: the cron expression or the time zone is not valid.
    """
    spec, uid = store.spec, store.metadata.uid
    if spec.backup_interval is not None:
        interval = max(1, round(parse_duration(spec.backup_interval)))
        offset = _hash(uid) % interval
        turns = (int(after.timestamp()) - offset) // interval + 1
        return datetime.fromtimestamp(turns * interval + offset, UTC)
    if spec.backup_schedule is not None:
        later = timedelta(seconds=_hash(uid) % CRON_SPREAD)
        return _next_by_cron(spec.backup_schedule, spec.backup_time_zone, after - later) + later
    return None


def _next_by_cron(expression: str, time_zone: str, after: datetime) -> datetime:
    try:
        zone = ZoneInfo(time_zone)
    except (KeyError, OSError, ValueError) as error:  # no such zone, a folder of zones, no name at all
        message = f"spec.backupTimeZone: {time_zone!r} is not known; a name such as Europe/Berlin is allowed"
        raise InvalidScheduleError(message) from error
    try:
        return next(CronSim(expression, after.astimezone(zone))).astimezone(UTC)
    except CronSimError as error:
        message = f"spec.backupSchedule: {error}; minute, hour, day of month, month and day of week are allowed"
        raise InvalidScheduleError(message) from error
    except StopIteration:
        message = "spec.backupSchedule: names no time within 50 years; a time that comes is allowed"
        raise InvalidScheduleError(message) from None


def _hash(uid: str) -> int:
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "big")
