"""Makes legacy memories of every known shape, with the oddities of those in the field."""

import hashlib
import json
import sqlite3
from contextlib import closing

HIVE = """
CREATE TABLE swarms (id TEXT PRIMARY KEY, name TEXT, objective TEXT, queen_type TEXT, status TEXT, created_at TEXT);
CREATE TABLE agents (id TEXT PRIMARY KEY, swarm_id TEXT, name TEXT, type TEXT, role TEXT, status TEXT,
    capabilities TEXT, created_at TEXT);
CREATE TABLE tasks (id TEXT PRIMARY KEY, swarm_id TEXT, agent_id TEXT, description TEXT, status TEXT, priority,
    result TEXT, created_at TEXT, completed_at TEXT);
CREATE TABLE collective_memory (id TEXT PRIMARY KEY, swarm_id TEXT, key TEXT, value TEXT, type TEXT, created_by TEXT,
    created_at TEXT, accessed_at, access_count INTEGER, compressed INTEGER, size INTEGER);
CREATE TABLE consensus_decisions (id TEXT PRIMARY KEY, swarm_id TEXT, topic TEXT, decision TEXT, votes TEXT,
    algorithm TEXT, confidence REAL, created_at TEXT);
CREATE TABLE agent_performance (id INTEGER PRIMARY KEY AUTOINCREMENT, agent_id TEXT, metric TEXT, value REAL);
CREATE TABLE schema_version (version INTEGER);
INSERT INTO schema_version VALUES (3);
"""
CREATED = "2025-07-01 10:00:00"
VOTES = {"for": 2, "against": 1, "abstain": 0, "details": [{"agent": "w1", "vote": "for"}]}


def hive(path, swarms=("swarm-1", "swarm-2")):
    """A hive database. Returns how many items of each kind it has."""
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript(HIVE)
        for swarm in swarms:
            db.execute(
                "INSERT INTO swarms VALUES (?, ?, 'build it', 'strategic', 'active', ?)", (swarm, swarm, CREATED)
            )
            for number in range(2):
                agent = f"{swarm}-worker-{number}"
                db.execute(
                    "INSERT INTO agents VALUES (?, ?, 'Worker', 'coder', 'worker', 'idle', ?, ?)",
                    (agent, swarm, '["code", "test"]', CREATED),
                )
            results = ["plain text, not JSON", '{"ok": true}', None]
            for number, (priority, result) in enumerate(zip([5, "7", "high"], results, strict=True)):
                db.execute(
                    "INSERT INTO tasks VALUES (?, ?, ?, '[1] first', 'completed', ?, ?, ?, ?)",
                    (f"{swarm}-task-{number}", swarm, agent, priority, result, CREATED, "2025-07-01 11:00:00"),
                )
            rows = [("objective", '"build it"', "config", 0), ("queen_type", "strategic", "config", 0),
                    ("worker_count", "4", "config", 0), ("wörter/a", '{"a": [1]}', "knowledge", 1)]  # fmt: skip
            for key, value, kind, compressed in rows:
                db.execute(
                    "INSERT INTO collective_memory VALUES (?, ?, ?, ?, ?, 'queen', ?, 1751400000, 3, ?, 99)",
                    (f"{swarm}-{key}", swarm, key, value, kind, CREATED, compressed),
                )
            db.execute(
                "INSERT INTO consensus_decisions VALUES (?, ?, 'language', 'python', ?, 'majority', 0.66, ?)",
                (f"{swarm}-decision", swarm, json.dumps(VOTES), CREATED),
            )
            db.execute("INSERT INTO agent_performance (agent_id, metric, value) VALUES (?, 'speed', 1.5)", (agent,))
    each = len(swarms)
    return {"swarm": each, "agent": 2 * each, "task": 3 * each, "entry": 4 * each, "consensus": each, "row": each}


def hive_mind(path):
    """The schema of the hive-mind wizard: a memory with namespaces, messages, patterns, triggers, views."""
    with closing(sqlite3.connect(path)) as db, db:
        db.executescript("""
            CREATE TABLE swarms (id TEXT PRIMARY KEY, name TEXT);
            CREATE TABLE memory (key TEXT, namespace TEXT DEFAULT 'default', value TEXT, ttl INTEGER,
                created_at DATETIME, expires_at DATETIME, PRIMARY KEY (key, namespace));
            CREATE TRIGGER lifetimes AFTER INSERT ON memory WHEN new.ttl IS NOT NULL BEGIN
                UPDATE memory SET expires_at = datetime(new.created_at, '+' || new.ttl || ' seconds')
                WHERE key = new.key AND namespace = new.namespace; END;
            CREATE TABLE communications (id INTEGER PRIMARY KEY, from_agent_id TEXT, to_agent_id TEXT, swarm_id TEXT,
                content TEXT, timestamp DATETIME);
            CREATE TABLE consensus (id TEXT PRIMARY KEY, swarm_id TEXT, task_id TEXT, proposal TEXT, status TEXT);
            CREATE TABLE neural_patterns (id TEXT PRIMARY KEY, swarm_id TEXT, pattern_type TEXT, pattern_data TEXT,
                confidence REAL, usage_count INTEGER, success_rate REAL, created_at DATETIME);
            CREATE TABLE session_history (id TEXT PRIMARY KEY, data TEXT) WITHOUT ROWID;
            CREATE VIEW active AS SELECT * FROM swarms;
            INSERT INTO swarms VALUES ('s', 'one');
            INSERT INTO memory (key, value, ttl, created_at) VALUES ('gone', 'x', 60, '2025-01-01 00:00:00');
            INSERT INTO memory (key, value, ttl, created_at)
                VALUES ('stays', '{"a": 1}', 3000000000, '2025-01-01 00:00:00');
            INSERT INTO memory (key, namespace, value) VALUES ('five', 'n', '5');
            INSERT INTO communications VALUES (1, 'a', 'b', 's', 'hello', '2025-01-01 00:00:00');
            INSERT INTO consensus VALUES ('c', 's', 't', 'use it', 'pending');
            INSERT INTO neural_patterns VALUES ('p', 's', 'flow', '{"steps": 2}', 0.8, 12, 0.75, '2025-01-01 00:00:00');
            INSERT INTO session_history VALUES ('h1', '{}');
        """)
    return {"swarm": 1, "entry": 3, "message": 1, "consensus": 1, "pattern": 1, "row": 1}


def memory_store(path, *, tags=True):
    """The database of SharedMemory and SwarmMemory, in seconds; before its second version without tags."""
    with closing(sqlite3.connect(path)) as db, db:
        db.execute(f"""CREATE TABLE memory_store (id INTEGER PRIMARY KEY AUTOINCREMENT, key TEXT,
            namespace TEXT, value TEXT, type TEXT DEFAULT 'json', metadata TEXT, created_at INTEGER, updated_at INTEGER,
            accessed_at INTEGER, access_count INTEGER, ttl INTEGER, expires_at INTEGER, compressed INTEGER, size INTEGER
            {", tags TEXT" if tags else ""}, UNIQUE (key, namespace))""")
        db.execute("CREATE TABLE metadata (key TEXT PRIMARY KEY, value TEXT, updated_at INTEGER)")
        db.execute("CREATE TABLE migrations (version INTEGER, description TEXT, applied_at INTEGER)")
        db.execute("INSERT INTO migrations VALUES (1, 'first', 1)")
        rows = [
            ("agent:a1", "swarm:agents", '{"id": "a1", "status": "busy"}', "json", '{"swarmId": "s"}', 0, None),
            ("note", "default", '{"looks": "like JSON"}', "string", None, 0, None),
            ("number", "default", "5", "json", "not an object", 3_000_000_000, 4_750_000_000),
            ("context", "swarm:coordination", '"old"', "json", None, 3600, 1_750_003_600),
        ]
        for key, namespace, value, kind, metadata, ttl, expires in rows:
            db.execute(
                "INSERT INTO memory_store (key, namespace, value, type, metadata, created_at, updated_at, accessed_at, "
                "access_count, ttl, expires_at, compressed, size) "
                "VALUES (?, ?, ?, ?, ?, 1750000000, 1750000001, 1750000002, 2, ?, ?, 0, 9)",
                (key, namespace, value, kind, metadata, ttl, expires),
            )
        if tags:
            db.execute("""UPDATE memory_store SET tags = '["agent", "busy"]' WHERE key = 'agent:a1'""")
    return {"entry": 4, "row": 0}


def memory_entries(path):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("""CREATE TABLE memory_entries (id INTEGER PRIMARY KEY, key TEXT, value TEXT, namespace TEXT,
            metadata TEXT, created_at INTEGER, updated_at INTEGER, ttl INTEGER, expires_at INTEGER,
            UNIQUE (key, namespace))""")
        db.execute("CREATE TABLE code_patterns (id INTEGER PRIMARY KEY, file_path TEXT, embedding BLOB)")
        db.execute(
            "INSERT INTO memory_entries VALUES (1, 'k', '[1, 2]', 'n', NULL, 1750000000000, 1750000000000, NULL, NULL)"
        )
        db.execute("INSERT INTO code_patterns VALUES (1, 'a.py', x'00ff80')")
    return {"entry": 1, "row": 1}


def memories(path):
    with closing(sqlite3.connect(path)) as db, db:
        db.execute("""CREATE TABLE memories (id TEXT PRIMARY KEY, namespace TEXT, key TEXT, value TEXT, type TEXT,
            timestamp INTEGER, created_at TEXT, UNIQUE (namespace, key))""")
        for number, value in enumerate(("text", '{"a": 1}'), start=1):
            row = (f"m{number}", "n", f"k{number}", value, "knowledge", 1_751_379_786_733, CREATED)
            db.execute("INSERT INTO memories VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    return {"entry": 2}


def json_store(path):
    entries = [
        {"key": "a/b", "value": '{"json": "inside"}', "namespace": "default", "timestamp": 1_751_379_786_733},
        {"key": "schlüssel", "value": "größe", "namespace": "default", "timestamp": 1_751_379_786_733},
    ]
    path.write_text(json.dumps({"default": entries, "empty": [], "other": [{"key": "k", "value": "v"}]}))
    return {"entry": 3}


def json_entry(key, value, **members):
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return {
        "id": f"entry-{key}", "key": key, "value": value, "type": "knowledge", "namespace": "docs", "tags": ["a", "b"],
        "metadata": {"by": "me"}, "owner": "o", "accessLevel": "shared", "createdAt": "2025-07-01T10:00:00.000Z",
        "updatedAt": "2025-07-02T10:00:00.000Z", "version": 2, "size": 1, "compressed": False,
        "checksum": hashlib.sha256(text.encode()).hexdigest(), "references": [], "dependencies": [], **members,
    }  # fmt: skip


def json_entries(path):
    twice = json_entry("twice", {"a": 1}, compressed=True)
    twice["value"] = json.dumps(twice["value"])
    path.write_text(json.dumps([json_entry("one", {"ü": [1, None]}), twice, json_entry("text", "plain")], indent=2))
    return {"entry": 3}


def json_backup(path, entries):
    document = {"timestamp": "2025-07-03T00:00:00.000Z", "version": "1.0", "entries": entries, "statistics": {"n": 1}}
    path.write_text(json.dumps(document))
    return {"entry": len(entries)}


def json_state(path):
    state = {
        "agents": [{"id": "a1", "type": "coder", "status": "idle"}],
        "tasks": [{"id": "t1", "description": "x", "priority": "high", "status": "pending"}],
        "lastUpdated": 1_751_379_786_733,
        "settings": {"topology": "mesh"},
    }
    path.write_text(json.dumps(state))
    return {"agent": 1, "task": 1, "state": 1}


def json_snapshot(path):
    memories = [{"key": "objective", "value": "build it", "type": "config", "createdAt": CREATED}]
    path.write_text(json.dumps({"swarmId": "swarm-9", "timestamp": 1, "statistics": {}, "memories": memories}))
    return {"entry": 1}


SHAPES = {
    "hive.db": hive,
    "hive-mind.db": hive_mind,
    "swarm-memory.db": memory_store,
    "old-swarm-memory.db": lambda path: memory_store(path, tags=False),
    "memory.db": memory_entries,
    "memories.db": memories,
    "memory-store.json": json_store,
    "entries.json": json_entries,
    "backup.json": lambda path: json_backup(path, [json_entry("backed up", 1)]),
    "empty-backup.json": lambda path: json_backup(path, []),
    "state.json": json_state,
    "snapshot.json": json_snapshot,
}
"""A file of each shape, and what makes it and returns its items by kind."""
