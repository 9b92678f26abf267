"""The index of words against a plain one: random writes, steps, crashes, restarts, languages and gaps in the feed."""

import contextlib
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from support.budget import budget

from swarm_operator.memory.core import Draft, Query
from swarm_operator.memory.sqlite import changes
from swarm_operator.memory.sqlite.backup import consistency
from swarm_operator.memory.sqlite.backup.findings import Findings
from swarm_operator.memory.sqlite.database import schema
from swarm_operator.memory.sqlite.database.driver import sqlite3
from swarm_operator.memory.sqlite.gc import sweep
from swarm_operator.memory.sqlite.search import by_text, words
from swarm_operator.memory.sqlite.search.planner import search
from swarm_operator.memory.sqlite.search.tokenizer import language_of
from swarm_operator.memory.sqlite.tables.compression import compress
from swarm_operator.memory.sqlite.write.apply import DeleteOperation, PutOperation, commit_batch
from swarm_operator.memory.sqlite.write.batch import BatchOperation

WORDS = ("red", "reds", "green", "blue", "grey", "redGreen", "GREYBlue7")
IDENTITIES = st.tuples(st.sampled_from(("a", "a/b", "b")), st.sampled_from(("k", "l", "myBlue")))
TEXTS = st.lists(st.sampled_from(WORDS), max_size=3).map(tuple)
ASKED = st.sampled_from(
    (*WORDS, "gre*", "red green", '"blue grey"', '"red green"', "redgr*", "redGr*", "blue7", "RedGreens")
)
WITHIN = st.sampled_from((None, ("a",), ("b",)))
LANGUAGES = st.sampled_from(("none", "english"))
PARTS = {
    "redGreen": ("red green",),
    "redGr": ("red gr",),
    "RedGreens": ("red greens",),
    "GREYBlue7": ("grey blue7", "grey blue 7"),
    "myBlue": ("my blue",),
}


def occurs(asked, key, text, language):
    """Whether an entry has what is asked for, with the smallest index that there can be."""

    def stems(words):
        return [word.lower().removesuffix("s" if language == "english" else "") for word in words]

    texts = [stems([key]), stems(text), *(stems(part.split()) for word in (key, *text) for part in PARTS.get(word, ()))]

    def phrase(words, prefix):
        return any(
            here[start : start + len(words) - 1] == words[:-1] and here[start + len(words) - 1].startswith(words[-1])
            and (prefix or here[start + len(words) - 1] == words[-1])
            for here in texts for start in range(len(here) - len(words) + 1)
        )  # fmt: skip

    whole = [asked.strip('"')] if asked.startswith('"') else asked.split()
    return all(
        any(
            phrase(stems(form.split()), each.endswith("*"))
            for form in (each.strip("*"), *PARTS.get(each.strip("*"), ()))
        )
        for each in whole
    )


class IndexMachine(RuleBasedStateMachine):
    """The model is {(namespace, key): (words, time of expiry or None)}."""

    def __init__(self):
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.model = {}
        self.now = 1_800_000_000_000
        self.language = "none"

    @initialize(full_text=st.just(True))
    def open(self, full_text):
        self.db = sqlite3.connect(self.directory / "db", isolation_level=None)
        self.db.execute("PRAGMA journal_mode = MEMORY")
        self.db.execute("PRAGMA synchronous = OFF")
        schema.migrate(self.db, schema.inspect(self.db, "db"))
        words.prepare(self.db, full_text=full_text, language=self.language)

    def commit(self, *operations):
        outcome = commit_batch(self.db, [BatchOperation(operations)], lambda: self.now, keep=1000)
        assert outcome.failure is None

    @rule(
        entries=st.lists(
            st.tuples(IDENTITIES, TEXTS, st.sampled_from((0, 0, 2)), st.booleans()), min_size=1, max_size=4
        )
    )
    def put(self, entries):
        """Values with a line break have an escape; some are compressed."""
        operations = []
        for (namespace, key), few, ttl, long in entries:
            text = few * 20 if long else few
            draft = Draft.create(namespace, key, "\n".join(text), ttl=ttl)
            operations.append(PutOperation(draft, compress(draft.value_json, 60)))
            self.model[namespace, key] = (text, self.now + ttl * 1000 if ttl else None)
        self.commit(*operations)

    @rule(identity=IDENTITIES)
    def delete(self, identity):
        self.commit(DeleteOperation(identity))
        self.model.pop(identity, None)

    @rule(identity=IDENTITIES, other=IDENTITIES)
    def move(self, identity, other):
        """A row ID that was given up is taken again in one commit."""
        draft = Draft.create(*other, "blue")
        self.commit(DeleteOperation(identity), PutOperation(draft, compress(draft.value_json, 60)))
        self.model.pop(identity, None)
        self.model[other] = (("blue",), None)

    @rule()
    def expire(self):
        self.now += 1000
        self.model = {each: what for each, what in self.model.items() if what[1] is None or what[1] > self.now}

    @rule()
    def collect(self):
        if rows := sweep.find(self.db, self.now):
            sweep.delete(self.db, rows, now=self.now, keep=1000)

    @rule()
    def step(self):
        words.advance(self.db, self.language)

    @rule(language=LANGUAGES)
    def change(self, language):
        """Another language, while the store is open: the next step begins to rebuild the index."""
        self.language = language

    @rule()
    def crash_in_a_step(self):
        words._prepare_connection(self.db)
        self.db.execute("BEGIN IMMEDIATE")
        words._advance(self.db, self.language)
        self.db.execute("ROLLBACK")

    @rule(full_text=st.sampled_from((True, True, True, False)), language=LANGUAGES)
    def restart(self, full_text, language):
        self.db.close()
        self.language = language
        if not full_text:
            self.open(full_text=False)
            self.db.close()
        self.open(full_text=True)

    @rule()
    def prune(self):
        """The feed loses what the index has not seen."""
        self.db.execute("DELETE FROM changes WHERE seq < (SELECT max(seq) FROM changes)")

    @rule(asked=ASKED, within=WITHIN)
    def search(self, asked, within):
        query = replace(Query.create(text=asked), within=within)
        language = language_of(self.db)
        wanted = {
            each
            for each, (text, _) in self.model.items()
            if occurs(asked, each[1], text, language) and (within is None or each[0].split("/")[0] in within)
        }
        position, found, fresh = None, [], True
        newest = changes.bounds(self.db)[1]
        while True:
            page = search(self.db, query, position, limit=2, max_bytes=10_000, now=self.now, since=newest)
            found += [(hit.entry.namespace, hit.entry.key) for hit in page.hits]
            fresh = fresh and page.fresh
            position = page.position
            if position is None:
                break
        assert set(found) <= wanted, "deleted, overwritten and expired entries are never shown"
        assert not fresh or sorted(found) == sorted(wanted)
        assert fresh or words.state(self.db).position < newest

    @rule()
    def check(self):
        findings = Findings(100)
        with contextlib.closing(sqlite3.connect(self.directory / "db")) as db:
            consistency.check(db, schema.LATEST, findings, None)
        assert not findings or not self.whole_feed(), list(findings)

    def whole_feed(self):
        """Whether the feed goes back to the position of the index: otherwise a rebuild is to come."""
        return words.state(self.db).position >= changes.bounds(self.db)[0]

    def teardown(self):
        if hasattr(self, "db"):
            while words.state(self.db).built is not None or words.state(self.db).position != changes.bounds(self.db)[1]:
                words.advance(self.db, self.language)
            assert not words.replaced(self.db)
            for asked in WORDS:
                self.search(asked, None)
            self.check()
            self.db.close()
        shutil.rmtree(self.directory)


def test_the_index_is_a_plain_one(monkeypatch):
    monkeypatch.setattr(words, "MAX_CHANGES", 3)
    monkeypatch.setattr(words, "LONG", 16)
    monkeypatch.setattr(words, "_MAX_NAMESPACES", 2)
    # A machine that stalls would change the order between two pages, and an entry would come twice.
    monkeypatch.setattr(by_text, "_INDEX_SECONDS", 60)
    monkeypatch.setattr(by_text, "_PREFIX_SECONDS", 60)
    run_state_machine_as_test(
        IndexMachine,
        settings=settings(
            max_examples=budget(30, long=100),
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
