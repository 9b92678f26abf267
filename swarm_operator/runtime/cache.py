"""All informers of a process, and reads from their stores.

Every write goes through here too: its answer is put in front of the informer at once, so that whoever reads next
reads at least what was written ("read your own writes").
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from swarm_operator.runtime.client import Client
from swarm_operator.runtime.informer import Informer
from swarm_operator.runtime.resource import Key, Object, Resource
from swarm_operator.runtime.store import OWNER_INDEX


class Cache:
    """Informers by kind, one for all namespaces or one for each watched namespace.

    Args:
        client: where to list, watch and write.
        namespaces: the namespaces to watch; empty for all.
    """

    def __init__(self, client: Client, *, namespaces: Iterable[str] = ()) -> None:
        self.client = client
        self._namespaces = tuple(dict.fromkeys(namespaces)) or ("",)
        self._informers: dict[Resource, dict[str, Informer]] = {}

    @property
    def informers(self) -> list[Informer]:
        """Every informer."""
        return [informer for by_namespace in self._informers.values() for informer in by_namespace.values()]

    def add(self, resource: Resource, *, label_selector: str = "") -> list[Informer]:
        """Make the informers of a kind, or find those that are there.

        Raises:
            ValueError: the kind is watched with another selector.
        """
        if resource not in self._informers:
            self._informers[resource] = {
                namespace: Informer(self.client, resource, namespace=namespace, label_selector=label_selector)
                for namespace in self._namespaces
            }
        informers = list(self._informers[resource].values())
        selector = informers[0].reflector.label_selector
        if selector != label_selector:
            raise ValueError(f"{resource.plural} are watched with selector {selector!r}, not {label_selector!r}")
        return informers

    async def wait_synced(self) -> None:
        """Wait until every informer has its first list."""
        await asyncio.gather(*(informer.wait_synced() for informer in self.informers))

    def get(self, resource: Resource, key: Key) -> Object | None:
        """An object from the cache, shared: copy before changing it."""
        return self._informer(resource, key.namespace).store.get(key)

    def owned(self, resource: Resource, owner: Object) -> list[Object]:
        """The objects of a kind whose controller is `owner`."""
        store = self._informer(resource, owner["metadata"].get("namespace", "")).store
        return store.by_index(OWNER_INDEX, owner["metadata"]["uid"])

    def list(self, resource: Resource) -> list[Object]:
        """All objects of a kind."""
        return [obj for informer in self._informers[resource].values() for obj in informer.store]

    async def apply(
        self, resource: Resource, obj: Object, *, field_manager: str, subresource: str = "", force: bool = True
    ) -> Object:
        """Server-side apply (see Client.apply), with the answer in the cache when this returns."""
        answer = await self.client.apply(
            resource, obj, field_manager=field_manager, subresource=subresource, force=force
        )
        return self._put(resource, answer)

    async def merge(
        self, resource: Resource, namespace: str, name: str, patch: Object, *, field_manager: str
    ) -> Object:
        """Send a JSON merge patch (see Client.merge), with the answer in the cache when this returns."""
        return self._put(
            resource, await self.client.merge(resource, namespace, name, patch, field_manager=field_manager)
        )

    def _put(self, resource: Resource, answer: Object) -> Object:
        answer["metadata"].pop("managedFields", None)
        if resource in self._informers:
            self._informer(resource, answer["metadata"].get("namespace", "")).changed(answer)
        return answer

    def _informer(self, resource: Resource, namespace: str) -> Informer:
        by_namespace = self._informers[resource]
        return by_namespace.get(namespace) or by_namespace[""]
