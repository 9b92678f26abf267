"""JSON schemas of entries, their fields and problems, for the OpenAPI document."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.core.duplicates import OnDuplicate
from swarm_operator.memory.core.entry import (
    MAX_AUTHOR_BYTES,
    MAX_KEY_BYTES,
    MAX_NAMESPACE_BYTES,
    MAX_TAG_BYTES,
    MAX_TAGS,
    MAX_TTL_SECONDS,
)
from swarm_operator.memory.service.json_schema import Schema, array, nullable, number, object_of, one_of, text, whole
from swarm_operator.memory.service.vectors import THRESHOLD, VECTOR

_NO_NUL: Final = "^[^\\u0000]*$"
NAMESPACE: Final = text("1 to 255 bytes without NUL.", most=MAX_NAMESPACE_BYTES, pattern=_NO_NUL)
KEY: Final = text("1 to 1024 bytes without NUL.", most=MAX_KEY_BYTES, pattern=_NO_NUL)
PREFIX: Final = text("Only keys that start so.", least=0, most=MAX_KEY_BYTES, pattern=_NO_NUL, default="")
_TAGS: Final = r'^(\*|(W/)?"[!#-~]*"( *, *(W/)?"[!#-~]*")*)$'
IF_MATCH: Final = text("Only if the entry has one of these versions, as ETag gave them; *: any.", pattern=_TAGS)
AUTHOR: Final = text("Only what this token or pod has written last.", most=MAX_AUTHOR_BYTES, pattern=_NO_NUL)
TAG: Final = text("1 to 256 bytes without NUL.", most=MAX_TAG_BYTES, pattern=_NO_NUL)
_MOMENT: Final = text("RFC 3339, UTC.", format="date-time")
_VERSION: Final = whole("Counts the writes of this key.", least=1)
_METADATA: Final[Schema] = {"type": "object", "description": "Fields to search by; at most 64 KiB of JSON."}
_VALUE: Final[Schema] = {"description": "Any JSON value; null is one."}

WRITTEN: Final = {
    "value": _VALUE,
    "tags": nullable(array(TAG, "At most 64.", most=MAX_TAGS)),
    "metadata": nullable(_METADATA),
    "ttl": nullable(whole("Seconds from this write; 0 or null: for ever.", most=MAX_TTL_SECONDS)),
    "vector": VECTOR,
}
"""Members of an entry that a write may set."""
RULE: Final = {
    "on_duplicate": {
        **one_of(
            "If another entry of the namespace has almost the same vector. refuse: answer 409; link: name its key in "
            "metadata.duplicate_of. null: keep.",
            *OnDuplicate,
            default=OnDuplicate.KEEP,
        ),
        "type": ["string", "null"],
        "enum": [*OnDuplicate, None],
    },
    "threshold": nullable(THRESHOLD),
}
"""Members of a write for near-duplicates."""

HEAD: Final = {
    "namespace": text(),
    "key": text(),
    "version": _VERSION,
    "size": whole("Bytes of the value as JSON."),
    "ttl": whole("As it was given; 0: for ever."),
    "created_at": _MOMENT,
    "updated_at": _MOMENT,
    "updated_by": nullable(text("Who wrote this version: the name of the token, or of the pod; null: unknown.")),
    "expires_at": nullable(_MOMENT),
}
_TWIN: Final = {"key": text("Of the near-duplicate."), "cosine": number("Of the angle between the vectors.", most=1)}
_DUPLICATE: Final = object_of(
    _TWIN, tuple(_TWIN), description="With on_duplicate: the near-duplicate. Absent: there is none."
)
_CONTENTS: Final[dict[str, Schema]] = {
    "tags": array({"type": "string"}),
    "metadata": {"type": "object"},
    "value": _VALUE,
}
_WHOLE: Final = {**HEAD, **_CONTENTS}
_ACCESSED: Final = nullable(text("When it was last read by its key; null: not that it is known.", format="date-time"))
_LISTED: Final = {**HEAD, "accessed_at": _ACCESSED, **_CONTENTS}
_HIT: Final = {
    **_LISTED,
    "score": number("What the hits are ordered by. For hybrid it is made of ranks, and is no similarity."),
    "rank": whole("Place among all hits, from 1.", least=1),
    "words": whole("For hybrid: place among the matches by words. Absent: it is none.", least=1),
    "cosine": number("Of the angle between the vectors. Absent: they were not compared.", least=-1, most=1),
    "snippet": text("Of the text around the words, which are marked with **."),
    "matched": array(one_of("", "key", "value"), "Where the words are."),
}
PROBLEM: Final = object_of(
    {
        "type": text("urn:swarm-memory:problem: and a code that never changes."),
        "title": text(),
        "status": whole(),
        "detail": text("For people."),
        "field": text("What was wrong."),
        "allowed": text("What is allowed there."),
        "current_version": _VERSION,
        **_TWIN,
    },
    ("type", "title", "status", "detail"),
    closed=False,
    description="RFC 9457.",
)

SCHEMAS: Final[dict[str, Schema]] = {
    "EntryHead": object_of(
        {**HEAD, "duplicate": _DUPLICATE}, tuple(HEAD), description="An entry without its value: the answer to a write."
    ),
    "Entry": object_of(_WHOLE, tuple(_WHOLE), description="An entry."),
    "ListedEntry": object_of(_LISTED, tuple(_LISTED), description="An entry in a list."),
    "Hit": object_of(_HIT, (*HEAD, "accessed_at", "tags"), description="An entry that a search has found."),
    "Problem": PROBLEM,
}
