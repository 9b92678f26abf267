"""What each kind of principal may do and see, as plainly as can be. It shares no code with the service.

The namespaces of a token are those that it names and those below them: `alpha` covers `alpha/beta`, not `alphabet`.
"""

import functools
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from support.service_accounts import Issuer

PLAIN = ("alpha", "alpha/beta", "alphabet", "gamma")
"""Namespaces of entries."""
AGENTS, TASKS, PATTERNS = "swarm:agents", "swarm:tasks", "swarm:patterns"
CONSENSUS, MESSAGES, COORDINATION, METRICS = (
    "swarm:consensus", "swarm:communications", "swarm:coordination", "swarm:metrics",
)  # fmt: skip
LEASES = "swarm:leases"
SWARM = (AGENTS, TASKS, PATTERNS, CONSENSUS, MESSAGES, COORDINATION, METRICS)
STONES = {
    "alpha": "axinite", "alpha/beta": "beryl", "alphabet": "citrine", "gamma": "garnet", AGENTS: "emerald",
    TASKS: "fluorite", PATTERNS: "hematite", CONSENSUS: "iolite", MESSAGES: "jasper", COORDINATION: "kyanite",
    METRICS: "lazurite", LEASES: "malachite",
}  # fmt: skip
"""A word that occurs in everything that a namespace holds, and nowhere else."""

OK, UNAUTHENTICATED, FORBIDDEN = "ok", "unauthenticated", "forbidden"


@dataclass(frozen=True)
class Holder:
    """A kind of principal.

    Attributes:
        name: of the token; "" is the caller without one.
        scope: the namespaces of the token; None: all.
        writes: the token may write where it may read.
        admin: it is the admin token.
        account: the token is one of a service account, which the cluster has signed for its pod.
        known: the token is valid, and its service account has access to this memory.
    """

    name: str
    scope: tuple[str, ...] | None = None
    writes: bool = True
    admin: bool = False
    account: bool = False
    known: bool = True

    @functools.cached_property
    def token(self):
        if self.account:
            return ISSUER.token(account=self.name)
        return f"{self.name}-0123456789abcdef" if self.name else None

    @property
    def principal(self):
        """The name by which it is known to the memory."""
        return f"swarm:{self.name}:agent-0" if self.account else self.name

    def covers(self, namespace):
        if self.scope is None:
            return self.known
        return any(namespace == root or namespace.startswith(root + "/") for root in self.scope)


ISSUER = Issuer()
NOBODY = Holder("", scope=(), known=False)
HOLDERS = (
    NOBODY,
    Holder("admin", admin=True),
    Holder("client"),
    Holder("reader", writes=False),
    Holder("alpha-writer", scope=("alpha",)),
    Holder("alpha-reader", scope=("alpha",), writes=False, account=True),
    Holder("beta-writer", scope=("alpha/beta",), account=True),
    Holder("worker", scope=(TASKS, "gamma")),
    Holder("agent-of-another-swarm", scope=(), account=True, known=False),
)


@dataclass(frozen=True)
class Needs:
    """What an operation takes.

    Attributes:
        token: a valid token.
        reads: the right to read in each of these namespaces.
        writes: the right to write in each of these.
        everything: the right to read in all namespaces.
        admin: the admin token.
    """

    token: bool = True
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    everything: bool = False
    admin: bool = False


NOTHING = Needs(token=False)
TOKEN = Needs()
ADMIN = Needs(admin=True)
EVERYTHING = Needs(everything=True)


def read(*namespaces):
    return Needs(reads=namespaces)


def write(*namespaces):
    return Needs(writes=namespaces)


def verdict(holder, needs):
    """How a holder's request is answered."""
    if not needs.token:
        return OK
    if not holder.known:
        return UNAUTHENTICATED
    may = (
        (holder.admin or not needs.admin)
        and (holder.writes or not needs.writes)
        and (holder.scope is None or not needs.everything)
        and all(holder.covers(namespace) for namespace in (*needs.reads, *needs.writes))
    )
    return OK if may else FORBIDDEN


VISIBLE = None
"""Of Case.shows: whatever the holder may read."""


@dataclass(frozen=True)
class Case:
    """One request of an operation.

    Attributes:
        needs: what it takes.
        request: what is sent, in the protocol's own form.
        shows: the namespaces whose entries a good answer shows; VISIBLE: all that the holder may read.
        names: the answer shows the names of these namespaces, and not their entries.
        follows: the answer is a stream of changes.
        statuses: of a good answer.
    """

    needs: Needs
    request: Any
    shows: tuple[str, ...] | None = ()
    names: bool = False
    follows: bool = False
    statuses: tuple[int | str, ...] = (200, 201, 204)


def key(namespace):
    return f"key-{STONES[namespace]}"


def _name(namespace):
    """The name of a namespace as a whole, plain or percent-encoded."""
    spellings = "|".join(re.escape(each) for each in {namespace, quote(namespace, safe="")})
    return re.compile(rf"(?<![\w-])(?:{spellings})(?![\w/%-])")


def leaks(holder, text):
    """What an answer to this holder shows of namespaces that it may not read."""
    foreign = [namespace for namespace in STONES if not holder.covers(namespace)]
    found = [STONES[namespace] for namespace in foreign if STONES[namespace] in text]
    # The names of the records' namespaces are no secret: the documentation and the descriptions of tools have them.
    return found + [namespace for namespace in foreign if namespace in PLAIN and _name(namespace).search(text)]


def missing(holder, case, text):
    """What a good answer should show and does not."""
    wanted = [each for each in PLAIN if holder.covers(each)] if case.shows is VISIBLE else case.shows
    return [each for each in wanted if not (_name(each).search(text) if case.names else STONES[each] in text)]
