import pytest

from swarm_operator.controllers.common import kinds
from swarm_operator.runtime.resource import key_of

STORE = kinds.SWARM_MEMORY_STORE


@pytest.fixture
def obj(store_object, seen):
    return seen(STORE, store_object())


@pytest.fixture
def write(cache, reconciliation, obj):
    """Judges and writes as a reconcile does: from what is in the cache."""

    async def call(status=None, **conditions):
        live = cache.get(STORE, key_of(obj))
        r = reconciliation(live)
        for kind, (holds, reason, *message) in conditions.items():
            r.conditions.set(kind, status=holds, reason=reason, message=message[0] if message else "")
        await r.write_status(status or {})
        return {c["type"]: c for c in cache.get(STORE, key_of(obj))["status"]["conditions"]}

    return call
