"""Commands that find entries, and watch them change: search, watch."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from swarm_operator.cmd.memory.calling import MemoryClient, add_client
from swarm_operator.cmd.memory.codes import OK
from swarm_operator.cmd.memory.values import json_object, whole


def add(commands: Any) -> None:
    """Add them."""
    searching = add_client(
        commands,
        "search",
        _search,
        "print the entries that a search finds, one a line",
        columns=("namespace", "key", "version", "updated_at", "snippet", "value"),
    )
    searching.add_argument(
        "text", metavar="WORD", nargs="*", help="words that all occur, or a question; wor* is the start of a word"
    )
    searching.add_argument(
        "--mode", choices=("words", "meaning", "hybrid"),
        help="how to search the words; default: hybrid if the memory has an embedder, else words",
    )  # fmt: skip
    searching.add_argument("--namespace", help="default: everywhere")
    searching.add_argument("--subtree", action="store_true", help="also in the namespaces below it")
    searching.add_argument("--prefix", default="", help="only keys that start so")
    searching.add_argument("--glob", help="only keys that match, as 'agent:*'")
    searching.add_argument("--tag", action="append", default=[], metavar="TAG", help="may be repeated: all of them")
    searching.add_argument("--any-tag", action="append", default=[], metavar="TAG", help="may be repeated: one of them")
    searching.add_argument("--metadata", type=json_object, metavar="JSON", help="fields that have these values")
    searching.add_argument("--updated-since", metavar="TIME", help="RFC 3339: 2026-01-31T12:00:00Z")
    searching.add_argument("--updated-by", metavar="NAME", help="only what this token or pod has written last")
    searching.add_argument("--match", metavar="EXPRESSION", help="an FTS5 expression in place of words")
    searching.add_argument("--order", choices=("key", "updated", "rank"), help="default: rank with a text")
    searching.add_argument("--no-values", action="store_true", help="without values and metadata")
    searching.add_argument("--limit", type=whole(1), metavar="N", help="at most so many; default: all")
    watching = add_client(
        commands,
        "watch",
        _watch,
        "print changes as they are committed, one a line",
        columns=("seq", "at", "op", "version", "namespace", "key", "updated_by"),
    )
    watching.add_argument("namespace", metavar="NAMESPACE", nargs="?", help="default: everywhere")
    watching.add_argument("--prefix", default="", help="only keys that start so")
    watching.add_argument("--since", type=whole(0), metavar="SEQ", help="go on after that change; default: from now on")
    watching.add_argument("--limit", type=whole(1), metavar="N", help="end after so many; default: never")


async def _search(options: argparse.Namespace, client: MemoryClient) -> int:
    hits = client.find(
        namespace=options.namespace,
        subtree=options.subtree,
        prefix=options.prefix,
        glob=options.glob,
        tags=options.tag,
        any_tags=options.any_tag,
        metadata=options.metadata,
        updated_since=options.updated_since,
        updated_by=options.updated_by,
        text=" ".join(options.text) or None,
        match=options.match,
        order=options.order,
        mode=options.mode,
        values=not options.no_values,
        limit=min(options.limit or 100, 1000),
    )
    printed = 0
    async for hit in hits:
        options.out.row(hit.raw)
        printed += 1
        if printed == options.limit:
            break
    return OK


async def _watch(options: argparse.Namespace, client: MemoryClient) -> int:
    seen = 0
    changes = client.watch(
        namespace=options.namespace,
        prefix=options.prefix,
        since=options.since,
        on_ready=lambda position: print(f"watching from {position} on", file=sys.stderr, flush=True),  # noqa: T201
    )
    async for change in changes:
        options.out.row(change.raw)
        options.out.flush()
        seen += 1
        if seen == options.limit:
            break
    return OK
