"""`swarm-memory serve`."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from typing import Any, Final

from swarm_operator.cmd.memory.codes import complain
from swarm_operator.cmd.memory.flags import EMBEDDER, OBJECT_STORE, flag, flags
from swarm_operator.cmd.memory.parsing import FILE, FOLDER, OneOf, command
from swarm_operator.cmd.memory.values import interval, origins, port_or_off, swarm_id, switch, toolsets, whole
from swarm_operator.shared import limits
from swarm_operator.shared.log_level import LEVELS

_MIB: Final = 1024 * 1024


def _milliseconds(text: str) -> float:
    return whole(0, 60_000)(text) / 1000


@command("serve")
@flags(
    flag("--data-dir", "DATA_DIR", "data", FOLDER, "directory of the database; created if missing"),
    flag("--swarm-id", "SWARM_ID", "default", swarm_id, "swarm of the memory"),
    flag("--cache-size", "CACHE_SIZE", "1000", whole(*limits.CACHE_SIZE), "maximum entries in the cache"),
    flag("--cache-memory-mb", "CACHE_MEMORY_MB", "50", whole(*limits.CACHE_MEMORY_MB), "maximum MiB of the cache"),
    flag("--enable-wal", "ENABLE_WAL", "true", switch, "write-ahead log; false: rollback journal"),
    flag(
        "--compression-threshold", "COMPRESSION_THRESHOLD", "10240", whole(*limits.COMPRESSION_THRESHOLD),
        "size in bytes above which values are compressed; 0: never",
    ),
    flag(
        "--gc-interval", "GC_INTERVAL", "5m", interval,
        "time between two collections of expired entries: 5m, 1h30m, or seconds",
    ),
    flag(
        "--reserve-bytes", "RESERVE_BYTES", "33554432", whole(0, 1024 * _MIB),
        "bytes reserved for deletes on a full disk; 0: none",
    ),
    flag("--enable-vacuum", "ENABLE_VACUUM", "true", switch, "return empty pages to the file system"),
    flag("--full-text", "FULL_TEXT", "true", switch, "index words for searches; false makes writes cheaper"),
    flag(
        "--search-language", "SEARCH_LANGUAGE", limits.SEARCH_LANGUAGES[0], OneOf(*limits.SEARCH_LANGUAGES),
        "language whose word endings searches ignore; none: words as written",
    ),
    flag(
        "--search-wait-ms search_wait", "SEARCH_WAIT_MS", "250", _milliseconds,
        "maximum milliseconds that a search waits for earlier writes to be indexed",
    ),
    EMBEDDER,
    flag("--host", "HOST", "127.0.0.1", str, "address to listen on"),
    flag("--http-port", "HTTP_PORT", "8080", whole(0, 65_535), "port of the API; 0: a free port"),
    flag("--grpc-port", "GRPC_PORT", "9090", port_or_off, "port of gRPC; 0: a free port; off: no gRPC"),
    flag("--metrics-port", "METRICS_PORT", "9091", whole(0, 65_535), "port of /metrics; 0: a free port"),
    flag(
        "--token-dir", "TOKEN_DIR", None, FOLDER,
        "directory with client-token and admin-token; default: DATA_DIR/tokens, created",
    ),
    flag("--tls-dir", "TLS_DIR", None, FOLDER, "directory with tls.crt and tls.key; default: no TLS"),
    flag(
        "--service-accounts", "SERVICE_ACCOUNTS", None, FILE,
        "file that verifies tokens of service accounts; default: none are valid",
    ),
    flag(
        "--max-connections", "MAX_CONNECTIONS", "1000", whole(1, 1_000_000),
        "maximum connections of the API's port",
    ),
    flag(
        "--idle-timeout", "IDLE_TIMEOUT", "75s", interval,
        "time after which a connection without a request is closed",
    ),
    flag("--head-timeout", "HEAD_TIMEOUT", "10s", interval, "maximum time of a request's head or a TLS handshake"),
    flag(
        "--max-body-bytes", "MAX_BODY_BYTES", "16777216", whole(1024, 16_777_216),
        "maximum bytes of a request's body",
    ),
    flag(
        "--body-timeout", "BODY_TIMEOUT", "30s", interval,
        "maximum time between two parts of a body, and before the minimum rate applies",
    ),
    flag(
        "--send-timeout", "SEND_TIMEOUT", "30s", interval,
        "time before the minimum rate applies to a client that reads an answer",
    ),
    flag(
        "--min-transfer-rate", "MIN_TRANSFER_RATE", "1024", whole(0, 2**31 - 1),
        "minimum average bytes per second of a body or a long answer; 0: none",
    ),
    flag(
        "--max-unsent-bytes", "MAX_UNSENT_BYTES", "134217728", whole(1024 * 1024),
        "maximum bytes of all answers that wait for slow clients",
    ),
    flag("--mcp", "MCP_MODE", "false", switch, "the Model Context Protocol at /mcp on the API's port"),
    flag(
        "--mcp-toolsets", "MCP_TOOLSETS", "core", toolsets,
        "toolsets of MCP, comma-separated: core, tasks, swarm, classic, admin, all",
    ),
    flag(
        "--mcp-answer-bytes mcp_max_answer_bytes", "MCP_ANSWER_BYTES", "24576", whole(16_384, 16 * 1024 * 1024),
        "maximum bytes of an answer of MCP",
    ),
    flag(
        "--mcp-body-bytes mcp_max_body_bytes", "MCP_BODY_BYTES", "4194304", whole(16_384, 16 * 1024 * 1024),
        "maximum bytes of a request's body for /mcp",
    ),
    flag(
        "--mcp-allowed-origins", "MCP_ALLOWED_ORIGINS", "", origins,
        "web origins that may use /mcp, comma-separated; default: none",
    ),
    flag(
        "--backups", "BACKUPS", None, str,
        "destination of backups: file:///FOLDER, s3://BUCKET/PREFIX, gs:// or az://",
    ),
    OBJECT_STORE,
    flag(
        "--scratch", "SCRATCH", None, FOLDER,
        "directory for temporary copies of backups; default: DATA_DIR",
    ),
    flag(
        "--restore-from", "RESTORE_FROM", None, str,
        "location of a backup to restore if there is no database",
    ),
    flag(
        "--final-backup", "FINAL_BACKUP", None, str,
        "name of the final backup, which refuses further writes",
    ),
    flag(
        "--keep-former", "KEEP_FORMER", "false", switch,
        "copy the database before its schema changes, and refuse writes until /readyz succeeds",
    ),
    flag("--max-share", "MAX_SHARE", "50", whole(1, 100), "percentage of each limit below that one token may hold"),
    flag(
        "--max-held-body-bytes", "MAX_HELD_BODY_BYTES", "134217728", whole(_MIB),
        "bytes of all large requests in flight, over HTTP and gRPC",
    ),
    flag("--max-watches", "MAX_WATCHES", "200", whole(1), "concurrent watches"),
    flag("--max-exports", "MAX_EXPORTS", "4", whole(1), "concurrent exports"),
    flag("--max-imports", "MAX_IMPORTS", "4", whole(1), "concurrent imports"),
    flag("--max-grpc-calls", "MAX_GRPC_CALLS", "512", whole(1), "concurrent gRPC calls, watches included"),
    flag(
        "--max-grpc-message-bytes", "MAX_GRPC_MESSAGE_BYTES", "4194304", whole(16_384, 16 * 1024 * 1024),
        "maximum bytes of a gRPC message",
    ),
    flag("--max-grpc-connections", "MAX_GRPC_CONNECTIONS", "256", whole(1), "connections to the gRPC port"),
    flag(
        "--mcp-max-sessions", "MCP_MAX_SESSIONS", "500", whole(1),
        "concurrent MCP sessions, and concurrent listeners",
    ),
    flag(
        "--max-searches", "MAX_SEARCHES", "1", whole(1, 64),
        "concurrent searches for words, each on a thread of its own",
    ),
    flag(
        "--max-waiting-searches", "MAX_WAITING_SEARCHES", "128", whole(1, 1_000_000),
        "searches for words that wait for their turn, a quarter of them of one token",
    ),
    flag("--log-level", "LOG_LEVEL", "info", OneOf(*LEVELS), "minimum log level"),
)  # fmt: skip
def serve(log_level: str, **options: Any) -> int:
    """Run the service."""
    import uvloop  # noqa: PLC0415 - only serve needs it

    with _absent("rich"):
        from swarm_operator.cmd import logs  # noqa: PLC0415
    from swarm_operator.memory.core.errors import ConfigError  # noqa: PLC0415
    from swarm_operator.memory.embedding.settings import EmbedderSettings  # noqa: PLC0415
    from swarm_operator.memory.service import server  # noqa: PLC0415
    from swarm_operator.memory.service.settings import ServiceSettings  # noqa: PLC0415
    from swarm_operator.memory.sqlite import StoreConfig  # noqa: PLC0415

    logs.configure(log_level)
    os.umask(0o077)  # the database and its log are as confidential as the tokens
    config = StoreConfig(**_taken(options, StoreConfig))
    try:
        embedder = EmbedderSettings(**_taken(options, EmbedderSettings, prefix="embedder_"))
    except ConfigError as error:
        return complain(error)
    return uvloop.run(server.serve(ServiceSettings(embedder=embedder, **options), config))


def _taken(options: dict[str, Any], settings: Any, *, prefix: str = "") -> dict[str, Any]:
    """Take the options out that are fields of these settings. A flag's parameter is named as its field."""
    names = [field.name for field in dataclasses.fields(settings)]
    return {name: options.pop(prefix + name) for name in names if prefix + name in options}


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
