from __future__ import annotations

import asyncio

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.memory.client import MemoryClient
from swarm_operator.runtime.resource import Resource

SWARM = "test"
"""The swarm of the memory service that the fixture memory_service starts."""
BACKUP = kinds.SWARM_MEMORY_BACKUP
SERVICE_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts")


@pytest.fixture
def account_token(control_plane, admin, namespace):
    """Make ServiceAccounts in the test's namespace, and tokens of theirs."""

    async def make(name: str) -> str:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        await admin.create(SERVICE_ACCOUNTS, account, field_manager="test")
        made = control_plane.kubectl_run("-n", namespace, "create", "token", name)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    return make


@pytest.fixture
def folder(tmp_path):
    """Where the service keeps the backups of the swarm."""
    return tmp_path / "backups" / SWARM


@pytest.fixture
def copies(folder):
    """Names of the complete backups that lie there."""
    return lambda: sorted(path.parent.name for path in folder.glob("*/manifest.json"))


@pytest.fixture
async def serving(objects, start_operator, eventually, memory_service, memory_port, folder):
    """Starts an operator, and a store with this spec whose service has 100 entries and keeps backups."""

    async def start(*flags, **spec):
        operator = start_operator("--memory-url", f"http://127.0.0.1:{memory_port}", *flags)
        await objects.store("s", **{"swarmId": SWARM, "backup": {}} | spec)
        secret = await eventually(lambda: objects.get(kinds.SECRET, "s-auth"), seconds=90)
        folder.parent.mkdir()  # the mount of the volume
        memory_service(secret["data"], memory_port, "--backups", folder.parent.as_uri())
        await eventually(lambda: objects.get(kinds.STATEFUL_SET, "s"))
        token_file = folder.parent.parent / "tokens" / "client-token"
        async with MemoryClient(f"http://127.0.0.1:{memory_port}", token_file=token_file, retry_for=60) as memory:
            await asyncio.gather(*(memory.put("n", f"k{number}", number) for number in range(100)))
        await objects.pretend_ready("s")
        return operator

    return start


@pytest.fixture
def backup(objects):
    async def make(name, **metadata):
        body = {
            "apiVersion": BACKUP.api_version,
            "kind": BACKUP.kind,
            "metadata": {"name": name, "namespace": objects.namespace, **metadata},
            "spec": {"storeRef": {"name": "s"}},
        }
        return await objects.client.create(BACKUP, body, field_manager="user")

    return make


@pytest.fixture
def finished(objects, eventually):
    """Waits for the end of a backup, or of another kind's object, and returns it."""

    async def wait(name, phase="Completed", *, kind=BACKUP):
        async def ended():
            found = await objects.get(kind, name)
            assert found["status"]["phase"] == phase, found["status"]
            return found

        return await eventually(ended, seconds=60)

    return wait
