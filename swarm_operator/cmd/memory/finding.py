"""Commands that find entries, and watch them change: search, watch."""

from __future__ import annotations

import sys
from typing import Any

import click

from swarm_operator.cmd.memory.calling import MemoryClient, asks
from swarm_operator.cmd.memory.codes import OK
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.parsing import OneOf
from swarm_operator.cmd.memory.values import json_object, whole


@asks("search", columns=("namespace", "key", "version", "updated_at", "snippet", "value"))
@click.argument(
    "text", nargs=-1, metavar="[WORD]...", help="words that must all occur, or a question; wor* is a prefix"
)
@click.option(
    "--mode", type=OneOf("words", "meaning", "hybrid"),
    help="default: hybrid if the memory has an embedder, else words",
)  # fmt: skip
@click.option("--namespace", help="only this namespace; default: all")
@click.option("--subtree", is_flag=True, help="also in the namespaces below it")
@click.option("--prefix", default="", help="only keys with this prefix")
@click.option("--glob", help="only keys that match a pattern: 'agent:*'")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="required tag; may be repeated")
@click.option("--any-tag", "any_tags", multiple=True, metavar="TAG", help="one of these tags; may be repeated")
@click.option("--metadata", type=json_object, metavar="JSON", help="required values of metadata")
@click.option("--updated-since", metavar="TIME", help="only entries written since: 2026-01-31T12:00:00Z")
@click.option("--updated-by", metavar="NAME", help="only entries last written by this token or pod")
@click.option("--match", metavar="EXPRESSION", help="FTS5 expression instead of words")
@click.option("--order", type=OneOf("key", "updated", "rank"), help="default: rank with a text")
@click.option("--no-values", is_flag=True, help="omit values and metadata")
@click.option("--limit", type=whole(1), metavar="N", help="maximum number of entries; default: all")
async def search(
    client: MemoryClient, out: Output, *, text: tuple[str, ...], no_values: bool, limit: int | None, **conditions: Any
) -> int:
    """Print the entries that a search finds, one a line."""
    words, page = " ".join(text) or None, min(limit or 100, 1000)
    hits = client.find(text=words, values=not no_values, limit=page, **conditions)
    printed = 0
    async for hit in hits:
        out.row(hit.raw)
        printed += 1
        if printed == limit:
            break
    return OK


@asks("watch", columns=("seq", "at", "op", "version", "namespace", "key", "updated_by"))
@click.argument("namespace", required=False, help="only this namespace; default: all")
@click.option("--prefix", default="", help="only keys with this prefix")
@click.option("--since", type=whole(0), metavar="SEQ", help="continue after this change; default: from now on")
@click.option("--limit", type=whole(1), metavar="N", help="end after so many changes; default: never")
async def watch(client: MemoryClient, out: Output, limit: int | None, **which: Any) -> int:
    """Print changes as they are committed, one a line."""
    seen = 0
    changes = client.watch(
        on_ready=lambda position: print(f"watching from {position} on", file=sys.stderr, flush=True),  # noqa: T201
        **which,
    )
    async for change in changes:
        out.row(change.raw)
        out.flush()
        seen += 1
        if seen == limit:
            break
    return OK
