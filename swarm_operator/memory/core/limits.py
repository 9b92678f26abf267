"""What an entry may look like. The same limits hold for the library, HTTP and every later protocol.

Each check returns what the store keeps, or raises InvalidInputError that names the field and says what is allowed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm_operator.memory.core.errors import InvalidInputError

MAX_NAMESPACE_BYTES = 255
MAX_KEY_BYTES = 1024
MAX_TAGS = 64
MAX_TAG_BYTES = 256
MAX_METADATA_BYTES = 64 * 1024
MAX_TTL_SECONDS = 100 * 365 * 24 * 3600
"""A hundred years: far enough to mean "long", near enough that milliseconds fit any clock."""
MAX_PAGE_SIZE = 1000
MAX_BATCH_SIZE = 1000
MAX_VERSION = 2**63 - 1


def check_namespace(namespace: Any) -> str:
    """1 to 255 bytes of UTF-8 without NUL."""
    return _text("namespace", namespace, MAX_NAMESPACE_BYTES)


def check_key(key: Any) -> str:
    """1 to 1024 bytes of UTF-8 without NUL."""
    return _text("key", key, MAX_KEY_BYTES)


def check_prefix(prefix: Any, *, field: str = "prefix") -> str:
    """A prefix of a key: as a key, but it may be empty."""
    return _text(field, prefix, MAX_KEY_BYTES, least=0)


def check_tags(tags: Sequence[Any] | None) -> tuple[str, ...]:
    """At most 64 tags of 1 to 256 bytes; repeated ones count once and order is kept."""
    if tags is None:
        return ()
    if not isinstance(tags, list | tuple):
        raise InvalidInputError("tags", "a list of strings")
    if len(tags) > MAX_TAGS:
        raise InvalidInputError("tags", f"at most {MAX_TAGS} tags")
    return tuple(dict.fromkeys(_text(f"tags[{index}]", tag, MAX_TAG_BYTES) for index, tag in enumerate(tags)))


def check_ttl(ttl: Any) -> int:
    """Whole seconds from 0 to a hundred years; None and 0 mean that the entry stays until it is deleted."""
    if ttl is None:
        return 0
    # bool is a subclass of int: `"ttl": true` is a mistake, not one second.
    if type(ttl) is not int or not 0 <= ttl <= MAX_TTL_SECONDS:
        raise InvalidInputError("ttl", f"a whole number of seconds from 0 (permanent) to {MAX_TTL_SECONDS}")
    return ttl


def check_batch_size(field: str, size: int) -> None:
    """At most 1000 operations: they are one transaction, and others wait for it."""
    if size > MAX_BATCH_SIZE:
        raise InvalidInputError(field, f"at most {MAX_BATCH_SIZE} operations")


def check_page_size(limit: Any) -> int:
    """1 to 1000 entries a page."""
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE_SIZE:
        raise InvalidInputError("limit", f"a whole number from 1 to {MAX_PAGE_SIZE}")
    return limit


def _text(field: str, text: Any, most: int, *, least: int = 1) -> str:
    allowed = f"a string of {least} to {most} bytes of UTF-8 without NUL"
    if type(text) is not str:
        raise InvalidInputError(field, allowed)
    # ASCII strings know that they are: the common case needs no encoding.
    if text.isascii():
        size = len(text)
    else:
        try:
            size = len(text.encode())
        except UnicodeEncodeError:  # a lone surrogate
            raise InvalidInputError(field, allowed) from None
    if not least <= size <= most or "\0" in text:
        raise InvalidInputError(field, allowed)
    return text
