"""Settings of the service; sqlite.config has the settings of the store."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from swarm_operator.memory.embedding.settings import EmbedderSettings

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceSettings:
    """Settings of the service: addresses, limits, shutdown and MCP."""

    data_dir: Path = Path("data")
    """Directory of `swarm-memory.db` and related files. Created if missing; must be on a local file system."""

    host: str = "127.0.0.1"
    """Address that all ports listen on. 0.0.0.0 is all IPv4 addresses; :: is all IPv4 and IPv6 addresses, or all IPv4
    addresses where the machine has no IPv6."""

    http_port: int = 8080
    """TCP port of the API; 0 selects a free port, which is logged."""

    grpc_port: int | None = 9090
    """TCP port of gRPC; 0 selects a free port; None disables gRPC, and its modules are not loaded."""

    metrics_port: int = 9091
    """TCP port of /metrics; 0 selects a free port."""

    token_dir: Path | None = None
    """Directory with `client-token`, `admin-token` and optionally `tokens.json`. None: DATA_DIR/tokens, created with
    two random tokens if missing."""

    service_accounts: Path | None = None
    """File with rules to verify tokens of Kubernetes service accounts, see shared.service_accounts. None: such tokens
    are not accepted."""

    tls_dir: Path | None = None
    """Directory with `tls.crt` and `tls.key` for TLS on all ports. None: no TLS."""

    backups: str | None = None
    """URL of the destination of backups: file:///FOLDER, s3://BUCKET/PREFIX, gs://... or az://...; None: no
    destination."""

    backups_options: Path | None = None
    """JSON file with the options of an object store, see transfer.backups.options."""

    backups_credentials: Path | None = None
    """Directory with a file for each credential of an object store. The files are read again for each request."""

    scratch: Path | None = None
    """Directory for temporary copies of backups in an object store. None: the data directory."""

    restore_from: str | None = None
    """Location of a backup that is restored at the start if no database exists."""

    max_body_bytes: int = 16 * MIB
    """Maximum bytes of a request body; longer bodies get 413."""

    max_share: int = 50
    """Percentage of each limit below (bytes, watches, exports, imports, calls, sessions) that one token may hold."""

    max_held_body_bytes: int = 128 * MIB
    """Maximum total bytes of HTTP bodies over 64 KiB and of gRPC messages whose requests are not yet answered; then
    429."""

    body_timeout: float = 30.0
    """Maximum seconds between two parts of a request body; then 408. After this time the minimum average rate applies,
    too."""

    head_timeout: float = 10.0
    """Maximum seconds from the first byte of a request's head to its last; then 408. Also the maximum seconds of a TLS
    handshake; then the connection is closed."""

    idle_timeout: float = 75.0
    """Seconds after which a connection without a request is closed."""

    send_timeout: float = 30.0
    """Seconds after which the minimum average rate applies to a client that reads a response larger than the send
    buffer."""

    min_transfer_rate: int = 1024
    """Minimum average bytes per second of a request body, and of a response that a client reads; 0: no minimum."""

    max_connections: int = 1000
    """Maximum connections of the API's port; the limit of open files may reduce it."""

    max_unsent_bytes: int = 128 * MIB
    """Maximum bytes of all responses that wait for slow clients; beyond it the slowest clients are disconnected."""

    max_watches: int = 200
    """Maximum concurrent watches; more get 429. A watch costs a connection and work at each matching commit."""

    max_exports: int = 4
    """Maximum concurrent exports; more get 429."""

    max_imports: int = 4
    """Maximum concurrent imports; more get 429. An import holds a batch and a line in memory."""

    max_grpc_calls: int = 512
    """Maximum concurrent gRPC calls, including watches but not health checks; more get RESOURCE_EXHAUSTED."""

    max_grpc_message_bytes: int = 4 * MIB
    """Maximum bytes of a gRPC message, which the package grpc copies on the event loop; more get RESOURCE_EXHAUSTED.
    The default is gRPC's own."""

    max_grpc_connections: int = 256
    """Maximum connections to the gRPC port; more are closed."""

    watch_heartbeat: float = 15.0
    """Seconds without a change after which a watch sends a heartbeat, so that proxies keep the connection open."""

    watch_pause: float = 0.02
    """Seconds between two sends of a watch. The first change is sent at once; changes within this time are sent
    together. Without the pause a hundred watches would cost more than the watched writes."""

    grace: int = 20
    """Grace period in seconds for in-flight requests after SIGTERM. Kubernetes' grace period must be longer."""

    mcp: bool = False
    """Whether /mcp is served. If disabled, its modules are not loaded."""

    mcp_toolsets: tuple[str, ...] = ("core",)
    """Toolsets that `tools/list` returns unless the request's URL names others; see mcp.toolsets."""

    mcp_max_answer_bytes: int = 24 * 1024
    """Maximum bytes of a tool's or resource's response as compact JSON, which takes space in a model's context. At
    least 16384. Truncated responses say how to get the rest."""

    mcp_max_body_bytes: int = 4 * MIB
    """Maximum bytes of the body of a request to /mcp, which takes longer to validate than others; more get 413."""

    mcp_max_sessions: int = 500
    """Maximum concurrent sessions, and maximum concurrent listeners. A session takes 40 KiB. A token that has its share
    of sessions ends its own oldest idle session with the next one; more listeners get 429."""

    mcp_idle: float = 1800.0
    """Seconds without a request or an open stream after which a session ends; the client then opens a new session."""

    mcp_allowed_origins: tuple[str, ...] = ()
    """Origins (`https://host`) whose pages may use /mcp. Programs send no Origin and need no entry."""

    embedder: EmbedderSettings = field(default_factory=EmbedderSettings)
    """Embedder of questions, and of entries that are written without a vector."""
