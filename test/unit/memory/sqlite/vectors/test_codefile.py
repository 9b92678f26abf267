"""Codes in a file that is mapped: the same answers as from the database, whatever was written, and without the file."""

import collections
import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_operator.memory.core import Query
from swarm_operator.memory.core.duplicates import DuplicateRule, Twin
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.vectors import codefile, codes, scan, table
from swarm_operator.memory.sqlite.vectors.planes import Planes
from swarm_operator.memory.sqlite.vectors.twins import TwinCheck, newest

WIDTH = 3
ENTRY = """
    INSERT INTO entries (id, namespace, key, version, created_at, updated_at, ttl, size, tags, metadata, value)
    VALUES (?, 'n', ?, 1, 1, 1, 0, 1, '[]', '{}', x'30')
"""
# Few different numbers: many cosines are equal, or nearly.
NUMBERS = st.lists(st.integers(-3, 3), min_size=WIDTH, max_size=WIDTH).filter(any)
VECTORS = NUMBERS.map(lambda numbers: np.array(numbers, "<f4").tobytes())


@pytest.fixture(scope="module")
def empty():
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        schema.migrate(db, 0)
        yield db


@contextlib.contextmanager
def filled(db, vectors):
    """A database while it has these vectors, by row ID."""
    db.execute("BEGIN")
    for row_id, vector in vectors.items():
        db.execute(ENTRY, (row_id, f"k{row_id}"))
        table.put(db, row_id, "n", vector)
    yield
    db.execute("ROLLBACK")


def loaded(db, folder):
    planes = Planes(WIDTH, table.CLIENT, folder)
    while not planes.loaded:
        planes.load(db)
    return planes


def plain(vector, vectors):
    """Negative cosine and row ID of each vector, the best first."""
    rows = {row_id: codes.encode(each)[1] for row_id, each in vectors.items()}
    return sorted(
        zip(codes.distances(codes.rounded(vector), codes.matrix(list(rows.values()), WIDTH)), rows, strict=True)
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(VECTORS, min_size=1, max_size=40), VECTORS, st.data())
def test_a_twin_is_that_of_the_plain_comparison(empty, given_vectors, vector, data):
    vectors = dict(enumerate(given_vectors, 1))
    ranked = plain(vector, vectors)
    cosines = [-distance for distance, _ in ranked if distance < 0]
    near = st.sampled_from(cosines or [1.0]).flatmap(lambda each: st.sampled_from([each - 1e-6, each, each + 1e-6]))
    threshold = data.draw((near | st.floats(0, 1)).filter(lambda each: 0 < each <= 1))
    rounded = codes.rounded(vector)
    distance, row_id = ranked[0]
    with filled(empty, vectors), tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "_MARGIN", 0)  # what is compared depends on the bounds
        planes = loaded(empty, Path(folder))
        assert planes._codes is not None
        found = scan.scan(empty, planes, Query(namespace="n", vector=rounded), rounded, now=0, after=None, wanted=1)
        assert found.best == [(distance, row_id)]
        similar = tuple(each.row_id for each in found.best if -each.distance >= threshold)
        rule = DuplicateRule.create("refuse", threshold)
        twin = TwinCheck(rule, rounded, None, table.CLIENT, similar, newest(empty)).twin(empty, "n", None, 0)
        assert twin == (Twin(f"k{row_id}", -distance) if -distance >= threshold else None)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.dictionaries(st.integers(1, 30), st.none() | VECTORS, max_size=8), max_size=8), VECTORS)
def test_codes_follow_what_is_written(steps, vector):
    """Each step writes or removes vectors; new rows come between old ones, too."""
    held = collections.ChainMap()
    with tempfile.TemporaryDirectory() as folder:
        planes = Planes(WIDTH, table.CLIENT, Path(folder))
        for step in steps:
            written = {row_id: each for row_id, each in sorted(step.items()) if each is not None}
            planes._set([(row_id, 1, codes.encode(each)[1]) for row_id, each in written.items()])
            planes._remove([row_id for row_id, each in step.items() if each is None])
            held = held.new_child(step)
        vectors = {row_id: each for row_id, each in held.items() if each is not None}
        ids, bounds = planes.candidates(vector, [1])
    assert sorted(ids.tolist()) == sorted(vectors)
    assert planes._sizes[1:].sum() == len(vectors)
    if vectors:
        its = [codes.encode(vectors[row_id])[1] for row_id in ids.tolist()]
        expected = codes.cosines(vector, codes.matrix(its, WIDTH))
        assert bounds == pytest.approx(expected + 1e-5, abs=1e-6)
        assert (np.diff(bounds) <= 0).all()


RANDOM = np.random.default_rng(1).standard_normal((601, WIDTH), np.float32)
MANY = {row_id: each.tobytes() for row_id, each in enumerate(RANDOM[1:], 1)}


def test_few_codes_are_read_from_the_database(empty, tmp_path):
    query = RANDOM[0].tobytes()
    with filled(empty, MANY):
        mapped, unmapped = (
            scan.scan(empty, loaded(empty, folder), Query(vector=query), query, now=0, after=None, wanted=10)
            for folder in (tmp_path, None)
        )
    assert mapped.best == unmapped.best
    assert (mapped.tested, unmapped.tested) == (26, 600)


def test_codes_are_those_of_the_snapshot_if_the_log_is_too_short(empty, tmp_path):
    query = RANDOM[0].tobytes()
    with filled(empty, MANY):
        planes = loaded(empty, tmp_path)
        empty.execute("DELETE FROM vectors WHERE id = 4 * 7")
        table.put(empty, 7, "n", query)
        empty.execute("DELETE FROM vector_log WHERE seq < (SELECT max(seq) FROM vector_log)")
        assert not planes.follow(empty)
        found = scan.scan(empty, planes, Query(vector=query), query, now=0, after=None, wanted=600)
    assert (found.best[0].row_id, found.best[0].distance) == (7, pytest.approx(-1, abs=1e-4))


def test_a_disk_without_space_has_searches_read_the_database(empty, tmp_path, monkeypatch):
    query = RANDOM[0].tobytes()
    usage = codefile.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(codefile.shutil, "disk_usage", lambda _: usage._replace(free=2000))
    with filled(empty, MANY):
        planes = loaded(empty, tmp_path)
        assert planes._codes is None
        found = scan.scan(empty, planes, Query(vector=query), query, now=0, after=None, wanted=10)
    distances = codes.distances(query, codes.matrix([codes.encode(each)[1] for each in MANY.values()], WIDTH))
    assert found.best == sorted(zip(distances, MANY, strict=True))[:10]


def test_a_folder_without_files_has_searches_read_the_database(tmp_path):
    assert Planes(WIDTH, table.CLIENT, tmp_path / "gone")._codes is None


def test_the_file_has_no_name_and_is_closed(tmp_path):
    file = codefile.CodeFile(tmp_path, WIDTH)
    assert not [*tmp_path.iterdir()]
    descriptor = file._file
    assert file.append(np.ones((2, WIDTH), np.int8)).tolist() == [0, 1]
    assert os.fstat(descriptor).st_size >= 2 * WIDTH
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
