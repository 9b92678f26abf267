"""Search queries, validated in the same way for the library and all protocols."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Final

from swarm_operator.memory.core import expressions, strict_json
from swarm_operator.memory.core.entry import MAX_METADATA_BYTES, check_namespace, check_prefix, check_tags
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.core.namespaces import covers

MAX_QUERY_TAGS: Final = 16
MAX_QUERY_METADATA: Final = 16
MAX_GLOB_STARS: Final = 8
_GLOB_SPECIAL: Final = re.compile(r"[*?\[]")


class Order(StrEnum):
    """Order of search results."""

    KEY = "key"
    """By namespace, then key (UTF-8 bytes). Entries that exist throughout the search are found exactly once."""
    UPDATED = "updated"
    """The last written first; those of one millisecond by namespace, backwards, and then as the engine chooses. An
    entry that is written between two pages moves to the front: it may be passed over."""
    RANK = "rank"
    """The best match of the text first. Ranks shift a little when texts are written between two pages."""


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
        expression: full-text expression on keys and values, see core.expressions.
        order: order of the results.
        within: namespaces that the caller is authorized to read, including the namespaces below them. This restricts
            every other condition, and no other entry has an effect on the answer; None: not restricted.
        owner: name of the caller. An engine that makes searches wait gives each owner its turn.
    """

    namespace: str | None = None
    subtree: bool = False
    prefix: str = ""
    glob: str | None = None
    tags: tuple[str, ...] = ()
    any_tags: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)
    updated_since: int | None = None
    expression: str | None = None
    order: Order = Order.KEY
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
        text: str | None = None,
        match: str | None = None,
        order: str | None = None,
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
            updated_since: see above.
            text: words that all occur in the key or the value; a word with a star at its end is the start of one,
                "words in quotes" stand together.
            match: a full-text expression, in place of `text`: `idle OR key:agent NOT busy`.
            order: by default rank with a text, updated with `updated_since`, else key.

        Raises:
            InvalidInputError: names the field and what is allowed.
        """
        if namespace is not None:
            check_namespace(namespace)
        elif subtree:
            raise InvalidInputError("subtree", "together with a namespace")
        check_prefix(prefix)
        _check_glob(glob)
        all_of = _check_tags("tag", tags)
        any_of = _check_tags("any_tag", any_tags)
        _check_metadata(metadata)
        if updated_since is not None and (type(updated_since) is not int or not 0 <= updated_since < 2**53):
            raise InvalidInputError("updated_since", "a moment since 1970")
        if text is not None and match is not None:
            raise InvalidInputError("match", "not together with text")
        expression = expressions.words("text", text) if text is not None else expressions.expression("match", match)
        if order is None:
            chosen = Order.KEY if updated_since is None else Order.UPDATED
            chosen = chosen if expression is None else Order.RANK
        else:
            allowed = [each.value for each in Order if each is not Order.RANK or expression is not None]
            if order not in allowed or (expression is not None and order != Order.RANK):
                allowed = allowed if expression is None else [Order.RANK.value]
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
            expression=expression,
            order=chosen,
        )

    @property
    def fingerprint(self) -> str:
        """Return the query as text. A cursor is valid only for the query that created it."""
        return strict_json.encode("query", asdict(self)).decode()

    @property
    def roots(self) -> tuple[str, ...] | None:
        """Return the namespaces to search by `namespace`, `subtree` and `within`; None: all namespaces.

        The namespaces below these belong to the search, too, unless `namespace` is given without `subtree`.
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
