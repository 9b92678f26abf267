"""Parts that all kinds share: the base of the models, metadata, conditions."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from swarm_operator.api.duration import DURATION_PATTERN
from swarm_operator.api.field_docs import field_docs

GROUP = "swarm.claudeflow.io"
VERSION = "v1alpha1"


SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
"""Allowed names of most objects. Without this rule an invalid name is found late, when a child is refused."""

_ACRONYMS = {"Mb": "MB", "Pvc": "PVC", "Uid": "UID", "Wal": "WAL"}


def _json_name(field: str) -> str:
    """Return the JSON name of a field: camelCase, with the API's acronyms in capitals."""
    return re.sub("|".join(_ACRONYMS), lambda match: _ACRONYMS[match[0]], to_camel(field))


class ApiModel(BaseModel):
    """A part of an object. Field names are camelCase in JSON; fields of a newer version are ignored."""

    model_config = ConfigDict(alias_generator=_json_name, populate_by_name=True, extra="ignore")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the schema with the fields' docstrings as descriptions."""
        found = handler(schema)
        properties = handler.resolve_ref_schema(found).get("properties", {})
        models = [base for base in reversed(cls.__mro__) if issubclass(base, BaseModel) and base is not BaseModel]
        docs = {name: text for model in models for name, text in field_docs(model).items()}
        for name, text in docs.items():
            field = cls.model_fields[name]
            if field.description is None:
                properties[field.alias or name]["description"] = text
        return found


class StatusModel(ApiModel):
    """A status, as an operator wrote it: perhaps a newer one, before a downgrade.

    A field with a value that this version does not know reads as absent. The status is no reason to refuse an object.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _ignore_unknown_values(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(data)
        except ValidationError as error:
            fields = data if isinstance(data, dict) else {}
            unknown = {problem["loc"][0] for problem in error.errors() if problem["loc"]}
            return handler({name: value for name, value in fields.items() if name not in unknown})


class ObjectMeta(ApiModel):
    """The parts of metadata that the reconcilers read."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    deletion_timestamp: str | None = None


class Condition(ApiModel):
    """One aspect of an object's state: metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    """Name of the aspect, such as Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(max_length=1024)]
    """Why, in one CamelCase word from the documented table."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Why, for people."""
    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] = 0
    """The metadata.generation that this was judged for."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """Time of the last change of the status."""


Conditions = Annotated[
    list[Condition],
    Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}),
]

Int64 = Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})]
Timestamp = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


def never_below_capacity(size: str) -> dict[str, Any]:
    """Return the rule of an object that its volume is not made smaller than status.storageCapacity.

    So a refused growth can be taken back. If the capacity is unknown, the size can only grow.

    Args:
        size: path of the size in the object.
    """
    new, old, capacity = f"self.{size}", f"oldSelf.{size}", "self.status.storageCapacity"
    known = f"has(self.status) && has({capacity}) && isQuantity({capacity})"
    return rule(
        f"!isQuantity({new}) || !isQuantity({old}) || !quantity({new}).isLessThan(quantity({old}))"
        f" || ({known} && !quantity({new}).isLessThan(quantity({capacity})))",
        "can only grow: a volume cannot be made smaller",
        f".{size}",
    )


def at_most(field: str, limit: str) -> dict[str, Any]:
    """Return the rule of an object that a duration with a default is not longer than a limit."""
    # The field's own rules answer for what duration() cannot parse.
    parses = f"self.{field}.matches(r'{DURATION_PATTERN}')"
    return rule(f"!{parses} || duration(self.{field}) <= duration('{limit}')", f"must be at most {limit}", f".{field}")


def unchanged(field: str, message: str) -> dict[str, Any]:
    """Return the rule of an object that an optional field of it cannot be set later, changed or removed.

    Args:
        field: JSON name of the field.
        message: that it cannot, and why.
    """
    return rule(
        f"has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})",
        message,
        f".{field}",
    )


def matching(pattern: str, message: str, *, longest: int = 512) -> Any:
    """Return the field of a text that matches a pattern, such as a URL.

    Args:
        pattern: regular expression (RE2) of the texts that are allowed.
        message: what is allowed. The API server puts the field's path in front.
        longest: largest number of characters.
    """
    matches = rule(f"self.matches('{pattern}')", message)
    return Field(min_length=1, max_length=longest, json_schema_extra={"x-kubernetes-validations": [matches]})


def rule(cel: str, message: str, field: str | None = None) -> dict[str, Any]:
    """Return an entry of `x-kubernetes-validations`.

    Args:
        cel: the rule; what it is about is `self`, and `oldSelf` on an update.
        message: what is allowed. The API server puts the field's path in front.
        field: path of the field to blame, where it is not the one that carries the rule.
    """
    found: dict[str, Any] = {"rule": cel, "message": message}
    if field:
        found["fieldPath"] = field
    return found
