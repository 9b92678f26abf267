"""The CRDs and the memory service have one table of limits: the service starts with every spec that is accepted."""

import click
import pytest
from support.command_line import parse

from swarm_operator.api import crd
from swarm_operator.api.v1alpha1 import SwarmCluster, SwarmMemoryStore
from swarm_operator.memory.core.errors import ConfigError
from swarm_operator.memory.sqlite import StoreConfig
from swarm_operator.memory.sqlite.search.tokenizer import TOKENIZERS
from swarm_operator.shared.limits import SEARCH_LANGUAGES


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


@pytest.mark.parametrize("path", [(SwarmMemoryStore,), (SwarmCluster, "memory", "sqliteConfig")])
def test_the_service_knows_the_languages_that_the_crd_accepts(path):
    allowed = schema(*path, "searchLanguage")["enum"]
    assert set(allowed) == TOKENIZERS.keys() == set(SEARCH_LANGUAGES)
    for language in allowed:
        options = parse("serve", f"--search-language={language}")
        assert StoreConfig(search_language=options.search_language).search_language == language
    with pytest.raises(click.UsageError, match="one of none, english"):
        parse("serve", "--search-language=welsh")
    with pytest.raises(ConfigError, match="search_language: one of none, english"):
        StoreConfig(search_language="welsh")


@pytest.mark.parametrize(("path", "name"), FIELDS, ids=[".".join(path[1:]) for path, _ in FIELDS])
@pytest.mark.parametrize(("end", "step"), [("minimum", -1), ("maximum", 1)])
def test_the_service_starts_with_what_the_crd_accepts_and_with_nothing_else(path, name, end, step):
    limit = schema(*path)[end]
    flag, setting = SETTINGS[name]
    options = parse("serve", f"{flag}={limit}")
    StoreConfig(**{setting: getattr(options, setting)})
    with pytest.raises(click.UsageError) as caught:
        parse("serve", f"{flag}={limit + step}")
    assert caught.value.param.opts == [flag]
    with pytest.raises(ConfigError, match=setting):
        StoreConfig(**{setting: limit + step})
