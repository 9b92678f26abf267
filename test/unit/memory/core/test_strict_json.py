"""JSON, strictly."""

import json

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
