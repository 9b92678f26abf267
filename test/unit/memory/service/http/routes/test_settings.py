"""`/admin/settings`."""

import asyncio
import logging

import pytest
import structlog
from structlog.testing import LogCapture
from unit.memory.conftest import ADMIN_TOKEN

from swarm_operator.cmd import logs
from swarm_operator.shared.log_level import log_level, set_log_level

OTHERS = {
    "cache_size": 7,
    "cache_memory_mb": 3,
    "compression_threshold": 100,
    "gc_interval_seconds": 90,
    "enable_vacuum": False,
    "search_language": "english",
    "log_level": "warning",
}


@pytest.fixture(autouse=True)
def level():
    """The level of this process's log, which is put back."""
    before = logging.getLogger().level
    yield
    logging.getLogger().setLevel(before)


async def read(service):
    answer = await service.call("GET", "/admin/settings", token=ADMIN_TOKEN)
    assert answer.status == 200
    return answer.json


async def change(service, **members):
    return await service.call("PATCH", "/admin/settings", members, token=ADMIN_TOKEN)


async def test_what_is_changed_is_in_force_and_the_rest_stays(service):
    before = await read(service)
    assert before.keys() == OTHERS.keys()
    answer = await change(service, cache_size=7)
    assert (answer.status, answer.json) == (200, before | {"cache_size": 7})
    assert (await change(service, **OTHERS)).json == OTHERS
    assert await read(service) == OTHERS
    told = (await service.call("GET", "/v1/stats")).json["settings"]
    assert told.items() >= OTHERS.items()
    assert (await change(service)).json == OTHERS
    assert log_level() == "warning"


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"cache_size": 0}, "cache_size"),
        ({"cache_size": 1.5}, "cache_size"),
        ({"cache_size": True}, "cache_size"),
        ({"cache_size": None}, "cache_size"),
        ({"cache_memory_mb": 65_537}, "cache_memory_mb"),
        ({"compression_threshold": "10"}, "compression_threshold"),
        ({"gc_interval_seconds": 0.5}, "gc_interval_seconds"),
        ({"gc_interval_seconds": 1e11}, "gc_interval_seconds"),
        ({"enable_vacuum": 1}, "enable_vacuum"),
        ({"search_language": "welsh"}, "search_language"),
        ({"log_level": "loud"}, "log_level"),
        ({"log_level": ["info"]}, "log_level"),
        ({"enable_wal": False}, "body: unknown member 'enable_wal'"),
    ],
)
async def test_all_are_checked_before_any_is_changed(service, wrong, field):
    before = await read(service)
    good = {name: value for name, value in OTHERS.items() if name not in wrong}
    answer = await change(service, **good, **wrong)
    assert (answer.status, answer.json["field"]) == (400, field)
    assert answer.json["allowed"]
    assert await read(service) == before


async def test_a_change_is_logged_with_whose_it_is(service):
    capture = LogCapture()
    processors = structlog.get_config()["processors"]
    old = processors[:]
    processors[:] = [capture]
    try:
        await change(service, cache_size=9)
        await change(service)
    finally:
        processors[:] = old
    (line,) = [line for line in capture.entries if line["event"] == "administration"]
    assert (line["by"], line["cache_size"]) == ("admin", 9)


async def test_requests_go_on_while_settings_change(service):
    """No request fails, and all read what was written last."""
    ended = asyncio.Event()

    async def use(name):
        number = 0
        while not ended.is_set():
            await service.put(f"n/{name}", {"number": number, "long": "word " * 300})
            answer = await service.call("GET", f"/v1/entries/n/{name}")
            assert (answer.status, answer.json["value"]["number"]) == (200, number)
            number += 1

    users = [asyncio.create_task(use(f"k{number}")) for number in range(5)]
    for number in range(20):
        assert (await change(service, cache_size=1 + number % 3, compression_threshold=number % 2)).status == 200
        assert (await change(service, gc_interval_seconds=1 + number, cache_memory_mb=1 + number % 2)).status == 200
    ended.set()
    await asyncio.gather(*users)


def test_a_level_counts_for_loggers_that_are_in_use(capsys, monkeypatch):
    config, root = structlog.get_config(), logging.getLogger()
    handlers = root.handlers[:]
    monkeypatch.setattr(logging.getLogger("uvicorn.error"), "level", logging.NOTSET)
    try:
        logs.configure("warning")
        log = structlog.get_logger("in use")
        log.info("one")
        set_log_level("debug")
        log.debug("two")
        log.info("three")
        set_log_level("error")
        log.warning("four")
        logging.getLogger("uvicorn.error").warning("five")
        log.error("six")
    finally:
        root.handlers[:] = handlers
        structlog.configure(**config)
    shown = capsys.readouterr().err
    said = [word for word in ("one", "two", "three", "four", "five", "six") if f'"{word}"' in shown]
    assert said == ["two", "three", "six"]
