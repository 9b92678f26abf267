"""Verifies the tokens of Kubernetes service accounts offline, with the public keys in a mounted file.

A token is a JSON Web Token (RFC 7519) that the cluster's API server signed for the audience `swarm-memory`. The kubelet
renews the projected token of a pod. Nothing is asked of the API server, so a token of a deleted pod works until it
expires. shared.service_accounts has the format of the file.

The result of a verification is kept until the token expires or the file changes: the signature costs about 0.1 ms.
Tokens that are refused are not kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import structlog

from swarm_operator.memory.service.access import secret_file
from swarm_operator.memory.service.access.rights import Principal
from swarm_operator.memory.service.errors import BadTokenFileError
from swarm_operator.shared.access import Access
from swarm_operator.shared.secret_list import SecretFormatError
from swarm_operator.shared.service_accounts import AUDIENCE, MAX_FILE_BYTES, ServiceAccountFile, parse

SKEW_SECONDS: Final = 30
"""Difference that the clocks of the API server and of this machine may have."""
MAX_LIFETIME_SECONDS: Final = 24 * 3600
"""Maximum lifetime of a token: a token can't be revoked, so this bounds how long a stolen one works."""
_MAX_TOKEN_BYTES: Final = 8192
_MAX_KEPT: Final = 4096
_REQUIRED: Final = ("exp", "iat", "iss", "aud", "sub")
_NOBODY: Final = ServiceAccountFile("", {}, {})

_log = structlog.get_logger(__name__)


class Verified(NamedTuple):
    """Valid token.

    Attributes:
        principal: holder of the token.
        expires_at: Unix time at which the token is no longer valid, with the permitted skew.
    """

    principal: Principal
    expires_at: float


class _RefusedError(Exception):
    """A token is not valid. The message is for the log."""


class ServiceAccounts:
    """Verifies tokens with the keys in a file.

    Args:
        file: the file. Without it no token is valid.

    Attributes:
        file: the file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._content = _NOBODY
        self._keys: dict[str, Any] = {}
        self._verified: dict[bytes, Verified] = {}

    def load(self) -> None:
        """Read the file. While it is invalid, what was read before stays in force.

        Raises:
            BadTokenFileError: the file cannot be read, or is invalid.
        """
        text = secret_file.read(self.file, MAX_FILE_BYTES)
        try:
            self._content = _NOBODY if text is None else parse(text)
        except SecretFormatError as error:
            raise BadTokenFileError(f"{self.file.parent}/{error}") from None
        self._keys.clear()
        self._verified.clear()

    def verify(self, token: bytes, now: float) -> Verified | None:
        """Return the holder of a token, or None if it is not valid.

        Args:
            token: what the request presents.
            now: Unix time.
        """
        found = self._verified.get(token)
        if found is not None:
            return found if now < found.expires_at else None
        if len(token) > _MAX_TOKEN_BYTES or token.count(b".") != 2:
            return None
        try:
            found = self._verify(token)
        except _RefusedError as refusal:
            _log.debug("service account's token refused", reason=str(refusal))
            return None
        self._make_room(now)
        self._verified[token] = found
        return found

    def _make_room(self, now: float) -> None:
        """Forget the tokens that have expired, and else the one that has been kept longest, if there are many."""
        if len(self._verified) < _MAX_KEPT:
            return
        self._verified = {token: kept for token, kept in self._verified.items() if now < kept.expires_at}
        if len(self._verified) >= _MAX_KEPT:
            del self._verified[next(iter(self._verified))]

    def _verify(self, token: bytes) -> Verified:
        """Return the holder of a token. Raise _RefusedError."""
        import jwt  # noqa: PLC0415 - takes 0.1 s, and services outside a cluster don't need it

        try:
            kid = jwt.get_unverified_header(token).get("kid")
            key = self._key(kid) if isinstance(kid, str) else None
            if key is None:
                raise _RefusedError("the key is unknown")
            # The algorithm is the key's. The token has no say in it (RFC 8725, section 3.1).
            claims = jwt.decode(
                token, key.key, algorithms=[key.algorithm_name], audience=AUDIENCE, issuer=self._content.issuer,
                leeway=SKEW_SECONDS, options={"require": list(_REQUIRED)},
            )  # fmt: skip
        except jwt.PyJWTError as error:
            raise _RefusedError(str(error)) from None
        expires_at = int(claims["exp"])
        if expires_at - int(claims["iat"]) > MAX_LIFETIME_SECONDS:
            raise _RefusedError(f"the token is valid for more than {MAX_LIFETIME_SECONDS} seconds")
        namespace, account, pod = _holder(claims)
        access = self._content.accounts.get((namespace, account))
        if access is None:
            raise _RefusedError(f"the service account {namespace}/{account} has no access")
        return Verified(_principal(namespace, account, pod, access), expires_at + SKEW_SECONDS)

    def _key(self, kid: str) -> Any:
        """Return a key of the file as PyJWT has it, or None. A key that is none is left out; the others count."""
        import jwt  # noqa: PLC0415 - see _verify

        if kid not in self._keys and (item := self._content.keys.get(kid)) is not None:
            try:
                self._keys[kid] = jwt.PyJWK(dict(item))
            except (jwt.PyJWTError, ValueError) as error:
                _log.error("key of service accounts' tokens left out", kid=kid, reason=str(error))
                self._keys[kid] = None
        return self._keys.get(kid)


def _holder(claims: dict[str, Any]) -> tuple[str, str, str | None]:
    """Return the namespace, the service account and the pod of a token, if it is bound to one. Raise _RefusedError."""
    try:
        bound = claims["kubernetes.io"]
        namespace, account = bound["namespace"], bound["serviceaccount"]["name"]
        pod = bound["pod"]["name"] if "pod" in bound else None
    except (KeyError, TypeError):
        raise _RefusedError("the token does not belong to a service account") from None
    # https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims
    if claims["sub"] != f"system:serviceaccount:{namespace}:{account}" or not isinstance(pod, str | None):
        raise _RefusedError("the token's subject and its account differ")
    return namespace, account, pod


def _principal(namespace: str, account: str, pod: str | None, access: Access) -> Principal:
    """Return the principal, named NAMESPACE:ACCOUNT:POD: no name of a static token has a colon, so no two are equal."""
    name = ":".join((namespace, account) if pod is None else (namespace, account, pod))
    return Principal(name, writes=access.writes, namespaces=access.namespaces)
