"""Commands about entries: put, get, delete, batch, list, namespaces."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from swarm_operator.cmd.memory.calling import MemoryClient, add_client
from swarm_operator.cmd.memory.codes import FAILED, NOT_FOUND, OK, complain
from swarm_operator.cmd.memory.output import Output
from swarm_operator.cmd.memory.values import cosine, json_input, json_object, one_of, whole

_BATCH_LINES: Final = 500
_COLUMNS: Final = ("key", "version", "updated_at", "tags", "value")


def add(commands: Any) -> None:
    """Add them."""
    put = add_client(commands, "put", _put, "write an entry")
    put.add_argument("namespace", metavar="NAMESPACE")
    put.add_argument("key", metavar="KEY")
    put.add_argument(
        "value", metavar="VALUE", type=json_input, help="JSON: '{\"a\": 1}', 42, '\"text\"'; -: from standard input"
    )
    put.add_argument(
        "--ttl", type=whole(0), default=None, metavar="SECONDS", help="how long it lives; default for ever"
    )
    put.add_argument("--tag", action="append", default=[], metavar="TAG", help="may be repeated")
    put.add_argument("--metadata", type=json_object, metavar="JSON", help="a JSON object")
    condition = put.add_mutually_exclusive_group()
    condition.add_argument("--create-only", action="store_true", help="fail if the entry exists")
    condition.add_argument("--if-version", type=whole(0), metavar="N", help="fail unless the entry has this version")
    put.add_argument(
        "--on-duplicate", type=one_of("keep", "refuse", "link"), metavar="RULE",
        help="if another entry has almost the same meaning: keep (default), refuse or link",
    )  # fmt: skip
    put.add_argument("--threshold", type=cosine, metavar="COSINE", help="least cosine of such an entry; default 0.9")
    for name, run, text in (("get", _get, "print an entry"), ("delete", _delete, "delete an entry, or many")):
        command = add_client(commands, name, run, text)
        command.add_argument("namespace", metavar="NAMESPACE")
        if name == "get":
            command.add_argument("key", metavar="KEY")
        else:
            which = command.add_mutually_exclusive_group(required=True)
            which.add_argument("key", metavar="KEY", nargs="?")
            which.add_argument("--prefix", help="all whose keys start so; --prefix '' empties the namespace")
    batch = add_client(
        commands,
        "batch",
        _batch,
        "carry out operations, one JSON object a line, and print the results",
        columns=("status", "entry", "problem"),
    )
    batch.add_argument("file", metavar="FILE", nargs="?", default="-", help="default: -, standard input")
    batch.add_argument("--each", action="store_true", help="each operation alone; default: 500 lines at once or none")
    listing = add_client(commands, "list", _list, "print a namespace's entries, one a line", columns=_COLUMNS)
    listing.add_argument("namespace", metavar="NAMESPACE")
    listing.add_argument("--prefix", default="", help="only keys that start so")
    listing.add_argument("--limit", type=whole(1), metavar="N", help="at most so many; default: all")
    add_client(
        commands, "namespaces", _namespaces, "print the namespaces that have entries, one a line",
        columns=("namespace", "entries", "bytes"),
    )  # fmt: skip


async def _put(options: argparse.Namespace, client: MemoryClient) -> int:
    head = await client.put(
        options.namespace, options.key, options.value, ttl=options.ttl, tags=options.tag, metadata=options.metadata,
        create_only=options.create_only, if_version=options.if_version, on_duplicate=options.on_duplicate,
        threshold=options.threshold,
    )  # fmt: skip
    options.out.document(head.raw)
    return OK


async def _get(options: argparse.Namespace, client: MemoryClient) -> int:
    entry = await client.get(options.namespace, options.key)
    if entry is None:
        return _not_found(options)
    options.out.document(entry.raw)
    return OK


async def _delete(options: argparse.Namespace, client: MemoryClient) -> int:
    if options.prefix is not None:
        deleted = await client.delete_range(options.namespace, prefix=options.prefix)
        options.out.document({"deleted": deleted, "namespace": options.namespace, "prefix": options.prefix})
        return OK
    if not await client.delete(options.namespace, options.key):
        return _not_found(options)
    options.out.document({"deleted": True, "namespace": options.namespace, "key": options.key})
    return OK


async def _batch(options: argparse.Namespace, client: MemoryClient) -> int:
    try:
        # Nothing else runs in this loop that a slow file could hold up.
        source = contextlib.nullcontext(sys.stdin) if options.file == "-" else Path(options.file).open()  # noqa: ASYNC230, SIM115
        with source as file:
            return await _batch_lines(file, client, options.out, atomic=not options.each)
    except BrokenPipeError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        return complain(f"{options.file}: {error}")


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


async def _list(options: argparse.Namespace, client: MemoryClient) -> int:
    printed = 0
    async for entry in client.iterate(options.namespace, prefix=options.prefix, page=min(options.limit or 100, 1000)):
        options.out.row(entry.raw)
        printed += 1
        if printed == options.limit:
            break
    return OK


async def _namespaces(options: argparse.Namespace, client: MemoryClient) -> int:
    async for each in client.namespaces():
        options.out.row({"namespace": each.name, "entries": each.entries, "bytes": each.bytes})
    return OK


def _not_found(options: argparse.Namespace) -> int:
    complain(f"no entry {options.key!r} in namespace {options.namespace!r}")
    return NOT_FOUND
