"""Settings that a store's service changes while it runs."""

import copy

import pytest
from support.command_line import parse
from unit.controllers.swarmmemorystore.conftest import KEY, STORE, Numbers

from swarm_operator.api.v1alpha1.swarmmemorystore import SwarmMemoryStoreSpec
from swarm_operator.controllers.common import kinds
from swarm_operator.controllers.common.reconciliation import waiting
from swarm_operator.controllers.swarmmemorystore import settings
from swarm_operator.controllers.swarmmemorystore.stats import Observation
from swarm_operator.memory.service.http.routes.settings import _SETTINGS as OF_THE_SERVICE
from swarm_operator.runtime.resource import Key

SET = kinds.STATEFUL_SET
OTHERS = {
    "cacheSize": 7, "cacheMemoryMB": 9, "compressionThreshold": 0, "gcInterval": "1h30m", "enableVacuum": False,
    "logLevel": "debug", "searchLanguage": "english",
}  # fmt: skip
"""Another value of each."""


class Reported(Numbers):
    """Stands for Stats, with settings."""

    def __init__(self, in_force):
        self.settings = in_force


class FakeService:
    """In the place of the observer: a service with settings."""

    def __init__(self, in_force):
        self.in_force = in_force
        self.refusal = ""
        self.answers = True

    async def observe(self, store, target):
        if not self.answers:
            return Observation(error="timed out")
        changes = settings.differing(target.settings, self.in_force)
        if not self.refusal:
            self.in_force = self.in_force | changes
        return Observation(Reported(self.in_force), refusal=self.refusal if changes else "")


@pytest.fixture
async def service(reconciler, reconcile, seen, store_object, store, ready):
    """The service of a store that is ready and has the defaults."""
    made = FakeService(settings.reported(store()))
    reconciler.poller._observer = made
    seen(STORE, store_object())
    await reconcile()
    ready()
    await reconcile()
    return made


@pytest.fixture
def change(seen, cache, reconcile):
    """A user changes the spec, and the operator reconciles."""

    async def to(**spec):
        live = cache.get(STORE, KEY)
        generation = live["metadata"]["generation"] + 1
        seen(STORE, live | {"metadata": live["metadata"] | {"generation": generation}, "spec": spec})
        await reconcile()

    return to


@pytest.fixture
def workload(client):
    return lambda: copy.deepcopy(client.objects[SET, KEY])


@pytest.fixture
def applied(condition):
    def told():
        found = condition("SettingsApplied")
        return found["status"], found["reason"], found["message"]

    return told


def test_the_service_has_each_setting_and_each_has_a_flag(store):
    assert {setting.name for setting in settings.LIVE} == OF_THE_SERVICE.keys()
    fields = SwarmMemoryStoreSpec.model_json_schema(by_alias=True)["properties"]
    assert {setting.field for setting in settings.LIVE} == OTHERS.keys() <= fields.keys()
    data, values = settings.config_map(store(**OTHERS))["data"], settings.live(store(**OTHERS))
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in data.items():
            patch.setenv(variable, value)
        options = vars(parse("serve"))
    assert {name: options[name.removesuffix("_seconds")] for name in values} == values
    assert values != settings.live(store())


def test_the_pod_names_them_and_does_not_have_them(store):
    (one, *_) = variables = settings.variables(store(**OTHERS))
    assert variables == settings.variables(store())
    assert [variable["name"] for variable in variables] == list(settings.config_map(store())["data"])
    assert one["valueFrom"]["configMapKeyRef"] == {"name": "bees-settings", "key": "CACHE_SIZE", "optional": True}


@pytest.mark.parametrize("field", OTHERS)
async def test_each_setting_is_changed_without_another_pod(service, change, workload, client, applied, store, field):
    before = workload()
    if field == "cacheMemoryMB":
        assert OTHERS[field] < store().spec.cache_memory_mb
    await change(**{field: OTHERS[field]})
    assert workload() == before
    assert service.in_force == settings.reported(store(**{field: OTHERS[field]}))
    data = client.objects[kinds.CONFIG_MAP, Key("ns", "bees-settings")]["data"]
    assert data == settings.config_map(store(**{field: OTHERS[field]}))["data"]
    assert applied()[:2] == ("True", "Applied")


async def test_nothing_is_written_when_all_are_in_force(service, change, reconcile, client, clock):
    await change(cacheSize=7)
    client.requests.clear()
    for _ in range(3):
        clock.advance(60)
        await reconcile()
    assert client.writes() == []


async def test_a_restarted_operator_writes_nothing_and_passes_once(service, reconciler, client, turn, applied):
    reconciler.poller.forget(KEY)
    enqueued = []
    reconciler.poller.enqueue = enqueued.append
    client.requests.clear()
    await reconciler.reconcile(KEY)
    assert reconciler.poller.newest(KEY) is None
    await turn()
    assert reconciler.poller.newest(KEY) is not None
    assert enqueued == []
    await reconciler.reconcile(KEY)
    assert client.writes() == []
    assert applied()[:2] == ("True", "Applied")


async def test_a_pass_that_changes_a_condition_is_followed_by_another_after_a_restart(
    service, reconciler, turn, seen, client, cache
):
    reconciler.poller.forget(KEY)
    enqueued = []
    reconciler.poller.enqueue = enqueued.append
    live = cache.get(STORE, KEY)
    conditions = [
        found | {"reason": "Odd"} if found["type"] == "IdentityReady" else found
        for found in live["status"]["conditions"]
    ]
    seen(STORE, live | {"status": live["status"] | {"conditions": conditions}})
    await reconciler.reconcile(KEY)
    await turn()
    assert enqueued == [KEY]


async def test_an_answer_for_a_former_spec_does_not_count_after_a_restart(service, reconciler, seen, cache, applied):
    reconciler.poller.forget(KEY)
    live = cache.get(STORE, KEY)
    seen(STORE, live | {"metadata": live["metadata"] | {"generation": 2}, "spec": {"cacheSize": 7}})
    await reconciler.reconcile(KEY)
    assert applied()[:2] == ("False", "WaitingForService")


async def test_a_service_that_did_not_answer_gets_them_later(service, change, applied, clock, reconcile):
    service.answers = False
    await change(cacheSize=7)
    assert applied() == ("False", "WaitingForService", "cacheSize: the service is asked to change them")
    for _ in range(2):
        clock.advance(60)
        await reconcile()
    assert applied()[:2] == ("False", "WaitingForService")
    service.answers = True
    clock.advance(60)
    await reconcile()
    assert (service.in_force["cache_size"], applied()[1]) == (7, "Applied")


async def test_a_pod_that_starts_is_waited_for(service, change, applied, seen, client):
    seen(SET, client.objects[SET, KEY] | {"status": {}})
    await change(cacheSize=7)
    assert applied()[:2] == ("False", "WaitingForService")
    assert service.in_force["cache_size"] == 1000


async def test_a_refusal_is_told_in_the_service_s_words_until_the_spec_changes(service, change, applied):
    service.refusal = "cache_size: a whole number from 1 to 6"
    await change(cacheSize=7)
    assert applied() == ("False", "Refused", "cacheSize: cache_size: a whole number from 1 to 6")
    service.refusal = ""
    await change()
    assert applied()[:2] == ("True", "Applied")


async def test_what_others_changed_in_the_service_is_changed_back(service, reconcile, clock, applied):
    service.in_force = service.in_force | {"gc_interval_seconds": 1.0}
    clock.advance(60)
    await reconcile()
    assert (service.in_force["gc_interval_seconds"], applied()[1]) == (300.0, "Applied")


async def test_a_setting_that_takes_another_pod_is_not_in_force_before(service, change, applied, workload, ready):
    before = workload()
    await change(enableWAL=False, cacheMemoryMB=500)
    assert workload()["spec"] != before["spec"]
    assert applied()[:2] == ("False", "WaitingForService")
    ready()
    # The pod of before: as if its restart were held up.
    await change(enableWAL=False, cacheMemoryMB=500, cacheSize=7)
    assert service.in_force["cache_size"] == 7
    assert applied() == ("False", "RestartNeeded", "enableWAL: in force when the pod has been replaced")


async def test_a_larger_cache_waits_for_the_memory_of_another_pod(service, change, applied, monkeypatch):
    """An upgrade that waits for its backup keeps the StatefulSet as it is."""

    async def waits_for(*_):
        return waiting("PreUpgradeBackup", "a backup is made first")

    monkeypatch.setattr("swarm_operator.controllers.swarmmemorystore.workload.upgrade.waits_for", waits_for)
    await change(cacheMemoryMB=51, cacheSize=7)
    assert (service.in_force["cache_memory_mb"], service.in_force["cache_size"]) == (50, 7)
    assert applied() == ("False", "RestartNeeded", "cacheMemoryMB: in force when the pod has been replaced")


async def test_an_older_service_that_reports_less_is_asked_for_less(service, change, applied):
    del service.in_force["log_level"]
    await change(logLevel="debug", cacheSize=7)
    assert applied()[:2] == ("True", "Applied")
    assert "log_level" not in service.in_force
