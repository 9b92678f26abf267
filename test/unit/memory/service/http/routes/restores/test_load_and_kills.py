"""Restores under load, and killed at any moment."""

import asyncio
import random
import signal

from support.restores import TOKEN, backed_up, ended, values

from swarm_operator.memory.client import (
    MemoryClient,
    MemoryConflictError,
)
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.sqlite.backup.replace import MARGIN
from swarm_operator.memory.sqlite.backup.verify import check


async def test_under_load_no_read_fails_and_writers_wait_by_themselves(service, admin, root):
    """Clients with the client's own retries see nothing; a plain writer sees 503 with Retry-After and nothing else.

    Each acknowledged write is in the safety backup or in the new data.
    """
    for number in range(50):
        await admin.put("n", f"k{number}", "old")
    await backed_up(admin, "monday")
    for number in range(50):
        await admin.put("n", f"k{number}", "new")
    done, refusals, stale, acknowledged, before = asyncio.Event(), [], [], {}, {}
    url = f"http://127.0.0.1:{service.port}"

    async def read(client):
        while not done.is_set():
            entry = await client.get("n", f"k{random.randrange(50)}")
            assert entry.value in {"old", "new"}
            page = await client.list("n", limit=50)
            assert {each.value for each in page.entries} in ({"old"}, {"new"})
            await client.search(namespace="n", text="old")

    async def write(client, name):
        """Wait for the restore without a limit. Writes that are acknowledged after it stay."""
        number = 0
        while not done.is_set():
            number += 1
            head = await client.put("w", name, number)
            acknowledged[name] = (head.version, number)
            if head.version < MARGIN:
                before[name] = (head.version, number)

    async def write_plainly():
        number = 0
        while not done.is_set():
            number += 1
            answer = await service.call("PUT", "/v1/entries/w/plain", {"value": number})
            if answer.status not in {200, 201}:
                refusals.append((answer.status, answer.headers.get("retry-after"), answer.json["type"]))

    async def compare_and_set(client):
        """With a version from before the restore: never."""
        version = (await client.get("n", "k0")).version
        while not done.is_set():
            try:
                await client.put("n", "k0", "stale", if_version=version + 1000)
            except MemoryConflictError:
                continue
            stale.append(version)

    async with (
        MemoryClient(url, token=TOKEN, retries=0) as plain,
        MemoryClient(url, token=TOKEN) as patient,
    ):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3):
                tasks.create_task(read(plain))
            tasks.create_task(write(patient, "one"))
            tasks.create_task(write(patient, "two"))
            tasks.create_task(write_plainly())
            tasks.create_task(compare_and_set(patient))
            await admin.restores.ask("back", backup="monday")
            restored = await ended(admin, "back")
            assert restored.phase == "Completed"
            former = dict(acknowledged)
            async with asyncio.timeout(60):
                while any(acknowledged[name] == former[name] for name in former):  # noqa: ASYNC110 - a poll of counters
                    await asyncio.sleep(0.01)
            done.set()
        assert set(refusals) <= {(503, "1", "urn:swarm-memory:problem:restoring")}
        assert stale == []
        assert {each.value for each in (await plain.list("n", limit=50)).entries} == {"old"}
        for name, (version, number) in acknowledged.items():
            entry = await plain.get("w", name)
            assert (entry.version, entry.value) == (version, number)
    async with SqliteStore.open(root / "default" / restored.safety_backup / "memory.db") as safety:
        for name, (version, number) in before.items():
            entry = await safety.get("w", name)
            # A write may be in it whose answer never came.
            assert (entry.version, entry.value) >= (version, number)
        assert set((await values(safety)).values()) == {"new"}


AFTER_VERIFYING = {"Swapping", "BackingUp", "Completed"}


async def test_a_kill_at_any_moment_of_a_restore(fork_process, root):
    """Old or new, whole; asking again by the same name completes it, and undoes nothing that was written after it."""
    flags = ("--backups", f"file://{root}")
    wanted = {f"k{number}": "old" for number in range(100)}
    outcomes = set()
    process = await fork_process(*flags)
    token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    async with MemoryClient(process.url, token=token) as admin:
        await admin.batch([{"op": "put", "namespace": "n", "key": key, "value": "old"} for key in wanted])
        await backed_up(admin, "monday")
    for cycle in range(12):
        async with MemoryClient(process.url, token=token, retry_for=30) as admin:
            await admin.batch([{"op": "put", "namespace": "n", "key": key, "value": "new"} for key in wanted])
            await admin.restores.ask(f"r{cycle}", backup="monday")
            while cycle % 2 and (await admin.restores.get(f"r{cycle}")).phase not in AFTER_VERIFYING:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        await asyncio.sleep(random.uniform(0, 0.15))
        await process.stop(signal.SIGKILL)
        process = await fork_process(*flags)
        async with MemoryClient(process.url, token=token) as admin:
            found = {entry.value async for entry in admin.iterate("n")}
            state = await ended(admin, f"r{cycle}")
            outcomes.add((*found, None if state is None else state.phase))
            assert found in ({"old"}, {"new"})
            if state is not None:
                assert (state.phase == "Completed") == (found == {"old"})
            if state is not None and state.phase == "Completed":
                async with SqliteStore.open(root / "default" / state.safety_backup / "memory.db") as safety:
                    assert set((await values(safety)).values()) == {"new"}
            await admin.put("m", "after", cycle)
            await admin.restores.ask(f"r{cycle}", backup="monday")
            assert (await ended(admin, f"r{cycle}")).phase == "Completed"
            assert {entry.value async for entry in admin.iterate("n")} == {"old"}
            kept = await admin.get("m", "after")
            assert (kept is not None and kept.value == cycle) == (state is not None and state.phase == "Completed")
    assert await process.stop(signal.SIGTERM) == 0
    assert check(process.data_dir / "swarm-memory.db").ok
    assert {found for found, _ in outcomes} == {"old", "new"}


async def test_a_part_that_a_kill_cut_off_has_whole_batches_and_is_completed_when_it_is_asked_for_again(
    fork_process, root
):
    flags = ("--backups", f"file://{root}")
    keys = [f"k{number:03}" for number in range(1000)]

    async def write(admin, namespace, value):
        await admin.batch([{"op": "put", "namespace": namespace, "key": key, "value": value} for key in keys])

    process = await fork_process(*flags)
    token = (process.data_dir / "tokens" / "admin-token").read_text().strip()
    async with MemoryClient(process.url, token=token) as admin:
        await write(admin, "n", "old")
        await write(admin, "other", "old")
        await backed_up(admin, "monday")
        await write(admin, "other", "new")
    for cycle in range(4):
        async with MemoryClient(process.url, token=token) as admin:
            await write(admin, "n", "new")
            await admin.restores.ask(f"r{cycle}", backup="monday", namespaces=["n"])
            # Each time after one more batch, or later on a machine that is slow.
            while (await admin.get("n", keys[100 * cycle])).value == "new":
                pass
        await process.stop(signal.SIGKILL)
        process = await fork_process(*flags)
        async with MemoryClient(process.url, token=token) as admin:
            found = [entry.value async for entry in admin.iterate("n")]
            assert len(found) == 1000
            restored = found.count("old")
            assert found == ["old"] * restored + ["new"] * (1000 - restored)
            assert restored % 100 == 0
            state = await admin.restores.get(f"r{cycle}")
            assert (state.phase == "Completed") <= (restored == 1000)
            await admin.restores.ask(f"r{cycle}", backup="monday", namespaces=["n"])
            assert (await ended(admin, f"r{cycle}")).phase == "Completed"
            assert {entry.value async for entry in admin.iterate("n")} == {"old"}
            assert {entry.value async for entry in admin.iterate("other")} == {"new"}
