"""Progress of a StatefulSet's newest template, from its status and its pod."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from swarm_operator.runtime.resource import Object

_REVISION: Final = "controller-revision-hash"
"""Label of a pod: the revision of the template that it was made of."""


def image_of_template(template: Object) -> str:
    """Return the image of the memory service in a pod's template."""
    image: str = template["spec"]["containers"][0]["image"]
    return image


def is_under_way(workload: Object) -> bool:
    """Return whether the pod is being replaced by one of the newest template. A new StatefulSet has none to replace."""
    status = workload.get("status") or {}
    if not status.get("currentRevision"):
        return False
    return not _is_observed(workload) or status.get("currentRevision") != status.get("updateRevision")


def waits_for_deletion(workload: Object) -> bool:
    """Return whether a new template waits until a user deletes the pod."""
    return bool((workload["spec"].get("updateStrategy") or {}).get("type") == "OnDelete")


def is_newest(workload: Object, pod: Object) -> bool:
    """Return whether the pod was made of the newest template."""
    newest = (workload.get("status") or {}).get("updateRevision")
    return _is_observed(workload) and newest is not None and _revision(pod) == newest


def is_outdated(workload: Object, pod: Object) -> bool:
    """Return whether the pod was made of a former template, and is not being deleted."""
    newest = (workload.get("status") or {}).get("updateRevision")
    is_other = newest is not None and _revision(pod) not in {None, newest}
    return _is_observed(workload) and is_other and not pod["metadata"].get("deletionTimestamp")


def age(pod: Object, now: datetime) -> float:
    """Return the seconds since the pod was made; 0 if that is not known."""
    created = pod["metadata"].get("creationTimestamp")
    return (now - datetime.fromisoformat(created)).total_seconds() if created else 0.0


def _is_observed(workload: Object) -> bool:
    return bool((workload.get("status") or {}).get("observedGeneration") == workload["metadata"].get("generation"))


def _revision(pod: Object) -> str | None:
    found: str | None = (pod["metadata"].get("labels") or {}).get(_REVISION)
    return found
