"""Operations on patterns: `/v1/patterns` and `/v1/best-patterns`."""

from __future__ import annotations

from typing import Final

from swarm_operator.memory.service.json_schema import array, nullable, number, whole
from swarm_operator.memory.service.records.operation import (
    Body,
    Field,
    RecordOperation,
    Resource,
    Result,
    ToolText,
    deletion,
    listing,
    reading,
)
from swarm_operator.memory.service.records.schemas import (
    TOOL_WORD,
    TYPE,
    WORD,
    page_size,
    record,
    tool_words,
    words,
)
from swarm_operator.memory.swarm.patterns import PATTERN, Patterns

_CONFIDENCE: Final = Field(
    "confidence",
    nullable(number("How good it is thought to be.", least=0, most=1)),
    {"type": "number", "minimum": 0, "maximum": 1},
)
_TAGS: Final = Field(
    "tags",
    nullable(words("What it is for.", most=32)),
    tool_words("Contexts in which the pattern helps.", most=32),
)
_CONTEXT: Final = Field(
    "tag",
    array(WORD, most=16),
    tool_words("Context: patterns with one of these tags, or of this type.", most=16),
    parameter="tags",
    argument="tags",
)
_SUCCESS: Final = Field(
    "success", {"type": "boolean"}, {"type": "boolean", "description": "Whether the pattern helped."}, required=True
)

PATTERNS: Final = Resource(
    namespace=PATTERN.namespace,
    records=Patterns,
    noun="pattern",
    plural="patterns",
    schema="Pattern",
    shape=record("A pattern.", {}),
    kind=PATTERN,
    tools=("pattern_store", "pattern_use", "pattern_best", "pattern_get", "pattern_list", "pattern_delete"),
    operations=(
        listing(
            "pattern-list", "/v1/patterns", Patterns.list, (Field("type", WORD, TOOL_WORD),), plural="patterns",
            tool=ToolText("List all patterns, or those of a type, in the order of their IDs."),
        ),
        RecordOperation(
            "pattern-best", "GET", "/v1/best-patterns", Patterns.best,
            "The patterns with the highest score that have one of these tags, or of all.",
            (_CONTEXT, Field("limit", whole(least=1, most=100, default=5), page_size(5, 100))),
            Body.QUERY, Result.BEST, answer="Each with its score, the best first.",
            tool=ToolText(
                "Get the patterns with the highest scores for a context. Use this before a task; use pattern_list to "
                "see all."
            ),
        ),
        RecordOperation(
            "pattern-store", "PUT", "/v1/patterns/{id}", Patterns.store,
            "Add a pattern, or say more about one; null removes a member.",
            (TYPE, _CONFIDENCE, _TAGS), Body.DOCUMENT, statuses=(200, 201),
            tool=ToolText(
                "Store a pattern that has proved useful, for later tasks of the same kind, or change a pattern: given "
                "members replace the stored ones."
            ),
        ),
        reading(
            "pattern-get", "/v1/patterns/{id}", Patterns.get, noun="pattern",
            tool=ToolText("Get one pattern by its ID."),
        ),
        deletion(
            "pattern-delete", "/v1/patterns/{id}", Patterns.delete, noun="pattern",
            tool=ToolText("Delete a pattern. deleted is false if there was none."),
        ),
        RecordOperation(
            "pattern-use", "POST", "/v1/patterns/{id}/uses", Patterns.record_use,
            "Count a use: the success rate moves a tenth of the way to 1 or 0.",
            (_SUCCESS,), conflicts=(404,),
            tool=ToolText("Record that a pattern was used and whether it helped; updates its success rate."),
        ),
    ),
)  # fmt: skip
