"""Tokens of a real API server, verified by a memory with what the operator has published."""

from __future__ import annotations

import pytest
from integration.conftest import SERVICE_ACCOUNTS

from swarm_operator.controllers.common import kinds
from swarm_operator.memory.service.access.rights import Principal
from swarm_operator.memory.service.access.service_accounts import ServiceAccounts
from swarm_operator.memory.service.access.tokens import Tokens, generate
from swarm_operator.memory.service.errors import UnauthorizedError
from swarm_operator.shared.service_accounts import AUDIENCE, FILE


async def test_a_token_of_the_cluster_is_known_to_the_memory(
    objects, admin, control_plane, start_operator, eventually, tmp_path
):
    start_operator()
    rule = {"serviceAccount": {"name": "agent"}, "access": "read", "memoryNamespaces": ["team-a"]}
    await objects.store("s", access=[rule])
    published = await eventually(lambda: objects.get(kinds.CONFIG_MAP, "s-identity"))
    (tmp_path / FILE).write_text(published["data"][FILE])
    generate(tmp_path / "tokens")
    tokens = Tokens(tmp_path / "tokens", service_accounts=ServiceAccounts(tmp_path / FILE))

    async def bearer(name: str, *arguments: str) -> bytes:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        account["metadata"]["namespace"] = objects.namespace
        await admin.apply(SERVICE_ACCOUNTS, account, field_manager="test")
        made = control_plane.kubectl_run("-n", objects.namespace, "create", "token", name, *arguments)
        assert made.returncode == 0, made.stderr
        return b"Bearer " + made.stdout.strip().encode()

    credential = tokens.authenticate(await bearer("agent", "--audience", AUDIENCE))
    name = f"{objects.namespace}:agent"
    assert credential.principal == Principal(name, writes=False, namespaces=("team-a",))
    for other in (await bearer("agent"), await bearer("other", "--audience", AUDIENCE)):
        with pytest.raises(UnauthorizedError):
            tokens.authenticate(other)
    store = await eventually(lambda: objects.get(kinds.SWARM_MEMORY_STORE, "s"))
    told = {each["type"]: each["reason"] for each in store["status"]["conditions"]}
    assert told["IdentityReady"] == "KeysPublished"
