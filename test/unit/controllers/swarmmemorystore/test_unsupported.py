from swarm_operator.api.v1alpha1.swarmmemorystore import SwarmMemoryStoreSpec
from swarm_operator.controllers.swarmmemorystore.unsupported import not_implemented

NOTHING = {"migrateFromLegacy": False}
CARRIED_OUT = {
    "backupInterval": "1h",
    "compressionThreshold": 1,
    "gcInterval": "1s",
    "enableVacuum": True,
    "mcpMode": True,
    "backupOnDelete": True,
    "deletionPolicy": "Backup",
}


def test_fields_that_ask_for_nothing_are_not_named(store):
    named = set(not_implemented(store(**NOTHING)))
    assert not named & {*NOTHING}


def test_each_field_that_asks_for_something_is_named(store):
    asking = {
        "migrateFromLegacy": True,
    }
    silent = not_implemented(store(**NOTHING))
    for field, value in asking.items():
        if field in not_implemented(store(**asking)):  # a release that carries it out takes it off the list
            assert field in not_implemented(store(**NOTHING | {field: value}))
            assert field not in silent


def test_what_is_carried_out_is_not_named(store):
    assert not_implemented(store(**NOTHING, **CARRIED_OUT)) == []


def test_what_is_named_is_a_field_as_users_write_it_in_order(store):
    named = not_implemented(store(migrateFromLegacy=True, legacyDataPVC="old"))
    assert named == sorted(named)
    assert set(named) <= set(SwarmMemoryStoreSpec().model_dump(by_alias=True))
