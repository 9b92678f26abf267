import pytest

from swarm_operator.runtime import handlers
from swarm_operator.runtime.resource import Key, Resource
from swarm_operator.runtime.store import Change

OWNERS = Resource("example.com", "v1", "Owner", "owners")


def test_an_object_maps_to_itself(widget):
    assert list(handlers.enqueue_self(widget("a"))) == [Key("ns", "a")]


def test_a_child_maps_to_its_controller_in_its_own_namespace(widget):
    mapper = handlers.enqueue_owner(OWNERS)
    assert list(mapper(widget("a", owner="boss"))) == [Key("ns", "boss")]
    assert list(mapper(widget("a"))) == []


@pytest.mark.parametrize("other", [{"kind": "Widget"}, {"apiVersion": "elsewhere.com/v1"}, {"controller": False}])
def test_an_owner_of_another_kind_or_none_that_controls_is_no_owner_of_ours(widget, other):
    child = widget("a", owner="boss")
    child["metadata"]["ownerReferences"][0].update(other)
    assert list(handlers.enqueue_owner(OWNERS)(child)) == []


def test_another_version_of_the_owner_s_kind_is_the_same_owner(widget):
    child = widget("a", owner="boss")
    child["metadata"]["ownerReferences"][0]["apiVersion"] = "example.com/v1beta1"
    assert list(handlers.enqueue_owner(OWNERS)(child)) == [Key("ns", "boss")]


def test_an_owner_of_the_core_group_is_found(widget):
    child = widget("a", owner="web")
    child["metadata"]["ownerReferences"][0].update(apiVersion="v1", kind="Pod")
    assert list(handlers.enqueue_owner(Resource("", "v1", "Pod", "pods"))(child)) == [Key("ns", "web")]


def test_a_label_names_an_object_in_the_same_namespace(widget):
    mapper = handlers.enqueue_by_label("belongs-to")
    assert list(mapper(widget("a", labels={"belongs-to": "boss"}))) == [Key("ns", "boss")]
    assert list(mapper(widget("a", labels={"other": "x"}))) == []
    assert list(mapper(widget("a", labels=None))) == []
    assert list(mapper(widget("a"))) == []


def test_two_labels_name_an_object_in_another_namespace(widget):
    mapper = handlers.enqueue_by_labels(namespace="home", name="belongs-to")
    assert list(mapper(widget("a", labels={"belongs-to": "boss", "home": "office"}))) == [Key("office", "boss")]
    for labels in ({"belongs-to": "boss"}, {"home": "office"}, None):
        assert list(mapper(widget("a", labels=labels))) == []


def test_an_object_that_changes_hands_concerns_both_owners(widget):
    change = Change(widget("a", 1, owner="old"), widget("a", 2, owner="new"))
    assert handlers.keys_of(change, handlers.enqueue_owner(OWNERS)) == {Key("ns", "old"), Key("ns", "new")}


def test_creations_and_deletions_have_one_state_to_map(widget):
    assert handlers.keys_of(Change(None, widget("a")), handlers.enqueue_self) == {Key("ns", "a")}
    assert handlers.keys_of(Change(widget("a"), None), handlers.enqueue_self) == {Key("ns", "a")}


def test_every_change_counts_where_nothing_else_is_said(widget):
    assert handlers.any_change(Change(widget("a", 1), widget("a", 2)))


@pytest.mark.parametrize(
    "asked",
    [
        {"generation": 2},
        {"labels": {"a": "b"}},
        {"annotations": {"a": "b"}},
        {"deletionTimestamp": "2026-11-23T12:00:00Z"},
        {"uid": "another"},
    ],
    ids=lambda asked: next(iter(asked)),
)
def test_what_a_user_asks_for_counts(widget, asked):
    old, new = widget("a", 1, generation=1), widget("a", 2, **({"generation": 1} | asked))
    assert handlers.spec_or_metadata_changed(Change(old, new))


def test_a_write_of_the_status_does_not_count(widget):
    old, new = widget("a", 1, generation=1), widget("a", 2, generation=1)
    new["status"] = {"phase": "Ready"}
    assert not handlers.spec_or_metadata_changed(Change(old, new))


def test_creations_and_deletions_always_count(widget):
    assert handlers.spec_or_metadata_changed(Change(None, widget("a")))
    assert handlers.spec_or_metadata_changed(Change(widget("a"), None))
