"""Agents find their swarm's hive mind, wherever it is, with the tokens of their own."""

import pytest

from swarm_operator.controllers.swarmcluster.agents.hive_mind import environment

TOKEN = "/etc/swarm-memory/tokens/token"


@pytest.mark.parametrize(("secure", "scheme"), [(False, "http"), (True, "https")])
@pytest.mark.parametrize(("config", "namespace"), [(None, "ns"), ({"hiveMindNamespace": "minds"}, "minds")])
def test_agents_use_it_with_their_own_token(swarm, config, namespace, secure, scheme):
    cluster = swarm(hiveMind={"enabled": True}, **({"namespaceConfig": config} if config else {}))
    assert environment(cluster, token_file=TOKEN, secure=secure) == {
        "SWARM_HIVE_MIND_URL": f"{scheme}://hive-hivemind.{namespace}.svc:8080",
        "SWARM_HIVE_MIND_TOKEN_FILE": TOKEN,
    }


def test_without_a_hive_mind_they_have_nothing_of_it(swarm):
    assert environment(swarm(), token_file=TOKEN, secure=False) == {}
