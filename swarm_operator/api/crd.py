"""Renders CustomResourceDefinitions from the pydantic models.

pydantic's JSON schema is converted to a structural schema, which the API server requires: no `$ref`, `null`, `const` or
titles. The fields of the models have everything else, including CEL rules.
"""

from __future__ import annotations

import json
from typing import Any, Protocol

import yaml
from pydantic import BaseModel

Schema = dict[str, Any]


class Kind(Protocol):
    """Properties of a kind besides its fields `metadata`, `spec` and `status`."""

    GROUP: str
    VERSION: str
    KIND: str
    PLURAL: str
    SHORT_NAMES: list[str]
    COLUMNS: list[dict[str, Any]]
    SCALE: dict[str, str]
    """Paths of the scale subresource. A kind without one has no SCALE."""


def render(model: type[BaseModel]) -> Schema:
    """Make the CustomResourceDefinition of a model (see Kind)."""
    kind: Any = model
    schema = model.model_json_schema(by_alias=True)
    definitions = schema.pop("$defs", {})
    root = _structural(schema, definitions)
    root["properties"] = {
        "apiVersion": {"type": "string", "description": "Version of the schema of this object."},
        "kind": {"type": "string", "description": "Kind of this object."},
        "metadata": {"type": "object"},
        "spec": root["properties"]["spec"],
        "status": root["properties"]["status"],
    }
    # Where every field has a default, an empty spec is complete. CEL rules may read self.spec without has() either way.
    root.pop("required", None)
    if "required" in root["properties"]["spec"]:
        root["required"] = ["spec"]
    else:
        root["properties"]["spec"]["default"] = {}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.PLURAL}.{kind.GROUP}"},
        "spec": {
            "group": kind.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.KIND,
                "listKind": f"{kind.KIND}List",
                "plural": kind.PLURAL,
                "singular": kind.KIND.lower(),
                "shortNames": kind.SHORT_NAMES,
                "categories": ["swarm"],
            },
            "versions": [
                {
                    "name": kind.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}, **({"scale": kind.SCALE} if hasattr(kind, "SCALE") else {})},
                    "additionalPrinterColumns": kind.COLUMNS,
                    "schema": {"openAPIV3Schema": root},
                }
            ],
        },
    }


def to_yaml(manifest: Schema) -> str:
    """Return the manifest as YAML, with keys in the order given, as in config/crd/bases."""
    # A copy without shared parts, for which YAML would use anchors.
    unshared = json.loads(json.dumps(manifest))
    text: str = yaml.safe_dump(unshared, sort_keys=False, width=110, allow_unicode=True)
    return text


def _structural(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    schema = dict(schema)
    if "$ref" in schema:
        target = definitions[schema.pop("$ref").removeprefix("#/$defs/")]
        # The field's own description and default win over those of its type.
        schema = {**target, **schema}
    if "anyOf" in schema:
        (some,) = (option for option in schema.pop("anyOf") if option.get("type") != "null")
        schema = {**_structural(some, definitions), **schema}
        if schema.get("type") == "object":
            # Server-side apply of {} removes all fields of an object and leaves null, which is refused.
            schema["x-kubernetes-map-type"] = "atomic"
    if schema.get("default", ...) is None:
        del schema["default"]
    if "const" in schema:
        schema["enum"] = [schema.pop("const")]
    schema.pop("title", None)
    schema["description"] = " ".join(schema["description"].split()) if "description" in schema else None
    if schema["description"] is None:
        del schema["description"]
    if "properties" in schema:
        schema["properties"] = {name: _structural(part, definitions) for name, part in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        schema["items"] = _structural(schema["items"], definitions)
    if schema.get("type") == "integer" and "format" not in schema:
        schema["format"] = "int32" if schema.get("maximum", 0) <= 2**31 - 1 else "int64"
    return schema
