"""What the tests of restores share: tokens, waiting for a backup or a restore, reading what is stored."""

import asyncio

ADMIN = "admin-0123456789abcdef"


TOKEN = "client-0123456789abcdef"


FORMER = {"former", "former/back", "former/back/memory.db"}


class Gate:
    """Two events: `reached` is set by the task that then waits for `opened`."""

    def __init__(self):
        self.reached, self.opened = asyncio.Event(), asyncio.Event()


async def backed_up(admin, name):
    await admin.backups.make(name)
    state = await admin.backups.wait(name)
    assert state.phase == "Completed", state
    return state


async def ended(admin, name):
    async with asyncio.timeout(90):
        return await admin.restores.wait(name)


def left(service):
    """Return the files of restores in the data directory."""
    folder = service.store.path.parent
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*") if path.relative_to(folder).parts[0] in {"restoring", "former"}
    }  # fmt: skip


async def values(store, namespace="n"):
    return {entry.key: entry.value for entry in (await store.list(namespace, limit=1000)).entries}
