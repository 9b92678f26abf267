"""A reflector, the store that it fills, and the handlers that hear of changes.

Contract, that of client-go's shared informers: per object, changes come in order; states in between may be skipped;
a handler must return at once; one that is added late first hears of everything that is here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from swarm_operator.runtime.client import Client
from swarm_operator.runtime.reflector import Reflector
from swarm_operator.runtime.resource import Object, Resource
from swarm_operator.runtime.store import Change, IndexFunction, Store

Handler = Callable[[Change], None]


class Informer:
    """The objects of one kind, in one namespace or in all, kept in step with the API server.

    Args:
        client: where to list and watch.
        resource: the kind.
        namespace: empty for all.
        label_selector: only objects with these labels.
        indexes: further indexes of the store, by name.
    """

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        indexes: dict[str, IndexFunction] | None = None,
    ) -> None:
        self.resource = resource
        self.store = Store(indexes)
        self.reflector = Reflector(client, resource, self, namespace=namespace, label_selector=label_selector)
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()

    @property
    def synced(self) -> bool:
        """Whether the first list is in the store and every handler has heard of all of it."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait for `synced`."""
        await self._synced.wait()

    def add_handler(self, handler: Handler) -> None:
        """Call `handler` with every change from now on, after one creation for each object that is here."""
        for obj in self.store:
            handler(Change(None, obj, initial=True))
        self._handlers.append(handler)

    async def run(self) -> None:
        """Run until cancelled."""
        await self.reflector.run()

    def replaced(self, objects: list[Object], version: str, *, restored: bool = False) -> None:
        """See reflector.Sink."""
        for change in self.store.replace(objects, version, initial=not self.synced, restored=restored):
            self._notify(change)
        self._synced.set()

    def changed(self, obj: Object) -> None:
        """See reflector.Sink. Also how the answer to one of our own writes gets here before its event does."""
        self._notify(self.store.put(obj))

    def deleted(self, obj: Object) -> None:
        """See reflector.Sink."""
        self._notify(self.store.remove(obj))

    def _notify(self, change: Change | None) -> None:
        if change:
            for handler in self._handlers:
                handler(change)
