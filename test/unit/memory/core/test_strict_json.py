"""JSON, strictly."""

import json
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_operator.memory.core import strict_json
from swarm_operator.memory.core.errors import InvalidInputError

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda children: st.lists(children) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), children),
)


@given(JSON_VALUES, st.booleans())
def test_every_json_document_comes_back_as_it_was(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=1).encode()
    assert strict_json.parse_document("body", text) == value
    assert strict_json.decode(strict_json.encode("value", value)) == value


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"NaN",
        b"[Infinity]",
        b"1e999",
        b"01",
        b"'a'",
        b"\xff",
        b"\xef\xbb\xbf1",
        b'"\\ud800"',
        b'"\x00"',
        b'{"a":1,"a":2}',
        b'{"x":[{"a":1,"b":":","a":":"}]}',
        b'{"a":"\\u003a","a":1}',
        b'{"a" :1 , "a": "b:c"}',
        b"123456789012345678901234567890",
        b"[18446744073709551616]",
        b"-9223372036854775809",
        b"9" * 5000,
        b"[" * 66 + b"]" * 66,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b"[" * 100_000,
        b"[" * 2000 + b"]" * 2000,
    ],
)
def test_what_is_not_strict_json_is_refused(text):
    with pytest.raises(InvalidInputError) as caught:
        strict_json.parse_document("body", text)
    assert caught.value.field == "body"


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":"x:y:z","b":"\\u003a"}',
        b'["' + b"[" * 500 + b'"]',
        b'["\\"[[[[", ' + b'"]]]]{{{{"' + b", 1" * 80 + b"]",
        b"[" + b"[]," * 100 + b"[]]",
        b'"12345678901234567890123"',
        b"1234567890.12345678901234567890",
        b"18446744073709551615",
        b"-9223372036854775808",
        b"1.0000000000000000000e5",
        b'{"a":{"b":1},"c":{"b":1}}',
    ],
)
def test_what_only_looks_suspicious_is_taken(text):
    assert strict_json.parse_document("body", text) == json.loads(text)


def test_cycles_and_foreign_types_are_refused():
    cycle = []
    cycle.append(cycle)
    for value in (cycle, object(), b"bytes", 1j):
        with pytest.raises(InvalidInputError):
            strict_json.encode("value", value)


def test_each_decoding_is_a_new_object():
    assert strict_json.decode(b"[]") is not strict_json.decode(b"[]")


@given(JSON_VALUES)
def test_the_depth_that_is_found_is_that_of_the_document(value):
    def depth(value):
        if isinstance(value, dict | list):
            return 1 + max(map(depth, value.values() if isinstance(value, dict) else value), default=0)
        return 0

    text = json.dumps(value, ensure_ascii=False).encode()
    for most in range(5):
        assert strict_json._deeper(text, most) == (depth(value) > most)


@given(JSON_VALUES, st.integers(0, 40))
def test_the_values_that_are_counted_are_those_of_the_document(value, most):
    def values(value):
        if isinstance(value, dict):
            return 4 + max(len(value) - 1, 0) + 4 * len(value) + sum(map(values, value.values()))
        return 4 + max(len(value) - 1, 0) + sum(map(values, value)) if isinstance(value, list) else 0

    text = json.dumps(value, ensure_ascii=False).encode()
    if values(value) <= most:
        strict_json.check_values("body", text, most=most)
    else:
        with pytest.raises(InvalidInputError, match=f"at most {most} values"):
            strict_json.check_values("body", text, most=most)


def test_a_document_with_too_many_values_is_refused_before_it_is_parsed():
    with pytest.raises(InvalidInputError, match="at most 1000000 values"):
        strict_json.parse_document("body", b"[" * 2_000_000)
    text = b"[" + b"0," * (strict_json.MAX_VALUES - 4) + b"0]"
    assert len(strict_json.parse_document("body", text)) == strict_json.MAX_VALUES - 3
    with pytest.raises(InvalidInputError, match="at most 1000000 values"):
        strict_json.parse_document("body", b"[0," + text[1:])
    assert strict_json.parse_document("body", b'"' + b",[" * 2_000_000 + b'"') == ",[" * 2_000_000


TEXTS = [
    "", "\\", '"', '\\"', '"\\', "[{,:", "\\\\\\", "a", ":", "12345678901234567890", "\u003a", "1",
]  # fmt: skip
TRICKY = st.recursive(
    st.none()
    | st.integers(-(2**63), 2**64 - 1)
    | st.sampled_from([1.5, 12345678901234567890.5, 1e25, -(2**63), 2**64 - 1, 0])
    | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(TEXTS), inner),
)


@given(value=TRICKY, indent=st.sampled_from([None, 1]), most=st.integers(0, 3), piece=st.integers(1, 8))
def test_a_text_that_is_scanned_in_pieces_is_the_same_text(value, indent, most, piece):
    text = json.dumps(value, indent=indent).encode().replace(b'":"', rb'"\u003a"')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strict_json, "_PIECE", piece)
        assert strict_json.parse_document("body", text) == json.loads(text)
        strict_json._check_in_detail("body", text)
        assert b"".join(strict_json._outside_strings(text)) == _outside(text)
        assert strict_json._deeper(text, most) == (_depth(value) > most)


def _outside(text):
    """What is outside the strings of a text, character by character."""
    found, inside, escaped = bytearray(), False, False
    for byte in text:
        if escaped:
            escaped = False
        elif inside and byte == ord("\\"):
            escaped = True
        elif byte == ord('"'):
            inside = not inside
        elif not inside:
            found.append(byte)
    return bytes(found)


def _depth(value):
    if isinstance(value, dict | list):
        return 1 + max(map(_depth, value.values() if isinstance(value, dict) else value), default=0)
    return 0


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":"\\u003a","b":{"c":1,"c":2}}',
        b'{"\\u0061":1,"a":2}',
        b'["\\\\","12345678901234567890",18446744073709551616]',
        b'{"x":[-9223372036854775809]}',
        b"[1.5,1111111111111111111111111111111111]",
        b'[{"a" : 1, "b" : "\\"", "a":1}]',
    ],
)
@pytest.mark.parametrize("piece", range(1, 9))
def test_what_parsing_would_change_is_found_wherever_a_piece_ends(text, piece, monkeypatch):
    monkeypatch.setattr(strict_json, "_PIECE", piece)
    with pytest.raises(InvalidInputError):
        strict_json.parse_document("body", text)


def test_the_error_names_the_first_member_that_is_repeated():
    with pytest.raises(InvalidInputError, match="each member once; 'b' is repeated"):
        strict_json.parse_document("body", b'{"a":{"b":1,"b":2},"a":1}')
    filler = b'"' + b"x" * strict_json._PIECE + b'"'
    with pytest.raises(InvalidInputError, match="each member once; one is repeated"):
        strict_json.parse_document("body", b'{"a":1,"a":%b}' % filler)


HUGE = 4 * 1024 * 1024
LARGE_TEXTS = {
    "lists": b"[" + b"[]," * (HUGE // 3) + b"[]]",
    "allowed lists": b"[" + b"[]," * 190_000 + b"[]]",
    "escapes": b'"' + rb"\u003a" * (HUGE // 6) + b'"',
    "long strings": b'["' + b"1" * HUGE + b'"]',
    "backslashes": b'"' + b"\\\\" * (HUGE // 2) + b'"',
    "brackets": b'"' + b"[" * HUGE + b'"',
    "names": b"{" + b",".join(b'"%d\\u003a":1' % number for number in range(190_000)) + b"}",
    "repeated names": b"{" + b'"a":1,' * 190_000 + b'"a":1}',
    "digits": b"[" + b"1" * HUGE + b"]",
    "decimals": b"[" + b"0.1234567890123456789," * (HUGE // 22) + b"1]",
    "prose": b'{"value":"' + b"some words: and more, " * (HUGE // 22) + b'"}',
}


@pytest.mark.parametrize("name", LARGE_TEXTS)
def test_no_call_of_ours_takes_a_long_text_as_a_whole(name):
    """A call in C keeps the event loop's thread waiting until it returns."""
    longest = 0

    def note(_, event, called):
        nonlocal longest
        if event == "c_call" and isinstance(getattr(called, "__self__", None), bytes):
            longest = max(longest, len(called.__self__))

    text = LARGE_TEXTS[name]
    sys.setprofile(note)
    try:
        strict_json.parse_document("body", text)
    except InvalidInputError:
        pass
    finally:
        sys.setprofile(None)
    # A text of which every fourth byte is a bracket is not accepted, so the brackets alone are that few.
    assert 0 < longest <= strict_json.MAX_VALUES // 2
