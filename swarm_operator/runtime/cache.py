"""Informers of a process, reads from their stores, and a client whose writes enter them.

The cache decides which objects of a kind are in it, for all controllers together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from swarm_operator.runtime.client import Client
from swarm_operator.runtime.errors import NotSyncedError
from swarm_operator.runtime.metrics import Metrics
from swarm_operator.runtime.reflector import Reflector
from swarm_operator.runtime.resource import Key, Object, Resource
from swarm_operator.runtime.runnable import Phase, Runnable
from swarm_operator.runtime.store import OWNER_INDEX, Change, IndexFunction, Store

Handler = Callable[[Change], None]
Transform = Callable[[Object], Object]


def _as_it_is(obj: Object) -> Object:
    return obj


class Informer(Runnable):
    """A reflector, the store that it fills, and the handlers of changes: one kind, in one namespace or in all.

    Guarantees, those of client-go's shared informers: changes of one object come in order, and states in between may be
    skipped. A handler that is added late is first called for every stored object. Handlers must not block.

    Args:
        client: where to list and watch.
        resource: the kind.
        namespace: empty for all.
        label_selector: only objects with these labels.
        transform: see Cache.
        metrics: counts lists, watches and events.
    """

    phase = Phase.CACHES

    def __init__(
        self,
        client: Client,
        resource: Resource,
        *,
        namespace: str = "",
        label_selector: str = "",
        transform: Transform = _as_it_is,
        metrics: Metrics | None = None,
    ) -> None:
        self.resource = resource
        self._transform = transform
        self.task_name = f"informer {resource.plural}"
        self.store = Store()
        self.reflector = Reflector(
            client,
            resource,
            self,
            namespace=namespace,
            label_selector=label_selector,
            metrics=metrics or Metrics(),
        )
        self._handlers: list[Handler] = []
        self._synced = asyncio.Event()

    @property
    def synced(self) -> bool:
        """Return whether the first list is in the store and every handler was called for all of it."""
        return self._synced.is_set()

    async def wait_synced(self) -> None:
        """Wait for `synced`."""
        await self._synced.wait()

    def add_handler(self, handler: Handler) -> None:
        """Call `handler` for every change from now on, after one creation for each stored object."""
        for obj in self.store:
            handler(Change(None, obj, initial=True))
        self._handlers.append(handler)

    async def run(self) -> None:
        """Run until cancelled."""
        await self.reflector.run()

    def replaced(self, objects: list[Object], version: str, *, restored: bool = False) -> None:
        """See reflector.Sink."""
        objects = [self._transform(obj) for obj in objects]
        for change in self.store.replace(objects, version, initial=not self.synced, restored=restored):
            self._notify(change)
        self._synced.set()

    def changed(self, obj: Object) -> None:
        """See reflector.Sink. Also called with the answer to an own write, before its event arrives."""
        self._notify(self.store.put(self._transform(obj)))

    def deleted(self, obj: Object) -> None:
        """See reflector.Sink."""
        self._notify(self.store.remove(obj))

    def _notify(self, change: Change | None) -> None:
        if change:
            for handler in self._handlers:
                handler(change)


class Cache:
    """Informers by kind, one for all namespaces or one for each watched namespace.

    Objects that are returned are shared with all readers: copy before changing one.

    Args:
        client: where to list and watch.
        namespaces: the namespaces to watch; empty for all.
        label_selector: only objects with these labels, of all kinds that `label_selectors` does not name.
        label_selectors: the same by kind; "" for all objects.
        transform: converts each object before it is stored; it must be idempotent. Tests use `frozen.freeze`.
        metrics: counts lists, watches and events.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespaces: Iterable[str] = (),
        label_selector: str = "",
        label_selectors: Mapping[Resource, str] = MappingProxyType({}),
        transform: Transform = _as_it_is,
        metrics: Metrics | None = None,
    ) -> None:
        self._client = client
        self._namespaces = tuple(dict.fromkeys(namespaces)) or ("",)
        self._label_selector = label_selector
        self._label_selectors = label_selectors
        self._transform = transform
        self._metrics = metrics or Metrics()
        self._informers: dict[Resource, dict[str, Informer]] = {}

    @property
    def informers(self) -> list[Informer]:
        """Return all informers."""
        return [informer for by_namespace in self._informers.values() for informer in by_namespace.values()]

    def add(self, resource: Resource) -> list[Informer]:
        """Return the informers of a kind; make them on the first call."""
        if resource not in self._informers:
            selector = self._label_selectors.get(resource, self._label_selector)
            self._informers[resource] = {
                namespace: Informer(
                    self._client,
                    resource,
                    namespace=namespace,
                    label_selector=selector,
                    transform=self._transform,
                    metrics=self._metrics,
                )
                for namespace in self._namespaces
            }
        return list(self._informers[resource].values())

    def add_index(self, resource: Resource, index: str, function: IndexFunction) -> None:
        """Find objects of a kind by a further index from now on."""
        for informer in self.add(resource):
            informer.store.add_index(index, function)

    def has_index(self, resource: Resource, index: str) -> bool:
        """Return whether objects of a kind are found by this index."""
        return all(informer.store.has_index(index) for informer in self._informers[resource].values())

    async def wait_synced(self) -> None:
        """Wait until every informer has its first list."""
        await asyncio.gather(*(informer.wait_synced() for informer in self.informers))

    def get(self, resource: Resource, key: Key) -> Object | None:
        """Return an object, or None.

        Raises:
            NotSyncedError: the first list of the kind is not here yet. All reads raise it.
        """
        return self._listed(self._informer(resource, key.namespace)).get(key)

    def by_index(self, resource: Resource, namespace: str, index: str, value: str) -> list[Object]:
        """Return the objects of a kind that an index has under a value. In it are those of `namespace`, at least."""
        return self._listed(self._informer(resource, namespace)).by_index(index, value)

    def everywhere(self, resource: Resource, index: str, value: str) -> list[Object]:
        """Return the objects of a kind that an index has under a value, in all watched namespaces."""
        informers = self._informers[resource].values()
        return [obj for informer in informers for obj in self._listed(informer).by_index(index, value)]

    def watches(self, namespace: str) -> bool:
        """Return whether objects of a namespace are in the cache."""
        return "" in self._namespaces or namespace in self._namespaces

    def owned(self, resource: Resource, owner: Object) -> list[Object]:
        """Return the objects of a kind whose controller is `owner`."""
        return self.by_index(resource, owner["metadata"].get("namespace", ""), OWNER_INDEX, owner["metadata"]["uid"])

    def list(self, resource: Resource) -> list[Object]:
        """Return all objects of a kind."""
        return [obj for informer in self._informers[resource].values() for obj in self._listed(informer)]

    def written(self, resource: Resource, obj: Object) -> Object:
        """Store the answer to our own write, before its event arrives, and return the object as readers get it."""
        obj = self._transform(obj)
        if resource in self._informers:
            self._informer(resource, obj["metadata"].get("namespace", "")).changed(obj)
        return obj

    def _informer(self, resource: Resource, namespace: str) -> Informer:
        by_namespace = self._informers[resource]
        return by_namespace.get(namespace) or by_namespace[""]

    def _listed(self, informer: Informer) -> Store:
        """Return the store of an informer. Before the first list, existing objects would look missing."""
        if not informer.synced:
            raise NotSyncedError(f"{informer.resource.plural}: read before their first list")
        return informer.store


@dataclass(frozen=True, slots=True)
class CachedClient:
    """A client that reads from the cache and writes to the server: what reconcilers use.

    The answer to a write is in the cache before the write returns, so the next read is at least as new
    (docs/design/own-writes.md). controller-runtime's client waits for the watch instead.
    """

    server: Client
    """Reads from the server, and deletes: controller-runtime's `APIReader`. It is for kinds without a watch, such as
    Secrets, and for decisions that a stale cache would make wrong."""
    cache: Cache
    """For reads by index."""

    def get(self, resource: Resource, key: Key) -> Object | None:
        """Return an object from the cache, or None. See Cache.get."""
        return self.cache.get(resource, key)

    def owned(self, resource: Resource, owner: Object) -> list[Object]:
        """Return the objects of a kind whose controller is `owner`, from the cache."""
        return self.cache.owned(resource, owner)

    def list(self, resource: Resource) -> list[Object]:
        """Return all objects of a kind from the cache."""
        return self.cache.list(resource)

    async def create(self, resource: Resource, obj: Object, *, field_manager: str) -> Object:
        """Create an object. See Client.create."""
        return self._written(resource, await self.server.create(resource, obj, field_manager=field_manager))

    async def apply(
        self, resource: Resource, obj: Object, *, field_manager: str, subresource: str = "", force: bool = True
    ) -> Object:
        """Apply the fields of an object. See Client.apply."""
        answer = await self.server.apply(
            resource, obj, field_manager=field_manager, subresource=subresource, force=force
        )
        return self._written(resource, answer)

    async def merge(
        self, resource: Resource, namespace: str, name: str, patch: Object, *, field_manager: str
    ) -> Object:
        """Send a JSON merge patch. See Client.merge."""
        answer = await self.server.merge(resource, namespace, name, patch, field_manager=field_manager)
        return self._written(resource, answer)

    def _written(self, resource: Resource, answer: Object) -> Object:
        answer["metadata"].pop("managedFields", None)
        return self.cache.written(resource, answer)
