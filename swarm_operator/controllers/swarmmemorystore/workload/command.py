"""The pod of a Job that runs a command of the memory's image on a destination of backups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarm_operator.controllers.common import labels
from swarm_operator.controllers.swarmmemorystore.backups.destination import BackupAccess
from swarm_operator.controllers.swarmmemorystore.workload.security import CONTAINER_SECURITY, POD_SECURITY
from swarm_operator.controllers.swarmmemorystore.workload.statefulset import image_pull_secrets
from swarm_operator.runtime.resource import Object


def command_pod(
    name: str,
    arguments: Sequence[str],
    destination: BackupAccess,
    *,
    image: str,
    resources: Object,
    pull_secrets: Sequence[str] = (),
    mounts: Sequence[dict[str, Any]] = (),
    volumes: Sequence[dict[str, Any]] = (),
) -> Object:
    """Return the spec of the pod, without a restart policy.

    Args:
        name: name of the container.
        arguments: the command; the flags of the destination are added.
        destination: what the pod needs to reach the destination.
        image: the memory service's image.
        resources: what the container requests, and its limits.
        pull_secrets: names of the Secrets with which the image is pulled.
        mounts: further mounts.
        volumes: further volumes.
    """
    tmp = "/tmp"  # noqa: S108 - a volume of the pod
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "containers": [
            {
                "name": name,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                # A condition then has the last line of a command that fails.
                "terminationMessagePolicy": "FallbackToLogsOnError",
                "args": [*arguments, *destination.flags],
                "resources": resources,
                "securityContext": CONTAINER_SECURITY,
                "volumeMounts": [*destination.mounts, *mounts, {"name": "tmp", "mountPath": tmp}],
            }
        ],
        "volumes": [*destination.volumes, *volumes, {"name": "tmp", "emptyDir": {}}],
        **image_pull_secrets(pull_secrets),
    }


def near_pods_of(store: str) -> Object:
    """Return the part of a pod's spec that prefers the node of a store's pods: most volumes mount on one node only."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {labels.STORE: store}}}
    preferred = [{"weight": 100, "podAffinityTerm": term}]
    return {"affinity": {"podAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}}
