import random

import hypothesis.strategies as st
import pytest
from hypothesis import given

from swarm_operator.runtime.resource import Key
from swarm_operator.runtime.store import OWNER_INDEX, Change, Store

A = Key("ns", "a")


@pytest.fixture
def store():
    return Store()


def version_of(store, key=A):
    obj = store.get(key)
    return obj and int(obj["metadata"]["resourceVersion"])


def test_what_is_put_is_found(store, widget):
    obj = widget("a", 1)
    assert store.put(obj) == Change(None, obj)
    assert store.get(A) is obj
    assert len(store) == 1
    assert list(store) == [obj]


def test_an_unknown_key_has_no_object(store):
    assert store.get(A) is None


def test_a_newer_version_replaces_an_older_one(store, widget):
    old, new = widget("a", 9), widget("a", 10)
    store.put(old)
    assert store.put(new) == Change(old, new)
    assert store.get(A) is new


@pytest.mark.parametrize("version", [9, 10])
def test_an_older_or_equal_version_is_no_news(store, widget, version):
    store.put(widget("a", 10))
    assert store.put(widget("a", version)) is None
    assert version_of(store) == 10


def test_our_own_write_wins_over_the_event_before_it_and_its_echo_is_no_news(store, widget):
    store.put(widget("a", 5))
    answer = widget("a", 8)
    store.put(answer)
    assert store.put(widget("a", 7)) is None, "an event of another's write before ours"
    assert store.put(widget("a", 8)) is None, "the event of ours"
    assert store.get(A) is answer


def test_an_object_that_was_deleted_is_gone(store, widget):
    obj = widget("a", 1)
    store.put(obj)
    assert store.remove(widget("a", 2)) == Change(obj, None)
    assert store.get(A) is None
    assert len(store) == 0


def test_a_deletion_of_something_unknown_is_no_news(store, widget):
    assert store.remove(widget("a", 2)) is None


def test_a_deletion_that_is_older_than_what_is_here_is_no_news(store, widget):
    store.put(widget("a", 5))
    store.put(widget("a", 9, uid="recreated"))
    assert store.remove(widget("a", 6)) is None
    assert version_of(store) == 9


def test_an_older_event_does_not_bring_a_deleted_object_back(store, widget):
    store.put(widget("a", 5))
    store.remove(widget("a", 8))
    assert store.put(widget("a", 7)) is None
    assert store.get(A) is None


def test_a_deleted_object_can_be_made_again(store, widget):
    store.put(widget("a", 5))
    store.remove(widget("a", 8))
    made = widget("a", 9, uid="recreated")
    assert store.put(made) == Change(None, made)


def test_a_delete_and_a_create_that_nobody_saw_apart_are_one_update_with_another_uid(store, widget):
    old, new = widget("a", 5, uid="first"), widget("a", 9, uid="second")
    store.put(old)
    assert store.replace([new], "9") == [Change(old, new)]


def test_a_list_tells_only_what_it_changes(store, widget):
    same, old = widget("same", 1), widget("a", 2)
    store.put(same)
    store.put(old)
    newer, new = widget("a", 5), widget("new", 6)
    changes = store.replace([widget("same", 1), newer, new], "6")
    assert changes == [Change(old, newer), Change(None, new)]


def test_what_a_list_lacks_was_deleted_in_the_gap(store, widget):
    gone = widget("a", 2)
    store.put(gone)
    assert store.replace([], "3") == [Change(gone, None)]
    assert store.get(A) is None


def test_what_was_written_after_the_list_was_made_is_not_missing_from_it(store, widget):
    store.put(widget("a", 7))
    assert store.replace([], "6") == []
    assert version_of(store) == 7


def test_a_list_does_not_take_our_newer_write_back(store, widget):
    store.put(widget("a", 7))
    assert store.replace([widget("a", 5)], "6") == []
    assert version_of(store) == 7


def test_an_answer_that_comes_after_a_list_without_the_object_does_not_bring_it_back(store, widget):
    """The object was created at 8 and deleted at 11; the list is of 12; the create's answer was slow."""
    store.replace([], "12")
    assert store.put(widget("a", 8)) is None
    assert store.get(A) is None


def test_an_object_made_after_the_list_is_taken_in(store, widget):
    store.replace([], "12")
    assert store.put(widget("a", 13)) is not None


def test_a_list_may_hold_objects_as_old_as_it_likes(store, widget):
    store.replace([], "12")
    assert len(store.replace([widget("a", 3)], "15")) == 1, "a list is believed, whatever was listed before"


def test_what_is_kept_of_deleted_objects_does_not_grow_for_ever(store, widget):
    for number in range(10_000):
        store.put(widget(f"w{number}", 2 * number + 1))
        store.remove(widget(f"w{number}", 2 * number + 2))
    assert len(store._deleted) <= 1000
    assert store.put(widget("w9999", 19_999)) is None, "the latest ones are kept"


def test_objects_of_the_first_list_are_marked(store, widget):
    assert [change.initial for change in store.replace([widget("a")], "1", initial=True)] == [True]
    assert [change.initial for change in store.replace([widget("a", 2)], "2")] == [False]


def test_children_are_found_by_their_controller(store, widget):
    mine = widget("mine", 1, owner="boss")
    store.put(mine)
    store.put(widget("other", 1, owner="other"))
    store.put(widget("free", 1))
    assert store.by_index(OWNER_INDEX, "uid-boss") == [mine]
    assert store.by_index(OWNER_INDEX, "unknown") == []


def test_the_index_follows_a_change_of_hands(store, widget):
    store.put(widget("a", 1, owner="old"))
    moved = widget("a", 2, owner="new")
    store.put(moved)
    assert store.by_index(OWNER_INDEX, "uid-old") == []
    assert store.by_index(OWNER_INDEX, "uid-new") == [moved]


def test_the_index_holds_nothing_of_what_is_gone(store, widget):
    store.put(widget("a", 1, owner="boss"))
    store.put(widget("b", 2, owner="boss"))
    store.remove(widget("a", 3))
    store.replace([], "4")
    assert store.by_index(OWNER_INDEX, "uid-boss") == []
    assert not store._indexes[OWNER_INDEX], "nor an empty entry, which would be kept for ever"


def test_further_indexes_can_be_added_at_any_time(store, widget):
    before = widget("a", labels={"1": "red", "2": "blue"})
    store.put(before)
    store.add_index("colour", lambda obj: obj["metadata"]["labels"].values())
    assert store.by_index("colour", "red") == store.by_index("colour", "blue") == [before]
    after = widget("b", labels={"1": "red"})
    store.put(after)
    assert store.by_index("colour", "red") == [before, after]
    store.remove(before)
    assert (store.by_index("colour", "red"), store.by_index("colour", "blue")) == ([after], [])


def test_iterating_allows_changes_meanwhile(store, widget):
    for name in "abc":
        store.put(widget(name))
    for obj in store:
        store.remove(obj)
    assert len(store) == 0


def test_a_change_knows_its_key(widget):
    assert Change(None, widget("a")).key == Change(widget("a"), None).key == A
    with pytest.raises(ValueError, match="old or a new"):
        _ = Change(None, None).key


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=30), st.integers())
def test_whatever_order_the_events_come_in_the_newest_state_of_each_object_wins(history, seed):
    """A history of writes and deletions, of which every event comes a few times and out of order.

    Each object's deletions come in their place at least once, as a watch brings them.
    """
    store, alive, events = Store(), {}, []
    for version, (name, present) in enumerate(history, start=1):
        obj = {"metadata": {"namespace": "ns", "name": name, "resourceVersion": str(version)}}
        if present:
            alive[name] = version
            events.append((store.put, obj))
        elif name in alive:
            del alive[name]
            events.append((store.remove, obj))
    rng, shown = random.Random(seed), []
    for event in events:
        shown.append(event)
        for call, obj in [event, *rng.sample(shown, min(3, len(shown)))]:
            call(obj)
    assert {obj["metadata"]["name"]: int(obj["metadata"]["resourceVersion"]) for obj in store} == alive
