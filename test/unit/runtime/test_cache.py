import asyncio

import pytest

from swarm_operator.runtime.cache import Cache, Informer
from swarm_operator.runtime.errors import NotSyncedError
from swarm_operator.runtime.resource import Key, Resource
from swarm_operator.runtime.store import OWNER_INDEX, Change

pytestmark = pytest.mark.virtual_time

GADGETS = Resource("example.com", "v1", "Gadget", "gadgets")


@pytest.fixture
def informer(widgets):
    return Informer(None, widgets)


@pytest.fixture
def changes(informer):
    """What a handler hears."""
    heard = []
    informer.add_handler(heard.append)
    return heard


def test_handlers_hear_of_every_change_in_order(informer, changes, widget):
    first, second, last = widget("a", 1), widget("a", 2), widget("a", 3)
    informer.changed(first)
    informer.changed(second)
    informer.deleted(last)
    assert changes == [Change(None, first), Change(first, second), Change(second, None)]


def test_what_is_no_news_is_not_told(informer, changes, widget):
    informer.changed(widget("a", 2))
    informer.changed(widget("a", 2))
    informer.changed(widget("a", 1))
    informer.deleted(widget("b", 9))
    assert len(changes) == 1


def test_the_first_list_is_told_as_initial_and_later_ones_are_not(informer, changes, widget):
    informer.replaced([widget("a", 1)], "1")
    informer.replaced([widget("a", 1), widget("b", 2)], "2")
    assert [(change.key.name, change.initial) for change in changes] == [("a", True), ("b", False)]


def test_what_a_relist_lacks_is_told_as_deleted(informer, changes, widget):
    informer.replaced([widget("a", 1)], "1")
    informer.replaced([], "2")
    assert (changes[-1].key, changes[-1].new) == (Key("ns", "a"), None)


def test_it_is_synced_only_after_every_handler_has_heard_of_the_whole_first_list(informer, widget):
    seen = []
    informer.add_handler(lambda change: seen.append((change.key.name, informer.synced)))
    assert not informer.synced
    informer.replaced([widget("a", 1), widget("b", 1)], "1")
    assert seen == [("a", False), ("b", False)]
    assert informer.synced


def test_an_empty_first_list_is_a_first_list(informer):
    informer.replaced([], "1")
    assert informer.synced


def test_the_answer_to_an_own_write_does_not_make_it_synced(informer, widget):
    informer.changed(widget("a", 1))
    assert not informer.synced


def test_a_handler_that_is_added_late_first_hears_of_everything_that_is_here(informer, widget):
    informer.replaced([widget("a", 1), widget("b", 2)], "2")
    heard = []
    informer.add_handler(heard.append)
    assert heard == [Change(None, widget("a", 1), initial=True), Change(None, widget("b", 2), initial=True)]
    informer.changed(widget("c", 3))
    assert heard[-1] == Change(None, widget("c", 3))


async def test_waiting_for_the_sync_ends_with_it(informer, background, settled):
    waiting = background(informer.wait_synced())
    await settled()
    assert not waiting.done()
    informer.replaced([], "1")
    await asyncio.wait_for(waiting, 30)


@pytest.fixture
def cache():
    return Cache(None)


def test_one_informer_serves_all_namespaces_where_none_are_named(cache, widgets):
    (informer,) = cache.add(widgets)
    assert informer.reflector.namespace == ""


def test_objects_are_found_by_further_indexes_in_each_namespace(widgets, widget):
    cache = Cache(None, namespaces=["one", "two"])
    for informer in cache.add(widgets):
        informer.replaced([widget("a", namespace=informer.reflector.namespace)], "1")
    cache.add_index(widgets, "name", lambda obj: [obj["metadata"]["name"]])
    for namespace in ("one", "two"):
        (found,) = cache.by_index(widgets, namespace, "name", "a")
        assert found["metadata"]["namespace"] == namespace
    assert cache.by_index(widgets, "one", "name", "b") == []
    everywhere = cache.everywhere(widgets, "name", "a")
    assert [obj["metadata"]["namespace"] for obj in everywhere] == ["one", "two"]
    assert cache.everywhere(widgets, "name", "b") == []


def test_it_is_known_which_namespaces_are_watched():
    assert Cache(None).watches("any")
    watching = Cache(None, namespaces=["one"])
    assert (watching.watches("one"), watching.watches("two")) == (True, False)


def test_each_named_namespace_has_an_informer_of_its_own(widgets, widget):
    cache = Cache(None, namespaces=["one", "two", "one"], label_selector="x=y")
    first, second = cache.add(widgets)
    assert [first.reflector.namespace, second.reflector.namespace] == ["one", "two"]
    assert {first.reflector.label_selector, second.reflector.label_selector} == {"x=y"}
    first.replaced([widget("a", namespace="one")], "1")
    second.replaced([widget("a", namespace="two")], "1")
    assert cache.get(widgets, Key("one", "a"))["metadata"]["namespace"] == "one"
    assert cache.get(widgets, Key("two", "a"))["metadata"]["namespace"] == "two"
    assert len(cache.list(widgets)) == 2


def test_a_kind_that_is_added_twice_is_watched_once(cache, widgets):
    assert cache.add(widgets) == cache.add(widgets)
    assert len(cache.informers) == 1


def test_a_kind_has_its_own_selector_or_that_of_all_kinds(widgets):
    cache = Cache(None, label_selector="x=y", label_selectors={GADGETS: ""})
    (narrow,), (whole,) = cache.add(widgets), cache.add(GADGETS)
    assert (narrow.reflector.label_selector, whole.reflector.label_selector) == ("x=y", "")


def test_nothing_is_read_before_the_first_list(cache, widgets, widget):
    """What exists would be taken for missing."""
    (informer,) = cache.add(widgets)
    informer.changed(widget("a"))  # the answer to a write of ours
    reads = (
        lambda: cache.get(widgets, Key("ns", "a")),
        lambda: cache.list(widgets),
        lambda: cache.owned(widgets, widget("a")),
        lambda: cache.everywhere(widgets, OWNER_INDEX, "x"),
    )
    for read in reads:
        with pytest.raises(NotSyncedError, match="widgets"):
            read()
    informer.replaced([widget("a")], "1")
    for read in reads:
        read()


def test_objects_are_found_by_key_and_by_owner(cache, widgets, widget):
    (informer,) = cache.add(widgets)
    mine = widget("mine", owner="boss")
    informer.replaced([mine, widget("other")], "1")
    assert cache.get(widgets, Key("ns", "mine")) is mine
    assert cache.get(widgets, Key("elsewhere", "mine")) is None
    assert cache.owned(widgets, widget("boss")) == [mine]
    assert cache.owned(widgets, widget("nobody")) == []


async def test_it_is_synced_when_every_informer_is(cache, widgets, background, settled):
    (one,), (other,) = cache.add(widgets), cache.add(GADGETS)
    waiting = background(cache.wait_synced())
    one.replaced([], "1")
    await settled()
    assert not waiting.done()
    other.replaced([], "1")
    await asyncio.wait_for(waiting, 30)
