"""A JSON file is split where its elements end, wherever its chunks end, and as far as it is JSON."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_operator.memory.transfer.migration import json_elements
from swarm_operator.memory.transfer.migration.json_elements import BrokenJsonError, elements, lines

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
DOCUMENTS = st.lists(VALUES, max_size=5) | st.dictionaries(st.text(), VALUES, max_size=5)


def split(text, limit=1_000_000):
    return list(elements(io.BytesIO(text), limit))


def split_broken(text):
    """The elements before the fault of a text, and the error that tells it."""
    found = []
    try:
        for each in elements(io.BytesIO(text), 1_000_000):
            found.append(each)  # noqa: PERF402 - what was yielded before the error counts
    except BrokenJsonError as error:
        return found, error
    pytest.fail("nothing was wrong")


def together(found, outer):
    """The document that the elements make."""
    if isinstance(outer, list):
        return [json.loads(each.text) for each in found if each.index != -1]
    whole = {}
    for each in found:
        if each.index == -1:
            whole[each.member] = []
        elif each.index is None:
            whole[each.member] = json.loads(each.text)
        else:
            whole[each.member].append(json.loads(each.text))
    return whole


@pytest.fixture(params=[1, 2, 7, 64])
def chunk(request, monkeypatch):
    monkeypatch.setattr(json_elements, "_CHUNK", request.param)
    return request.param


@given(document=DOCUMENTS, size=st.integers(1, 20), indent=st.sampled_from([None, 1]), ascii_only=st.booleans())
def test_the_elements_are_those_of_the_document(document, size, indent, ascii_only):
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode(errors="surrogatepass")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_elements, "_CHUNK", size)
        found = split(text)
    assert together(found, document) == document
    assert all(text[each.start : each.end] == each.text for each in found if each.index != -1)


@given(document=st.lists(VALUES, min_size=1, max_size=5), data=st.data())
def test_a_file_that_is_cut_off_has_the_elements_before_the_cut(document, data):
    text = json.dumps(document).encode()
    cut = data.draw(st.integers(1, len(text) - 1))
    found, error = split_broken(text[:cut])
    assert error.truncated
    # A number that is cut off is still a number.
    values = [json.loads(each.text) for each in found[1:] if each.end < cut]
    assert values == document[: len(values)]
    assert len(values) >= sum(1 for each in split(text)[1:] if each.end < cut)


@pytest.mark.parametrize(
    "inner", [b'"' + b"x" * 100 + b'"', b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", b'{"a": "' + b'\\"' * 50 + b'"}']
)
def test_an_element_over_the_limit_is_only_a_place(chunk, inner):
    text = b'{"a": [1, ' + inner + b', "\\\\"], "b": ' + inner + b', "c": 3}'
    found = split(text, limit=50)
    assert [each.text for each in found] == [b"[]", b"1", None, b'"\\\\"', None, b"3"]
    assert [text[each.start : each.end] for each in found if each.text is None] == [inner, inner]


@pytest.mark.parametrize(
    ("text", "before"),
    [
        (b"[1 2]", 1),
        (b'{"a" 1}', 0),
        (b"{1: 2}", 0),
        (b"[1,]", 1),
        (b"[1] 2", 1),
        (b'{"a": }', 0),
        (b"[,]", 0),
        (b"x", 0),
        (b'{"\\x": 1}', 0),
    ],
)
def test_what_is_no_json_is_said_with_its_place(chunk, text, before):
    found, error = split_broken(text)
    assert len([each for each in found if each.index != -1]) == before
    assert not error.truncated
    assert 0 <= error.offset <= len(text)


def test_lines_are_elements_and_a_long_one_is_only_a_place():
    text = b'{"a": 1}\n\n{"b": "' + b"x" * 100 + b'"}\r\n {"c": 3} \n{"d"'
    found = list(lines(io.BytesIO(text), 50))
    assert [(each.index, each.text) for each in found] == [(0, b'{"a": 1}'), (1, None), (2, b'{"c": 3}'), (3, b'{"d"')]
    assert text[found[1].start : found[1].end].strip() == b'{"b": "' + b"x" * 100 + b'"}'
