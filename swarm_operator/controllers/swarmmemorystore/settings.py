"""Settings that a store's service changes while it runs.

The spec defines them. Two ways lead to the service:

- The ConfigMap `NAME-settings` holds them as environment variables of the pod, so that each start of the container has
  the newest ones. The pod template names the ConfigMap and does not have its content, so a change restarts no pod.
- The poll of the service compares the current settings with the spec, and changes those that differ (see
  stats.Observer). A service that cannot be reached is changed by a later poll.

A mounted ConfigMap alone would reach the service at the kubelet's next sync of the pod, within a minute or two
(https://kubernetes.io/docs/concepts/configuration/configmap/). The service's refusal would not be reported. Strimzi
changes Kafka brokers in the same two ways: by the broker's API, and by a ConfigMap for its next start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from swarm_operator.api.duration import parse_duration
from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.api.v1alpha1.swarmmemorystore import SwarmMemoryStoreSpec
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done
from swarm_operator.runtime.resource import Object


@dataclass(frozen=True, slots=True)
class LiveSetting:
    """A setting under its names in the spec, in the service's API and in the environment of the service."""

    field: str
    name: str
    variable: str
    text: Callable[[SwarmMemoryStoreSpec], str]
    """Returns the value of the environment variable."""
    value: Callable[[SwarmMemoryStoreSpec], Any]
    """Returns the value in the service's API."""


CACHE_MEMORY: Final = "cache_memory_mb"
_ENABLE_WAL: Final = "enable_wal"

LIVE: Final = (
    LiveSetting("cacheSize", "cache_size", "CACHE_SIZE", lambda s: str(s.cache_size), lambda s: s.cache_size),
    LiveSetting(
        "cacheMemoryMB", CACHE_MEMORY, "CACHE_MEMORY_MB", lambda s: str(s.cache_memory_mb), lambda s: s.cache_memory_mb
    ),
    LiveSetting(
        "compressionThreshold", "compression_threshold", "COMPRESSION_THRESHOLD",
        lambda s: str(s.compression_threshold), lambda s: s.compression_threshold,
    ),
    LiveSetting(
        "gcInterval", "gc_interval_seconds", "GC_INTERVAL", lambda s: s.gc_interval,
        lambda s: parse_duration(s.gc_interval),
    ),
    LiveSetting(
        "enableVacuum", "enable_vacuum", "ENABLE_VACUUM", lambda s: str(s.enable_vacuum).lower(),
        lambda s: s.enable_vacuum,
    ),
    LiveSetting(
        "searchLanguage", "search_language", "SEARCH_LANGUAGE", lambda s: s.search_language, lambda s: s.search_language
    ),
    LiveSetting("logLevel", "log_level", "LOG_LEVEL", lambda s: s.log_level, lambda s: s.log_level),
)  # fmt: skip


class LiveSettings(Step[SwarmMemoryStore]):
    """Ensure the ConfigMap with which the service starts."""

    owns = (kinds.CONFIG_MAP,)

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        await children.ensure(r, kinds.CONFIG_MAP, config_map(r.parsed))
        return done()


def config_map(store: SwarmMemoryStore) -> Object:
    """Return the ConfigMap."""
    return {
        "metadata": {"name": config_map_name(store), "labels": labels.of_store(store)},
        "data": {setting.variable: setting.text(store.spec) for setting in LIVE},
    }


def config_map_name(store: SwarmMemoryStore) -> str:
    """Return the name of the ConfigMap."""
    return f"{store.metadata.name}-settings"


def variables(store: SwarmMemoryStore) -> list[Object]:
    """Return the environment variables of the service's container."""
    name = config_map_name(store)
    return [
        # Optional: a service with its own defaults is better than none, and the next poll changes them.
        {
            "name": setting.variable,
            "valueFrom": {"configMapKeyRef": {"name": name, "key": setting.variable, "optional": True}},
        }
        for setting in LIVE
    ]


def live(store: SwarmMemoryStore) -> dict[str, Any]:
    """Return the spec's values of the settings that the service can change, by their names in the service's API."""
    return {setting.name: setting.value(store.spec) for setting in LIVE}


def reported(store: SwarmMemoryStore) -> dict[str, Any]:
    """Return the spec's values of all settings that the service reports, also of one that takes a restart."""
    return {**live(store), _ENABLE_WAL: store.spec.enable_wal}


def differing(values: Mapping[str, Any], in_force: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are not in force. A setting that the service does not report is unknown to its release."""
    return {name: value for name, value in values.items() if name in in_force and in_force[name] != value}


def fields_of(names: Iterable[str]) -> str:
    """Return the fields of the spec with these settings of the service, for messages."""
    fields = {_ENABLE_WAL: "enableWAL", **{setting.name: setting.field for setting in LIVE}}
    return ", ".join(fields[name] for name in names)
