"""Leases over HTTP."""

from unit.memory.wire.steps import READER, SWARM, Http, Scenario, get, post


def _lease(action, name, **body):
    return post(f"lease {name}", f"/v1/leases/queen/{action}", body)


_OPERATIONS = [
    ("GET", "/v1/leases/queen", None),
    *(("POST", f"/v1/leases/queen/{action}", {"agent": "b"}) for action in ("claim", "renew", "release")),
]

SCENARIO = Scenario(
    "http_leases",
    [
        get("lease get none", "/v1/leases/queen"),
        _lease("renew", "renew none", agent="a"),
        _lease("release", "release none", agent="a"),
        _lease("claim", "claim", agent="a", lease=60),
        _lease("claim", "claim one's own", agent="a"),
        _lease("claim", "claim another's", agent="b"),
        _lease("renew", "renew", agent="a", lease=0.5),
        _lease("renew", "renew another's", agent="b"),
        get("lease get", "/v1/leases/queen"),
        get("lease get as an entry", "/v1/entries/swarm:leases/lease:queen"),
        _lease("release", "release another's", agent="b"),
        _lease("release", "release", agent="a"),
        _lease("release", "release again", agent="a"),
        _lease("claim", "claim by another", agent="b"),
        _lease("claim", "claim without an agent"),
        _lease("claim", "claim for ever", agent="a", lease=1e9),
        _lease("claim", "claim for nothing", agent="a", lease=0),
        _lease("renew", "renew without an agent"),
        _lease("release", "release without an agent"),
        _lease("claim", "claim unknown member", agent="a", x=1),
        *(
            Http(f"{method} {target} with {holder}", method, target, body, token)
            for method, target, body in _OPERATIONS
            for holder, token in {"no token": None, "reader": READER, "swarm": SWARM}.items()
        ),
        *(
            Http(f"{method} {target} with {header}", method, target, None, headers=(header,))
            for method, target, body in _OPERATIONS
            for header in ("Content-Length: 100000000", "Content-Encoding: gzip")
            if body
        ),
        *(Http(f"{method} {target} unknown", method, f"{target}?zzz=1", body) for method, target, body in _OPERATIONS),
        get("lease refused query", "/v1/leases/queen?x=1"),
    ],
)
