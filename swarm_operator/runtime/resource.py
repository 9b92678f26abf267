"""Names of API resources and of objects: what a URL path, a cache and a work queue are keyed by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

Object = dict[str, Any]
"""A Kubernetes object as decoded JSON. Objects from a cache are shared: copy before changing one."""


class Key(NamedTuple):
    """Namespace and name of an object; the namespace of a cluster-scoped object is empty."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind in one version, with the plural that its URLs carry."""

    group: str
    """API group; empty for core/v1."""
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return the `apiVersion` of objects of this kind."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, *, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the URL path of the collection, an object or a subresource. An empty namespace is all of them."""
        parts = ["apis", self.group, self.version] if self.group else ["api", self.version]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        parts += [part for part in (name, subresource) if part]
        return "/" + "/".join(parts)


def key_of(obj: Object) -> Key:
    """Return the key of an object."""
    metadata = obj["metadata"]
    return Key(metadata.get("namespace", ""), metadata["name"])


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference that has `controller: true`, if any (metav1.GetControllerOf)."""
    for reference in obj["metadata"].get("ownerReferences") or ():
        if reference.get("controller"):
            found: Object = reference
            return found
    return None


def owner_reference(owner: Object) -> Object:
    """Return a controller reference to `owner` for objects in its namespace (controllerutil.SetControllerReference)."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_newer(resource_version: str, than: str) -> bool:
    """Return whether one resourceVersion of an object is newer than another of the same kind.

    They are decimal numbers of one etcd sequence; Kubernetes guarantees that since 1.35 (KEP-5504) and has kept it
    always. Any other value counts as newer, so that objects of an unusual server are not ignored.
    """
    if resource_version.isdecimal() and than.isdecimal():
        return int(resource_version) > int(than)
    return resource_version != than
