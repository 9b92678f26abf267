import pytest

from swarm_operator.runtime.resource import Resource

SERVICE_ACCOUNTS = Resource("", "v1", "ServiceAccount", "serviceaccounts")


@pytest.fixture
def account_token(control_plane, admin, namespace):
    """Make ServiceAccounts in the test's namespace, and tokens of theirs."""

    async def make(name: str) -> str:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        await admin.create(SERVICE_ACCOUNTS, account, field_manager="test")
        made = control_plane.kubectl_run("-n", namespace, "create", "token", name)
        assert made.returncode == 0, made.stderr
        return made.stdout.strip()

    return make
