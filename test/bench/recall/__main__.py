"""Recall of the static embedder, and of a store that has it: `make bench-recall`.

The first line compares each question with all facts by the exact cosine. The others search in a store, by the store's
own API, in each mode.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from bench.machine import machine
from bench.recall.pairs import Pair, Recall, pairs

from swarm_operator.memory.core.embedding import Embedder
from swarm_operator.memory.core.query import Mode, Query
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.embedding.choice import open_embedders
from swarm_operator.memory.embedding.settings import EmbedderSettings
from swarm_operator.memory.sqlite import SqliteStore
from swarm_operator.memory.sqlite.database.driver import sqlite3

_NAMESPACE = "facts"
_MOST = 100
"""Hits that are looked at. A fact that is further behind counts as not found."""
_SPEED_TEXTS = 4000
_EMBED_SECONDS = 120.0


def main() -> None:
    """Run it."""
    for line in machine(f"SQLite {sqlite3.sqlite_version}"):
        print(line)
    asyncio.run(_run())


async def _run() -> None:
    asked = pairs()
    before = _resident_mib("RssAnon"), _resident_mib("RssFile")
    async with open_embedders(EmbedderSettings(mode="static")) as embedders:
        embedder = embedders.chosen
        assert embedder is not None
        await embedder.embed([fact for _, fact in asked])
        speed = await _speed(embedder, asked)
        own, mapped = _resident_mib("RssAnon") - before[0], _resident_mib("RssFile") - before[1]
        print(f"{embedder.name}: {speed:,.0f} texts/s; {own:.0f} MiB of memory, and {mapped:.0f} MiB of mapped files")
        print(f"{len(asked)} questions that share no word with the fact that answers them")
        _print("meaning, exact", await exact(embedder, asked))
        with tempfile.TemporaryDirectory() as name:
            async with SqliteStore.open(Path(name) / "recall.db", embedder=embedder) as store:
                for number, pair in enumerate(asked):
                    await store.put(_NAMESPACE, str(number), pair.fact)
                await _embedded(store)
                for mode in Mode:
                    found = await in_store(store, asked, mode)
                    _print(mode, found) if isinstance(found, Recall) else print(f"{mode:<16} answered as {found}")


async def exact(embedder: Embedder, asked: Sequence[Pair]) -> Recall:
    """Return the recall of an embedder, by the cosine of each question with all facts."""
    import numpy as np

    questions, facts = [
        np.frombuffer(b"".join(await embedder.embed(texts)), np.float32).reshape(len(texts), -1)
        for texts in zip(*asked, strict=True)
    ]
    cosines = questions @ facts.T
    right = np.diag(cosines)[:, None]
    return Recall.of([int(place) for place in (cosines > right).sum(axis=1) + 1])


async def in_store(store: Store, asked: Sequence[Pair], mode: Mode) -> Recall | str:
    """Return the recall of a store's search; the mode of the answers if it is another one."""
    places: list[int | None] = []
    for number, pair in enumerate(asked):
        query = Query.create(namespace=_NAMESPACE, text=pair.question, mode=mode)
        page = await store.search(query, limit=_MOST)
        if page.mode is not mode:
            return str(page.mode)
        keys = [hit.entry.key for hit in page.hits]
        places.append(keys.index(str(number)) + 1 if str(number) in keys else None)
    return Recall.of(places)


async def _embedded(store: Store) -> None:
    """Wait until all entries have vectors."""
    deadline = time.monotonic() + _EMBED_SECONDS
    while (await store.stats()).vectors.lag:
        if time.monotonic() > deadline:
            raise SystemExit(f"the entries had no vectors after {_EMBED_SECONDS:g} s")
        await asyncio.sleep(0.05)


async def _speed(embedder: Embedder, asked: Sequence[Pair]) -> float:
    texts = [f"{question} {fact}" for question, fact in asked]
    texts = [texts[number % len(texts)] for number in range(_SPEED_TEXTS)]
    began = time.perf_counter()
    await embedder.embed(texts)
    return len(texts) / (time.perf_counter() - began)


def _print(title: str, recall: Recall) -> None:
    print(f"{title:<16} recall@1 {recall.at_1:.3f}   recall@5 {recall.at_5:.3f}   MRR {recall.mrr:.3f}")


def _resident_mib(kind: str) -> float:
    """Return the resident memory of this process of a kind: RssAnon, or RssFile, which the kernel can drop."""
    (line,) = [each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith(f"{kind}:")]
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
