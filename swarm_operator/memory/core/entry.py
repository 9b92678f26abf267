"""What goes in (Draft) and what comes out (Entry). Both are immutable: the cache may share them with every caller.

They are named tuples because each write makes one of both: a frozen dataclass takes twice as long to make.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from swarm_operator.memory.core import limits, strict_json
from swarm_operator.memory.core.errors import InvalidInputError

Identity: TypeAlias = tuple[str, str]
"""(namespace, key)"""

_OVERHEAD_BYTES = 640
"""What one cached entry takes besides its texts: the object, its integers, the key tuple and the dictionary's slots.
Measured with sys.getsizeof on CPython 3.11, rounded up."""


class Draft(NamedTuple):
    """An entry to be written, checked and encoded. Made by `create`; times and version are the writer's business.

    Attributes:
        namespace: 1 to 255 bytes.
        key: 1 to 1024 bytes.
        value_json: the value as compact JSON.
        tags_json: a JSON array of strings.
        metadata_json: a JSON object.
        ttl: seconds that the entry lives from its write on; 0 is for ever.
    """

    namespace: str
    key: str
    value_json: bytes
    tags_json: str
    metadata_json: str
    ttl: int

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
    ) -> Draft:
        """Check and encode.

        Raises:
            InvalidInputError: names the field and what is allowed.
        """
        limits.check_namespace(namespace)
        limits.check_key(key)
        metadata_json = "{}"
        if metadata is not None:
            if not isinstance(metadata, dict):
                raise InvalidInputError("metadata", "a JSON object")
            encoded = strict_json.encode("metadata", metadata)
            if len(encoded) > limits.MAX_METADATA_BYTES:
                raise InvalidInputError("metadata", f"at most {limits.MAX_METADATA_BYTES} bytes of JSON")
            metadata_json = encoded.decode()
        checked_tags = limits.check_tags(tags)
        return cls(
            namespace=namespace,
            key=key,
            value_json=strict_json.encode("value", value),
            tags_json=strict_json.encode("tags", checked_tags).decode() if checked_tags else "[]",
            metadata_json=metadata_json,
            ttl=limits.check_ttl(ttl),
        )


class Entry(NamedTuple):
    """A stored entry. Times are milliseconds since the Unix epoch.

    Attributes:
        namespace: where it is.
        key: its name there.
        value_json: the value as compact JSON; `value` decodes it.
        tags_json: a JSON array of strings.
        metadata_json: a JSON object.
        ttl: the seconds it was given to live; 0 is for ever.
        version: one more with each write. A new entry begins at 1, or above every version that was ever deleted.
        created_at: when its first version was written.
        updated_at: when this version was written.
        expires_at: the first moment at which it is gone; None is never.
        accessed_at: in lists and searches: when it was last read by its key, as far as that is known (see accesses);
            None: it was not, or is not known. Elsewhere None.
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
    accessed_at: int | None = None

    @property
    def value(self) -> Any:
        """The decoded value: a new object at each access."""
        return strict_json.decode(self.value_json)

    @property
    def tags(self) -> list[str]:
        """The decoded tags: a new list at each access."""
        tags: list[str] = strict_json.decode(self.tags_json.encode())
        return tags

    @property
    def metadata(self) -> dict[str, Any]:
        """The decoded metadata: a new object at each access."""
        metadata: dict[str, Any] = strict_json.decode(self.metadata_json.encode())
        return metadata

    @property
    def size(self) -> int:
        """Bytes of the value as compact JSON."""
        return len(self.value_json)

    @property
    def weight(self) -> int:
        """Bytes of memory that the entry takes in the cache."""
        texts = len(self.value_json) + len(self.namespace) + len(self.key)
        return texts + len(self.tags_json) + len(self.metadata_json) + _OVERHEAD_BYTES

    def live_at(self, now: int) -> bool:
        """Whether the entry exists at that moment."""
        return self.expires_at is None or self.expires_at > now
