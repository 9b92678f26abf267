"""Identifiers of several words: `PaymentGateway` is found by `gateway`, and `payment_gateway` by `PaymentGateway`.

To the tokenizer everything but letters and digits separates words, so it finds the parts of `payment_gateway` and of
`payment-gateway`, and the whole as a phrase of them. It does not see that `PaymentGateway` has parts. So the parts are
put behind a text that is indexed, `expanded`; the text itself stays as it is, so all that it was found by before, words
and phrases, still finds it. A query asks for the identifier as it is written or for the phrase of its parts, `asked`.

    text    PaymentGateway is down                                     HTTPServer2Error
    index   PaymentGateway is down GAP Payment Gateway                 HTTPServer2Error GAP HTTP Server2 Error
                                                                       GAP HTTP Server 2 Error
    query   ("PaymentGateway" OR "Payment Gateway")

An identifier is a run of up to MAX_BYTES letters and digits of ASCII, in which a capital follows a small letter, or a
capitalized word follows a capital or a digit. Digits alone divide nothing: hashes would fall into many parts. Nor is a
run of more than MAX_PARTS words divided. Of a text the first MAX_IDENTIFIERS are.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

MAX_BYTES: Final = 64
"""Longest identifier. Longer runs are data, such as base64."""
MAX_PARTS: Final = 8
"""Maximum number of words of an identifier. Runs of more are data, too."""
MAX_IDENTIFIERS: Final = 256
"""Maximum number of different identifiers of a text whose parts are indexed: base64 has one in each 60 bytes."""
GAP: Final = "\ue000"
"""A word of the tokenizer that texts don't have: a phrase never goes from the parts of one identifier on to others."""

MARK: Final = "\x01"
END: Final = "\x02"
"""Marks around what matches in a snippet, for `shown`."""
# An inlined identifier. JSON has no such characters; in a key they only spoil a snippet.
_OPEN: Final = "\x03"
_BETWEEN: Final = f"\x04{GAP}\x04"
_CLOSE: Final = "\x05"
_JOINT: Final = "\x06"
_CUT: Final = "…"
_INLINED: Final = re.compile(f"{_OPEN}([^{_OPEN}{_CLOSE}]*){_CLOSE}?")
_ADDED: Final = re.compile(f"[\x04{_JOINT}{GAP}]")

# What a byte is: a small letter, a capital, a digit, or something that ends an identifier.
_CLASSES: Final = bytes(
    97 if 97 <= byte <= 122 else 65 if 65 <= byte <= 90 else 48 if 48 <= byte <= 57 else 32 for byte in range(256)
)
_BORDERS: Final = (b"aA", b"AAa", b"0Aa")
_WORDS: Final = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z0-9])(?=[A-Z][a-z])")
_WORDS_AND_NUMBERS: Final = re.compile(rf"{_WORDS.pattern}|(?<=[0-9])(?=[A-Za-z])|(?<=[A-Za-z])(?=[0-9])")

# The grammar of https://sqlite.org/fts5.html#full_text_query_syntax, of expressions that FTS5 has accepted.
_SPACE = r"[ \t\n\r]*+"
_BARE = r"[A-Za-z0-9_\x1a\x80-\U0010ffff]"
_STRING = rf'(?:"(?:[^"]|"")*+"|(?<!{_BARE})(?!(?:AND|OR|NOT)(?!{_BARE})){_BARE}++)'
_PHRASE = rf"(?:\^{_SPACE})?{_STRING}{_SPACE}\*?(?:{_SPACE}\+{_SPACE}{_STRING}{_SPACE}\*?)*+"
_NEAR = rf'NEAR{_SPACE}\((?:"(?:[^"]|"")*+"|[^()"])*+\)'
_COLUMNS = rf"(?:(?:-{_SPACE})?(?:{_STRING}|\{{[^}}]*+\}}){_SPACE}:{_SPACE})?"
_ITEM: Final = re.compile(rf"{_COLUMNS}(?:{_NEAR}|{_PHRASE})")
RUN: Final = re.compile(rf"(?:{_ITEM.pattern}{_SPACE})+")
"""Phrases and groups that stand side by side, so all of them must match."""
_QUOTED: Final = re.compile(_STRING)
_TERM: Final = re.compile(rf"{_STRING}(?!{_SPACE}[:(])(?:{_SPACE}\*)?")
_NO_TERM: Final = re.compile(rf"\{{[^}}]*+\}}|,{_SPACE}\d+")
"""A list of columns, and the distance of a group."""


def expanded(text: str) -> str:
    """Return the text to index: followed by the parts of its identifiers."""
    return text + addition(text.encode())


def addition(text: bytes) -> str:
    """Return what `expanded` puts behind a text."""
    return _all_parts(text[start:end] for start, end in _places(text))


def additions(texts: bytes, lengths: Iterable[int]) -> Iterator[tuple[int, str]]:
    """Yield the number of each of many texts to which `expanded` adds something, and what.

    Args:
        texts: the texts one after another, with one byte between two of them, which is no letter or digit.
        lengths: bytes of each.
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
    """Return the expression that the parts of its identifiers match, too, where these stand side by side."""
    return RUN.sub(_all_of, expression) if has_identifier(expression) else expression


def has_identifier(text: str) -> bool:
    """Return whether there are identifiers of several words in a text."""
    return bool(_places(text.encode()))


def any_of(expression: str) -> str:
    """Return the expression that each text matches in which one of the words or phrases occurs."""
    return " OR ".join(_TERM.findall(_NO_TERM.sub(" ", expression)))


def inlined(text: str) -> str:
    """Return the text with the parts of each identifier right behind it, for `shown`."""
    return _replaced(text, lambda word: _OPEN + _BETWEEN.join((word, *_divided(word, _JOINT), "")) + _CLOSE)


def shown(snippet: str) -> str:
    """Return a snippet of an inlined text without what `inlined` added: a mark of a part is in the identifier."""
    body = snippet.removeprefix(_CUT).removesuffix(_CUT)
    start = _CUT if snippet.startswith(_CUT) else ""
    end = _CUT if snippet.endswith(_CUT) and body else ""
    if _CLOSE in body and _OPEN not in body[: body.index(_CLOSE)]:
        body = _OPEN + body
    return start + _ADDED.sub("", _INLINED.sub(_original, body)) + end


def _places(text: bytes) -> list[tuple[int, int]]:
    """Return where the identifiers of a text start and end."""
    classes = text.translate(_CLASSES)
    find, before = classes.find, classes.rfind  # this is the larger part of what identifiers cost a step
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
    """Return what one identifier adds to a text."""
    if len(_WORDS.findall(word.decode())) >= MAX_PARTS:
        return ""
    return "".join(f" {GAP} {parts}" for parts in _divided(word.decode(), " "))


def _divided(word: str, joint: str) -> list[str]:
    """Return the words of an identifier; if there are digits among them, also with each number as a word."""
    return [*dict.fromkeys((_WORDS.sub(joint, word), _WORDS_AND_NUMBERS.sub(joint, word)))]


def _all_of(run: re.Match[str]) -> str:
    if not has_identifier(run[0]):
        return run[0]
    # Only phrases and groups can stand side by side. Alternatives need an AND.
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
    """Return the form of an identifier in which something is marked."""
    forms = group[1].split(_BETWEEN)
    return next((form for form in forms if MARK in form or END in form), forms[0])
