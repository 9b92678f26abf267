"""Namespaces with those below them."""

from swarm_operator.memory.core.namespaces import covers


def test_none_is_everything_and_no_root_is_nothing():
    assert covers(None, "a")
    assert not covers([], "a")
    assert covers(["a"], "a/b")
    assert not covers(["a"], "ab")
    assert not covers(["a/b"], "a")
