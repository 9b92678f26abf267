"""Bearer tokens from a directory of files, such as a mounted Secret.

The directory holds `client-token`, which may read and write every namespace, and `admin-token`, which may also do what
concerns the whole store. `tokens.json`, if it is there, has further ones with fewer rights (see token_file). The files
are read at the start, and again within a second of a change: Kubernetes swaps a mounted Secret's files, and a former
token then stops working. While a file is missing or bad during such a change the tokens read before stay valid.
"""

from __future__ import annotations

import hmac
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import structlog

from swarm_operator.memory.service.access import token_file
from swarm_operator.memory.service.access.rights import ADMIN, CLIENT, Credential, Principal
from swarm_operator.memory.service.errors import BadTokenFileError, UnauthorizedError

CLIENT_FILE: Final = "client-token"
ADMIN_FILE: Final = "admin-token"
FURTHER_FILE: Final = "tokens.json"
_PRINCIPALS: Final = {CLIENT_FILE: CLIENT, ADMIN_FILE: ADMIN}
_CHECK_SECONDS: Final = 1.0
_MAX_BYTES: Final = 4096

_log = structlog.get_logger(__name__)


class Tokens:
    """Knows the valid tokens.

    Attributes:
        directory: where they are.

    Raises:
        BadTokenFileError: a file is missing, empty or not a token; or `tokens.json` is not as it should be.
    """

    def __init__(self, directory: Path, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.directory = directory
        self._monotonic = monotonic
        self._checked_at = monotonic()
        self._stamp = self._look()
        self._tokens = _read_all(directory)

    def authenticate(self, authorization: bytes | None) -> Credential:
        """Return the credential in an Authorization header.

        Raises:
            UnauthorizedError: there is no valid token.
        """
        principal = self.principal(authorization)
        if principal is None:
            raise UnauthorizedError("no valid token")
        return Credential(principal, lambda: self.principal(authorization) == principal)

    def principal(self, authorization: bytes | None) -> Principal | None:
        """Return the holder of the token in an Authorization header, or None. Takes the same time for any token."""
        self._refresh()
        if authorization is None or authorization[:7].lower() != b"bearer ":
            return None
        offered = authorization[7:].strip()
        found = None
        for token, principal in self._tokens:
            if hmac.compare_digest(offered, token):
                found = principal
        return found

    def _refresh(self) -> None:
        now = self._monotonic()
        if now - self._checked_at < _CHECK_SECONDS:
            return
        self._checked_at = now
        stamp = self._look()
        if stamp == self._stamp:
            return
        try:
            self._tokens = _read_all(self.directory)
        except BadTokenFileError as error:
            _log.warning("tokens not read again, the former ones stay valid", reason=str(error))
        else:
            _log.info("tokens read again", directory=str(self.directory))
        self._stamp = stamp

    def _look(self) -> list[tuple[int, int, int] | None]:
        """What changes when a file does."""
        stamps: list[tuple[int, int, int] | None] = []
        for name in (*_PRINCIPALS, FURTHER_FILE):
            try:
                facts = (self.directory / name).stat()
            except OSError:
                stamps.append(None)
            else:
                stamps.append((facts.st_ino, facts.st_mtime_ns, facts.st_size))
        return stamps


def generate(directory: Path) -> bool:
    """Make the directory and the two tokens, if missing, readable by their owner only. False when none was missing."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = False
    for name in _PRINCIPALS:
        try:
            descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
        made = True
    return made


def _read_all(directory: Path) -> list[tuple[bytes, Principal]]:
    tokens = [(_read(directory / name), principal) for name, principal in _PRINCIPALS.items()]
    tokens += token_file.read(directory / FURTHER_FILE)
    if len({token for token, _ in tokens}) < len(tokens):
        raise BadTokenFileError(f"{directory}: two tokens are the same")
    return tokens


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            token = file.read(_MAX_BYTES + 1).strip()
    except OSError as error:
        raise BadTokenFileError(f"{path}: {error.strerror}") from error
    if not token:
        raise BadTokenFileError(f"{path} is empty")
    if len(token) > _MAX_BYTES or not all(0x21 <= byte <= 0x7E for byte in token):
        raise BadTokenFileError(f"{path}: a token is one line of at most {_MAX_BYTES} printable ASCII characters")
    return token
