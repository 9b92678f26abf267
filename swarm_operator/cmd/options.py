"""Flags of swarm-operator, and the environment variables that give their defaults."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from swarm_operator import __version__
from swarm_operator.runtime.leader_election import check_times
from swarm_operator.runtime.server import parse_address
from swarm_operator.shared.log_level import LEVELS

PREFIX: Final = "SWARM_OPERATOR_"
"""Prefix of the environment variables. Without it LOG_LEVEL or MEMORY_URL, which others set for themselves, would be
ours."""


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the flags. An environment variable gives `--status-interval` too: `$SWARM_OPERATOR_STATUS_INTERVAL`.

    `old_variables` of the result are the variables without the prefix that were used, as before there was one.
    """
    parser = argparse.ArgumentParser(
        prog="swarm-operator",
        description="swarm-operator: the manager that runs all reconcilers.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    flags = _Flags(parser)
    _add_memories(flags)
    _add_manager(flags)
    _add_leader_election(flags)
    options = parser.parse_args(argv)
    options.old_variables = flags.old_variables
    times = (
        options.leader_election_lease_duration,
        options.leader_election_renew_deadline,
        options.leader_election_retry_period,
    )
    try:
        check_times(*times)
    except ValueError as error:
        parser.error(str(error))
    return options


class _Flags:
    """Adds flags whose defaults come from the environment."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._parser = parser
        self.old_variables: list[str] = []

    def add(self, name: str, kind: Callable[[str], Any], default: object, says: str) -> None:
        """Add a flag with a value."""
        variable = self._variable_of(name)
        value = os.environ.get(variable) or default
        self._parser.add_argument(name, type=kind, default=value, help=f"{says} (${variable})")

    def switch(self, name: str, says: str, *, default: bool) -> None:
        """Add a flag that is on or off."""
        variable = self._variable_of(name)
        value = _switch(variable, default=default)
        self._parser.add_argument(
            name, action=argparse.BooleanOptionalAction, default=value, help=f"{says} (${variable})"
        )

    def _variable_of(self, name: str) -> str:
        """Return the environment variable that gives a flag its default."""
        old = name.removeprefix("--").replace("-", "_").upper()
        # $KUBECONFIG is kubectl's own variable, which load_config reads.
        if os.environ.get(PREFIX + old) or not os.environ.get(old) or old == "KUBECONFIG":
            return PREFIX + old
        self.old_variables.append(old)
        return old


def _add_memories(flags: _Flags) -> None:
    image = f"swarm-memory:{__version__}"
    flags.add("--memory-image", str, image, "image of the memory service, for stores that name no version")
    secrets = "comma-separated names of the Secrets with which that image is pulled, in each store's namespace"
    flags.add("--memory-image-pull-secrets", _names, "", secrets)
    url = "http://{name}.{namespace}.svc:8080"
    flags.add("--memory-url", str, url, "where the memory service of store {name} in {namespace} is reached")
    swarm = "namespace of the swarm of a SwarmCluster that asks for namespaces and names none"
    flags.add("--swarm-namespace", _namespace, "claude-flow-swarm", swarm)
    hive = "the same for its hive mind"
    flags.add("--hive-mind-namespace", _namespace, "claude-flow-hivemind", hive)
    own = "namespace of the operator's pods, which NetworkPolicies of stores let in; a pod's default is its own"
    flags.add("--operator-namespace", str, _own_namespace(), own)
    flags.add("--status-interval", _seconds, 30.0, "seconds between two looks at a ready store's numbers")
    flags.add("--max-concurrent-backups", _positive, 4, "backups that are made at one time")
    flags.add("--max-concurrent-restarts", _positive, 1, "stores whose pods are replaced at one time")
    deadline = "seconds for which a backup or a restore waits at most for what it needs"
    flags.add("--backup-deadline", _seconds, 3600.0, deadline)
    final = "seconds after a store's deletion until which its final backup is tried; then its volume is kept"
    flags.add("--final-backup-deadline", _seconds, 3600.0, final)


def _add_manager(flags: _Flags) -> None:
    flags.add("--kubeconfig", str, None, "kubeconfig file; without one in-cluster, then ~/.kube/config")
    flags.add("--watch-namespaces", _names, "", "comma-separated namespaces to watch; empty for all")
    flags.add("--max-concurrent-reconciles", _positive, 4, "workers of each controller")
    flags.add("--metrics-bind-address", _address, ":8443", "where /metrics is served; 0 for nowhere")
    secure = "serve /metrics over HTTPS, and only to those who may get the non-resource URL /metrics"
    flags.switch("--metrics-secure", secure, default=True)
    certificate = "folder with tls.crt and tls.key for --metrics-secure; a self-signed one is made if none is given"
    flags.add("--metrics-cert-dir", Path, None, certificate)
    flags.add("--health-probe-bind-address", _address, ":8081", "where /healthz and /readyz are served")
    grace = "seconds that reconciles under way have to end when the process is told to stop"
    flags.add("--graceful-shutdown-timeout", _grace, 30.0, grace)
    flags.add("--log-level", _level, "info", f"the least that is logged: {', '.join(LEVELS)}")


def _add_leader_election(flags: _Flags) -> None:
    elect = "reconcile only while holding the lease; needed as soon as there is a second replica"
    flags.switch("--leader-elect", elect, default=False)
    flags.add("--leader-election-id", str, "swarm-operator", "name of the lease")
    own = _own_namespace() or "default"
    flags.add("--leader-election-namespace", str, own, "namespace of the lease; a pod's default is its own")
    flags.add("--leader-election-lease-duration", _seconds, 15.0, "seconds until another takes over")
    flags.add("--leader-election-renew-deadline", _seconds, 10.0, "seconds until the leader gives up")
    flags.add("--leader-election-retry-period", _seconds, 2.0, "seconds between two renewals")


def _own_namespace() -> str:
    """Return the namespace of the pod that this runs in; empty if it runs in none."""
    try:
        return Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _namespace(text: str) -> str:
    if not re.fullmatch(r"(?!kube-)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; the name of a namespace without kube- is")
    return text


def _level(text: str) -> str:
    if text not in LEVELS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; {', '.join(LEVELS)} are")
    return text


def _switch(variable: str, *, default: bool) -> bool:
    """Return a flag's default from the environment: true or false.

    Raises:
        SystemExit: the value is anything else; argparse does the same.
    """
    text = os.environ.get(variable, "").lower()
    if text not in {"", "true", "false"}:
        sys.stderr.write(f"swarm-operator: error: ${variable}: {text!r} is not allowed; true and false are\n")
        raise SystemExit(2)
    return text == "true" if text else default


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; a whole number from 1 up is")
    return int(text)


def _seconds(text: str, *, least: float = 0.1) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; seconds from {least:g} to 86400 are")
    return value


def _grace(text: str) -> float:
    return _seconds(text, least=0.0)


def _address(text: str) -> tuple[str, int] | None:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
