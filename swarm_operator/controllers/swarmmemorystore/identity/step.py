"""Step that publishes the cluster's keys, and who may use the memory, to a store's service.

The ConfigMap `NAME-identity` holds the file that shared.service_accounts describes. The pod mounts the ConfigMap, so a
change restarts no pod: the kubelet updates the file within about a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import orjson

from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.errors import ends_pass, explain
from swarm_operator.controllers.common.pods import is_ready
from swarm_operator.controllers.common.reconciliation import Outcome, Reconciliation, Step, done, failed, waiting
from swarm_operator.controllers.swarmmemorystore.identity.cluster_keys import ClusterKeys, KeySource, NotServedError
from swarm_operator.runtime.cache import Cache
from swarm_operator.runtime.errors import ApiError, NotFoundError
from swarm_operator.runtime.resource import Key, Object, key_of
from swarm_operator.shared.service_accounts import FEATURE, FILE

_VOLUME: Final = "identity"
_DIRECTORY: Final = "/etc/swarm-memory/identity"
PATH: Final = f"{_DIRECTORY}/{FILE}"
"""Path at which the service reads the file."""
_CONDITION: Final = "IdentityReady"
_NOT_SERVED: Final = "the API server serves no keys of service accounts' tokens"


@dataclass(frozen=True, slots=True)
class Identity(Step[SwarmMemoryStore]):
    """Ensure the ConfigMap, and report whether the service verifies tokens with it.

    While the keys cannot be read, an existing ConfigMap does not change.
    """

    reports: ClassVar = (_CONDITION,)
    owns: ClassVar = (kinds.CONFIG_MAP,)

    source: KeySource
    features: Callable[[Key], frozenset[str] | None]
    """Returns what the service of a store can do; None if that is not known."""
    image: str
    """The memory service's image of the operator's own release."""

    async def run(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """See Step.run."""
        outcome, pod = await self._publish(r), _pod(r.parsed, r.client.cache)
        if not outcome.is_done or pod is None:
            r.set_condition(_CONDITION, outcome)
        elif not _mounts(pod):
            old = "a former release of the operator made the pod: the next pod gets the keys"
            r.set_condition(_CONDITION, waiting("WaitingForPod", old))
        else:
            self._update_condition(r, outcome, pod)
        return outcome

    def _update_condition(self, r: Reconciliation[SwarmMemoryStore], outcome: Outcome, pod: Object) -> None:
        """Set the condition by the features that the service reports. The operator's own release needs no answer."""
        features, image = self.features(key_of(r.obj)), pod["spec"]["containers"][0]["image"]
        if features is None and image != self.image:
            before = r.conditions.of_this_spec(_CONDITION)
            # A restarted operator has no answer yet: what the service reported to the former one stays. While a new pod
            # becomes ready, the condition is Unknown.
            if before and is_ready(pod) and before["reason"] in {outcome.reason, "ReleaseTooOld"}:
                return
            asked = f"the service (image {image}) has not reported yet whether it verifies tokens of service accounts"
            r.conditions.set(_CONDITION, status=None, reason="WaitingForService", message=asked)
            return
        if features is not None and FEATURE not in features:
            outcome = failed(
                "ReleaseTooOld", f"image {image} is of a release that cannot verify tokens of service accounts"
            )
        r.set_condition(_CONDITION, outcome)

    async def _publish(self, r: Reconciliation[SwarmMemoryStore]) -> Outcome:
        """Ensure the ConfigMap."""
        try:
            keys = await self.source.current()
        except (ApiError, NotServedError) as error:
            if isinstance(error, ApiError) and ends_pass(error):
                raise
            failure = _failure(error)
            if r.client.get(kinds.CONFIG_MAP, Key(r.parsed.metadata.namespace, _config_map_name(r.parsed))):
                return done("KeysStale", f"the keys and the access that were published before stay: {failure.message}")
            return failure
        await children.ensure(r, kinds.CONFIG_MAP, config_map(r.parsed, keys))
        return done("KeysPublished")


def _failure(error: ApiError | NotServedError) -> Outcome:
    """Return the outcome of a store for which the keys can't be had."""
    if isinstance(error, NotServedError):
        return failed("KeysNotServed", f"{_NOT_SERVED}: {error}")
    if isinstance(error, NotFoundError):
        return failed("KeysNotServed", f"{_NOT_SERVED}, which takes an issuer with https: {error.message}")
    return failed(*explain(error))


def _pod(store: SwarmMemoryStore, cache: Cache) -> Object | None:
    return cache.get(kinds.POD, Key(store.metadata.namespace, f"{store.metadata.name}-0"))


def _mounts(pod: Object) -> bool:
    """Return whether a pod mounts the file."""
    return any(each["name"] == _VOLUME for each in pod["spec"].get("volumes") or ())


def config_map(store: SwarmMemoryStore, keys: ClusterKeys) -> Object:
    """Return the ConfigMap."""
    document = {"issuer": keys.issuer, "keys": list(keys.keys), "accounts": accounts(store)}
    text = orjson.dumps(document, option=orjson.OPT_SORT_KEYS | orjson.OPT_INDENT_2).decode()
    return {
        "metadata": {"name": _config_map_name(store), "labels": labels.of_store(store)},
        "data": {FILE: text + "\n"},
    }


def accounts(store: SwarmMemoryStore) -> list[dict[str, Any]]:
    """Return the service accounts that may use the memory, as the file has them."""
    return [
        {
            "namespace": rule.service_account.namespace or store.metadata.namespace,
            "name": rule.service_account.name,
            "access": rule.access,
            **({"namespaces": rule.memory_namespaces} if rule.memory_namespaces else {}),
        }
        for rule in store.spec.access or ()
    ]


def volume(store: SwarmMemoryStore) -> Object:
    """Return the volume of the pod. It is optional: a service without the keys serves those with other tokens."""
    return {
        "name": _VOLUME,
        "configMap": {"name": _config_map_name(store), "defaultMode": 0o444, "optional": True},
    }


def mount() -> Object:
    """Return the mount of the service's container."""
    return {"name": _VOLUME, "mountPath": _DIRECTORY, "readOnly": True}


def _config_map_name(store: SwarmMemoryStore) -> str:
    return f"{store.metadata.name}-identity"
