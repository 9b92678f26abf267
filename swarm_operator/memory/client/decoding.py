"""Conversion of responses about entries. Each function fails unless the response belongs to the request.

Raises:
    KeyError, TypeError, ValueError: the document is not a response of the service.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from swarm_operator.memory.client.models import (
    BatchResult,
    EntryHead,
    EntryPage,
    MemoryEntry,
    MemoryHit,
    Namespace,
    SearchPage,
)

_E = TypeVar("_E", bound=EntryHead)


def search_page(answer: Mapping[str, Any]) -> SearchPage:
    """Return a page of a search. Raise KeyError or TypeError."""
    return SearchPage([MemoryHit(entry) for entry in answer["entries"]], answer["next_cursor"], answer["searched"])


def named(entry: _E, namespace: str, key: str) -> _E:
    """Return the entry if it has the requested namespace and key. Raise ValueError."""
    if (entry.namespace, entry.key) != (namespace, key):
        raise ValueError(f"the entry is {entry.key!r} in {entry.namespace!r}")
    return entry


def whole_entry(document: Mapping[str, Any]) -> MemoryEntry:
    """Return the entry of a document that has all members. Raise KeyError or TypeError."""
    for name in ("value", "tags", "metadata"):
        document[name]
    return MemoryEntry(document)


def entry_page(answer: Mapping[str, Any]) -> EntryPage:
    """Return a page of a list. Raise KeyError or TypeError."""
    return EntryPage([whole_entry(entry) for entry in answer["entries"]], answer["next_cursor"])


def batch_results(results: Sequence[Mapping[str, Any]], operations: Sequence[Mapping[str, Any]]) -> list[BatchResult]:
    """Return the results of a batch. Raise KeyError, TypeError or ValueError if they do not match its operations.

    The result of a successful write must contain the head of the entry.
    """
    return [_result(result, operation) for result, operation in zip(results, operations, strict=True)]


def _result(result: Mapping[str, Any], operation: Mapping[str, Any]) -> BatchResult:
    status = int(result["status"])
    if status >= 400:
        return BatchResult(status, None, result["problem"])
    if operation["op"] == "delete":
        return BatchResult(status, None, None)
    read = whole_entry if operation["op"] == "get" else MemoryEntry
    return BatchResult(status, named(read(result["entry"]), operation["namespace"], operation["key"]), None)


def namespace_page(answer: Mapping[str, Any]) -> tuple[list[Namespace], str | None]:
    """Return the namespaces of a page, and the cursor of the next page."""
    namespaces = [Namespace(each["namespace"], each["entries"], each["bytes"]) for each in answer["namespaces"]]
    return namespaces, answer["next_cursor"]
