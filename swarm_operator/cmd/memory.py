"""`swarm-memory`: the memory service, and a client for it on the command line. Flags and wiring only.

Each command imports what it needs when it runs: `swarm-memory get` must not pay for the server's imports.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import itertools
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import swarm_operator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from swarm_operator.memory.client import MemoryClient

__all__ = ["main"]

OK: Final = 0
FAILED: Final = 1
NOT_FOUND: Final = 3
"""2 is argparse's, for flags that are not allowed."""

_LAPTOP_TOKEN: Final = Path("data/tokens/client-token")
_LAPTOP_ADMIN_TOKEN: Final = Path("data/tokens/admin-token")
_BATCH_LINES: Final = 500
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0 done, 1 failed, 2 a flag is not allowed, 3 no such entry."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    return run(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="swarm-memory",
        description="A durable memory for swarms of agents: one SQLite file behind HTTP.",
        epilog="Flags may also be given by the environment variables named in brackets; a flag wins.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {swarm_operator.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_serve(commands.add_parser("serve", help="run the service"))

    put = _add_client(commands, "put", _put, "write an entry")
    put.add_argument("namespace", metavar="NAMESPACE")
    put.add_argument("key", metavar="KEY")
    put.add_argument("value", metavar="VALUE", type=_json, help="JSON: '{\"a\": 1}', 42, '\"text\"'")
    put.add_argument(
        "--ttl", type=_whole(0), default=None, metavar="SECONDS", help="how long it lives; default for ever"
    )
    put.add_argument("--tag", action="append", default=[], metavar="TAG", help="may be repeated")
    for name, run, text in (("get", _get, "print an entry"), ("delete", _delete, "delete an entry, or many")):
        command = _add_client(commands, name, run, text)
        command.add_argument("namespace", metavar="NAMESPACE")
        if name == "get":
            command.add_argument("key", metavar="KEY")
        else:
            which = command.add_mutually_exclusive_group(required=True)
            which.add_argument("key", metavar="KEY", nargs="?")
            which.add_argument("--prefix", help="all whose keys start so; --prefix '' empties the namespace")
    batch = _add_client(
        commands, "batch", _batch, "carry out operations, one JSON object a line, and print the results"
    )
    batch.add_argument("file", metavar="FILE", nargs="?", default="-", help="default: -, standard input")
    batch.add_argument("--each", action="store_true", help="each operation alone; default: 500 lines at once or none")
    listing = _add_client(commands, "list", _list, "print a namespace's entries, one a line")
    listing.add_argument("namespace", metavar="NAMESPACE")
    listing.add_argument("--prefix", default="", help="only keys that start so")
    searching = _add_client(commands, "search", _search, "print the entries that a search finds, one a line")
    searching.add_argument("text", metavar="WORD", nargs="*", help="words that all occur; wor* is the start of one")
    searching.add_argument("--namespace", help="default: everywhere")
    searching.add_argument("--subtree", action="store_true", help="also in the namespaces below it")
    searching.add_argument("--prefix", default="", help="only keys that start so")
    searching.add_argument("--glob", help="only keys that match, as 'agent:*'")
    searching.add_argument("--tag", action="append", default=[], metavar="TAG", help="may be repeated: all of them")
    searching.add_argument("--any-tag", action="append", default=[], metavar="TAG", help="may be repeated: one of them")
    searching.add_argument("--metadata", type=_json, metavar="JSON", help="fields that have these values")
    searching.add_argument("--updated-since", metavar="TIME", help="RFC 3339: 2026-01-31T12:00:00Z")
    searching.add_argument("--match", metavar="EXPRESSION", help="an FTS5 expression in place of words")
    searching.add_argument("--order", choices=("key", "updated", "rank"), help="default: rank with a text")
    searching.add_argument("--no-values", action="store_true", help="without values and metadata")
    searching.add_argument("--limit", type=_whole(1), metavar="N", help="at most so many; default: all")
    watching = _add_client(commands, "watch", _watch, "print changes as they are committed, one a line")
    watching.add_argument("namespace", metavar="NAMESPACE", nargs="?", help="default: everywhere")
    watching.add_argument("--prefix", default="", help="only keys that start so")
    watching.add_argument(
        "--since", type=_whole(0), metavar="SEQ", help="go on after that change; default: from now on"
    )
    watching.add_argument("--limit", type=_whole(1), metavar="N", help="end after so many; default: never")
    _add_swarm(commands)
    _add_client(commands, "stats", _stats, "print counts, sizes and settings")
    _add_client(commands, "gc", _gc, "collect expired entries now; needs the admin token", admin=True)
    return parser


def _add_swarm(commands: Any) -> None:
    agents = _add_client(commands, "agents", _agents, "print the swarm's agents, one a line")
    tasks = _add_client(commands, "tasks", _tasks, "print the swarm's tasks, one a line")
    for command in (agents, tasks):
        command.add_argument("--status", help="only those of this status")
        command.add_argument("--type", help="only those of this type")
    agents.add_argument("--capability", help="only those that have it")
    agents.add_argument("--stale", type=_switch, default=None, metavar="BOOL", help="whether they were silent for long")
    tasks.add_argument("--agent", help="only those that it has claimed, or that are assigned to it")
    export = _add_client(commands, "export", _export, "print the swarm's entries as lines of JSON")
    export.add_argument(
        "--all", action="store_true", help="of all namespaces, not only of those that start with swarm:"
    )
    export.add_argument("--namespace", action="append", default=[], help="only of this one; may be repeated")
    imports = _add_client(commands, "import", _import, "write what export printed; may be repeated")
    imports.add_argument("file", metavar="FILE", help="- is the standard input")
    imports.add_argument("--keep", action="store_true", help="leave entries that are there with another value")
    cleanup = _add_client(
        commands, "cleanup", _cleanup, "delete old messages, completed tasks and metrics; needs the admin token",
        admin=True,
    )  # fmt: skip
    cleanup.add_argument(
        "--max-age", type=_interval, metavar="AGE", help="what counts as old: 168h, or seconds; 7 days"
    )
    cleanup.add_argument("--dry-run", action="store_true", help="only count")


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=_serve)
    flag = _Flags(parser)
    flag("--data-dir", "DATA_DIR", "data", Path, "where the database lies; made if it is missing")
    flag("--swarm-id", "SWARM_ID", "default", _swarm_id, "whose memory this is")
    flag("--cache-size", "CACHE_SIZE", "1000", _whole(1, 10_000_000), "entries that the cache holds at most")
    flag("--cache-memory-mb", "CACHE_MEMORY_MB", "50", _whole(1, 65_536), "MiB that they take at most")
    flag("--enable-wal", "ENABLE_WAL", "true", _switch, "write-ahead log; false: rollback journal")
    flag(
        "--compression-threshold", "COMPRESSION_THRESHOLD", "10240", _whole(0, 2**31 - 1),
        "values over so many bytes are compressed where that saves space; 0: none",
    )  # fmt: skip
    flag(
        "--gc-interval", "GC_INTERVAL", "5m", _interval,
        "time between two collections of expired entries: 5m, 1h30m, or seconds",
    )  # fmt: skip
    flag("--enable-vacuum", "ENABLE_VACUUM", "true", _switch, "give empty pages back to the file system after each")
    flag("--full-text", "FULL_TEXT", "true", _switch, "find entries by their words; false makes writes cheaper")
    flag("--host", "HOST", "127.0.0.1", str, "the address to listen on")
    flag("--http-port", "HTTP_PORT", "8080", _whole(0, 65_535), "the API's port; 0 takes a free one")
    flag("--grpc-port", "GRPC_PORT", "9090", _port_or_off, "gRPC's port; 0 takes a free one; off: no gRPC")
    flag("--metrics-port", "METRICS_PORT", "9091", _whole(0, 65_535), "the port of /metrics; 0 takes a free one")
    flag("--token-dir", "TOKEN_DIR", "", str, "holds client-token and admin-token; default: DATA_DIR/tokens, made")
    flag("--mcp", "MCP_MODE", "false", _switch, "the Model Context Protocol at /mcp on the API's port")
    flag(
        "--mcp-answer-bytes", "MCP_ANSWER_BYTES", "24576", _whole(16_384, 16 * 1024 * 1024),
        "bytes that an answer of MCP has at most",
    )  # fmt: skip
    flag(
        "--mcp-allowed-origins", "MCP_ALLOWED_ORIGINS", "", _origins,
        "web origins that may use /mcp, with commas between; programs need none; default: none",
    )  # fmt: skip
    flag("--log-level", "LOG_LEVEL", "info", _one_of("debug", "info", "warning", "error"), "the least that is logged")


def _add_client(
    commands: Any,
    name: str,
    run: Callable[[argparse.Namespace, MemoryClient], Any],
    text: str,
    *,
    admin: bool = False,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(run=lambda options: _call(options, run))
    flag = _Flags(parser)
    flag("--url", "SWARM_MEMORY_URL", "http://127.0.0.1:8080", _url, "where the service is")
    laptop = _LAPTOP_ADMIN_TOKEN if admin else _LAPTOP_TOKEN
    variable = "SWARM_MEMORY_ADMIN_TOKEN_FILE" if admin else "SWARM_MEMORY_TOKEN_FILE"
    default = str(laptop) if laptop.exists() else ""
    flag("--token-file", variable, default, str, f"holds the token; default: {laptop}, if there")
    return parser


class _Flags:
    """Adds flags whose defaults come from the environment. argparse checks such a default like the flag itself."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser

    def __call__(self, flag: str, variable: str, default: str, kind: Callable[[str], Any], text: str) -> None:
        """Add one. An empty variable counts as not set."""
        shown = f"; default {default}" if default and "default" not in text else ""
        self._parser.add_argument(
            flag,
            type=kind,
            default=os.environ.get(variable) or default,
            metavar=variable,
            help=f"{text}{shown} [{variable}]",
        )


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    allowed = f"a whole number from {least} to {most}" if most is not None else f"a whole number from {least}"

    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 19 and int(text) >= least:
            number = int(text)
            if most is None or number <= most:
                return number
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: {allowed}")

    return parse


def _interval(text: str) -> float:
    from swarm_operator.api.quantity import parse_duration  # noqa: PLC0415 - only serve needs it

    # What the CRD allows, and plain seconds.
    try:
        seconds = float(text) if text.isascii() and text.isdigit() and len(text) <= 10 else parse_duration(text)
    except ValueError:
        seconds = 0.0
    if 1 <= seconds <= 1e10:
        return seconds
    raise argparse.ArgumentTypeError(f"{text[:64]!r} is not allowed: 1s or longer, as 90, 5m or 1h30m")


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() in names:
            return text.lower()
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: one of {', '.join(names)}")

    return parse


def _switch(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed: true or false")


def _port_or_off(text: str) -> int | None:
    if text == "off":
        return None
    try:
        return _whole(0, 65_535)(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed: 0 to 65535, or off") from None


def _origins(text: str) -> tuple[str, ...]:
    origins = tuple(part.strip() for part in text.split(",") if part.strip())
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in {"http", "https"} or not parts.netloc or f"{parts.scheme}://{parts.netloc}" != origin:
            raise argparse.ArgumentTypeError(
                f"{origin[:64]!r} is not allowed: an origin is https://HOST or http://HOST:PORT"
            )
    return origins


def _swarm_id(text: str) -> str:
    if 1 <= len(text.encode(errors="surrogateescape")) <= 255:
        return text
    raise argparse.ArgumentTypeError(f"{text[:64]!r} is not allowed: 1 to 255 bytes")


def _url(text: str) -> str:
    if text.startswith(("http://", "https://")):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not allowed: http://HOST:PORT or https://HOST:PORT")


def _json(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(name)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise argparse.ArgumentTypeError(
            f"{text[:64]!r} is not allowed: a JSON value; a text needs its quotes: '\"text\"'"
        ) from None


def _serve(options: argparse.Namespace) -> int:
    import uvloop  # noqa: PLC0415 - see the module's docstring

    from swarm_operator.cmd import logs  # noqa: PLC0415
    from swarm_operator.memory.engine import StoreConfig  # noqa: PLC0415
    from swarm_operator.memory.service import server  # noqa: PLC0415
    from swarm_operator.memory.service.settings import ServiceSettings  # noqa: PLC0415

    logs.configure(options.log_level)
    os.umask(0o077)  # the database and its log are as confidential as the tokens
    settings = ServiceSettings(
        data_dir=options.data_dir,
        host=options.host,
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        metrics_port=options.metrics_port,
        token_dir=Path(options.token_dir) if options.token_dir else None,
        mcp=options.mcp,
        mcp_max_answer_bytes=options.mcp_answer_bytes,
        mcp_allowed_origins=options.mcp_allowed_origins,
    )
    config = StoreConfig(
        swarm_id=options.swarm_id,
        cache_size=options.cache_size,
        cache_memory_mb=options.cache_memory_mb,
        enable_wal=options.enable_wal,
        compression_threshold=options.compression_threshold,
        gc_interval=options.gc_interval,
        enable_vacuum=options.enable_vacuum,
        full_text=options.full_text,
    )
    return uvloop.run(server.serve(settings, config))


def _call(options: argparse.Namespace, run: Callable[[argparse.Namespace, MemoryClient], Any]) -> int:
    """Run a client command; print what it returns as JSON, each line of it if it is an iterator."""
    from swarm_operator.memory.client import MemoryClient, MemoryClientError  # noqa: PLC0415

    async def command() -> int:
        token_file = Path(options.token_file) if options.token_file else None
        async with MemoryClient(options.url, token_file=token_file) as client:
            code: int = await run(options, client)
            return code

    try:
        return asyncio.run(command())
    except MemoryClientError as error:
        print(f"swarm-memory: {error}", file=sys.stderr)  # noqa: T201 - this is a command line
        return FAILED
    except KeyboardInterrupt:  # the usual end of a watch
        return OK
    except BrokenPipeError:  # `swarm-memory list ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK


async def _put(options: argparse.Namespace, client: MemoryClient) -> int:
    head = await client.put(options.namespace, options.key, options.value, ttl=options.ttl, tags=options.tag)
    return _print(head.raw)


async def _get(options: argparse.Namespace, client: MemoryClient) -> int:
    entry = await client.get(options.namespace, options.key)
    return _print(entry.raw) if entry is not None else _not_found(options)


async def _delete(options: argparse.Namespace, client: MemoryClient) -> int:
    if options.prefix is not None:
        deleted = await client.delete_range(options.namespace, prefix=options.prefix)
        return _print({"deleted": deleted, "namespace": options.namespace, "prefix": options.prefix})
    if not await client.delete(options.namespace, options.key):
        return _not_found(options)
    return _print({"deleted": True, "namespace": options.namespace, "key": options.key})


async def _batch(options: argparse.Namespace, client: MemoryClient) -> int:
    try:
        # Nothing else runs in this loop that a slow file could hold up.
        source = contextlib.nullcontext(sys.stdin) if options.file == "-" else Path(options.file).open()  # noqa: ASYNC230, SIM115
        with source as file:
            return await _batch_lines(file, client, atomic=not options.each)
    except BrokenPipeError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        print(f"swarm-memory: {options.file}: {error}", file=sys.stderr)  # noqa: T201
        return FAILED


async def _batch_lines(file: Iterable[str], client: MemoryClient, *, atomic: bool) -> int:
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
                print(f"swarm-memory: line {number} is not a JSON object", file=sys.stderr)  # noqa: T201
                return FAILED
        for result in await client.batch(operations, atomic=atomic):
            _print({"status": result.status, "entry": result.entry and result.entry.raw, "problem": result.problem})
            code = code if result.ok or result.status == 404 else FAILED
    return code


async def _list(options: argparse.Namespace, client: MemoryClient) -> int:
    async for entry in client.iterate(options.namespace, prefix=options.prefix):
        _print(entry.raw)
    return OK


async def _search(options: argparse.Namespace, client: MemoryClient) -> int:
    if options.metadata is not None and not isinstance(options.metadata, dict):
        print("swarm-memory: --metadata takes a JSON object", file=sys.stderr)  # noqa: T201
        return FAILED
    hits = client.find(
        namespace=options.namespace,
        subtree=options.subtree,
        prefix=options.prefix,
        glob=options.glob,
        tags=options.tag,
        any_tags=options.any_tag,
        metadata=options.metadata,
        updated_since=options.updated_since,
        text=" ".join(options.text) or None,
        match=options.match,
        order=options.order,
        values=not options.no_values,
        limit=min(options.limit or 100, 1000),
    )
    printed = 0
    async for hit in hits:
        _print(hit.raw)
        printed += 1
        if printed == options.limit:
            break
    return OK


async def _agents(options: argparse.Namespace, client: MemoryClient) -> int:
    filters = {name: getattr(options, name) for name in ("status", "type", "capability", "stale")}
    async for agent in client.agents.iterate(**filters):
        _print(agent)
    return OK


async def _tasks(options: argparse.Namespace, client: MemoryClient) -> int:
    async for task in client.tasks.iterate(**{name: getattr(options, name) for name in ("status", "type", "agent")}):
        _print(task)
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
        _print(dataclasses.asdict(change))
        sys.stdout.flush()
        seen += 1
        if seen == options.limit:
            break
    return OK


async def _export(options: argparse.Namespace, client: MemoryClient) -> int:
    async for line in client.swarm.export(namespaces=options.namespace, everything=options.all):
        sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
    return OK


async def _import(options: argparse.Namespace, client: MemoryClient) -> int:
    try:
        # The files of a command line are as slow as they are, and nothing else runs in this process.
        with contextlib.ExitStack() as stack:
            standard = options.file == "-"
            lines = sys.stdin.buffer if standard else stack.enter_context(Path(options.file).open("rb"))  # noqa: ASYNC230
            return _print(await client.swarm.import_(lines, keep_existing=options.keep))
    except OSError as error:
        print(f"swarm-memory: {options.file}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return FAILED


async def _cleanup(options: argparse.Namespace, client: MemoryClient) -> int:
    return _print(await client.swarm.cleanup(max_age=options.max_age, dry_run=options.dry_run))


async def _stats(_: argparse.Namespace, client: MemoryClient) -> int:
    return _print((await client.stats()).raw)


async def _gc(_: argparse.Namespace, client: MemoryClient) -> int:
    return _print(await client.gc())


def _print(document: Any) -> int:
    print(json.dumps(document, ensure_ascii=False))  # noqa: T201
    return OK


def _not_found(options: argparse.Namespace) -> int:
    print(f"swarm-memory: no entry {options.key!r} in namespace {options.namespace!r}", file=sys.stderr)  # noqa: T201
    return NOT_FOUND


if __name__ == "__main__":
    sys.exit(main())
