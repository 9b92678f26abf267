"""Identifiers of several words: `gateway` finds `PaymentGateway`, and `PaymentGateway` finds `payment_gateway`.

For the tokenizer, all characters except letters and digits separate words. So it splits `payment_gateway` and
`payment-gateway` into parts, and finds the identifier as a phrase, but it does not split `PaymentGateway`. Therefore
`expanded` appends the parts to the indexed text. The text itself is unchanged, so the same words and phrases find it.
`asked` extends a query: it searches for the identifier as written, or for the phrase of its parts.

    text    PaymentGateway is down                                     HTTPServer2Error
    index   PaymentGateway is down GAP Payment Gateway                 HTTPServer2Error GAP HTTP Server2 Error
                                                                       GAP HTTP Server 2 Error
    query   ("PaymentGateway" OR "Payment Gateway")

An identifier is a run of up to MAX_BYTES letters and digits of ASCII, in which a capital follows a small letter, or a
capitalized word follows a capital or a digit. Digits alone do not split a run, because they would split hashes into
many parts. A run of more than MAX_PARTS words is not split. In each text, the first MAX_IDENTIFIERS identifiers are
split.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

MAX_BYTES: Final = 64
"""Maximum bytes of an identifier. Longer runs are data, such as base64."""
MAX_PARTS: Final = 8
"""Maximum number of words of an identifier. Runs of more words are data, too."""
MAX_IDENTIFIERS: Final = 256
"""Maximum number of different identifiers of a text whose parts are indexed: base64 has one in each 60 bytes."""
GAP: Final = "\ue000"
"""A word that texts do not contain: it prevents phrases across the parts of different identifiers."""

MARK: Final = "\x01"
END: Final = "\x02"
"""Marks around the matches in a snippet, for `shown`."""
# An inlined identifier. JSON has no such characters; in a key they only spoil a snippet.
_OPEN: Final = "\x03"
_BETWEEN: Final = f"\x04{GAP}\x04"
_CLOSE: Final = "\x05"
_JOINT: Final = "\x06"
_CUT: Final = "…"
_INLINED: Final = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}?")
_ADDED: Final = re.compile(f"[\x04{_JOINT}{GAP}]")

# Class of each byte: a small letter, a capital, a digit, or the end of an identifier.
_CLASSES: Final = bytes(
    97 if 97 <= byte <= 122 else 65 if 65 <= byte <= 90 else 48 if 48 <= byte <= 57 else 32 for byte in range(256)
)
_BORDERS: Final = (b"aA", b"AAa", b"0Aa")
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])")
_WORDS_AND_NUMBERS: Final = re.compile(rf"{_WORDS.pattern}|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])")

# The grammar of https://sqlite.org/fts5.html#full_text_query_syntax, for expressions accepted by FTS5.
_SPACE = r"[ \t\n\r]*+"
_BARE = r"[A-Za-z0-9_\x1a\x80-\U0010ffff]"
_STRING = rf'(?:"(?:[^"]|"")*+"|(?<!{_BARE})(?!(?:AND|OR|NOT)(?!{_BARE})){_BARE}++)'
_PHRASE = rf"(?:\^{_SPACE})?{_STRING}{_SPACE}\*?(?:{_SPACE}\+{_SPACE}{_STRING}{_SPACE}\*?)*+"
_NEAR = rf'NEAR{_SPACE}\((?:"(?:[^"]|"")*+"|[^()"])*+\)'
_COLUMNS = rf"(?:(?:-{_SPACE})?(?:{_STRING}|\{{[^}}]*+\}}){_SPACE}:{_SPACE})?"
_ITEM: Final = re.compile(rf"{_COLUMNS}(?:{_NEAR}|{_PHRASE})")
RUN: Final = re.compile(rf"(?:{_ITEM.pattern}{_SPACE})+")
"""Adjacent phrases and groups, which must all match."""
_QUOTED: Final = re.compile(_STRING)
_TERM: Final = re.compile(rf"{_STRING}(?!{_SPACE}[:(])(?:{_SPACE}\*)?")
_NO_TERM: Final = re.compile(rf"\{{[^}}]*+\}}|,{_SPACE}\d+")
"""A list of columns, and the distance of a group."""


def expanded(text: str) -> str:
    """Return the text to index: the text followed by the parts of its identifiers."""
    return text + addition(text.encode())


def addition(text: bytes) -> str:
    """Return the parts that `expanded` appends to a text."""
    return _all_parts(text[start:end] for start, end in _places(text))


def additions(texts: bytes, lengths: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Yield the number of each text with identifiers, and the parts that `expanded` appends.

    Args:
        texts: the texts in sequence, separated by one byte that is neither a letter nor a digit.
        lengths: bytes of each text.
    """
    left = enumerate(lengths)
    number, end = next(left, (0, 0))
    words: list[bytes] = []
    for start, stop in _places(texts):
        if start > end:
            if words:
                yield number, _all_parts(words)
            words = []
            while start > end:
                number, length = next(left)
                end += 1 + length
        words.append(texts[start:stop])
    if words:
        yield number, _all_parts(words)


@functools.lru_cache(maxsize=256)
def asked(expression: str) -> str:
    """Return the expression extended so that adjacent parts of its identifiers match, too."""
    return RUN.sub(_all_of, expression) if has_identifier(expression) else expression


def has_identifier(text: str) -> bool:
    """Return whether a text has identifiers of several words."""
    return bool(_places(text.encode()))


def any_of(expression: str) -> str:
    """Return the expression that matches texts with at least one of the words or phrases."""
    return " OR ".join(_TERM.findall(_NO_TERM.sub(" ", expression)))


def inlined(text: str) -> str:
    """Return the text with the parts of each identifier inserted after it, for `shown`."""
    return _replaced(text, lambda word: _OPEN + _BETWEEN.join((word, *_divided(word, _JOINT), "")) + _CLOSE)


def shown(snippet: str) -> str:
    """Return a snippet of an inlined text without the inserted parts. Move the marks of a part to the identifier."""
    body = snippet.removeprefix(_CUT).removesuffix(_CUT)
    start = _CUT if snippet.startswith(_CUT) else ""
    end = _CUT if snippet.endswith(_CUT) and body else ""
    if _CLOSE in body and _OPEN not in body[: body.index(_CLOSE)]:
        body = _OPEN + body
    return start + _ADDED.sub("", _INLINED.sub(_original, body)) + end


def _places(text: bytes) -> list[tuple[int, int]]:
    """Return the starts and ends of the identifiers of a text."""
    classes = text.translate(_CLASSES)
    find, before = classes.find, classes.rfind  # this takes most of the time for identifiers in a step
    ends: dict[int, int] = {}
    for border in _BORDERS:
        at = find(border)
        while at >= 0:
            start = before(b" ", 0, at) + 1
            end = find(b" ", at)
            end = len(classes) if end < 0 else end
            if end - start <= MAX_BYTES:
                ends[start] = end
            at = find(border, end)
    return sorted(ends.items())


def _replaced(text: str, other: Callable[[str], str]) -> str:
    """Return the text with its identifiers replaced."""
    raw, done, pieces = text.encode(), 0, []
    for start, end in _places(raw):
        pieces += [raw[done:start], other(raw[start:end].decode()).encode()]
        done = end
    return b"".join((*pieces, raw[done:])).decode()


def _all_parts(words: Iterable[bytes]) -> str:
    return "".join(map(_parts, itertools.islice(dict.fromkeys(words), MAX_IDENTIFIERS)))


@functools.lru_cache(maxsize=4096)
def _parts(word: bytes) -> str:
    """Return the parts that one identifier adds to a text."""
    if len(_WORDS.findall(word.decode())) >= MAX_PARTS:
        return ""
    return "".join(f" {GAP} {parts}" for parts in _divided(word.decode(), " "))


def _divided(word: str, joint: str) -> list[str]:
    """Return the words of an identifier; with digits, also the words with each number as a separate word."""
    return [*dict.fromkeys((_WORDS.sub(joint, word), _WORDS_AND_NUMBERS.sub(joint, word)))]


def _all_of(run: re.Match[str]) -> str:
    if not has_identifier(run[0]):
        return run[0]
    # Only phrases and groups can be adjacent without an operator. Alternatives need an AND.
    return f" ({' AND '.join(map(_alternatives, _ITEM.findall(run[0])))}) "


def _alternatives(item: str) -> str:
    item = item.strip()
    other = _QUOTED.sub(_phrase, item)
    return item if other == item else f"({item} OR {other})"


def _phrase(string: re.Match[str]) -> str:
    if not has_identifier(string[0]):
        return string[0]
    parts = _replaced(string[0], lambda word: _WORDS.sub(" ", word))
    return parts if parts.startswith('"') else f'"{parts}"'


def _original(group: re.Match[str]) -> str:
    """Return an identifier with the marks of its parts."""
    forms = group[1].split(_BETWEEN)
    return next((form for form in forms if MARK in form or END in form), forms[0])
