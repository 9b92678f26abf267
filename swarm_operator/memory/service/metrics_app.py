"""ASGI application of the metrics port."""

from __future__ import annotations

from typing import Final

from prometheus_client import generate_latest
from starlette.types import Receive, Scope, Send

from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics, StoreCollector

_CONTENT_TYPE: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class MetricsApp:
    """ASGI application that serves GET /metrics."""

    def __init__(self, metrics: ServiceMetrics, collector: StoreCollector) -> None:
        self._metrics = metrics
        self._collector = collector

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["path"] != "/metrics":
            reply = Reply(404, b"metrics are at /metrics\n", ((b"content-type", b"text/plain"),))
        elif scope["method"] not in {"GET", "HEAD"}:
            reply = Reply(405, b"", ((b"allow", b"GET, HEAD"),))
        else:
            await self._collector.refresh()
            reply = Reply(200, generate_latest(self._metrics.registry), (_CONTENT_TYPE,))
        await reply.send(send)
