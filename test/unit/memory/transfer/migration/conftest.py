"""Runs migrations in this process, into files."""

from dataclasses import dataclass
from pathlib import Path

import orjson
import pytest

from swarm_operator.memory.sqlite import SqliteStore, StoreConfig
from swarm_operator.memory.transfer.migration.run import Settings, migrate


@dataclass
class Place:
    """A source and a target below a directory of the test."""

    root: Path

    @property
    def source(self):
        return self.root / "legacy"

    @property
    def target(self):
        return self.root / "store.db"

    @property
    def quarantine(self):
        return self.root / "quarantine.ndjson"

    async def migrate(self, *, progress=lambda _: None, **settings):
        """The report as a document."""
        scratch = self.root / "scratch"
        scratch.mkdir(exist_ok=True)
        settings = {"source": self.source, "target": self.target, "quarantine": self.quarantine, **settings}
        report = await migrate(Settings(scratch=scratch, **settings), progress)
        assert list(scratch.iterdir()) == []
        return report.document()

    async def entries(self):
        """All that the target has, with versions."""
        found = {}
        async with SqliteStore.open(self.target, StoreConfig()) as store:
            for namespace in (await store.namespaces(limit=1000)).namespaces:
                for entry in (await store.list(namespace.namespace, limit=1000)).entries:
                    found[entry.namespace, entry.key] = entry
        return found

    def quarantined(self):
        """The items of the quarantine file, with their content."""
        items = []
        for line in self.quarantine.read_bytes().splitlines():
            document = orjson.loads(line)
            if "part" in document:
                assert document["item"] == len(items)
                items[-1]["content"] += document["content"]
            else:
                items.append({**document, "content": ""})
        return items


@pytest.fixture
def place(tmp_path):
    found = Place(tmp_path)
    found.source.mkdir()
    return found
