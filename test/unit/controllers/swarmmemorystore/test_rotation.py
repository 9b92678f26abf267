"""Tokens are replaced when the annotation asks for it, and those before work for an hour."""

import base64
import copy

import pytest

from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.swarmmemorystore.auth import token_of
from swarm_operator.controllers.swarmmemorystore.rotation import OVERLAP
from swarm_operator.runtime.errors import ConflictError
from swarm_operator.runtime.resource import Key
from swarm_operator.shared.tokens import ADMIN_FILE, CLIENT_FILE, check

KEY, SECRET = Key("ns", "bees"), (kinds.SECRET, Key("ns", "bees-auth"))
NAMES = {CLIENT_FILE, ADMIN_FILE}
FORMER = {f"former-{name}" for name in NAMES}


@pytest.fixture
async def reconcile_with(reconciler, seen, store_object):
    """reconcile_with("1") runs one pass over a store with this value of the annotation; None for none."""

    async def reconcile(value):
        obj = store_object()
        obj["metadata"]["annotations"] = {} if value is None else {labels.ROTATE_TOKENS: value}
        seen(kinds.SWARM_MEMORY_STORE, obj)
        return await reconciler.reconcile(KEY)

    return reconcile


@pytest.fixture
def data(client):
    return lambda: copy.deepcopy(client.objects[SECRET]["data"])


async def test_both_tokens_work_for_an_hour_and_then_the_new_one(
    reconcile_with, data, clock, condition, recorder, client
):
    await reconcile_with(None)
    before = data()
    client.objects[SECRET]["data"]["tokens.json"] = base64.b64encode(b'{"tokens": []}').decode()
    await reconcile_with("1")
    after = data()
    assert after.keys() == NAMES | FORMER | {"tokens.json"}
    assert {name: after[f"former-{name}"] for name in NAMES} == before
    assert not set(before.values()) & {after[name] for name in NAMES}
    check({name: base64.b64decode(value) for name, value in after.items()})
    assert (condition("AuthReady")["status"], condition("AuthReady")["reason"]) == ("True", "TokensRotating")
    assert "TokensRotated" in recorder.reasons
    assert not any(value in str(recorder.events) for value in after.values())
    clock.advance(OVERLAP - 1)
    assert (await reconcile_with("1")).requeue_after <= 1
    assert data() == after, "the value was carried out"
    clock.advance(1)
    await reconcile_with("1")
    assert data() == {name: after[name] for name in NAMES | {"tokens.json"}}
    assert condition("AuthReady")["reason"] == "TokensValid"


async def test_a_second_rotation_begins_when_the_first_has_ended(reconcile_with, data, clock):
    await reconcile_with("1")
    first = data()
    assert first.keys() == NAMES, "a new Secret has new tokens"
    await reconcile_with("2")
    second = data()
    await reconcile_with("3")
    assert data() == second
    clock.advance(OVERLAP)
    await reconcile_with("3")
    third = data()
    assert {third[f"former-{name}"] for name in NAMES} == {second[name] for name in NAMES}
    assert len({*first.values(), *second.values(), *third.values()}) == 6


async def test_an_operator_that_ends_after_the_write_does_not_rotate_again(reconcile_with, data, client):
    await reconcile_with(None)
    merge = client.merge

    async def lost(*args, **options):
        await merge(*args, **options)
        raise ConflictError("the answer was lost", status=409)

    client.merge = lost
    with pytest.raises(ConflictError):
        await reconcile_with("1")
    after = data()
    assert after.keys() > FORMER
    client.merge = merge
    await reconcile_with("1")
    assert data() == after


@pytest.mark.parametrize("since", [None, "", "yesterday", "2026-11-23T12:00:00", "2999-01-01T00:00:00Z"])
async def test_tokens_before_of_which_nobody_knows_the_time_are_removed(reconcile_with, data, client, since):
    await reconcile_with("1")
    client.objects[SECRET]["metadata"]["annotations"][labels.TOKENS_ROTATED] = since
    client.objects[SECRET]["data"]["former-client-token"] = "eA=="
    await reconcile_with("1")
    assert data().keys() == NAMES


async def test_the_operator_asks_with_the_token_before_which_the_pod_has_in_any_case(reconcile_with, data, client):
    await reconcile_with(None)
    before = data()
    await reconcile_with("1")
    for name in NAMES:
        assert token_of(client.objects[SECRET], name) == base64.b64decode(before[name]).decode()
