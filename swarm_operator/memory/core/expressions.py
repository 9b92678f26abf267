"""Full-text expressions: words, phrases and prefixes with AND, OR and NOT. docs/search.md describes the grammar.

Every engine supports the expressions of `words`: phrases in double quotes, some followed by a star, which must all
occur in the key or in the value's JSON. Case is ignored. An engine may refuse other expressions with an
InvalidInputError of the field `match`.
"""

from __future__ import annotations

import re
from typing import Final

from swarm_operator.memory.core.errors import InvalidInputError

MAX_EXPRESSION_BYTES: Final = 1024
MAX_WORDS: Final = 32
_MIN_PREFIX: Final = 2
_PART: Final = re.compile(r'"([^"]*)"|(\S+)')
_WORD: Final = re.compile(r"\w+")
_SHORT_PREFIX: Final = re.compile(rf'(?:^|\W)\w{{1,{_MIN_PREFIX - 1}}}"?\s*\*')


def words(field: str, text: str) -> str:
    """Return the expression that requires all words; see `text` in Query.create. Operators are treated as words.

    A star is punctuation unless it ends a word of two letters or more. So no question is a syntax error.

    Raises:
        InvalidInputError: the text is too long, or has too many words or none.
    """
    _check_length(field, text)
    parts: list[str] = []
    for phrase, word in _PART.findall(text):
        star = not phrase and word.endswith("*")
        plain = (phrase or word).replace('"', " ")
        if not _WORD.search(plain):
            continue
        # The star follows the last of several words: FTS5 splits `x.a` into `x` and `a`.
        star = star and len(_WORD.findall(plain)[-1]) >= _MIN_PREFIX
        parts.append(f'"{plain}"' + (" *" if star else ""))
    if not 1 <= len(parts) <= MAX_WORDS:
        raise InvalidInputError(field, f"1 to {MAX_WORDS} words")
    joined = " ".join(parts)
    _check_words(field, joined)
    return joined


def expression(field: str, text: str | None) -> str | None:
    """Check the length and the words of a full-text expression. The engine checks the grammar.

    Raises:
        InvalidInputError: the expression is too long, has more than 64 words, or has a star after a single
            character: nearly every text has a word with such a prefix.
    """
    if text is None:
        return None
    _check_length(field, text)
    _check_words(field, text)
    if _SHORT_PREFIX.search(text):
        raise InvalidInputError(field, f"at least {_MIN_PREFIX} characters before a star")
    return text


def _check_words(field: str, text: str) -> None:
    if len(_WORD.findall(text)) > 2 * MAX_WORDS:
        raise InvalidInputError(field, f"at most {2 * MAX_WORDS} words")


def _check_length(field: str, text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= MAX_EXPRESSION_BYTES or "\0" in text:
        raise InvalidInputError(field, f"1 to {MAX_EXPRESSION_BYTES} bytes of UTF-8 without NUL")
