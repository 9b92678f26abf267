"""Deadlines of connections are checked in parts, and each connection once a second."""

from collections import Counter

from swarm_operator.memory.service.http.connections import ConnectionLimits, Connections
from swarm_operator.memory.service.settings import ServiceSettings


class Checked:
    peer = "client"

    def __init__(self, checks):
        self._checks = checks

    def check(self, now):
        self._checks[self].append(now)


def test_each_part_is_checked_once_a_second():
    limits = ConnectionLimits.of(ServiceSettings(), connections=1000)
    connections = Connections(limits, counted=lambda _: None, port="http")
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
