"""What is sent: names and texts that have broken programs before, and what Hypothesis makes of them."""

import json
import re
from urllib.parse import quote

from hypothesis import strategies as st

NAMES = [
    "", "a", "\0", "a\0b", ".", "..", "../../etc/passwd", "/", "//", "a/b", "%", "%2", "%2F", "%00", "%zz", "\\",
    "'", '"', "' OR 1=1 --", "'; DROP TABLE entries; --", "*", "?", "[", "[!", "\n", "\r\n\r\n", "\t", " ",
    "\u200b", "\u202e", "\ufeff", "\ufffe", "\U0010ffff", "\U0001f600", "e\u0301", "\u00e9", "k" * 255, "k" * 256,
    "k" * 1024, "k" * 1025, "\u00e4" * 513, "__proto__", "null", "NaN", "-1", "1e400", "swarm:agents", "memory://x",
    "{}", "[]", "${x}", "{{x}}", "<script>", "%FF", "%C3%28", "%ED%A0%80", "%F4%90%80%80",
]  # fmt: skip
TEXTS = [
    b"", b"null", b"nul", b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-1e400", b"1e-400", b"0.1e", b"01", b"-0",
    b"+1", b"18446744073709551615", b"18446744073709551616", b"-9223372036854775809", b"9" * 5000,
    b"0." + b"9" * 5000, b'"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b'"\x00"', b'"\xff"', b"\xff\xfe",
    b'"\\x"', b"{", b"{}", b"[]", b"[,]", b'{"a":1,"a":2}', b'{"":{"":{}}}', b"[" * 100_000,
    b"[" * 900 + b"]" * 900, b'{"a":' * 600 + b"1" + b"}" * 600, b"\xef\xbb\xbf1", b"// 1", b"1 2", b"'1'", b"True",
    b"undefined",
]  # fmt: skip
"""What is, or only looks like, JSON."""

_RUN = re.compile(rb"(.{1,40}?)\1{19,}", re.DOTALL)


class Sent(bytes):
    """Bytes that may be long; their repr counts repeated pieces."""

    __slots__ = ()

    def __repr__(self):
        """Return an expression without the repetitions."""
        parts, end = [], 0
        for run in _RUN.finditer(self):
            piece = run[1]
            parts += [bytes(self[end : run.start()]), f"{piece} * {len(run[0]) // len(piece)}"]
            end = run.end()
        parts.append(bytes(self[end:]))
        return " + ".join(part if isinstance(part, str) else repr(part) for part in parts if part)


names = st.sampled_from(NAMES) | st.text(max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(NAMES)
    | st.text(max_size=9)
)


def values(members=()):
    """JSON values whose objects have these members, and others."""
    keys = st.sampled_from(sorted(members)) | st.text(max_size=3) if members else st.text(max_size=3)
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=6),
        max_leaves=12,
    )


@st.composite
def damaged(draw, whole):
    """Bytes of which a piece was cut out, doubled, or replaced."""
    data = draw(whole)
    start = draw(st.integers(0, len(data)))
    end = draw(st.integers(start, min(len(data), start + 50)))
    return data[:start] + draw(st.just(b"") | st.just(data[start:end] * 2) | st.binary(max_size=8)) + data[end:]


def encoded(documents):
    """Documents as JSON, whole and damaged, and what is none."""
    whole = documents.map(lambda value: json.dumps(value).encode())
    return whole | damaged(whole) | st.sampled_from(TEXTS) | st.binary(max_size=20)


def escape(text):
    """Percent-encode a text, lone surrogates included."""
    return quote(text.encode("utf-8", "surrogatepass"), safe="")
