"""swarm-operator: the manager that runs all reconcilers."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import structlog
import uvloop
from kubernetes_asyncio.client.configuration import Configuration
from kubernetes_asyncio.config import ConfigException

from swarm_operator import __version__
from swarm_operator.cmd import logs
from swarm_operator.controllers.swarmcluster import SwarmClusterReconciler
from swarm_operator.controllers.swarmmemorybackup import SwarmMemoryBackupReconciler
from swarm_operator.controllers.swarmmemorybackup.service import HttpBackupService
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.stats import Observer
from swarm_operator.runtime import stacks
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.delegated_auth import DelegatedAuth
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.leader_election import LeaderElector, check_times
from swarm_operator.runtime.manager import Manager, TaskEndedError
from swarm_operator.runtime.server import parse_address
from swarm_operator.runtime.serving_cert import BadCertificateError, ServingCertificate

log = structlog.get_logger(__name__)

_STOPPING = (signal.SIGTERM, signal.SIGINT)

_PREFIX = "SWARM_OPERATOR_"
"""Of the environment variables. Without it LOG_LEVEL or MEMORY_URL, which others set for themselves, would be ours."""

_LOADING = 60.0
"""Seconds within which the first lists are there, if they can be had."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code."""
    options = parse(argv)
    logs.configure(options.log_level)
    for variable in options.old_variables:
        log.warning("an environment variable has an old name", old=variable, new=_PREFIX + variable)
    try:
        uvloop.run(run(options))
    except TaskEndedError as error:
        log.error("exiting", reason=str(error))  # noqa: TRY400 - the traceback was logged where it happened
        return 1
    except BadCertificateError as error:
        log.error("/metrics cannot be served", error=str(error))  # noqa: TRY400 - no bug
        return 1
    except ConfigException as error:
        log.error("no way to reach a Kubernetes API server", error=str(error))  # noqa: TRY400 - no bug
        return 1
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the flags. An environment variable gives `--status-interval` too: `$SWARM_OPERATOR_STATUS_INTERVAL`.

    `old_variables` of the result are the variables without the prefix that were used, as before there was one.
    """
    old_variables: list[str] = []
    parser = argparse.ArgumentParser(
        prog="swarm-operator",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)

    def variable_of(name: str) -> str:
        """Return the environment variable that gives a flag its default."""
        old = name.removeprefix("--").replace("-", "_").upper()
        # $KUBECONFIG is kubectl's own variable, which load_config reads.
        if os.environ.get(_PREFIX + old) or not os.environ.get(old) or old == "KUBECONFIG":
            return _PREFIX + old
        old_variables.append(old)
        return old

    def flag(name: str, kind: Callable[[str], Any], default: object, says: str) -> None:
        variable = variable_of(name)
        value = os.environ.get(variable) or default
        parser.add_argument(name, type=kind, default=value, help=f"{says} (${variable})")

    def switch(name: str, says: str, *, default: bool) -> None:
        variable = variable_of(name)
        value = _switch(variable, default=default)
        parser.add_argument(name, action=argparse.BooleanOptionalAction, default=value, help=f"{says} (${variable})")

    flag("--kubeconfig", str, None, "kubeconfig file; without one in-cluster, then ~/.kube/config")
    image = f"swarm-memory:{__version__}"
    flag("--memory-image", str, image, "image of the memory service, for stores that name no version")
    secrets = "comma-separated names of the Secrets with which that image is pulled, in each store's namespace"
    flag("--memory-image-pull-secrets", _names, "", secrets)
    url = "http://{name}.{namespace}.svc:8080"
    flag("--memory-url", str, url, "where the memory service of store {name} in {namespace} is reached")
    flag("--watch-namespaces", _names, "", "comma-separated namespaces to watch; empty for all")
    flag("--max-concurrent-reconciles", _positive, 4, "workers of each controller")
    flag("--status-interval", _seconds, 30.0, "seconds between two looks at a ready store's numbers")
    flag("--max-concurrent-backups", _positive, 4, "backups that are made at one time")
    flag("--backup-deadline", _seconds, 3600.0, "seconds for which a backup waits at most for what it needs")
    flag("--metrics-bind-address", _address, ":8443", "where /metrics is served; 0 for nowhere")
    secure = "serve /metrics over HTTPS, and only to those who may get the non-resource URL /metrics"
    switch("--metrics-secure", secure, default=True)
    certificate = "folder with tls.crt and tls.key for --metrics-secure; a self-signed one is made if none is given"
    flag("--metrics-cert-dir", Path, None, certificate)
    flag("--health-probe-bind-address", _address, ":8081", "where /healthz and /readyz are served")
    grace = "seconds that reconciles under way have to end when the process is told to stop"
    flag("--graceful-shutdown-timeout", _grace, 30.0, grace)
    elect = "reconcile only while holding the lease; needed as soon as there is a second replica"
    switch("--leader-elect", elect, default=False)
    flag("--leader-election-id", str, "swarm-operator", "name of the lease")
    own = _own_namespace()
    flag("--leader-election-namespace", str, own, "namespace of the lease; a pod's default is its own")
    flag("--leader-election-lease-duration", _seconds, 15.0, "seconds until another takes over")
    flag("--leader-election-renew-deadline", _seconds, 10.0, "seconds until the leader gives up")
    flag("--leader-election-retry-period", _seconds, 2.0, "seconds between two renewals")
    flag("--log-level", _level, "info", f"the least that is logged: {', '.join(logs.LEVELS)}")
    options = parser.parse_args(argv)
    options.old_variables = old_variables
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


async def run(options: argparse.Namespace) -> None:
    """Wire everything and run it until a signal comes."""
    stop = asyncio.Event()
    _handle_signals(stop)
    configuration = await load_config(options.kubeconfig)
    async with contextlib.AsyncExitStack() as stack:
        instance = os.environ.get("POD_NAME") or socket.gethostname()
        elector = await _elector(options, configuration, instance, stack) if options.leader_elect else None
        agent = f"swarm-operator/{__version__}"
        client = await stack.enter_async_context(
            Client(configuration, user_agent=agent, may_write=elector.is_leading if elector else lambda: True)
        )
        guarded = options.metrics_secure and options.metrics_bind_address
        guard = await _metrics_guard(options, configuration, stack) if guarded else None
        manager = assemble(client, options, elector=elector, instance=instance, metrics_guard=guard)
        log.info("starting", version=__version__, server=configuration.host)
        loading = asyncio.create_task(load_without_collecting(manager))
        try:
            await manager.run(stop)
        finally:
            loading.cancel()
        log.info("stopped")


def _handle_signals(stop: asyncio.Event) -> None:
    """Set `stop` at the first SIGTERM or SIGINT and end the process at the second; dump the stacks at SIGUSR1."""
    loop = asyncio.get_running_loop()

    def stop_in_order() -> None:
        stop.set()
        for number in _STOPPING:
            loop.remove_signal_handler(number)
            # Not by the loop, which may hang; not by default, which ignores the signal in a container's first process.
            signal.signal(number, lambda *_: os._exit(1))

    for number in _STOPPING:
        loop.add_signal_handler(number, stop_in_order)
    loop.add_signal_handler(signal.SIGUSR1, stacks.dump)


async def load_without_collecting(manager: Manager) -> None:
    """Keep Python's garbage collector off the caches' first lists.

    They hold no cycles and most of them stay, but it would go through all of them again and again while they grow, and
    hold the event loop up each time: for 0.1 s with 1,000 stores. Later it looks at what came after them.
    """
    gc.disable()
    try:
        async with asyncio.timeout(_LOADING):
            await manager.wait_synced()
    except TimeoutError:
        pass  # the API server is away: what its errors leave behind must not pile up
    finally:
        gc.freeze()
        gc.enable()


def assemble(
    client: Client,
    options: argparse.Namespace,
    *,
    elector: LeaderElector | None = None,
    instance: str,
    metrics_guard: tuple[DelegatedAuth, ServingCertificate] | None = None,
) -> Manager:
    """Wire all reconcilers into a manager that is ready to run.

    Args:
        client: where to read and write.
        options: what `parse` returned.
        elector: decides whether they run here; None for always.
        instance: who we are, in events.
        metrics_guard: who may read /metrics, and the certificate that it is served with; None for everybody and HTTP.
    """
    auth, certificate = metrics_guard or (None, None)
    recorder = EventRecorder(client, controller="swarm-operator", instance=instance)
    cache = Cache(client, namespaces=options.watch_namespaces)
    clusters = SwarmClusterReconciler(cache, recorder)
    stores = SwarmMemoryStoreReconciler(
        cache,
        recorder,
        Observer(options.memory_url),
        options.memory_image,
        pull_secrets=options.memory_image_pull_secrets,
        status_interval=options.status_interval,
    )
    backups = SwarmMemoryBackupReconciler(
        cache,
        recorder,
        HttpBackupService(options.memory_url),
        options.memory_image,
        most=options.max_concurrent_backups,
        deadline=options.backup_deadline,
    )
    workers = options.max_concurrent_reconciles
    controllers = [
        Controller("swarmcluster", clusters, cache, workers=workers),
        Controller("swarmmemorystore", stores, cache, workers=workers),
        Controller("swarmmemorybackup", backups, cache, workers=workers),
    ]
    clusters.set_up(controllers[0])
    stores.set_up(controllers[1])
    backups.set_up(controllers[2])
    return Manager(
        cache,
        recorder,
        controllers,
        elector=elector,
        metrics_address=options.metrics_bind_address,
        metrics_auth=auth,
        metrics_certificate=certificate,
        health_address=options.health_probe_bind_address,
        graceful_timeout=options.graceful_shutdown_timeout,
    )


async def _elector(
    options: argparse.Namespace, configuration: Configuration, instance: str, stack: contextlib.AsyncExitStack
) -> LeaderElector:
    # A client of its own, and half the deadline for one request: a hung one must leave time for another.
    timeout = max(1.0, options.leader_election_renew_deadline / 2)
    client = Client(configuration, user_agent=f"swarm-operator/{__version__}/leader-election", timeout=timeout)
    return LeaderElector(
        await stack.enter_async_context(client),
        options.leader_election_namespace,
        options.leader_election_id,
        # A restarted container has its pod's name still: without the suffix it would take its predecessor for itself.
        f"{instance}_{uuid.uuid4()}",
        lease_duration=options.leader_election_lease_duration,
        renew_deadline=options.leader_election_renew_deadline,
        retry_period=options.leader_election_retry_period,
    )


async def _metrics_guard(
    options: argparse.Namespace, configuration: Configuration, stack: contextlib.AsyncExitStack
) -> tuple[DelegatedAuth, ServingCertificate]:
    # A client of its own: a replica that stands by must not write, but is scraped too. Few requests at once and
    # 10 s for a review, as in controller-runtime, so that a flood of callers stays here.
    agent = f"swarm-operator/{__version__}/metrics"
    client = Client(configuration, user_agent=agent, timeout=10.0, max_requests=4)
    certificate = ServingCertificate(options.metrics_cert_dir)
    return DelegatedAuth(await stack.enter_async_context(client)), certificate


def _own_namespace() -> str:
    """The namespace of the pod that this runs in, or default."""
    try:
        return Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace").read_text(encoding="utf-8").strip()
    except OSError:
        return "default"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _level(text: str) -> str:
    if text not in logs.LEVELS:
        raise argparse.ArgumentTypeError(f"{text!r} is not allowed; {', '.join(logs.LEVELS)} are")
    return text


def _switch(variable: str, *, default: bool) -> bool:
    """A flag's default from the environment: true or false. Raises SystemExit for anything else, as argparse does."""
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


if __name__ == "__main__":
    sys.exit(main())
