import pytest

from swarm_operator.controllers.swarmmemorystore.storage import claim_outcome, data_claim, data_claim_name


def test_a_claim_has_the_size_in_canonical_form(store):
    claim = data_claim(store(storageSize="2048Mi"), None)
    assert claim["metadata"]["name"] == data_claim_name(store()) == "bees-data"
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}


def test_a_class_is_named_only_where_the_store_names_one(store):
    assert "storageClassName" not in data_claim(store())["spec"]
    assert data_claim(store(storageClass="fast"))["spec"]["storageClassName"] == "fast"


@pytest.mark.parametrize(("live", "wanted"), [("1Gi", "2Gi"), ("2Gi", "2Gi"), ("3Gi", "3Gi"), ("2000M", "2Gi")])
def test_a_claim_never_asks_for_less_than_it_has(store, live, wanted):
    claim = {"spec": {"resources": {"requests": {"storage": live}}}}
    assert data_claim(store(storageSize="2Gi"), claim)["spec"]["resources"]["requests"]["storage"] == wanted


@pytest.mark.parametrize(("capacity", "reason"), [("1Gi", "Resizing"), ("2Gi", "Bound"), ("3Gi", "Bound")])
def test_a_growth_that_is_not_complete_is_told(capacity, reason):
    waits = [{"type": "FileSystemResizePending", "message": "waiting for the pod"}]
    claim = {
        "metadata": {"name": "bees-data"},
        "spec": {"resources": {"requests": {"storage": "2Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": capacity}, "conditions": waits},
    }
    outcome = claim_outcome(claim)
    assert outcome.reason == reason
    assert ("waiting for the pod" in outcome.message) is (reason == "Resizing")


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
    spec = {"resources": {"requests": {"storage": "1Gi"}}}
    outcome = claim_outcome({"metadata": {"name": "bees-data"}, "spec": spec} | claim)
    assert (outcome.is_done, outcome.reason) == (bound, "Bound" if bound else "WaitingForVolume")
