"""Entries to write (Draft), stored entries (Entry), and the limits of their parts.

A check returns the value to store, or raises InvalidInputError, which names the field and what is allowed. Drafts and
entries are immutable: the cache may share them with every caller.

Both are named tuples: each write creates both, and creating a frozen dataclass takes twice as long.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.vectors import check_vector
from swarm_operator.shared.limits import KEY_BYTES, NAMESPACE_BYTES

MAX_NAMESPACE_BYTES = NAMESPACE_BYTES.most
MAX_KEY_BYTES = KEY_BYTES.most
MAX_TAGS = 64
MAX_TAG_BYTES = 256
MAX_METADATA_BYTES = 64 * 1024
MAX_TTL_SECONDS = 100 * 365 * 24 * 3600
"""A hundred years: an expiry time in milliseconds stays within the range of common clocks."""
MAX_PAGE_SIZE = 1000
MAX_BATCH_SIZE = 1000
MAX_VERSION = 2**63 - 1
MAX_AUTHOR_BYTES = 1024

Identity: TypeAlias = tuple[str, str]
"""(namespace, key)"""

_OVERHEAD_BYTES = 640
"""Memory of a cached entry besides its texts: the object, its integers, the key tuple and the dictionary's slots.
Measured with sys.getsizeof on CPython 3.11, rounded up."""


class Draft(NamedTuple):
    """An entry to write, checked and encoded. Created by `create`; the writer sets times and version.

    Attributes:
        namespace: 1 to 255 bytes.
        key: 1 to 1024 bytes.
        value_json: the value as compact JSON.
        tags_json: the tags as a JSON array of strings.
        metadata_json: the metadata as a JSON object.
        ttl: lifetime in seconds since the write; 0 is permanent.
        vector: the client's vector of the entry as little-endian float32; None: the client gave none.
        updated_by: author of the write; None: unknown.
    """

    namespace: str
    key: str
    value_json: bytes
    tags_json: str
    metadata_json: str
    ttl: int
    vector: bytes | None = None
    updated_by: str | None = None

    @classmethod
    def create(
        cls,
        namespace: str,
        key: str,
        value: Any,
        *,
        tags: Sequence[str] | None = None,
        metadata: dict[str, Any] | None = None,
        ttl: int | None = None,
        vector: bytes | Sequence[float] | None = None,
        updated_by: str | None = None,
    ) -> Draft:
        """Return a draft of checked and encoded fields.

        Args:
            namespace: namespace of the entry.
            key: key of the entry.
            value: a JSON value.
            tags: at most 64 different tags.
            metadata: a JSON object.
            ttl: lifetime in seconds.
            vector: a list of numbers, or the bytes of little-endian float32: 1 to 4096 finite numbers. The store checks
                that all vectors of a namespace have the same number of dimensions.
            updated_by: author of the write.

        Raises:
            InvalidInputError: names the field and what is allowed.
        """
        check_namespace(namespace)
        check_key(key)
        metadata_json = "{}"
        if metadata is not None:
            if not isinstance(metadata, dict):
                raise InvalidInputError("metadata", "a JSON object")
            encoded = strict_json.encode("metadata", metadata)
            if len(encoded) > MAX_METADATA_BYTES:
                raise InvalidInputError("metadata", f"at most {MAX_METADATA_BYTES} bytes of JSON")
            metadata_json = encoded.decode()
        checked_tags = check_tags(tags)
        return cls(
            namespace=namespace,
            key=key,
            value_json=strict_json.encode("value", value),
            tags_json=strict_json.encode("tags", checked_tags).decode() if checked_tags else "[]",
            metadata_json=metadata_json,
            ttl=check_ttl(ttl),
            vector=None if vector is None else check_vector(vector),
            updated_by=check_author(updated_by),
        )


class Entry(NamedTuple):
    """A stored entry. Times are milliseconds since the Unix epoch.

    Attributes:
        namespace: namespace of the entry.
        key: key of the entry in its namespace.
        value_json: the value as compact JSON; `value` decodes it.
        tags_json: the tags as a JSON array of strings.
        metadata_json: the metadata as a JSON object.
        ttl: lifetime in seconds that was set by the write; 0 is permanent.
        version: increases by one with each write. A new entry starts at 1, or above all deleted versions.
        created_at: time of the write of its first version.
        updated_at: time of the write of this version.
        expires_at: time from which the entry no longer exists; None is never.
        updated_by: author of this version: the name of a principal. None: unknown, for example for versions that an
            older release wrote.
        accessed_at: time of the last read by key, if known (see sqlite.tables.access_times). Set only in lists and
            searches; else None.
    """

    namespace: str
    key: str
    value_json: bytes
    tags_json: str
    metadata_json: str
    ttl: int
    version: int
    created_at: int
    updated_at: int
    expires_at: int | None
    updated_by: str | None = None
    accessed_at: int | None = None

    @property
    def value(self) -> Any:
        """Return the decoded value: a new object on each access."""
        return strict_json.decode(self.value_json)

    @property
    def tags(self) -> list[str]:
        """Return the decoded tags: a new list on each access."""
        tags: list[str] = strict_json.decode(self.tags_json.encode())
        return tags

    @property
    def metadata(self) -> dict[str, Any]:
        """Return the decoded metadata: a new object on each access."""
        metadata: dict[str, Any] = strict_json.decode(self.metadata_json.encode())
        return metadata

    @property
    def size(self) -> int:
        """Return the size of the value in bytes of compact JSON."""
        return len(self.value_json)

    @property
    def weight(self) -> int:
        """Return the memory size of the entry in the cache, in bytes."""
        texts = len(self.value_json) + len(self.namespace) + len(self.key) + len(self.updated_by or "")
        return texts + len(self.tags_json) + len(self.metadata_json) + _OVERHEAD_BYTES

    def live_at(self, now: int) -> bool:
        """Return True if the entry has not expired at the time `now`."""
        return self.expires_at is None or self.expires_at > now


def check_namespace(namespace: Any) -> str:
    """Return a namespace: 1 to 255 bytes of UTF-8 without NUL."""
    return _text("namespace", namespace, MAX_NAMESPACE_BYTES)


def check_key(key: Any) -> str:
    """Return a key: 1 to 1024 bytes of UTF-8 without NUL."""
    return _text("key", key, MAX_KEY_BYTES)


def check_prefix(prefix: Any, *, field: str = "prefix") -> str:
    """Return a prefix of a key: 0 to 1024 bytes of UTF-8 without NUL."""
    return _text(field, prefix, MAX_KEY_BYTES, least=0)


def check_author(name: Any, *, field: str = "updated_by") -> str | None:
    """Return the name of an author, 1 to 1024 bytes of UTF-8 without NUL, or None if unknown."""
    return None if name is None else _text(field, name, MAX_AUTHOR_BYTES)


def check_tags(tags: Sequence[Any] | None) -> tuple[str, ...]:
    """Return at most 64 tags of 1 to 256 bytes, without duplicates, in the given order."""
    if tags is None:
        return ()
    if not isinstance(tags, list | tuple):
        raise InvalidInputError("tags", "a list of strings")
    if len(tags) > MAX_TAGS:
        raise InvalidInputError("tags", f"at most {MAX_TAGS} tags")
    return tuple(dict.fromkeys(_text(f"tags[{index}]", tag, MAX_TAG_BYTES) for index, tag in enumerate(tags)))


def check_ttl(ttl: Any) -> int:
    """Return a lifetime in whole seconds, from 0 to a hundred years. None and 0 are permanent."""
    if ttl is None:
        return 0
    # bool is a subclass of int: `"ttl": true` is a mistake, not one second.
    if type(ttl) is not int or not 0 <= ttl <= MAX_TTL_SECONDS:
        raise InvalidInputError("ttl", f"a whole number of seconds from 0 (permanent) to {MAX_TTL_SECONDS}")
    return ttl


def check_batch_size(field: str, size: int) -> None:
    """Raise InvalidInputError for more than 1000 operations: they are one transaction, which delays other writers."""
    if size > MAX_BATCH_SIZE:
        raise InvalidInputError(field, f"at most {MAX_BATCH_SIZE} operations")


def check_page_size(limit: Any) -> int:
    """Return a page size: 1 to 1000 entries."""
    if type(limit) is not int or not 1 <= limit <= MAX_PAGE_SIZE:
        raise InvalidInputError("limit", f"a whole number from 1 to {MAX_PAGE_SIZE}")
    return limit


def _text(field: str, text: Any, most: int, *, least: int = 1) -> str:
    allowed = f"a string of {least} to {most} bytes of UTF-8 without NUL"
    if type(text) is not str:
        raise InvalidInputError(field, allowed)
    # `isascii` takes constant time: the common case needs no encoding.
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
