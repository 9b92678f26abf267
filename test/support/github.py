"""As much of GitHub as installation tokens need: the App's endpoints, and git over smart HTTP, both over TLS.

Tokens of Apps are verified as GitHub does it: RS256 with the App's public key, not from the future, at most 10 minutes.
"""

from __future__ import annotations

import asyncio
import base64
import functools
import os
import secrets
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import jwt
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support.authority import Authority

APP = 4711
INSTALLATION = 815
OWNER = "bees"
REPOSITORIES = ("hive", "honey")


@functools.cache
def private_key(number: int = 0) -> bytes:
    """Return a key as GitHub makes it, in PEM."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def public_key(pem: bytes) -> bytes:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key = serialization.load_pem_private_key(pem, None).public_key()
    return key.public_bytes(serialization.Encoding.PEM, form)


@dataclass
class Installation:
    repositories: tuple[str, ...] = REPOSITORIES
    permissions: dict[str, str] = field(default_factory=lambda: {"contents": "write", "metadata": "read"})
    suspended: bool = False


@dataclass
class Token:
    expires_at: datetime
    repositories: tuple[str, ...]
    permissions: dict[str, str]


class GitHub:
    """The server.

    Attributes:
        now: its clock.
        installations: of the App APP, by id.
        tokens: tokens that work, by their value.
        minted: all tokens in the order in which they were minted.
        asked: method and path of each request of the API.
        answer: an answer in place of the real one, or None.
        gate: requests of the API wait for it.
    """

    def __init__(
        self,
        folder: Path,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        *,
        address: str = "127.0.0.1",
    ) -> None:
        self.now = now
        self.installations = {INSTALLATION: Installation()}
        self.tokens: dict[str, Token] = {}
        self.minted: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.answer: web.Response | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.repositories = folder / "repositories"
        authority = Authority("GitHub Enterprise", datetime.now(UTC))
        self.ca = authority.certificate.decode()
        self._address = address
        self._certificate = authority.server(folder / "github.pem", address=address)
        self._runner: web.AppRunner | None = None
        self.host = ""

    @property
    def api_url(self) -> str:
        return f"https://{self.host}/api/v3"

    async def start(self) -> None:
        app = web.Application(middlewares=[self._middleware])
        app.router.add_get("/api/v3/app/installations", self._list)
        app.router.add_get("/api/v3/repos/{owner}/{name}/installation", self._find)
        app.router.add_post("/api/v3/app/installations/{id}/access_tokens", self._mint)
        app.router.add_delete("/api/v3/installation/token", self._revoke)
        app.router.add_route("*", "/{owner}/{name}.git/{rest:.*}", self._git)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        trust.load_cert_chain(self._certificate)
        site = web.TCPSite(self._runner, self._address, 0, ssl_context=trust)
        await site.start()
        self.host = f"{self._address}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        self.gate.set()
        if self._runner:
            await self._runner.cleanup()

    @web.middleware
    async def _middleware(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if not request.path.startswith("/api/"):
            return await handler(request)
        self.asked.append((request.method, request.path.removeprefix("/api/v3")))
        await self.gate.wait()
        try:
            response = self.answer or await handler(request)
        except web.HTTPException as refusal:
            response = refusal
        copy = web.Response(body=response.body, status=response.status, headers=response.headers)
        copy.headers.setdefault("Date", format_datetime(self.now(), usegmt=True))
        return copy

    def _app(self, request: web.Request) -> None:
        """Raise 401 unless the App itself asks."""
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        try:
            found = jwt.decode(
                token,
                public_key(private_key()),
                algorithms=["RS256"],
                issuer=str(APP),
                # By this server's clock, below.
                options={"require": ["iss", "iat", "exp"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise _refusal(web.HTTPUnauthorized, "A JSON web token could not be decoded") from error
        now = self.now().timestamp()
        if not found["iat"] <= now < found["exp"] <= now + 600:
            raise _refusal(web.HTTPUnauthorized, f"'Expiration time' claim ('exp') is too far away: {token}")

    async def _list(self, request: web.Request) -> web.Response:
        self._app(request)
        return web.json_response([{"id": number} for number in self.installations][: int(request.query["per_page"])])

    async def _find(self, request: web.Request) -> web.Response:
        self._app(request)
        for number, installation in self.installations.items():
            if request.match_info["owner"] == OWNER and request.match_info["name"] in installation.repositories:
                return web.json_response({"id": number})
        raise _refusal(web.HTTPNotFound, "Not Found")

    async def _mint(self, request: web.Request) -> web.Response:
        self._app(request)
        installation = self.installations.get(int(request.match_info["id"]))
        if installation is None:
            raise _refusal(web.HTTPNotFound, "Integration not found")
        if installation.suspended:
            raise _refusal(web.HTTPForbidden, "This installation has been suspended")
        body = await request.json() if request.can_read_body else {}
        names = tuple(body.get("repositories", installation.repositories))
        if not {*names} <= {*installation.repositories}:
            message = "There is at least one repository that does not exist or is not accessible to the parent."
            raise _refusal(web.HTTPUnprocessableEntity, message)
        permissions = body.get("permissions", installation.permissions)
        if not permissions.items() <= installation.permissions.items():
            raise _refusal(web.HTTPUnprocessableEntity, "The permissions requested are not granted.")
        token, expires_at = f"ghs_{secrets.token_hex(18)}", self.now().replace(microsecond=0) + timedelta(hours=1)
        self.tokens[token] = Token(expires_at, names, permissions)
        self.minted.append(token)
        answer = {"token": token, "expires_at": expires_at.isoformat().replace("+00:00", "Z")}
        return web.json_response(answer, status=201)

    async def _revoke(self, request: web.Request) -> web.Response:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.tokens.pop(token, None) is None:
            raise _refusal(web.HTTPUnauthorized, "Bad credentials")
        return web.Response(status=204)

    async def _git(self, request: web.Request) -> web.StreamResponse:
        """Run git's own server for those who have a token for the repository."""
        name = request.match_info["name"]
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        user, _, password = base64.b64decode(given).decode().partition(":") if kind == "Basic" else ("", "", "")
        token = self.tokens.get(password)
        if user != "x-access-token" or token is None or token.expires_at <= self.now():
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="GitHub"'})
        if name not in token.repositories:
            return web.Response(status=404)
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.repositories),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{name}.git/{request.match_info['rest']}",
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": user,
        }
        pipe = asyncio.subprocess.PIPE
        backend = await asyncio.create_subprocess_exec("git", "http-backend", env=environment, stdin=pipe, stdout=pipe)
        output, _ = await backend.communicate(await request.read())
        head, _, body = output.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(body=body, status=status, headers=headers)


def _refusal(kind: Any, message: str) -> Exception:
    return kind(text=f'{{"message": "{message}"}}', content_type="application/json")
