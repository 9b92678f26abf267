"""Runs of puts: a batch, or many clients, write what they would have written one by one, with few statements."""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm_operator.memory.core import Draft, Put
from swarm_operator.memory.core.errors import MemoryStoreError
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.search import words
from swarm_operator.memory.sqlite.tables.compression import compress
from swarm_operator.memory.sqlite.write.apply import DeleteOperation, PutOperation, apply_alone, commit_batch
from swarm_operator.memory.sqlite.write.batch import BatchOperation, TransactionOperation
from swarm_operator.memory.sqlite.write.run import apply_in_runs

NOW = 1_800_000_000_000
TABLES = (
    "entries", "changes", "entry_tags", "namespaces", "compression", "deleted_versions", "replaced_texts",
    "entries_text_docsize", "vectors", "vector_spaces",
)  # fmt: skip
WRITTEN = ("INSERT INTO entries ", "UPDATE entries ", "WITH new ")
IDENTITIES = st.tuples(st.sampled_from(("a", "a/b", "é")), st.sampled_from("klmnopqrst"))
TEXTS = st.tuples(st.text(max_size=3), st.sampled_from((1, 1, 1, 40, 5000))).map(lambda parts: parts[0] * parts[1])
TTLS = st.sampled_from((0, 0, 1, 5))
TAGS = st.lists(st.sampled_from("xyz"), max_size=2, unique=True)
CONDITIONS = st.sampled_from(((False, None),) * 6 + ((True, None), (False, 1), (False, 2)))
VECTORS = st.sampled_from((None,) * 8 + (struct.pack("<2f", 1, 2), struct.pack("<3f", 1, 2, 3)))


def put(namespace, key, value, *, ttl=0, tags=(), conditions=(False, None), vector=None):
    draft = Draft.create(namespace, key, value, ttl=ttl, tags=list(tags), vector=vector)
    return PutOperation(draft, compress(draft.value_json, 60), *conditions)


PUTS = st.builds(
    lambda identity, text, **others: put(*identity, text, **others),
    IDENTITIES, TEXTS, ttl=TTLS, tags=TAGS, conditions=CONDITIONS, vector=VECTORS,
)  # fmt: skip
WRITES = st.lists(st.one_of(PUTS, PUTS, PUTS, PUTS, st.builds(DeleteOperation, IDENTITIES)), max_size=40)


@contextlib.contextmanager
def database():
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        schema.migrate(db, 0)
        words.prepare(db, full_text=True, language="none")
        yield db


def commit(db, *operations, now=NOW, apply=apply_alone):
    outcome = commit_batch(db, operations, lambda: now, keep=10, apply=apply)
    assert outcome.failure is None
    return outcome


def check_equal(one_db, one, other_db, other):
    assert (one.states, one.changes, one.written) == (other.states, other.changes, other.written)
    assert contents(one_db) == contents(other_db)


def described(results):
    return [str(result) if isinstance(result, MemoryStoreError) else result for result in results]


def contents(db):
    """Return all rows. A statement logs the vectors that it removes in the order of their IDs."""
    logged = db.execute("SELECT id FROM vector_log ORDER BY id").fetchall()
    return {table: db.execute(f"SELECT * FROM {table}").fetchall() for table in TABLES} | {"vector_log": logged}


@pytest.mark.parametrize("of_one", [True, False], ids=["one client", "many"])
@settings(max_examples=15, deadline=None)
@given(before=WRITES, writes=WRITES)
def test_runs_write_what_their_writes_would_have_written_one_by_one(of_one, before, writes):
    with database() as together, database() as alone:
        for db in (together, alone):
            commit(db, *before)
            words.catch_up(db)
        operations = [BatchOperation(writes, atomic=False)] if of_one else writes
        runs = commit(together, *operations, now=NOW + 2000, apply=apply_in_runs)
        single = commit(alone, *writes, now=NOW + 2000)
        assert described(runs.results[0] if of_one else runs.results) == described(single.results)
        check_equal(together, runs, alone, single)


def test_a_run_that_fails_is_applied_put_by_put():
    """One client's error is not that of the others, whose puts are written once."""
    bad = put("a", "bad", 1)
    bad = bad._replace(draft=bad.draft._replace(metadata_json=None))  # the column is NOT NULL
    puts = [put("a", f"k{number}", number) for number in range(5)]
    puts.insert(2, bad)
    with database() as together, database() as alone:
        both = commit(together, *puts, apply=apply_in_runs)
        single = commit(alone, *puts)
        assert [isinstance(result, MemoryStoreError) for result in both.results] == [each is bad for each in puts]
        check_equal(together, both, alone, single)


@pytest.mark.parametrize("keys", [[f"k{number}" for number in range(117)], ["k", "l", "m", "n", "o", "k", "l"]])
def test_all_of_a_run_is_undone_with_its_batch(keys):
    with database() as db:
        commit(db, put("a", "k", 1), put("a", "k3", 1))
        before = contents(db)
        writes = [*(put("a", key, 2) for key in keys), put("a", "last", 1, conditions=(False, 7))]
        outcome = commit(db, BatchOperation(writes))
        assert outcome.results[0].index == len(keys)
        assert (outcome.states, outcome.changes, contents(db)) == ([], [], before)


@pytest.mark.parametrize("of_one", [True, False], ids=["one client", "many"])
@pytest.mark.parametrize("rounds", [1, 2])
def test_a_statement_writes_a_hundred_entries(rounds, of_one):
    """The first round inserts, the second one overwrites."""
    with database() as db:
        writes = [put("a", f"k{number}", number) for number in range(100)]
        operations = [BatchOperation(writes)] if of_one else writes
        for _ in range(rounds):
            seen = set()  # SQLite reports a statement again for each of its triggers
            db.set_trace_callback(lambda sql, seen=seen: seen.add(sql) if sql.lstrip().startswith(WRITTEN) else None)
            commit(db, *operations, apply=apply_in_runs)
        assert len(seen) == 1


def test_a_transaction_reads_and_writes_a_hundred_entries_with_a_statement_each():
    identities = [("a", f"k{number}") for number in range(100)]

    def decide(entries, _):
        assert [entry.key for entry in entries] == [key for _, key in identities]
        return [put_of(entry) for entry in entries]

    def put_of(entry):
        return Put(Draft.create(entry.namespace, entry.key, entry.value + 1))

    with database() as db:
        commit(db, BatchOperation([put(*identity, 1) for identity in reversed(identities)]))
        seen = []
        db.set_trace_callback(lambda sql: seen.append(sql) if "entries" in sql.split("trigger")[0] else None)
        outcome = commit(db, TransactionOperation(identities, decide, lambda raw: compress(raw, 0)))
        assert [entry.value for entry, _ in outcome.results[0]] == [2] * 100
        assert sum(sql.lstrip().startswith("WITH wanted") for sql in seen) == 2
