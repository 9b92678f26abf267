"""Additions of a store's podTemplate to its pod and to the pods of its Jobs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from swarm_operator.api.quantity import whole_amount
from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.api.v1alpha1.pod_template import PodTemplate
from swarm_operator.controllers.common.pod_security import CONTAINERS
from swarm_operator.controllers.common.pod_template import PodTemplateError, customised, operators_part
from swarm_operator.controllers.swarmmemorystore.storage import data_claim_name
from swarm_operator.controllers.swarmmemorystore.workload.memory import needed_mb
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import CONTAINER
from swarm_operator.runtime.resource import Object

CONDITION: Final = "PodTemplateApplied"
"""Type of the condition of a store with a podTemplate."""

_AT: Final = "spec.podTemplate"
_OF_JOBS: Final = (
    *("affinity", "imagePullSecrets", "nodeSelector", "priorityClassName", "runtimeClassName"),
    *("serviceAccountName", "tolerations"),
)
"""Fields of a pod's spec that Jobs get too: where a pod runs, as what, and with which Secrets it is pulled."""


def with_pod_template(workload: Object, store: SwarmMemoryStore) -> Object:
    """Return a copy of a store's StatefulSet with what its podTemplate adds.

    Raises:
        PodTemplateError: a field of it is refused.
    """
    override = store.spec.pod_template
    if override is None:
        return workload
    spec = workload["spec"]
    template = customised(spec["template"], override, operators_part(CONTAINER), at=_AT)
    if problems := [*_uses_of_data(template, store), *_too_little_memory(template, store)]:
        raise PodTemplateError("; ".join(f"{_AT}.spec.{problem}" for problem in problems))
    return {**workload, "spec": {**spec, "template": template}}


def with_placement(template: Object, store: SwarmMemoryStore) -> Object:
    """Return a copy of the template of a Job's pod with those fields of a store's podTemplate that Jobs get too.

    A podTemplate that is refused adds nothing: the condition PodTemplateApplied has its problem.
    """
    override = store.spec.pod_template
    spec = {name: override.spec[name] for name in _OF_JOBS if name in override.spec} if override else {}
    if not spec:
        return template
    try:
        return customised(template, PodTemplate(spec=spec), ())
    except PodTemplateError:
        return template


def _uses_of_data(template: Object, store: SwarmMemoryStore) -> Iterator[str]:
    """Yield each use of the data volume by a container of the user's: one process opens the database."""
    claim, spec = data_claim_name(store), template["spec"]
    volumes = {volume["name"] for volume in spec["volumes"] if _claim(volume) == claim}
    for field in CONTAINERS:
        for container in spec.get(field) or ():
            for mount in container.get("volumeMounts") or ():
                if mount.get("name") in volumes and container["name"] != CONTAINER:
                    yield (
                        f"{field}[{container['name']}].volumeMounts[{mount['mountPath']}]: is the data volume, which"
                        f" only container {CONTAINER} may mount; read entries by the HTTP API"
                    )


def _claim(volume: Object) -> Any:
    source = volume.get("persistentVolumeClaim")
    return source.get("claimName") if isinstance(source, dict) else None


def _too_little_memory(template: Object, store: SwarmMemoryStore) -> Iterator[str]:
    """Yield a memory limit with which the service would be killed when its cache is full."""
    (container,) = (each for each in template["spec"]["containers"] if each["name"] == CONTAINER)
    limit = (container["resources"].get("limits") or {}).get("memory")
    needed = needed_mb(store.spec.cache_memory_mb)
    if limit is not None and whole_amount(limit) < needed * 2**20:
        yield (
            f"containers[{CONTAINER}].resources.limits[memory]: {limit} is less than the {needed}Mi that"
            f" cacheMemoryMB {store.spec.cache_memory_mb} needs; raise it or lower cacheMemoryMB"
        )
