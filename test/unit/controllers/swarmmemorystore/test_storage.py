import pytest

from swarm_operator.controllers.common import labels
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
    claim = {"metadata": {}, "spec": {"resources": {"requests": {"storage": live}}}}
    assert data_claim(store(storageSize="2Gi"), claim)["spec"]["resources"]["requests"]["storage"] == wanted


def test_a_claim_keeps_what_it_says_of_its_growth(store):
    spec = {"resources": {"requests": {"storage": "1Gi"}}}
    live = {"metadata": {"annotations": {labels.AUTOGROWN: "2026-11-23T12:00:00Z", "other": "x"}}, "spec": spec}
    assert data_claim(store(), live)["metadata"]["annotations"] == {labels.AUTOGROWN: "2026-11-23T12:00:00Z"}


@pytest.mark.parametrize(("capacity", "reason"), [("1Gi", "Resizing"), ("2Gi", "Bound"), ("3Gi", "Bound")])
def test_a_growth_that_is_not_complete_is_told(capacity, reason):
    waits = [
        {
            "type": "FileSystemResizePending",
            "status": "True",
            "lastTransitionTime": "2026-11-23T11:00:00Z",
            "message": "waiting for the pod",
        },
        {"type": "Resizing", "status": "False", "message": "over"},
    ]
    claim = {
        "metadata": {"name": "bees-data"},
        "spec": {"resources": {"requests": {"storage": "2Gi"}}},
        "status": {"phase": "Bound", "capacity": {"storage": capacity}, "conditions": waits},
    }
    outcome = claim_outcome(claim)
    assert outcome.reason == reason
    if reason == "Resizing":
        said = "FileSystemResizePending since 2026-11-23T11:00:00Z: waiting for the pod"
        assert outcome.message == f"PersistentVolumeClaim bees-data has 1Gi of 2Gi; {said}"


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("ControllerResizeInProgress", "Resizing"),
        ("NodeResizePending", "Resizing"),
        ("ControllerResizeInfeasible", "ResizeInfeasible"),
        ("NodeResizeInfeasible", "ResizeInfeasible"),
    ],
)
def test_a_growth_that_cannot_complete_is_told(state, reason):
    claim = {
        "metadata": {"name": "bees-data"},
        "spec": {"resources": {"requests": {"storage": "2Gi"}}},
        "status": {
            "phase": "Bound",
            "capacity": {"storage": "1Gi"},
            "allocatedResourceStatuses": {"storage": state},
            "conditions": [{"type": "ControllerResizeError", "status": "True", "message": "the disk is too small"}],
        },
    }
    outcome = claim_outcome(claim)
    assert (outcome.reason, outcome.phase) == (reason, "Error" if reason == "ResizeInfeasible" else "Initializing")
    assert "the disk is too small" in outcome.message


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
