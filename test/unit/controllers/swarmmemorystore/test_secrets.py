"""The Secret of a store's tokens in its life."""

import base64

import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.controller import Result
from swarm_operator.runtime.errors import ConflictError, NotFoundError
from swarm_operator.runtime.resource import Key, owner_reference

KEY = Key("ns", "bees")
STORE = kinds.SWARM_MEMORY_STORE


async def test_a_secret_of_somebody_else_is_not_used(reconciler, client, seen, store_object, condition, observer):
    seen(STORE, store_object())
    client.put(kinds.SECRET, {"metadata": {"name": "bees-auth", "namespace": "ns"}, "data": {"client-token": "eA=="}})
    assert await reconciler.reconcile(KEY) == Result(requeue_after=60.0)
    assert condition("Ready")["reason"] == "NameTaken"
    assert not [write for write in client.writes() if write[1] == "StatefulSet"]


async def test_a_secret_that_exists_keeps_its_tokens(reconciler, client, seen, store_object):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    before = client.objects[kinds.SECRET, Key("ns", "bees-auth")]
    seen(STORE, store_object(cacheSize=8))
    await reconciler.reconcile(KEY)
    assert client.objects[kinds.SECRET, Key("ns", "bees-auth")] is before


async def test_a_secret_that_another_worker_made_meanwhile_is_used(reconciler, client, seen, store_object, recorder):
    seen(STORE, store_object())
    theirs = {
        "metadata": {"name": "bees-auth", "namespace": "ns", "ownerReferences": [owner_reference(store_object())]},
        "data": {"client-token": "eA==", "admin-token": "eQ=="},
    }
    client.put(kinds.SECRET, theirs)
    answers = [NotFoundError("not yet", status=404)]
    get = client.get

    async def behind(resource, namespace, name):
        if resource is kinds.SECRET and answers:
            raise answers.pop()
        return await get(resource, namespace, name)

    client.get = behind
    await reconciler.reconcile(KEY)
    assert client.objects[kinds.SECRET, Key("ns", "bees-auth")]["data"] == theirs["data"]
    assert ("Normal", "Created", "created Secret bees-auth") not in recorder.events


async def test_tokens_appear_neither_in_events_nor_in_the_log_nor_in_the_status(
    reconciler, client, seen, store_object, ready, recorder, status, logged
):
    seen(STORE, store_object())
    await reconciler.reconcile(KEY)
    ready()
    await reconciler.reconcile(KEY)
    said = str(recorder.events) + str(logged) + str(status())
    said += str([obj for (kind, _), obj in client.objects.items() if kind is not kinds.SECRET])
    for encoded in client.objects[kinds.SECRET, Key("ns", "bees-auth")]["data"].values():
        assert encoded not in said
        assert base64.b64decode(encoded).decode() not in said


def encoded(text):
    return base64.b64encode(text.encode()).decode()


class TestTokensThatTheServiceWouldNotRead:
    @pytest.fixture
    async def secret(self, reconciler, seen, store_object, client):
        """The Secret of a store, as it is stored."""
        seen(STORE, store_object())
        await reconciler.reconcile(KEY)
        return client.objects[kinds.SECRET, Key("ns", "bees-auth")]

    async def test_tokens_of_ours_are_valid_and_make_no_event(self, secret, condition, recorder):
        assert (condition("AuthReady")["status"], condition("AuthReady")["reason"]) == ("True", "TokensValid")
        assert "TokensValid" not in recorder.reasons

    @pytest.mark.parametrize(
        ("further", "place"),
        [
            ("{", "tokens.json: JSON is allowed"),
            (
                '{"tokens": [{"name": "a", "token": "SECRETSECRETSECRET", "access": "admin"}]}',
                "tokens[0].access: read or",
            ),
            ('{"tokens": [{"name": "a", "token": "SECRET", "access": "read"}]}', "tokens.json: tokens[0].token: 16 to"),
        ],
    )
    async def test_a_mistake_is_told_with_its_place_and_without_the_value(
        self, secret, reconciler, condition, status, recorder, further, place, client
    ):
        secret["data"]["tokens.json"] = encoded(further)
        client.requests.clear()
        await reconciler.reconcile(KEY)
        told = condition("AuthReady")
        assert (told["status"], told["reason"]) == ("False", "TokensInvalid")
        assert told["message"].startswith("Secret bees-auth: tokens.json: ")
        assert place in told["message"]
        assert "SECRET" not in str(status()) + str(recorder.events)
        assert ("Warning", "TokensInvalid") in [(kind, reason) for kind, reason, _ in recorder.events]
        assert condition("Ready")["reason"] == "WaitingForPod", "the service keeps the tokens that it has"
        assert client.writes() == [("apply status", "SwarmMemoryStore", "bees")], "a user's mistake is not overwritten"
        del secret["data"]["tokens.json"]
        await reconciler.reconcile(KEY)
        assert condition("AuthReady")["status"] == "True"

    @pytest.mark.parametrize("client_token", ["two words", "two\nlines", "\u00fc"])
    async def test_a_token_of_the_user_s_that_is_none_is_told_and_kept(
        self, secret, reconciler, condition, client_token, client
    ):
        secret["data"]["client-token"] = encoded(client_token)
        await reconciler.reconcile(KEY)
        assert condition("AuthReady")["message"].startswith("Secret bees-auth: client-token: one line of at most")
        assert client.objects[kinds.SECRET, Key("ns", "bees-auth")]["data"]["client-token"] == encoded(client_token)


class TestTokensThatAreLost:
    @pytest.mark.parametrize("lost", ["all", "one", "empty", "no data"])
    async def test_they_are_made_anew_and_the_others_stay(
        self, reconciler, seen, store_object, client, condition, recorder, lost
    ):
        seen(STORE, store_object())
        await reconciler.reconcile(KEY)
        secret = client.objects[kinds.SECRET, Key("ns", "bees-auth")]
        before = dict(secret["data"]) | {"tokens.json": encoded('{"tokens": []}')}
        kept = {
            "all": {},
            "one": {name: value for name, value in before.items() if name != "admin-token"},
            "empty": before | {"client-token": ""},
            "no data": None,
        }[lost]
        secret["data"] = kept
        client.requests.clear()
        await reconciler.reconcile(KEY)
        assert ("merge", "Secret", "bees-auth") in client.requests
        after = client.objects[kinds.SECRET, Key("ns", "bees-auth")]["data"]
        assert after["client-token"]
        assert after["admin-token"]
        for name, value in (kept or {}).items():
            assert not value or after[name] == value
        assert condition("AuthReady")["status"] == "True"
        (note,) = [note for _, reason, note in recorder.events if reason == "TokensReplaced"]
        assert ("client-token" in note) is (lost != "one")
        client.requests.clear()
        await reconciler.reconcile(KEY)
        assert client.writes() == []

    async def test_a_secret_that_somebody_changes_meanwhile_is_not_overwritten(
        self, reconciler, seen, store_object, client
    ):
        seen(STORE, store_object())
        await reconciler.reconcile(KEY)
        secret = client.objects[kinds.SECRET, Key("ns", "bees-auth")]
        get = client.get

        async def stale(resource, namespace, name):
            found = await get(resource, namespace, name)
            if resource is kinds.SECRET:
                found["data"] = {}
                found["metadata"]["resourceVersion"] = "1"
            return found

        client.get = stale
        before = dict(secret["data"])
        with pytest.raises(ConflictError):
            await reconciler.reconcile(KEY)
        assert client.objects[kinds.SECRET, Key("ns", "bees-auth")]["data"] == before

    async def test_a_secret_that_is_being_deleted_is_left_alone(
        self, reconciler, seen, store_object, client, condition
    ):
        seen(STORE, store_object())
        await reconciler.reconcile(KEY)
        secret = client.objects[kinds.SECRET, Key("ns", "bees-auth")]
        secret["data"] = {}
        secret["metadata"]["deletionTimestamp"] = "2026-11-23T12:00:00Z"
        client.requests.clear()
        await reconciler.reconcile(KEY)
        assert ("merge", "Secret", "bees-auth") not in client.requests
        assert condition("AuthReady")["reason"] == "TokensInvalid"

    async def test_a_secret_that_was_deleted_is_made_anew_by_the_pass_that_a_starting_pod_causes(
        self, reconciler, seen, store_object, client, condition
    ):
        seen(STORE, store_object())
        await reconciler.reconcile(KEY)
        del client.objects[kinds.SECRET, Key("ns", "bees-auth")]
        waits = {"waiting": {"reason": "ContainerCreating"}}
        pod = {"metadata": {"name": "bees-0", "namespace": "ns"}, "status": {"containerStatuses": [{"state": waits}]}}
        seen(kinds.POD, pod)
        await reconciler.reconcile(KEY)
        assert client.objects[kinds.SECRET, Key("ns", "bees-auth")]["data"].keys() == {"client-token", "admin-token"}
