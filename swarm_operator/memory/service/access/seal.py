"""Seals texts that clients keep and send back: only the service can read or change them.

AES-SIV (RFC 5297) is deterministic, so equal texts of one caller are sealed as equal texts. The seal is valid only
together with the same bound names, such as those of the caller and of the query.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import functools
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

KEY_BYTES: Final = 64
_IV_BYTES: Final = 16


class SealBrokenError(Exception):
    """The text was not sealed with this key and these names, or was changed."""


class Seal:
    """Seals and opens texts with one key.

    Args:
        key: KEY_BYTES random bytes; None: a new random key, which is lost with this object.
    """

    def __init__(self, key: bytes | None = None) -> None:
        self._key = secrets.token_bytes(KEY_BYTES) if key is None else key

    def seal(self, text: bytes, names: Sequence[bytes]) -> str:
        """Return the sealed text in URL-safe base64. The text must not be empty."""
        sealed: bytes = self._cipher.encrypt(text, [_joined(names)])
        return _to_base64(sealed)

    def open(self, sealed: str, names: Sequence[bytes]) -> bytes:
        """Return the text that was sealed. Raise SealBrokenError."""
        from cryptography.exceptions import InvalidTag  # noqa: PLC0415 - see _cipher

        try:
            raw = base64.b64decode(sealed + "=" * (-len(sealed) % 4), altchars=b"-_", validate=True)
            if len(raw) <= _IV_BYTES:
                raise SealBrokenError
            text: bytes = self._cipher.decrypt(raw, [_joined(names)])
        except (binascii.Error, ValueError, InvalidTag):
            raise SealBrokenError from None
        # base64 has several forms of some bytes: one is allowed.
        if _to_base64(raw) != sealed:
            raise SealBrokenError
        return text

    @functools.cached_property
    def _cipher(self) -> Any:
        # Imported when the first page has a next one: the import takes 40 ms.
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV  # noqa: PLC0415

        return AESSIV(self._key)


def read_or_create_key(path: Path) -> bytes:
    """Return the key in a file. Create the file, readable by the owner only, if it is missing or has no key.

    A new key makes the cursors of before invalid, and does no other harm.

    Raises:
        OSError: the file can't be read or written.
    """
    with contextlib.suppress(FileNotFoundError, ValueError):
        key = bytes.fromhex(path.read_text())
        if len(key) == KEY_BYTES:
            return key
    key = secrets.token_bytes(KEY_BYTES)
    temporary = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(key.hex() + "\n")
    temporary.replace(path)
    return key


def _to_base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _joined(names: Sequence[bytes]) -> bytes:
    """Return the names as one text; two lists of names are never the same text."""
    return b"".join(b"%d:%b" % (len(name), name) for name in names)
