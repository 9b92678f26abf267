"""Each call of swarm.memory.v1.Memory, with what is right and what is wrong."""

import json
import math
from types import SimpleNamespace

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from swarm_operator.memory.core.errors import CorruptValueError
from swarm_operator.memory.service import pieces
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc.memory_pb2_grpc import MemoryStub
from swarm_operator.memory.sqlite.tables import entry_rows

TEAM_TOKEN = "team-0123456789abcdef"

Op = pb.BatchRequest.Operation


def put(key, value, **more):
    return pb.PutRequest(namespace="n", key=key, value=json.dumps(value).encode(), **more)


def get(key):
    return pb.GetRequest(namespace="n", key=key)


async def test_what_is_put_is_got(served, clock):
    answer = await served.memory.Put(put("k", {"ü": [1, None]}, tags=["a", "b"], metadata=b'{"by":"x"}', ttl=60))
    assert answer.created
    assert (answer.entry.version, answer.entry.value) == (1, b"")
    entry = await served.memory.Get(get("k"))
    assert (entry.namespace, entry.key, entry.version, entry.ttl) == ("n", "k", 1, 60)
    assert json.loads(entry.value) == {"ü": [1, None]}
    assert list(entry.tags) == ["a", "b"]
    assert json.loads(entry.metadata) == {"by": "x"}
    now = int(clock.seconds)
    moments = (entry.created_at.seconds, entry.updated_at.seconds, entry.expires_at.seconds)
    assert moments == (now, now, now + 60)
    assert answer.entry.updated_by == entry.updated_by == "client"
    assert not (await served.memory.Put(put("k", 2))).created
    assert not (await served.memory.Get(get("k"))).HasField("expires_at")


async def test_numbers_keep_every_digit(served):
    text = b'{"large":9007199254740993,"small":0.1}'
    await served.memory.Put(pb.PutRequest(namespace="n", key="k", value=text))
    assert (await served.memory.Get(get("k"))).value == text


async def test_an_expired_entry_is_not_found(served, clock):
    await served.memory.Put(put("k", 1, ttl=5))
    clock.advance(6)
    status, problem = await served.problem(served.memory.Get(get("k")))
    assert (status, problem.code) == (grpc.StatusCode.NOT_FOUND, "not-found")


async def test_compare_and_set(served):
    await served.memory.Put(put("k", 1, create_only=True))
    status, problem = await served.problem(served.memory.Put(put("k", 2, create_only=True)))
    assert (status, problem.code) == (grpc.StatusCode.ABORTED, "version-conflict")
    assert dict(problem.details) == {"current_version": "1"}
    await served.memory.Put(put("k", 2, if_version=1))
    status, _ = await served.problem(served.memory.Put(put("k", 3, if_version=1)))
    assert status is grpc.StatusCode.ABORTED
    deletion = pb.DeleteRequest(namespace="n", key="k", if_version=1)
    assert (await served.problem(served.memory.Delete(deletion)))[0] is grpc.StatusCode.ABORTED
    await served.memory.Delete(pb.DeleteRequest(namespace="n", key="k", if_version=2))
    status, problem = await served.problem(served.memory.Put(put("k", 3, if_version=2)))
    assert (status, dict(problem.details)) == (grpc.StatusCode.ABORTED, {})


async def test_to_delete_what_is_not_there_is_not_found(served):
    status, _ = await served.problem(served.memory.Delete(pb.DeleteRequest(namespace="n", key="k")))
    assert status is grpc.StatusCode.NOT_FOUND


async def test_many_are_read_at_once(served):
    await served.memory.Put(put("a", 1))
    wanted = [pb.Identity(namespace="n", key=key) for key in ("a", "b")]
    first, second = (await served.memory.GetMany(pb.GetManyRequest(identities=wanted))).results
    assert first.entry.value == b"1"
    assert not second.HasField("entry")


async def test_an_atomic_batch_is_all_or_none(served):
    operations = [Op(put=put("a", 1)), Op(get=get("a")), Op(put=put("b", 2, if_version=7))]
    status, problem = await served.problem(served.memory.Batch(pb.BatchRequest(operations=operations)))
    assert (status, problem.details["index"]) == (grpc.StatusCode.ABORTED, "2")
    assert (await served.problem(served.memory.Get(get("a"))))[0] is grpc.StatusCode.NOT_FOUND


async def test_a_batch_answers_each_operation(served):
    operations = [
        Op(get=get("a")),
        Op(put=put("a", 1)),
        Op(put=put("b", 2, if_version=7)),
        Op(delete=pb.DeleteRequest(namespace="n", key="z")),
    ]
    answer = await served.memory.Batch(pb.BatchRequest(operations=operations, independent=True))
    read, written, refused, deleted = answer.results
    assert read.got.entry.value == b"1", "gets are answered after the writes"
    assert written.put.created
    assert refused.problem.code == "version-conflict"
    assert deleted.WhichOneof("result") == "deleted"
    assert not deleted.deleted


async def test_a_list_goes_page_by_page(served):
    for number in range(5):
        await served.memory.Put(put(f"k{number}", number))
    keys, token = [], ""
    for _ in range(3):
        page = await served.memory.List(pb.ListRequest(namespace="n", prefix="k", page_size=2, page_token=token))
        keys += [entry.key for entry in page.entries]
        token = page.next_page_token
    assert (keys, token) == (["k0", "k1", "k2", "k3", "k4"], "")


async def test_a_range_is_deleted_only_with_a_prefix(served):
    await served.memory.Put(put("a1", 1))
    await served.memory.Put(put("b1", 1))
    status, problem = await served.problem(served.memory.DeleteRange(pb.DeleteRangeRequest(namespace="n")))
    assert (status, problem.details["field"]) == (grpc.StatusCode.INVALID_ARGUMENT, "prefix")
    assert (await served.memory.DeleteRange(pb.DeleteRangeRequest(namespace="n", prefix="a"))).deleted == 1
    assert (await served.memory.DeleteRange(pb.DeleteRangeRequest(namespace="n", prefix=""))).deleted == 1


async def test_entries_are_found_by_what_they_have(served, clock):
    await served.memory.Put(put("old", {"text": "the queue"}, tags=["x"]))
    clock.advance(100)
    await served.memory.Put(put("new", {"text": "a queue was stuck"}, tags=["x", "y"], metadata=b'{"by":1}'))

    async def keys(**query):
        return [hit.entry.key for hit in (await served.memory.Search(pb.SearchRequest(**query))).hits]

    assert await keys(tags=["x", "y"]) == ["new"]
    assert await keys(any_tags=["x"]) == ["new", "old"]
    assert await keys(namespace="n", prefix="o") == ["old"]
    assert await keys(glob="?ew") == ["new"]
    assert await keys(metadata=b'{"by":1}') == ["new"]
    assert await keys(updated_since=Timestamp(seconds=int(clock.seconds))) == ["new"]
    assert await keys(namespace="other") == []
    long = await served.memory.Search(pb.SearchRequest(text=" ".join(f"word{number}" for number in range(33))))
    assert (list(long.hits), long.words) == ([], 32)
    found = await served.memory.Search(pb.SearchRequest(text="stuck", without_values=True))
    assert not found.HasField("words")
    (hit,) = found.hits
    assert (hit.entry.value, hit.snippet) == (b"", '{"text":"a queue was **stuck**"}')
    assert hit.HasField("score")
    assert hit.matched == ["value"]
    assert found.ranked
    page = await served.memory.Search(pb.SearchRequest(any_tags=["x"], page_size=1))
    rest = await served.memory.Search(pb.SearchRequest(any_tags=["x"], page_size=1, page_token=page.next_page_token))
    assert [page.hits[0].entry.key, rest.hits[0].entry.key] == ["new", "old"]


async def test_namespaces_and_stats(served):
    await served.memory.Put(put("k", 1))
    await served.memory.Put(pb.PutRequest(namespace="o", key="k", value=b'"xy"'))
    page = await served.memory.Namespaces(pb.NamespacesRequest(page_size=1))
    rest = await served.memory.Namespaces(pb.NamespacesRequest(page_token=page.next_page_token))
    assert [(each.namespace, each.entries, each.bytes) for each in (*page.namespaces, *rest.namespaces)] == [
        ("n", 1, 1),
        ("o", 1, 4),
    ]
    assert json.loads((await served.memory.Stats(pb.StatsRequest())).document)["entries"] == 2


async def test_vectors_are_put_and_searched(served):
    await served.memory.Put(put("east", "The sun", vector=[1, 0, 0]))
    operations = [Op(put=put("north", "No sun", vector=[0, 1, 0])), Op(put=put("plain", "sun"))]
    await served.memory.Batch(pb.BatchRequest(operations=operations))
    found = await served.memory.Search(pb.SearchRequest(vector=[1, 0, 0], page_size=1))
    (hit,) = found.hits
    assert (found.mode, hit.entry.key, hit.rank, hit.HasField("words")) == ("meaning", "east", 1, False)
    assert hit.score == hit.cosine == pytest.approx(1, abs=0.01)
    assert not found.steps
    rest = await served.memory.Search(pb.SearchRequest(vector=[1, 0, 0], page_size=1, page_token=found.next_page_token))
    assert (rest.hits[0].entry.key, rest.hits[0].rank) == ("north", 2)
    both = await served.memory.Search(pb.SearchRequest(vector=[1, 0, 0], text="sun", mode="hybrid", explain=True))
    places = {hit.entry.key: (hit.HasField("words"), hit.HasField("cosine")) for hit in both.hits}
    assert places == {"east": (True, True), "north": (True, True), "plain": (True, False)}
    assert [hit.rank for hit in both.hits] == [1, 2, 3]
    assert both.mode == "hybrid"
    assert all(step.name and step.HasField("milliseconds") for step in both.steps)
    by_words = await served.memory.Search(pb.SearchRequest(text="sun", mode="words"))
    assert by_words.mode == "words"
    assert not (await served.memory.Search(pb.SearchRequest(namespace="n"))).HasField("mode")


async def test_a_near_duplicate_is_refused_or_linked(served):
    await served.memory.Put(put("1", "The sun", vector=[1, 0, 0]))
    twin = {"vector": [2, 0, 0], "on_duplicate": "refuse"}
    status, problem = await served.problem(served.memory.Put(put("2", "A sun", **twin)))
    assert (status, problem.code) == (grpc.StatusCode.FAILED_PRECONDITION, "duplicate")
    assert dict(problem.details) == {"key": "1", "cosine": "1.0"}
    linked = await served.memory.Put(put("2", "A sun", **{**twin, "on_duplicate": "link", "threshold": 1}))
    assert (linked.created, linked.duplicate.key, linked.duplicate.cosine) == (True, "1", 1.0)
    assert json.loads((await served.memory.Get(get("2"))).metadata) == {"duplicate_of": "1"}
    other = await served.memory.Put(put("3", "The moon", vector=[0, 1, 0], on_duplicate="refuse"))
    assert other.created
    assert not other.HasField("duplicate")
    operations = [Op(put=put("4", 1, **twin)), Op(put=put("5", 1, **{**twin, "on_duplicate": "link"}))]
    first, second = (await served.memory.Batch(pb.BatchRequest(operations=operations, independent=True))).results
    assert (first.problem.code, second.put.duplicate.cosine) == ("duplicate", 1.0)


@pytest.mark.parametrize(
    ("method", "request_", "field"),
    [
        ("Put", put("", 1), "key"),
        ("Put", pb.PutRequest(key="k", value=b"1"), "namespace"),
        ("Put", pb.PutRequest(namespace="n", key="k"), "value"),
        ("Put", pb.PutRequest(namespace="n", key="k", value=b"NaN"), "value"),
        ("Put", pb.PutRequest(namespace="n", key="k", value=b'"\xff"'), "value"),
        ("Put", pb.PutRequest(namespace="n", key="k", value=b"[" * 5000), "value"),
        ("Put", put("k\0", 1), "key"),
        ("Put", put("k", 1, ttl=2**60), "ttl"),
        ("Put", put("k", 1, tags=[""]), "tags[0]"),
        ("Put", put("k", 1, metadata=b"[]"), "metadata"),
        ("Put", put("k", 1, if_version=0), "if_version"),
        ("Get", get("x" * 2000), "key"),
        ("GetMany", pb.GetManyRequest(identities=[pb.Identity(namespace="n", key="k")] * 1001), "operations"),
        ("Delete", pb.DeleteRequest(namespace="n", key="k", if_version=2**63), "if_version"),
        ("Batch", pb.BatchRequest(operations=[Op(put=put("k", 1)), Op()]), "operations[1]"),
        ("Batch", pb.BatchRequest(operations=[Op(put=put("", 1))]), "operations[0].key"),
        ("List", pb.ListRequest(namespace="n", page_size=1001), "limit"),
        ("List", pb.ListRequest(namespace="n", page_token="?"), "page_token"),
        ("Search", pb.SearchRequest(order="x"), "order"),
        ("Search", pb.SearchRequest(text="a", mode="x"), "mode"),
        ("Search", pb.SearchRequest(text="a", mode="meaning"), "mode"),
        ("Search", pb.SearchRequest(vector=[math.nan]), "vector"),
        ("Put", put("k", 1, vector=[0, 0]), "vector"),
        ("Put", put("k", 1, on_duplicate="drop"), "on_duplicate"),
        ("Put", put("k", 1, on_duplicate="refuse"), "on_duplicate"),
        ("Put", put("k", 1, threshold=0.5), "threshold"),
        ("Put", put("k", 1, vector=[1], on_duplicate="link", threshold=0), "threshold"),
        ("Search", pb.SearchRequest(text="a", match="b"), "match"),
        ("Search", pb.SearchRequest(metadata=b"1"), "metadata"),
        ("Search", pb.SearchRequest(page_token="?"), "cursor"),
        ("Search", pb.SearchRequest(updated_since=Timestamp(seconds=-5)), "updated_since"),
        ("Namespaces", pb.NamespacesRequest(page_token="?"), "page_token"),
    ],
)
async def test_bad_input_is_refused_by_field(served, method, request_, field):
    status, problem = await served.problem(getattr(served.memory, method)(request_))
    assert (status, problem.code) == (grpc.StatusCode.INVALID_ARGUMENT, "invalid-input")
    assert problem.details["field"] == field
    assert problem.details["allowed"]
    assert served.handled(method, "INVALID_ARGUMENT") == 1
    assert (await served.memory.Namespaces(pb.NamespacesRequest())).namespaces == []


async def test_lists_and_searches_say_when_an_entry_was_read(served):
    for key in ("j", "k"):
        await served.memory.Put(pb.PutRequest(namespace="n", key=key, value=b"1"))
    assert not (await served.memory.Get(pb.GetRequest(namespace="n", key="k"))).HasField("accessed_at")
    listed = (await served.memory.List(pb.ListRequest(namespace="n"))).entries
    found = [hit.entry for hit in (await served.memory.Search(pb.SearchRequest(namespace="n"))).hits]
    for entries in (listed, found):
        accessed = {entry.key: entry.HasField("accessed_at") and entry.accessed_at.seconds for entry in entries}
        assert accessed == {"j": False, "k": served.store.now() // 1000}


async def test_a_batch_is_refused_before_its_writes(served, connecting):
    foreign = Op(get=pb.GetRequest(namespace="other", key="k"))
    mine = Op(put=pb.PutRequest(namespace="team", key="a", value=b"1"))
    async with connecting(served.server.port, TEAM_TOKEN) as channel:
        memory = MemoryStub(channel)
        for independent in (True, False):
            for refused, code in (
                ([foreign], "forbidden"),
                ([Op(get=pb.GetRequest(namespace="team"))], "invalid-input"),
                ([Op(get=pb.GetRequest(namespace="team", key="k"))] * 1000, "invalid-input"),
            ):
                request = pb.BatchRequest(operations=[mine, *refused], independent=independent)
                _, problem = await served.problem(memory.Batch(request))
                assert problem.code == code
    assert (await served.store.stats()).entries == 0


async def test_a_value_that_cannot_be_read_is_the_result_of_its_own_get(served, monkeypatch):
    original = entry_rows.read

    def read(db, identity):
        if identity == ("n", "bad"):
            raise CorruptValueError("damaged")
        return original(db, identity)

    monkeypatch.setattr(entry_rows, "read", read)
    operations = [Op(put=put("a", 1)), Op(get=get("bad")), Op(get=get("a")), Op(get=get("never"))]
    answer = await served.memory.Batch(pb.BatchRequest(operations=operations))
    written, damaged, read, missing = answer.results
    assert written.put.created
    assert damaged.problem.code == "corrupt-value"
    assert read.got.entry.value == b"1"
    assert missing.WhichOneof("result") == "got"
    assert not missing.got.HasField("entry")
    status, problem = await served.problem(
        served.memory.GetMany(pb.GetManyRequest(identities=[pb.Identity(namespace="n", key="bad")]))
    )
    assert (status, problem.code) == (grpc.StatusCode.UNAVAILABLE, "corrupt-value")


@pytest.mark.parametrize(
    ("method", "asked"),
    [
        ("List", pb.ListRequest(namespace="n")),
        ("Search", pb.SearchRequest(namespace="n")),
        ("GetMany", pb.GetManyRequest(identities=[pb.Identity(namespace="n", key=key) for key in "abc"])),
        ("Batch", pb.BatchRequest(operations=[Op(get=get(key)) for key in "abc"])),
    ],
    ids=["List", "Search", "GetMany", "Batch"],
)  # fmt: skip
async def test_answers_are_rendered_in_pieces(served, monkeypatch, method, asked):
    turns = []

    async def sleep(_):
        turns.append(None)

    for key in "abc":
        await served.memory.Put(pb.PutRequest(namespace="n", key=key, value=b"1"))
    monkeypatch.setattr(pieces, "PIECE", 1)
    monkeypatch.setattr(pieces, "asyncio", SimpleNamespace(sleep=sleep))
    await getattr(served.memory, method)(asked)
    assert len(turns) == 3
