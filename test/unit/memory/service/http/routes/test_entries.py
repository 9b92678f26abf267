"""One entry over HTTP."""

import asyncio
from urllib.parse import quote

import pytest


async def test_an_entry_makes_the_round_trip(service):
    answer = await service.call(
        "PUT",
        "/v1/entries/swarm:agents/agent%3A1",
        {"value": {"a": [1, None, "ü"]}, "tags": ["t"], "metadata": {"m": 1}, "ttl": 60},
    )
    assert answer.status == 201
    assert answer.headers["etag"] == '"1"'
    head = answer.json
    assert head == {
        "namespace": "swarm:agents",
        "key": "agent:1",
        "version": 1,
        "size": len('{"a":[1,null,"ü"]}'.encode()),
        "ttl": 60,
        "created_at": "2027-01-15T08:00:00.000Z",
        "updated_at": "2027-01-15T08:00:00.000Z",
        "updated_by": "client",
        "expires_at": "2027-01-15T08:01:00.000Z",
    }
    answer = await service.call("GET", "/v1/entries/swarm:agents/agent:1")
    assert answer.status == 200
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == {**head, "tags": ["t"], "metadata": {"m": 1}, "value": {"a": [1, None, "ü"]}}


async def test_a_second_put_answers_200_and_a_new_tag(service):
    await service.put("n/k", 1)
    answer = await service.put("n/k", None)
    assert (answer.status, answer.headers["etag"], answer.json["expires_at"]) == (200, '"2"', None)
    assert (await service.call("GET", "/v1/entries/n/k")).json["value"] is None


async def test_a_delete_answers_204_and_then_404(service):
    await service.put("n/k", 1)
    answer = await service.call("DELETE", "/v1/entries/n/k")
    assert (answer.status, answer.body) == (204, b"")
    for method in ("DELETE", "GET"):
        answer = await service.call(method, "/v1/entries/n/k")
        assert (answer.status, answer.headers["content-type"]) == (404, "application/problem+json")
        assert answer.json["type"] == "urn:swarm-memory:problem:not-found"


@pytest.mark.parametrize(
    ("namespace", "key"),
    [
        ("a/b", "c"),
        ("a", "b/c"),
        ("a/", "/c"),
        ("..", "."),
        ("swarm:agents", "k?x=1&y#z"),
        ("ü", "100% \U0001f40d"),
        ("'; DROP TABLE entries; --", '" OR 1=1'),
        ("%2F", "%00"),
        ("+", " "),
        ("n", "\r\nX-Injected: 1"),
    ],
)
async def test_names_with_special_characters_are_told_apart(service, namespace, key):
    path = f"{quote(namespace, safe='').replace('.', '%2E')}/{quote(key, safe='').replace('.', '%2E')}"
    await service.put(path, "it")
    for other in ("a%2Fb/c", "a/b%2Fc", "a%2F/%2Fc", "a/b"):
        if other != path:
            await service.put(other, "another")
    entry = (await service.call("GET", f"/v1/entries/{path}")).json
    assert (entry["namespace"], entry["key"], entry["value"]) == (namespace, key, "it")
    listed = (await service.call("GET", f"/v1/entries?namespace={quote(namespace, safe='')}")).json["entries"]
    assert "it" in [entry["value"] for entry in listed if entry["key"] == key]


async def test_after_the_namespace_slashes_belong_to_the_key(service):
    await service.put("n/a/b/", 1)
    assert (await service.call("GET", "/v1/entries/n/a%2Fb%2F")).json["key"] == "a/b/"


async def test_create_only_by_if_none_match(service):
    path = "/v1/entries/n/k"
    assert (await service.call("PUT", path, {"value": 1}, If_None_Match="*")).status == 201
    answer = await service.call("PUT", path, {"value": 2}, If_None_Match="*")
    assert (answer.status, answer.headers["etag"], answer.json["current_version"]) == (412, '"1"', 1)
    assert (await service.call("GET", path)).json["value"] == 1


async def test_compare_and_set_by_if_match(service):
    path = "/v1/entries/n/k"
    answer = await service.call("PUT", path, {"value": 1}, If_Match='"1"')
    assert answer.status == 412
    assert "current_version" not in answer.json
    await service.put("n/k", 1)
    assert (await service.call("PUT", path, {"value": 2}, If_Match='"1"')).headers["etag"] == '"2"'
    assert (await service.call("PUT", path, {"value": 3}, If_Match='"1"')).json["current_version"] == 2
    assert (await service.call("DELETE", path, If_Match='"1"')).status == 412
    assert (await service.call("DELETE", path, If_Match='"2"')).status == 204


async def test_of_many_increments_by_compare_and_set_none_is_lost(service):
    await service.put("n/counter", 0)

    async def increment():
        while True:
            entry = await service.call("GET", "/v1/entries/n/counter")
            answer = await service.call(
                "PUT", "/v1/entries/n/counter", {"value": entry.json["value"] + 1}, If_Match=entry.headers["etag"]
            )
            if answer.status == 200:
                return

    await asyncio.gather(*(increment() for _ in range(12)))
    assert (await service.call("GET", "/v1/entries/n/counter")).json["value"] == 12


@pytest.mark.parametrize("tags", ['"1"', 'W/"1"', '"7", "1"', "*"])
async def test_a_copy_that_is_still_good_is_not_sent_again(service, tags):
    await service.put("n/k", 1)
    answer = await service.call("GET", "/v1/entries/n/k", If_None_Match=tags)
    assert (answer.status, answer.body, answer.headers["etag"]) == (304, b"", '"1"')
    await service.put("n/k", 2)
    if tags != "*":
        assert (await service.call("GET", "/v1/entries/n/k", If_None_Match=tags)).json["value"] == 2


@pytest.mark.parametrize(
    ("method", "header", "value"),
    [
        ("PUT", "If_Match", "1"),
        ("PUT", "If_Match", '"1" or "2"'),
        ("PUT", "If_Match", '"1", *'),
        ("DELETE", "If_Match", ""),
        ("GET", "If_Match", '"1'),
        ("PUT", "If_None_Match", '"1"'),
    ],
)
async def test_a_condition_that_is_not_understood_is_refused(service, method, header, value):
    await service.put("n/k", 1)
    answer = await service.call(method, "/v1/entries/n/k", {"value": 2}, **{header: value})
    assert (answer.status, answer.json["field"]) == (400, header.replace("_", "-"))
    assert (await service.call("GET", "/v1/entries/n/k")).json["value"] == 1


@pytest.mark.parametrize("tags", ["*", '"1"', '"7", "1"', 'W/"1" , "1",', '"a,b","1"'])
async def test_if_match_may_name_any_version_or_several(service, tags):
    path = "/v1/entries/n/k"
    assert (await service.call("PUT", path, {"value": 0}, If_Match=tags)).status == 412
    await service.put("n/k", 1)
    assert (await service.call("GET", path, If_Match=tags)).json["value"] == 1
    assert (await service.call("PUT", path, {"value": 2}, If_Match=tags)).status == 200
    if tags != "*":
        for method in ("GET", "PUT", "DELETE"):
            answer = await service.call(method, path, {"value": 3}, If_Match=tags)
            assert (answer.status, answer.headers["etag"], answer.json["current_version"]) == (412, '"2"', 2)
    assert (await service.call("DELETE", path, If_Match=f'{tags}, "2"' if tags != "*" else "*")).status == 204


@pytest.mark.parametrize("tags", ['W/"1"', '"0"', '"01"', '"9999999999999999999"', '"a,b"', '""'])
async def test_a_tag_that_is_weak_or_no_version_matches_nothing(service, tags):
    await service.put("n/k", 1)
    for method in ("GET", "HEAD", "PUT", "DELETE"):
        answer = await service.call(method, "/v1/entries/n/k", {"value": 2}, If_Match=tags)
        assert (answer.status, answer.headers["etag"]) == (412, '"1"')
    assert (await service.call("GET", "/v1/entries/n/none", If_Match=tags)).status == 404
    assert (await service.call("GET", "/v1/entries/n/k")).json["value"] == 1


async def test_a_write_on_any_version_holds_against_other_writers(service, monkeypatch):
    await service.put("n/k", 1)
    read = service.store.get
    writers = 0

    async def get_before_another_write(*identity):
        nonlocal writers
        entry = await read(*identity)
        if writers < 3:
            writers += 1
            await service.put("n/k", "of another")
        return entry

    monkeypatch.setattr(service.store, "get", get_before_another_write)
    answer = await service.call("PUT", "/v1/entries/n/k", {"value": 2}, If_Match="*")
    assert (answer.status, answer.headers["etag"]) == (200, '"5"')
    writers = -1000
    answer = await service.call("DELETE", "/v1/entries/n/k", If_Match="*")
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")


async def test_the_two_conditions_exclude_each_other(service):
    answer = await service.call("PUT", "/v1/entries/n/k", {"value": 2}, If_Match='"1"', If_None_Match="*")
    assert answer.status == 400


async def test_head_answers_without_a_body(service):
    await service.put("n/k", 1)
    answer = await service.call("HEAD", "/v1/entries/n/k")
    assert (answer.status, answer.body, answer.headers["etag"]) == (200, b"", '"1"')


async def test_an_unknown_method_is_answered_with_those_that_exist(service):
    answer = await service.call("PATCH", "/v1/entries/n/k", {"value": 1})
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, PUT, DELETE")


async def test_an_expired_entry_is_not_found(service, clock):
    await service.put("n/k", 1, ttl=5)
    clock.advance(5)
    assert (await service.call("GET", "/v1/entries/n/k")).status == 404
    assert (await service.call("DELETE", "/v1/entries/n/k")).status == 404


async def test_lists_and_searches_say_when_an_entry_was_read_over_any_way(service, clock):
    await service.put("n/k", 1)
    await service.put("n/j", 1)
    clock.advance(2)
    got = await service.call("GET", "/v1/entries/n/k")
    assert "accessed_at" not in got.json
    for path in ("/v1/entries?namespace=n", "/v1/search?namespace=n&order=key", "/v1/search?namespace=n&values=false"):
        answer = await service.call("GET", path)
        assert answer.status == 200, answer.body
        times = {entry["key"]: entry["accessed_at"] for entry in answer.json["entries"]}
        assert times == {"k": "2027-01-15T08:00:02.000Z", "j": None}
    clock.advance(1)
    await service.call("POST", "/v1/batch", {"operations": [{"op": "get", "namespace": "n", "key": "j"}]})
    entries = (await service.call("GET", "/v1/entries?namespace=n")).json["entries"]
    assert entries[0]["accessed_at"] == "2027-01-15T08:00:03.000Z"
