"""The steps that a scenario is made of: data, without any behaviour but small helpers that make bytes of JSON.

A text in a step may hold `<<name>>`: it is replaced by what a step before has kept under this name.
"""

import json
from dataclasses import dataclass, field
from typing import Any

CLIENT = "client-0123456789abcdef"
ADMIN = "admin-0123456789abcdef"
READER = "reader-0123456789abcdef"
TEAM = "team-writer-0123456789abcdef"
TEAM_READER = "team-reader-0123456789abcdef"
SWARM = "swarm-writer-0123456789abcdef"
TOKENS = [
    {"name": "reader", "token": READER, "access": "read"},
    {"name": "team", "token": TEAM, "access": "write", "namespaces": ["team"]},
    {"name": "team-reader", "token": TEAM_READER, "access": "read", "namespaces": ["team", "plan"]},
    {"name": "swarm", "token": SWARM, "access": "write", "namespaces": ["swarm:agents", "swarm:tasks"]},
]
"""The further tokens of every service that a scenario runs on."""


def compact(document):
    """JSON without blanks, as it is sent."""
    return document if isinstance(document, str) else json.dumps(document, separators=(",", ":"), ensure_ascii=False)


@dataclass
class Http:
    """A request and its whole answer.

    Attributes:
        name: names the exchange in the recording.
        method: of the request.
        target: of the request, as it is sent.
        body: bytes, or a document that is sent as JSON; None: no body.
        token: of the header Authorization; None: no such header.
        headers: further ones, as they are sent.
        keep: names, and the regular expressions whose first group in the answer is kept under them.
        opaque: the body of the answer is a file of which only the first bytes are compared.
        until: a regular expression; the request is sent again until it is in the answer, which is the one recorded.
    """

    name: str
    method: str
    target: str
    body: Any = None
    token: str | None = CLIENT
    headers: tuple[str, ...] = ()
    keep: dict[str, str] = field(default_factory=dict)
    opaque: bool = False
    until: str = ""


@dataclass
class Stream:
    """A request whose answer does not end: its first events, then steps, then its next events.

    Attributes:
        request: what is sent.
        first: events before the steps. An event ends with an empty line.
        meanwhile: the steps that are played while the stream is open.
        events: events after the steps.
        ends: the service ends the answer after these events, and not the test.
    """

    request: Http
    first: int = 1
    meanwhile: tuple[Any, ...] = ()
    events: int = 0
    ends: bool = False


@dataclass
class Crowd:
    """The same request on many connections that stay open while steps are played.

    It is the last step of a scenario: the service frees what they have taken some time after they have gone.
    """

    request: Http
    count: int
    meanwhile: tuple[Any, ...] = ()


@dataclass
class Grpc:
    """A call.

    Attributes:
        name: names the exchange in the recording.
        method: `/package.Service/Method`; a name without slashes is one of swarm.memory.v1.Memory.
        request: the message as protobuf's text format; bytes are sent as they are.
        token: of the metadata authorization; None: no such metadata.
        metadata: further ones.
        answers: of a stream: how many messages are read before the call is cancelled; None: until its end.
        meanwhile: steps that are played after the first message of a stream.
        keep: names, and the regular expressions whose first group in the answer's text is kept under them.
    """

    name: str
    method: str
    request: str | bytes = ""
    token: str | None = CLIENT
    metadata: tuple[tuple[str, str], ...] = ()
    answers: int | None = None
    meanwhile: tuple[Any, ...] = ()
    keep: dict[str, str] = field(default_factory=dict)


@dataclass
class Scenario:
    """Steps on a service of their own, which starts with an empty memory.

    Attributes:
        name: of the file of its recording.
        steps: in their order.
        flags: of the service; `{directory}` in them is its directory.
        store: the name of a file in recorded/ that the service finds as its database.
        times: whether times are replaced; those of a recorded database are not.
    """

    name: str
    steps: list[Any]
    flags: tuple[str, ...] = ()
    store: str | None = None
    times: bool = True


def put(name, target, value, /, *, token=CLIENT, headers=(), **members):
    """A PUT of an entry: `target` is what follows /v1/entries/."""
    return Http(name, "PUT", f"/v1/entries/{target}", {"value": value, **members}, token, tuple(headers))


def get(name, target, /, *headers, token=CLIENT, keep=None):
    """A GET of a path."""
    return Http(name, "GET", target, None, token, headers, keep or {})


def post(name, target, body=None, /, *, token=CLIENT, keep=None):
    """A POST of a document."""
    return Http(name, "POST", target, body, token, (), keep or {})
