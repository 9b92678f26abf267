"""Full-text matching for the store in memory: words, phrases and prefixes that must all occur; no operators."""

import re

from swarm_operator.memory.core.errors import InvalidInputError

_PARTS = re.compile(r'"([^"]*)"\s*(\*)?|(\w+)(\*)?')
_WORD = re.compile(r"\w+")
_ESCAPE = re.compile(r"\\(?:u....|.)")


def phrases(expression):
    """The parts of an expression, which must all occur: (words, whether the last one is only a prefix)."""
    if expression is None:
        return []
    parts = _PARTS.findall(expression)
    if _PARTS.sub("", expression).strip() or any(word in {"AND", "OR", "NOT", "NEAR"} for _, _, word, _ in parts):
        raise InvalidInputError("match", "words, phrases and prefixes: this store knows no operators")
    return [(_WORD.findall((quoted or word).lower()), bool(star or more)) for quoted, star, word, more in parts]


def _texts(entry):
    return [_WORD.findall(text.lower()) for text in (entry.key, _ESCAPE.sub(" ", entry.value_json.decode()))]


def _count(text, words, prefix):
    """How often a phrase occurs in a text."""
    return sum(
        text[start : start + len(words) - 1] == words[:-1]
        and (
            text[start + len(words) - 1].startswith(words[-1]) if prefix else text[start + len(words) - 1] == words[-1]
        )
        for start in range(len(text) - len(words) + 1)
    )


def score(entry, parts):
    """How often the phrases occur; 0 if one of them does not, 1 without phrases."""
    texts = _texts(entry) if parts else []
    counts = [sum(_count(text, words, prefix) for text in texts) for words, prefix in parts]
    if not parts:
        return 1.0
    return float(sum(counts)) if all(counts) else 0.0


def snippet(entry, parts):
    wanted = [word for words, _ in parts for word in words]
    marked = [f"**{word}**" if word.startswith(tuple(wanted)) else word for text in _texts(entry) for word in text]
    return " ".join(marked[:16])


def matched(entry, parts):
    """The fields with phrases that occur."""
    texts = zip(("key", "value"), _texts(entry), strict=True)
    return tuple(name for name, text in texts if any(_count(text, words, prefix) for words, prefix in parts))
