"""An operator in 60 lines: each Greeting has a ConfigMap of its name, with its text."""

import asyncio
import signal
import sys

from swarm_operator.runtime import (
    Cache,
    CachedClient,
    Client,
    Controller,
    Key,
    Manager,
    Resource,
    Result,
    Server,
    enqueue_owner,
    health_app,
    load_config,
    owner_reference,
)

GREETING = Resource("example.com", "v1", "Greeting", "greetings")
CONFIG_MAP = Resource("", "v1", "ConfigMap", "configmaps")
MANAGER = "greeter"


class GreetingReconciler:
    """Makes the cluster match one Greeting."""

    def __init__(self, client: CachedClient) -> None:
        self.client = client

    async def reconcile(self, key: Key) -> Result:
        """Write what differs, and nothing when all is as wanted."""
        greeting = self.client.get(GREETING, key)
        if greeting is None:
            return Result()  # Kubernetes deletes the ConfigMap: it has an owner
        data = {"text": greeting["spec"]["text"]}
        live = self.client.get(CONFIG_MAP, key)
        if live is None or live.get("data") != data:
            metadata = {"namespace": key.namespace, "name": key.name, "ownerReferences": [owner_reference(greeting)]}
            wanted = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
            await self.client.apply(CONFIG_MAP, wanted, field_manager=MANAGER)
        status = {"observedGeneration": greeting["metadata"]["generation"]}
        if greeting.get("status") != status:
            of = {"apiVersion": GREETING.api_version, "kind": GREETING.kind}
            body = {**of, "metadata": {"namespace": key.namespace, "name": key.name}, "status": status}
            await self.client.apply(GREETING, body, field_manager=MANAGER, subresource="status")
        return Result()


async def main(health_port: int) -> None:
    """Run until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with Client(await load_config(), user_agent=MANAGER) as client:
        cache = Cache(client)
        controller = Controller("greeting", GreetingReconciler(CachedClient(client, cache)), cache)
        controller.watch(GREETING)
        controller.watch(CONFIG_MAP, enqueue_owner(GREETING))
        manager = Manager(cache)
        manager.add(controller, Server(health_app(manager.healthz, manager.readyz), ("127.0.0.1", health_port)))
        await manager.run(stop)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
