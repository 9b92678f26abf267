"""Searches by meaning among many vectors: recall@10 beside exact float32, times, and memory.

Run it in test/ as `python -m bench.vectors [--entries 1000000] [--width 256] [--kind random|clustered]`. The database
is filled by SQL, as batches of clients would take an hour.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from swarm_operator.memory.core import Query
from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.sqlite.database.driver import sqlite3

_BATCH = 20_000
_QUERIES = 50
_ENTRY = """
    INSERT INTO entries (id, namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value, codec)
    VALUES (? + 1, 'bench', ?, 1, 1, 1, 0, 1, '[]', '{}', x'30', 0)
"""


def vectors(kind, random, count, width):
    """Rows without any structure, or around 1000 centres."""
    found = random.standard_normal((count, width), np.float32)
    if kind == "clustered":
        centres = np.random.default_rng(5).standard_normal((1000, width), np.float32)
        found = centres[random.integers(0, len(centres), count)] + 0.5 * found
    return found


def fill(path, options):
    """Write entries and codes."""
    random = np.random.default_rng(1)
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.execute(
            "INSERT INTO vector_spaces (id, namespace, width, entries, clients) VALUES (1, 'bench', ?, 0, 0)",
            (options.width,),
        )
        for start in range(0, options.entries, _BATCH):
            rows = vectors(options.kind, random, min(_BATCH, options.entries - start), options.width)
            scales = np.abs(rows).max(axis=1) / 127
            made = np.rint(rows / scales[:, None]).astype(np.int8)
            db.execute("BEGIN")
            db.executemany(_ENTRY, [(start + n + 1, str(start + n)) for n in range(len(rows))])
            db.executemany(
                "INSERT INTO vectors (id, model, space, scale, code) VALUES (4 * (? + 1), 0, 1, ?, ?)",
                [(start + n + 1, float(scales[n]), made[n].tobytes()) for n in range(len(rows))],
            )
            db.execute("COMMIT")
    db.close()


def nearest(options, queries):
    """The ten nearest rows of each query, by float32."""
    random = np.random.default_rng(1)
    best = [[] for _ in queries]
    for start in range(0, options.entries, _BATCH):
        rows = vectors(options.kind, random, min(_BATCH, options.entries - start), options.width)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        scores = rows @ queries.T
        for number in range(len(queries)):
            chosen = np.argpartition(-scores[:, number], 10)[:10]
            best[number] += [(-float(scores[n, number]), start + int(n)) for n in chosen]
    return [{row for _, row in sorted(each)[:10]} for each in best]


def resident():
    """Resident memory of this process in MiB, without files that are mapped."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024


async def measure(path, options, queries):
    """Print memory, times and recall."""
    async with SqliteStore.open(path, StoreConfig(search_wait=60.0)) as store:
        before = resident()
        started = time.perf_counter()
        await store.search(Query.create(vector=queries[0].tobytes()), limit=10)
        loaded, after = time.perf_counter() - started, resident()
        held = (await store.stats()).vectors.memory_bytes / 2**20
        print(f"loaded in {loaded:.1f} s; RSS {before:.0f} -> {after:.0f} MiB, of which planes {held:.0f}")
        times, cpu, pages = [], [], []
        for query in queries:
            wall, work = time.perf_counter(), time.process_time()
            pages.append(await store.search(Query.create(vector=query.tobytes()), limit=10))
            times.append(1000 * (time.perf_counter() - wall))
            cpu.append(1000 * (time.process_time() - work))
        print(f"search: p50 {statistics.median(times):.1f} ms, CPU p50 {statistics.median(cpu):.1f} ms")
        candidates = statistics.median(page.candidates for page in pages)
        print(f"codes compared: p50 {candidates:.0f}; RSS {resident():.0f} MiB")
    exact = nearest(options, queries / np.linalg.norm(queries, axis=1, keepdims=True))
    found = [{int(hit.entry.key) for hit in page.hits} for page in pages]
    print(
        f"recall@10: {sum(len(one & other) for one, other in zip(found, exact, strict=True)) / 10 / len(queries):.3f}"
    )


async def main():
    """Fill a database and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--kind", choices=["random", "clustered"], default="random")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "memory.db")
        async with SqliteStore.open(path) as store:
            await store.put("other", "k", 0)
        fill(path, options)
        await measure(path, options, vectors(options.kind, np.random.default_rng(2), _QUERIES, options.width))


if __name__ == "__main__":
    asyncio.run(main())
