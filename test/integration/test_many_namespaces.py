"""Each watched namespace takes a connection for each kind, for as long as the operator runs."""

from swarm_operator.controllers.common import kinds


async def test_two_hundred_namespaces_leave_connections_for_requests(objects, namespace, start_operator, eventually):
    others = (f"{namespace}-{number}" for number in range(199))  # a watch does not ask whether they exist
    operator = start_operator("--watch-namespaces", ",".join((namespace, *others)))

    async def ready() -> bool:
        return operator.ready()

    await eventually(ready, seconds=120)
    await objects.store("s")

    async def settled() -> bool:
        status = (await objects.get(kinds.SWARM_MEMORY_STORE, "s"))["status"]
        return status["observedGeneration"] == 1 and bool(await objects.get(kinds.STATEFUL_SET, "s"))

    await eventually(settled)
