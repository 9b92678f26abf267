"""Entries over HTTP: writing, reading, conditions, lists, batches, searches, watches, bodies and names."""

from unit.memory.wire.steps import Crowd, Http, Scenario, Stream, get, post, put

_CURSOR = r'"next_cursor":"([^"]+)"'
_LONG = {"text": "The quick brown fox. " * 1200}
_BATCH = "/v1/batch"


def _search(name, query, **options):
    return get(f"search {name}", f"/v1/search?{query}", **options)


def _batch(name, operations, **members):
    return post(f"batch {name}", _BATCH, {"operations": operations, **members})


def _op(op, key, /, *value, namespace="plan", **members):
    found = {"op": op, "namespace": namespace, "key": key, **members}
    return {**found, "value": value[0]} if value else found


WRITING = [
    put("put creates", "team/a", {"n": 1}),
    put("put overwrites", "team/a", {"n": 2}, tags=["x", "y", "x"], metadata={"by": "ada"}, ttl=3600),
    put("put null", "team/null", None),
    put("put a number", "team/number", 1.5),
    put("put a large whole number", "team/large", 2**64 - 1),
    put("put a small whole number", "team/small", -(2**63)),
    put("put a text", "team/text", 'a "text" with ünïcode, \u2028, / and \\'),
    put("put an emoji", "team/%F0%9F%90%9D", "🐝"),
    put("put a list", "team/list", [1, "two", None, True, {"a": []}]),
    put("put with ttl 0", "team/stays", 0, ttl=0, tags=[], metadata={}),
    put("put with the longest ttl", "team/longest", 0, ttl=3_153_600_000),
    put("put a long value", "team/long", _LONG, tags=["long"]),
    Http(
        "put blanks and escapes",
        "PUT",
        "/v1/entries/team/blanks",
        b'{ "value" : { "b" : 1.0 , "a" : "\\u00e9\\u0041\\n" , "e": 1e3 } , "ttl" : null }',
    ),
    put("put a namespace with a slash", "team%2Fnotes/today", "well"),
    put("put a key with slashes", "team/a/b/c", "deep"),
    put("put percent-encoded names", "t%C3%A9am/k%20%25%2F%3F%23", 1),
    put("put plus is a plus", "team/a+b", 1),
    Http(
        "put chunked",
        "PUT",
        "/v1/entries/team/chunked",
        b'b\r\n{"value": 1\r\n1\r\n}\r\n0\r\n\r\n',
        headers=("Transfer-Encoding: chunked",),
    ),
    put("put only if there is none, and there is", "team/a", 3, headers=["If-None-Match: *"]),
    put("put only if there is none", "team/new", 1, headers=["If-None-Match: *"]),
    put("put the version that it has", "team/a", {"n": 3}, headers=['If-Match: "2"']),
    put("put a version that it does not have", "team/a", {"n": 4}, headers=['If-Match: "2"']),
    put("put a version of nothing", "team/nothing", 1, headers=['If-Match: "2"']),
    put("put with a weak tag", "team/a", 1, headers=['If-Match: W/"3"']),
    put("put with two tags", "team/a", 1, headers=['If-Match: "1", "2"']),
    put("put if-match star", "team/nothing", 1, headers=["If-Match: *"]),
    put("put if-none-match with a tag", "team/a", 1, headers=['If-None-Match: "3"']),
    put("put with both conditions", "team/a", 1, headers=['If-Match: "3"', "If-None-Match: *"]),
    put("put if-match too large", "team/a", 1, headers=['If-Match: "9223372036854775808"']),
]
REFUSED = [
    Http("put without a body", "PUT", "/v1/entries/team/a"),
    Http("put an empty body", "PUT", "/v1/entries/team/a", b""),
    *(
        Http(f"put {name}", "PUT", "/v1/entries/team/a", body)
        for name, body in {
            "no JSON": b"{",
            "a list in place of an object": b"[1]",
            "no value": b"{}",
            "an unknown member": b'{"value":1,"tag":[]}',
            "a member twice": b'{"value":1,"value":2}',
            "a member of the value twice": b'{"value":{"a":1,"a":2}}',
            "NaN": b'{"value":NaN}',
            "infinity": b'{"value":1e999}',
            "a whole number out of range": b'{"value":18446744073709551616}',
            "no UTF-8": b'{"value":"\xff"}',
            "a lone surrogate": b'{"value":"\\ud800"}',
            "too many levels": b'{"value":' + b"[" * 65 + b"]" * 65 + b"}",
            "as many levels as there may be": b'{"value":' + b"[" * 64 + b"]" * 64 + b"}",
            "a byte order mark": b'\xef\xbb\xbf{"value":1}',
            "tags of numbers": b'{"value":1,"tags":[1]}',
            "tags that are no list": b'{"value":1,"tags":"a"}',
            "an empty tag": b'{"value":1,"tags":[""]}',
            "too many tags": b'{"value":1,"tags":[' + b",".join(b'"%d"' % n for n in range(65)) + b"]}",
            "a long tag": b'{"value":1,"tags":["' + b"t" * 257 + b'"]}',
            "a tag with NUL": b'{"value":1,"tags":["\\u0000"]}',
            "metadata that is a list": b'{"value":1,"metadata":[]}',
            "large metadata": b'{"value":1,"metadata":{"a":"' + b"m" * 65536 + b'"}}',
            "a ttl of text": b'{"value":1,"ttl":"soon"}',
            "a negative ttl": b'{"value":1,"ttl":-1}',
            "a broken ttl": b'{"value":1,"ttl":1.5}',
            "a ttl of true": b'{"value":1,"ttl":true}',
            "a ttl that is too long": b'{"value":1,"ttl":3153600001}',
        }.items()
    ),
    put("put a query", "team/a?x=1", 1),
    put("put an empty namespace", "/a", 1),
    put("put an empty key", "team/", 1),
    put("put no key", "team", 1),
    put("put a long namespace", "n" * 256 + "/a", 1),
    put("put the longest namespace", "n" * 255 + "/a", 1),
    put("put a long key", "team/" + "k" * 1025, 1),
    put("put a key with NUL", "team/%00", 1),
    put("put a bad escape", "team/%zz", 1),
    put("put a cut escape", "team/%f", 1),
    put("put a name that is no UTF-8", "team/%ff", 1),
    put("put a compressed body", "team/a", 1, headers=["Content-Encoding: gzip"]),
    put("put identity", "team/identity", 1, headers=["Content-Encoding: identity"]),
    Http(
        "put a body that is announced as too large", "PUT", "/v1/entries/team/a", headers=("Content-Length: 100000000",)
    ),
    Http("put a body that is too large", "PUT", "/v1/entries/team/a", b'{"value":"' + b"x" * 16_777_300 + b'"}'),
]
READING = [
    get("get", "/v1/entries/team/a"),
    get("get its tag", "/v1/entries/team/a", 'If-None-Match: "5"'),
    get("get its weak tag among others", "/v1/entries/team/a", 'If-None-Match: "1", W/"5"'),
    get("get another tag", "/v1/entries/team/a", 'If-None-Match: "2"'),
    get("get any tag", "/v1/entries/team/a", "If-None-Match: *"),
    get("get a version that it does not have", "/v1/entries/team/a", 'If-Match: "2"'),
    get("get nothing", "/v1/entries/team/none"),
    get("get a namespace with a slash", "/v1/entries/team%2Fnotes/today"),
    get("get the slash in another case", "/v1/entries/team%2fnotes/today"),
    get("get a key with slashes", "/v1/entries/team/a/b/c"),
    get("get percent-encoded names", "/v1/entries/t%C3%A9am/k%20%25%2F%3F%23"),
    get("get an emoji", "/v1/entries/team/%F0%9F%90%9D"),
    get("get an escaped letter", "/v1/entries/%74eam/%61"),
    get("get a long value", "/v1/entries/team/long"),
    get("get blanks and escapes", "/v1/entries/team/blanks"),
    *(get(f"get {key}", f"/v1/entries/team/{key}") for key in ("null", "number", "large", "small", "text", "list")),
    get("get stays", "/v1/entries/team/stays"),
    get("get with a query", "/v1/entries/team/a?x=1"),
    get("get a bad escape", "/v1/entries/team/%zz"),
    get("get with a request id", "/v1/entries/team/a", "X-Request-Id: my.request:1"),
    get("get nothing with a request id", "/v1/entries/team/none", "X-Request-Id: my.request:2"),
    get(
        "get with a trace", "/v1/entries/team/a", "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    ),
    get("get with a bad request id", "/v1/entries/team/none", "X-Request-Id: no blanks"),
    get("get with a bad trace", "/v1/entries/team/none", "traceparent: 00-0-0-0"),
    *(Http(f"{method} an entry", method, "/v1/entries/team/a") for method in ("HEAD", "POST", "PATCH", "OPTIONS")),
    Http("delete a version that it does not have", "DELETE", "/v1/entries/team/a", headers=('If-Match: "9"',)),
    Http("delete with a bad tag", "DELETE", "/v1/entries/team/a", headers=("If-Match: 3",)),
    Http("delete the version that it has", "DELETE", "/v1/entries/team/a", headers=('If-Match: "5"',)),
    Http("delete nothing", "DELETE", "/v1/entries/team/a"),
    Http("delete a version of nothing", "DELETE", "/v1/entries/team/a", headers=('If-Match: "3"',)),
    Http("delete", "DELETE", "/v1/entries/team/null"),
    put("put anew after a delete", "team/a", "anew"),
]
LISTS = [
    *(put(f"put page {n}", f"pages/p:{n}", {"n": n}, tags=[f"t{n % 2}", "all"], metadata={"n": n}) for n in range(5)),
    get("list", "/v1/entries?namespace=pages"),
    get("list: read one of them", "/v1/entries/pages/p:3"),
    get("list shows when it was read", "/v1/entries?namespace=pages"),
    get("list a page", "/v1/entries?namespace=pages&prefix=p%3A&limit=2", keep={"cursor": _CURSOR}),
    get(
        "list the next page",
        "/v1/entries?namespace=pages&prefix=p%3A&limit=2&cursor=<<cursor>>",
        keep={"last": _CURSOR},
    ),
    get("list the last page", "/v1/entries?namespace=pages&prefix=p%3A&limit=2&cursor=<<last>>"),
    get("list with a cursor of another prefix", "/v1/entries?namespace=pages&prefix=x&cursor=<<cursor>>"),
    get("list nothing", "/v1/entries?namespace=none"),
    get("list without a namespace", "/v1/entries"),
    get("list an empty namespace", "/v1/entries?namespace="),
    get("list with a bad cursor", "/v1/entries?namespace=pages&cursor=%21"),
    get("list twice the same parameter", "/v1/entries?namespace=pages&namespace=pages"),
    get("list an unknown parameter", "/v1/entries?namespace=pages&order=key"),
    *(get(f"list limit {n}", f"/v1/entries?namespace=pages&limit={n}") for n in ("0", "1001", "-1", "x", "")),
    get("list plus is a blank", "/v1/entries?namespace=pa+ges"),
    get("namespaces", "/v1/namespaces"),
    get("namespaces a page", "/v1/namespaces?limit=1", keep={"cursor": _CURSOR}),
    get("namespaces the next page", "/v1/namespaces?limit=1&cursor=<<cursor>>"),
    get("namespaces with a bad cursor", "/v1/namespaces?cursor=_"),
    get("namespaces limit 0", "/v1/namespaces?limit=0"),
    put("put for delete-range", "range/x:1", 1),
    put("put more for delete-range", "range/y:1", 1),
    Http("delete-range", "DELETE", "/v1/entries?namespace=range&prefix=x%3A"),
    Http("delete-range of all", "DELETE", "/v1/entries?namespace=range&prefix="),
    Http("delete-range of nothing", "DELETE", "/v1/entries?namespace=range&prefix="),
    Http("delete-range without a prefix", "DELETE", "/v1/entries?namespace=range"),
    Http("delete-range without a namespace", "DELETE", "/v1/entries?prefix="),
]
BATCHES = [
    _batch(
        "of all kinds",
        [
            _op("put", "step:1", {"do": "read"}, tags=["plan"], metadata={"a": 1}, create_only=True),
            _op("put", "step:2", {"do": "write"}, ttl=3600),
            _op("delete", "draft"),
            _op("get", "step:1"),
            _op("get", "none"),
            _op("put", "step:1", 2),
            _op("delete", "step:2"),
        ],
    ),
    _batch(
        "with a condition that fails",
        [_op("put", "step:3", 3), _op("get", "step:1"), _op("put", "step:1", 3, create_only=True)],
    ),
    _batch("nothing of it was done", [_op("get", "step:3")]),
    _batch(
        "not atomic",
        [
            _op("put", "step:3", 3),
            _op("put", "step:1", 3, create_only=True),
            _op("delete", "step:1", if_version=9),
            _op("put", "step:1", 4, if_version=2),
            _op("delete", "step:9", if_version=1),
            _op("get", "step:1"),
        ],
        atomic=False,
    ),
    _batch("with a delete that fails", [_op("delete", "step:1", if_version=1)]),
    _batch("empty", []),
    _batch("with null conditions", [_op("put", "step:1", 5, if_version=None)]),
    _batch("with an unknown operation", [_op("post", "a")]),
    _batch("with no object", [1]),
    _batch("with an unknown member", [_op("get", "a", value=1)]),
    _batch("without a value", [_op("put", "a")]),
    _batch("without a key", [{"op": "get", "namespace": "n"}]),
    _batch("with a long key", [_op("get", "a"), _op("get", "k" * 1025)]),
    _batch("with a bad version", [_op("delete", "a", if_version=0)]),
    _batch("with both conditions", [_op("put", "a", 1, if_version=1, create_only=True)]),
    _batch("with a bad create_only", [_op("put", "a", 1, create_only=1)]),
    _batch("with a bad ttl", [_op("put", "a", 1, ttl="x")]),
    _batch("with too many operations", [_op("get", "a")] * 1001),
    post("batch with a bad atomic", _BATCH, {"operations": [], "atomic": 1}),
    post("batch with an unknown member of all", _BATCH, {"operations": [], "x": 1}),
    post("batch without operations", _BATCH, {}),
    post("batch that is a list", _BATCH, []),
    Http("batch that is no JSON", "POST", _BATCH, b"{"),
    Http("batch compressed", "POST", _BATCH, b"{}", headers=("Content-Encoding: br",)),
    Http("batch without a body", "POST", _BATCH),
]
SEARCHES = [
    put(
        "put to find 1",
        "find%2Fnotes/note:1",
        {"text": "The queue was stuck again"},
        tags=["note", "queue"],
        metadata={"by": "ada", "n": 1},
    ),
    put(
        "put to find 2",
        "find%2Fnotes/note:2",
        {"text": "All well"},
        tags=["note"],
        metadata={"by": "bob", "n": 1.0, "b": True},
    ),
    put("put to find 3", "find/note:3", {"text": "Queues, queueing and Zürich: stuck, stuck, stuck"}, tags=["note"]),
    put("put to find 4", "find/queue", "nothing of it"),
    put("put to find 5", "findother/note:5", ["queue"], tags=["queue"]),
    _search("everything", ""),
    _search("a namespace", "namespace=find"),
    _search("a subtree", "namespace=find&subtree=true"),
    _search("a prefix", "namespace=find&subtree=true&prefix=note"),
    _search("a glob", "namespace=find&subtree=true&glob=note%3A%5B12%5D"),
    _search("a glob without a prefix", "glob=*%3A3&namespace=find"),
    _search("a tag", "tag=note"),
    _search("two tags", "tag=note&tag=queue"),
    _search("any tag", "any_tag=queue&any_tag=long&values=false"),
    _search("metadata", "metadata=%7B%22n%22%3A1%7D"),
    _search("metadata of two", "metadata=%7B%22n%22%3A1%2C%22by%22%3A%22ada%22%7D"),
    _search("metadata true", "metadata=%7B%22b%22%3Atrue%7D"),
    _search("words", "text=stuck"),
    _search("words and a start", "namespace=find&subtree=true&tag=note&text=stuck+que*"),
    _search("words in quotes", "text=%22was+stuck%22"),
    _search("words with accents", "text=zurich"),
    _search("words in keys", "text=queue&values=false"),
    _search("words that are nowhere", "text=nowhere"),
    _search("words with a star behind a letter", "text=Is+a*+stuck%3F"),
    _search("many words", "text=" + "+".join(f"w{n}" for n in range(33))),
    _search("an expression", "match=stuck+NOT+queues"),
    _search("an expression of a column", "match=key%3Anote+AND+stuck"),
    _search("a page of words", "text=queue&limit=1", keep={"cursor": _CURSOR}),
    _search("the next page of words", "text=queue&limit=1&cursor=<<cursor>>"),
    _search("a page of keys", "namespace=find&subtree=true&limit=2", keep={"cursor": _CURSOR}),
    _search("the next page of keys", "namespace=find&subtree=true&limit=2&cursor=<<cursor>>"),
    _search("a cursor of another query", "namespace=find&limit=2&cursor=<<cursor>>"),
    _search("the last updated of one", "namespace=find&order=updated&limit=1", keep={"updated": _CURSOR}),
    _search("the next updated of one", "namespace=find&order=updated&limit=1&cursor=<<updated>>"),
    _search("updated since", "namespace=findother&updated_since=2020-01-31T12:00:00Z"),
    _search("updated since with a zone", "namespace=findother&updated_since=2020-01-31T12:00:00%2B02:00&order=key"),
    _search("updated since the future", "updated_since=9999-01-01T00:00:00Z"),
    *(
        _search(f"refused {name}", query)
        for name, query in {
            "subtree alone": "subtree=true",
            "a bad switch": "namespace=find&subtree=yes",
            "values": "values=1",
            "order": "order=size",
            "rank without words": "order=rank",
            "key with words": "text=a&order=key",
            "both": "text=a&match=b",
            "an empty text": "text=",
            "a text of signs": "text=%21",
            "a short start": "match=a*",
            "a bad expression": "match=%22",
            "an expression of no column": "match=nowhere%3Aa",
            "a time without a zone": "updated_since=2020-01-31T12:00:00",
            "a time that is none": "updated_since=now",
            "metadata that is no JSON": "metadata=%7B",
            "metadata that is a list": "metadata=%5B%5D",
            "an empty tag": "tag=",
            "many tags": "&".join(f"tag=a{n}" for n in range(17)),
            "many any_tags": "&".join(f"any_tag=a{n}" for n in range(17)),
            "stars": "glob=" + "*a" * 9,
            "an empty glob": "glob=",
            "limit 0": "limit=0",
            "limit 1001": "limit=1001",
            "a bad cursor": "cursor=abc",
            "an unknown parameter": "q=a",
            "an empty namespace": "namespace=",
        }.items()
    ),
]
_EAST, _NORTH = [1, 0, 0], [0, 1, 0]
_NORTH_IN_BASE64 = "AAAAAAAAgD8AAAAA"


def _post(name, **members):
    return post(f"search by body {name}", "/v1/search", members)


VECTORS = [
    put("put a vector", "mind/east", {"text": "The sun rises"}, vector=_EAST),
    put("put a vector in base64", "mind/north", "No sun at all", vector=_NORTH_IN_BASE64),
    put("put no vector", "mind/plain", "The sun, in plain words", vector=None),
    _batch("puts vectors", [_op("put", "far", "A far place", namespace="mind", vector=[-1, 0.5, 0.25])]),
    *(
        put(f"put refused {name}", "mind/bad", 1, vector=vector)
        for name, vector in {
            "another width": [1, 2],
            "an empty vector": [],
            "a vector of zeros": [0, 0, 0],
            "a vector of texts": ["1", "2", "3"],
            "a number that is too large": [1e39, 0, 0],
            "a vector that is too wide": [1] * 4097,
            "bad base64": "AAAA!",
            "base64 of half a number": "AAAA",
            "base64 of NaN": "AADAfwAAAAAAAAAA",
        }.items()
    ),
    _batch("refused a vector", [_op("put", "a", 1, namespace="mind", vector=[]), _op("put", "b", 1)]),
    _post("everything of a namespace", namespace="mind"),
    _post("by meaning", namespace="mind", vector=_EAST),
    _post("by meaning in base64", vector=_NORTH_IN_BASE64, mode="meaning", limit=1, values=False),
    _post("by meaning and words", namespace="mind", vector=_EAST, text="sun"),
    _post("by words", namespace="mind", text="sun?", mode="words", tag=[], metadata={}),
    _search("words of a question", "namespace=mind&mode=words&text=%22The+sun%22,+does+it+rise%3F+(no+-+yes!)"),
    *(
        _post(f"refused {name}", **members)
        for name, members in {
            "a bad mode": {"text": "sun", "mode": "magic"},
            "words with a vector": {"text": "sun", "mode": "words", "vector": _EAST},
            "meaning of a text without an embedder": {"text": "sun", "mode": "meaning"},
            "hybrid of a text without an embedder": {"text": "sun", "mode": "hybrid"},
            "meaning of nothing": {"mode": "meaning"},
            "keys in order of a vector": {"vector": _EAST, "order": "key"},
            "an empty vector": {"vector": []},
            "a bad namespace": {"namespace": 7},
            "a bad switch": {"subtree": "yes"},
            "tags that are no list": {"tag": "note"},
            "a limit of text": {"limit": "7"},
            "an unknown member": {"vectors": _EAST},
        }.items()
    ),
    Http("search by body that is no JSON", "POST", "/v1/search", b"{"),
    Http("search by body that is too large", "POST", "/v1/search", b'{"text":"' + b"x" * 262_144 + b'"}'),
]
DUPLICATES = [
    put("put checked without a twin", "facts/1", "Paris is the capital", vector=[0.9, 0.1, 0], on_duplicate="refuse"),
    put("put refuses a twin", "facts/2", "The capital is Paris", vector=[0.9, 0.2, 0], on_duplicate="refuse"),
    put("put links a twin", "facts/2", "The capital is Paris", vector=[0.9, 0.2, 0], on_duplicate="link"),
    get("get a link", "/v1/entries/facts/2"),
    put("put keeps a twin", "facts/3", "Paris", vector=[0.9, 0.2, 0], on_duplicate="keep"),
    put("put below the threshold", "facts/4", 4, vector=[0, 1, 0], on_duplicate="refuse", threshold=1),
    put(
        "put again is no twin",
        "facts/4",
        4,
        headers=["If-Match: *"],
        vector=[0, 1, 0],
        on_duplicate="refuse",
        threshold=1,
    ),
    *(
        put(f"put refused {name}", "facts/5", 1, **{"vector": [1, 0, 0], "on_duplicate": "link", **members})
        for name, members in {
            "an unknown rule": {"on_duplicate": "drop"},
            "a threshold of zero": {"threshold": 0},
            "a threshold of text": {"threshold": "0.9"},
            "a threshold of keep": {"threshold": 0.9, "on_duplicate": "keep"},
            "a rule without a vector": {"vector": None},
        }.items()
    ),
    _batch(
        "checks each",
        [
            _op("put", "6", 1, namespace="facts", vector=[0, 0, 1], on_duplicate="refuse"),
            _op("put", "7", 1, namespace="facts", vector=[0, 0, 2], on_duplicate="link", threshold=0.99),
            _op("put", "8", 1, namespace="facts", vector=[0, 0, 3], on_duplicate="refuse"),
        ],
        atomic=False,
    ),
    _batch("refuses a twin", [_op("put", "8", 1, namespace="facts", vector=[0, 0, 3], on_duplicate="refuse")]),
    _batch("refused a threshold", [_op("put", "8", 1, namespace="facts", on_duplicate="refuse", threshold=2)]),
]
_WATCH = "/v1/watch"
WATCHES = [
    Stream(get("watch from the start of a namespace", f"{_WATCH}?namespace=plan&since=0"), first=7),
    Stream(get("watch with a prefix", f"{_WATCH}?namespace=team&prefix=nu&since=0"), first=4),
    Stream(get("watch with the header", f"{_WATCH}?namespace=team&since=99999", "Last-Event-ID: 3"), first=2),
    Stream(
        get("watch now", f"{_WATCH}?namespace=live"),
        meanwhile=(
            put("watch: a put", "live/a", 1),
            put("watch: elsewhere", "dead/a", 1),
            put("watch: another put", "live/a", 2),
            Http("watch: a delete", "DELETE", "/v1/entries/live/a"),
            _batch("watched", [_op("put", "b", 1, namespace="live"), _op("put", "c", 1, namespace="live")]),
            Http("watch: a range", "DELETE", "/v1/entries?namespace=live&prefix="),
        ),
        events=7,
    ),
    Stream(get("watch everything", f"{_WATCH}"), meanwhile=(put("watch: any", "any/a", 1),), events=1),
    get("watch from the future", f"{_WATCH}?since=99999"),
    get("watch since a text", f"{_WATCH}?since=x"),
    get("watch since a large number", f"{_WATCH}?since=9223372036854775808"),
    get("watch since twenty digits", f"{_WATCH}?since=10000000000000000000"),
    get("watch with a bad header", _WATCH, "Last-Event-ID: x"),
    get("watch an empty namespace", f"{_WATCH}?namespace="),
    get("watch an unknown parameter", f"{_WATCH}?key=a"),
]
MANY = [Crowd(get("", _WATCH), 100, (get("watch too many", _WATCH),))]
TTL = [
    Stream(
        get("watch what expires", f"{_WATCH}?namespace=short"),
        meanwhile=(put("put for a second", "short/a", 1, ttl=1),),
        first=1,
        events=2,
    ),
    get("get what has expired", "/v1/entries/short/a"),
    put("put anew what has expired", "short/a", 1),
]
SCENARIO = Scenario(
    "http_entries",
    [*WRITING, *REFUSED, *READING, *LISTS, *BATCHES, *SEARCHES, *WATCHES, *TTL, *MANY, *VECTORS, *DUPLICATES],
    ("--gc-interval", "1s"),
)
