"""Settings are checked where they are made."""

import pytest

from swarm_operator.memory.core.errors import ConfigError
from swarm_operator.memory.sqlite import StoreConfig


@pytest.mark.parametrize(
    "setting",
    [{"cache_size": 0}, {"cache_memory_mb": 65_537}, {"max_batch": True}, {"probe_interval": 0}, {"swarm_id": ""}],
)
def test_a_setting_out_of_its_range_is_refused_by_name(setting):
    with pytest.raises(ConfigError, match=next(iter(setting))):
        StoreConfig(**setting)


def test_the_defaults_are_those_of_the_custom_resource():
    config = StoreConfig()
    assert (config.cache_size, config.cache_memory_mb, config.enable_wal) == (1000, 50, True)
