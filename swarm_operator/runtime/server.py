"""The HTTP endpoints of a manager: /metrics on one address, /healthz and /readyz on another."""

from __future__ import annotations

import asyncio
import socket

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from swarm_operator.runtime.delegated_auth import DelegatedAuth, Verdict
from swarm_operator.runtime.health import Checks
from swarm_operator.runtime.runnable import Phase, Runnable
from swarm_operator.runtime.serving_cert import ServingCertificate

log = structlog.get_logger(__name__)


def parse_address(address: str) -> tuple[str, int] | None:
    """Parse a Go-style bind address: ":8080", "127.0.0.1:8080", "[::1]:8080"; "0" is None, for not at all.

    The host of ":8080" is empty: every address of the machine, see `listen`.

    Raises:
        ValueError: it is none of these.
    """
    if address == "0":
        return None
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f'{address!r} is not an address; allowed: ":PORT", "HOST:PORT" or "0" for none')
    return host.strip("[]"), int(port)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens. An empty host is every address: of IPv4 and IPv6, or of IPv4 where that is all.

    Go's net.Listen does the same.
    """
    if host:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
    return socket.create_server(("", port))


def metrics_app(registry: CollectorRegistry, *, auth: DelegatedAuth | None = None) -> web.Application:
    """Return the application that serves GET /metrics, in the format that the scraper asks for.

    Args:
        registry: what is served.
        auth: authorizes each request; None admits all callers.
    """

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(registry), headers={"Content-Type": content_type})

    app = web.Application(middlewares=[_guard(auth)] if auth else [])
    app.router.add_get("/metrics", metrics)
    return app


_REFUSALS = {
    Verdict.UNAUTHENTICATED: ("Unauthorized", {"WWW-Authenticate": "Bearer"}),
    Verdict.DENIED: ("Forbidden", {}),
    Verdict.BUSY: ("Too many requests", {"Retry-After": "1"}),
    Verdict.UNKNOWN: ("Internal error", {}),
}
"""Text and headers of the answer to each verdict but ALLOWED."""


def _guard(auth: DelegatedAuth):  # type: ignore[no-untyped-def]  # noqa: ANN202 - aiohttp's handler type is private
    """Let through what `auth` allows. All other answers have a status and no details."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        verdict = await auth.judge(request.headers.get("Authorization", ""), request.method, request.path)
        if verdict is Verdict.ALLOWED:
            return await handler(request)
        text, headers = _REFUSALS[verdict]
        return web.Response(status=verdict.value, text=f"{text}\n", headers=headers)

    return guard


def health_app(healthz: Checks, readyz: Checks) -> web.Application:
    """Return the application that serves /healthz and /readyz.

    It takes `/NAME` for one check, `?verbose` and `?exclude=NAME`.
    """
    app = web.Application()
    for path, checks in (("healthz", healthz), ("readyz", readyz)):
        app.router.add_get(f"/{path}", _answer(path, checks))
        app.router.add_get(f"/{path}/{{check}}", _answer(path, checks))
    return app


def _answer(path: str, checks: Checks):  # type: ignore[no-untyped-def]  # noqa: ANN202 - aiohttp's handler type is private
    async def answer(request: web.Request) -> web.Response:
        only = request.match_info.get("check")
        results = checks.run(only=only, exclude=request.query.getall("exclude", []))
        if results is None:
            return web.Response(status=404, text=f"no check named {only}\n")
        failed = {name: reason for name, reason in results.items() if reason}
        for name, reason in failed.items():
            log.warning("health check failed", path=path, check=name, reason=reason)
        lines = [
            f"[-]{name} failed: reason withheld" if reason else f"[+]{name} ok" for name, reason in results.items()
        ]
        if failed:
            return web.Response(status=500, text="\n".join([*lines, f"{path} check failed", ""]))
        if "verbose" in request.query:
            return web.Response(text="\n".join([*lines, f"{path} check passed", ""]))
        return web.Response(text="ok")

    return answer


class Server(Runnable):
    """One application on one address.

    Args:
        app: what is served.
        address: host and port; port 0 takes a free one.
        certificate: what to serve HTTPS with, kept up to date; None is HTTP.
    """

    phase = Phase.SERVERS

    def __init__(
        self, app: web.Application, address: tuple[str, int], *, certificate: ServingCertificate | None = None
    ) -> None:
        self.task_name = f"server of {address[0]}:{address[1]}"
        self.address = address
        """Host and port; the real port once it listens, where 0 was asked for."""
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=2.0)
        self._certificate = certificate

    async def start(self) -> None:
        """Listen."""
        await self._runner.setup()
        context = self._certificate.context if self._certificate else None
        await web.SockSite(self._runner, listen(*self.address), ssl_context=context).start()
        host, port = self.address = self._runner.addresses[0][:2]
        log.info("serving", host=host, port=port)

    async def run(self) -> None:
        """Renew the certificate, if there is one, until cancelled."""
        await (self._certificate.run() if self._certificate else asyncio.Event().wait())

    async def close(self) -> None:
        """Stop listening and close the connections."""
        await self._runner.cleanup()
