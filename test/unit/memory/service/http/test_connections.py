"""Many connections together take little of a turn of the event loop."""

import asyncio
from collections import Counter

import pytest

from swarm_operator.memory.service.http.connections import ConnectionLimits, Connections
from swarm_operator.memory.service.settings import ServiceSettings


class Checked:
    peer = "client"

    def __init__(self, checks):
        self._checks = checks

    def check(self, now):
        self._checks[self].append(now)


@pytest.fixture
def connections():
    limits = ConnectionLimits.of(ServiceSettings(), connections=1000)
    return Connections(limits, counted=lambda _: None, port="http")


def test_each_part_is_checked_once_a_second(connections):
    checks = {}
    for _ in range(1000):
        connection = Checked(checks)
        checks[connection] = []
        connections.admit(connection)
    for tick in range(20):
        connections.sweep(tick / 10, tick % 10, 10)
    assert {len(times) for times in checks.values()} == {2}
    assert all(round(later - earlier, 3) == 1 for earlier, later in checks.values())
    # By chance a part has a tenth; all of them at once is what must not be.
    assert max(Counter(times[0] for times in checks.values()).values()) < 500


async def test_two_large_requests_are_read_in_a_turn_and_clients_take_turns(connections):
    read = []
    for number in range(4):
        connections.wait_turn("many", lambda number=number: read.append(f"many {number}"))
    connections.wait_turn("one", lambda: read.append("one"))
    turns = []
    for _ in range(4):
        await asyncio.sleep(0)
        turns.append(read.copy())
        read.clear()
    assert turns == [["many 0", "one"], ["many 1", "many 2"], ["many 3"], []]
    connections.wait_turn("one", lambda: read.append("again"))
    await asyncio.sleep(0)
    assert read == ["again"]
