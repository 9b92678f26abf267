"""A database that the service of commit 0021e49 has made, and what must be read from it, whatever comes later.

`make` wrote recorded/store-0021e49.db. It let the service's clock go in January 2024, so that what expires in it has
expired wherever the test runs, and took the following out of the file afterwards: all changes but the last one, and
some bytes of one compressed value. The recordings store_read and store_written say what a service answers that finds
this file: to those who only read, and to those who go on with it.
"""

import datetime as dt
import shutil
import sqlite3

from unit.memory.wire.playing import Player
from unit.memory.wire.service import serving
from unit.memory.wire.steps import ADMIN, Grpc, Http, Scenario, Stream, get, post, put

_FILE = "store-0021e49.db"
_THEN = dt.datetime(2024, 1, 15, 8, tzinfo=dt.UTC).timestamp()
_SLOW_CLOCK = f"""
import runpy, sys, time
real, behind = time.time, time.time() - {_THEN}
time.time = lambda: real() - behind
sys.argv[0] = "swarm-memory"
runpy.run_module("swarm_operator.cmd.memory", run_name="__main__")
"""
_TEXT = "All work and no play makes Jack a dull boy; the queue was stuck. "

MADE = [
    put("a", "team/a", {"n": 1, "deep": [{"er": None}]}, tags=["x", "y"], metadata={"by": "ada"}),
    put("a again", "team/a", {"n": 2, "deep": [{"er": 1.5}]}, tags=["x", "z"], metadata={"by": "bob", "n": 7}),
    *(put(f"many {n}", f"many/key:{n:03}", {"number": n, "word": f"w{n}"}, tags=[f"t{n % 3}"]) for n in range(60)),
    put("unicode", "t%C3%A9am%2Fnotes/%F0%9F%90%9D%2Fk%20%25", '🐝 Zürich \u2028 "\\'),
    put("large", "team/large", 2**64 - 1),
    put("small", "team/small", -(2**63)),
    put("float", "team/float", 1e-7),
    put("null", "team/null", None),
    put("empty", "team/empty", ""),
    put("compressed", "team/compressed", {"text": _TEXT * 400}, tags=["long"]),
    put("damaged", "damaged/value", {"text": _TEXT * 401}),
    put("not compressed", "team/plain", _TEXT * 10),
    put("stays a century", "team/century", 1, ttl=3_153_600_000),
    put("has expired", "expired/a", "gone words", ttl=1, tags=["gone"]),
    put("has expired, too", "team/expired", 1, ttl=60),
    put("will be deleted", "deleted/a", 1),
    put("will be deleted again", "deleted/a", 2),
    Http("deleted", "DELETE", "/v1/entries/deleted/a"),
    put("will be deleted and made anew", "deleted/b", 1),
    Http("deleted and made anew", "DELETE", "/v1/entries/deleted/b"),
    put("made anew", "deleted/b", 2),
    Http("agent", "PUT", "/v1/agents/coder-1", {"type": "coder", "capabilities": ["python"], "team": "blue"}),
    Http("agent with an odd id", "PUT", "/v1/agents/a%2Fb", {"status": "busy"}),
    post("task", "/v1/tasks", {"id": "design", "priority": "high", "description": "Say what", "extra": [1]}),
    post("task that waits", "/v1/tasks", {"id": "build", "dependencies": ["design"], "maxRetries": 2, "type": "fix"}),
    post("task with an id that was made up", "/v1/tasks", {"priority": 2}),
    post("task is claimed", "/v1/tasks/design/claim", {"agent": "coder-1", "lease": 1}),
    post("task of another", "/v1/tasks", {"id": "done", "assignedAgents": ["coder-1"]}),
    post("task of another is done", "/v1/tasks/done/status", {"status": "completed", "result": {"pages": 42}}),
    Http("pattern", "PUT", "/v1/patterns/review", {"type": "coordination", "confidence": 0.8, "tags": ["code"]}),
    post("pattern is used", "/v1/patterns/review/uses", {"success": True}),
    post("consensus", "/v1/consensus", {"id": "name", "options": ["ant", "bee"], "voters": ["a", "b", "c"]}),
    post("consensus a", "/v1/consensus/name/votes", {"agent": "a", "choice": "bee", "reason": "shorter"}),
    post("consensus that is open", "/v1/consensus", {"id": "open", "taskId": "design"}),
    post("message", "/v1/communications", {"fromAgent": "lead", "toAgent": "coder-1", "message": {"type": "news"}}),
    Http("coordination", "PUT", "/v1/coordination/lock", {"holder": "a"}),
    Http("metrics", "PUT", "/v1/metrics/m", {"type": "load", "agentId": "coder-1"}),
    get("read once", "/v1/entries/team/a"),
    get("read another once", "/v1/entries/many/key:007"),
]
_INDEXED = r'"index":{"lag":\d+,"rebuilding":false'
"""The index of words of an older file is built anew in the background."""
_CURSOR = r'"next_cursor":"([^"]+)"'
_LISTED = [
    get("namespaces", "/v1/namespaces"),
    Http("stats", "GET", "/v1/stats", until=_INDEXED),
    get("swarm", "/v1/swarm"),
    *(
        get(f"list {namespace}", f"/v1/entries?namespace={namespace}")
        for namespace in ("team", "many", "t%C3%A9am%2Fnotes", "expired", "deleted", "swarm:agents", "swarm:tasks",
                          "swarm:patterns", "swarm:consensus", "swarm:communications", "damaged")
    ),
    get("list with a cursor of before", "/v1/entries?namespace=many&prefix=key&limit=2&cursor=a2V5OjAwMQ"),
    get("search words", "/v1/search?text=stuck+zurich"),
    get("search a word", "/v1/search?text=zurich"),
    get("search words in long values", "/v1/search?text=%22dull+boy%22&values=false"),
    get("search what has expired", "/v1/search?text=gone"),
    get("search a tag", "/v1/search?tag=t1&limit=3", keep={"cursor": _CURSOR}),
    get("search the next page of a tag", "/v1/search?tag=t1&limit=3&cursor=<<cursor>>"),
    get("search a tag of before", "/v1/search?tag=y"),
    get("search metadata", "/v1/search?metadata=%7B%22n%22%3A7%7D"),
    get("search the last updated", "/v1/search?namespace=many&order=updated&limit=2"),
    get("search updated since", "/v1/search?updated_since=2024-01-15T07:00:00Z&namespace=deleted"),
    get("agents", "/v1/agents"),
    get("agents by type", "/v1/agents?type=coder&stale=true"),
    get("tasks", "/v1/tasks"),
    get("tasks by status", "/v1/tasks?status=completed"),
    get("patterns", "/v1/patterns"),
    get("patterns best", "/v1/best-patterns?tag=code"),
    get("consensus", "/v1/consensus"),
    get("communications", "/v1/communications"),
    get("coordination", "/v1/coordination/lock"),
    get("metrics", "/v1/metrics"),
    get("export team", "/v1/export?namespace=team&namespace=many"),
    get("export the swarm", "/v1/export"),
]  # fmt: skip
_READ = [
    *(
        get(f"get {path}", f"/v1/{path}")
        for path in (
            "entries/team/a", "entries/team/compressed", "entries/team/plain", "entries/team/large",
            "entries/team/small", "entries/team/float", "entries/team/null", "entries/team/empty",
            "entries/team/century", "entries/team/expired", "entries/expired/a", "entries/deleted/a",
            "entries/deleted/b", "entries/damaged/value", "entries/t%C3%A9am%2Fnotes/%F0%9F%90%9D%2Fk%20%25",
            "agents/coder-1", "agents/a%2Fb", "tasks/design", "tasks/build", "patterns/review", "consensus/name",
        )
    ),
    Grpc("gRPC get", "Get", "namespace: 'deleted' key: 'b'"),
    get("watch from before", "/v1/watch?since=0"),
]  # fmt: skip
READ = Scenario("store_read", [*_LISTED, *_READ], ("--gc-interval", "10h"), _FILE, times=False)
WRITTEN = Scenario(
    "store_written",
    [
        put("overwrite", "team/a", 3, headers=['If-Match: "2"']),
        put("anew after a delete", "deleted/a", 3),
        put("anew after its time", "expired/a", 3),
        put("mend what is damaged", "damaged/value", "mended"),
        get("get what was mended", "/v1/entries/damaged/value"),
        get("search the new words", "/v1/search?text=mended"),
        get("search the old words", "/v1/search?text=%22dull+boy%22&values=false"),
        get("watch from before", "/v1/watch?since=0", keep={"oldest": r'"oldest":(\d+)'}),
        Stream(get("watch from the oldest", "/v1/watch?since=<<oldest>>"), first=5),
        post("task whose lease has ended is claimed", "/v1/tasks/claim", {"agent": "coder-2"}),
        post("consensus is decided", "/v1/consensus/name/votes", {"agent": "c", "choice": "bee"}),
        post("agent is alive", "/v1/agents/coder-1/heartbeat"),
        Http("gc", "POST", "/admin/gc", token=ADMIN),
        Http("stats", "GET", "/v1/stats", until=_INDEXED),
        get("namespaces", "/v1/namespaces"),
    ],
    ("--gc-interval", "10h"),
    _FILE,
)


def make(directory, recorded):
    """Write the database of before."""
    with (
        serving(directory, "--gc-interval", "10h", program=("-c", _SLOW_CLOCK)) as service,
        Player(service) as player,
    ):
        player.play(MADE)
    path = directory / "data" / "swarm-memory.db"
    with sqlite3.connect(path) as database:
        database.execute("DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes)")
        ((value,),) = database.execute("SELECT value FROM entries WHERE namespace = 'damaged'").fetchall()
        damaged = value[:60] + bytes(byte ^ 255 for byte in value[60:64]) + value[64:]
        database.execute("UPDATE entries SET value = ? WHERE namespace = 'damaged'", (damaged,))
    database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    shutil.copy(path, recorded / _FILE)
