"""Parses the response of an endpoint compatible with OpenAI's: a vector for each text, or an error."""

from __future__ import annotations

import re
from typing import Any, Final

import orjson

from swarm_operator.memory.core.errors import EmbeddingError, InvalidInputError
from swarm_operator.memory.core.vectors import NUMBER_BYTES, check_vector
from swarm_operator.memory.core.vectors import width as width_of

_NOT_FINITE: Final = re.compile(rb"[\[,]\s*-?(NaN|Infinity)")
"""Numbers that are not JSON, but that some servers write."""


class BadAnswerError(EmbeddingError):
    """The response does not match the request."""


def read_vectors(body: bytes, *, count: int, width: int | None) -> list[bytes]:
    """Return the vectors of a response, in the order of the texts, as little-endian float32.

    Args:
        body: body of the response.
        count: number of texts.
        width: number of dimensions; None: any number, but the same for all vectors.

    Raises:
        BadAnswerError: the message names the error in the response.
    """
    vectors: list[bytes] = [b""] * count
    items = _items(body)
    if len(items) != count:
        raise BadAnswerError(f"{len(items)} vectors for {count} texts")
    for place, item in enumerate(items):
        index = item.get("index", place) if isinstance(item, dict) else None
        if type(index) is not int or not 0 <= index < count or vectors[index]:
            raise BadAnswerError(f"data[{place}].index: not one of the texts, or one that has a vector already")
        vector = _vector(item.get("embedding"), place)
        width = width_of(vector) if width is None else width
        if width_of(vector) != width:
            raise BadAnswerError(
                f"data[{place}].embedding: a vector of {width_of(vector)} numbers; {width} are expected"
            )
        vectors[index] = vector
    return vectors


def _items(body: bytes) -> list[Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if _NOT_FINITE.search(body):
            raise BadAnswerError("a number that is NaN or infinite") from None
        raise BadAnswerError(f"no JSON: {error}") from None
    items = document.get("data") if isinstance(document, dict) else None
    if not isinstance(items, list):
        raise BadAnswerError("no JSON object with a list `data`")
    return items


def _vector(embedding: Any, place: int) -> bytes:
    # The model knows no token of the text: see core.embedding.
    if isinstance(embedding, list) and embedding and not any(embedding):
        return bytes(NUMBER_BYTES * len(embedding))
    try:
        # A string would be vectors in base64, which the request did not ask for.
        return check_vector(embedding, field=f"data[{place}].embedding")
    except InvalidInputError as error:
        raise BadAnswerError(f"{error.field}: {error.allowed} are expected") from None
