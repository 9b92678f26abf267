"""Flags of swarm-operator, and the environment variables that give their defaults."""

from __future__ import annotations

import argparse
import dataclasses
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
"""Prefix of the environment variables, so that LOG_LEVEL or MEMORY_URL of other programs has no effect."""


def _own_namespace() -> str:
    """Return the namespace of the pod of this process; empty outside of a pod."""
    try:
        return Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _namespace(text: str) -> str:
    if not re.fullmatch(r"(?!kube-)[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not allowed; allowed: the name of a namespace that does not begin with kube-"
        )
    return text


def _level(text: str) -> str:
    if text not in LEVELS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: {', '.join(LEVELS)}")
    return text


def _on_or_off(variable: str, *, default: bool) -> bool:
    """Return a flag's default from the environment: true or false.

    Raises:
        SystemExit: the value is anything else; argparse does the same.
    """
    text = os.environ.get(variable, "").lower()
    if text not in {"", "true", "false"}:
        sys.stderr.write(f"swarm-operator: error: ${variable}: {text!r} is not allowed; allowed: true or false\n")
        raise SystemExit(2)
    return text == "true" if text else default


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: a whole number of at minimum 1")
    return int(text)


def _seconds(text: str, *, minimum: float = 0.1) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not minimum <= value <= 86400:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; allowed: {minimum:g} to 86400 seconds")
    return value


def _grace(text: str) -> float:
    return _seconds(text, minimum=0.0)


def _address(text: str) -> tuple[str, int] | None:
    try:
        return parse_address(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _flag(kind: Callable[[str], Any], default: object, says: str) -> Any:
    """Declare a flag with a value. A default may be text, as on the command line, or a function that returns it."""
    return dataclasses.field(metadata={"kind": kind, "default": default, "says": says})


def _switch(says: str, *, default: bool) -> Any:
    """Declare a flag without a value, which is on or off."""
    return dataclasses.field(metadata={"default": default, "says": says})


_OWN = "namespace of the operator's pods, which stores' NetworkPolicies admit; default: the pod's own"
_SECRETS = "comma-separated names of pull secrets for that image, in each store's namespace"
_SWARM = "default namespace for swarms with namespaceConfig"
_DEADLINE = "maximum seconds that a backup or a restore waits before it starts"
_FINAL = "seconds after a store's deletion until which its final backup is tried; then its volume is kept"
_SECURE = "serve /metrics over HTTPS to callers who may get the non-resource URL /metrics"
_CERTIFICATE = "folder with tls.crt and tls.key for --metrics-secure; default: a self-signed certificate"
_GRACE = "seconds that reconciles in progress have to end at SIGTERM"
_ELECT = "reconcile only while holding the lease; needed with several replicas"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Values of the flags. A field is a flag: `status_interval` is `--status-interval`."""

    memory_image: str = _flag(
        str, f"swarm-memory:{__version__}", "image of the memory service, for stores that name no version"
    )
    memory_image_pull_secrets: tuple[str, ...] = _flag(_names, "", _SECRETS)
    memory_url: str = _flag(
        str,
        "http://{name}.{namespace}.svc:8080",
        "URL of the memory service of store {name} in {namespace}",
    )
    swarm_namespace: str = _flag(_namespace, "claude-flow-swarm", _SWARM)
    hive_mind_namespace: str = _flag(_namespace, "claude-flow-hivemind", "default namespace for their hive minds")
    operator_namespace: str = _flag(str, _own_namespace, _OWN)
    status_interval: float = _flag(_seconds, 30.0, "seconds between two polls of a ready store's numbers")
    max_concurrent_backups: int = _flag(_positive, 4, "maximum number of backups made at one time")
    max_concurrent_restarts: int = _flag(_positive, 1, "maximum number of stores whose pods are replaced at one time")
    backup_deadline: float = _flag(_seconds, 3600.0, _DEADLINE)
    final_backup_deadline: float = _flag(_seconds, 3600.0, _FINAL)

    kubeconfig: str | None = _flag(str, None, "kubeconfig file; default: in-cluster, then ~/.kube/config")
    watch_namespaces: tuple[str, ...] = _flag(_names, "", "comma-separated namespaces to watch; empty for all")
    max_concurrent_reconciles: int = _flag(_positive, 4, "number of workers of each controller")
    metrics_bind_address: tuple[str, int] | None = _flag(_address, ":8443", "address of /metrics; 0 turns it off")
    metrics_secure: bool = _switch(_SECURE, default=True)
    metrics_cert_dir: Path | None = _flag(Path, None, _CERTIFICATE)  # noqa: RUF009 - a field
    health_probe_bind_address: tuple[str, int] | None = _flag(
        _address, ":8081", "address of /healthz and /readyz; 0 turns them off"
    )
    graceful_shutdown_timeout: float = _flag(_grace, 30.0, _GRACE)
    log_level: str = _flag(_level, "info", f"minimum log level: {', '.join(LEVELS)}")

    leader_elect: bool = _switch(_ELECT, default=False)
    leader_election_id: str = _flag(str, "swarm-operator", "name of the lease")
    leader_election_namespace: str = _flag(
        str, lambda: _own_namespace() or "default", "namespace of the lease; default: the pod's own"
    )
    leader_election_lease_duration: float = _flag(
        _seconds, 15.0, "seconds until another replica takes over an expired lease"
    )
    leader_election_renew_deadline: float = _flag(_seconds, 10.0, "seconds without a renewal until the leader exits")
    leader_election_retry_period: float = _flag(
        _seconds, 2.0, "seconds between two attempts to renew or take the lease"
    )

    old_variables: tuple[str, ...] = ()
    """Environment variables without the prefix that were used. This field is no flag."""


def parse(argv: Sequence[str] | None) -> Options:
    """Parse the flags. An environment variable gives `--status-interval` too: `$SWARM_OPERATOR_STATUS_INTERVAL`."""
    parser = argparse.ArgumentParser(
        prog="swarm-operator",
        description="swarm-operator: the manager that runs all reconcilers.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    old: list[str] = []
    for flag in dataclasses.fields(Options):
        if flag.metadata:
            _add(parser, flag, old)
    options = Options(**vars(parser.parse_args(argv)), old_variables=tuple(old))
    try:
        check_times(
            options.leader_election_lease_duration,
            options.leader_election_renew_deadline,
            options.leader_election_retry_period,
        )
    except ValueError as error:
        parser.error(str(error))
    return options


def _add(parser: argparse.ArgumentParser, flag: dataclasses.Field[Any], old: list[str]) -> None:
    """Add a flag whose default comes from the environment. `old`: takes the variable if it has an old name."""
    name, default = "--" + flag.name.replace("_", "-"), flag.metadata["default"]
    variable = _variable_of(flag.name.upper())
    if not variable.startswith(PREFIX):
        old.append(variable)
    says = f"{flag.metadata['says']} (${variable})"
    if "kind" in flag.metadata:
        value = os.environ.get(variable) or (default() if callable(default) else default)
        parser.add_argument(name, type=flag.metadata["kind"], default=value, help=says)
    else:
        value = _on_or_off(variable, default=default)
        parser.add_argument(name, action=argparse.BooleanOptionalAction, default=value, help=says)


def _variable_of(name: str) -> str:
    """Return the environment variable that gives a flag its default."""
    # $KUBECONFIG is kubectl's own variable, which load_config reads.
    if os.environ.get(PREFIX + name) or not os.environ.get(name) or name == "KUBECONFIG":
        return PREFIX + name
    return name
