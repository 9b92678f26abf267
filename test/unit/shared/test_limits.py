"""The CRDs and the memory service have one table of limits: the service starts with every spec that is accepted."""

import pytest

from swarm_operator.api import crd
from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.cmd.memory import _parser
from swarm_operator.memory.core.errors import ConfigError
from swarm_operator.memory.sqlite import StoreConfig


def schema(model, *path):
    found = crd.render(model)["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    for name in path:
        found = found["properties"][name]
    return found


SETTINGS = {
    "cacheSize": ("--cache-size", "cache_size"),
    "cacheMemoryMB": ("--cache-memory-mb", "cache_memory_mb"),
    "compressionThreshold": ("--compression-threshold", "compression_threshold"),
}
FIELDS = [
    *(((SwarmMemoryStore, name), name) for name in SETTINGS),
    *(((SwarmCluster, "memory", "sqliteConfig", name), name) for name in ("cacheSize", "cacheMemoryMB")),
]


@pytest.mark.parametrize(("path", "name"), FIELDS, ids=[".".join(path[1:]) for path, _ in FIELDS])
@pytest.mark.parametrize(("end", "step"), [("minimum", -1), ("maximum", 1)])
def test_the_service_starts_with_what_the_crd_accepts_and_with_nothing_else(path, name, end, step, capsys):
    limit = schema(*path)[end]
    flag, setting = SETTINGS[name]
    options = _parser().parse_args(["serve", f"{flag}={limit}"])
    StoreConfig(**{setting: getattr(options, setting)})
    with pytest.raises(SystemExit):
        _parser().parse_args(["serve", f"{flag}={limit + step}"])
    assert flag in capsys.readouterr().err
    with pytest.raises(ConfigError, match=setting):
        StoreConfig(**{setting: limit + step})
