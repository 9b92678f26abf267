"""Every call of swarm.memory.v1 over gRPC, each refusal that can be had, health and reflection."""

from unit.memory.wire.grpc_calls import REFLECTION
from unit.memory.wire.steps import ADMIN, READER, SWARM, TEAM, TEAM_READER, Grpc, Scenario

_HEALTH = "/grpc.health.v1.Health/"
_TOKEN = r'next_page_token: "([^"]+)"'


def _put(name, key, value="1", more="", namespace="team", **options):
    return Grpc(name, "Put", f"namespace: '{namespace}' key: '{key}' value: '{value}' {more}", **options)


PUTS = [
    _put("put", "a", '{"n":1}'),
    _put("put all", "a", '{ "n" : 2 }', """tags: 'x' tags: 'y' metadata: '{"by":"ada"}' ttl: 3600"""),
    _put("put only if there is none, and there is", "a", more="create_only: true"),
    _put("put only if there is none", "b", more="create_only: true"),
    _put("put not only if there is none", "b", more="create_only: false"),
    _put("put a version", "b", more="if_version: 2"),
    _put("put a version that it does not have", "b", more="if_version: 2"),
    _put("put a version of nothing", "none", more="if_version: 2"),
    _put("put version 0", "b", more="if_version: 0"),
    _put("put a large version", "b", more="if_version: 9223372036854775808"),
    _put("put a unicode key", "ü/🐝", '"🐝"'),
    _put("put no JSON", "a", "{"),
    _put("put no value", "a", ""),
    _put("put NaN", "a", "NaN"),
    _put("put an empty key", ""),
    _put("put an empty namespace", "a", namespace=""),
    _put("put a long key", "k" * 1025),
    _put("put an empty tag", "a", more="tags: ''"),
    _put("put metadata that is a list", "a", more="metadata: '[]'"),
    _put("put a long ttl", "a", more="ttl: 3153600001"),
    _put("put bad bytes", "a", r"\xff"),
]
READS = [
    Grpc("get", "Get", "namespace: 'team' key: 'a'"),
    Grpc("get a unicode key", "Get", "namespace: 'team' key: 'ü/🐝'"),
    Grpc("get nothing", "Get", "namespace: 'team' key: 'none'"),
    Grpc("get an empty key", "Get", "namespace: 'team'"),
    Grpc("get with a request id", "Get", "namespace: 'team' key: 'none'", metadata=(("x-request-id", "mine:1"),)),
    Grpc(
        "get with a trace",
        "Get",
        "namespace: 'team' key: 'none'",
        metadata=(("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),),
    ),
    Grpc("get many", "GetMany", "identities { namespace: 'team' key: 'a' } identities { namespace: 'x' key: 'y' }"),
    Grpc("get many of nothing", "GetMany"),
    Grpc("get many with a bad one", "GetMany", "identities { namespace: 'team' key: 'a' } identities { key: 'y' }"),
    Grpc("get too many", "GetMany", "identities { namespace: 'team' key: 'a' }" * 1001),
    Grpc("bytes that are no message", "Get", b"\xff\xff\xff"),
    Grpc("an unknown method", "Steal"),
    Grpc("an unknown service", "/swarm.memory.v2.Memory/Get"),
]
DELETES = [
    Grpc("delete a version that it does not have", "Delete", "namespace: 'team' key: 'b' if_version: 9"),
    Grpc("delete version 0", "Delete", "namespace: 'team' key: 'b' if_version: 0"),
    Grpc("delete", "Delete", "namespace: 'team' key: 'b' if_version: 3"),
    Grpc("delete nothing", "Delete", "namespace: 'team' key: 'b'"),
    _put("put for a range", "r1", namespace="range"),
    _put("put more for a range", "r2", namespace="range"),
    Grpc("delete range without a prefix", "DeleteRange", "namespace: 'range'"),
    Grpc("delete range", "DeleteRange", "namespace: 'range' prefix: 'r1'"),
    Grpc("delete range of all", "DeleteRange", "namespace: 'range' prefix: ''"),
    Grpc("delete range without a namespace", "DeleteRange", "prefix: ''"),
]
BATCHES = [
    Grpc(
        "batch",
        "Batch",
        """
        operations { put { namespace: 'plan' key: '1' value: '{"do":"read"}' tags: 'plan' create_only: true } }
        operations { put { namespace: 'plan' key: '2' value: '2' ttl: 60 } }
        operations { delete { namespace: 'plan' key: 'none' } }
        operations { get { namespace: 'plan' key: '1' } }
        operations { get { namespace: 'plan' key: 'none' } }
        operations { delete { namespace: 'plan' key: '2' } }""",
    ),
    Grpc(
        "batch with a condition that fails",
        "Batch",
        """
        operations { get { namespace: 'plan' key: '1' } }
        operations { put { namespace: 'plan' key: '3' value: '3' } }
        operations { put { namespace: 'plan' key: '1' value: '3' create_only: true } }""",
    ),
    Grpc(
        "batch independent",
        "Batch",
        """
        operations { put { namespace: 'plan' key: '3' value: '3' } }
        operations { put { namespace: 'plan' key: '1' value: '3' create_only: true } }
        operations { delete { namespace: 'plan' key: '1' if_version: 99 } }
        independent: true""",
    ),
    Grpc("batch empty", "Batch"),
    Grpc("batch with an operation that is none", "Batch", "operations { }"),
    Grpc("batch with a bad key", "Batch", "operations { put { namespace: 'a' value: '1' } }"),
    Grpc("batch with a bad value", "Batch", "operations { put { namespace: 'a' key: 'k' value: '{' } }"),
    Grpc("batch too large", "Batch", "operations { get { namespace: 'a' key: 'k' } }" * 1001),
]
LISTS = [
    *(_put(f"put page {n}", f"p:{n}", f'{{"n":{n}}}', f"tags: 't{n}'", namespace="pages") for n in range(3)),
    Grpc("list", "List", "namespace: 'pages'"),
    Grpc("list a page", "List", "namespace: 'pages' prefix: 'p:' page_size: 2", keep={"page": _TOKEN}),
    Grpc("list the next page", "List", "namespace: 'pages' prefix: 'p:' page_size: 2 page_token: '<<page>>'"),
    Grpc("list with the page of another", "List", "namespace: 'pages' prefix: 'x' page_token: '<<page>>'"),
    Grpc("list with a bad page", "List", "namespace: 'pages' page_token: '!'"),
    Grpc("list too much", "List", "namespace: 'pages' page_size: 1001"),
    Grpc("list nowhere", "List"),
    Grpc("namespaces", "Namespaces"),
    Grpc("namespaces a page", "Namespaces", "page_size: 1", keep={"page": _TOKEN}),
    Grpc("namespaces the next page", "Namespaces", "page_size: 1 page_token: '<<page>>'"),
    Grpc("namespaces with a bad page", "Namespaces", "page_token: '!'"),
    Grpc("stats", "Stats"),
]
SEARCHES = [
    _put(
        "put to find", "note:1", '{"text":"The queue was stuck"}', """tags: 'note' metadata: '{"n":1}'""", "find/notes"
    ),
    _put("put more to find", "note:2", '{"text":"A queue, and a queue"}', "tags: 'note' tags: 'q'", "find"),
    Grpc("search", "Search"),
    Grpc("search a subtree", "Search", "namespace: 'find' subtree: true"),
    Grpc("search words", "Search", "text: 'queue' without_values: true"),
    Grpc("search an expression", "Search", "match: 'queue NOT stuck'"),
    Grpc("search tags", "Search", "tags: 'note' any_tags: 'q' any_tags: 'z'"),
    Grpc("search metadata", "Search", """metadata: '{"n":1}'"""),
    Grpc("search a glob", "Search", "namespace: 'find' glob: 'n*[23]' prefix: 'no'"),
    Grpc("search updated", "Search", "namespace: 'find' updated_since { seconds: 1000 nanos: 5000000 }"),
    Grpc("search ordered", "Search", "namespace: 'find' order: 'key'"),
    Grpc("search a page", "Search", "namespace: 'find' subtree: true page_size: 1", keep={"page": _TOKEN}),
    Grpc("search the next page", "Search", "namespace: 'find' subtree: true page_size: 1 page_token: '<<page>>'"),
    Grpc("search with the page of another", "Search", "namespace: 'find' page_token: '<<page>>'"),
    *(
        Grpc(f"search refused {name}", "Search", request)
        for name, request in {
            "subtree": "subtree: true",
            "order": "order: 'size'",
            "both": "text: 'a' match: 'b'",
            "text": "text: ''",
            "match": "match: '\"'",
            "metadata": "metadata: '[1]'",
            "metadata that is no JSON": "metadata: '{'",
            "time": "updated_since { seconds: -1 }",
            "namespace": "namespace: ''",
            "glob": "glob: ''",
            "size": "page_size: 1001",
        }.items()
    ),
]
WATCHES = [
    Grpc("watch since", "Watch", "namespace: 'plan' since: 0", answers=5),
    Grpc(
        "watch now",
        "Watch",
        "namespace: 'live' prefix: 'a'",
        answers=3,
        meanwhile=(
            _put("watch: a put", "a1", namespace="live"),
            _put("watch: elsewhere", "b1", namespace="live"),
            Grpc("watch: a delete", "Delete", "namespace: 'live' key: 'a1'"),
        ),
    ),
    Grpc("watch from the future", "Watch", "since: 99999"),
    Grpc("watch since a large number", "Watch", "since: 9223372036854775808"),
    Grpc("watch nowhere", "Watch", "namespace: ''"),
    Grpc("watch without a token", "Watch", token=None),
    Grpc("watch of another's", "Watch", "namespace: 'plan'", token=TEAM),
    Grpc("watch with a limited token", "Watch", "since: 0", token=TEAM, answers=3),
]
_CALLS = {
    "Put": "namespace: 'other' key: 'none' value: '1' if_version: 77",
    "Get": "namespace: 'other' key: 'none'",
    "GetMany": "identities { namespace: 'other' key: 'none' }",
    "Delete": "namespace: 'other' key: 'none'",
    "DeleteRange": "namespace: 'other' prefix: ''",
    "Batch": "operations { delete { namespace: 'other' key: 'none' } }",
    "List": "namespace: 'other'",
    "Search": "namespace: 'other'",
    "Namespaces": "",
    "Stats": "",
}
_HOLDERS = {
    "no token": None, "a wrong token": "wrong-0123456789abcdef", "reader": READER, "team": TEAM,
    "team-reader": TEAM_READER, "swarm": SWARM, "admin": ADMIN,
}  # fmt: skip
RIGHTS = [
    Grpc(f"{method} with {holder}", method, request, token)
    for method, request in _CALLS.items()
    for holder, token in _HOLDERS.items()
]
LIMITED = [
    _put("team writes", "t", token=TEAM),
    _put("reader writes", "t", token=READER),
    Grpc("team reads", "Get", "namespace: 'team' key: 't'", token=TEAM),
    Grpc("team searches", "Search", "without_values: true", token=TEAM),
    Grpc(
        "team batch with another's", "Batch", "operations { put { namespace: 'plan' key: 'x' value: '1' } }", token=TEAM
    ),
    Grpc("a token of another kind", "Get", "namespace: 'team' key: 't'", None, (("authorization", "Basic abc"),)),
    Grpc("an unknown method without a token", "Steal", token=None),
]
OTHERS = [
    Grpc("health", f"{_HEALTH}Check", token=None),
    Grpc("health of the service", f"{_HEALTH}Check", "service: 'swarm.memory.v1.Memory'", token=None),
    Grpc("health of another", f"{_HEALTH}Check", "service: 'other'", token=None),
    Grpc("health watch", f"{_HEALTH}Watch", "service: 'swarm.memory.v1.Memory'", token=None, answers=1),
    Grpc("health watch of another", f"{_HEALTH}Watch", "service: 'other'", token=None, answers=1),
    Grpc("reflection services", REFLECTION, "list_services: ''"),
    Grpc("reflection of the service", REFLECTION, "file_containing_symbol: 'swarm.memory.v1.Memory'"),
    Grpc("reflection of a message", REFLECTION, "file_containing_symbol: 'swarm.memory.v1.Entry'"),
    Grpc("reflection of nothing", REFLECTION, "file_containing_symbol: 'nothing'"),
    Grpc("reflection without a token", REFLECTION, "list_services: ''", token=None),
]
_FACT = "namespace: 'facts' value: '1' vector: 0.5 vector: 1"
DUPLICATES = [
    Grpc("put checked without a twin", "Put", f"{_FACT} key: '1' on_duplicate: 'refuse'"),
    Grpc("put refuses a twin", "Put", f"{_FACT} key: '2' on_duplicate: 'refuse' threshold: 1"),
    Grpc("put links a twin", "Put", f"{_FACT} key: '2' on_duplicate: 'link'"),
    Grpc("put with a bad rule", "Put", f"{_FACT} key: '3' on_duplicate: 'drop'"),
    Grpc("put with a bad threshold", "Put", f"{_FACT} key: '3' on_duplicate: 'link' threshold: 2"),
    Grpc(
        "batch refuses and links a twin",
        "Batch",
        f"operations {{ put {{ {_FACT} key: '3' on_duplicate: 'refuse' }} }} "
        f"operations {{ put {{ {_FACT} key: '3' on_duplicate: 'link' }} }} independent: true",
    ),
]
SCENARIO = Scenario(
    "grpc", [*PUTS, *READS, *DELETES, *BATCHES, *LISTS, *SEARCHES, *WATCHES, *LIMITED, *RIGHTS, *OTHERS, *DUPLICATES]
)
