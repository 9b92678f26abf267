import hypothesis.strategies as st
import pytest
from hypothesis import given

from swarm_operator.runtime.resource import Key, Resource, controller_of, is_newer, key_of, owner_reference

PODS = Resource("", "v1", "Pod", "pods")
LEASES = Resource("coordination.k8s.io", "v1", "Lease", "leases")
NODES = Resource("", "v1", "Node", "nodes", namespaced=False)


@pytest.mark.parametrize(
    ("resource", "where", "path"),
    [
        (PODS, {}, "/api/v1/pods"),
        (PODS, {"namespace": "ns"}, "/api/v1/namespaces/ns/pods"),
        (PODS, {"namespace": "ns", "name": "a"}, "/api/v1/namespaces/ns/pods/a"),
        (PODS, {"namespace": "ns", "name": "a", "subresource": "status"}, "/api/v1/namespaces/ns/pods/a/status"),
        (LEASES, {}, "/apis/coordination.k8s.io/v1/leases"),
        (LEASES, {"namespace": "ns", "name": "a"}, "/apis/coordination.k8s.io/v1/namespaces/ns/leases/a"),
        (NODES, {"namespace": "ns", "name": "a"}, "/api/v1/nodes/a"),
    ],
)
def test_a_path_has_the_parts_that_are_given(resource, where, path):
    assert resource.path(**where) == path


def test_the_core_group_has_no_name_in_an_api_version():
    assert PODS.api_version == "v1"
    assert LEASES.api_version == "coordination.k8s.io/v1"


def test_a_key_reads_as_kubectl_writes_it():
    assert str(Key("ns", "a")) == "ns/a"
    assert str(Key("", "a")) == "a"


def test_the_key_of_a_cluster_scoped_object_has_an_empty_namespace(widget):
    assert key_of(widget("a")) == Key("ns", "a")
    assert key_of({"metadata": {"name": "a"}}) == Key("", "a")


def test_only_the_controlling_owner_counts(widget):
    obj = widget("a", owner="boss")
    obj["metadata"]["ownerReferences"].insert(0, {"kind": "Other", "name": "x", "uid": "u", "controller": False})
    obj["metadata"]["ownerReferences"].insert(0, {"kind": "Other", "name": "y", "uid": "v"})
    assert controller_of(obj)["name"] == "boss"
    assert controller_of(widget("a")) is None
    assert controller_of({"metadata": {"name": "a", "ownerReferences": None}}) is None


def test_an_owner_reference_makes_its_owner_the_controller(widget):
    owner = widget("boss")
    reference = owner_reference(owner)
    assert controller_of({"metadata": {"ownerReferences": [reference]}}) == {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "name": "boss",
        "uid": "uid-boss",
        "controller": True,
        "blockOwnerDeletion": True,
    }


@given(st.integers(0, 2**70), st.integers(0, 2**70))
def test_versions_compare_as_numbers(one, other):
    assert is_newer(str(one), str(other)) == (one > other)


def test_a_version_of_more_digits_is_newer():
    assert is_newer("10", "9")
    assert not is_newer("9", "10")


@pytest.mark.parametrize(
    ("one", "other"), [("abc", "10"), ("10", "abc"), ("b", "a"), ("a", "b"), ("10", ""), ("", "10")]
)
def test_unusual_versions_count_as_newer_unless_they_are_equal(one, other):
    assert is_newer(one, other)
    assert not is_newer(one, one)
