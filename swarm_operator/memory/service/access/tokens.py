"""Bearer tokens from a directory of files, such as a mounted Secret.

`client-token` may read and write every namespace. `admin-token` may also operate on the whole store. The optional files
`former-client-token` and `former-admin-token` give the same rights, for as long as tokens are being replaced. The
optional file `tokens.json` holds further tokens with fewer permissions (see shared.tokens). The files are read at the
start, and again within a second of a change. Kubernetes replaces the files of a mounted Secret, and a token that is in
none of them then stops working.

While `tokens.json` is invalid, the tokens that were read from it before stay valid; at the start there are none. While
`client-token` or `admin-token` is missing or invalid, the former two stay valid; without them the service
cannot start.

Tokens of service accounts are valid, too, if there is a file with what verifies them (see service_accounts). It is read
at the same times, and stays in force while it is invalid.
"""

from __future__ import annotations

import functools
import hmac
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Final

import structlog

from swarm_operator.memory.service.access import secret_file
from swarm_operator.memory.service.access.rights import ADMIN, CLIENT, Credential, Principal
from swarm_operator.memory.service.access.seal import Seal
from swarm_operator.memory.service.access.service_accounts import ServiceAccounts
from swarm_operator.memory.service.errors import BadTokenFileError, UnauthorizedError
from swarm_operator.shared.secret_list import SecretFormatError
from swarm_operator.shared.tokens import (
    ADMIN_FILE,
    CLIENT_FILE,
    FORMER_FILES,
    FURTHER_FILE,
    MAX_FILE_BYTES,
    MAX_TOKEN_BYTES,
    parse_further,
    parse_main,
)

_PRINCIPALS: Final = {CLIENT_FILE: CLIENT, ADMIN_FILE: ADMIN}
_FORMER_PRINCIPALS: Final = {FORMER_FILES[name]: principal for name, principal in _PRINCIPALS.items()}
_CHECK_SECONDS: Final = 1.0

_Holders = list[tuple[bytes, Principal]]

_log = structlog.get_logger(__name__)


class Tokens:
    """Valid tokens; authenticates requests.

    Args:
        directory: directory of the token files.
        service_accounts: verifies tokens of service accounts; None: these are not valid.
        seal: seals the cursors of all callers; None: with a key of this object.
        monotonic: returns seconds; for tests.
        clock: returns the Unix time; for tests.
        reloaded: called each time that the files were read, with whether all of them were valid.

    Attributes:
        directory: directory of the token files.
        now: the Unix time, of at most a second ago. Tokens expire by it.

    Raises:
        BadTokenFileError: `client-token` or `admin-token` is missing, empty or not a token.
    """

    def __init__(
        self,
        directory: Path,
        *,
        service_accounts: ServiceAccounts | None = None,
        seal: Seal | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
        reloaded: Callable[[bool], object] = lambda _: None,
    ) -> None:
        self.directory = directory
        self._seal = seal or Seal()
        self._service_accounts = service_accounts
        self._monotonic = monotonic
        self._clock = clock
        self.now = clock()
        self._reloaded = reloaded
        self._checked_at = monotonic()
        self._stamp = self._file_stamps()
        self._main = _read_main(directory)
        self._further: _Holders = []
        self._update(valid=True)

    def authenticate(self, authorization: bytes | None) -> Credential:
        """Return the credential of an Authorization header.

        Raises:
            UnauthorizedError: the header has no valid token.
        """
        found = None
        if authorization is not None and authorization[:7].lower() == b"bearer ":
            offered = authorization[7:].strip()
            # All tokens are compared, each in constant time: the duration says nothing about them.
            for token, credential in self.current():
                if hmac.compare_digest(offered, token):
                    found = credential
            if found is None:
                found = self._account_credential(offered)
        if found is None:
            raise UnauthorizedError("no valid token")
        return found

    def current(self) -> Sequence[tuple[bytes, Credential]]:
        """Return the valid tokens of the directory and their credentials. A change of any file makes another object.

        So what was found out about a token holds for as long as this returns the same object, until the token expires.
        """
        self._refresh()
        return self._credentials

    def _update(self, *, valid: bool) -> None:
        """Read the other files again. `valid`: whether `client-token` and `admin-token` are valid."""
        taken = {token for token, _ in self._main}
        try:
            self._further = _read_further(self.directory, taken)
        except BadTokenFileError as error:
            valid = False
            # A former token that is the client's or the admin's now gives their permissions.
            self._further = [(token, principal) for token, principal in self._further if token not in taken]
            names = [principal.name for _, principal in self._further]
            _log.error("further tokens not read, the former ones stay valid", reason=str(error), former=names)
        if self._service_accounts is not None:
            try:
                self._service_accounts.load()
            except BadTokenFileError as error:
                valid = False
                _log.error("service accounts not read, what was read before stays in force", reason=str(error))
        self._credentials = [
            (token, Credential(principal, functools.partial(self._still_valid, token, principal), self._seal))
            for token, principal in (*self._main, *self._further)
        ]
        self._reloaded(valid)

    def _still_valid(self, token: bytes, principal: Principal) -> bool:
        return any(known == token and credential.principal == principal for known, credential in self.current())

    def _account_credential(self, token: bytes) -> Credential | None:
        """Return the credential of a service account's token, or None if it is not valid."""
        found = None if self._service_accounts is None else self._service_accounts.verify(token, self.now)
        if found is None:
            return None
        still_valid = functools.partial(self._account_still_valid, token, found.principal)
        return Credential(found.principal, still_valid, self._seal, found.expires_at)

    def _account_still_valid(self, token: bytes, principal: Principal) -> bool:
        self._refresh()
        found = None if self._service_accounts is None else self._service_accounts.verify(token, self.now)
        return found is not None and found.principal == principal

    def _refresh(self) -> None:
        now = self._monotonic()
        if now - self._checked_at < _CHECK_SECONDS:
            return
        self._checked_at = now
        self.now = self._clock()
        stamp = self._file_stamps()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        before = {*self._main, *self._further}
        valid = True
        try:
            self._main = _read_main(self.directory)
        except BadTokenFileError as error:
            valid = False
            _log.error("client's and admin's tokens not read again, the former ones stay valid", reason=str(error))
        self._update(valid=valid)
        after = {*self._main, *self._further}
        _log.info(
            "tokens read again", directory=str(self.directory), valid=valid,
            added=_names(after - before), removed=_names(before - after),
        )  # fmt: skip

    def _file_stamps(self) -> list[tuple[int, int, int] | None]:
        """Return the inode, modification time and size of each file, to detect changes; None for a missing file."""
        stamps: list[tuple[int, int, int] | None] = []
        files = [self.directory / name for name in (*_PRINCIPALS, *_FORMER_PRINCIPALS, FURTHER_FILE)]
        if self._service_accounts is not None:
            files.append(self._service_accounts.file)
        for file in files:
            try:
                facts = file.stat()
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


def _names(holders: Iterable[tuple[bytes, Principal]]) -> list[str]:
    return sorted(principal.name for _, principal in holders)


def _read_main(directory: Path) -> _Holders:
    """Return the tokens of the client and the admin, and those before that still work."""
    texts = {name: secret_file.read(directory / name, MAX_TOKEN_BYTES) for name in _PRINCIPALS}
    former = {name: secret_file.read(directory / name, MAX_TOKEN_BYTES) for name in _FORMER_PRINCIPALS}
    try:
        tokens = parse_main({**texts, **{name: text for name, text in former.items() if text is not None}})
    except SecretFormatError as error:
        raise BadTokenFileError(f"{directory}/{error}") from None
    principals = {**_PRINCIPALS, **_FORMER_PRINCIPALS}
    return [(token, principals[name]) for name, token in tokens.items()]


def _read_further(directory: Path, taken: Collection[bytes]) -> _Holders:
    """Return the tokens of `tokens.json`; none if it does not exist. `taken`: the tokens of the other files."""
    text = secret_file.read(directory / FURTHER_FILE, MAX_FILE_BYTES)
    if text is None:
        return []
    try:
        tokens = parse_further(text, taken=taken)
    except SecretFormatError as error:
        raise BadTokenFileError(f"{directory}/{error}") from None
    return [(each.value, Principal(each.name, writes=each.writes, namespaces=each.namespaces)) for each in tokens]
