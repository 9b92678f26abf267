"""An indexed, in-memory copy of the objects of one kind.

The newest version of an object wins, from the watch, from a list, or from the answer to one of our own writes.
So a reconcile never sees a state older than its own last write, and the watch event of that write is ignored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from swarm_operator.runtime.resource import Key, Object, controller_of, is_newer, key_of

IndexFunction = Callable[[Object], Iterable[str]]
"""Names under which an object is found in an index."""

OWNER_INDEX = "controller-uid"

_DELETED_KEPT = 1000
"""Number of deleted objects that are remembered: more than can be deleted while the answer to a write is in flight."""


def by_controller(obj: Object) -> Iterable[str]:
    """Return the uid of the controlling owner, to index by it."""
    reference = controller_of(obj)
    return (reference["uid"],) if reference else ()


@dataclass(frozen=True, slots=True)
class Change:
    """One step in an object's life: created (no `old`), updated, or deleted (no `new`).

    A delete and a create may be seen as one update whose uids differ.
    """

    old: Object | None
    new: Object | None
    initial: bool = False
    """Whether this is part of the first list: the object existed before the process started."""

    @property
    def key(self) -> Key:
        """Return the object's key."""
        obj = self.new or self.old
        if obj is None:
            raise ValueError("a change has an old or a new object")
        return key_of(obj)


class Store:
    """See the module's docstring. Objects are shared with all readers and must not be changed."""

    def __init__(self) -> None:
        self._objects: dict[Key, Object] = {}
        self._functions: dict[str, IndexFunction] = {}
        self._indexes: dict[str, dict[str, dict[Key, None]]] = {}
        self.add_index(OWNER_INDEX, by_controller)
        # Versions of deleted objects, so that an older state in flight cannot restore them. Each full list empties
        # this, since it supersedes all earlier states.
        self._deleted: dict[Key, str] = {}
        self._listed: str | None = None

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[Object]:
        return iter(list(self._objects.values()))

    def get(self, key: Key) -> Object | None:
        """Return the object, or None."""
        return self._objects.get(key)

    def add_index(self, index: str, function: IndexFunction) -> None:
        """Find all objects by a further index from now on."""
        self._functions[index] = function
        found = self._indexes[index] = defaultdict(dict)
        for key, obj in self._objects.items():
            for value in function(obj):
                found[value][key] = None

    def has_index(self, index: str) -> bool:
        """Return whether objects are found by this index."""
        return index in self._indexes

    def by_index(self, index: str, value: str) -> list[Object]:
        """Return all objects that the index function named `index` puts under `value`."""
        return [self._objects[key] for key in self._indexes[index].get(value, ())]

    def put(self, obj: Object, *, initial: bool = False) -> Change | None:
        """Store an object, unless a version at least as new is stored or was deleted. Return what changed."""
        key = key_of(obj)
        version = obj["metadata"].get("resourceVersion", "")
        old = self._objects.get(key)
        known = old["metadata"].get("resourceVersion", "") if old else self._deleted.get(key, self._listed)
        if known is not None and not is_newer(version, known):
            return None
        self._deleted.pop(key, None)
        self._set(key, obj, old)
        return Change(old, obj, initial)

    def remove(self, obj: Object) -> Change | None:
        """Remove an object, of which `obj` is the last state. A deletion older than the stored state is ignored."""
        key = key_of(obj)
        version = obj["metadata"].get("resourceVersion", "")
        old = self._objects.get(key)
        if old is None:
            return None
        if is_newer(old["metadata"].get("resourceVersion", ""), version):
            return None
        self._deleted[key] = version
        if len(self._deleted) > _DELETED_KEPT:
            del self._deleted[next(iter(self._deleted))]
        self._set(key, None, old)
        return Change(old, None)

    def replace(
        self, objects: Iterable[Object], version: str, *, initial: bool = False, restored: bool = False
    ) -> list[Change]:
        """Store a full list. Remove stored objects that it lacks, unless they are newer than the list.

        Args:
            objects: the items of the list.
            version: the list's resourceVersion.
            initial: whether this is the first list.
            restored: whether the server was restored from a backup, so that stored versions mean nothing. The list then
                replaces everything, also by older versions. The watch that starts at the list's version delivers our
                writes since then.
        """
        changes: list[Change] = []
        listed: set[Key] = set()
        self._deleted.clear()
        self._listed = None
        for obj in objects:
            key = key_of(obj)
            listed.add(key)
            old = self._objects.get(key)
            if not restored:
                change = self.put(obj, initial=initial)
                if change:
                    changes.append(change)
            elif old != obj:
                self._set(key, obj, old)
                changes.append(Change(old, obj, initial))
        for key, old in list(self._objects.items()):
            # Objects that we wrote after the list was made are kept.
            kept = not restored and is_newer(old["metadata"].get("resourceVersion", ""), version)
            if key not in listed and not kept:
                self._set(key, None, old)
                changes.append(Change(old, None))
        self._listed = version
        return changes

    def _set(self, key: Key, new: Object | None, old: Object | None) -> None:
        for name, function in self._functions.items():
            index = self._indexes[name]
            for value in function(old) if old else ():
                index[value].pop(key, None)
                if not index[value]:
                    del index[value]
            for value in function(new) if new else ():
                index[value][key] = None
        if new is None:
            self._objects.pop(key, None)
        else:
            self._objects[key] = new
