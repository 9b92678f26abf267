"""Settings of the embedder: what goes together."""

import asyncio
from pathlib import Path

import pytest

from swarm_operator.memory.core.errors import ConfigError
from swarm_operator.memory.embedding.choice import open_embedders
from swarm_operator.memory.embedding.settings import EmbedderSettings

HTTP = {"mode": "http", "url": "https://api.example.com/v1", "model": "m"}


@pytest.mark.parametrize(
    "given",
    [
        {}, {"mode": "none"}, {"mode": "static"}, HTTP, {**HTTP, "url": "http://[::1]:8080"},
        {**HTTP, "width": 1536, "timeout": 300, "batch": 1, "key_file": Path("k"), "ca_file": Path("c")},
    ],
)  # fmt: skip
def test_these_go_together(given):
    assert EmbedderSettings(**given).mode == given.get("mode", "none")


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"mode": "magic"}, "embedder"),
        ({"mode": "http"}, "embedder_url"),
        ({**HTTP, "model": ""}, "embedder_model"),
        ({"url": HTTP["url"]}, "embedder_url"),
        ({"mode": "static", "model": "m"}, "embedder_model"),
        ({"mode": "static", "width": 256}, "embedder_width"),
        ({"mode": "static", "key_file": Path("k")}, "embedder_key_file"),
        ({"mode": "none", "ca_file": Path("k")}, "embedder_ca_file"),
        ({**HTTP, "width": 0}, "embedder_width"),
        ({**HTTP, "width": 4097}, "embedder_width"),
        ({**HTTP, "timeout": 0.5}, "embedder_timeout"),
        ({**HTTP, "batch": 2049}, "embedder_batch"),
        *(
            ({**HTTP, "url": url}, "embedder_url")
            for url in (
                "ftp://h/v1", "https://", "https://user:key@h/v1", "https://h/v1?key=1", "https://h/v1#a", "h/v1",
                "https://h:port/v1", "https://h:99999/v1", "https://h/\n", "https://é/v1",
            )
        ),
    ],
)  # fmt: skip
def test_what_is_not_allowed_names_the_field(given, field):
    with pytest.raises(ConfigError, match=rf"^{field}: "):
        EmbedderSettings(**given)


async def test_the_embedder_is_that_of_the_mode():
    async with open_embedders(EmbedderSettings()) as none:
        assert none.chosen is None
    async with open_embedders(EmbedderSettings(mode="static")) as static:
        assert static.chosen.name.startswith("static/")
    async with open_embedders(EmbedderSettings(**HTTP, width=5)) as http:
        assert http.chosen.name == "http/m/5"


@pytest.mark.parametrize("name", ["http/other/7", "http/a/b:c/256", "static/wordllama-l2_supercat/256"])
async def test_a_former_model_can_be_had(name):
    async with open_embedders(EmbedderSettings(**HTTP, width=5)) as embedders:
        former = await asyncio.to_thread(embedders.of_name, name)
        assert (former.name, former.width) == (name, int(name.rpartition("/")[2]))
        if name.startswith("static/"):
            (vector,) = await former.embed(["a text"])
            assert any(vector)


@pytest.mark.parametrize("name", ["", "http/7", "http/m/", "http/m/x", "http/m/0", "http/m/5000", "static/x/256", "w"])
async def test_others_cannot(name):
    async with open_embedders(EmbedderSettings(**HTTP, width=5)) as embedders:
        assert embedders.of_name(name) is None
    async with open_embedders(EmbedderSettings(mode="static")) as embedders:
        assert embedders.of_name(name) is None
