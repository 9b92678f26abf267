from hypothesis import given
from hypothesis import strategies as st

from swarm_operator.api.v1alpha1.agents import MAX_AGENTS
from swarm_operator.controllers.swarmcluster.agents.topology import peers

NAMES = st.integers(0, MAX_AGENTS).map(lambda count: [f"a-{number}" for number in range(count)])


@given(NAMES)
def test_in_a_mesh_everybody_else_is_a_peer(names):
    found = peers("mesh", names)
    assert {name: set(others) for name, others in found.items()} == {name: set(names) - {name} for name in names}


@given(NAMES)
def test_a_ring_is_one_circle_through_all_agents(names):
    found = peers("ring", names)
    assert list(found) == names
    for name, around in found.items():
        assert len(around) == len(set(around)) == min(2, len(names) - 1)
        assert all(name in found[other] for other in around)
    for before, name in zip([*names[-1:], *names], names, strict=False):
        assert before == name or before in found[name]


@given(NAMES)
def test_in_a_star_the_first_agent_is_the_peer_of_all_others(names):
    found = peers("star", names)
    assert found == {name: names[: min(place, 1)] for place, name in enumerate(names)}


@given(NAMES)
def test_a_hierarchy_is_a_flat_tree_in_which_nobody_has_more_than_two_children(names):
    found = peers("hierarchical", names)
    assert list(found) == names
    depths: dict[str, int] = {}
    for place, name in enumerate(names):
        if place == 0:
            assert found[name] == []
            depths[name] = 0
            continue
        (parent,) = found[name]
        # The parent is an agent of less depth, so all lead to the first one.
        depths[name] = depths[parent] + 1
    parents = [others[0] for others in found.values() if others]
    assert all(parents.count(name) <= 2 for name in names)
    assert max(depths.values(), default=0) == max(len(names), 1).bit_length() - 1


@given(NAMES.filter(len), st.sampled_from(["star", "hierarchical"]))
def test_the_parent_of_an_agent_stays_when_others_come(names, topology):
    more = peers(topology, [*names, "one-more"])
    assert {name: more[name] for name in names} == peers(topology, names)
