"""Pieces of tools' schemas (JSON Schema 2020-12), and what is allowed in words for those who broke one.

Lengths in schemas are characters, those of the engine bytes: the schema turns away what is far off, the engine decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator

from swarm_operator.memory.core import limits
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.service.json_schema import Schema, array, nullable, text, whole

_NAMES: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "object": "a JSON object",
    "array": "a list",
    "null": "null",
}


def limit(default: int, most: int = limits.MAX_PAGE_SIZE) -> Schema:
    """The size of a page."""
    return whole("How many at most; an answer that would be too long has fewer.", least=1, most=most, default=default)


TEXT: Final = text()
BOOL: Final[Schema] = {"type": "boolean"}
COUNT: Final = whole()
MOMENT: Final = text("RFC 3339, UTC")
ANY: Final[Schema] = {"description": "Any JSON value."}
OBJECT: Final[Schema] = {"type": "object"}
NAMESPACE: Final = text(
    "The namespace, 1 to 255 bytes; `/` and `:` are plain characters in it.",
    most=limits.MAX_NAMESPACE_BYTES,
    default="default",
)
KEY: Final = text("The entry's key, 1 to 1024 bytes without NUL.", most=limits.MAX_KEY_BYTES)
PREFIX: Final = text("Only keys that start so.", least=0, most=limits.MAX_KEY_BYTES, default="")
TTL: Final = whole("Seconds that it lives from now on; 0: until it is deleted.", most=limits.MAX_TTL_SECONDS, default=0)
TAGS: Final = array(text(most=limits.MAX_TAG_BYTES), "At most 64 tags of at most 256 bytes.", most=limits.MAX_TAGS)
VERSION: Final = whole("Only if the entry has this version (compare and set).", least=1, most=limits.MAX_VERSION)
CURSOR: Final = text("The next_cursor of the answer before, with the same other arguments.", most=8192)
NULL_CURSOR: Final = nullable(text("Give it as cursor to get what comes next; null: this was all."))
ID: Final = text("Its id, 1 to 512 bytes.", most=512)
AGENT: Final = text("The id of the agent that does it.", most=512)
DETAILS: Final[Schema] = {"type": "object", "description": "Further members of the record, of your own choice."}


def check(validator: Validator, arguments: Mapping[str, Any]) -> None:
    """Raise InvalidInputError for the first thing that is wrong with a tool's arguments."""
    known = validator.schema["properties"]
    # Before the validator, which would write down every unknown name.
    unknown = next((name for name in arguments if name not in known), None)
    if unknown is not None:
        allowed = f"one of {', '.join(known)}" if known else "there are none"
        raise InvalidInputError(unknown[:64], f"no such argument; {allowed}")
    error = next(validator.iter_errors(arguments), None)
    if error is not None:
        raise _explain(error)


def _explain(error: ValidationError) -> InvalidInputError:
    """What is wrong with the arguments, as the engine would say it."""
    field = ""
    for part in error.absolute_path:
        field += f"[{part}]" if isinstance(part, int) else f".{part}" if field else str(part)
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        return InvalidInputError(f"{field}.{missing}" if field else missing, f"given: {_allowed(_of(error, missing))}")
    return InvalidInputError(field or "arguments", _allowed(error.schema))


def _of(error: ValidationError, name: str) -> Schema:
    schema: Schema = error.schema["properties"][name]
    return schema


def _allowed(schema: Schema) -> str:
    """A schema in words."""
    if "enum" in schema:
        return f"one of {', '.join(map(str, schema['enum']))}"
    kinds = schema.get("type", [])
    words = " or ".join(_NAMES[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)) or "any JSON value"
    if "maxLength" in schema:
        words += f" of {schema['minLength']} to {schema['maxLength']} bytes"
    if "maximum" in schema:
        words += f" from {schema['minimum']} to {schema['maximum']}"
    elif "exclusiveMinimum" in schema:
        words += f" greater than {schema['exclusiveMinimum']}"
    elif "minimum" in schema:
        words += f" from {schema['minimum']}"
    if "maxItems" in schema or "minItems" in schema:
        words += f" of {schema.get('minItems', 0)} to {schema.get('maxItems', 'any number of')} items"
    return words
