"""Maps an entry of any legacy memory, as a table's row or a JSON object, to an entry of ours.

Namespace, key, value, tags, metadata and expiry are kept. The times and other fields of a legacy entry are stored in
its metadata as `legacy`, because the store sets its own times.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from swarm_operator.memory.core.entry import MAX_TAG_BYTES, MAX_TAGS, MAX_TTL_SECONDS, Draft, check_key
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import times
from swarm_operator.memory.transfer.migration.items import Context, Found, Item, Kind, Reason, Refusal
from swarm_operator.memory.transfer.migration.names import fit, fit_namespace, scoped
from swarm_operator.memory.transfer.migration.values import from_text, json_value, moment, time_text, whole

LEGACY: Final = "legacy"
"""Member of an entry's metadata with the other fields of the legacy entry."""
_TIMES: Final = {
    "created_at": "createdAt",
    "updated_at": "updatedAt",
    "timestamp": "timestamp",
    "accessed_at": "accessedAt",
    "last_accessed_at": "accessedAt",
    "expires_at": "expiresAt",
}
_MAPPED: Final = frozenset({"key", "value", "namespace", "tags", "metadata", "size", "compressed", "checksum"})
"""Columns and members that are mapped separately, or that describe the stored form of the value."""


@functools.lru_cache(maxsize=1024)
def snake(name: str) -> str:
    """Return a member's name in the style of columns: created_at for createdAt."""
    return "".join(f"_{character.lower()}" if character.isupper() else character for character in name).lstrip("_")


@functools.lru_cache(maxsize=1024)
def camel(name: str) -> str:
    """Return a column's name in the style of members: createdAt for created_at."""
    head, *rest = name.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def entry(
    fields: Mapping[str, Any], context: Context, *, namespace: Any, swarm_id: Any = None, where: Mapping[str, Any]
) -> Found:
    """Return the entry of ours for a legacy entry.

    Args:
        fields: members of the entry by the names of columns; `value` is a JSON value.
        context: see Context.
        namespace: namespace of the entry; None is `default`.
        swarm_id: swarm that scopes the key, or None.
        where: place of the entry in the source, for the quarantine.
    """
    key = fields.get("key")
    if not isinstance(key, str):
        key = "" if key is None else str(json_value(key))
    legacy: dict[str, Any] = {}
    key, original = fit(scoped(swarm_id, context.swarm_id, key), check_key)
    if original is not None:
        legacy["key"] = original
    name, original = fit_namespace(namespace)
    if original is not None:
        legacy["namespace"] = original
    for column, value in fields.items():
        if column not in _MAPPED and value is not None and not (column == "id" and type(value) is int):
            legacy[_TIMES.get(column) or camel(column)] = time_text(value) if column in _TIMES else plain(value)
    created = moment(fields.get("created_at"))
    updated = moment(fields.get("updated_at")) or moment(fields.get("timestamp")) or created
    tags = _tags(fields.get("tags"), legacy)
    metadata = _metadata(fields.get("metadata"), legacy)
    return item(
        Kind.ENTRY, context, name, key, fields.get("value"), tags=tags, metadata=metadata, updated_at=updated or 0,
        expires_at=_expiry(fields, updated, context), where=where,
    )  # fmt: skip


def item(
    kind: Kind,
    context: Context,
    namespace: str,
    key: str,
    value: Any,
    *,
    tags: list[str] | None = None,
    metadata: dict[str, Any] | None = None,
    updated_at: int = 0,
    expires_at: int | None = None,
    where: Mapping[str, Any],
) -> Found:
    """Return an item, or a refusal if the store would reject the item."""
    try:
        draft = Draft.create(namespace, key, value, tags=tags, metadata=metadata)
    except InvalidInputError as error:
        content = json.dumps({"namespace": namespace, "key": key, "value": value, "metadata": metadata}, default=repr)
        return Refusal(kind, Reason.INVALID, f"{error.field}: {error.allowed}", where, [content.encode()])
    return checked(Item(kind, draft, updated_at, expires_at), context, where)


def checked(found: Item, context: Context, where: Mapping[str, Any]) -> Found:
    """Return an item, or a refusal if its value is over the target's limit."""
    if len(found.draft.value_json) <= context.max_value_bytes:
        return found
    name = {"namespace": found.draft.namespace, "key": found.draft.key, **where}
    detail = f"value: {len(found.draft.value_json)} bytes; at most {context.max_value_bytes} bytes of JSON"
    return Refusal(found.kind, Reason.TOO_LARGE, detail, name, [found.draft.value_json])


def plain(value: Any) -> Any:
    """Return a column's or a member's value as JSON, parsed if it is the text of an array or an object."""
    return value if isinstance(value, dict | list | bool) else from_text(value, scalars=False)


def checksum_matches(checksum: str, value: Any) -> bool:
    """Return whether a SHA-256 matches a value as written by JavaScript's JSON.stringify, or matches a text itself."""
    stringified = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    texts = [stringified, value] if isinstance(value, str) else [stringified]
    if isinstance(value, str):
        texts.append(json.dumps(stringified, ensure_ascii=False))
    digests = {hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() for text in texts}
    return checksum.lower() in digests


def _tags(value: Any, legacy: dict[str, Any]) -> list[str]:
    """Return the tags that the store accepts. If it rejects some, keep all tags in `legacy`."""
    found = plain(value)
    if found is None:
        return []
    given = found if isinstance(found, list) else [found]
    if isinstance(found, str):
        given = [part.strip() for part in found.split(",")]
    fit_tags = list(dict.fromkeys(tag for tag in given if isinstance(tag, str) and _is_tag(tag)))[:MAX_TAGS]
    if given not in (fit_tags, [""]):
        legacy["tags"] = found
    return fit_tags


def _is_tag(tag: str) -> bool:
    return 0 < len(tag.encode(errors="surrogatepass")) <= MAX_TAG_BYTES and "\0" not in tag


def _metadata(value: Any, legacy: dict[str, Any]) -> dict[str, Any]:
    found = plain(value)
    metadata: dict[str, Any] = {}
    if isinstance(found, dict):
        metadata = {name: member for name, member in found.items() if name != LEGACY}
        if LEGACY in found:
            legacy[LEGACY] = found[LEGACY]
    elif found not in (None, ""):
        legacy["metadata"] = found
    return {**metadata, LEGACY: legacy} if legacy else metadata


def _expiry(fields: Mapping[str, Any], updated_at: int | None, context: Context) -> int | None:
    """Return the expiry time of a legacy entry, given as a time or as a lifetime in seconds.

    Return None for a time beyond the store's maximum lifetime.
    """
    expires_at = moment(fields.get("expires_at"))
    ttl = whole(fields.get("ttl"))
    if expires_at is None and ttl is not None and ttl > 0:
        expires_at = (updated_at or context.written_at) + ttl * 1000
    if expires_at is None or expires_at > context.written_at + MAX_TTL_SECONDS * 1000:
        return None
    return expires_at


def legacy_times(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the times of one of our documents in the form of `legacy`."""
    return {
        name: times.to_text(found)
        for name in ("createdAt", "updatedAt")
        if (found := moment(document.get(name))) is not None
    }
