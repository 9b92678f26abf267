"""The part of GitHub's REST API that installation tokens need.

https://docs.github.com/en/rest/apps/apps
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import aiohttp
import orjson

from swarm_operator.controllers.swarmcluster.github import answers, app_token
from swarm_operator.controllers.swarmcluster.github.errors import GitHubError

_MAX_BYTES: Final = 2**20
"""Limit of an answer: that of a token names up to 100 repositories, with some kilobytes for each."""
_TOKEN: Final = re.compile(r"[!-~]{1,4096}")
_REVOKED: Final = (204, 401, 404)
"""Statuses after which a token does not work: it was revoked now, is not valid, or its installation was deleted."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server of GitHub's."""

    url: str
    """URL of its API, without a slash at the end."""
    ca: str | None = None
    """Certificates in PEM, one of which its own must be signed by; None for the system's."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A token that is asked for."""

    server: Server
    app_id: int
    key: bytes = field(repr=False)
    """The App's private key."""
    installation_id: int | None
    """None to find it."""
    repositories: tuple[str, ...]
    """OWNER/NAME of each; empty for all."""
    permissions: tuple[tuple[str, str], ...]
    """Names and levels; empty for all."""


@dataclass(frozen=True, slots=True)
class Minted:
    """A token of an installation."""

    token: str = field(repr=False)
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Revocation:
    """A token that is to work no longer."""

    server: Server
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class GitHubApi:
    """Mints and revokes tokens. No session is kept: a cluster needs one an hour.

    A proxy is taken from the environment (HTTPS_PROXY, NO_PROXY).
    """

    now: Callable[[], datetime]
    """The wall clock, for the App's own tokens."""
    user_agent: str
    timeout: float = 20.0
    """Seconds for all that one token takes."""

    async def mint(self, request: TokenRequest) -> Minted:
        """Mint a token.

        Raises:
            GitHubError: there is none, for the reason that it has.
        """
        signed = await asyncio.to_thread(app_token.sign, request.key, request.app_id, self.now())
        async with self._calls(request.server, signed) as call:
            installation = request.installation_id or await _find(call, request)
            body: dict[str, Any] = {}
            if request.repositories:
                body["repositories"] = [name.partition("/")[2] for name in request.repositories]
            if request.permissions:
                body["permissions"] = dict(request.permissions)
            gone = f"App {request.app_id} has no installation {installation}, or it was removed"
            path = f"/app/installations/{installation}/access_tokens"
            answer = await call("POST", path, GitHubError("InstallationNotFound", gone), body)
        return _minted(answer)

    async def revoke(self, revocation: Revocation) -> bool:
        """Revoke a token. A token that does not work any more is revoked. Return True.

        Raises:
            GitHubError: it may still work.
        """
        url = f"{revocation.server.url}/installation/token"
        async with (
            self._session(revocation.server, revocation.token) as session,
            session.delete(url, allow_redirects=False) as response,
        ):
            if response.status not in _REVOKED:
                raise answers.failure(response, {}, answers.unusable(), self.now())
        return True

    @asynccontextmanager
    async def _calls(self, server: Server, token: str) -> AsyncIterator[_Call]:
        async with self._session(server, token) as session:
            yield _Call(session, server.url, self.now)

    @asynccontextmanager
    async def _session(self, server: Server, token: str) -> AsyncIterator[aiohttp.ClientSession]:
        """Open a session whose requests have a token, and translate connection errors."""
        headers = {
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {token}",
            "User-Agent": self.user_agent,
            "X-GitHub-Api-Version": "2022-11-28",
        }
        trust = await asyncio.to_thread(_trust, server.ca)
        try:
            connector = aiohttp.TCPConnector(ssl=trust, force_close=True)
            async with (
                asyncio.timeout(self.timeout),
                aiohttp.ClientSession(connector=connector, headers=headers, trust_env=True) as session,
            ):
                yield session
        except TimeoutError:
            raise GitHubError("GitHubUnreachable", f"{server.url} did not answer within {self.timeout:.0f} s") from None
        except aiohttp.ClientSSLError:
            message = f"the certificate of {server.url} is not trusted; its CA is allowed in caSecretRef"
            raise GitHubError("GitHubNotTrusted", message) from None
        except (aiohttp.ClientError, OSError) as error:
            # The type alone: a text may have a header, or the password of a proxy.
            raise GitHubError("GitHubUnreachable", f"{server.url} cannot be reached: {type(error).__name__}") from None


@dataclass(frozen=True, slots=True)
class _Call:
    """Sends one request and returns its JSON answer."""

    session: aiohttp.ClientSession
    url: str
    now: Callable[[], datetime]

    async def __call__(self, method: str, path: str, not_found: GitHubError, body: dict[str, Any] | None = None) -> Any:
        # A redirect would carry the token elsewhere.
        async with self.session.request(method, self.url + path, json=body, allow_redirects=False) as response:
            answer = await _decode(response)
            if response.status not in (200, 201):
                raise answers.failure(response, answer, not_found, self.now())
        return answer


async def _find(call: _Call, request: TokenRequest) -> int:
    """Return the installation that has the first repository, or the App's only one."""
    if request.repositories:
        name = request.repositories[0]
        hidden = f"repository {name} does not exist, or App {request.app_id} is not installed on it"
        found = await call("GET", f"/repos/{name}/installation", GitHubError("RepositoryNotFound", hidden))
    else:
        unknown = GitHubError("AppRefused", f"there is no App {request.app_id}")
        # Two are enough to know that it is not the only one.
        every = await call("GET", "/app/installations?per_page=2", unknown)
        if not isinstance(every, list):
            raise answers.unusable()
        if len(every) > 1:
            raise GitHubError("InstallationAmbiguous", "the App has more than one installation: set installationID")
        if not every:
            raise GitHubError("InstallationNotFound", f"App {request.app_id} is not installed anywhere")
        found = every[0]
    try:
        return int(found["id"])
    except (TypeError, KeyError, ValueError):
        raise answers.unusable() from None


def _minted(answer: Any) -> Minted:
    try:
        token, expires_at = answer["token"], datetime.fromisoformat(answer["expires_at"])
    except (TypeError, KeyError, ValueError):
        raise answers.unusable() from None
    if not isinstance(token, str) or not _TOKEN.fullmatch(token) or expires_at.tzinfo is None:
        raise answers.unusable()
    return Minted(token, expires_at)


async def _decode(response: aiohttp.ClientResponse) -> Any:
    """Return the JSON of an answer; an empty object if it is none, or too long."""
    text = bytearray()
    async for chunk in response.content.iter_any():
        text += chunk
        if len(text) > _MAX_BYTES:
            return {}
    try:
        return orjson.loads(text)
    except ValueError:
        return {}


def _trust(ca: str | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError):
        raise GitHubError("CAInvalid", "ca.crt of caSecretRef: it holds no certificate in PEM") from None
    # CAs that are not to the letter of RFC 5280 are trusted, as git trusts them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
