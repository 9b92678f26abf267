"""Who has administered the memory is logged, over each protocol, and no token is."""

import pytest
from structlog.testing import capture_logs
from unit.memory.conftest import ADMIN_TOKEN, TOKEN

from swarm_operator.memory.core.entry import Draft
from swarm_operator.memory.service.access.rights import ADMIN, AuthorizedStore, Credential, Principal
from swarm_operator.memory.service.errors import ForbiddenError


def told(lines):
    """The audit lines, without what structlog adds."""
    found = [line for line in lines if line["event"] == "administration"]
    return [{name: value for name, value in line.items() if name not in {"event", "log_level"}} for line in found]


async def test_requests_of_administration_are_logged_with_whose_they_are(service):
    await service.store.write(Draft.create("team", "a-1", 1))
    with capture_logs() as lines:
        assert (await service.call("DELETE", "/v1/entries?namespace=team&prefix=a-")).status == 200
        for method, path in (
            ("POST", "/admin/gc"), ("GET", "/admin/backup"), ("POST", "/admin/cleanup?max_age=7&dry_run=true"),
        ):  # fmt: skip
            assert (await service.call(method, path, token=ADMIN_TOKEN)).status == 200
        assert (await service.call("GET", "/v1/stats")).status == 200
    assert told(lines) == [
        {"action": "delete-range", "by": "client", "namespace": "team", "prefix": "a-"},
        {"action": "gc", "by": "admin"},
        {"action": "backup", "by": "admin"},
        {"action": "cleanup", "by": "admin", "max_age": 7.0, "dry_run": True},
    ]
    assert not [line for line in lines if TOKEN in str(line) or ADMIN_TOKEN in str(line)]


async def test_what_is_refused_is_not_logged_as_done(service):
    with capture_logs() as lines:
        assert (await service.call("POST", "/admin/gc")).status == 403
        nobody = AuthorizedStore(service.store, Credential(Principal("n", writes=False, namespaces=()), lambda: True))
        for refused in (nobody.collect_garbage(), nobody.delete_range("team"), nobody.stop_writes("b")):
            with pytest.raises(ForbiddenError):
                await refused
    assert told(lines) == []


async def test_every_operation_of_the_store_for_admins_is_logged(service, tmp_path):
    store = AuthorizedStore(service.store, Credential(ADMIN, lambda: True))
    with capture_logs() as lines:
        await store.backup(tmp_path / "copy.db")
        await store.stop_writes("b")
        await store.resume_writes("b")
        async with store.snapshot(tmp_path):
            pass
    assert [line["action"] for line in told(lines)] == ["backup", "stop-writes", "resume-writes", "backup"]
    assert {line["by"] for line in told(lines)} == {"admin"}
