import copy

import hypothesis.strategies as st
import pytest
from hypothesis import given

from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.children import matches
from swarm_operator.controllers.common.errors import NameTakenError
from swarm_operator.runtime.errors import ConflictError, ForbiddenError, NotFoundError, ServerError, UnreachableError
from swarm_operator.runtime.resource import Key, owner_reference

scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab", max_size=2)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abcd"), documents, max_size=4)


def extended(value, extra):
    """The value with something added wherever others may add something."""
    if isinstance(value, dict):
        return {"theirs": extra} | {name: extended(part, extra) for name, part in value.items()}
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [{"theirs": extra}, *(extended(item, extra) for item in value)]
    return value


@given(documents)
def test_everything_matches_itself(document):
    assert matches(document, copy.deepcopy(document))


@given(objects, documents)
def test_what_others_added_does_not_matter(wanted, extra):
    assert matches(wanted, extended(wanted, extra))


@given(objects, st.sampled_from("abcd"))
def test_a_field_that_is_missing_or_changed_is_found(wanted, name):
    wanted = wanted | {name: "wanted"}
    assert not matches(wanted, {key: value for key, value in wanted.items() if key != name})
    assert not matches(wanted, wanted | {name: "changed"})
    assert not matches({"outer": [wanted]}, {"outer": [wanted | {name: "changed"}]})


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"emptyDir": {}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        ({"emptyDir": {}}, {}),
        ({"env": [{"name": "a"}]}, {"env": [{"name": "b"}, {"name": "a", "value": "x"}]}),
        ({"args": ["a", "b"]}, {"args": ["a", "b"]}),
    ],
)
def test_these_match(wanted, live):
    assert matches(wanted, live)


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, None),
        ({"a": 1}, []),
        ({"a": None}, {"a": 1}),
        ({"emptyDir": {}}, {"emptyDir": "x"}),
        ({"env": [{"name": "a"}]}, {"env": None}),
        ({"env": [{"name": "a"}]}, {"env": {"name": "a"}}),
        ({"env": [{"name": "a"}, {"name": "b"}]}, {"env": [{"name": "a"}]}),
        ({"args": ["a", "b"]}, {"args": ["b", "a"]}),
        ({"args": ["a"]}, {"args": ["a", "b"]}),
    ],
)
def test_these_do_not(wanted, live):
    assert not matches(wanted, live)


class Counted(str):
    """A text that counts how often it is compared."""

    __slots__ = ()
    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other):
        Counted.compared += 1
        return str.__eq__(self, other)


def test_items_in_the_same_order_are_compared_once_each():
    names = [f"VARIABLE_{number}" for number in range(100)]
    live = {"env": [{"name": name, "theirs": "default"} for name in names]}
    Counted.compared = 0
    assert matches({"env": [{"name": Counted(name)} for name in names]}, live)
    assert Counted.compared == len(names)


SERVICE = kinds.SERVICE


def wanted(**spec):
    return {"metadata": {"name": "child", "labels": {"x": "y"}}, "spec": spec}


@pytest.fixture
def owner(store_object):
    return store_object()


@pytest.fixture
def ensure(reconciliation, owner):
    async def call(child, r=None):
        return await children.ensure(r or reconciliation(owner), SERVICE, child)

    return call


async def test_a_child_is_created_with_its_owner_its_kind_and_a_hash(ensure, client, owner, recorder, cache):
    created = await ensure(wanted(type="ClusterIP"))
    assert (created["apiVersion"], created["kind"]) == ("v1", "Service")
    assert created["metadata"]["namespace"] == "ns"
    assert created["metadata"]["ownerReferences"] == [owner_reference(owner)]
    assert created["metadata"]["labels"] == {"x": "y"}
    assert len(created["metadata"]["annotations"][labels.APPLIED]) == 16
    assert recorder.events == [("Normal", "Created", "created Service child")]
    assert cache.get(SERVICE, Key("ns", "child")) == created
    assert client.writes() == [("apply", "Service", "child")]


async def test_a_child_that_is_as_wanted_is_not_written(ensure, client, recorder):
    await ensure(wanted(type="ClusterIP"))
    client.requests.clear()
    for _ in range(3):
        await ensure(wanted(type="ClusterIP"))
    assert client.requests == []
    assert len(recorder.events) == 1


async def test_what_others_changed_is_set_right(ensure, client, seen):
    created = await ensure(wanted(type="ClusterIP"))
    seen(SERVICE, created | {"spec": {"type": "NodePort"}})
    client.requests.clear()
    assert (await ensure(wanted(type="ClusterIP")))["spec"] == {"type": "ClusterIP"}
    assert client.requests == [("apply", "Service", "child")]


async def test_what_others_added_is_left_alone(ensure, client, seen):
    created = copy.deepcopy(await ensure(wanted(type="ClusterIP")))
    created["metadata"]["annotations"]["theirs"] = "x"
    seen(SERVICE, created | {"spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1"}})
    client.requests.clear()
    await ensure(wanted(type="ClusterIP"))
    assert client.requests == []


async def test_a_field_that_is_no_longer_wanted_is_noticed(ensure, client):
    """What is left would match; only the hash tells that more was applied."""
    await ensure(wanted(type="ClusterIP", sessionAffinity="ClientIP"))
    client.requests.clear()
    await ensure(wanted(type="ClusterIP"))
    assert client.requests == [("apply", "Service", "child")]


async def test_annotations_of_our_own_stand_beside_the_hash(ensure):
    child = wanted()
    child["metadata"]["annotations"] = {"a": "b"}
    assert (await ensure(child))["metadata"]["annotations"].keys() == {"a", labels.APPLIED}
    assert child["metadata"]["annotations"] == {"a": "b"}, "what was given is not changed"


def foreign(**spec):
    return {"metadata": {"name": "child", "namespace": "ns", "uid": "theirs"}, "spec": spec}


@pytest.fixture
def just_before_the_apply(client, monkeypatch):
    """Create an object as another client, right after the server reported the name as free."""

    def put(obj):
        get = client.get

        async def free(resource, namespace, name):
            try:
                return await get(resource, namespace, name)
            except NotFoundError:
                client.put(resource, obj)
                raise

        monkeypatch.setattr(client, "get", free)

    return put


async def test_an_object_created_meanwhile_is_not_changed(ensure, client, just_before_the_apply, recorder):
    theirs = foreign(type="NodePort")
    just_before_the_apply(copy.deepcopy(theirs))
    with pytest.raises(ConflictError):
        await ensure(wanted(type="ClusterIP"))
    assert client.objects[SERVICE, Key("ns", "child")]["spec"] == theirs["spec"]
    assert recorder.events == []


async def test_an_object_created_meanwhile_by_another_owner_is_not_used(
    reconciliation, owner, client, cache, monkeypatch, recorder
):
    """Its values are as wanted, so the apply meets no conflict. Only the response shows the owner."""
    theirs = foreign(type="ClusterIP")
    theirs["metadata"]["ownerReferences"] = [owner_reference(owner) | {"name": "another", "uid": "another"}]

    async def apply(resource, obj, **_):
        return client.put(resource, copy.deepcopy(theirs))

    monkeypatch.setattr(client, "apply", apply)
    r = reconciliation(owner)
    with pytest.raises(NameTakenError, match="Service child"):
        await children.ensure(r, SERVICE, wanted(type="ClusterIP"))
    assert r.children == {}
    assert recorder.events == []


@pytest.mark.parametrize("spec", [{"type": "ClusterIP"}, {"type": "NodePort"}, {}], ids=["same", "other", "none"])
@pytest.mark.parametrize("cached", [True, False])
async def test_somebody_else_s_object_is_never_taken_over(ensure, client, seen, spec, cached, recorder):
    """Not even one with the same values, where a server-side apply would meet no conflict."""
    before = (seen if cached else client.put)(SERVICE, foreign(**spec))
    with pytest.raises(NameTakenError, match="Service child exists and belongs to another owner"):
        await ensure(wanted(type="ClusterIP"))
    assert client.writes() == []
    assert client.objects[SERVICE, Key("ns", "child")] == before
    assert recorder.events == []


async def test_an_object_of_another_owner_of_the_same_name_is_somebody_else_s(ensure, client, seen, owner):
    """The owner was deleted and made again; the old one's child is still to be collected."""
    child = foreign()
    child["metadata"]["ownerReferences"] = [owner_reference(owner) | {"uid": "an older one"}]
    seen(SERVICE, child)
    with pytest.raises(NameTakenError):
        await ensure(wanted())


async def test_somebody_else_s_object_is_not_taken_over_where_the_cache_is_stale(ensure, client, reconciliation, owner):
    await ensure(wanted(type="ClusterIP"))
    before = client.put(SERVICE, foreign(type="LoadBalancer"))  # ours was deleted; the events are still to come
    r = reconciliation(owner)
    await ensure(wanted(type="NodePort"), r)
    (error,) = r.errors
    assert isinstance(error, ConflictError)
    assert client.objects[SERVICE, Key("ns", "child")] == before


async def test_an_owner_that_does_not_control_is_not_enough(ensure, seen, owner):
    child = foreign()
    child["metadata"]["ownerReferences"] = [owner_reference(owner) | {"controller": False}]
    seen(SERVICE, child)
    with pytest.raises(NameTakenError):
        await ensure(wanted())


@pytest.mark.parametrize("same", [True, False])
async def test_a_child_that_the_cache_does_not_know_yet_is_kept(ensure, client, cache, recorder, same):
    created = await ensure(wanted(type="ClusterIP"))
    cache.add(SERVICE)[0].store._objects.clear()
    client.requests.clear()
    assert (await ensure(wanted(type="ClusterIP" if same else "NodePort")))["metadata"]["uid"] == created["metadata"][
        "uid"
    ]
    assert client.writes() == ([] if same else [("apply", "Service", "child")])
    assert len(recorder.events) == 1


async def test_a_child_on_its_way_out_is_not_written(ensure, client, seen):
    created = copy.deepcopy(await ensure(wanted(type="ClusterIP")))
    created["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
    seen(SERVICE, created)
    client.requests.clear()
    assert (await ensure(wanted(type="NodePort")))["spec"] == {"type": "ClusterIP"}
    assert client.requests == []


async def test_a_refusal_is_passed_on_and_makes_no_event(ensure, client, recorder):
    client.refusals["apply", "Service"] = ForbiddenError("quota", status=403)
    with pytest.raises(ForbiddenError):
        await ensure(wanted())
    assert recorder.events == []


@pytest.mark.parametrize("error", [ForbiddenError("cannot grow", status=403), ServerError("down", status=500)])
async def test_an_update_that_fails_is_recorded_and_leaves_the_child_as_it_is(
    ensure, client, reconciliation, owner, error
):
    before = await ensure(wanted(type="ClusterIP"))
    client.refusals["apply", "Service"] = error
    r = reconciliation(owner)
    assert await ensure(wanted(type="NodePort"), r) == before
    assert r.errors == [error]
    assert r.children[SERVICE, "child"] == before


async def test_an_update_that_the_server_did_not_answer_ends_the_pass(ensure, client):
    await ensure(wanted(type="ClusterIP"))
    client.refusals["apply", "Service"] = UnreachableError("no answer")
    with pytest.raises(UnreachableError):
        await ensure(wanted(type="NodePort"))


def away(name="child", **spec):
    return {"metadata": {"name": name, "namespace": "far", "labels": {"x": "y"}}, "spec": spec}


LABELS_OF_OWNER = {
    "swarm.claudeflow.io/cluster-name": "bees",
    "swarm.claudeflow.io/cluster-namespace": "ns",
    "swarm.claudeflow.io/cluster-uid": "uid-bees",
}


class TestElsewhere:
    async def test_a_child_in_another_namespace_has_labels_in_place_of_an_owner_reference(self, ensure, cache):
        created = await ensure(away(type="ClusterIP"))
        assert created["metadata"]["namespace"] == "far"
        assert created["metadata"]["labels"] == {"x": "y"} | LABELS_OF_OWNER
        assert "ownerReferences" not in created["metadata"]
        assert cache.get(SERVICE, Key("far", "child")) == created

    async def test_it_is_kept_as_wanted_and_written_only_when_it_differs(self, ensure, client, seen):
        created = await ensure(away(type="ClusterIP"))
        client.requests.clear()
        await ensure(away(type="ClusterIP"))
        assert client.requests == []
        seen(SERVICE, created | {"spec": {"type": "NodePort"}})
        assert (await ensure(away(type="ClusterIP")))["spec"] == {"type": "ClusterIP"}

    @pytest.mark.parametrize("uid", ["another", None])
    async def test_what_another_owner_has_there_is_never_taken_over(self, ensure, client, seen, uid):
        theirs = foreign(type="ClusterIP")
        theirs["metadata"] |= {"namespace": "far", "labels": LABELS_OF_OWNER | {labels.CLUSTER_UID: uid} if uid else {}}
        seen(SERVICE, theirs)
        with pytest.raises(NameTakenError):
            await ensure(away(type="ClusterIP"))
        assert client.writes() == []

    async def test_a_controller_counts_for_more_than_the_labels(self, ensure, seen, owner):
        theirs = foreign(type="ClusterIP")
        theirs["metadata"] |= {"namespace": "far", "labels": LABELS_OF_OWNER}
        theirs["metadata"]["ownerReferences"] = [owner_reference(owner) | {"uid": "another"}]
        seen(SERVICE, theirs)
        with pytest.raises(NameTakenError):
            await ensure(away(type="ClusterIP"))

    async def test_labels_count_for_nothing_in_the_owner_s_own_namespace(self, ensure, seen):
        theirs = foreign(type="ClusterIP")
        theirs["metadata"]["labels"] = LABELS_OF_OWNER
        seen(SERVICE, theirs)
        with pytest.raises(NameTakenError):
            await ensure(wanted(type="ClusterIP"))

    async def test_children_everywhere_are_found_and_pruned(self, ensure, reconciliation, owner, client, seen):
        await ensure({"metadata": {"name": "here"}, "spec": {}})
        await ensure(away("there"))
        await ensure(away("kept"))
        theirs = foreign()
        theirs["metadata"]["labels"] = LABELS_OF_OWNER
        seen(SERVICE, theirs)
        r = reconciliation(owner)
        assert [child["metadata"]["name"] for child in children.owned(r, SERVICE)] == ["here", "there", "kept"]
        assert [child["metadata"]["name"] for child in children.elsewhere(r, SERVICE)] == ["there", "kept"]
        client.requests.clear()
        await children.prune(r, SERVICE, ["kept"])
        assert client.requests == [("delete", "Service", "here"), ("delete", "Service", "there")]

    async def test_what_is_created_once_has_the_labels_too(self, reconciliation, owner, client):
        secret = {"metadata": {"name": "child", "namespace": "far"}, "data": {}}
        for _ in range(2):
            made = await children.create_once(reconciliation(owner), kinds.SECRET, secret)
            assert made["metadata"]["labels"] == LABELS_OF_OWNER
        assert client.writes() == [("create", "Secret", "child")]
        client.put(kinds.SECRET, {"metadata": {"name": "child", "namespace": "far", "uid": "theirs"}})
        with pytest.raises(NameTakenError):
            await children.create_once(reconciliation(owner), kinds.SECRET, secret)


class TestCreateOnce:
    @pytest.fixture
    def create(self, reconciliation, owner):
        async def call(child=None):
            r = reconciliation(owner)
            made = await children.create_once(r, kinds.SECRET, child or {"metadata": {"name": "child"}, "data": {}})
            assert r.children == {(kinds.SECRET, "child"): made}
            return made

        return call

    async def test_a_child_is_created_with_its_owner_and_kind(self, create, client, owner, recorder):
        made = await create()
        assert (made["apiVersion"], made["kind"]) == ("v1", "Secret")
        assert made["metadata"]["namespace"] == "ns"
        assert made["metadata"]["ownerReferences"] == [owner_reference(owner)]
        assert client.writes() == [("create", "Secret", "child")]
        assert recorder.events == [("Normal", "Created", "created Secret child")]

    async def test_a_child_that_exists_is_never_changed(self, create, client, recorder):
        first = await create()
        assert await create({"metadata": {"name": "child"}, "data": {"a": "b"}}) == first
        assert len(client.writes()) == len(recorder.events) == 1

    async def test_somebody_else_s_object_is_not_used(self, create, client):
        client.put(kinds.SECRET, {"metadata": {"name": "child", "namespace": "ns", "uid": "theirs"}})
        with pytest.raises(NameTakenError, match="Secret child"):
            await create()
        assert client.writes() == []


class TestPrune:
    @pytest.fixture
    async def three(self, ensure):
        for name in ("a", "b", "c"):
            await ensure({"metadata": {"name": name}, "spec": {}})

    @pytest.fixture
    def prune(self, reconciliation, owner):
        async def call(*keep):
            r = reconciliation(owner)
            await children.prune(r, SERVICE, keep)
            return r

        return call

    async def test_children_that_are_no_longer_wanted_are_deleted(self, three, prune, client, recorder):
        client.requests.clear()
        await prune("b")
        assert client.requests == [("delete", "Service", "a"), ("delete", "Service", "c")]
        assert ("Normal", "Deleted", "deleted Service a") in recorder.events

    async def test_objects_of_others_are_left_alone(self, three, prune, client, seen, owner):
        theirs = foreign()
        theirs["metadata"]["ownerReferences"] = [owner_reference(owner) | {"uid": "another"}]
        seen(SERVICE, theirs)
        client.requests.clear()
        await prune("a", "b", "c")
        assert client.requests == []

    async def test_a_child_on_its_way_out_is_not_deleted_again(self, three, prune, client, seen, cache):
        live = cache.get(SERVICE, Key("ns", "a"))
        deleting = live["metadata"] | {"deletionTimestamp": "2026-11-23T12:00:00Z"}
        seen(SERVICE, live | {"metadata": deleting})
        client.requests.clear()
        await prune("b", "c")
        assert client.requests == []

    @pytest.mark.parametrize("replaced", [True, False])
    async def test_a_child_that_is_gone_or_was_made_anew_is_left_alone(self, three, prune, client, recorder, replaced):
        """The cache is behind."""
        del client.objects[SERVICE, Key("ns", "a")]
        if replaced:
            client.put(SERVICE, {"metadata": {"name": "a", "namespace": "ns", "uid": "newer"}})
        r = await prune("b", "c")
        assert r.errors == []
        assert ((SERVICE, Key("ns", "a")) in client.objects) is replaced
        assert "Deleted" not in recorder.reasons

    async def test_one_failure_does_not_stop_the_others_and_is_recorded(self, three, prune, client):
        refusals = [ForbiddenError("no right", status=403)]
        delete = client.delete

        async def once(*arguments, **options):
            if refusals:
                raise refusals.pop()
            await delete(*arguments, **options)

        client.delete = once
        r = await prune("c")
        assert [type(error) for error in r.errors] == [ForbiddenError]
        assert {key.name for kind, key in client.objects if kind == SERVICE} == {"a", "c"}
