"""Each operation of HTTP without a token, with wrong and limited ones; each path with the methods that it lacks."""

from unit.memory.wire.steps import ADMIN, CLIENT, READER, SWARM, TEAM, TEAM_READER, Http, Scenario, get, put

_CURSOR = r'"next_cursor":"([^"]+)"'
_ENTRY = {"value": 1}
_AGENT = {"agent": "a"}
OPERATIONS = [
    ("GET", "/v1/entries/other/a", None),
    ("PUT", "/v1/entries/other/a", _ENTRY),
    ("DELETE", "/v1/entries/other/a", None),
    ("GET", "/v1/entries?namespace=other", None),
    ("DELETE", "/v1/entries?namespace=other&prefix=", None),
    ("GET", "/v1/search?namespace=other", None),
    ("POST", "/v1/search", {"namespace": "other"}),
    ("GET", "/v1/watch?namespace=other&since=99", None),
    ("GET", "/v1/namespaces", None),
    ("GET", "/v1/stats", None),
    ("GET", "/v1/swarm", None),
    ("GET", "/v1/export?namespace=other", None),
    ("POST", "/v1/import", ""),
    ("POST", "/v1/batch", {"operations": [{"op": "get", "namespace": "other", "key": "a"}]}),
    ("GET", "/v1/agents", None),
    ("GET", "/v1/agents/none", None),
    ("PUT", "/v1/agents/made", {"type": "coder"}),
    ("DELETE", "/v1/agents/none", None),
    ("POST", "/v1/agents/none/heartbeat", {}),
    ("GET", "/v1/tasks", None),
    ("GET", "/v1/scale/made", None),
    ("POST", "/v1/tasks", {"id": "made"}),
    ("POST", "/v1/tasks/claim", _AGENT),
    ("GET", "/v1/tasks/none", None),
    ("PATCH", "/v1/tasks/none", {}),
    ("DELETE", "/v1/tasks/none", None),
    ("POST", "/v1/tasks/none/assign", {"agents": []}),
    ("POST", "/v1/tasks/none/claim", _AGENT),
    ("POST", "/v1/tasks/none/release", _AGENT),
    ("POST", "/v1/tasks/none/renew", _AGENT),
    ("POST", "/v1/tasks/none/status", {"status": "failed"}),
    ("GET", "/v1/patterns", None),
    ("GET", "/v1/patterns/none", None),
    ("PUT", "/v1/patterns/made", {"type": "x"}),
    ("DELETE", "/v1/patterns/none", None),
    ("POST", "/v1/patterns/none/uses", {"success": True}),
    ("GET", "/v1/best-patterns", None),
    ("GET", "/v1/consensus", None),
    ("POST", "/v1/consensus", {"id": "made"}),
    ("GET", "/v1/consensus/none", None),
    ("DELETE", "/v1/consensus/none", None),
    ("POST", "/v1/consensus/none/close", None),
    ("POST", "/v1/consensus/none/votes", {"agent": "a", "choice": "approve"}),
    ("GET", "/v1/communications", None),
    ("POST", "/v1/communications", {"fromAgent": "a", "message": 1}),
    ("GET", "/v1/coordination/none", None),
    ("PUT", "/v1/coordination/made", "1"),
    ("DELETE", "/v1/coordination/none", None),
    ("GET", "/v1/metrics", None),
    ("GET", "/v1/metrics/none", None),
    ("PUT", "/v1/metrics/made", {"type": "x"}),
    ("POST", "/admin/gc?x=1", None),
    ("POST", "/admin/cleanup?x=1", None),
    ("GET", "/admin/backup?x=1", None),
]
"""Each with what it is asked."""
_HOLDERS = {
    "no token": None,
    "a wrong token": "wrong-0123456789abcdef",
    "reader": READER,
    "team": TEAM,
    "team-reader": TEAM_READER,
    "swarm": SWARM,
    "admin": ADMIN,
}
_HARMLESS = {("PUT", "/v1/entries/other/a"), ("DELETE", "/v1/entries?namespace=other&prefix=")}
_PATHS = sorted({target.partition("?")[0] for _, target, _ in OPERATIONS})
_METHODS = ("GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE")
_TAKEN = {(method, target.partition("?")[0]) for method, target, _ in OPERATIONS}

MATRIX = [
    Http(f"{method} {target} with {holder}", method, target, body, token)
    for method, target, body in OPERATIONS
    for holder, token in _HOLDERS.items()
]
METHODS = [
    Http(f"{method} {path} where there is no such operation", method, path)
    for path in _PATHS
    for method in _METHODS
    if (method, path) not in _TAKEN
]
PARAMETERS = [
    Http(f"{method} {target} with an unknown parameter", method, f"{target}{'&' if '?' in target else '?'}zzz=1", body)
    for method, target, body in OPERATIONS
    if "x=1" not in target and (method, target) not in _HARMLESS
]
BODIES = [
    Http(f"{method} {target} {name}", method, target, None, CLIENT, (header,))
    for method, target, _ in OPERATIONS
    if method in {"PUT", "POST", "PATCH"} and "/admin" not in target
    for name, header in {
        "with a body that is too large": "Content-Length: 100000000",
        "with a compressed body": "Content-Encoding: gzip",
    }.items()
    if target != "/v1/import" or "gzip" in header
]
HEADERS = [
    Http(f"authorization {value!r}", "GET", "/v1/stats", token=None, headers=(f"Authorization: {value}",))
    for value in (
        "",
        "Bearer",
        "Bearer ",
        f"bearer {CLIENT}",
        f"Basic {CLIENT}",
        f"Bearer  {CLIENT}",
        CLIENT,
        f"Bearer {CLIENT} x",
    )
]
LIMITED = [
    put("admin writes", "team/a", 1, token=ADMIN),
    put("admin writes below", "team%2Fnotes/a", "words of the team", token=ADMIN),
    put("admin writes beside", "teammates/a", "words of others", token=ADMIN),
    put("admin writes a plan", "plan/a", "words of the plan", token=ADMIN),
    put("team writes", "team/b", 2, token=TEAM),
    put("team writes below", "team%2Fnotes/b", 2, token=TEAM),
    put("team writes beside", "teammates/b", 2, token=TEAM),
    put("reader writes", "team/b", 3, token=READER),
    put("team-reader writes", "team/b", 3, token=TEAM_READER),
    get("team reads", "/v1/entries/team/a", token=TEAM),
    get("team reads an escaped name", "/v1/entries/%74eam/a", token=TEAM),
    get("team reads beside", "/v1/entries/teammates/a", token=TEAM),
    get("team-reader reads the plan", "/v1/entries/plan/a", token=TEAM_READER),
    get("team lists", "/v1/entries?namespace=team", token=TEAM),
    get("team searches", "/v1/search", token=TEAM),
    get("team searches words", "/v1/search?text=words", token=TEAM),
    get("team-reader searches", "/v1/search?values=false", token=TEAM_READER),
    get("team-reader searches a page", "/v1/search?limit=1", token=TEAM_READER, keep={"cursor": _CURSOR}),
    get("team-reader searches the next page", "/v1/search?limit=1&cursor=<<cursor>>", token=TEAM_READER),
    get("team takes another's cursor", "/v1/search?limit=1&cursor=<<cursor>>", token=TEAM),
    get("team searches a subtree", "/v1/search?namespace=team&subtree=true", token=TEAM),
    Http("team searches with a body", "POST", "/v1/search", {"prefix": "a", "values": False}, TEAM),
    get("team namespaces", "/v1/namespaces", token=TEAM),
    get("team-reader namespaces", "/v1/namespaces?limit=1", token=TEAM_READER),
    get("team watches everything since", "/v1/watch?since=99", token=TEAM),
    Http("team batch with another's", "POST", "/v1/batch", {"operations": [
        {"op": "put", "namespace": "team", "key": "c", "value": 1},
        {"op": "put", "namespace": "plan", "key": "c", "value": 1}], "atomic": False}, TEAM),
    Http("team batch", "POST", "/v1/batch", {"operations": [
        {"op": "put", "namespace": "team", "key": "c", "value": 1}]}, TEAM),
    Http("team deletes a range", "DELETE", "/v1/entries?namespace=team&prefix=c", token=TEAM),
    Http("swarm registers an agent", "PUT", "/v1/agents/a", {"type": "coder"}, SWARM),
    Http("swarm creates a task", "POST", "/v1/tasks", {"id": "t"}, SWARM),
    Http("swarm claims a task", "POST", "/v1/tasks/claim", {"agent": "a"}, SWARM),
    Http("team claims a task", "POST", "/v1/tasks/claim", {"agent": "a"}, TEAM),
    Http("reader claims a task", "POST", "/v1/tasks/claim", {"agent": "a"}, READER),
    get("swarm exports", "/v1/export", token=SWARM),
]  # fmt: skip
SCENARIO = Scenario("http_rights", [*LIMITED, *MATRIX, *METHODS, *PARAMETERS, *BODIES, *HEADERS])
