"""Maps legacy agents, tasks, patterns and decisions to the records of a swarm, and all other rows to entries.

Records keep their ids. Ids and references of another swarm become `SWARM/ID`. A row of any other table becomes an entry
in `hive:TABLE`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

import orjson

from swarm_operator.memory.core.entry import check_key
from swarm_operator.memory.core.errors import InvalidInputError
from swarm_operator.memory.swarm import fields as rules
from swarm_operator.memory.swarm.agents import AGENT
from swarm_operator.memory.swarm.consensus.proposals import CONSENSUS
from swarm_operator.memory.swarm.patterns import PATTERN
from swarm_operator.memory.swarm.record import Kind as RecordKind
from swarm_operator.memory.swarm.tasks.queue import TASK
from swarm_operator.memory.transfer.migration.entries import LEGACY, camel, checked, item, plain
from swarm_operator.memory.transfer.migration.items import Context, Found, Item, Kind, Reason, Refusal
from swarm_operator.memory.transfer.migration.names import fit, fit_namespace, scoped
from swarm_operator.memory.transfer.migration.values import from_text, json_value, moment, time_text, whole

RECORDS: Final[Mapping[str, tuple[Kind, RecordKind]]] = {
    "agents": (Kind.AGENT, AGENT),
    "tasks": (Kind.TASK, TASK),
    "patterns": (Kind.PATTERN, PATTERN),
    "neural_patterns": (Kind.PATTERN, PATTERN),
    "consensus": (Kind.CONSENSUS, CONSENSUS),
    "consensus_decisions": (Kind.CONSENSUS, CONSENSUS),
}
"""Tables, and members of JSON files, whose rows are records."""
_TABLES: Final = {"swarms": Kind.SWARM, "communications": Kind.MESSAGE}
_RENAMED: Final = {
    Kind.AGENT: {"agentType": "type"},
    Kind.PATTERN: {"patternType": "type", "patternData": "data", "lastUsed": "lastUsedAt"},
}
_REFERENCES: Final = ("assignedAgents", "dependencies")
_UPDATED: Final = ("updatedAt", "lastUpdated", "completedAt", "lastUsedAt", "startedAt", "createdAt", "timestamp")
_TEXTS: Final = frozenset(
    {"id", "name", "description", "objective", "topic", "title", "swarm_id", "agent_id", "task_id"}
)
"""Columns whose texts are never parsed as JSON."""
_HIVE: Final = "hive:"
_DIGEST: Final = 16


def record(
    table: str, fields: Mapping[str, Any], context: Context, *, swarm_id: Any, where: Mapping[str, Any]
) -> Found:
    """Return the record of a row of one of RECORDS.

    Args:
        table: one of RECORDS.
        fields: values by the names of members.
        context: see Context.
        swarm_id: the swarm of the record; None if not known.
        where: its place, for the quarantine.
    """
    kind, record_kind = RECORDS[table]
    document = {_RENAMED.get(kind, {}).get(name, name): value for name, value in fields.items() if value is not None}
    legacy: dict[str, Any] = {}
    found_id = document.get("id")
    if isinstance(found_id, bool) or not isinstance(found_id, str | int) or found_id == "":
        content = orjson.dumps(document, default=repr, option=orjson.OPT_NON_STR_KEYS)
        return Refusal(kind, Reason.INVALID, f"id: missing; a {kind} has an id", where, [content])
    record_id, original = fit(
        scoped(swarm_id, context.swarm_id, str(found_id)), lambda name: rules.identifier("id", name)
    )
    if original is not None:
        legacy["id"] = original
    document["id"] = record_id
    if swarm_id is not None:
        document["swarmId"] = swarm_id
    if kind is Kind.TASK:
        _complete_task(document, context, swarm_id)
    elif kind is Kind.CONSENSUS:
        _complete_consensus(document, context, swarm_id)
    updated_at = max((moment(document.get(name)) or 0 for name in _UPDATED), default=0)
    try:
        draft = record_kind.put(document, None).draft
        if legacy:
            metadata = {**orjson.loads(draft.metadata_json), LEGACY: legacy}
            draft = draft._replace(metadata_json=orjson.dumps(metadata).decode())
    except InvalidInputError as error:
        content = orjson.dumps(document, default=repr, option=orjson.OPT_NON_STR_KEYS)
        return Refusal(kind, Reason.INVALID, f"{error.field}: {error.allowed}", where, [content])
    return checked(Item(kind, draft, updated_at), context, where)


def row(table: str, fields: Mapping[str, Any], context: Context, *, key: str | None, where: Mapping[str, Any]) -> Found:
    """Return the entry for a row of any other table.

    Args:
        table: the table.
        fields: values of the columns by the names of members.
        context: see Context.
        key: the row's primary key, if its values are part of the data. Numbers that the database generates are not,
            because rows of two databases have equal numbers. Without a key the name is the row's digest.
        where: its place, for the quarantine.
    """
    document = {name: value for name, value in fields.items() if value is not None}
    if key is None:
        text = orjson.dumps(document, default=repr, option=orjson.OPT_SORT_KEYS)
        key = hashlib.sha256(text).hexdigest()[:_DIGEST]
    legacy: dict[str, Any] = {}
    name, original = fit(scoped(fields.get("swarmId"), context.swarm_id, key), check_key)
    if original is not None:
        legacy["key"] = original
    namespace, original = fit_namespace(f"{_HIVE}{table}")
    if original is not None:
        legacy["namespace"] = original
    updated_at = max((moment(document.get(column)) or 0 for column in _UPDATED), default=0)
    return item(
        kind_of_table(table), context, namespace, name, document, updated_at=updated_at,
        metadata={LEGACY: legacy} if legacy else {}, where=where,
    )  # fmt: skip


def kind_of_table(table: str) -> Kind:
    """Return the kind of the rows of a table without a kind of record."""
    return _TABLES.get(table, Kind.ROW)


def members(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row's values by the names of members, with times as ISO 8601 and JSON texts parsed."""
    return {camel(name): _member(name, value) for name, value in columns.items()}


def _member(name: str, value: Any) -> Any:
    if name.endswith("_at") or name in {"timestamp", "last_used"}:
        return time_text(value)
    return json_value(value) if name in _TEXTS else plain(value)


def _complete_task(task: dict[str, Any], context: Context, swarm_id: Any) -> None:
    for name in ("assignedTo", "agentId"):
        if name in task and "assignedAgents" not in task and isinstance(task[name], str):
            task["assignedAgents"] = [task[name]]
    for name in _REFERENCES:
        value = task.get(name)
        if isinstance(value, str):
            value = from_text(value, scalars=False) if value.startswith("[") else [value] if value else []
        if isinstance(value, list):
            task[name] = [scoped(swarm_id, context.swarm_id, each) if isinstance(each, str) else each for each in value]
    number = whole(task.get("priority"))
    if number is not None:
        task["priority"] = number


def _complete_consensus(proposal: dict[str, Any], context: Context, swarm_id: Any) -> None:
    """Mark a legacy decision as decided: it has no status, and its vote is over."""
    if "decision" in proposal:
        proposal.setdefault("status", "decided")
        proposal.setdefault("outcome", proposal["decision"])
    if isinstance(proposal.get("taskId"), str):
        proposal["taskId"] = scoped(swarm_id, context.swarm_id, proposal["taskId"])
