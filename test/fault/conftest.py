import secrets

import pytest
from aiohttp import web
from fault.memories import Memories
from fault.world import EXPANDABLE, STORAGE_CLASSES, World

from swarm_operator.runtime.errors import NotFoundError
from swarm_operator.runtime.resource import Resource

NAMESPACES = Resource("", "v1", "Namespace", "namespaces", namespaced=False)


@pytest.fixture
def new_world(control_plane, admin):
    async def make(*others: str) -> World:
        """Make a namespace. `others` end the names of those that its cluster asks for besides; nobody makes them."""
        name = f"fault-{secrets.token_hex(4)}"
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
        await admin.create(NAMESPACES, body, field_manager="test")
        expandable = {
            "apiVersion": STORAGE_CLASSES.api_version,
            "kind": STORAGE_CLASSES.kind,
            "metadata": {"name": EXPANDABLE},
            "provisioner": "example.com/none",
            "allowVolumeExpansion": True,
        }
        await admin.apply(STORAGE_CLASSES, expandable, field_manager="test")
        return World(control_plane, admin, name, tuple(f"{name}-{other}" for other in others))

    return make


@pytest.fixture
def in_time(eventually):
    async def wait(check):
        try:
            return await eventually(check, seconds=90)
        except NotFoundError as error:
            raise AssertionError(str(error)) from error

    return wait


@pytest.fixture
async def memories():
    """The services, and the flag with which an operator reaches them."""
    served = Memories()
    runner = web.AppRunner(served.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield served, f"http://127.0.0.1:{runner.addresses[0][1]}/{{namespace}}"
    await runner.cleanup()
