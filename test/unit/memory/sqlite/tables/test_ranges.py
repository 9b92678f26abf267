"""Ranges of texts of namespaces with those below them."""

from hypothesis import given
from hypothesis import strategies as st

from swarm_operator.memory.core.namespaces import covers
from swarm_operator.memory.sqlite.tables.ranges import spans

NAMES = st.text("ab/.0\u00e4", min_size=1, max_size=6)


@given(st.lists(NAMES, max_size=4), NAMES)
def test_the_ranges_hold_what_is_covered_and_nothing_else(roots, name):
    found = [start.encode() <= name.encode() < end.encode() for start, end in spans(roots)]
    assert any(found) is covers(roots, name)
    assert sum(found) <= 1, "no range overlaps another"


@given(st.lists(NAMES, max_size=4))
def test_the_ranges_are_in_order(roots):
    bounds = [bound.encode() for span in spans(roots) for bound in span]
    assert bounds == sorted(bounds)
