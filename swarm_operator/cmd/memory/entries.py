"""Commands about entries: put, get, delete, batch, list, namespaces."""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import click

from swarm_operator.cmd.memory.calling import MemoryClient, asks
from swarm_operator.cmd.memory.codes import FAILED, NOT_FOUND, OK, complain
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.parsing import FILE, STANDARD, JsonInput, OneOf
from swarm_operator.cmd.memory.values import cosine, json_object, whole

_BATCH_LINES: Final = 500


@asks("put")
@click.argument("namespace")
@click.argument("key")
@click.argument("value", type=JsonInput(), help="JSON: '{\"a\": 1}', 42, '\"text\"'; -: from standard input")
@click.option("--ttl", type=whole(0), metavar="SECONDS", help="seconds until the entry expires; default: never")
@click.option("--tag", "tags", multiple=True, metavar="TAG", help="tag of the entry; may be repeated")
@click.option("--metadata", type=json_object, metavar="JSON", help="a JSON object")
@click.option("--create-only", is_flag=True, help="fail if the entry exists")
@click.option("--if-version", type=whole(0), metavar="N", help="write only over this version")
@click.option(
    "--on-duplicate",
    type=OneOf("keep", "refuse", "link"),
    metavar="RULE",
    help="if another entry has almost the same meaning: keep (default), refuse or link",
)
@click.option("--threshold", type=cosine, metavar="COSINE", help="minimum cosine of such an entry; default: 0.9")
async def put(
    client: MemoryClient, out: Output, *, namespace: str, key: str, value: Any, create_only: bool,
    if_version: int | None, **rest: Any,
) -> int:  # fmt: skip
    """Write an entry."""
    if create_only and if_version is not None:
        raise click.UsageError("--if-version: not allowed with --create-only")
    head = await client.put(namespace, key, value, create_only=create_only, if_version=if_version, **rest)
    out.document(head.raw)
    return OK


@asks("get")
@click.argument("namespace")
@click.argument("key")
async def get(client: MemoryClient, out: Output, namespace: str, key: str) -> int:
    """Print an entry."""
    entry = await client.get(namespace, key)
    if entry is None:
        return _not_found(namespace, key)
    out.document(entry.raw)
    return OK


@asks("delete")
@click.argument("namespace")
@click.argument("key", required=False)
@click.option("--prefix", metavar="PREFIX", help="delete all keys with this prefix; --prefix '' empties the namespace")
async def delete(client: MemoryClient, out: Output, namespace: str, key: str | None, prefix: str | None) -> int:
    """Delete an entry, or many."""
    if (key is None) == (prefix is None):
        raise click.UsageError("KEY: one of KEY and --prefix is needed, and not both")
    if prefix is not None:
        deleted = await client.delete_range(namespace, prefix=prefix)
        out.document({"deleted": deleted, "namespace": namespace, "prefix": prefix})
    if key is not None:
        if not await client.delete(namespace, key):
            return _not_found(namespace, key)
        out.document({"deleted": True, "namespace": namespace, "key": key})
    return OK


@asks("batch", columns=("status", "entry", "problem"))
@click.argument("file", type=FILE, default="-", help="default: -, standard input")
@click.option("--each", is_flag=True, help="apply each operation alone; default: 500 lines atomically")
async def batch(client: MemoryClient, out: Output, *, file: Path, each: bool) -> int:
    """Carry out operations, one JSON object a line, and print the results."""
    try:
        # A slow file blocks nothing: nothing else runs in this loop.
        with contextlib.nullcontext(sys.stdin) if file == STANDARD else file.open() as lines:
            return await _batch_lines(lines, client, out, atomic=not each)
    except BrokenPipeError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        return complain(f"{file}: {error}")


async def _batch_lines(file: Iterable[str], client: MemoryClient, out: Output, *, atomic: bool) -> int:
    code, number = OK, 0
    lines = iter(file)
    while chunk := list(itertools.islice(lines, _BATCH_LINES)):
        operations = []
        for line in chunk:
            number += 1
            if not line.strip():
                continue
            try:
                operations.append(dict(json.loads(line)))
            except (ValueError, TypeError, RecursionError):
                return complain(f"line {number} is not a JSON object")
        for result in await client.batch(operations, atomic=atomic):
            out.row({"status": result.status, "entry": result.entry and result.entry.raw, "problem": result.problem})
            code = code if result.ok or result.status == 404 else FAILED
    return code


@asks("list", columns=("key", "version", "updated_at", "tags", "value"))
@click.argument("namespace")
@click.option("--prefix", default="", help="only keys with this prefix")
@click.option("--limit", type=whole(1), metavar="N", help="maximum number of entries; default: all")
async def list_(client: MemoryClient, out: Output, namespace: str, prefix: str, limit: int | None) -> int:
    """Print a namespace's entries, one a line."""
    printed = 0
    async for entry in client.iterate(namespace, prefix=prefix, page=min(limit or 100, 1000)):
        out.row(entry.raw)
        printed += 1
        if printed == limit:
            break
    return OK


@asks("namespaces", columns=("namespace", "entries", "bytes"))
async def namespaces(client: MemoryClient, out: Output) -> int:
    """Print the namespaces that have entries, one a line."""
    async for each in client.namespaces():
        out.row({"namespace": each.name, "entries": each.entries, "bytes": each.bytes})
    return OK


def _not_found(namespace: str, key: str) -> int:
    complain(f"no entry {key!r} in namespace {namespace!r}")
    return NOT_FOUND
