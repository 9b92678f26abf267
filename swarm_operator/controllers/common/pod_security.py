"""The restricted Pod Security Standard, as far as a pod's template can break it.

https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from swarm_operator.runtime.resource import Object

CONTAINERS: Final = ("containers", "initContainers")
"""Fields of a pod's spec that hold containers."""

_VOLUMES: Final = frozenset(
    {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
)
_SYSCTLS: Final = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)
_SELINUX_TYPES: Final = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
_PROFILES: Final = frozenset({"RuntimeDefault", "Localhost"})
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"
_CAPABILITIES: Final = frozenset({"NET_BIND_SERVICE"})
_BOUND: Final = "the restricted Pod Security Standard is the bound"


def restricted(container: Object) -> Object:
    """Return a container with the fields that the standard requires. Fields that the container has already stay."""
    context = container.get("securityContext") or {}
    if not isinstance(context, dict):
        return container
    capabilities = context.get("capabilities") or {}
    if isinstance(capabilities, dict):
        context = {**context, "capabilities": {"drop": ["ALL"], **capabilities}}
    return {**container, "securityContext": {"allowPrivilegeEscalation": False, **context}}


def violations(template: Object) -> list[str]:
    """Return what is beyond the standard in a pod's template, each with its path."""
    return list(_violations(template))


def _violations(template: Object) -> Iterator[str]:
    spec = _map(template, "spec")
    for name, profile in _map(template, "metadata", "annotations").items():
        if name.startswith(_APPARMOR) and profile != "runtime/default" and not str(profile).startswith("localhost/"):
            yield f"metadata.annotations[{name}]: {profile!r} is not allowed; {_BOUND}"
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"spec.{field}: must not be true; {_BOUND}"
    for volume in _items(spec, "volumes"):
        for kind in sorted(volume.keys() - {"name"} - _VOLUMES):
            yield f"spec.volumes[{volume.get('name')}].{kind}: is not allowed; allowed: {', '.join(sorted(_VOLUMES))}"
    for setting in _items(spec, "securityContext", "sysctls"):
        if setting.get("name") not in _SYSCTLS:
            yield f"spec.securityContext.sysctls[{setting.get('name')}]: is not allowed; {_BOUND}"
    yield from _context("spec.securityContext", _map(spec, "securityContext"))
    for field in CONTAINERS:
        for container in _items(spec, field):
            yield from _container(f"spec.{field}[{container.get('name')}]", container)


def _context(path: str, context: Object) -> Iterator[str]:
    """Yield what is wrong with the fields that the security contexts of pods and of containers share."""
    if context.get("runAsNonRoot") is False:
        yield f"{path}.runAsNonRoot: must not be false; {_BOUND}"
    if context.get("runAsUser") == 0:
        yield f"{path}.runAsUser: must not be 0; {_BOUND}"
    for field in ("seccompProfile", "appArmorProfile"):
        kind = _map(context, field).get("type")
        if kind is not None and kind not in _PROFILES:
            yield f"{path}.{field}.type: {kind!r} is not allowed; allowed: {', '.join(sorted(_PROFILES))}"
    selinux = _map(context, "seLinuxOptions")
    if selinux.get("type", "") not in _SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield f"{path}.seLinuxOptions: is not allowed; {_BOUND}"
    if _map(context, "windowsOptions").get("hostProcess"):
        yield f"{path}.windowsOptions.hostProcess: must not be true; {_BOUND}"


def _container(path: str, container: Object) -> Iterator[str]:
    context = _map(container, "securityContext")
    yield from _context(f"{path}.securityContext", context)
    if context.get("privileged"):
        yield f"{path}.securityContext.privileged: must not be true; {_BOUND}"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{path}.securityContext.allowPrivilegeEscalation: must be false; {_BOUND}"
    if context.get("procMount", "Default") != "Default":
        yield f"{path}.securityContext.procMount: must be Default; {_BOUND}"
    capabilities = _map(context, "capabilities")
    if "ALL" not in _list(capabilities, "drop"):
        yield f"{path}.securityContext.capabilities.drop: must name ALL; {_BOUND}"
    for added in _list(capabilities, "add"):
        if added not in _CAPABILITIES:
            yield f"{path}.securityContext.capabilities.add: {added} is not allowed; allowed: NET_BIND_SERVICE"
    for port in _items(container, "ports"):
        if port.get("hostPort"):
            yield f"{path}.ports[{port.get('containerPort')}].hostPort: is not allowed; {_BOUND}"
    hooks = [(probe, _map(container, probe)) for probe in ("livenessProbe", "readinessProbe", "startupProbe")]
    hooks += [(f"lifecycle.{hook}", _map(container, "lifecycle", hook)) for hook in ("postStart", "preStop")]
    for name, hook in hooks:
        for way in ("httpGet", "tcpSocket"):
            if _map(hook, way).get("host"):
                yield f"{path}.{name}.{way}.host: is not allowed; {_BOUND}"


def _map(value: Any, *names: str) -> Object:
    """Return the map at a path; an empty one where there is none. The API server refuses what is of another type."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def _list(value: Object, name: str) -> list[Any]:
    found = value.get(name)
    return found if isinstance(found, list) else []


def _items(value: Object, *names: str) -> list[Object]:
    *path, last = names
    return [item for item in _list(_map(value, *path), last) if isinstance(item, dict)]
