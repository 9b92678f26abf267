"""The rendered CRDs: what the API server demands of them, and what users read in them."""

from pathlib import Path

import pytest
import yaml

from swarm_operator.api import crd
from swarm_operator.api.v1alpha1 import KINDS

BASES = Path(__file__).parents[3] / "config" / "crd" / "bases"

STRUCTURAL = {
    *("type", "format", "description", "default", "enum", "properties", "items", "required", "pattern"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "additionalProperties", "maxProperties"),
    *("x-kubernetes-validations", "x-kubernetes-list-type", "x-kubernetes-list-map-keys"),
    *("x-kubernetes-preserve-unknown-fields", "x-kubernetes-map-type"),
}


@pytest.fixture(params=KINDS, ids=lambda kind: kind.KIND)
def kind(request):
    return request.param


@pytest.fixture
def manifest(kind):
    return crd.render(kind)


@pytest.fixture
def schema(manifest):
    (version,) = manifest["spec"]["versions"]
    return version["schema"]["openAPIV3Schema"]


def nodes(schema, path=""):
    """Every part of a schema, with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from nodes(part, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")


def test_the_files_are_those_that_the_models_render(kind):
    text = (BASES / f"{kind.GROUP}_{kind.PLURAL}.yaml").read_text(encoding="utf-8")
    header, _, rest = text.partition("\n")
    assert header.startswith("# Made by")
    assert rest == crd.to_yaml(crd.render(kind))


def test_there_is_no_file_without_a_model():
    assert {path.name for path in BASES.glob("*.yaml")} == {f"{kind.GROUP}_{kind.PLURAL}.yaml" for kind in KINDS}


def test_yaml_keeps_everything_and_its_order(manifest):
    loaded = yaml.safe_load(crd.to_yaml(manifest))
    assert loaded == manifest
    assert list(loaded) == ["apiVersion", "kind", "metadata", "spec"]


def test_every_field_has_a_description(schema):
    bare = [path for path, part in nodes(schema) if not part.get("description")]
    assert set(bare) <= {".metadata", ".status.conditions[]"}


def test_descriptions_are_one_line(schema):
    assert all("\n" not in part.get("description", "") for _, part in nodes(schema))


def test_the_schema_is_structural(schema):
    for path, part in nodes(schema):
        assert set(part) <= STRUCTURAL, path
        assert isinstance(part["type"], str), path


def test_no_default_is_null(schema):
    assert [path for path, part in nodes(schema) if part.get("default", ...) is None] == []


def test_an_object_that_may_be_left_out_is_applied_as_a_whole(schema):
    """Server-side apply of {} would leave null of one whose fields are all taken away."""
    loose = [
        f"{path}.{name}"
        for path, parent in nodes(schema)
        for name, part in parent.get("properties", {}).items()
        if part.get("type") == "object" and "properties" in part and "default" not in part
        if path.startswith(".spec") and name not in parent.get("required", ())
        if part.get("x-kubernetes-map-type") != "atomic"
    ]
    assert loose == []


def test_an_empty_spec_is_complete_unless_a_field_is_required(schema, kind):
    spec = schema["properties"]["spec"]
    required = {"SwarmMemoryBackup": ["storeRef"], "SwarmMemoryRestore": ["storeRef", "from"]}
    if kind.KIND in required:
        assert (schema["required"], spec["required"]) == (["spec"], required[kind.KIND])
        assert "default" not in spec
    else:
        assert spec["default"] == {}
        assert "required" not in schema
        assert "required" not in spec


def test_every_rule_has_a_message_that_says_what_is_allowed(schema):
    rules = [(path, rule) for path, part in nodes(schema) for rule in part.get("x-kubernetes-validations", ())]
    assert rules
    for path, rule in rules:
        assert rule["message"], path
        assert rule["rule"], path
        assert set(rule) <= {"rule", "message", "fieldPath"}, path


def test_every_text_that_a_user_writes_is_bounded(schema):
    """CEL's cost estimate, and etcd, need a bound."""
    for path, part in nodes(schema["properties"]["spec"]):
        if part["type"] == "string":
            assert "maxLength" in part or "enum" in part, path


def test_integers_have_a_format_that_holds_them(schema):
    for path, part in nodes(schema):
        if part["type"] == "integer":
            assert part["format"] in {"int32", "int64"}, path
            assert part.get("maximum", 0) < 2**31 or part["format"] == "int64", path


def test_conditions_are_merged_by_type(schema):
    conditions = schema["properties"]["status"]["properties"]["conditions"]
    assert conditions["x-kubernetes-list-type"] == "map"
    assert conditions["x-kubernetes-list-map-keys"] == ["type"]
    assert set(conditions["items"]["required"]) == {"type", "status", "reason", "lastTransitionTime"}


def test_the_status_is_a_subresource_and_a_swarm_can_be_scaled(kind, manifest, schema):
    (version,) = manifest["spec"]["versions"]
    scale = version["subresources"].pop("scale", {})
    assert version["subresources"] == {"status": {}}
    assert bool(scale) == (kind.KIND == "SwarmCluster")
    types = {path: part["type"] for path, part in nodes(schema)}
    assert [types[path] for path in scale.values()] == ["integer", "integer", "string"][: len(scale)]
    assert version["served"] is version["storage"] is True


def test_names_belong_together(kind, manifest):
    spec = manifest["spec"]
    assert manifest["metadata"]["name"] == f"{kind.PLURAL}.swarm.claudeflow.io"
    assert spec["group"] == "swarm.claudeflow.io"
    assert spec["scope"] == "Namespaced"
    assert spec["names"]["plural"] == kind.KIND.lower() + "s"
    assert spec["names"]["singular"] == kind.KIND.lower()
    assert spec["names"]["listKind"] == kind.KIND + "List"


def test_short_names_and_columns_are_those_that_users_know(kind, manifest):
    names = {
        "SwarmCluster": ["swarm"],
        "SwarmMemoryStore": ["sms"],
        "SwarmMemoryBackup": ["smb"],
        "SwarmMemoryRestore": ["smr"],
    }
    columns = {
        "SwarmCluster": ["Topology", "Agents", "Ready", "Memory", "Phase", "Age"],
        "SwarmMemoryStore": ["Type", "SwarmID", "Phase", "Storage", "Entries", "Age"],
        "SwarmMemoryBackup": ["Store", "Reason", "Phase", "Size", "Entries", "Verified", "Age"],
        "SwarmMemoryRestore": [
            *("Store", "From", "Dry-Run", "Phase", "New", "Changed", "Removed", "Safety-Backup", "Age"),
        ],
    }
    (version,) = manifest["spec"]["versions"]
    assert manifest["spec"]["names"]["shortNames"] == names[kind.KIND]
    assert [column["name"] for column in version["additionalPrinterColumns"]] == columns[kind.KIND]


def test_every_column_shows_a_field_that_is_there(schema, manifest):
    (version,) = manifest["spec"]["versions"]
    present = {path for path, _ in nodes(schema)} | {".metadata.creationTimestamp"}
    for column in version["additionalPrinterColumns"]:
        assert column["jsonPath"] in present
