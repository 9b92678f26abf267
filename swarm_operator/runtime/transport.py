"""kubernetes-asyncio's transport, with what it leaves open closed: certificates that are renewed, and proxies.

It reads the CA, and a client certificate, once. This module checks them every minute. It checks at once when the
server's certificate is not trusted, or the configuration names other files (an exec plugin returned a new client
certificate). When files have changed, new requests use new connections. Open streams continue.

It takes a proxy from the environment and ignores CIDRs in NO_PROXY. An HTTPS_PROXY that is set for other traffic would
then capture that to the API server. This module does not read the environment: only a kubeconfig's `proxy-url` sets a
proxy.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.kubernetes_asyncio import Configuration, RESTClientObject
from swarm_operator.runtime.resource import Object

log = structlog.get_logger(__name__)

_CLOSING_SECONDS = 0.05
"""Seconds; a server answers at once."""
_CHECK_INTERVAL = 60.0
"""Seconds between two checks of the files."""


class Transport:
    """Connections to one API server. Their number is not limited: each watch of each namespace holds one.

    Args:
        configuration: what `config.load_config` returned.
        clock: where the time comes from.
    """

    def __init__(self, configuration: Configuration, *, clock: Clock | None = None) -> None:
        self._configuration = configuration
        self._clock = clock or SystemClock()
        self._trusted = self._fingerprint()
        self._checked_at = self._clock.monotonic()
        self._checked_files = self._files()
        self._rest = self._connect()
        self._retired: RESTClientObject | None = None

    async def request(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body: Object | None,
        timeout: aiohttp.ClientTimeout,
    ) -> aiohttp.ClientResponse:
        """Send a request; the answer's body is left to be read.

        Raises:
            aiohttp.ClientError, TimeoutError, OSError: there is no answer.
        """
        if self._clock.monotonic() - self._checked_at >= _CHECK_INTERVAL or self._checked_files != self._files():
            await self._renew()
        arguments: dict[str, Any] = {
            "query_params": query,
            "headers": dict(headers),
            "body": body,
            "_preload_content": False,
            "_request_timeout": timeout,
        }
        try:
            response: aiohttp.ClientResponse = await self._rest.request(method, url, **arguments)
        except aiohttp.ClientSSLError:
            # Nothing was sent. The server may have a certificate of a new CA, whose file exists already.
            if not await self._renew():
                raise
            response = await self._rest.request(method, url, **arguments)
        return response

    async def close(self) -> None:
        """Close the connections, and the streams on them."""
        await self._rest.close()
        if self._retired:
            await self._retired.close()
        # Aborted connections still shut down TLS, and aiohttp has no way to wait for them. Its documentation advises a
        # pause before the loop ends.
        await asyncio.sleep(_CLOSING_SECONDS)

    async def _renew(self) -> bool:
        """Connect again if a file has changed. False when none has, or when they cannot be used."""
        self._checked_at = self._clock.monotonic()
        self._checked_files = self._files()
        found = self._fingerprint()
        if found in {self._trusted, None}:
            return False
        try:
            rest = self._connect()
        except OSError as error:  # ssl.SSLError is one; half a file, perhaps
            log.warning("the renewed certificates cannot be used", error=str(error))
            return False
        log.info("the CA or the client certificate has been renewed")
        old, self._trusted, self._retired, self._rest = self._retired, found, self._rest, rest
        # Connections that were retired the last time have no streams left: the server ends each within 10 minutes.
        if old:
            await old.close()
        return True

    def _connect(self) -> RESTClientObject:
        rest = RESTClientObject(self._configuration, maxsize=0)
        theirs = rest.pool_manager
        # The same connector, in a session that does not read the environment.
        rest.pool_manager = aiohttp.ClientSession(connector=theirs.connector, trust_env=False, read_bufsize=2**21)
        theirs.detach()
        return rest

    def _files(self) -> tuple[str | None, str | None, str | None]:
        """Return the names of the files with CA certificates and with our client certificate and key."""
        configuration = self._configuration
        return configuration.ssl_ca_cert, configuration.cert_file, configuration.key_file

    def _fingerprint(self) -> str | None:
        """Return a digest of all these files; None while one of them cannot be read."""
        digest = hashlib.sha256()
        for name in self._files():
            try:
                digest.update(hashlib.sha256(Path(name).read_bytes() if name else b"").digest())
            except OSError:
                return None
        return digest.hexdigest()
