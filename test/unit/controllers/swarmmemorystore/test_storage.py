import pytest

from swarm_operator.controllers.swarmmemorystore.storage import claim_outcome, data_claim, data_claim_name


def test_a_claim_has_the_size_in_canonical_form(store):
    claim = data_claim(store(storageSize="2048Mi"))
    assert claim["metadata"]["name"] == data_claim_name(store()) == "bees-data"
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}


def test_a_class_is_named_only_where_the_store_names_one(store):
    assert "storageClassName" not in data_claim(store())["spec"]
    assert data_claim(store(storageClass="fast"))["spec"]["storageClassName"] == "fast"


@pytest.mark.parametrize(
    ("claim", "bound"),
    [
        ({"status": {"phase": "Bound"}}, True),
        ({"status": {"phase": "Pending"}}, False),
        ({}, False),
        ({"status": None}, False),
    ],
)
def test_a_claim_is_bound_when_it_says_so(claim, bound):
    outcome = claim_outcome({"metadata": {"name": "bees-data"}} | claim)
    assert (outcome.is_done, outcome.reason) == (bound, "Bound" if bound else "WaitingForVolume")
