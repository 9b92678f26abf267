"""Chooses the model whose vectors searches use, and those that are followed, when a file is opened.

With another embedder than before, all entries are embedded anew. Until that is done, searches use the vectors of the
former model, if its embedder can still be had: it follows the changes, too. Then its vectors are deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from swarm_operator.memory.core.embedding import Embedder
from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.database.connection import translated, write_transaction
from swarm_operator.memory.sqlite.vectors import table
from swarm_operator.memory.sqlite.vectors.table import Model

FormerEmbedder: TypeAlias = Callable[[str], Embedder | None]
"""Returns the embedder of this name, see core.embedding; None if it can't be had."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Models of a file: which are searched, updated and deleted.

    Attributes:
        serving: the model whose vectors searches use; None: there is none.
        followed: models that follow the changes, with their embedders; the newest is the last.
        dropped: numbers of models whose vectors are to be deleted.
        newest: position of the last change.
    """

    serving: Model | None
    followed: Sequence[tuple[Model, Embedder]]
    dropped: Sequence[int]
    newest: int


def choose(db: sqlite3.Connection, embedder: Embedder | None, former: FormerEmbedder) -> Choice:
    """Choose the models of a file that is opened with an embedder, and add its model if it is new."""
    with translated(), write_transaction(db):
        newest = changes.bounds(db)[1]
        if embedder is None:
            kept = table.models(db)
            # The changes of a model without a follower are not kept.
            _forget_positions(db, kept)
            complete = [model for model in kept if model.built is None]
            usable = complete or kept
            return Choice(usable[-1] if usable else None, [], [], newest)
        key = (embedder.name, embedder.width)
        if key not in [model[1:3] for model in table.models(db)]:
            table.add_model(db, *key)
        others = [model for model in table.models(db) if model[1:3] != key]
        current = next(model for model in table.models(db) if model[1:3] == key)
        followed = [(current, embedder)]
        if current.built is not None:
            for model in others:
                its = former(model.name) if model.built is None else None
                if its is not None and its.width == model.width:
                    followed = [(model, its), (current, embedder)]
        numbers = [model.number for model, _ in followed]
        dropped = [model for model in others if model.number not in numbers]
        _forget_positions(db, dropped)
        return Choice(followed[0][0], followed, [model.number for model in dropped], newest)


def _forget_positions(db: sqlite3.Connection, models: Sequence[Model]) -> None:
    for model in models:
        table.set_progress(db, model.number, None, model.built)
