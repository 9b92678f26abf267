from typing import Literal

import pytest
from pydantic import ValidationError

from swarm_operator.api.v1alpha1.common import ApiModel, Condition, ObjectMeta, StatusModel, rule


class ExampleStatus(StatusModel):
    phase: Literal["Ready", "Error"] | None = None
    entry_count: int | None = None


class Example(ApiModel):
    cache_memory_mb: int = 0
    enable_wal: bool = False
    legacy_data_pvc: str | None = None
    gc_interval: str = ""
    swarm_id: str = ""


def test_acronyms_are_in_capitals_and_everything_else_is_camel_case():
    assert list(Example().model_dump(by_alias=True)) == [
        "cacheMemoryMB",
        "enableWAL",
        "legacyDataPVC",
        "gcInterval",
        "swarmId",
    ]


def test_a_field_can_be_given_by_either_name():
    assert Example(enable_wal=True) == Example.model_validate({"enableWAL": True})


def test_fields_of_a_newer_version_are_ignored():
    assert Example.model_validate({"fromTheFuture": 1}) == Example()


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ({"phase": "FromTheFuture", "entryCount": 3}, ExampleStatus(entry_count=3)),
        ({"phase": "Ready", "entryCount": "many"}, ExampleStatus(phase="Ready")),
        ({"phase": "FromTheFuture", "entryCount": []}, ExampleStatus()),
        ("FromTheFuture", ExampleStatus()),
    ],
)
def test_values_of_a_newer_version_s_status_read_as_absent(written, read):
    assert ExampleStatus.model_validate(written) == read


def test_the_metadata_that_is_not_needed_is_not_asked_for():
    metadata = ObjectMeta.model_validate({"name": "a", "managedFields": [], "creationTimestamp": "x"})
    assert (metadata.name, metadata.labels, metadata.deletion_timestamp) == ("a", {}, None)
    with pytest.raises(ValidationError, match="name"):
        ObjectMeta.model_validate({})


def test_a_condition_s_status_is_one_of_three():
    base = {"type": "Ready", "reason": "Fine", "lastTransitionTime": "2026-11-23T12:00:00Z"}
    for status in ("True", "False", "Unknown"):
        assert Condition.model_validate(base | {"status": status}).status == status
    with pytest.raises(ValidationError, match="status"):
        Condition.model_validate(base | {"status": "Maybe"})


def test_a_rule_names_a_field_only_where_it_blames_one():
    assert rule("a", "b") == {"rule": "a", "message": "b"}
    assert rule("a", "b", ".c") == {"rule": "a", "message": "b", "fieldPath": ".c"}
