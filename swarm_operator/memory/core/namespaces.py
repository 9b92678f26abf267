"""Subtrees of the namespace hierarchy: the subtree of `a` contains `a`, `a/b` and `a/b/c`, but not `ab`."""

from __future__ import annotations

from collections.abc import Iterable


def covers(roots: Iterable[str] | None, namespace: str) -> bool:
    """Return True if a namespace is one of the roots or below one of them. None as roots covers all namespaces."""
    return roots is None or any(namespace == root or namespace.startswith(root + "/") for root in roots)
