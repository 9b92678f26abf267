"""ASGI application of the metrics port."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from prometheus_client import generate_latest
from starlette.types import Receive, Scope, Send

from swarm_operator.memory.core.threads import run_on_thread
from swarm_operator.memory.service.asgi import Reply
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics
from swarm_operator.memory.service.telemetry.store_metrics import StoreCollector

_CONTENT_TYPE: Final = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")


class MetricsApp:
    """ASGI application that serves GET /metrics.

    The port requires no token, so the number of scrapers is unlimited. They share a page, which is rendered at most
    once in `max_age` seconds, on a thread.

    Args:
        metrics: metrics of the service.
        collector: collector of the store's statistics.
        max_age: seconds for which a page is reused.
    """

    def __init__(self, metrics: ServiceMetrics, collector: StoreCollector, *, max_age: float = 1.0) -> None:
        self._metrics = metrics
        self._collector = collector
        self._max_age = max_age
        self._rendering: asyncio.Task[bytes] | None = None
        self._rendered_at = 0.0

    async def __call__(self, scope: Scope, _: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["path"] != "/metrics":
            reply = Reply(404, b"metrics are at /metrics\n", ((b"content-type", b"text/plain"),))
        elif scope["method"] not in {"GET", "HEAD"}:
            reply = Reply(405, b"", ((b"allow", b"GET, HEAD"),))
        else:
            reply = Reply(200, await self._page(), (_CONTENT_TYPE,))
        await reply.send(send)

    async def _page(self) -> bytes:
        """Return the page that is being rendered, a recent page, or a new page."""
        page = self._rendering
        if page is None or (page.done() and (time.monotonic() - self._rendered_at >= self._max_age or _failed(page))):
            page = self._rendering = asyncio.create_task(self._render(), name="memory-metrics")
        # A scraper that disconnects must not cancel the rendering for the others.
        return await asyncio.shield(page)

    async def _render(self) -> bytes:
        await self._collector.refresh()
        page = await run_on_thread(generate_latest, self._metrics.registry)
        self._rendered_at = time.monotonic()
        return page


def _failed(page: asyncio.Task[bytes]) -> bool:
    return page.cancelled() or page.exception() is not None
