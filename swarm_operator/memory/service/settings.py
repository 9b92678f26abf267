"""The settings of the service; those of the store are in engine.config."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceSettings:
    """Where the service listens, what it lets in, how it stops."""

    data_dir: Path = Path("data")
    """Holds `swarm-memory.db` and what belongs to it. Made if it is missing; must be on a local file system."""

    host: str = "127.0.0.1"
    """The address that all ports listen on. 0.0.0.0 is all of IPv4, :: all of both."""

    http_port: int = 8080
    """The API's TCP port; 0 takes a free one, which the log then names."""

    grpc_port: int | None = 9090
    """gRPC's TCP port; 0 as above; None: gRPC is off, and nothing of it is loaded."""

    metrics_port: int = 9091
    """The TCP port of /metrics; 0 as above."""

    token_dir: Path | None = None
    """A directory with `client-token`, `admin-token` and perhaps `tokens.json`. None: DATA_DIR/tokens, made with two
    random tokens if missing."""

    max_body_bytes: int = 16 * MIB
    """The longest request body; a longer one is answered with 413."""

    max_held_body_bytes: int = 128 * MIB
    """All bodies over 64 KiB that are being received, together; beyond it 429."""

    body_timeout: float = 30.0
    """Seconds that a client may pause while it sends a body; then 408."""

    max_watches: int = 100
    """Watches at once; the next one gets a 429. Each is a connection, and some work at each commit that it wants."""

    watch_heartbeat: float = 15.0
    """Seconds without a change after which a watch is sent a sign of life, so that proxies don't cut it off."""

    watch_pause: float = 0.02
    """Seconds between two sendings of a watch: the first change goes at once, those that follow it closely go together.
    Without it a hundred watches would cost more than the writes that they watch."""

    grace: int = 20
    """Seconds that requests under way get to finish after SIGTERM. Kubernetes' own grace must be longer."""

    mcp: bool = False
    """Whether /mcp answers. Off, nothing of it is even loaded."""

    mcp_max_answer_bytes: int = 24 * 1024
    """The longest answer of a tool or resource, as compact JSON: it fills a model's context. From 16384 on; what is cut
    says how to get the rest."""

    mcp_max_sessions: int = 250
    """Sessions at once, and clients that listen to changes at once; the next one is refused. A session takes 40 KiB."""

    mcp_idle: float = 1800.0
    """Seconds without a request or an open stream after which a session ends; its client then opens another."""

    mcp_allowed_origins: tuple[str, ...] = ()
    """Origins (`https://host`) whose pages may use /mcp. Programs send no Origin and need none."""
