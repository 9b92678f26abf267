"""Search queries, validated in the same way for the library and all protocols."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from hashlib import blake2b
from typing import Any, Final

from swarm_operator.memory.core import expressions, strict_json
from swarm_operator.memory.core.entry import MAX_METADATA_BYTES, check_author, check_namespace, check_prefix, check_tags
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.core.vectors import check_vector

MAX_QUERY_TAGS: Final = 16
MAX_QUERY_METADATA: Final = 16
MAX_GLOB_STARS: Final = 8
_GLOB_SPECIAL: Final = re.compile(r"[*?\[]")


class Order(StrEnum):
    """Order of search results."""

    KEY = "key"
    """By namespace, then key (UTF-8 bytes). Entries that exist throughout the search are found exactly once."""
    UPDATED = "updated"
    """The last written first; entries of one millisecond by namespace in descending order, then in the engine's order.
    An entry that is written between two pages moves to the front, and the search may miss it."""
    RANK = "rank"
    """The best match of the text or the vector first. Writes between two pages may change ranks slightly.
    """


class Mode(StrEnum):
    """Mode of a search for a text or a vector."""

    WORDS = "words"
    """By the words of the text. The entry must have all words."""
    MEANING = "meaning"
    """By the cosine of the angle between the vectors of the query and the entry. An entry is not found if it has no
    vector, or a vector of another width."""
    HYBRID = "hybrid"
    """By words and by meaning: the two ranks of an entry are fused. One of the two suffices to find an entry."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """A search query: an entry matches if it meets all given conditions. Created by `create`.

    Attributes:
        namespace: namespace to search; None: all namespaces.
        subtree: True also searches the namespaces below: for `a` these are `a/b` and `a/b/c`, not `ab`.
        prefix: prefix of the key.
        glob: case-sensitive pattern of the key: `*`, `?`, `[abc]`, `[!abc]`.
        tags: tags that the entry must all have.
        any_tags: tags of which the entry must have at least one.
        metadata: values of top-level metadata fields; `1` equals `1.0` but not `true`.
        updated_since: earliest time of the last write, in milliseconds since the Unix epoch.
        updated_by: author of the last write, see Entry.updated_by.
        expression: full-text expression on keys and values, see core.expressions.
        order: order of the results.
        mode: mode of the search for `text` and `vector`. None without both. None with a text alone: the store chooses
            words, or hybrid if it has an embedder and vectors.
        text: the text that `expression` was made from, or whose meaning is searched. None with `match`.
        vector: vector to compare entries with, as little-endian float32. None: the store makes it from `text`.
        within: namespaces that the caller is authorized to read, including the namespaces below them. Entries of other
            namespaces have no effect on the result. None: not restricted.
        owner: name of the caller. An engine that queues searches serves the owners in turn.
    """

    namespace: str | None = None
    subtree: bool = False
    prefix: str = ""
    glob: str | None = None
    tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    updated_since: int | None = None
    updated_by: str | None = None
    expression: str | None = None
    order: Order = Order.KEY
    mode: Mode | None = None
    text: str | None = None
    vector: bytes | None = None
    within: tuple[str, ...] | None = None
    owner: str = ""

    @classmethod
    def create(
        cls,
        *,
        namespace: str | None = None,
        subtree: bool = False,
        prefix: str = "",
        glob: str | None = None,
        tags: Sequence[str] = (),
        any_tags: Sequence[str] = (),
        metadata: dict[str, Any] | None = None,
        updated_since: int | None = None,
        updated_by: str | None = None,
        text: str | None = None,
        match: str | None = None,
        order: str | None = None,
        mode: str | None = None,
        vector: bytes | Sequence[float] | None = None,
    ) -> Query:
        """Return a validated query.

        Args:
            namespace: see the attributes of Query.
            subtree: True requires a namespace.
            prefix: see the attributes of Query.
            glob: at most 8 stars.
            tags: at most 16 tags.
            any_tags: at most 16 tags.
            metadata: at most 16 fields.
            updated_since: see the attributes of Query.
            updated_by: see the attributes of Query; the complete name.
            text: words that must all occur in the key or the value; `wor*` is a prefix, `"two words"` is a phrase. Of a
                long text the first words must occur, see expressions.words_used.
            match: a full-text expression, in place of `text`: `idle OR key:agent NOT busy`.
            order: by default rank with a text or a vector, updated with `updated_since`, else key.
            mode: words, meaning or hybrid. By default hybrid with a vector and a text, meaning with a vector alone,
                words with `match`; with a text alone the store chooses, see Mode.
            vector: a list of numbers, or the bytes of little-endian float32. With `meaning`, it replaces the text.

        Raises:
            InvalidInputError: names the field and what is allowed.
        """
        if namespace is not None:
            check_namespace(namespace)
        elif subtree:
            raise InvalidInputError("subtree", "only together with a namespace")
        check_prefix(prefix)
        _check_glob(glob)
        all_of = _check_tags("tag", tags)
        any_of = _check_tags("any_tag", any_tags)
        _check_metadata(metadata)
        if updated_since is not None and (type(updated_since) is not int or not 0 <= updated_since < 2**53):
            raise InvalidInputError("updated_since", "a time from 1970 on")
        check_author(updated_by)
        if text is not None and match is not None:
            raise InvalidInputError("match", "not together with text")
        checked_vector = None if vector is None else check_vector(vector)
        checked_mode = _check_mode(mode, text=text, match=match, vector=checked_vector)
        expression = None
        if checked_mode is not Mode.MEANING:
            expression = expressions.words("text", text) if text is not None else expressions.expression("match", match)
        elif text is not None:
            _check_question(text)
        ranked = text is not None or match is not None or vector is not None
        if order is None:
            chosen = Order.KEY if updated_since is None else Order.UPDATED
            chosen = Order.RANK if ranked else chosen
        else:
            allowed = [Order.RANK.value] if ranked else [each.value for each in Order if each is not Order.RANK]
            if order not in allowed:
                raise InvalidInputError("order", f"one of {', '.join(allowed)}")
            chosen = Order(order)
        return cls(
            namespace=namespace,
            subtree=subtree,
            prefix=prefix,
            glob=glob,
            tags=all_of,
            any_tags=any_of,
            metadata=metadata or {},
            updated_since=updated_since,
            updated_by=updated_by,
            expression=expression,
            order=chosen,
            mode=checked_mode,
            text=text,
            vector=checked_vector,
        )

    @property
    def fingerprint(self) -> str:
        """Return the query as text. A cursor is valid only for the query that created it."""
        fields = asdict(self)
        if self.vector is not None:
            fields["vector"] = blake2b(self.vector, digest_size=16).hexdigest()
        return strict_json.encode("query", fields).decode()

    @property
    def words_used(self) -> int | None:
        """Return the number of first words of the text that are searched; None: all, or none."""
        return None if self.text is None or self.expression is None else expressions.words_used(self.text)

    @property
    def roots(self) -> tuple[str, ...] | None:
        """Return the namespaces to search by `namespace`, `subtree` and `within`; None: all namespaces.

        The search includes the namespaces below, unless `namespace` is given without `subtree`.
        """
        if self.namespace is None:
            return self.within
        if covers(self.within, self.namespace):
            return (self.namespace,)
        below = [root for root in self.within or () if covers([self.namespace], root)]
        return tuple(below) if self.subtree else ()

    @property
    def glob_prefix(self) -> str:
        """Return the literal prefix of all keys that match the glob."""
        return "" if self.glob is None else _GLOB_SPECIAL.split(self.glob, maxsplit=1)[0]

    @property
    def key_prefix(self) -> str:
        """Return the longer of `prefix` and `glob_prefix`. If they contradict each other, no key matches both."""
        return max(self.prefix, self.glob_prefix, key=len)

    def key_pattern(self) -> re.Pattern[str] | None:
        """Return the compiled glob. Python's translation does not backtrack from a star to earlier stars."""
        return None if self.glob is None else re.compile(fnmatch.translate(self.glob))


def _check_mode(mode: Any, *, text: str | None, match: str | None, vector: bytes | None) -> Mode | None:
    """Return how to search the text and the vector; None: the store chooses. Raise InvalidInputError."""
    words = text is not None or match is not None
    if mode is None:
        if vector is not None:
            return Mode.HYBRID if words else Mode.MEANING
        return Mode.WORDS if match is not None else None
    if mode not in list(Mode):
        raise InvalidInputError("mode", f"one of {', '.join(Mode)}")
    if mode == Mode.WORDS and (vector is not None or not words):
        raise InvalidInputError("mode", "words requires text or match, and takes no vector")
    if mode == Mode.MEANING and (match is not None or (text is None) == (vector is None)):
        raise InvalidInputError("mode", "meaning requires either text or vector; hybrid takes both")
    if mode == Mode.HYBRID and (not words or (match is not None and vector is None)):
        raise InvalidInputError("mode", "hybrid requires text, or match and vector")
    return Mode(mode)


def _check_question(text: str) -> None:
    """Check a text that is searched by its meaning. Raise InvalidInputError."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= expressions.MAX_TEXT_BYTES or not text.strip():
        raise InvalidInputError("text", f"1 to {expressions.MAX_TEXT_BYTES} bytes of UTF-8, not blank")


def _check_glob(glob: Any) -> None:
    if glob is None:
        return
    check_prefix(glob, field="glob")
    if not glob or glob.count("*") > MAX_GLOB_STARS:
        raise InvalidInputError("glob", f"a pattern with at most {MAX_GLOB_STARS} stars")


def _check_tags(name: str, tags: Any) -> tuple[str, ...]:
    if len(tags) > MAX_QUERY_TAGS:
        raise InvalidInputError(name, f"at most {MAX_QUERY_TAGS} tags")
    try:
        return check_tags(tuple(tags))
    except InvalidInputError as error:
        raise InvalidInputError(name, error.allowed) from None


def _check_metadata(metadata: Any) -> None:
    if metadata is None:
        return
    if type(metadata) is not dict or len(metadata) > MAX_QUERY_METADATA:
        raise InvalidInputError("metadata", f"a JSON object of at most {MAX_QUERY_METADATA} members")
    if len(strict_json.encode("metadata", metadata)) > MAX_METADATA_BYTES:
        raise InvalidInputError("metadata", f"at most {MAX_METADATA_BYTES} bytes of JSON")
