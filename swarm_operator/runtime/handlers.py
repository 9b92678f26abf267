"""From a change of some object to the keys that it makes worth reconciling, and which changes count at all."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from swarm_operator.runtime.resource import Key, Object, Resource, controller_of, key_of
from swarm_operator.runtime.store import Change

Mapper = Callable[[Object], Iterable[Key]]
Predicate = Callable[[Change], bool]


def own_key(obj: Object) -> Iterable[Key]:
    """The object itself: for the kind that a controller reconciles."""
    return (key_of(obj),)


def controller_key(owner: Resource) -> Mapper:
    """The controlling owner, if it is of kind `owner`: for the kinds that a controller makes."""

    def map_to_owner(obj: Object) -> Iterable[Key]:
        reference = controller_of(obj)
        if reference and reference["kind"] == owner.kind and reference["apiVersion"].rpartition("/")[0] == owner.group:
            return (Key(obj["metadata"].get("namespace", ""), reference["name"]),)
        return ()

    return map_to_owner


def label_key(label: str) -> Mapper:
    """The object in the same namespace that a label names: for what our own children make, such as pods."""

    def map_to_named(obj: Object) -> Iterable[Key]:
        name = (obj["metadata"].get("labels") or {}).get(label)
        return (Key(obj["metadata"].get("namespace", ""), name),) if name else ()

    return map_to_named


def keys_of(change: Change, mapper: Mapper) -> set[Key]:
    """What both the old and the new state map to: an object that changes hands concerns both owners."""
    return {key for obj in (change.old, change.new) if obj for key in mapper(obj)}


def any_change(change: Change) -> bool:
    """Every change counts."""
    del change
    return True


def asked_change(change: Change) -> bool:
    """What a user asked for has changed: spec, labels, annotations, or the wish to delete.

    Status writes, our own among them, do not count (controller-runtime's GenerationChanged, AnnotationChanged and
    LabelChanged predicates, or-ed). A creation or deletion always counts, and so does a new uid.
    """
    if change.old is None or change.new is None:
        return True
    old, new = change.old["metadata"], change.new["metadata"]
    fields = ("uid", "generation", "labels", "annotations", "deletionTimestamp")
    return any(old.get(field) != new.get(field) for field in fields)
