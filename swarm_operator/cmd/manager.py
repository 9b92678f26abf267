"""swarm-operator: the manager that runs all reconcilers."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import uuid
from collections.abc import Sequence

import structlog
import uvloop

from swarm_operator import __version__
from swarm_operator.cmd import logs
from swarm_operator.cmd.options import PREFIX, Options, parse
from swarm_operator.controllers.common import kinds, labels
from swarm_operator.controllers.metrics import COLLECTORS
from swarm_operator.controllers.swarmcluster import SwarmClusterReconciler
from swarm_operator.controllers.swarmcluster.github.api import GitHubApi
from swarm_operator.controllers.swarmcluster.placement import DefaultNamespaces
from swarm_operator.controllers.swarmmemorybackup import SwarmMemoryBackupReconciler
from swarm_operator.controllers.swarmmemorybackup.service import HttpBackupService
from swarm_operator.controllers.swarmmemoryrestore import SwarmMemoryRestoreReconciler
from swarm_operator.controllers.swarmmemoryrestore.service import HttpRestoreService
from swarm_operator.controllers.swarmmemorystore import SwarmMemoryStoreReconciler
from swarm_operator.controllers.swarmmemorystore.stats import Observer
from swarm_operator.runtime import stacks
from swarm_operator.runtime.cache import Cache, CachedClient
from swarm_operator.runtime.client import Client
from swarm_operator.runtime.clock import SystemClock
from swarm_operator.runtime.config import load_config
from swarm_operator.runtime.controller import Controller
from swarm_operator.runtime.delegated_auth import DelegatedAuth
from swarm_operator.runtime.events import EventRecorder
from swarm_operator.runtime.kubernetes_asyncio import ConfigException, Configuration
from swarm_operator.runtime.leader_election import LeaderElector
from swarm_operator.runtime.loop_lag import LoopMonitor
from swarm_operator.runtime.manager import Manager, TaskEndedError
from swarm_operator.runtime.metrics import Metrics, process_registry
from swarm_operator.runtime.server import Server, health_app, metrics_app
from swarm_operator.runtime.serving_cert import BadCertificateError, ServingCertificate

log = structlog.get_logger(__name__)

_STOPPING = (signal.SIGTERM, signal.SIGINT)

_LOADING = 60.0
"""Seconds within which the first lists are there, if they can be had."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT. Returns the exit code."""
    options = parse(argv)
    logs.configure(options.log_level)
    for variable in options.old_variables:
        log.warning("an environment variable has an old name", old=variable, new=PREFIX + variable)
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


async def run(options: Options) -> None:
    """Assemble the manager and run it until a signal arrives."""
    stop = asyncio.Event()
    _handle_signals(stop)
    configuration = await load_config(options.kubeconfig)
    metrics = Metrics(process_registry())
    for collector in COLLECTORS:
        metrics.registry.register(collector)
    async with contextlib.AsyncExitStack() as stack:
        instance = os.environ.get("POD_NAME") or socket.gethostname()
        elector = await _elector(options, configuration, instance, stack, metrics) if options.leader_elect else None
        agent = f"swarm-operator/{__version__}"
        client = await stack.enter_async_context(
            Client(
                configuration,
                user_agent=agent,
                may_write=elector.is_leading if elector else lambda: True,
                metrics=metrics,
            )
        )
        guarded = options.metrics_secure and options.metrics_bind_address
        guard = await _metrics_guard(options, configuration, stack, metrics) if guarded else None
        manager = assemble(client, options, elector=elector, instance=instance, metrics=metrics, metrics_guard=guard)
        log.info("starting", version=__version__, server=configuration.host)
        loading = asyncio.create_task(load_without_collecting(manager.cache))
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


async def load_without_collecting(cache: Cache) -> None:
    """Disable Python's garbage collector while the caches get their first lists.

    The lists have no cycles and most objects stay. The collector would scan them again and again while they grow, and
    block the event loop each time: for 0.1 s with 1,000 stores. Afterwards it scans later objects only.
    """
    gc.disable()
    try:
        async with asyncio.timeout(_LOADING):
            await cache.wait_synced()
    except TimeoutError:
        pass  # the API server is unreachable: garbage of its errors must not accumulate
    finally:
        gc.freeze()
        gc.enable()


def assemble(
    client: Client,
    options: Options,
    *,
    elector: LeaderElector | None = None,
    instance: str,
    metrics: Metrics | None = None,
    metrics_guard: tuple[DelegatedAuth, ServingCertificate] | None = None,
) -> Manager:
    """Wire all reconcilers into a manager that is ready to run.

    Args:
        client: where to read and write.
        options: what `parse` returned.
        elector: decides whether they run here; None for always.
        instance: who we are, in events.
        metrics: what /metrics serves; None for metrics of this manager alone.
        metrics_guard: authorization and certificate of /metrics; None serves all callers over HTTP.
    """
    metrics = metrics or Metrics()
    auth, certificate = metrics_guard or (None, None)
    recorder = EventRecorder(client, controller="swarm-operator", instance=instance)
    cache = Cache(
        client,
        namespaces=options.watch_namespaces,
        label_selector=labels.MANAGED,
        label_selectors=dict.fromkeys(kinds.CUSTOM_RESOURCES, ""),
        metrics=metrics,
    )
    caching = CachedClient(client, cache)
    clusters = SwarmClusterReconciler(
        caching,
        recorder,
        image=options.memory_image,
        pull_secrets=options.memory_image_pull_secrets,
        defaults=DefaultNamespaces(options.swarm_namespace, options.hive_mind_namespace),
        github=GitHubApi(SystemClock().now, user_agent=f"swarm-operator/{__version__}"),
    )
    stores = SwarmMemoryStoreReconciler(
        caching,
        recorder,
        Observer(options.memory_url),
        options.memory_image,
        pull_secrets=options.memory_image_pull_secrets,
        operator_namespace=options.operator_namespace,
        status_interval=options.status_interval,
        final_deadline=options.final_backup_deadline,
        most_restarts=options.max_concurrent_restarts,
    )
    backups = SwarmMemoryBackupReconciler(
        caching,
        recorder,
        HttpBackupService(options.memory_url),
        options.memory_image,
        pull_secrets=options.memory_image_pull_secrets,
        most=options.max_concurrent_backups,
        deadline=options.backup_deadline,
        final_deadline=options.final_backup_deadline,
    )
    restores = SwarmMemoryRestoreReconciler(
        caching, recorder, HttpRestoreService(options.memory_url), deadline=options.backup_deadline
    )
    workers = options.max_concurrent_reconciles
    controllers = [
        Controller("swarmcluster", clusters, cache, workers=workers, metrics=metrics),
        Controller("swarmmemorystore", stores, cache, workers=workers, metrics=metrics),
        Controller("swarmmemorybackup", backups, cache, workers=workers, metrics=metrics),
        Controller("swarmmemoryrestore", restores, cache, workers=workers, metrics=metrics),
    ]
    clusters.set_up(controllers[0])
    stores.set_up(controllers[1])
    backups.set_up(controllers[2])
    restores.set_up(controllers[3])
    manager = Manager(cache, elector=elector, graceful_timeout=options.graceful_shutdown_timeout)
    manager.add(LoopMonitor(metrics=metrics), recorder, stores.keys, *controllers)
    if options.metrics_bind_address:
        app = metrics_app(metrics.registry, auth=auth)
        manager.add(Server(app, options.metrics_bind_address, certificate=certificate))
    if options.health_probe_bind_address:
        manager.add(Server(health_app(manager.healthz, manager.readyz), options.health_probe_bind_address))
    return manager


async def _elector(
    options: Options, configuration: Configuration, instance: str, stack: contextlib.AsyncExitStack, metrics: Metrics
) -> LeaderElector:
    # A separate client, with half the deadline for one request: a hung request must leave time for another.
    timeout = max(1.0, options.leader_election_renew_deadline / 2)
    client = Client(
        configuration, user_agent=f"swarm-operator/{__version__}/leader-election", timeout=timeout, metrics=metrics
    )
    return LeaderElector(
        await stack.enter_async_context(client),
        options.leader_election_namespace,
        options.leader_election_id,
        # A restarted container has its pod's name still: without the suffix it would take its predecessor for itself.
        f"{instance}_{uuid.uuid4()}",
        lease_duration=options.leader_election_lease_duration,
        renew_deadline=options.leader_election_renew_deadline,
        retry_period=options.leader_election_retry_period,
        metrics=metrics,
    )


async def _metrics_guard(
    options: Options, configuration: Configuration, stack: contextlib.AsyncExitStack, metrics: Metrics
) -> tuple[DelegatedAuth, ServingCertificate]:
    # A separate client: a standby replica must not write, but is scraped too. Few requests at once and 10 s for a
    # review, as in controller-runtime, so that a flood of callers stays here.
    agent = f"swarm-operator/{__version__}/metrics"
    client = Client(configuration, user_agent=agent, timeout=10.0, max_requests=4, metrics=metrics)
    certificate = ServingCertificate(options.metrics_cert_dir, metrics=metrics)
    return DelegatedAuth(await stack.enter_async_context(client)), certificate


if __name__ == "__main__":
    sys.exit(main())
