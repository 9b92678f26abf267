"""A pod's template of the operator with what a user adds to it, by the rules of a strategic merge patch.

Maps are merged, lists with keys are merged by them, everything else is replaced. Fields of the operator's template stay
as they are, except a few open fields. pod_security limits the security contexts.
"""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from swarm_operator.api.quantity import canonical_amount
from swarm_operator.api.v1alpha1.pod_template import PodTemplate
from swarm_operator.controllers.common import pod_security
from swarm_operator.runtime.resource import Object

_KEYS: Final[Mapping[str, tuple[tuple[str, Any], ...]]] = {
    "containers": (("name", None),),
    "initContainers": (("name", None),),
    "volumes": (("name", None),),
    "imagePullSecrets": (("name", None),),
    "resourceClaims": (("name", None),),
    "schedulingGates": (("name", None),),
    "hostAliases": (("ip", None),),
    "topologySpreadConstraints": (("topologyKey", None), ("whenUnsatisfiable", None)),
    "env": (("name", None),),
    "ports": (("containerPort", None), ("protocol", "TCP")),
    "volumeMounts": (("mountPath", None),),
    "volumeDevices": (("devicePath", None),),
}
"""Fields that make an item of a list another one, with their defaults: the API's listMapKey, which patchMergeKey is the
first of. Other lists, such as tolerations, are atomic."""

_WHOLE: Final = frozenset({"volumes", "imagePullSecrets", "env", "ports", "volumeMounts", "volumeDevices"})
"""Lists whose items are either the operator's or a user's."""

_OPEN_OF_CONTAINERS: Final = frozenset({"resources", "imagePullPolicy"})
_NAMED: Final = frozenset({"labels", "annotations", "nodeSelector", "matchLabels", "limits", "requests"})
"""Maps whose keys are names of the user's, which a path has in brackets."""
_AMOUNTS: Final = frozenset({"limits", "requests", "overhead"})
_AMOUNT: Final = frozenset({"sizeLimit", "divisor"})
_OURS: Final = "swarm.claudeflow.io/"
_GRACE: Final = ("spec", "terminationGracePeriodSeconds")

_POD: Final = (
    *("activeDeadlineSeconds", "ephemeralContainers", "hostname", "hostnameOverride", "nodeName", "overhead"),
    *("priority", "restartPolicy", "schedulingGates", "serviceAccount", "setHostnameAsFQDN", "subdomain"),
)
_CONTAINER: Final = (
    *("args", "command", "image", "lifecycle", "livenessProbe", "readinessProbe", "restartPolicy"),
    *("restartPolicyRules", "startupProbe", "stdin", "stdinOnce", "terminationMessagePath"),
    *("terminationMessagePolicy", "tty", "workingDir"),
    *("securityContext.capabilities.add", "securityContext.runAsGroup", "securityContext.runAsUser"),
)


class PodTemplateError(Exception):
    """The user's additions to a pod's template are refused. The message has the path of each field."""


def operators_part(container: str) -> frozenset[str]:
    """Return the paths that no user sets, whether the operator's template has them or not.

    Args:
        container: name of the operator's container.
    """
    return frozenset(f"spec.{name}" for name in _POD) | {f"spec.containers[{container}].{name}" for name in _CONTAINER}


def customised(
    template: Object, override: PodTemplate, protected: Collection[str], *, at: str = "spec.podTemplate"
) -> Object:
    """Return the template with what a user adds to it, with amounts in the API server's canonical form.

    A field that the template has may be repeated with its value. The user's containers get the security context that
    the restricted standard requires, unless they set another.

    Args:
        template: the operator's template: metadata and spec.
        override: what the user adds.
        protected: paths that cannot be set, such as `spec.containers[memory].command`; see operators_part.
        at: path of the override in the user's object, for messages.

    Raises:
        PodTemplateError: a field is refused; nothing is merged then.
    """
    merge = _Merge(frozenset(protected))
    merged: Object = merge.map(template, override.model_dump(by_alias=True, exclude_none=True), ())
    if not merge.problems:
        spec = merged["spec"]
        for name in pod_security.CONTAINERS:
            if name in spec:
                spec[name] = [pod_security.restricted(container) for container in spec[name]]
        merge.problems += [*_hidden_mounts(template, merged), *pod_security.violations(merged)]
    if merge.problems:
        raise PodTemplateError("; ".join(f"{at}.{problem}" for problem in merge.problems))
    return merged


_Path = tuple[str, ...]


@dataclass(slots=True)
class _Merge:
    """Merges values, and notes what is refused."""

    protected: frozenset[str]
    problems: list[str] = field(default_factory=list)

    def value(self, base: Any, patch: Any, path: _Path) -> Any:
        """Return the merged value of a field that the operator's template has."""
        if isinstance(base, dict) and isinstance(patch, dict):
            return self.map(base, patch, path)
        if path[-1] in _KEYS and isinstance(base, list):
            return self.keyed(base, patch, path)
        new = self.added(patch, path)
        if new == base:
            return base
        if path == _GRACE:
            if isinstance(new, int) and not isinstance(new, bool) and new > base:
                return new
            self.problems.append(f"{_text(path)}: must be a number of at least {base}, which the operator needs")
        elif not _is_open(path):
            self.problems.append(f"{_text(path)}: is set by the operator; leave it out")
        return new

    def map(self, base: Object, patch: Object, path: _Path) -> Object:
        """Return the merged map."""
        merged = copy.deepcopy(base)
        for name, value in patch.items():
            here = (*path, f"[{name}]" if path and path[-1] in _NAMED else name)
            if not self._allows(here, base.get(name), value):
                continue
            if name not in base:
                if value is not None:
                    merged[name] = self.added(value, here)
            elif value is not None:
                merged[name] = self.value(base[name], value, here)
            elif _is_open(here):
                del merged[name]
            else:
                self.problems.append(f"{_text(here)}: is set by the operator and cannot be removed")
        return merged

    def keyed(self, base: list[Object], patch: Any, path: _Path) -> list[Object]:
        """Return the merged list: the operator's items, then those of the user."""
        merged = {_key(item, path[-1]): item for item in copy.deepcopy(base)}
        for item, here in self._items(patch, path):
            key = _key(item, path[-1])
            if key not in merged:
                merged[key] = self.map({}, item, here)
            elif path[-1] not in _WHOLE:
                merged[key] = self.map(merged[key], item, here)
            elif self.added(item, here) != merged[key]:
                self.problems.append(f"{_text(here)}: is set by the operator; leave it out")
        return list(merged.values())

    def added(self, value: Any, path: _Path) -> Any:
        """Return a copy of what the operator's template has not, without nulls and with amounts in canonical form."""
        if path[-1] in _KEYS:
            return self.keyed([], value, path)
        if isinstance(value, dict):
            return self.map({}, value, path)
        if isinstance(value, list):
            return [self.added(item, (*path, f"[{number}]")) for number, item in enumerate(value)]
        if path[-1] in _AMOUNT or (len(path) > 1 and path[-2] in _AMOUNTS):
            try:
                return canonical_amount(value)
            except (TypeError, ValueError) as error:
                self.problems.append(f"{_text(path)}: {error}")
        return value

    def _allows(self, path: _Path, base: Any, value: Any) -> bool:
        """Return whether a user may name this field; note why not."""
        name, text = path[-1], _text(path)
        if name.startswith("$"):
            self.problems.append(f"{text}: directives of a patch are not supported; leave it out")
        elif path[:1] == ("metadata",) and name.startswith(f"[{_OURS}") and value != base:
            self.problems.append(f"{text}: labels and annotations of {_OURS} are the operator's; leave it out")
        elif text in self.protected and value != base:
            self.problems.append(f"{text}: is set by the operator; leave it out")
        else:
            return True
        return False

    def _items(self, patch: Any, path: _Path) -> list[tuple[Object, _Path]]:
        """Return the items of a list with keys, with their paths; none of a value that is no such list."""
        if not isinstance(patch, list) or not all(isinstance(item, dict) for item in patch):
            self.problems.append(f"{_text(path)}: must be a list of objects")
            return []
        found: dict[_ItemKey, tuple[Object, _Path]] = {}
        for number, item in enumerate(patch):
            key = _key(item, path[-1])
            here = (*path, f"[{_shown(key, number)}]")
            if item.get(_KEYS[path[-1]][0][0]) is None:
                self.problems.append(f"{_text(here)}.{_KEYS[path[-1]][0][0]}: is required")
            elif key in found:
                self.problems.append(f"{_text(here)}: is given twice")
            found[key] = item, here
        return list(found.values())


_ItemKey = tuple[str, ...]


def _key(item: Object, name: str) -> _ItemKey:
    """Return what makes an item of a list another one than the rest."""
    values = [str(item.get(part) or default or "") for part, default in _KEYS[name]]
    return tuple(posixpath.normpath(value) for value in values) if name == "volumeMounts" else tuple(values)


def _shown(key: _ItemKey, number: int) -> str:
    return key[0] or str(number)


def _text(path: _Path) -> str:
    """Return a path as people write it: spec.containers[memory].args."""
    return "".join(part if part.startswith("[") else f".{part}" for part in path).removeprefix(".")


def _is_open(path: _Path) -> bool:
    """Return whether a user may change what the operator's template has here."""
    if path[:2] == ("spec", "affinity") or "seccompProfile" in path:
        return True
    return path[:2] == ("spec", "containers") and len(path) > 3 and path[3] in _OPEN_OF_CONTAINERS


def _hidden_mounts(template: Object, merged: Object) -> list[str]:
    """Return what is wrong with mounts that would hide those of the operator."""
    own = {container["name"]: container.get("volumeMounts") or [] for container in template["spec"]["containers"]}
    found = []
    for container in merged["spec"]["containers"]:
        taken = [_key(mount, "volumeMounts")[0] for mount in own.get(container["name"], ())]
        for mount in (container.get("volumeMounts") or [])[len(taken) :]:
            path = _key(mount, "volumeMounts")[0]
            if any(posixpath.commonpath([path, other]) in {path, other} for other in taken if path[:1] == other[:1]):
                where = f"spec.containers[{container['name']}].volumeMounts[{path}]"
                found.append(f"{where}: hides a path of the operator's; not allowed: {', '.join(taken)}")
    return found
