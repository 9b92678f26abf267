"""The JSON Web Token by which a GitHub App authenticates: signed with the App's private key, valid for minutes.

https://docs.github.com/en/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from swarm_operator.controllers.swarmcluster.github.errors import GitHubError

MAX_PEM_BYTES: Final = 8192
"""Of a private key. It bounds the time that loading takes, which checks the primes."""
_MIN_BITS: Final = 2048
_BACKDATED: Final = timedelta(seconds=60)
"""GitHub refuses a token from the future: our clock may be ahead by so much."""
_LIFETIME: Final = timedelta(seconds=540)
"""From now on. GitHub takes 10 minutes at most, by its own clock."""


def sign(pem: bytes, app_id: int, now: datetime) -> str:
    """Return a signed token. This takes milliseconds of CPU time: call it in a thread.

    Args:
        pem: the App's private key, RSA in PEM without a password.
        app_id: the App.
        now: the time.

    Raises:
        GitHubError: the key cannot be used (KeyInvalid). The message does not quote it.
    """
    claims = {"iat": int((now - _BACKDATED).timestamp()), "exp": int((now + _LIFETIME).timestamp())}
    return jwt.encode({**claims, "iss": str(app_id)}, _load(pem), algorithm="RS256")


def _load(pem: bytes) -> RSAPrivateKey:
    if len(pem) > MAX_PEM_BYTES:
        raise GitHubError("KeyInvalid", f"the private key has over {MAX_PEM_BYTES} bytes; an RSA key in PEM is allowed")
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # No cause: its text may have parts of the key.
        key = None
    if not isinstance(key, RSAPrivateKey):
        raise GitHubError("KeyInvalid", "the private key is not an RSA key in PEM without a password")
    if key.key_size < _MIN_BITS:
        raise GitHubError("KeyInvalid", f"the private key has {key.key_size} bits; {_MIN_BITS} or more are allowed")
    return key
