"""`swarm-memory serve`."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from swarm_operator.cmd.memory.codes import complain
from swarm_operator.cmd.memory.flags import Flags, add_embedder, add_object_store
from swarm_operator.cmd.memory.values import interval, one_of, origins, port_or_off, swarm_id, switch, toolsets, whole
from swarm_operator.shared import limits
from swarm_operator.shared.log_level import LEVELS

_MIB: Final = 1024 * 1024


def add(commands: Any) -> None:
    """Add `serve`."""
    parser = commands.add_parser("serve", help="run the service", description="run the service")
    parser.set_defaults(run=_serve)
    flag = Flags(parser)
    flag("--data-dir", "DATA_DIR", "data", Path, "where the database lies; made if it is missing")
    flag("--swarm-id", "SWARM_ID", "default", swarm_id, "whose memory this is")
    flag("--cache-size", "CACHE_SIZE", "1000", whole(*limits.CACHE_SIZE), "entries that the cache holds at most")
    flag("--cache-memory-mb", "CACHE_MEMORY_MB", "50", whole(*limits.CACHE_MEMORY_MB), "MiB that they take at most")
    flag("--enable-wal", "ENABLE_WAL", "true", switch, "write-ahead log; false: rollback journal")
    flag(
        "--compression-threshold", "COMPRESSION_THRESHOLD", "10240", whole(*limits.COMPRESSION_THRESHOLD),
        "values over so many bytes are compressed where that saves space; 0: none",
    )  # fmt: skip
    flag(
        "--gc-interval", "GC_INTERVAL", "5m", interval,
        "time between two collections of expired entries: 5m, 1h30m, or seconds",
    )  # fmt: skip
    flag(
        "--reserve-bytes", "RESERVE_BYTES", "33554432", whole(0, 1024 * _MIB),
        "bytes of the disk that are kept, so that entries can be deleted when it is full; 0: none",
    )  # fmt: skip
    flag("--enable-vacuum", "ENABLE_VACUUM", "true", switch, "give empty pages back to the file system after each")
    _add_search(flag)
    add_embedder(flag)
    flag("--host", "HOST", "127.0.0.1", str, "the address to listen on")
    flag("--http-port", "HTTP_PORT", "8080", whole(0, 65_535), "the API's port; 0 takes a free one")
    flag("--grpc-port", "GRPC_PORT", "9090", port_or_off, "gRPC's port; 0 takes a free one; off: no gRPC")
    flag("--metrics-port", "METRICS_PORT", "9091", whole(0, 65_535), "the port of /metrics; 0 takes a free one")
    flag("--token-dir", "TOKEN_DIR", "", str, "holds client-token and admin-token; default: DATA_DIR/tokens, made")
    flag("--tls-dir", "TLS_DIR", "", str, "holds tls.crt and tls.key, for TLS on all ports; default: no TLS")
    flag(
        "--service-accounts", "SERVICE_ACCOUNTS", "", str,
        "file by which tokens of Kubernetes service accounts are verified; default: none are",
    )  # fmt: skip
    flag(
        "--max-connections", "MAX_CONNECTIONS", "1000", whole(1, 1_000_000),
        "connections of the API's port at most, and never more than there are files for",
    )  # fmt: skip
    flag("--idle-timeout", "IDLE_TIMEOUT", "75s", interval, "time after which a connection without a request is closed")
    flag("--head-timeout", "HEAD_TIMEOUT", "10s", interval, "time that a head or a TLS handshake may take")
    flag("--max-body-bytes", "MAX_BODY_BYTES", "16777216", whole(1024, 16_777_216), "bytes of a request's body at most")
    flag(
        "--body-timeout", "BODY_TIMEOUT", "30s", interval,
        "time between two parts of a body, and time after which its average rate counts",
    )  # fmt: skip
    flag(
        "--send-timeout", "SEND_TIMEOUT", "30s", interval,
        "time after which the average rate counts at which a client reads a long answer",
    )  # fmt: skip
    flag(
        "--min-transfer-rate", "MIN_TRANSFER_RATE", "1024", whole(0, 2**31 - 1),
        "bytes a second at which a body arrives and an answer is read at least; 0: any",
    )  # fmt: skip
    flag(
        "--max-unsent-bytes", "MAX_UNSENT_BYTES", "134217728", whole(1024 * 1024),
        "bytes of all answers that wait for slow clients, beyond which these are disconnected",
    )  # fmt: skip
    _add_mcp(flag)
    flag("--backups", "BACKUPS", "", str, "destination of backups: file:///FOLDER, s3://BUCKET/PREFIX, gs:// or az://")
    add_object_store(flag)
    flag("--scratch", "SCRATCH", "", str, "directory for copies on their way to an object store; default: the data's")
    flag(
        "--restore-from", "RESTORE_FROM", "", str,
        "location of a backup that becomes the database if there is none yet",
    )  # fmt: skip
    flag(
        "--final-backup", "FINAL_BACKUP", "", str,
        "name of the backup after which this memory is deleted: from its beginning on writes are refused for good",
    )  # fmt: skip
    flag(
        "--keep-former", "KEEP_FORMER", "false", switch,
        "copy the database before its schema changes, and refuse writes until /readyz succeeds",
    )  # fmt: skip
    _add_limits(flag)
    flag("--log-level", "LOG_LEVEL", "info", one_of(*LEVELS), "the least that is logged")


def _add_limits(flag: Flags) -> None:
    """Add the limits of what runs or waits at one time."""
    flag("--max-share", "MAX_SHARE", "50", whole(1, 100), "percentage of each limit below that one token may hold")
    flag(
        "--max-held-body-bytes", "MAX_HELD_BODY_BYTES", "134217728", whole(_MIB),
        "bytes of all large requests in flight, over HTTP and gRPC",
    )  # fmt: skip
    flag("--max-watches", "MAX_WATCHES", "200", whole(1), "concurrent watches")
    flag("--max-exports", "MAX_EXPORTS", "4", whole(1), "concurrent exports")
    flag("--max-imports", "MAX_IMPORTS", "4", whole(1), "concurrent imports")
    flag("--max-grpc-calls", "MAX_GRPC_CALLS", "512", whole(1), "concurrent gRPC calls, watches included")
    flag("--max-grpc-connections", "MAX_GRPC_CONNECTIONS", "256", whole(1), "connections to the gRPC port")
    flag("--mcp-max-sessions", "MCP_MAX_SESSIONS", "500", whole(1), "concurrent MCP sessions, and concurrent listeners")
    flag(
        "--max-searches", "MAX_SEARCHES", "1", whole(1, 64),
        "concurrent searches for words, each on a thread of its own",
    )  # fmt: skip
    flag(
        "--max-waiting-searches", "MAX_WAITING_SEARCHES", "128", whole(1, 1_000_000),
        "searches for words that wait for their turn, a quarter of them of one token",
    )  # fmt: skip


def _add_mcp(flag: Flags) -> None:
    flag("--mcp", "MCP_MODE", "false", switch, "the Model Context Protocol at /mcp on the API's port")
    flag(
        "--mcp-toolsets", "MCP_TOOLSETS", "core", toolsets,
        "tools that MCP lists: core, tasks, swarm, classic, admin or all, with commas between",
    )  # fmt: skip
    flag(
        "--mcp-answer-bytes", "MCP_ANSWER_BYTES", "24576", whole(16_384, 16 * 1024 * 1024),
        "bytes that an answer of MCP has at most",
    )  # fmt: skip
    flag(
        "--mcp-body-bytes", "MCP_BODY_BYTES", "4194304", whole(16_384, 16 * 1024 * 1024),
        "bytes of the body of a request to /mcp at most",
    )  # fmt: skip
    flag(
        "--mcp-allowed-origins", "MCP_ALLOWED_ORIGINS", "", origins,
        "web origins that may use /mcp, with commas between; programs need none; default: none",
    )  # fmt: skip


def _add_search(flag: Flags) -> None:
    """Add the flags of searches for words."""
    flag("--full-text", "FULL_TEXT", "true", switch, "find entries by their words; false makes writes cheaper")
    flag(
        "--search-language", "SEARCH_LANGUAGE", limits.SEARCH_LANGUAGES[0], one_of(*limits.SEARCH_LANGUAGES),
        "language whose endings searches for words ignore; none: words are found as they are written",
    )  # fmt: skip
    flag(
        "--search-wait-ms", "SEARCH_WAIT_MS", "250", whole(0, 60_000),
        "milliseconds that a search for words waits at most for the words of writes before it",
    )  # fmt: skip


def _serve(options: argparse.Namespace) -> int:
    import uvloop  # noqa: PLC0415 - only serve needs it

    with _absent("rich"):
        from swarm_operator.cmd import logs  # noqa: PLC0415
    from swarm_operator.memory.core.errors import ConfigError  # noqa: PLC0415
    from swarm_operator.memory.embedding.settings import EmbedderSettings  # noqa: PLC0415
    from swarm_operator.memory.service import server  # noqa: PLC0415
    from swarm_operator.memory.service.settings import ServiceSettings  # noqa: PLC0415
    from swarm_operator.memory.sqlite import StoreConfig  # noqa: PLC0415

    logs.configure(options.log_level)
    os.umask(0o077)  # the database and its log are as confidential as the tokens
    try:
        embedder = EmbedderSettings(
            mode=options.embedder,
            url=options.embedder_url or None,
            model=options.embedder_model or None,
            key_file=options.embedder_key_file,
            ca_file=options.embedder_ca_file,
            width=options.embedder_width,
            timeout=options.embedder_timeout,
            batch=options.embedder_batch,
        )
    except ConfigError as error:
        return complain(error)
    settings = ServiceSettings(
        data_dir=options.data_dir,
        host=options.host,
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        metrics_port=options.metrics_port,
        token_dir=Path(options.token_dir) if options.token_dir else None,
        service_accounts=Path(options.service_accounts) if options.service_accounts else None,
        tls_dir=Path(options.tls_dir) if options.tls_dir else None,
        max_connections=options.max_connections,
        idle_timeout=options.idle_timeout,
        head_timeout=options.head_timeout,
        max_body_bytes=options.max_body_bytes,
        body_timeout=options.body_timeout,
        send_timeout=options.send_timeout,
        min_transfer_rate=options.min_transfer_rate,
        max_unsent_bytes=options.max_unsent_bytes,
        mcp=options.mcp,
        mcp_toolsets=options.mcp_toolsets,
        mcp_max_body_bytes=options.mcp_body_bytes,
        mcp_max_answer_bytes=options.mcp_answer_bytes,
        mcp_allowed_origins=options.mcp_allowed_origins,
        backups=options.backups or None,
        backups_options=options.backups_options,
        backups_credentials=options.backups_credentials,
        scratch=Path(options.scratch) if options.scratch else None,
        restore_from=options.restore_from or None,
        max_share=options.max_share,
        max_held_body_bytes=options.max_held_body_bytes,
        max_watches=options.max_watches,
        max_exports=options.max_exports,
        max_imports=options.max_imports,
        max_grpc_calls=options.max_grpc_calls,
        max_grpc_connections=options.max_grpc_connections,
        mcp_max_sessions=options.mcp_max_sessions,
        embedder=embedder,
    )
    config = StoreConfig(
        swarm_id=options.swarm_id,
        cache_size=options.cache_size,
        cache_memory_mb=options.cache_memory_mb,
        enable_wal=options.enable_wal,
        compression_threshold=options.compression_threshold,
        gc_interval=options.gc_interval,
        enable_vacuum=options.enable_vacuum,
        reserve_bytes=options.reserve_bytes,
        full_text=options.full_text,
        search_language=options.search_language,
        search_wait=options.search_wait_ms / 1000,
        max_searches=options.max_searches,
        max_waiting_searches=options.max_waiting_searches,
        final_backup=options.final_backup or None,
        keep_former=options.keep_former,
    )
    return uvloop.run(server.serve(settings, config))


@contextlib.contextmanager
def _absent(package: str) -> Iterator[None]:
    """Let imports of a package fail inside this context, unless it has been imported.

    structlog imports rich where there is one, for colours, which these logs don't have: a quarter of the start.
    """
    if package in sys.modules:
        yield
        return
    sys.modules[package] = None  # type: ignore[assignment] # https://docs.python.org/3/reference/import.html
    try:
        yield
    finally:
        del sys.modules[package]
