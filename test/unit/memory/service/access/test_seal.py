"""Cursors are sealed: what is in them can't be read or changed, and they are good for one caller and one query."""

import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service import cursors
from swarm_operator.memory.service.access.rights import CLIENT, Credential, Principal
from swarm_operator.memory.service.access.seal import KEY_BYTES, Seal, SealBrokenError, read_or_create_key

SEAL = Seal(bytes(range(KEY_BYTES)))


@given(st.binary(min_size=1, max_size=100), st.lists(st.binary(max_size=20), max_size=130))
def test_what_was_sealed_is_opened_with_the_same_names(text, names):
    sealed = SEAL.seal(text, names)
    assert SEAL.open(sealed, names) == text
    assert sealed == Seal(bytes(range(KEY_BYTES))).seal(text, names)
    assert sealed.isascii()


@pytest.mark.parametrize("other", [[], [b"a", b"b", b""], [b"ab"], [b"a", b"c"], [b"", b"a", b"b"], [b"b", b"a"]])
def test_other_names_do_not_open_it(other):
    sealed = SEAL.seal(b"text", [b"a", b"b"])
    with pytest.raises(SealBrokenError):
        SEAL.open(sealed, other)


def test_another_key_does_not_open_it():
    with pytest.raises(SealBrokenError):
        Seal().open(SEAL.seal(b"text", []), [])


def test_nothing_that_was_changed_is_opened():
    sealed = SEAL.seal(b"text of some length", [b"a"])
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = [sealed[:at] + char + sealed[at + 1 :] for at in range(len(sealed)) for char in alphabet]
    changed += [sealed[:end] for end in range(len(sealed))] + [sealed + "A", sealed + "=", "\u00e9" + sealed, "!"]
    for each in changed:
        if each != sealed:
            with pytest.raises(SealBrokenError):
                SEAL.open(each, [b"a"])


def test_the_text_is_not_in_it():
    assert b"secret" not in SEAL.seal(b"secret-namespace", []).encode()
    assert SEAL.seal(b"secret", [b"a"]) != SEAL.seal(b"secret", [b"b"])


def test_a_cursor_is_for_its_caller_and_its_query():
    credential = Credential(CLIENT, lambda: True, SEAL)
    cursor = cursors.of_list(credential, "n", "p").encode("key")
    assert cursors.of_list(credential, "n", "p").decode(cursor) == "key"
    others = [
        cursors.of_list(credential, "n", ""),
        cursors.of_list(credential, "m", "p"),
        cursors.of_list(credential, "np", ""),
        cursors.of_list(Credential(Principal("other"), lambda: True, SEAL), "n", "p"),
        cursors.of_namespaces(credential),
        cursors.of_messages(credential),
        cursors.of_records(credential, "list", {"namespace": "n", "prefix": "p"}),
    ]
    for other in others:
        with pytest.raises(InvalidInputError, match=r"^page_token: what the page before gave"):
            other.decode(cursor, "page_token")


def test_the_size_of_a_page_is_no_part_of_a_query():
    credential = Credential(CLIENT, lambda: True, SEAL)
    cursor = cursors.of_records(credential, "task", {"status": "open", "limit": "1"}).encode("k")
    assert cursors.of_records(credential, "task", {"limit": "2", "status": "open", "cursor": cursor}).decode(cursor)
    with pytest.raises(InvalidInputError):
        cursors.of_records(credential, "task", {"status": "done"}).decode(cursor)


def test_the_key_is_made_once_and_only_its_owner_reads_it(tmp_path):
    path = tmp_path / "cursor-key"
    before = os.umask(0)
    try:
        key = read_or_create_key(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (len(key), read_or_create_key(path)) == (KEY_BYTES, key)
    assert [each.name for each in tmp_path.iterdir()] == ["cursor-key"]


@pytest.mark.parametrize("content", [b"", b"00", b"no key", b"\xff"])
def test_a_file_without_a_key_gets_one(tmp_path, content):
    path = tmp_path / "cursor-key"
    path.write_bytes(content)
    (tmp_path / ".cursor-key.new").write_bytes(b"of a start that was killed")
    key = read_or_create_key(path)
    assert read_or_create_key(path) == key
    assert [each.name for each in tmp_path.iterdir()] == ["cursor-key"]
