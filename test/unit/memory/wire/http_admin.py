"""Export and import, statistics, collection, tidying, backups, health and the OpenAPI document over HTTP."""

from unit.memory.wire.http_backups import WITHOUT_DESTINATION
from unit.memory.wire.steps import ADMIN, TEAM, Http, Scenario, get, post, put

_HEAD = '{"format":"swarm-memory-export","version":1,"swarmId":"default","exportedAt":"2019-01-01T00:00:00.000Z"}\n'
_LINE = (
    '{"namespace":"in","key":"a","value":{"n":1},"tags":["t"],"metadata":{"m":1},"ttl":0,"expiresAt":null,'
    '"createdAt":"2019-01-01T00:00:00.000Z","updatedAt":"2019-01-01T00:00:00.000Z","version":7}\n'
)
_OTHER = _LINE.replace('"a"', '"b"').replace('{"n":1}', '"b"')
_EXPIRED = _LINE.replace('"a"', '"c"').replace(
    '"ttl":0,"expiresAt":null', '"ttl":1,"expiresAt":"2019-01-01T00:00:01.000Z"'
)
_END = '{"end":true,"entries":%d}\n'
_SEED = (
    '{"agents":[{"id":"s1","type":"coder","status":"idle"}],"tasks":[{"id":"t1","status":"completed","description":"d"}],'
    '"patterns":[{"id":"p1","type":"x","confidence":0.5,"usageCount":3,"successRate":0.4}]}\n'
)


def _import(name, body, query=""):
    return Http(f"import {name}", "POST", f"/v1/import{query}", body)


HEALTH = [
    *(
        get(f"{path} with {holder}", path, token=token)
        for path in ("/healthz", "/readyz", "/openapi.json")
        for holder, token in (("no token", None),)
    ),
    Http("HEAD healthz", "HEAD", "/healthz", token=None),
    Http("HEAD openapi", "HEAD", "/openapi.json", token=None),
    Http("POST healthz", "POST", "/healthz", token=None),
    get("healthz with a wrong token", "/healthz", token="wrong"),
    get("readyz with a parameter", "/readyz?x=1", token=None),
    get("healthz with a slash", "/healthz/", token=None),
    *(
        get(f"unknown {path}", path)
        for path in ("/", "/v1", "/v1/", "/v2/entries", "/admin", "/v1/entries/", "/metrics", "/v1/stats/")
    ),
    get("unknown without a token", "/v1/unknown", token=None),
    get("unknown with escapes", "/v1/%65ntries?namespace=a"),
]
STATS = [
    put("put for the counts", "team/a", {"n": 1}),
    put("put a long one for the counts", "team/long", "long " * 5000),
    put("put one that is read", "team/read", 1),
    get("read it", "/v1/entries/team/read"),
    get("read none", "/v1/entries/team/none"),
    get("stats", "/v1/stats"),
    get("stats with a parameter", "/v1/stats?x=1"),
    Http("stats head", "HEAD", "/v1/stats"),
    Http("gc", "POST", "/admin/gc", token=ADMIN),
    get("stats after a collection", "/v1/stats", token=ADMIN),
    Http("gc with a parameter", "POST", "/admin/gc?x=1", token=ADMIN),
]
SETTINGS = [
    get("settings", "/admin/settings", token=ADMIN),
    get("settings with a client's token", "/admin/settings"),
    get("settings with no token", "/admin/settings", token=None),
    get("settings with a parameter", "/admin/settings?x=1", token=ADMIN),
    Http("settings changed", "PATCH", "/admin/settings", {"cache_size": 7, "enable_vacuum": False}, ADMIN),
    Http(
        "settings all changed",
        "PATCH",
        "/admin/settings",
        {
            "cache_size": 9,
            "cache_memory_mb": 8,
            "compression_threshold": 7,
            "gc_interval_seconds": 66.5,
            "enable_vacuum": True,
            "search_language": "english",
            "log_level": "warning",
        },
        ADMIN,
    ),
    Http("settings unchanged", "PATCH", "/admin/settings", {}, ADMIN),
    Http("settings refused", "PATCH", "/admin/settings", {"cache_size": 1, "gc_interval_seconds": "5m"}, ADMIN),
    Http("settings unknown", "PATCH", "/admin/settings", {"enable_wal": False}, ADMIN),
    Http("settings changed with a client's token", "PATCH", "/admin/settings", {"cache_size": 7}),
    Http("settings changed with no token", "PATCH", "/admin/settings", {"cache_size": 7}, None),
    Http("settings, too large", "PATCH", "/admin/settings", token=ADMIN, headers=("Content-Length: 100000000",)),
    Http("settings as text", "PATCH", "/admin/settings", b"{}", ADMIN, ("Content-Type: text/html",)),
    Http("settings put", "PUT", "/admin/settings", {"cache_size": 7}, ADMIN),
    get("settings at the end", "/admin/settings", token=ADMIN),
]
TRANSFER = [
    Http("agent for the export", "PUT", "/v1/agents/a1", {"type": "coder"}),
    Http("task for the export", "POST", "/v1/tasks", {"id": "t0"}),
    get("export", "/v1/export"),
    get("export all", "/v1/export?all=true"),
    get("export of namespaces", "/v1/export?namespace=team&namespace=none"),
    get("export of nothing", "/v1/export?namespace=none"),
    get("export refused both", "/v1/export?all=true&namespace=team"),
    get("export refused all", "/v1/export?all=1"),
    get("export refused namespace", "/v1/export?namespace="),
    get("export unknown parameter", "/v1/export?x=1"),
    get("export with a limited token", "/v1/export?namespace=team", token=TEAM),
    get("export all with a limited token", "/v1/export?all=true", token=TEAM),
    get("export of the swarm with a limited token", "/v1/export", token=TEAM),
    get("export of another's with a limited token", "/v1/export?namespace=other", token=TEAM),
    _import("creates", _HEAD + _LINE + _OTHER + _EXPIRED + _END % 3),
    _import("again", _HEAD + _LINE + _OTHER + _EXPIRED + _END % 3),
    _import("without an end", _LINE),
    _import("overwrites", _LINE.replace('"n":1', '"n":2')),
    _import("keeps", _LINE.replace('"n":1', '"n":3'), "?existing=keep"),
    _import("only newer", _LINE.replace('"n":1', '"n":3'), "?existing=newer"),
    _import("newer", _LINE.replace('"n":1', '"n":3').replace("2019", "2999"), "?existing=newer"),
    _import("with a report", _HEAD + _LINE + _OTHER + _EXPIRED + _END % 3, "?report=lines"),
    _import("of the seed", _SEED),
    _import("of nothing", ""),
    _import("without a body", None),
    _import("with empty lines", "\n\n" + _LINE + "\n"),
    _import("no JSON", _LINE + "{\n"),
    _import("no JSON with a report", _LINE + "{\n", "?report=lines"),
    _import("a wrong number at the end", _HEAD + _LINE + _END % 9),
    _import("cut", _HEAD + _LINE),
    _import("more after the end", _HEAD + _LINE + _END % 1 + _LINE),
    _import("of another format", '{"format":"other","version":1}\n'),
    _import("of another version", _HEAD.replace('"version":1', '"version":2')),
    _import("a bad namespace", _LINE.replace('"in"', '""')),
    _import("a bad time", _LINE.replace('"updatedAt":"2019-01-01T00:00:00.000Z"', '"updatedAt":"x"')),
    _import("no value", '{"namespace":"in","key":"a"}\n'),
    _import("an unknown member", '{"namespace":"in","key":"a","value":1,"x":1}\n'),
    _import("a list", "[]\n"),
    _import("a line that is too long", '{"namespace":"in","key":"a","value":"' + "x" * 17_000_000 + '"}'),
    _import("refused existing", _LINE, "?existing=x"),
    _import("refused report", _LINE, "?report=x"),
    _import("unknown parameter", _LINE, "?x=1"),
    Http("import compressed", "POST", "/v1/import", _LINE, headers=("Content-Encoding: gzip",)),
    Http("import of another's with a limited token", "POST", "/v1/import", _LINE, TEAM),
    Http("import with a limited token", "POST", "/v1/import", _LINE.replace('"in"', '"team/in"'), TEAM),
    get("what was imported", "/v1/search?namespace=in"),
    get("agents that were imported", "/v1/agents"),
    get("tasks that were imported", "/v1/tasks"),
    get("patterns that were imported", "/v1/patterns"),
]
CLEANUP = [
    post("task to be old", "/v1/tasks/t0/status", {"status": "completed"}),
    Http("metrics to be old", "PUT", "/v1/metrics/m", {"type": "x"}),
    Http("message to be old", "POST", "/v1/communications", {"fromAgent": "a", "message": 1}),
    post("proposal to be old", "/v1/consensus", {"id": "c"}),
    post("proposal is closed", "/v1/consensus/c/close"),
    post("cleanup of nothing", "/admin/cleanup", token=ADMIN),
    post(
        "cleanup counts", "/admin/cleanup?max_age=0&dry_run=true&keep_patterns=false&keep_consensus=false", token=ADMIN
    ),
    post("cleanup", "/admin/cleanup?max_age=0", token=ADMIN),
    post(
        "cleanup of all",
        "/admin/cleanup?max_age=0e0&keep_patterns=false&keep_consensus=false&dry_run=true",
        token=ADMIN,
    ),
    *(
        post(f"cleanup refused {query}", f"/admin/cleanup?{query}", token=ADMIN)
        for query in ("max_age=-1", "max_age=x", "dry_run=1", "keep_patterns=no", "x=1")
    ),
    post("cleanup with the client's token", "/admin/cleanup"),
    get("swarm after the cleanup", "/v1/swarm"),
]
BACKUP = [
    Http("backup", "GET", "/admin/backup", token=ADMIN, opaque=True),
    get("backup with the client's token", "/admin/backup"),
    get("backup with a parameter", "/admin/backup?x=1", token=ADMIN),
    Http("backup with another method", "POST", "/admin/backup", token=ADMIN),
    Http("backup head", "HEAD", "/admin/backup", token=ADMIN),
]
SCENARIO = Scenario("http_admin", [*HEALTH, *STATS, *TRANSFER, *CLEANUP, *BACKUP, *WITHOUT_DESTINATION, *SETTINGS])
