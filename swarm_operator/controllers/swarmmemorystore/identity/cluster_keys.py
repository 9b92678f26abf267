"""The issuer of the cluster's service account tokens and its public keys, as the API server serves them.

They are read when they are first needed, and from then on about once a minute for all stores together. The API server
serves them by OpenID Connect discovery (RFC 8414) and as a JSON Web Key Set (RFC 7517), see
https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery.
The set is read at the API server's own path: the address in the discovery document may be one outside the cluster.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, Protocol

import structlog

from swarm_operator.controllers.common.errors import ends_pass
from swarm_operator.runtime.errors import ApiError
from swarm_operator.runtime.resource import Object
from swarm_operator.runtime.runnable import Phase, Runnable
from swarm_operator.shared.service_accounts import is_key

INTERVAL: Final = 60.0
"""Seconds between two reads of the keys, plus or minus a tenth."""
_RETRY_INTERVALS: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""The same while they are not known: after the first failure, and the next ones; the last from then on."""
RETENTION: Final = 600.0
"""Seconds for which a key is kept that is no longer served. While the API servers of a cluster are restarted one after
the other with another key, each answers with its own keys."""
_DISCOVERY: Final = "/.well-known/openid-configuration"
_KEYS: Final = "/openid/v1/jwks"
_KEYS_TYPE: Final = "application/jwk-set+json"
"""The API server refuses to send the keys as any other media type."""
_PUBLIC: Final = frozenset({"kty", "kid", "alg", "use", "n", "e", "crv", "x", "y"})
"""Members of a key that are published; those of a private key are not among them."""

log = structlog.get_logger(__name__)


class ClusterKeys(NamedTuple):
    """Issuer and keys with which the cluster's tokens are verified.

    Attributes:
        issuer: issuer of the tokens.
        keys: public keys as JSON Web Keys, in the order of their `kid`.
    """

    issuer: str
    keys: tuple[Mapping[str, Any], ...]


class NotServedError(Exception):
    """The API server serves no issuer or no keys."""


class Fetch(Protocol):
    """Client that sends requests to the API server, see runtime.client.Client."""

    async def request(self, method: str, path: str, *, accept: str = ...) -> Object:
        """Send one request and return its JSON answer, which has the media type `accept`. Raise ApiError."""


class KeySource(Runnable):
    """Keeps the keys up to date until the manager stops.

    Args:
        client: sends requests to the API server.
        monotonic: the time in seconds.
        rng: spreads the looks of several clusters' operators.
    """

    phase = Phase.LEADER
    task_name = "service account keys"

    def __init__(self, client: Fetch, *, monotonic: Callable[[], float], rng: random.Random) -> None:
        self.changed: Callable[[], object] = lambda: None
        """Called when other keys are known, or why there are none."""
        self._client = client
        self._monotonic = monotonic
        self._rng = rng
        self._seen: dict[str, tuple[Mapping[str, Any], float]] = {}
        """Keys by their `kid`, and when each was last served."""
        self._known: ClusterKeys | Exception | None = None
        self._failures = 0
        """Looks in a row after which the keys were not known."""
        self._looking: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        """Begins the next look."""

    async def run(self) -> None:
        """Wait: `current` begins the first look, and each look sets the timer of the next one."""
        await asyncio.Event().wait()

    async def close(self) -> None:
        """Cancel the look in progress and the next one."""
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)

    async def current(self) -> ClusterKeys:
        """Return the keys. The first call waits for the API server.

        Raises:
            NotServedError, ApiError: they have never been read, for this reason.
        """
        if self._known is None or (isinstance(self._known, ApiError) and ends_pass(self._known)):
            await asyncio.shield(self.look())
        if isinstance(self._known, ClusterKeys):
            return self._known
        assert self._known is not None  # noqa: S101 - for mypy
        raise self._known

    def look(self) -> Awaitable[None]:
        """Begin to read the keys, unless they are being read. Return what waits for the end of that."""
        if self._timer is not None:
            self._timer.cancel()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(), name="service-account-keys")
        return self._looking

    async def _look(self) -> None:
        before = self._known
        try:
            issuer, served = await self._read()
        except (ApiError, NotServedError) as error:
            log.warning("the keys of service accounts' tokens can't be read", reason=str(error))
            if not isinstance(before, ClusterKeys):
                self._known = error
        else:
            self._known = ClusterKeys(issuer, self._kept(served))
        finally:
            self._looking = None
        known = isinstance(self._known, ClusterKeys)
        seconds = INTERVAL if known else _RETRY_INTERVALS[min(self._failures, len(_RETRY_INTERVALS) - 1)]
        self._failures = 0 if known else self._failures + 1
        self._timer = asyncio.get_running_loop().call_later(seconds * self._rng.uniform(0.9, 1.1), self.look)
        if before is not None and _comparable(before) != _comparable(self._known):
            self.changed()

    async def _read(self) -> tuple[str, list[Mapping[str, Any]]]:
        """Return the issuer and the keys that the API server serves. Raise ApiError or NotServedError."""
        document = await self._client.request("GET", _DISCOVERY)
        served = await self._client.request("GET", _KEYS, accept=_KEYS_TYPE)
        issuer, keys = document.get("issuer"), served.get("keys")
        listed = keys if isinstance(keys, list) else []
        public: list[Mapping[str, Any]] = [
            {name: value for name, value in key.items() if name in _PUBLIC} for key in listed if isinstance(key, dict)
        ]
        usable = [key for key in public if is_key(key)]
        if not isinstance(issuer, str) or not issuer or not usable:
            raise NotServedError(f"{_DISCOVERY} has no issuer, or {_KEYS} no keys")
        return issuer, usable

    def _kept(self, served: list[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
        now = self._monotonic()
        self._seen |= {key["kid"]: (key, now) for key in served}
        self._seen = {kid: (key, at) for kid, (key, at) in self._seen.items() if now - at < RETENTION}
        return tuple(self._seen[kid][0] for kid in sorted(self._seen))


def _comparable(known: ClusterKeys | Exception | None) -> object:
    return str(known) if isinstance(known, Exception) else known
