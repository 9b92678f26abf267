"""The former image of a store, put back when its pod is not ready with a new one by the deadline.

The failure is in the status before the template is put back, so that a restarted operator continues. While it is there
the image is not tried again: a change of the spec, or another image, ends it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarm_operator.api.duration import parse_duration
from swarm_operator.api.v1alpha1 import SwarmMemoryStore
from swarm_operator.controllers.common import children, kinds, labels
from swarm_operator.controllers.common.pods import is_ready
from swarm_operator.controllers.common.reconciliation import Reconciliation, failed, waiting
from swarm_operator.controllers.swarmmemorystore.workload import rollout
from swarm_operator.controllers.swarmmemorystore.workload.availability import availability
from swarm_operator.controllers.swarmmemorystore.workload.upgrade import CONDITION
from swarm_operator.runtime.clock import rfc3339
from swarm_operator.runtime.resource import Object, controller_of

AT_ONCE = 0.001
"""Seconds until the next pass, which continues with the stored status."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """A store, and the image that its pod is to have."""

    r: Reconciliation[SwarmMemoryStore]
    image: str
    workload: Object
    pod: Object | None

    @property
    def seconds_left(self) -> float | None:
        """Return the seconds until the former image is put back; None if the pod runs the former one, or is ready."""
        former, pod = self.r.parsed.status.image, self.pod
        changes = former not in {None, self.image} and _image(self.workload) == self.image
        if not changes or pod is None or not rollout.is_newest(self.workload, pod) or is_ready(pod):
            return None
        return deadline(self.r.parsed) - rollout.age(pod, self.r.clock.now())


def deadline(store: SwarmMemoryStore) -> float:
    """Return the seconds that a new pod has until it must be ready."""
    return parse_duration(store.spec.upgrade_deadline)


def is_refused(attempt: Attempt) -> bool:
    """Return whether the image has failed for this spec. Note it in the status if it has just failed."""
    r, known = attempt.r, attempt.r.parsed.status.rolled_back
    if known is None or (known.image, known.generation) != (attempt.image, r.obj["metadata"]["generation"]):
        left = attempt.seconds_left
        if left is None or left > 0:
            return False
        r.status["rolledBack"] = _failure(attempt)
    else:
        r.status["rolledBack"] = known.model_dump(by_alias=True, exclude_none=True)
    r.set_condition(CONDITION, failed("RolledBack", r.status["rolledBack"]["message"]))
    return True


def is_stored(attempt: Attempt) -> bool:
    """Return whether the failure was in the status before this pass."""
    stored = (attempt.r.obj.get("status") or {}).get("rolledBack")
    return bool(stored == attempt.r.status["rolledBack"])


async def former_template(attempt: Attempt, wanted: Object) -> Object:
    """Return the pod's former template without changes: an older image may not know later fields.

    Kubernetes keeps the last ten. Without that revision the wanted template with the former image is used.
    """
    r, former = attempt.r, attempt.r.parsed.status.image
    revisions, _ = await r.client.server.list(
        kinds.CONTROLLER_REVISION,
        namespace=r.parsed.metadata.namespace,
        label_selector=",".join(f"{name}={value}" for name, value in labels.selector(r.parsed).items()),
    )
    uid = attempt.workload["metadata"]["uid"]
    ours = [found for found in revisions if (controller_of(found) or {}).get("uid") == uid]
    for revision in sorted(ours, key=lambda found: int(found["revision"]), reverse=True):
        template: Object = revision["data"]["spec"]["template"]
        if rollout.image_of_template(template) == former:
            metadata = {name: value for name, value in template["metadata"].items() if value is not None}
            return {"metadata": metadata, "spec": template["spec"]}
    template = wanted["spec"]["template"]
    first, *others = template["spec"]["containers"]
    return {**template, "spec": {**template["spec"], "containers": [{**first, "image": former}, *others]}}


def report(attempt: Attempt) -> float:
    """Say that a new image is being tried, if it is. Return the seconds until its deadline; 0 if none is."""
    left = attempt.seconds_left
    if left is None:
        return 0.0
    former = attempt.r.parsed.status.image
    when = f"{attempt.r.parsed.spec.upgrade_deadline} after its creation"
    message = f"the pod has {attempt.image}; {former} is put back if it is not ready {when}"
    attempt.r.set_condition(CONDITION, waiting("Upgrading", message))
    return max(left, AT_ONCE)


async def replace_outdated(attempt: Attempt) -> None:
    """Delete a pod of a former template that is not ready. Its controller may wait for it to become ready.

    https://github.com/kubernetes/kubernetes/issues/67250, and KEP-961 for Parallel. With OnDelete only a pod that had
    failed is deleted.
    """
    pod = attempt.pod
    if pod is None or is_ready(pod) or not rollout.is_outdated(attempt.workload, pod):
        return
    if not rollout.waits_for_deletion(attempt.workload) or attempt.r.status.get("rolledBack"):
        await children.delete(attempt.r, kinds.POD, pod)


def _failure(attempt: Attempt) -> dict[str, Any]:
    """Return the status field for an image that has failed."""
    r = attempt.r
    assert attempt.pod is not None  # noqa: S101 - seconds_left has looked
    outcome = availability(attempt.workload, [attempt.pod], now=r.clock.now())
    reason = outcome.reason if outcome.phase == "Error" else "NotReady"
    why = f"it was not ready {r.parsed.spec.upgrade_deadline} after its creation: {reason}: {outcome.message}"
    message = f"the pod has {r.parsed.status.image} again; with {attempt.image} {why}; change the spec to try again"
    return {
        "image": attempt.image,
        "generation": r.obj["metadata"]["generation"],
        "time": rfc3339(r.clock.now()),
        "reason": reason,
        "message": message,
    }


def _image(workload: Object) -> str:
    return rollout.image_of_template(workload["spec"]["template"])
