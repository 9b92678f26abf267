"""Mappers from a changed object to the keys to enqueue, and predicates that select the changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from swarm_operator.runtime.resource import Key, Object, Resource, controller_of, key_of
from swarm_operator.runtime.store import Change

Mapper = Callable[[Object], Iterable[Key]]
Predicate = Callable[[Change], bool]


def enqueue_self(obj: Object) -> Iterable[Key]:
    """Return the key of the object itself: for the kind that a controller reconciles."""
    return (key_of(obj),)


def enqueue_owner(owner: Resource) -> Mapper:
    """Return a mapper to the controlling owner, if its kind is `owner`: for the kinds that a controller makes."""

    def map_to_owner(obj: Object) -> Iterable[Key]:
        reference = controller_of(obj)
        if reference and reference["kind"] == owner.kind and reference["apiVersion"].rpartition("/")[0] == owner.group:
            return (Key(obj["metadata"].get("namespace", ""), reference["name"]),)
        return ()

    return map_to_owner


def enqueue_by_label(label: str) -> Mapper:
    """Return a mapper to the object in the same namespace that a label names: for indirect children, such as pods."""

    def map_to_named(obj: Object) -> Iterable[Key]:
        name = (obj["metadata"].get("labels") or {}).get(label)
        return (Key(obj["metadata"].get("namespace", ""), name),) if name else ()

    return map_to_named


def enqueue_by_labels(*, namespace: str, name: str) -> Mapper:
    """Return a mapper to the object that two labels name: for children in another namespace than their owner's."""

    def map_to_named(obj: Object) -> Iterable[Key]:
        found = obj["metadata"].get("labels") or {}
        return (Key(found[namespace], found[name]),) if namespace in found and name in found else ()

    return map_to_named


def keys_of(change: Change, mapper: Mapper) -> set[Key]:
    """Return the keys of the old and the new state: a change of owner concerns both owners."""
    return {key for obj in (change.old, change.new) if obj for key in mapper(obj)}


def any_change(change: Change) -> bool:
    """Select every change."""
    del change
    return True


def spec_or_metadata_changed(change: Change) -> bool:
    """Select changes of spec, labels, annotations, uid or deletionTimestamp, and every creation and deletion.

    Status writes, our own included, are not selected (controller-runtime's GenerationChanged, AnnotationChanged and
    LabelChanged predicates, or-ed).
    """
    if change.old is None or change.new is None:
        return True
    old, new = change.old["metadata"], change.new["metadata"]
    fields = ("uid", "generation", "labels", "annotations", "deletionTimestamp")
    return any(old.get(field) != new.get(field) for field in fields)
