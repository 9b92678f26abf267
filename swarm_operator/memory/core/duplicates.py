"""Near-duplicates: rules of a write for another entry of its namespace with almost the same vector."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.entry import MAX_METADATA_BYTES, Draft, Entry
from swarm_operator.memory.core.errors import InvalidInputError

DEFAULT_THRESHOLD: Final = 0.9
LINK: Final = "duplicate_of"
"""Member of the metadata that names the key of the twin."""


class OnDuplicate(StrEnum):
    """Effect of a near-duplicate on a write."""

    KEEP = "keep"
    """Write the entry without a comparison."""
    REFUSE = "refuse"
    """Fail with DuplicateError."""
    LINK = "link"
    """Write the entry, and name the key of the near-duplicate in its metadata."""


class Twin(NamedTuple):
    """A near-duplicate in the namespace of a write: its key, and the cosine of the angle between the vectors."""

    key: str
    cosine: float


class CheckedWrite(NamedTuple):
    """Result of a write with a rule: the entry, whether the entry is new, and its near-duplicate or None."""

    entry: Entry
    created: bool
    twin: Twin | None


@dataclass(frozen=True, slots=True)
class DuplicateRule:
    """Rule of a write for near-duplicates. Created by `create`.

    The store compares the vector of the write with the vectors of the other live entries of the namespace. Without a
    vector, the store's embedder makes one.

    Attributes:
        on: REFUSE or LINK.
        threshold: minimum cosine of a near-duplicate, above 0 and up to 1.
    """

    on: OnDuplicate
    threshold: float

    @classmethod
    def create(cls, on_duplicate: Any, threshold: Any = None) -> DuplicateRule | None:
        """Return a checked rule; None for `keep` and for no rule.

        Raises:
            InvalidInputError: names the field and what is allowed.
        """
        if on_duplicate is None:
            if threshold is None:
                return None
            on_duplicate = OnDuplicate.KEEP
        if on_duplicate not in list(OnDuplicate):
            raise InvalidInputError("on_duplicate", f"one of {', '.join(OnDuplicate)}")
        if threshold is not None and (type(threshold) not in {int, float} or not 0 < threshold <= 1):
            raise InvalidInputError("threshold", "a number above 0 and up to 1")
        if on_duplicate == OnDuplicate.KEEP:
            if threshold is not None:
                raise InvalidInputError("threshold", "only together with on_duplicate: refuse or link")
            return None
        return cls(OnDuplicate(on_duplicate), DEFAULT_THRESHOLD if threshold is None else float(threshold))


def linked(draft: Draft, twin: Twin | None) -> Draft:
    """Return a draft whose metadata name the near-duplicate, if there is one. Raise InvalidInputError."""
    metadata: dict[str, Any] = strict_json.decode(draft.metadata_json.encode())
    if twin is None and LINK not in metadata:
        return draft
    metadata.pop(LINK, None)
    if twin is not None:
        metadata[LINK] = twin.key
    encoded = strict_json.encode("metadata", metadata)
    if len(encoded) > MAX_METADATA_BYTES:
        raise InvalidInputError("metadata", f"at most {MAX_METADATA_BYTES} bytes of JSON, {LINK} included")
    return draft._replace(metadata_json=encoded.decode())
