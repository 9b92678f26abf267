"""What every protocol guarantees about entries, as a table: scenarios of steps, each an operation and its outcome.

A protocol takes part by an adapter (see store_drivers): `await adapter(operation, arguments)` gives
- the version for a put;
- the entry for a get, as a dictionary, or None where there is none; a list of them for several;
- True or False for a deletion, the number for that of many;
- the keys of a list, namespaces and keys of a search, in their order, over as many pages as `limit` makes of them;
- the results of a batch's operations;
- the changes of a watch: what happened, where, and the version;
- or a Refusal.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Refusal:
    """kind: invalid (detail: the field), conflict (detail: the version that there is), of a batch: at (index, why)."""

    kind: str
    detail: Any = None


def invalid(name):
    return Refusal("invalid", name)


def conflict(version=None):
    return Refusal("conflict", version)


def at(index, refusal):
    return Refusal("at", (index, refusal))


@dataclass(frozen=True)
class Step:
    operation: str
    arguments: dict[str, Any]
    outcome: Any


@dataclass(frozen=True)
class Advance:
    """Time goes by."""

    seconds: float


@dataclass(frozen=True)
class Scenario:
    name: str
    steps: list = field(default_factory=list)


def put(outcome, key, value=1, namespace="n", **more):
    return Step("put", {"namespace": namespace, "key": key, "value": value, **more}, outcome)


def get(outcome, key, namespace="n"):
    return Step("get", {"namespace": namespace, "key": key}, outcome)


def delete(outcome, key, namespace="n", **more):
    return Step("delete", {"namespace": namespace, "key": key, **more}, outcome)


def step(operation, outcome, **arguments):
    return Step(operation, arguments, outcome)


def entry(value, version=1, *, tags=(), metadata=None, ttl=0):
    return {"value": value, "version": version, "tags": list(tags), "metadata": metadata or {}, "ttl": ttl}


def hits(*keys, namespace="n"):
    return [(namespace, key) for key in keys]


VALUES = [
    None, True, False, 0, -1, 2**53 + 1, -(2**63), 2**64 - 1, 1.5, -0.5e-7, "", "text", '\u00e4\U0001f600\n"\\/', "\0",
    [], {}, [[[]]], {"": {"a b": [1, None]}}, {"x": "y" * 5000},
]  # fmt: skip
KEYS = [
    "a",
    "a/b",
    "/",
    "..",
    ".",
    "%2F",
    "\u00e4 ?#&=+",
    "\U0001f600",
    "' OR 1=1 --",
    "k" * 1024,
    "\u00e4" * 512,
    "\n",
]

SCENARIOS = [
    Scenario("an entry is written, read, overwritten, deleted", [
        get(None, "k"),
        put(1, "k", "one"),
        get(entry("one"), "k"),
        put(2, "k", "two", tags=["a", "b"], metadata={"m": [1]}),
        get(entry("two", 2, tags=["a", "b"], metadata={"m": [1]}), "k"),
        put(3, "k", "three"),
        get(entry("three", 3), "k"),
        delete(True, "k"),
        delete(False, "k"),
        get(None, "k"),
    ]),
    Scenario("any JSON value comes back as it was", [
        each for number, value in enumerate(VALUES)
        for each in (put(1, f"k{number}", value), get(entry(value), f"k{number}"))
    ]),
    Scenario("any text may be a key, and a namespace", [
        each for key in KEYS for each in (put(1, key, key), get(entry(key), key))
    ] + [
        each for name in ("a/b", "..", "%2F", "\u00e4 ?", "swarm:x", "n" * 255)
        for each in (put(1, "k", name, namespace=name), get(entry(name), "k", namespace=name))
    ]),
    Scenario("create-only and if-version are decided by what there is", [
        put(conflict(), "k", if_version=1),
        put(1, "k", "a", create_only=True),
        put(conflict(1), "k", "b", create_only=True),
        put(2, "k", "b", if_version=1),
        put(conflict(2), "k", "c", if_version=1),
        get(entry("b", 2), "k"),
        delete(conflict(2), "k", if_version=1),
        delete(True, "k", if_version=2),
        delete(conflict(), "k", if_version=2),
        put(3, "k", "again", create_only=True),
        get(entry("again", 3), "k"),
    ]),
    Scenario("a new entry begins above the versions that are gone", [
        put(1, "a"), put(2, "a"), put(3, "a"), delete(True, "a"), put(4, "b"), put(4, "a"), put(5, "a"),
    ]),
    Scenario("an entry lives as long as its ttl says", [
        put(1, "k", "short", ttl=10),
        get(entry("short", ttl=10), "k"),
        Advance(9.999),
        get(entry("short", ttl=10), "k"),
        Advance(0.001),
        get(None, "k"),
        step("list", [], namespace="n"),
        step("search", [], prefix="k"),
        delete(False, "k"),
        put(2, "k", "anew", create_only=True, ttl=10),
        Advance(5),
        put(3, "k", "for ever"),
        Advance(10**6),
        get(entry("for ever", 3), "k"),
        put(2, "z", ttl=0),
    ]),
    Scenario("several are read at once, in the order in which they are asked for", [
        put(1, "a", 1), put(1, "b", 2), put(1, "a", 3, namespace="m"),
        step("get_many", [2, None, 3, 2], identities=[("n", "b"), ("n", "none"), ("m", "a"), ("n", "b")]),
        step("get_many", [], identities=[]),
    ]),
    Scenario("lists are in the order of the keys' bytes, in pages", [
        *(put(1, key) for key in ("b", "a", "ab", "\u00e4", "Z", "\U0001f600", "a/1", "a/2")),
        put(1, "other", namespace="m"),
        step("list", ["Z", "a", "a/1", "a/2", "ab", "b", "\u00e4", "\U0001f600"], namespace="n"),
        step("list", ["Z", "a", "a/1", "a/2", "ab", "b", "\u00e4", "\U0001f600"], namespace="n", limit=3),
        step("list", ["a", "a/1", "a/2", "ab"], namespace="n", prefix="a", limit=1),
        step("list", ["a/1", "a/2"], namespace="n", prefix="a/"),
        step("list", [], namespace="n", prefix="c"),
        step("list", [], namespace="none"),
    ]),
    Scenario("a prefix or a whole namespace is deleted", [
        *(put(1, key) for key in ("a", "a/1", "a/2", "b")),
        put(1, "a/1", namespace="m"),
        step("delete_range", 2, namespace="n", prefix="a/"),
        step("list", ["a", "b"], namespace="n"),
        step("delete_range", 2, namespace="n", prefix=""),
        step("delete_range", 0, namespace="n", prefix=""),
        step("list", ["a/1"], namespace="m"),
    ]),
    Scenario("searches find by tag, prefix, pattern and metadata", [
        put(1, "task:1", tags=["open", "red"], metadata={"team": "blue", "size": 1}),
        put(1, "task:2", tags=["open"], metadata={"team": "green", "size": 1}),
        put(1, "note:1", tags=["red"], metadata={"team": "blue", "size": True}),
        step("search", hits("note:1", "task:1", "task:2"), prefix=""),
        step("search", hits("note:1", "task:1", "task:2"), namespace="n", limit=1),
        step("search", hits("task:1", "task:2"), tags=["open"]),
        step("search", hits("task:1"), tags=["open", "red"]),
        step("search", hits("note:1", "task:1", "task:2"), any_tags=["open", "red"]),
        step("search", hits("task:1", "task:2"), prefix="task:"),
        step("search", hits("note:1", "task:1"), glob="*:1"),
        step("search", hits("task:2"), glob="t?sk:[!1]"),
        step("search", hits("task:1"), metadata={"team": "blue", "size": 1}),
        step("search", hits("task:1"), prefix="task", tags=["red"], metadata={"team": "blue"}),
        step("search", [], tags=["none"]),
    ]),
    Scenario("searches find what was written with a token", [
        put(1, "k"),
        put(1, "other", tags=["t"]),
        step("search", hits("k", "other"), updated_by="client"),
        step("search", hits("k", "other"), updated_by="client", limit=1),
        step("search", hits("other"), updated_by="client", tags=["t"]),
        step("search", [], updated_by="clien"),
        step("search", invalid("updated_by"), updated_by="n" * 1025),
    ]),
    Scenario("searches find words in keys and values", [
        put(1, "k1", {"title": "The quick brown fox"}),
        put(1, "k2", ["a lazy dog", "and a fox"]),
        put(1, "fox", 7, namespace="m"),
        step("search", hits("k1"), text="quick fox"),
        step("search", hits("k2"), text='"lazy dog"'),
        step("search", hits("k1"), text="bro*"),
        step("search", hits("fox", namespace="m"), text="fox", namespace="m"),
        step("search", [], text="cat"),
        put(2, "k1", "cat"),
        step("search", hits("k1"), text="cat"),
        step("search", [], text="quick"),
        delete(True, "k1"),
        step("search", [], text="cat"),
    ]),
    Scenario("searches look below a namespace, and at what changed since", [
        *(put(1, "k", namespace=name) for name in ("a", "a/b", "a/b/c", "ab")),
        step("search", [("a", "k"), ("a/b", "k"), ("a/b/c", "k")], namespace="a", subtree=True),
        step("search", [("a", "k")], namespace="a"),
        Advance(60),
        put(2, "k", namespace="a/b"),
        step("search", [("a/b", "k")], updated_since=30),
        step("search", [("a/b", "k"), ("ab", "k"), ("a/b/c", "k"), ("a", "k")], updated_since=600),
    ]),
    Scenario("namespaces are those that have entries", [
        step("namespaces", []),
        put(1, "1", namespace="b"), put(1, "2", namespace="b"), put(1, "1", namespace="a"), put(1, "1", namespace="c"),
        step("namespaces", [("a", 1), ("b", 2), ("c", 1)]),
        step("namespaces", [("a", 1), ("b", 2), ("c", 1)], limit=1),
        delete(True, "1", namespace="a"),
        step("namespaces", [("b", 2), ("c", 1)]),
    ]),
    Scenario("a batch is all or nothing", [
        put(1, "a"),
        step("batch", [2, 1, True], operations=[put(2, "a", 5), put(1, "b", 6), delete(True, "b")]),
        step("batch", at(1, conflict(2)), operations=[
            put(None, "c"), put(None, "a", create_only=True), delete(None, "a"),
        ]),
        get(None, "c"),
        get(entry(5, 2), "a"),
        step("batch", at(0, conflict()), operations=[put(None, "none", if_version=1)]),
        step("batch", [], operations=[]),
    ]),
    Scenario("in a batch of independent operations each stands alone", [
        put(1, "a"),
        step("batch", [1, conflict(1), False, 2], atomic=False, operations=[
            put(1, "c"), put(None, "a", create_only=True), delete(False, "none"), put(2, "a", if_version=1),
        ]),
        step("list", ["a", "c"], namespace="n"),
    ]),
    Scenario("a batch's reads see what it wrote", [
        step("batch", [1, "new", None], operations=[put(1, "a", "new"), get("new", "a"), get(None, "none")]),
    ]),
    Scenario("a watch tells of every change after a position", [
        put(1, "a"), put(2, "a"), put(1, "b", namespace="m"), delete(True, "a"), put(3, "x/1"), put(3, "x/2"),
        step("watch", [
            ("put", "n", "a", 1), ("put", "n", "a", 2), ("put", "m", "b", 1), ("delete", "n", "a", 2),
            ("put", "n", "x/1", 3), ("put", "n", "x/2", 3),
        ], since=0, count=6),
        step("watch", [("delete", "n", "a", 2), ("put", "n", "x/1", 3)], since=3, count=2),
        step("watch", [("put", "m", "b", 1)], since=0, namespace="m", count=1),
        step("watch", [("put", "n", "x/1", 3), ("put", "n", "x/2", 3)], since=0, prefix="x/", count=2),
        step("watch", Refusal("gone", 0), since=10**6, count=1),
    ]),
    Scenario("what is not allowed is named, and nothing is done", [
        put(invalid("namespace"), "k", namespace=""),
        put(invalid("namespace"), "k", namespace="n" * 256),
        put(invalid("namespace"), "k", namespace="a\0"),
        put(invalid("key"), ""),
        put(invalid("key"), "k" * 1025),
        put(invalid("key"), "\u00e4" * 513),
        put(invalid("key"), "a\0b"),
        put(invalid("ttl"), "k", ttl=3_153_600_001),
        put(invalid("tags"), "k", tags=[f"t{number}" for number in range(65)]),
        put(invalid("tags[1]"), "k", tags=["ok", ""]),
        put(invalid("tags[0]"), "k", tags=["\u00e4" * 129]),
        put(invalid("metadata"), "k", metadata={"m": "x" * 70_000}),
        get(invalid("key"), "k" * 1025),
        get(invalid("namespace"), "k", namespace="n" * 256),
        delete(invalid("key"), "a\0"),
        step("list", invalid("limit"), namespace="n", limit=1001),
        step("list", invalid("namespace"), namespace="n" * 256),
        step("search", invalid("limit"), limit=1001),
        step("search", invalid("text"), text=" "),
        step("batch", invalid("operations"), operations=[get(None, "k")] * 1001),
        step("list", [], namespace="n"),
        step("namespaces", []),
    ]),
]  # fmt: skip
