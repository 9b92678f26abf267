"""The Model Context Protocol: both eras, every tool, resources, subscriptions, and what is refused."""

from unit.memory.wire.steps import ADMIN, CLIENT, READER, SWARM, TEAM, TEAM_READER, Http, Scenario, Stream, put

_OLD, _NEW = "2025-06-18", "2026-07-28"
_ACCEPT = "Accept: application/json, text/event-stream"
_TYPE = "Content-Type: application/json"
_SESSION = r"mcp-session-id: (\S+)"
_CURSOR = r'\\"next_cursor\\":\\"([^"\\]+)'
_META = {
    "io.modelcontextprotocol/protocolVersion": _NEW,
    "io.modelcontextprotocol/clientInfo": {"name": "wire", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


def _message(method, params=None, number=1):
    message = {"jsonrpc": "2.0", "id": number, "method": method}
    return message if params is None else {**message, "params": params}


def _hello(version):
    return _message(
        "initialize", {"protocolVersion": version, "capabilities": {}, "clientInfo": {"name": "wire", "version": "1"}}
    )


def _raw(name, body, *headers, token=CLIENT, method="POST", keep=None, query=""):
    return Http(name, method, f"/mcp{query}", body, token, (_TYPE, _ACCEPT, *headers), keep or {})


def _old(name, method, params=None, *, session="session", token=CLIENT, keep=None, query=""):
    """A request in a session."""
    headers = (f"Mcp-Session-Id: <<{session}>>", f"MCP-Protocol-Version: {_OLD}")
    return _raw(name, _message(method, params), *headers, token=token, keep=keep, query=query)


def _new(name, method, params=None, *, token=CLIENT, keep=None):
    """A request that stands alone."""
    params = {**(params or {}), "_meta": _META}
    called = params.get("name") or params.get("uri")
    named = (f"Mcp-Name: {called}",) if called else ()
    return _raw(
        name, _message(method, params), f"MCP-Protocol-Version: {_NEW}", f"Mcp-Method: {method}", *named,
        token=token, keep=keep,
    )  # fmt: skip


def _tool(name, tool, /, *, _keep=None, _admin=False, **arguments):
    """A call of a tool in a session; an argument `from_` is called `from`."""
    arguments = {key.rstrip("_"): value for key, value in arguments.items()}
    who = {"session": "admin", "token": ADMIN} if _admin else {}
    return _old(f"{tool} {name}", "tools/call", {"name": tool, "arguments": arguments}, keep=_keep, **who)


def _alone(name, tool, /, *, _token=CLIENT, **arguments):
    return _new(f"{tool} {name}", "tools/call", {"name": tool, "arguments": arguments}, token=_token)


_NOTIFIED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
BEGINNING = [
    *(
        _raw(f"initialize {version}", _hello(version))
        for version in ("2024-11-05", "2025-03-26", "2025-11-25", _NEW, "1999-01-01")
    ),
    _raw("initialize", _hello(_OLD), keep={"session": _SESSION}),
    _raw("initialize as admin", _hello(_OLD), token=ADMIN, keep={"admin": _SESSION}),
    _raw("initialize as reader", _hello(_OLD), token=READER, keep={"reader": _SESSION}),
    _raw("initialize as team", _hello(_OLD), token=TEAM, keep={"team": _SESSION}),
    _raw("initialized", _NOTIFIED, "Mcp-Session-Id: <<session>>"),
    _raw("initialized as admin", _NOTIFIED, "Mcp-Session-Id: <<admin>>", token=ADMIN),
    _raw("initialized as reader", _NOTIFIED, "Mcp-Session-Id: <<reader>>", token=READER),
    _raw("initialized as team", _NOTIFIED, "Mcp-Session-Id: <<team>>", token=TEAM),
    _raw("initialize without params", _message("initialize")),
    _raw("without a token", _hello(_OLD), token=None),
    _raw("with a wrong token", _hello(_OLD), token="wrong"),
    _raw("of a page", _hello(_OLD), "Origin: https://evil.example"),
    _raw("of a page that may", _hello(_OLD), "Origin: https://ok.example"),
    _raw("of another host", _hello(_OLD), "Host: rebound.example"),
    _raw("compressed", _hello(_OLD), "Content-Encoding: gzip"),
    Http("too large", "POST", "/mcp", headers=(_TYPE, _ACCEPT, "Content-Length: 100000000")),
    Http("without accept", "POST", "/mcp", _hello(_OLD), headers=(_TYPE,)),
    Http("without a type", "POST", "/mcp", _hello(_OLD), headers=(_ACCEPT,)),
    *(_raw(f"method {method}", None, method=method) for method in ("PUT", "PATCH", "HEAD", "OPTIONS")),
    _raw("get without a session", None, method="GET"),
    _raw("delete without a session", None, method="DELETE"),
    *(
        _raw(f"no message {body!r}", body)
        for body in (b"", b"{", b"[]", b"null", b'"x"', b'{"jsonrpc":"2.0"}', b'{"jsonrpc":"2.0","id":1,"method":5}')
    ),
    _raw("without a session", _message("tools/list")),
    _raw("with an unknown session", _message("ping"), "Mcp-Session-Id: none"),
    _raw("with another's session", _message("ping"), "Mcp-Session-Id: <<session>>", token=ADMIN),
    _raw(
        "with an unknown version", _message("ping"), "Mcp-Session-Id: <<session>>", "MCP-Protocol-Version: 1999-01-01"
    ),
    _old("ping", "ping"),
    _old("unknown method", "teleport"),
    _old("prompts", "prompts/list"),
    _old("tools", "tools/list"),
    _old("tools for a reader", "tools/list", session="reader", token=READER),
    _old("tools for an admin", "tools/list", session="admin", token=ADMIN),
    _old("tools of toolsets", "tools/list", query="?toolsets=core,classic"),
    _old("tools of an unknown toolset", "tools/list", query="?toolsets=none"),
    _raw("initialize with an unknown parameter", _hello(_OLD), query="?toolset=core"),
    _old("unknown tool", "tools/call", {"name": "memory_teleport", "arguments": {}}),
    _old("tool without a name", "tools/call", {"arguments": {}}),
    _old("tool with arguments that are a list", "tools/call", {"name": "memory_stats", "arguments": []}),
    _old(
        "completion",
        "completion/complete",
        {"ref": {"type": "ref/resource", "uri": "memory://a"}, "argument": {"name": "a", "value": "b"}},
    ),
    _old("log level", "logging/setLevel", {"level": "debug"}),
    _new("alone: discover", "server/discover"),
    _new("alone: ping", "ping"),
    _new("alone: tools", "tools/list"),
    _new("alone: tools for a reader", "tools/list", token=TEAM_READER),
    _new("alone: unknown method", "teleport"),
    _new("alone: unknown tool", "tools/call", {"name": "memory_teleport", "arguments": {}}),
    _raw("alone: without _meta", _message("tools/list"), f"MCP-Protocol-Version: {_NEW}", "Mcp-Method: tools/list"),
    _raw(
        "alone: with another method in the header",
        _message("tools/list", {"_meta": _META}),
        f"MCP-Protocol-Version: {_NEW}",
        "Mcp-Method: ping",
    ),
    _new("alone: without a token", "tools/list", token=None),
]
_LONG = "0123456789" * 4000
ENTRIES = [
    _tool("stores", "memory_store", key="plan", value={"step": 1}, tags=["plan"], metadata={"by": "ada"}, ttl=3600),
    _tool("overwrites", "memory_store", key="plan", value={"step": 2}),
    _tool("only if there is none, and there is", "memory_store", key="plan", value=1, create_only=True),
    _tool("a version that it does not have", "memory_store", key="plan", value=1, if_version=7),
    _tool("a version", "memory_store", key="plan", value=None, if_version=2),
    _tool(
        "in a namespace",
        "memory_store",
        key="note:1",
        value="The queue was stuck",
        namespace="team/notes",
        tags=["note", "q"],
    ),
    _tool("more", "memory_store", key="note:2", value=["a queue"], namespace="team", metadata={"n": 1}),
    _tool("a long value", "memory_store", key="long", value=_LONG, namespace="team"),
    _tool("long metadata", "memory_store", key="meta", value=1, namespace="meta", metadata={"m": "x" * 9000}),
    _tool("without a value", "memory_store", key="k"),
    _tool("with an unknown argument", "memory_store", key="k", value=1, x=1),
    _tool("with a bad ttl", "memory_store", key="k", value=1, ttl=-1),
    _tool("with both conditions", "memory_store", key="k", value=1, create_only=True, if_version=1),
    _tool("an empty key", "memory_store", key="", value=1),
    _tool("a long key in bytes", "memory_store", key="é" * 600, value=1),
    _tool("gets", "memory_retrieve", key="plan"),
    _tool("gets nothing", "memory_retrieve", key="none"),
    _tool("gets in a namespace", "memory_retrieve", key="note:1", namespace="team/notes"),
    _tool("gets a part", "memory_retrieve", key="long", namespace="team"),
    _tool("gets the next part", "memory_retrieve", key="long", namespace="team", offset=39990),
    _tool("gets beyond the end", "memory_retrieve", key="long", namespace="team", offset=99999),
    _tool("gets long metadata", "memory_retrieve", key="meta", namespace="meta"),
    _tool("without a key", "memory_retrieve"),
    _tool("lists namespaces", "memory_list"),
    _tool("lists a page of namespaces", "memory_list", limit=1, _keep={"cursor": _CURSOR}),
    _tool("lists the next page of namespaces", "memory_list", limit=1, cursor="<<cursor>>"),
    _tool("lists keys", "memory_list", namespace="team"),
    _tool("lists keys with a prefix", "memory_list", namespace="team", prefix="no", limit=1),
    _tool("lists with a bad cursor", "memory_list", namespace="team", cursor="!"),
    _tool("lists a prefix of nothing", "memory_list", prefix="a"),
    _tool("finds all", "memory_search"),
    _tool("finds a pattern", "memory_search", pattern="note*", namespace="team", subtree=True),
    _tool("finds words", "memory_search", text="queue"),
    _tool("finds tags", "memory_search", tags=["note"], any_tags=["q", "r"]),
    _tool("finds metadata", "memory_search", metadata={"n": 1}),
    _tool("finds since", "memory_search", updated_since="2001-01-01T00:00:00Z", namespace="meta"),
    _tool("finds a page", "memory_search", namespace="team", limit=1, _keep={"cursor": _CURSOR}),
    _tool("finds the next page", "memory_search", namespace="team", limit=1, cursor="<<cursor>>"),
    _tool("with another's cursor", "memory_search", namespace="meta", limit=1, cursor="<<cursor>>"),
    _tool("with a bad time", "memory_search", updated_since="now"),
    _tool("with many stars", "memory_search", pattern="*a" * 9),
    _tool("a subtree of nothing", "memory_search", subtree=True),
    _tool("bad words", "memory_search", text="!"),
    _tool("a vector", "memory_store", key="east", value="The sun rises", namespace="mind", vector=[1, 0, 0]),
    _tool("a vector of another width", "memory_store", key="bad", value=1, namespace="mind", vector=[1, 0]),
    _tool("a vector of texts", "memory_store", key="bad", value=1, namespace="mind", vector=["1"]),
    _tool("finds a meaning", "memory_search", namespace="mind", vector=[1, 1, 0]),
    _tool("finds a meaning and words", "memory_search", namespace="mind", vector=[1, 0, 0], text="sun"),
    _tool("a meaning without an embedder", "memory_search", text="sun", mode="meaning"),
    _tool("deletes another version", "memory_delete", key="plan", if_version=1),
    _tool("deletes", "memory_delete", key="plan"),
    _tool("deletes nothing", "memory_delete", key="plan"),
    _tool("counts", "memory_stats"),
    _tool("counts with an argument", "memory_stats", x=1),
]
RECORDS = [
    _tool("registers", "agent_register", id="coder-1", type="coder", capabilities=["python"], details={"team": "blue"}),
    _tool("says more", "agent_register", id="coder-1", status="busy"),
    _tool("details in the way", "agent_register", id="coder-1", details={"type": "x"}),
    _tool("alive", "agent_heartbeat", id="coder-1", status="idle"),
    _tool("of none", "agent_heartbeat", id="none"),
    _tool("gets", "agent_get", id="coder-1"),
    _tool("gets none", "agent_get", id="none"),
    _tool("lists", "agent_list"),
    _tool(
        "lists some",
        "agent_list",
        type="coder",
        status="idle",
        capability="python",
        stale=False,
        stale_after=60,
        limit=1,
    ),
    _tool("registers one more", "agent_register", id="tester"),
    _tool("goes", "agent_deregister", id="tester"),
    _tool("goes again", "agent_deregister", id="tester"),
    _tool("creates", "task_create", id="design", description="d" * 300, priority="high", details={"x": 1}),
    _tool("creates again", "task_create", id="design"),
    _tool("creates more", "task_create", id="build", dependencies=["design"], maxRetries=1, type="fix", priority=3),
    _tool("creates a long one", "task_create", id="long", description="d" * 40000, assignedAgents=["x"]),
    _tool("creates without an id", "task_create", _keep={"task": r'\\"id\\":\\"([^"\\]+)'}),
    _tool("deletes the id that was made up", "task_delete", id="<<task>>"),
    _tool("creates with a bad priority", "task_create", id="bad", priority=11),
    _tool("gets", "task_get", id="design"),
    _tool("gets a long one", "task_get", id="long"),
    _tool("gets none", "task_get", id="none"),
    _tool("blocked", "task_claim", id="build", agent="coder-1"),
    _tool("claims", "task_claim", id="design", agent="coder-1", lease=60),
    _tool("claims another's", "task_claim", id="design", agent="coder-2"),
    _tool("renews", "task_renew", id="design", agent="coder-1", lease=90),
    _tool("renews another's", "task_renew", id="design", agent="coder-2"),
    _tool("gives back", "task_release", id="design", agent="coder-1", reason="lunch"),
    _tool("gives back again", "task_release", id="design", agent="coder-1"),
    _tool("assigns", "task_assign", id="design", agents=["coder-1"]),
    _tool("assigns none", "task_assign", id="none", agents=[]),
    _tool("claims the next", "task_claim_next", agent="coder-1"),
    _tool("claims the next of none", "task_claim_next", agent="coder-1", types=["none"], lease=5),
    _tool("updates", "task_update", id="design", description="short", details={"x": None}),
    _tool("updates none", "task_update", id="none"),
    _tool("completed", "task_set_status", id="design", status="completed", agent="coder-1", result={"pages": 42}),
    _tool("pending after the end", "task_set_status", id="design", status="pending"),
    _tool("failed", "task_set_status", id="build", status="failed", error="e"),
    _tool("unknown", "task_set_status", id="build", status="done"),
    _tool("lists", "task_list"),
    _tool("lists some", "task_list", status="completed", agent="coder-1", limit=1),
    _tool("lists a page", "task_list", limit=1, _keep={"cursor": _CURSOR}),
    _tool("lists the next page", "task_list", limit=1, cursor="<<cursor>>"),
    _tool("deletes", "task_delete", id="long"),
    _tool("deletes again", "task_delete", id="long"),
    _tool("stores", "pattern_store", id="review", type="coordination", confidence=0.8, tags=["code"], details={"x": 1}),
    _tool("refused", "pattern_store", id="review", confidence=2),
    _tool("helped", "pattern_use", id="review", success=True),
    _tool("of none", "pattern_use", id="none", success=True),
    _tool("of tags", "pattern_best", tags=["code"], limit=1),
    _tool("gets", "pattern_get", id="review"),
    _tool("gets none", "pattern_get", id="none"),
    _tool("lists", "pattern_list", type="coordination"),
    _tool("deletes", "pattern_delete", id="review"),
    _tool("deletes again", "pattern_delete", id="review"),
    _tool("opens", "consensus_propose", id="name", options=["ant", "bee"], voters=["a", "b"], taskId="design"),
    _tool("opens again", "consensus_propose", id="name"),
    _tool(
        "opens more", "consensus_propose", id="more", threshold=0.75, minVotes=1, deadlineSeconds=60, details={"x": 1}
    ),
    _tool("votes", "consensus_vote", id="name", agent="a", choice="bee", reason="short"),
    _tool("votes for nothing", "consensus_vote", id="name", agent="a", choice="cat"),
    _tool("votes as nobody", "consensus_vote", id="name", agent="z", choice="bee"),
    _tool("votes b", "consensus_vote", id="name", agent="b", choice="bee"),
    _tool("votes too late", "consensus_vote", id="name", agent="b", choice="ant"),
    _tool("closes", "consensus_close", id="more"),
    _tool("closes none", "consensus_close", id="none"),
    _tool("gets", "consensus_result", id="name"),
    _tool("gets none", "consensus_result", id="none"),
    _tool("lists", "consensus_list"),
    _tool("lists some", "consensus_list", status="decided", taskId="design"),
    _tool("deletes", "consensus_delete", id="more"),
    _tool("deletes again", "consensus_delete", id="more"),
    _tool("to one", "message_send", from_="lead", to="coder-1", message={"type": "question", "text": "tabs?"}),
    _tool("to all", "message_send", from_="lead", message="lunch"),
    _tool("from nobody", "message_send", message=1),
    _tool("all", "message_read"),
    _tool(
        "some",
        "message_read",
        agent="coder-1",
        from_="lead",
        type="question",
        limit=1,
        _keep={"cursor": r'\\"cursor\\":\\"([^"\\]+)'},
    ),
    _tool("since", "message_read", cursor="<<cursor>>"),
    _tool("a bad cursor", "message_read", cursor="!"),
]
CLASSIC = [
    _tool("stores", "memory_usage", action="store", key="k", value="v", ttl=60),
    _tool("stores without a value", "memory_usage", action="store", key="k"),
    _tool("gets", "memory_usage", action="retrieve", key="k"),
    _tool("gets nothing", "memory_usage", action="retrieve", key="none"),
    _tool("gets without a key", "memory_usage", action="retrieve"),
    _tool("lists", "memory_usage", action="list"),
    _tool("finds", "memory_usage", action="search", key="k*"),
    _tool("deletes", "memory_usage", action="delete", key="k"),
    _tool("unknown", "memory_usage", action="steal"),
    _tool("lists", "memory_namespace", namespace="team", action="list"),
    _tool("tells", "memory_namespace", namespace="team", action="info"),
    _tool("clears", "memory_namespace", namespace="meta", action="clear"),
    _tool("tells nothing", "memory_namespace", namespace="meta", action="info"),
    _tool("marks", "memory_persist", sessionId="s1"),
    _tool("marks the default", "memory_persist"),
    _tool("compresses", "memory_compress", _admin=True),
    _tool("compresses a namespace", "memory_compress", namespace="team", _admin=True),
    _tool("without the right", "memory_compress"),
    _tool("tells", "memory_analytics"),
    _tool("tells of a day", "memory_analytics", timeframe="7d"),
    _tool("a bad time", "memory_analytics", timeframe="soon"),
    _tool("copies", "memory_backup", path="one.db", _admin=True),
    _tool("copies over it", "memory_backup", path="one.db", _admin=True),
    _tool("copies elsewhere", "memory_backup", path="../one.db", _admin=True),
    _tool("without the right", "memory_backup", path="two.db"),
    _tool("changes what was copied", "memory_store", key="note:2", value="changed", namespace="team"),
    _tool("brings nothing back", "memory_restore", backupPath="one.db", existing="keep", _admin=True),
    _tool("brings back", "memory_restore", backupPath="one.db", _admin=True),
    _tool("of nothing", "memory_restore", backupPath="none.db", _admin=True),
    _tool("without the right", "memory_restore", backupPath="one.db"),
    _tool("with itself", "memory_sync", target="self", _admin=True),
    _tool("with one that refuses", "memory_sync", target="refusing", _admin=True),
    _tool("with nobody", "memory_sync", target="west", _admin=True),
    _tool("without the right", "memory_sync", target="self"),
]
LIMITED = [
    _alone("alone, stores", "memory_store", key="alone", value=1, namespace="team"),
    _alone("alone, refused", "memory_store", key="alone"),
    *(
        _alone(f"alone as {holder}", tool, _token=token, **arguments)
        for holder, token in {"reader": READER, "team": TEAM, "team-reader": TEAM_READER, "swarm": SWARM}.items()
        for tool, arguments in {
            "memory_retrieve": {"key": "note:1", "namespace": "team/notes"},
            "memory_store": {"key": "limited", "value": 1, "namespace": "team"},
            "memory_delete": {"key": "none", "namespace": "other"},
            "memory_list": {},
            "memory_search": {"text": "queue"},
            "memory_stats": {},
            "agent_get": {"id": "coder-1"},
            "task_claim_next": {"agent": "a", "types": ["none"]},
            "pattern_list": {},
            "message_read": {"limit": 1},
            "memory_namespace": {"namespace": "other", "action": "info"},
            "memory_analytics": {},
            "memory_sync": {"target": "self"},
        }.items()
    ),
    _old("stores as a reader in a session", "tools/call",
         {"name": "memory_store", "arguments": {"key": "a", "value": 1}}, session="reader", token=READER),
]  # fmt: skip
_URIS = {
    "all": "memory://namespaces",
    "a namespace": "memory://team",
    "an empty namespace": "memory://none",
    "an entry": "memory://team%2Fnotes/note%3A1",
    "a long entry": "memory://team/long",
    "the end of a long entry": "memory://team/long?offset=39990",
    "nothing": "memory://team/none",
    "another scheme": "http://team",
    "a bad escape": "memory://%zz",
    "a bad offset": "memory://team/long?offset=x",
    "a bad cursor": "memory://team?cursor=!",
}
RESOURCES = [
    _old("resources", "resources/list"),
    _old("resources with a bad cursor", "resources/list", {"cursor": "!"}),
    _old("resources of a team", "resources/list", session="team", token=TEAM),
    _old("resource templates", "resources/templates/list"),
    *(_old(f"read {name}", "resources/read", {"uri": uri}) for name, uri in _URIS.items()),
    _old("read another's", "resources/read", {"uri": "memory://default/plan"}, session="team", token=TEAM),
    _new("alone: resources", "resources/list"),
    _new("alone: resource templates", "resources/templates/list"),
    _new("alone: read", "resources/read", {"uri": "memory://team"}),
    _new("alone: read another's", "resources/read", {"uri": "memory://default"}, token=TEAM),
    _old("subscribe", "resources/subscribe", {"uri": "memory://live/a"}),
    _old("subscribe to a namespace", "resources/subscribe", {"uri": "memory://told"}),
    _old("subscribe to no address", "resources/subscribe", {"uri": "x"}),
    _old("subscribe to another's", "resources/subscribe", {"uri": "memory://default"}, session="team", token=TEAM),
    Stream(
        _raw(
            "the stream of a session",
            None,
            "Mcp-Session-Id: <<session>>",
            f"MCP-Protocol-Version: {_OLD}",
            method="GET",
        ),
        first=0,
        meanwhile=(put("stream: a put", "live/a", 1), put("stream: elsewhere", "live/b", 1)),
        events=1,
    ),
    _old("unsubscribe", "resources/unsubscribe", {"uri": "memory://live/a"}),
    _old("unsubscribe again", "resources/unsubscribe", {"uri": "memory://live/a"}),
    Stream(
        _new("listen", "subscriptions/listen", {"notifications": {"resourceSubscriptions": ["memory://live"]}}),
        meanwhile=(put("listen: a put", "live/c", 1),),
        events=1,
    ),
    _new(
        "listen to another's",
        "subscriptions/listen",
        {"notifications": {"resourceSubscriptions": ["memory://live"]}},
        token=TEAM,
    ),
    _new("listen to no address", "subscriptions/listen", {"notifications": {"resourceSubscriptions": ["x"]}}),
]
ENDING = [
    _raw("end the session", None, "Mcp-Session-Id: <<session>>", method="DELETE"),
    _raw("end it again", None, "Mcp-Session-Id: <<session>>", method="DELETE"),
    _old("ping after the end", "ping"),
]
LEASES = [
    _tool("claims a lease", "lease_claim", id="queen", agent="lead", lease=60),
    _tool("claims another's lease", "lease_claim", id="queen", agent="coder-1"),
    _tool("renews a lease", "lease_renew", id="queen", agent="lead"),
    _tool("renews another's lease", "lease_renew", id="queen", agent="coder-1"),
    _tool("gets a lease", "lease_get", id="queen"),
    _tool("gets no lease", "lease_get", id="none"),
    _tool("gives a lease back", "lease_release", id="queen", agent="lead"),
    _tool("gives a lease back again", "lease_release", id="queen", agent="lead"),
]
_FACT = {"value": 1, "namespace": "facts", "vector": [1, 0, 0]}
DUPLICATES = [
    _tool("no twin", "memory_store", key="1", on_duplicate="refuse", **_FACT),
    _tool("a twin that is refused", "memory_store", key="2", on_duplicate="refuse", **_FACT),
    _tool("a twin that is linked", "memory_store", key="2", on_duplicate="link", threshold=1, **_FACT),
    _tool("a bad threshold", "memory_store", key="2", on_duplicate="link", threshold=0, **_FACT),
]
"""After all that counts entries."""

SCENARIO = Scenario(
    "mcp",
    [*BEGINNING, *ENTRIES, *RECORDS, *CLASSIC, *LIMITED, *RESOURCES, *LEASES, *DUPLICATES, *ENDING],
    ("--mcp-allowed-origins", "https://ok.example", "--mcp-toolsets", "all"),
)
