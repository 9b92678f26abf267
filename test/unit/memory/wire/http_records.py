"""The records of the swarm over HTTP: agents, tasks, patterns, proposals, messages, coordination, metrics, counts."""

from unit.memory.wire.steps import Http, Scenario, get, post

_CURSOR = r'"next_cursor":"([^"]+)"'
_ID = r'"id":"([^"]+)"'


def _put(name, target, body):
    return Http(name, "PUT", target, body)


def _delete(name, target):
    return Http(name, "DELETE", target)


def _patch(name, target, body):
    return Http(name, "PATCH", target, body)


AGENTS = [
    _put("agent registers", "/v1/agents/coder-1", {"type": "coder", "capabilities": ["python", "go"], "team": "blue"}),
    _put("agent says more", "/v1/agents/coder-1", {"status": "busy", "team": None, "load": 0.5}),
    _put("agent with an odd id", "/v1/agents/a%2Fb%20c%3A%C3%A9", {}),
    _put("agent tester", "/v1/agents/tester", {"type": "tester", "status": "idle"}),
    get("agent get", "/v1/agents/coder-1"),
    get("agent get its tag", "/v1/agents/coder-1", 'If-None-Match: "2"'),
    get("agent get an odd id", "/v1/agents/a%2Fb%20c%3A%C3%A9"),
    get("agent get none", "/v1/agents/none"),
    get("agent get a bad escape", "/v1/agents/%zz"),
    get("agent get an empty id", "/v1/agents/"),
    get("agent get a long id", "/v1/agents/" + "i" * 513),
    get("agent get as an entry", "/v1/entries/swarm:agents/agent:coder-1"),
    post("agent heartbeat", "/v1/agents/coder-1/heartbeat", {"status": "idle"}),
    post("agent heartbeat without a body", "/v1/agents/coder-1/heartbeat"),
    post("agent heartbeat null", "/v1/agents/coder-1/heartbeat", {"status": None}),
    post("agent heartbeat of none", "/v1/agents/none/heartbeat", {}),
    post("agent heartbeat unknown member", "/v1/agents/coder-1/heartbeat", {"x": 1}),
    post("agent heartbeat bad status", "/v1/agents/coder-1/heartbeat", {"status": "two words"}),
    post("agent heartbeat long status", "/v1/agents/coder-1/heartbeat", {"status": "s" * 129}),
    *(
        _put(f"agent refused {name}", "/v1/agents/bad", body)
        for name, body in {
            "type": {"type": 1},
            "empty type": {"type": ""},
            "capabilities": {"capabilities": "python"},
            "capability": {"capabilities": [1]},
            "status": {"status": []},
            "list": [],
            "id": {"id": "another"},
            "no JSON": b"{",
            "empty": b"",
        }.items()
    ),
    Http("agent compressed", "PUT", "/v1/agents/bad", b"{}", headers=("Content-Encoding: gzip",)),
    get("agents", "/v1/agents"),
    get("agents a page", "/v1/agents?limit=1", keep={"cursor": _CURSOR}),
    get("agents next page", "/v1/agents?limit=1&cursor=<<cursor>>"),
    get("agents by type", "/v1/agents?type=coder"),
    get("agents by status", "/v1/agents?status=idle"),
    get("agents by capability", "/v1/agents?capability=python"),
    get("agents stale", "/v1/agents?stale=true"),
    get("agents not stale", "/v1/agents?stale=false&stale_after=3600"),
    *(
        get(f"agents refused {query}", f"/v1/agents?{query}")
        for query in (
            "stale=1",
            "stale_after=0",
            "stale_after=x",
            "limit=0",
            "cursor=!",
            "type=",
            "x=1",
            "type=a&type=b",
        )
    ),
    _delete("agent deregister", "/v1/agents/tester"),
    _delete("agent deregister again", "/v1/agents/tester"),
]
TASKS = [
    post(
        "task create", "/v1/tasks", {"id": "design", "description": "Say what", "priority": "high", "extra": {"a": 1}}
    ),
    post("task create again", "/v1/tasks", {"id": "design"}),
    post("task create without an id", "/v1/tasks", {"type": "made-up"}, keep={"task": _ID}),
    get("task get the id that was made up", "/v1/tasks/<<task>>"),
    _delete("task delete the id that was made up", "/v1/tasks/<<task>>"),
    post("task create with a dependency", "/v1/tasks", {"id": "build", "dependencies": ["design"], "maxRetries": 1}),
    post(
        "task create a number",
        "/v1/tasks",
        {"id": "urgent", "priority": 9, "type": "fix", "assignedAgents": ["coder-1"]},
    ),
    post("task create low", "/v1/tasks", {"id": "later", "priority": "low"}),
    post("task create with an unknown dependency", "/v1/tasks", {"id": "x", "dependencies": ["none"]}),
    *(
        post(f"task refused {name}", "/v1/tasks", body)
        for name, body in {
            "priority": {"priority": "soon"},
            "priority number": {"priority": 11},
            "retries": {"maxRetries": -1},
            "dependencies": {"dependencies": "a"},
            "agents": {"assignedAgents": [1]},
            "id": {"id": ""},
            "long id": {"id": "i" * 513},
            "type": {"type": 1},
            "status": {"status": "completed"},
            "list": [1],
        }.items()
    ),
    get("task get", "/v1/tasks/design"),
    get("task get its tag", "/v1/tasks/design", "If-None-Match: *"),
    get("task get none", "/v1/tasks/none"),
    _patch("task update", "/v1/tasks/design", {"description": "Say it well", "extra": None, "more": [1]}),
    _patch("task update none", "/v1/tasks/none", {}),
    _patch("task update status", "/v1/tasks/design", {"status": "completed"}),
    _patch("task update priority", "/v1/tasks/design", {"priority": True}),
    _patch("task update a circle", "/v1/tasks/design", {"dependencies": ["build"]}),
    get("scale of no tasks", "/v1/scale/none"),
    get("scale of a bad pool", "/v1/scale/two%20words"),
    post("task claim blocked", "/v1/tasks/build/claim", {"agent": "coder-1"}),
    post("task claim", "/v1/tasks/design/claim", {"agent": "coder-1", "lease": 60}),
    post("task claim again", "/v1/tasks/design/claim", {"agent": "coder-1"}),
    post("task claim of another's", "/v1/tasks/design/claim", {"agent": "coder-2"}),
    post("task claim none", "/v1/tasks/none/claim", {"agent": "coder-2"}),
    post("task claim without an agent", "/v1/tasks/design/claim", {}),
    post("task claim bad lease", "/v1/tasks/design/claim", {"agent": "a", "lease": -1}),
    post("task claim long lease", "/v1/tasks/design/claim", {"agent": "a", "lease": 1e12}),
    post("task claim assigned to another", "/v1/tasks/urgent/claim", {"agent": "coder-2"}),
    _patch("task update dependencies of a claimed one", "/v1/tasks/design", {"dependencies": []}),
    post("task renew", "/v1/tasks/design/renew", {"agent": "coder-1", "lease": 600}),
    post("task renew another's", "/v1/tasks/design/renew", {"agent": "coder-2"}),
    post("task renew none", "/v1/tasks/none/renew", {"agent": "coder-2"}),
    post("task release another's", "/v1/tasks/design/release", {"agent": "coder-2"}),
    post("task release", "/v1/tasks/design/release", {"agent": "coder-1", "reason": "lunch"}),
    post("task release again", "/v1/tasks/design/release", {"agent": "coder-1"}),
    post("task assign", "/v1/tasks/design/assign", {"agents": ["coder-1", "coder-3"]}),
    post("task assign to everyone", "/v1/tasks/design/assign", {"agents": []}),
    post("task assign none", "/v1/tasks/none/assign", {"agents": []}),
    post("task assign without agents", "/v1/tasks/design/assign", {}),
    post("task assign too many", "/v1/tasks/design/assign", {"agents": [str(n) for n in range(65)]}),
    post("task claim the next of a type", "/v1/tasks/claim", {"agent": "coder-1", "types": ["fix"], "lease": 60.5}),
    post("task claim the next", "/v1/tasks/claim", {"agent": "coder-1"}),
    post("task claim the next of no type", "/v1/tasks/claim", {"agent": "coder-1", "types": ["none"]}),
    post("task claim the next without an agent", "/v1/tasks/claim", {}),
    post("task claim the next of types that are none", "/v1/tasks/claim", {"agent": "a", "types": []}),
    get("tasks by agent", "/v1/tasks?agent=coder-1"),
    post("task completed by another", "/v1/tasks/design/status", {"status": "completed", "agent": "coder-2"}),
    post(
        "task completed", "/v1/tasks/design/status", {"status": "completed", "agent": "coder-1", "result": "42 pages"}
    ),
    post("task completed again", "/v1/tasks/design/status", {"status": "completed", "result": "42 pages"}),
    post("task completed otherwise", "/v1/tasks/design/status", {"status": "completed", "result": "43 pages"}),
    post("task pending after the end", "/v1/tasks/design/status", {"status": "pending"}),
    post("task assign after the end", "/v1/tasks/design/assign", {"agents": ["a"]}),
    _patch("task update after the end", "/v1/tasks/design", {"description": "late"}),
    post("task claim what was blocked", "/v1/tasks/build/claim", {"agent": "coder-2"}),
    post(
        "task failed with a retry",
        "/v1/tasks/build/status",
        {"status": "failed", "agent": "coder-2", "error": {"e": 1}},
    ),
    post("task failed", "/v1/tasks/build/status", {"status": "failed", "error": "again"}),
    post("task pending again", "/v1/tasks/build/status", {"status": "pending"}),
    post("task cancelled", "/v1/tasks/build/status", {"status": "cancelled"}),
    post("task status none", "/v1/tasks/none/status", {"status": "cancelled"}),
    post("task status unknown", "/v1/tasks/later/status", {"status": "done"}),
    post("task status missing", "/v1/tasks/later/status", {}),
    get("tasks", "/v1/tasks"),
    get("tasks a page", "/v1/tasks?limit=1", keep={"cursor": _CURSOR}),
    get("tasks next page", "/v1/tasks?limit=1&cursor=<<cursor>>"),
    get("tasks by status", "/v1/tasks?status=completed"),
    get("tasks by type", "/v1/tasks?type=fix&status=in_progress"),
    get("tasks refused status", "/v1/tasks?status=done"),
    get("tasks refused limit", "/v1/tasks?limit=9999"),
    _delete("task delete", "/v1/tasks/later"),
    _delete("task delete again", "/v1/tasks/later"),
]
PATTERNS = [
    _put("pattern store", "/v1/patterns/review", {"type": "coordination", "confidence": 0.8, "tags": ["code"], "x": 1}),
    _put("pattern store more", "/v1/patterns/review", {"confidence": 0.9}),
    _put("pattern store another", "/v1/patterns/other", {"type": "code"}),
    *(
        _put(f"pattern refused {name}", "/v1/patterns/bad", body)
        for name, body in {
            "confidence": {"confidence": 2},
            "tags": {"tags": [""]},
            "type": {"type": 5},
            "text": '"a"',
        }.items()
    ),
    get("pattern get", "/v1/patterns/review"),
    get("pattern get its tag", "/v1/patterns/review", "If-None-Match: *"),
    get("pattern get none", "/v1/patterns/none"),
    post("pattern use", "/v1/patterns/review/uses", {"success": True}),
    post("pattern use without success", "/v1/patterns/review/uses", {"success": False}),
    post("pattern use of none", "/v1/patterns/none/uses", {"success": True}),
    post("pattern use refused", "/v1/patterns/review/uses", {"success": "yes"}),
    post("pattern use empty", "/v1/patterns/review/uses", {}),
    get("patterns", "/v1/patterns"),
    get("patterns by type", "/v1/patterns?type=code&limit=1"),
    get("patterns best", "/v1/best-patterns"),
    get("patterns best of tags", "/v1/best-patterns?tag=code&tag=none&limit=1"),
    get("patterns best refused", "/v1/best-patterns?limit=101"),
    _delete("pattern delete", "/v1/patterns/other"),
    _delete("pattern delete again", "/v1/patterns/other"),
]
CONSENSUS = [
    post(
        "consensus propose",
        "/v1/consensus",
        {"id": "name", "options": ["ant", "bee"], "voters": ["a", "b", "c"], "taskId": "design"},
    ),
    post("consensus propose again", "/v1/consensus", {"id": "name"}),
    post("consensus propose the defaults", "/v1/consensus", {}, keep={"made-up": _ID}),
    _delete("consensus delete the defaults", "/v1/consensus/<<made-up>>"),
    post(
        "consensus propose more",
        "/v1/consensus",
        {"id": "open", "threshold": 0.75, "minVotes": 2, "deadlineSeconds": 3600, "x": 1},
    ),
    *(
        post(f"consensus refused {name}", "/v1/consensus", body)
        for name, body in {
            "options": {"options": ["a"]},
            "twice": {"options": ["a", "a"]},
            "abstain": {"options": ["a", "abstain"]},
            "voters": {"voters": []},
            "threshold": {"threshold": 0.4},
            "votes": {"minVotes": 0},
            "deadline": {"deadlineSeconds": 0},
        }.items()
    ),
    post("consensus vote", "/v1/consensus/name/votes", {"agent": "a", "choice": "bee", "reason": "shorter"}),
    post("consensus vote otherwise", "/v1/consensus/name/votes", {"agent": "a", "choice": "abstain"}),
    post("consensus vote by nobody", "/v1/consensus/name/votes", {"agent": "z", "choice": "bee"}),
    post("consensus vote for nothing", "/v1/consensus/name/votes", {"agent": "a", "choice": "cat"}),
    post("consensus vote incomplete", "/v1/consensus/name/votes", {"agent": "a"}),
    post("consensus vote on none", "/v1/consensus/none/votes", {"agent": "a", "choice": "bee"}),
    post("consensus vote b", "/v1/consensus/name/votes", {"agent": "b", "choice": "bee"}),
    post("consensus vote c decides", "/v1/consensus/name/votes", {"agent": "c", "choice": "bee"}),
    post("consensus vote too late", "/v1/consensus/name/votes", {"agent": "a", "choice": "ant"}),
    get("consensus get", "/v1/consensus/name"),
    get("consensus get its tag", "/v1/consensus/name", "If-None-Match: *"),
    get("consensus get none", "/v1/consensus/none"),
    post("consensus close fails", "/v1/consensus/open/close"),
    post("consensus close again", "/v1/consensus/open/close", {}),
    post("consensus close none", "/v1/consensus/none/close"),
    post("consensus close refused", "/v1/consensus/open/close", {"x": 1}),
    get("consensus list", "/v1/consensus"),
    get("consensus by status", "/v1/consensus?status=decided"),
    get("consensus by task", "/v1/consensus?task=design&limit=1"),
    get("consensus refused status", "/v1/consensus?status=maybe"),
    _delete("consensus delete", "/v1/consensus/open"),
    _delete("consensus delete again", "/v1/consensus/open"),
]
BULLETINS = [
    get("communications empty", "/v1/communications"),
    post(
        "communication to one",
        "/v1/communications",
        {"fromAgent": "lead", "toAgent": "coder-1", "message": {"type": "question", "text": "tabs?"}},
    ),
    get("communications a page", "/v1/communications?limit=1", keep={"since": r'"cursor":"([^"]+)"'}),
    post(
        "communication to all",
        "/v1/communications",
        {"fromAgent": "lead", "message": {"type": "news", "text": "lunch"}},
    ),
    post("communication to star", "/v1/communications", {"fromAgent": "coder-1", "toAgent": "*", "message": "text"}),
    get("communications since", "/v1/communications?since=<<since>>"),
    get("communications of one", "/v1/communications?agent=coder-1"),
    get("communications from one", "/v1/communications?from=lead&type=news"),
    get("communications refused since", "/v1/communications?since=!"),
    get("communications refused limit", "/v1/communications?limit=0"),
    post("communication without a sender", "/v1/communications", {"message": 1}),
    post("communication without a message", "/v1/communications", {"fromAgent": "a"}),
    post("communication from nobody", "/v1/communications", {"fromAgent": "", "message": 1}),
    post("communication unknown member", "/v1/communications", {"fromAgent": "a", "message": 1, "x": 1}),
    _put("coordination put", "/v1/coordination/lock%2F1", {"holder": "a"}),
    _put("coordination put again", "/v1/coordination/lock%2F1", "null"),
    _put("coordination put no JSON", "/v1/coordination/lock", b"{"),
    get("coordination get", "/v1/coordination/lock%2F1"),
    get("coordination get none", "/v1/coordination/none"),
    get("coordination get with a parameter", "/v1/coordination/none?x=1"),
    _delete("coordination delete", "/v1/coordination/lock%2F1"),
    _delete("coordination delete again", "/v1/coordination/lock%2F1"),
    _put("metrics put", "/v1/metrics/m1", {"type": "load", "agentId": "coder-1", "cpu": 0.5}),
    _put("metrics put again", "/v1/metrics/m1", {"type": "load", "cpu": 1}),
    _put("metrics put another", "/v1/metrics/m2", {"type": "size", "agentId": "b"}),
    _put("metrics refused", "/v1/metrics/m1", {"agentId": 1}),
    get("metrics get", "/v1/metrics/m1"),
    get("metrics get its tag", "/v1/metrics/m1", "If-None-Match: *"),
    get("metrics get none", "/v1/metrics/none"),
    get("metrics", "/v1/metrics"),
    get("metrics by type", "/v1/metrics?type=size"),
    get("metrics by agent", "/v1/metrics?agent=b&limit=1"),
    get("swarm", "/v1/swarm"),
    get("swarm with a parameter", "/v1/swarm?x=1"),
    get("records as entries", "/v1/search?namespace=swarm:tasks&values=false"),
]
SCENARIO = Scenario("http_records", [*AGENTS, *TASKS, *PATTERNS, *CONSENSUS, *BULLETINS])
