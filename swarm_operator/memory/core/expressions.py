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
MAX_TEXT_BYTES: Final = 8192
"""Maximum length of a text, of which the first words are searched, or the meaning of all."""
MAX_WORDS: Final = 32
"""Maximum number of words and phrases of a text that are searched. These have at most twice as many words."""
_MIN_PREFIX: Final = 2
_PART: Final = re.compile(r'"([^"]*)"|(\S+)')
_WORD: Final = re.compile(r"\w+")
_SHORT_PREFIX: Final = re.compile(rf'(?:^|\W)\w{{1,{_MIN_PREFIX - 1}}}"?\s*\*')


def words(field: str, text: str) -> str:
    """Return the expression that requires all words; see `text` in Query.create. Operators are treated as words.

    A star is punctuation unless it ends a word of two letters or more. So no question is a syntax error. Of a long text
    the first words are required, see `words_used`.

    Raises:
        InvalidInputError: the text is too long, or has no word.
    """
    _check_length(field, text, MAX_TEXT_BYTES)
    parts, _ = _first(text)
    if not parts:
        raise InvalidInputError(field, f"at least one word of at most {MAX_EXPRESSION_BYTES} bytes")
    return " ".join(parts)


def words_used(text: str) -> int | None:
    """Return the number of words and phrases in the expression of a text; None if they are all there are."""
    parts, all_used = _first(text)
    return None if all_used else len(parts)


def _first(text: str) -> tuple[list[str], bool]:
    """Return the first different words and phrases within the limits of an expression, and whether they are all."""
    parts: dict[str, None] = {}
    all_used = True
    words_left, bytes_left = 2 * MAX_WORDS, MAX_EXPRESSION_BYTES
    for phrase, word in _PART.findall(text):
        star = not phrase and word.endswith("*")
        plain = (phrase or word).replace('"', " ")
        found = _WORD.findall(plain)
        # The star follows the last of several words: FTS5 splits `x.a` into `x` and `a`.
        part = f'"{plain}"' + (" *" if star and found and len(found[-1]) >= _MIN_PREFIX else "")
        if not found or part in parts:
            continue
        size = len(plain.encode())
        if len(parts) == MAX_WORDS or len(found) > words_left or size > bytes_left:
            all_used = False
            continue
        parts[part] = None
        words_left -= len(found)
        bytes_left -= size
    return [*parts], all_used


def expression(field: str, text: str | None) -> str | None:
    """Check the length and the words of a full-text expression. The engine checks the grammar.

    Raises:
        InvalidInputError: the expression is too long, has more than 64 words, or has a star after a single
            character: nearly every text has a word with such a prefix.
    """
    if text is None:
        return None
    _check_length(field, text, MAX_EXPRESSION_BYTES)
    if len(_WORD.findall(text)) > 2 * MAX_WORDS:
        raise InvalidInputError(field, f"at most {2 * MAX_WORDS} words")
    if _SHORT_PREFIX.search(text):
        raise InvalidInputError(field, f"at least {_MIN_PREFIX} characters before a star")
    return text


def _check_length(field: str, text: str, most: int) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        size = 0
    if not 1 <= size <= most or "\0" in text:
        raise InvalidInputError(field, f"1 to {most} bytes of UTF-8 without NUL")
