"""Credentials that expire: tokens in files, and those of a kubeconfig's exec plugin.

kubernetes-asyncio runs a plugin, and reads a kubeconfig's `tokenFile`, once. Here credentials are loaded again when
they have expired, and when the API server has refused them, as client-go's `exec` and `cachingTokenSource` do.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from swarm_operator.runtime.clock import Clock, SystemClock
from swarm_operator.runtime.kubernetes_asyncio import ConfigException, Configuration, ExecProvider

log = structlog.get_logger(__name__)

TOKEN_FILE_PERIOD = timedelta(minutes=1)
"""Time after which a token file is read again; client-go's."""
PLUGIN_TIMEOUT = 60.0
"""Seconds that a plugin may take. Then it is killed: one that hangs must not leave a process for each try."""


@dataclass(frozen=True, slots=True)
class Credential:
    """Credentials with which a request is authenticated."""

    authorization: str | None = None
    """Value of the Authorization header. Never log this."""
    certificate: tuple[str, str] | None = None
    """Files of the client certificate and its key."""
    expires_at: datetime | None = None
    """Time of the next load; None to load only after a refusal."""

    def store(self, configuration: Configuration) -> None:
        """Make requests with a configuration use this credential."""
        if self.authorization:
            configuration.api_key["BearerToken"] = self.authorization
        if self.certificate:
            configuration.cert_file, configuration.key_file = self.certificate


class TokenSource:
    """A credential that is kept valid; the `refresh_api_key_hook` of a configuration, which all its clients share.

    Requests that need a new credential at once wait for one load.

    Args:
        load: loads a credential.
        current: the credential that was loaded before; None if there is none yet.
        clock: where the time comes from.
    """

    def __init__(
        self,
        load: Callable[[], Awaitable[Credential]],
        current: Credential | None = None,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._load = load
        self._current = current
        self._clock = clock or SystemClock()
        self._loading: asyncio.Task[None] | None = None

    async def __call__(self, configuration: Configuration) -> None:
        """Put a valid credential into the configuration.

        Raises:
            ConfigException, OSError: there is none; the old one stays.
        """
        if not self._valid():
            if self._loading is None:
                self._loading = asyncio.create_task(self._renew(), name="credentials")
                # When all waiting requests have given up, no one awaits the failure.
                self._loading.add_done_callback(lambda done: done.cancelled() or done.exception())
            # A request that gives up waiting, such as a short one for the lease, must not cancel it for the others.
            await asyncio.shield(self._loading)
        if self._current:
            self._current.store(configuration)

    def refuse(self, authorization: str | None) -> None:
        """Have a credential loaded again that the API server has refused, unless a newer one is there already."""
        if self._current and self._current.authorization == authorization:
            self._current = None

    async def _renew(self) -> None:
        try:
            self._current = await self._load()
        finally:
            self._loading = None

    def _valid(self) -> bool:
        current = self._current
        return current is not None and (current.expires_at is None or self._clock.now() < current.expires_at)


def of_token_file(path: Path, *, clock: Clock | None = None) -> TokenSource:
    """Return the credentials of a file with a token that another program renews, such as the kubelet.

    Raises:
        ConfigException, OSError: the file is empty or cannot be read.
    """
    time = clock or SystemClock()

    def read() -> Credential:
        token = path.read_text(encoding="utf-8").strip()
        if not token:
            raise ConfigException(f"{path}: the file is empty; a token is needed")
        return Credential(f"Bearer {token}", expires_at=time.now() + TOKEN_FILE_PERIOD)

    async def load() -> Credential:
        return read()

    return TokenSource(load, read(), clock=time)


def of_plugin(provider: ExecProvider, *, current: Credential | None = None, clock: Clock | None = None) -> TokenSource:
    """Return the credentials of a kubeconfig's exec plugin.

    Args:
        provider: the plugin's command.
        current: what it returned before; None to run it before the first request.
        clock: where the time comes from.
    """

    async def load() -> Credential:
        log.info("running the exec plugin of the kubeconfig for a new credential", command=provider.args[0])
        return credential_of(await _run(provider))

    return TokenSource(load, current, clock=clock)


def credential_of(status: dict[str, Any]) -> Credential:
    """Return the credential in the `status` of an ExecCredential.

    Raises:
        ConfigException: there is none.
    """
    try:
        expiry = status.get("expirationTimestamp")
        expires_at = datetime.fromisoformat(expiry) if expiry else None
        token = status.get("token")
        parts = [status.get("clientCertificateData"), status.get("clientKeyData")]
        files = [_file_of(part) for part in parts if part]
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigException(f"exec: the plugin's status cannot be read: {type(error).__name__}") from error
    if not token and len(files) != 2:
        raise ConfigException("exec: the plugin returned neither a token nor a client certificate with its key")
    certificate = (files[0], files[1]) if len(files) == 2 else None
    return Credential(f"Bearer {token}" if token else None, certificate, expires_at)


def _file_of(content: str) -> str:
    """Return the path of a file with this content, which is named after it: Transport notices another name."""
    path = _folder() / hashlib.sha256(content.encode()).hexdigest()
    path.write_text(content, encoding="utf-8")
    return str(path)


@functools.cache
def _folder() -> Path:
    """Return a folder that only this user can read. It is deleted when the process ends."""
    folder = Path(tempfile.mkdtemp(prefix="swarm-operator-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


async def _run(provider: ExecProvider) -> dict[str, Any]:
    """Run a plugin and return the `status` of its answer. `ExecProvider.run` would leave one that hangs behind."""
    exec_info = {"apiVersion": provider.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    process = await asyncio.create_subprocess_exec(
        *provider.args,
        env={**provider.env, "KUBERNETES_EXEC_INFO": json.dumps(exec_info)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PLUGIN_TIMEOUT):
            output, errors = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        said = errors.decode(errors="replace").strip()[-500:]
        raise ConfigException(f"exec: {provider.args[0]} exited with {process.returncode}: {said}")
    try:
        answer = json.loads(output)
        version, status = answer["apiVersion"], dict(answer["status"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigException("exec: the plugin's output is no ExecCredential with a status") from error
    if version != provider.api_version:
        raise ConfigException(f"exec: the plugin speaks {version}; the kubeconfig asks for {provider.api_version}")
    return status
