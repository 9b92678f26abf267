"""A process that is not whole ends, and says so first; one that is told to stop finishes what it does."""

from __future__ import annotations

import asyncio
import signal
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from aiohttp import web
from fault.breakable import PARTS

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.leader_election import LEASES
from swarm_operator.runtime.resource import Resource

BREAKABLE = Path(__file__).with_name("breakable.py")
ROLES = Resource("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")

STATS = {
    "entries": 42,
    "agents": 0,
    "tasks": 0,
    "patterns": 0,
    "database_size_bytes": 4096,
    "wal_size_bytes": 0,
    "cache": {"hit_rate": None},
    "settings": {},
    "swarm_id": "s",
    "version": "1",
    "sqlite_version": "3",
}


class SlowMemory:
    """A memory service that answers when it is told to: a reconcile that asks it is in progress until then."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.answer = asyncio.Event()
        self.url = ""

    async def handle(self, _) -> web.Response:
        self.asked.set()
        await self.answer.wait()
        return web.json_response(STATS)


@pytest.fixture
async def memory():
    slow = SlowMemory()
    app = web.Application()
    app.router.add_get("/v1/stats", slow.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slow.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield slow
    slow.answer.set()
    await runner.cleanup()


@pytest.fixture
async def start_leader(admin, namespace, memory, start_operator):
    """An operator with all its parts, and a lease in the test's namespace."""
    role = await admin.get(ROLES, "swarm-operator-system", "swarm-operator-leader-election")
    binding = await admin.get(ROLE_BINDINGS, "swarm-operator-system", "swarm-operator-leader-election")
    for resource, obj in ((ROLES, role), (ROLE_BINDINGS, binding)):
        obj["metadata"] = {"name": obj["metadata"]["name"], "namespace": namespace}
        await admin.create(resource, obj, field_manager="test")

    def start(*flags: str, **options):
        election = ("--leader-elect", "--leader-election-namespace", namespace)
        return start_operator("--memory-url", memory.url, *election, *flags, **options)

    return start


@pytest.fixture
def reconciling(objects, memory, eventually):
    """Waits until the operator is in the middle of a reconcile."""

    async def begin() -> None:
        await objects.store("a")

        async def made() -> bool:
            await objects.pretend_ready("a")
            return True

        await eventually(made)
        await asyncio.wait_for(memory.asked.wait(), 60)

    return begin


def health(operator) -> int | None:
    """The status of /healthz; None when nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{operator.health_port}/healthz", timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except (urllib.error.URLError, OSError):
        return None


async def is_held(objects) -> bool:
    return bool((await objects.get(LEASES, "swarm-operator"))["spec"].get("holderIdentity"))


@pytest.mark.parametrize("part", PARTS)
async def test_a_background_task_that_fails_ends_the_process_and_healthz_says_so_first(
    start_leader, memory, reconciling, eventually, part
):
    secure = ("--metrics-secure",) if part == "certificate watcher" else ()
    operator = start_leader(*secure, program=(str(BREAKABLE), part))
    await reconciling()
    assert await asyncio.to_thread(health, operator) == 200
    operator.process.send_signal(signal.SIGUSR1)
    if part in {"controller", "worker", "gauges"}:
        # With the controller gone there may be nothing left to finish.
        memory.answer.set()
    else:

        async def unhealthy() -> bool:
            return await asyncio.to_thread(health, operator) == 500

        await eventually(unhealthy)
        assert operator.process.poll() is None, "what is under way is finished first"
        memory.answer.set()
    assert await asyncio.to_thread(operator.process.wait, 30) == 1
    log = operator.log.read_text()
    assert "a part of the manager has ended" in log
    assert f"the {part} is broken, as the test wants it" in log
    assert '"event": "exiting"' in log


async def test_sigterm_in_the_middle_of_a_reconcile_lets_it_end_and_releases_the_lease_last(
    objects, start_leader, memory, reconciling, eventually
):
    operator = start_leader(program=(str(BREAKABLE), "none"))
    await reconciling()
    operator.process.send_signal(signal.SIGTERM)

    async def stopping() -> bool:
        return '"event": "stopping"' in operator.log.read_text()

    await eventually(stopping)
    assert await is_held(objects)
    assert operator.process.poll() is None
    memory.answer.set()
    assert await asyncio.to_thread(operator.process.wait, 30) == 0
    assert not await is_held(objects)
    store = await objects.get(kinds.SWARM_MEMORY_STORE, "a")
    assert store["status"]["entryCount"] == 42, "the reconcile's last write was made after the signal"
    lease = await objects.get(LEASES, "swarm-operator")
    # One etcd numbers the writes of all kinds.
    assert int(lease["metadata"]["resourceVersion"]) > int(store["metadata"]["resourceVersion"])


async def test_a_reconcile_that_does_not_end_is_given_up_after_the_grace(objects, start_leader, reconciling):
    operator = start_leader("--graceful-shutdown-timeout", "1", program=(str(BREAKABLE), "none"))
    await reconciling()
    operator.process.send_signal(signal.SIGTERM)
    since = time.monotonic()
    assert await asyncio.to_thread(operator.process.wait, 20) == 0, "it took the default grace of 30 s"
    assert time.monotonic() - since >= 1.0
    assert not await is_held(objects)
