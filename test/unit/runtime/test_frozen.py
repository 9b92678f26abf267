import copy

import orjson
import pytest

from swarm_operator.runtime.cache import Cache, CachedClient
from swarm_operator.runtime.frozen import freeze
from swarm_operator.runtime.resource import Key

CHANGES = {
    "a member set": lambda obj: obj["metadata"].__setitem__("name", "b"),
    "a member deleted": lambda obj: obj.__delitem__("metadata"),
    "members merged": lambda obj: obj["metadata"].update(name="b"),
    "members or-ed": lambda obj: obj["metadata"].__ior__({"name": "b"}),
    "a default set": lambda obj: obj.setdefault("status", {}),
    "a member popped": lambda obj: obj.pop("metadata"),
    "any member popped": lambda obj: obj.popitem(),
    "all cleared": lambda obj: obj.clear(),
    "an item appended": lambda obj: obj["items"].append(3),
    "items added": lambda obj: obj["items"].__iadd__([3]),
    "items extended": lambda obj: obj["items"].extend([3]),
    "an item inserted": lambda obj: obj["items"].insert(0, 3),
    "an item set": lambda obj: obj["items"].__setitem__(0, 3),
    "an item deleted": lambda obj: obj["items"].__delitem__(0),
    "an item popped": lambda obj: obj["items"].pop(),
    "an item removed": lambda obj: obj["items"].remove(1),
    "items sorted": lambda obj: obj["items"].sort(),
    "items reversed": lambda obj: obj["items"].reverse(),
    "items cleared": lambda obj: obj["items"].clear(),
    "items multiplied": lambda obj: obj["items"].__imul__(2),
}


@pytest.fixture
def obj():
    return {"metadata": {"name": "a"}, "items": [1, {"x": 2}]}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_no_change_of_a_frozen_object_is_possible(obj, change):
    frozen = freeze(obj)
    with pytest.raises(TypeError, match="shared"):
        change(frozen)
    assert frozen == {"metadata": {"name": "a"}, "items": [1, {"x": 2}]}


def test_a_frozen_object_is_as_good_as_any_to_readers(obj):
    frozen = freeze(obj)
    assert (frozen, freeze(frozen) is frozen) == (obj, True)
    assert orjson.loads(orjson.dumps(frozen)) == obj
    changed = copy.deepcopy(frozen)
    changed["items"][1]["x"] = 3
    assert (frozen | {"y": 1})["items"] is frozen["items"]
    assert {**frozen} == frozen == obj != changed


async def test_what_a_cache_hands_out_is_transformed_however_it_came(widgets, widget):
    class Server:
        async def apply(self, resource, obj, **options):
            return {**obj, "metadata": obj["metadata"] | {"resourceVersion": "9"}}

    cache = Cache(None, transform=freeze)
    client = CachedClient(Server(), cache)
    (informer,) = cache.add(widgets)
    informer.replaced([widget("listed")], "1")
    informer.changed(widget("watched", 2))
    answer = await client.apply(widgets, widget("applied"), field_manager="me")
    found = [answer, *(cache.get(widgets, Key("ns", name)) for name in ("listed", "watched", "applied"))]
    for obj in found:
        with pytest.raises(TypeError, match="shared"):
            obj["metadata"]["name"] = "b"
