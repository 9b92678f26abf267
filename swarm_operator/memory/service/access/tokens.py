"""Bearer tokens from a directory of files, such as a mounted Secret.

`client-token` may read and write every namespace. `admin-token` may also operate on the whole store. The optional file
`tokens.json` holds further tokens with fewer permissions (see token_file). The files are read at the start, and again
within a second of a change. Kubernetes replaces the files of a mounted Secret, and the old token then stops working.
If a file is missing or invalid during the change, the tokens read before stay valid.
"""

from __future__ import annotations

import functools
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
from swarm_operator.memory.service.access.seal import Seal
from swarm_operator.memory.service.errors import BadTokenFileError, UnauthorizedError

CLIENT_FILE: Final = "client-token"
ADMIN_FILE: Final = "admin-token"
FURTHER_FILE: Final = "tokens.json"
_PRINCIPALS: Final = {CLIENT_FILE: CLIENT, ADMIN_FILE: ADMIN}
_CHECK_SECONDS: Final = 1.0
_MAX_BYTES: Final = 4096

_log = structlog.get_logger(__name__)


class Tokens:
    """Valid tokens; authenticates requests.

    Args:
        directory: directory of the token files.
        seal: seals the cursors of all callers; None: with a key of this object.
        monotonic: returns seconds; for tests.

    Attributes:
        directory: directory of the token files.

    Raises:
        BadTokenFileError: a file is missing, empty or not a token; or `tokens.json` is invalid.
    """

    def __init__(
        self, directory: Path, *, seal: Seal | None = None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.directory = directory
        self._seal = seal or Seal()
        self._monotonic = monotonic
        self._checked_at = monotonic()
        self._stamp = self._file_stamps()
        self._credentials = self._read()

    def authenticate(self, authorization: bytes | None) -> Credential:
        """Return the credential of an Authorization header.

        Raises:
            UnauthorizedError: the header has no valid token.
        """
        self._refresh()
        found = None
        if authorization is not None and authorization[:7].lower() == b"bearer ":
            offered = authorization[7:].strip()
            # All tokens are compared, each in constant time: the duration says nothing about them.
            for token, credential in self._credentials:
                if hmac.compare_digest(offered, token):
                    found = credential
        if found is None:
            raise UnauthorizedError("no valid token")
        return found

    def _read(self) -> list[tuple[bytes, Credential]]:
        return [
            (token, Credential(principal, functools.partial(self._still_valid, token, principal), self._seal))
            for token, principal in _read_all(self.directory)
        ]

    def _still_valid(self, token: bytes, principal: Principal) -> bool:
        self._refresh()
        return any(known == token and credential.principal == principal for known, credential in self._credentials)

    def _refresh(self) -> None:
        now = self._monotonic()
        if now - self._checked_at < _CHECK_SECONDS:
            return
        self._checked_at = now
        stamp = self._file_stamps()
        if stamp == self._stamp:
            return
        try:
            self._credentials = self._read()
        except BadTokenFileError as error:
            _log.warning("tokens not read again, the former ones stay valid", reason=str(error))
        else:
            _log.info("tokens read again", directory=str(self.directory))
        self._stamp = stamp

    def _file_stamps(self) -> list[tuple[int, int, int] | None]:
        """Return the inode, modification time and size of each file, to detect changes; None for a missing file."""
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
    """Create the directory and missing tokens, readable by the owner only. Return whether any token was missing."""
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
