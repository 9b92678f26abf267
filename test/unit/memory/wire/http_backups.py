"""Backups and restores over HTTP. Only the first and the last answer of a job are recorded."""

from unit.memory.wire.steps import ADMIN, CLIENT, READER, Http, Scenario, get, put

_ENDED = r'"phase":"(Completed|Failed)"'
_OPERATIONS = [
    ("GET", "/admin/backups", None),
    ("GET", "/admin/backups/monday", None),
    ("PUT", "/admin/backups/monday", {}),
    ("POST", "/admin/backups/monday/verify", None),
    ("DELETE", "/admin/backups/monday", None),
    ("GET", "/admin/restores", None),
    ("GET", "/admin/restores/back", None),
    ("PUT", "/admin/restores/back", {"backup": "monday"}),
]
WITHOUT_DESTINATION = [
    Http(f"{method} {target} without a destination", method, target, body, ADMIN)
    for method, target, body in _OPERATIONS
]
"""Of a service that was started without one."""


def _ask(name, method, target, body=None, headers=()):
    return Http(name, method, target, body, ADMIN, headers)


def _wait(name, target):
    return Http(name, "GET", target, token=ADMIN, until=_ENDED)


RIGHTS = [
    Http(f"{method} {target} with {holder}", method, target, body, token)
    for method, target, body in _OPERATIONS
    for holder, token in {"no token": None, "the client's token": CLIENT, "reader": READER}.items()
]
REFUSED = [
    *(
        _ask(f"{method} {target} with a parameter", method, f"{target}?x=1", body)
        for method, target, body in _OPERATIONS
    ),
    *(
        _ask(f"{method} {target} {name}", method, target, headers=(header,))
        for method, target in (("PUT", "/admin/backups/monday"), ("PUT", "/admin/restores/back"))
        for name, header in {
            "with a body that is too large": "Content-Length: 100000000",
            "with a compressed body": "Content-Encoding: gzip",
        }.items()
    ),
    _ask("backup of a name that is not allowed", "PUT", "/admin/backups/Monday"),
    _ask("backup for no reason", "PUT", "/admin/backups/monday", {"reason": ""}),
    _ask("backup with an unknown member", "PUT", "/admin/backups/monday", {"x": 1}),
    _ask("restore of a name that is not allowed", "PUT", "/admin/restores/Back", {"backup": "monday"}),
    *(
        _ask(f"restore refused {number}", "PUT", "/admin/restores/back", body)
        for number, body in enumerate((
            {}, {"backup": "monday", "location": "file:///b"}, {"backup": 1}, {"backup": "monday", "namespaces": []},
            {"backup": "monday", "namespaces": ["n", ""]}, {"backup": "monday", "key_prefix": 1},
            {"backup": "monday", "dry_run": 1}, {"backup": "monday", "safety_backup": 1}, {"backup": "monday", "x": 1},
        ))
    ),
]  # fmt: skip
BACKUPS = [
    _ask("no backups", "GET", "/admin/backups"),
    _ask("no backup", "GET", "/admin/backups/monday"),
    _ask("verify no backup", "POST", "/admin/backups/monday/verify"),
    _ask("delete no backup", "DELETE", "/admin/backups/monday"),
    put("put what is backed up", "team/a", {"n": 1}, tags=["t"]),
    put("put more that is backed up", "team/b", 2),
    put("put what is backed up elsewhere", "other/a", 3),
    _ask("backup is begun", "PUT", "/admin/backups/monday", {"reason": "Requested"}),
    _wait("backup is complete", "/admin/backups/monday"),
    _ask("backup again", "PUT", "/admin/backups/monday", {"reason": "Scheduled"}),
    _ask("verification is begun", "POST", "/admin/backups/monday/verify"),
    _wait("verification is complete", "/admin/backups/monday"),
    _ask("backups", "GET", "/admin/backups"),
]
RESTORES = [
    _ask("no restores", "GET", "/admin/restores"),
    _ask("no restore", "GET", "/admin/restores/back"),
    put("put over what is backed up", "team/a", {"n": 2}),
    put("put what is not backed up", "team/c", 4),
    put("put over what is backed up elsewhere", "other/a", 5),
    _ask("plan is begun", "PUT", "/admin/restores/plan", {"backup": "monday", "dry_run": True}),
    _wait("plan is complete", "/admin/restores/plan"),
    _ask("part is begun", "PUT", "/admin/restores/part", {
        "backup": "monday", "namespaces": ["team"], "key_prefix": "a"}),
    _wait("part is complete", "/admin/restores/part"),
    get("what the part restored", "/v1/entries/team/a"),
    _ask("restore is begun", "PUT", "/admin/restores/back", {"backup": "monday"}),
    _wait("restore is complete", "/admin/restores/back"),
    _ask("restore again", "PUT", "/admin/restores/back", {"backup": "monday"}),
    _ask("another restore of that name", "PUT", "/admin/restores/back", {"backup": "tuesday"}),
    _ask("restore of no backup is begun", "PUT", "/admin/restores/none", {"backup": "none"}),
    _wait("restore of no backup has failed", "/admin/restores/none"),
    _ask("restores", "GET", "/admin/restores"),
    get("what was restored", "/v1/entries/team/a"),
    get("what was not backed up", "/v1/entries/team/c"),
    put("compare with a version of before", "team/a", 1, headers=['If-Match: "3"']),
    get("watch from a position of before", "/v1/watch?since=1"),
    get("what was restored elsewhere", "/v1/entries/other/a"),
    _ask("delete the backup", "DELETE", "/admin/backups/monday"),
    _ask("the backup is deleted", "GET", "/admin/backups/monday"),
]  # fmt: skip
SCENARIO = Scenario("http_backups", [*RIGHTS, *REFUSED, *BACKUPS, *RESTORES], flags=("--backups", "file://{directory}"))
