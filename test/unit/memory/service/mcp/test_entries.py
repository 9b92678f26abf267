"""The tools for entries, by the official client."""

import pytest

ODD = ["a/b", "..", "%2F", "ü ?#&", "日本", "x" * 1024, 'quote"\\', "\x01"]


async def test_what_is_stored_is_retrieved_listed_found_and_deleted(mcp, service):
    stored = await mcp.call(
        "memory_store", key="auth/jwt", value={"alg": "ES256", "n": [1, None, 2.5]}, tags=["auth"], metadata={"by": "a"}
    )
    assert (stored["version"], stored["created"], stored["uri"]) == (1, True, "memory://default/auth%2Fjwt")
    assert stored["updated_by"] == "client"
    found = await mcp.call("memory_retrieve", key="auth/jwt")
    assert found["found"] is True
    assert found["value"] == {"alg": "ES256", "n": [1, None, 2.5]}
    assert (found["tags"], found["metadata"], found["updated_by"]) == (["auth"], {"by": "a"}, "client")
    assert (await service.store.get("default", "auth/jwt")).value == found["value"]
    listed = await mcp.call("memory_list", namespace="default")
    assert [(entry["key"], entry["snippet"], entry["updated_by"]) for entry in listed["entries"]] == [
        ("auth/jwt", '{"alg":"ES256","n":[1,null,2.5]}', "client")
    ]
    assert listed["next_cursor"] is None
    for question in (
        {"pattern": "jwt"}, {"pattern": "auth/*"}, {"text": "ES256"}, {"tags": ["auth"]}, {"any_tags": ["x", "auth"]},
        {"metadata": {"by": "a"}}, {"updated_since": "2020-01-01T00:00:00Z"}, {"namespace": "default", "prefix": "au"},
    ):  # fmt: skip
        hits = await mcp.call("memory_search", **question)
        assert [hit["key"] for hit in hits["entries"]] == ["auth/jwt"], question
        assert hits["entries"][0].get("matched") == (["value"] if "text" in question else None)
    assert (await mcp.call("memory_search", pattern="jwt*"))["entries"] == []
    assert (await mcp.call("memory_delete", key="auth/jwt"))["deleted"] is True
    assert (await mcp.call("memory_delete", key="auth/jwt"))["deleted"] is False
    assert await mcp.call("memory_retrieve", key="auth/jwt") == {
        "found": False, "namespace": "default", "key": "auth/jwt"
    }  # fmt: skip


@pytest.mark.parametrize("value", [None, True, 0, -1, 1.5, "", "text\0with NUL", [], {}, {"ü": ["😀", {"x": None}]}])
async def test_any_json_value_comes_back_as_it_was(mcp, value):
    await mcp.call("memory_store", key="k", value=value)
    found = await mcp.call("memory_retrieve", key="k")
    assert found["value"] == value
    assert type(found["value"]) is type(value)


@pytest.mark.parametrize("name", ODD)
async def test_names_may_be_any_text(mcp, name):
    stored = await mcp.call("memory_store", namespace=name[:255], key=name, value=1)
    assert (stored["namespace"], stored["key"]) == (name[:255], name)
    assert (await mcp.call("memory_retrieve", namespace=name[:255], key=name))["value"] == 1


async def test_conditions_are_those_of_http(mcp):
    await mcp.call("memory_store", key="k", value=1, create_only=True)
    conflict = await mcp.fail("memory_store", key="k", value=2, create_only=True)
    assert (conflict["code"], conflict["current_version"], conflict["retry"]) == ("version-conflict", 1, False)
    assert (await mcp.call("memory_store", key="k", value=2, if_version=1))["version"] == 2
    assert (await mcp.fail("memory_store", key="k", value=3, if_version=1))["current_version"] == 2
    assert (await mcp.fail("memory_delete", key="k", if_version=1))["code"] == "version-conflict"
    assert "current_version" not in await mcp.fail("memory_store", key="new", value=3, if_version=1)
    assert (await mcp.call("memory_retrieve", key="k"))["value"] == 2


async def test_what_has_expired_is_gone(mcp, clock):
    stored = await mcp.call("memory_store", key="k", value=1, ttl=60)
    assert stored["expires_at"] == "2027-01-15T08:01:00.000Z"
    clock.advance(60)
    assert (await mcp.call("memory_retrieve", key="k"))["found"] is False
    assert (await mcp.call("memory_list", namespace="default"))["entries"] == []


BAD = [
    ({}, "key", "required: a string of 1 to 1024 bytes"),
    ({"key": "k"}, "value", "required: any JSON value"),
    ({"key": 5, "value": 1}, "key", "a string of 1 to 1024 bytes"),
    ({"key": None, "value": 1}, "key", "a string of 1 to 1024 bytes"),
    ({"key": "", "value": 1}, "key", "a string of 1 to 1024 bytes"),
    ({"key": "a\0b", "value": 1}, "key", "a string of 1 to 1024 bytes of UTF-8 without NUL"),
    ({"key": "x" * 1025, "value": 1}, "key", "a string of 1 to 1024 bytes"),
    ({"key": "ü" * 1000, "value": 1}, "key", "a string of 1 to 1024 bytes of UTF-8 without NUL"),
    ({"key": "k", "value": 1, "namespace": "n" * 256}, "namespace", "a string of 1 to 255 bytes"),
    ({"key": "k", "value": 1, "ttl": -1}, "ttl", "a whole number from 0 to 3153600000"),
    ({"key": "k", "value": 1, "ttl": True}, "ttl", "a whole number from 0 to 3153600000"),
    ({"key": "k", "value": 1, "ttl": "60"}, "ttl", "a whole number from 0 to 3153600000"),
    ({"key": "k", "value": 1, "ttl": 1.5}, "ttl", "a whole number from 0 to 3153600000"),
    ({"key": "k", "value": 1, "tags": "a"}, "tags", "a list of 0 to 64 items"),
    ({"key": "k", "value": 1, "tags": ["a", 1]}, "tags[1]", "a string of 1 to 256 bytes"),
    ({"key": "k", "value": 1, "tags": ["t"] * 65}, "tags", "a list of 0 to 64 items"),
    ({"key": "k", "value": 1, "metadata": []}, "metadata", "a JSON object"),
    ({"key": "k", "value": 1, "metadata": {"x": "y" * 70_000}}, "metadata", "at most 65536 bytes of JSON"),
    ({"key": "k", "value": 2**70}, "value", None),
    ({"key": "k", "value": 1, "if_version": 0}, "if_version", "a whole number from 1 to 9223372036854775807"),
    ({"key": "k", "value": 1, "if_version": 1, "create_only": True}, "if_version", "not together with create_only"),
    ({"key": "k", "value": 1, "tll": 1}, "tll", None),
]


@pytest.mark.parametrize(("arguments", "field", "allowed"), BAD, ids=range(len(BAD)))
async def test_a_bad_argument_is_named_with_what_is_allowed_and_nothing_is_stored(
    mcp, service, arguments, field, allowed
):
    error = await mcp.fail("memory_store", **arguments)
    assert (error["code"], error["field"], error["retry"]) == ("invalid-input", field, False)
    assert allowed is None or error["allowed"] == allowed
    assert error["message"].startswith(f"{field}: ")
    assert (await service.store.stats()).entries == 0


async def test_bad_questions_are_refused_by_name(mcp):
    for tool, arguments, field in (
        ("memory_retrieve", {"key": "k", "offset": -1}, "offset"),
        ("memory_list", {"prefix": "x"}, "prefix"),
        ("memory_list", {"namespace": "n", "limit": 0}, "limit"),
        ("memory_list", {"namespace": "n", "limit": 1001}, "limit"),
        ("memory_list", {"namespace": "n", "cursor": "?"}, "cursor"),
        ("memory_list", {"cursor": "AA"}, "cursor"),
        ("memory_search", {"pattern": ""}, "pattern"),
        ("memory_search", {"pattern": "*a*b*c*d*e*f*g*h*"}, "pattern"),
        ("memory_search", {"pattern": "a\0"}, "pattern"),
        ("memory_search", {"tags": ["a\0"]}, "tags"),
        ("memory_search", {"any_tags": [""]}, "any_tags"),
        ("memory_usage", {"action": "search", "value": "\0"}, "value"),
        ("memory_persist", {"sessionId": "\0"}, "sessionId"),
        ("message_send", {"from": "\0", "message": 1}, "from"),
        ("message_send", {"from": "a", "to": "\0", "message": 1}, "to"),
        ("memory_search", {"subtree": True}, "subtree"),
        ("memory_search", {"updated_since": "yesterday"}, "updated_since"),
        ("memory_search", {"text": '"'}, "text"),
        ("memory_search", {"text": "a", "mode": "x"}, "mode"),
        ("memory_search", {"text": "a", "mode": "meaning"}, "mode"),
        ("memory_search", {"vector": [0, 0]}, "vector"),
        ("memory_search", {"vector": [1, "2"]}, "vector[1]"),
        ("memory_search", {"vector": "AACAPw=="}, "vector"),
        ("memory_store", {"key": "k", "value": 1, "vector": [1] * 4097}, "vector"),
        ("memory_store", {"key": "k", "value": 1, "vector": [True]}, "vector[0]"),
        ("memory_store", {"key": "k", "value": 1, "on_duplicate": "drop"}, "on_duplicate"),
        ("memory_store", {"key": "k", "value": 1, "on_duplicate": "refuse"}, "on_duplicate"),
        ("memory_store", {"key": "k", "value": 1, "on_duplicate": "link", "threshold": 0}, "threshold"),
        ("memory_store", {"key": "k", "value": 1, "on_duplicate": "link", "threshold": 1.1}, "threshold"),
        ("memory_store", {"key": "k", "value": 1, "threshold": 0.9}, "threshold"),
        ("memory_search", {"tags": ["t"] * 17}, "tags"),
        ("memory_search", {"text": "a", "cursor": "AAAA"}, "cursor"),
        ("memory_stats", {"x": 1}, "x"),
    ):
        error = await mcp.fail(tool, **arguments)
        assert (error["code"], error["field"]) == ("invalid-input", field), (tool, arguments, error)


async def test_lists_come_in_pages_that_lose_and_repeat_nothing(mcp, service):
    for number in range(25):
        await service.store.put("n", f"k{number:02}", number)
    await service.store.put("m", "k", 1)
    keys, cursor = [], None
    while True:
        page = await mcp.call("memory_list", namespace="n", limit=10, **({"cursor": cursor} if cursor else {}))
        assert len(page["entries"]) <= 10
        keys += [entry["key"] for entry in page["entries"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert keys == [f"k{number:02}" for number in range(25)]
    first = await mcp.call("memory_list", limit=1)
    assert first["namespaces"] == [{"namespace": "m", "entries": 1, "bytes": 1}]
    second = await mcp.call("memory_list", limit=1, cursor=first["next_cursor"])
    assert ([each["namespace"] for each in second["namespaces"]], second["next_cursor"]) == (["n"], None)
    found, cursor = [], None
    while True:
        page = await mcp.call("memory_search", pattern="k1", limit=4, **({"cursor": cursor} if cursor else {}))
        found += [entry["key"] for entry in page["entries"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert found == [f"k{number}" for number in range(10, 20)]


async def test_the_first_words_of_a_long_text_are_searched(mcp):
    found = await mcp.call("memory_search", text=" ".join(f"word{number}" for number in range(33)))
    assert (found["entries"], found["searched"]["words"]) == ([], 32)


async def test_vectors_are_stored_and_searched(mcp):
    await mcp.call("memory_store", key="east", value="The sun", vector=[1, 0, 0])
    await mcp.call("memory_store", key="north", value="No sun", vector=[0, 1.0, 0])
    await mcp.call("memory_store", key="plain", value="sun")
    found = await mcp.call("memory_search", vector=[1, 0, 0], limit=1)
    (hit,) = found["entries"]
    assert (hit["key"], hit["rank"], found["searched"]["mode"]) == ("east", 1, "meaning")
    assert hit["cosine"] == hit["score"] == pytest.approx(1, abs=0.01)
    rest = await mcp.call("memory_search", vector=[1, 0, 0], limit=1, cursor=found["next_cursor"])
    assert (rest["entries"][0]["key"], rest["entries"][0]["rank"]) == ("north", 2)
    both = await mcp.call("memory_search", vector=[1, 0, 0], text="sun", mode="hybrid")
    assert {hit["key"]: ("words" in hit, "cosine" in hit) for hit in both["entries"]} == {
        "east": (True, True), "north": (True, True), "plain": (True, False),
    }  # fmt: skip


async def test_a_near_duplicate_is_refused_or_linked(mcp):
    await mcp.call("memory_store", key="1", value="The sun", vector=[1, 0, 0])
    twin = {"value": "A sun", "vector": [2, 0, 0]}
    error = await mcp.fail("memory_store", key="2", on_duplicate="refuse", **twin)
    assert (error["code"], error["key"], error["cosine"], error["retry"]) == ("duplicate", "1", 1.0, False)
    assert error["message"].endswith("use that entry, or write with on_duplicate: keep")
    linked = await mcp.call("memory_store", key="2", on_duplicate="link", threshold=1, **twin)
    assert linked["duplicate"] == {"key": "1", "cosine": 1.0}
    assert (await mcp.call("memory_retrieve", key="2"))["metadata"] == {"duplicate_of": "1"}
    other = await mcp.call("memory_store", key="3", value="The moon", vector=[0, 1, 0], on_duplicate="refuse")
    assert other["created"] is True
    assert "duplicate" not in other


async def test_statistics_are_those_of_http(mcp, service):
    await mcp.call("memory_store", key="k", value=[1])
    stats = await mcp.call("memory_stats")
    answer = await service.call("GET", "/v1/stats")
    assert stats.keys() == answer.json.keys()
    assert (stats["entries"], stats["value_bytes"], stats["swarm_id"]) == (1, 3, "default")


async def test_lists_and_searches_say_when_an_entry_was_read(mcp, service, clock):
    for key in ("j", "k"):
        await service.store.put("n", key, 1)
    clock.advance(5)
    assert "accessed_at" not in await mcp.call("memory_retrieve", namespace="n", key="k")
    for tool in ("memory_list", "memory_search"):
        times = {each["key"]: each.get("accessed_at") for each in (await mcp.call(tool, namespace="n"))["entries"]}
        assert times == {"j": None, "k": "2027-01-15T08:00:05.000Z"}
