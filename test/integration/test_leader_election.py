"""Two managers and one lease, on a real API server, with the rights of the deployed Role."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
import yaml

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.leader_election import LEASES

ROLE = Path(__file__).resolve().parents[2] / "config/rbac/leader_election_role.yaml"
TIMES = (
    *("--leader-election-lease-duration", "3", "--leader-election-renew-deadline", "2"),
    *("--leader-election-retry-period", "0.3"),
)


@pytest.fixture
def start_candidate(control_plane, namespace, start_operator):
    """Start managers that compete for a lease in the test's namespace."""
    role, binding = yaml.safe_load_all(ROLE.read_text())
    role["metadata"]["namespace"] = binding["metadata"]["namespace"] = namespace
    binding["subjects"][0].update(name="swarm-operator-controller-manager", namespace="swarm-operator-system")
    applied = control_plane.kubectl_run("apply", "-f", "-", stdin=yaml.safe_dump_all([role, binding]))
    assert applied.returncode == 0, applied.stderr
    return lambda **options: start_operator(
        "--leader-elect", "--leader-election-namespace", namespace, *TIMES, **options
    )


async def leads(operator) -> bool:
    return operator.ready() and operator.metric('leader_election_master_status{name="swarm-operator"}') == 1


async def reconciles(objects, eventually, name: str) -> None:
    """Somebody makes what a new store needs."""
    await objects.store(name)

    async def made():
        return await objects.get(kinds.STATEFUL_SET, name)

    await eventually(made)


async def test_only_the_leader_writes_and_the_other_stands_by_with_a_full_queue(objects, start_candidate, eventually):
    leader = start_candidate()
    await eventually(lambda: leads(leader))
    standby = start_candidate()
    await eventually(lambda: asyncio.to_thread(standby.ready))
    await reconciles(objects, eventually, "a")

    async def queued() -> bool:
        return standby.metric('workqueue_depth{controller="swarmmemorystore"') >= 1

    await eventually(queued)
    assert standby.metric('leader_election_master_status{name="swarm-operator"}') == 0
    assert standby.metric("controller_runtime_reconcile_total") == 0
    assert standby.writes() == 0


async def test_sigterm_hands_the_lease_over_at_once(objects, start_candidate, eventually):
    leader = start_candidate()
    await eventually(lambda: leads(leader))
    standby = start_candidate()
    await eventually(lambda: asyncio.to_thread(standby.ready))
    assert await asyncio.to_thread(leader.terminate) == 0
    lease = await objects.get(LEASES, "swarm-operator")
    assert lease["spec"]["leaseTransitions"] <= 1
    await eventually(lambda: leads(standby))
    await reconciles(objects, eventually, "a")


async def test_after_a_kill_9_the_other_takes_over_when_the_lease_has_run_out(objects, start_candidate, eventually):
    leader = start_candidate()
    await eventually(lambda: leads(leader))
    standby = start_candidate()
    await eventually(lambda: asyncio.to_thread(standby.ready))
    leader.kill()
    await eventually(lambda: leads(standby))
    await reconciles(objects, eventually, "a")
    lease = await objects.get(LEASES, "swarm-operator")
    assert lease["spec"]["leaseTransitions"] == 1


async def test_a_leader_that_was_stopped_past_its_lease_ends_before_it_writes(objects, start_candidate, eventually):
    leader = start_candidate()
    await eventually(lambda: leads(leader))
    standby = start_candidate()
    await eventually(lambda: asyncio.to_thread(standby.ready))
    writes = leader.writes()
    os.kill(leader.process.pid, signal.SIGSTOP)
    await eventually(lambda: leads(standby))
    await reconciles(objects, eventually, "a")
    os.kill(leader.process.pid, signal.SIGCONT)
    assert await asyncio.to_thread(leader.process.wait, 60) == 1
    log = leader.log.read_text()
    assert "leader election has ended" in log
    assert '"event": "applying"' not in log
    assert writes > 0


@pytest.mark.parametrize("fault", ["refuses", "hangs"])
async def test_a_leader_whose_api_server_is_away_past_the_deadline_ends_and_the_other_takes_over(
    objects, start_candidate, second_apiserver, eventually, fault
):
    leader = start_candidate(plane=second_apiserver.plane)
    await eventually(lambda: leads(leader), seconds=60)
    standby = start_candidate()
    await eventually(lambda: asyncio.to_thread(standby.ready))
    if fault == "refuses":
        second_apiserver.kill()
    else:
        second_apiserver.signal(signal.SIGSTOP)
    assert await asyncio.to_thread(leader.process.wait, 60) == 1
    assert "leader election has ended" in leader.log.read_text()
    await eventually(lambda: leads(standby))
    await reconciles(objects, eventually, "a")


async def test_times_that_do_not_fit_are_refused(start_operator):
    operator = start_operator("--leader-elect", "--leader-election-lease-duration", "5")
    assert await asyncio.to_thread(operator.process.wait, 60) == 2
    assert "lease duration > renew deadline > 1.2 * retry period > 0; got 5 s, 10 s, 2 s" in operator.log.read_text()
