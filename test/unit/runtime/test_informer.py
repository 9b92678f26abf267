import asyncio

import pytest

from swarm_operator.runtime.informer import Informer
from swarm_operator.runtime.resource import Key
from swarm_operator.runtime.store import Change

pytestmark = pytest.mark.virtual_time


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
    await asyncio.wait_for(waiting, 1)


def test_further_indexes_can_be_given(widgets, widget):
    informer = Informer(None, widgets, indexes={"name": lambda obj: [obj["metadata"]["name"]]})
    informer.changed(widget("a"))
    assert informer.store.by_index("name", "a") == [widget("a")]
