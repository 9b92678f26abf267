"""The manager as a process: killed at any moment, told to stop, started before its CRDs."""

from __future__ import annotations

import asyncio
import random

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.errors import NotFoundError

CHILDREN = (
    (kinds.PERSISTENT_VOLUME_CLAIM, "{}-memory-data"),
    (kinds.SECRET, "{}-memory-auth"),
    (kinds.SERVICE, "{}-memory"),
    (kinds.SERVICE, "{}-memory-headless"),
    (kinds.CONFIG_MAP, "{}-memory-settings"),
    (kinds.CONFIG_MAP, "{}-memory-identity"),
    (kinds.STATEFUL_SET, "{}-memory"),
    (kinds.NETWORK_POLICY, "{}-memory"),
    (kinds.POD_DISRUPTION_BUDGET, "{}-memory"),
)


async def test_killed_at_any_moment_it_ends_with_every_child_made_once(objects, start_operator, eventually):
    """kill -9 while the clusters are being made; what counts is that a restart goes on where it ended."""
    rng = random.Random(20261123)
    names = [f"c{number}" for number in range(8)]
    operator = start_operator()
    await eventually(lambda: asyncio.to_thread(operator.ready))
    uids: dict[tuple[str, str], str] = {}
    for name in names:
        await objects.cluster(name, enableMemoryStore=True)
        await asyncio.sleep(rng.uniform(0.0, 0.15))
        operator.kill()
        # What was made before the kill must still be the same object at the end.
        for other in names:
            for resource, pattern in CHILDREN:
                try:
                    found = await objects.get(resource, pattern.format(other))
                except NotFoundError:
                    continue
                key = (resource.kind, pattern.format(other))
                assert uids.setdefault(key, found["metadata"]["uid"]) == found["metadata"]["uid"]
        operator.start()

    async def complete() -> bool:
        for name in names:
            store = await objects.get(kinds.SWARM_MEMORY_STORE, f"{name}-memory")
            cluster = await objects.get(kinds.SWARM_CLUSTER, name)
            assert store["status"]["observedGeneration"] == store["metadata"]["generation"]
            assert cluster["status"]["observedGeneration"] == cluster["metadata"]["generation"]
            for resource, pattern in CHILDREN:
                child = await objects.get(resource, pattern.format(name))
                if resource is not kinds.PERSISTENT_VOLUME_CLAIM:  # it outlives its store
                    assert child["metadata"]["ownerReferences"][0]["uid"] == store["metadata"]["uid"]
                uid = uids.get((resource.kind, pattern.format(name)))
                assert uid in {None, child["metadata"]["uid"]}
        return True

    await eventually(complete, seconds=60)


async def test_sigterm_ends_it_with_exit_code_0(start_operator, eventually):
    operator = start_operator()
    await eventually(lambda: asyncio.to_thread(operator.ready))
    assert operator.terminate() == 0
    assert '"event": "stopped"' in operator.log.read_text()


async def test_readyz_turns_true_only_when_everything_is_listed(start_operator, eventually):
    operator = start_operator()
    await eventually(lambda: asyncio.to_thread(operator.ready))
    assert operator.metric('controller_runtime_max_concurrent_reconciles{controller="swarmmemorystore"}') == 4


async def test_an_unknown_flag_value_ends_it_with_what_is_allowed(start_operator):
    operator = start_operator("--metrics-bind-address", "everywhere")
    assert await asyncio.to_thread(operator.process.wait, 60) == 2
    assert "'everywhere' is not an address; allowed: " in operator.log.read_text()


async def test_the_pod_has_the_pull_secrets_that_the_operator_was_told(objects, start_operator, eventually):
    start_operator("--memory-image-pull-secrets", "first,second")
    await objects.store("s")
    made = await eventually(lambda: objects.get(kinds.STATEFUL_SET, "s"))
    secrets = made["spec"]["template"]["spec"]["imagePullSecrets"]
    assert secrets == [{"name": "first"}, {"name": "second"}]
