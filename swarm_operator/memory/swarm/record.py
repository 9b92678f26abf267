"""Shared code of all record kinds. A record is a JSON object with an id in its kind's namespace.

Records are ordinary entries: GET /v1/entries/swarm:agents/agent:1 returns a record as stored, and the seed's clients
may write records directly. Stored records may therefore be incomplete or invalid. Unknown members are kept. Members of
an unexpected type are treated as absent. A value that is not an object is returned in the member `value`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from swarm_operator.memory.core.entry import MAX_TAG_BYTES, MAX_TAGS, Draft, Entry, Identity, check_key, check_page_size
from swarm_operator.memory.core.pages import key_position
from swarm_operator.memory.core.query import Order, Query
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.core.writes import Put, Write
from swarm_operator.memory.swarm import fields
from swarm_operator.memory.swarm.errors import RecordNotFoundError

_AUTHOR: Final = "updatedBy"
"""Member of a record with the `updated_by` of its entry. It is not stored in the value: a caller's value is dropped."""
_BATCH_SIZE: Final = 200
_MOST_SCANNED: Final = 2000
"""Maximum number of entries that a page of a filtered list scans: about 10 ms."""


def text_of(document: dict[str, Any], name: str) -> str:
    """Return a string member of a stored document; "" if the member is not a string."""
    value = document.get(name)
    return value if isinstance(value, str) else ""


def texts_of(document: dict[str, Any], name: str) -> list[str]:
    """Return the strings of a list member of a stored document; [] if the member is not a list."""
    value = document.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def tags_of(**words: str | None) -> list[str]:
    """Return the tags of records whose members have these values; ignore None values."""
    return list(dict.fromkeys(fields.word(name, value) for name, value in words.items() if value is not None))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record, as the seed's SwarmMemory stores it.

    Attributes:
        name: name in error messages, and the first tag.
        namespace: namespace of the records.
        prefix: prefix of the keys; the id follows.
        tagged: members whose values become tags; every item of a list becomes a tag.
        ttl: lifetime of a record in seconds since its last write; 0 is permanent.
        metadata: function that returns the entry's metadata for a document.
    """

    name: str
    namespace: str
    prefix: str
    tagged: tuple[str, ...]
    ttl: int
    metadata: Callable[[dict[str, Any]], dict[str, Any]]

    def identity(self, record_id: Any, field: str = "id") -> Identity:
        """Return the entry's identity for a record's id."""
        return self.namespace, self.prefix + fields.identifier(field, record_id)

    def id_of(self, entry: Entry) -> str:
        """Return the id of the record in an entry."""
        return entry.key.removeprefix(self.prefix)

    def document(self, entry: Entry) -> dict[str, Any]:
        """Return a new document of the record in an entry, with its id."""
        value = entry.value
        if not isinstance(value, dict):
            value = {"value": value}
        value["id"] = self.id_of(entry)
        return value

    def tags(self, document: dict[str, Any]) -> list[str]:
        """Return the tags that the seed gives a document; omit values that can't be a tag."""
        tags = [self.name]
        for name in self.tagged:
            value = document.get(name)
            for item in value if isinstance(value, list) else [value]:
                text = str(item) if type(item) is int else item
                if isinstance(text, str) and 0 < len(text.encode(errors="replace")) <= MAX_TAG_BYTES:
                    tags.append(text)
        return tags[:MAX_TAGS]

    def put(self, document: dict[str, Any], entry: Entry | None, *, if_version: int | None = None) -> Put:
        """Return the write that replaces an entry with a document; keep the entry's other tags and metadata."""
        document = {name: value for name, value in document.items() if name != _AUTHOR}
        tags, metadata = self.tags(document), self.metadata(document)
        if entry is not None:
            former = self.tags(self.document(entry))
            tags += [tag for tag in entry.tags if tag not in former]
            metadata = {**entry.metadata, **metadata}
        namespace, key = self.identity(document["id"])
        draft = Draft.create(
            namespace,
            key,
            document,
            tags=list(dict.fromkeys(tags))[:MAX_TAGS],
            metadata={name: value for name, value in metadata.items() if value is not None},
            ttl=self.ttl,
        )
        return Put(draft, if_version=if_version)


@dataclass(frozen=True, slots=True)
class Record:
    """A record that was read or written.

    Attributes:
        id: id of the record.
        document: members of the record.
        version: version of its entry, for compare-and-set.
        created: True if this call created the record.
    """

    id: str
    document: dict[str, Any]
    version: int
    created: bool = False


@dataclass(frozen=True, slots=True)
class RecordPage:
    """A page of a list.

    Attributes:
        records: in id order. A filtered page may be short or empty and not be the last.
        next_key: `after` for the next page; None on the last page.
    """

    records: list[Record]
    next_key: str | None


class Records:
    """The records of one kind.

    Args:
        store: the store that holds the records.
        kind: kind of the records.
    """

    def __init__(self, store: Store, kind: Kind) -> None:
        self._store = store
        self.kind = kind

    async def find(self, record_id: str) -> Record | None:
        """Return the record, or None if it does not exist."""
        entry = await self._store.get(*self.kind.identity(record_id))
        return None if entry is None else self.record(entry)

    async def get(self, record_id: str) -> Record:
        """Return the record. Raise RecordNotFoundError if it does not exist."""
        found = await self.find(record_id)
        if found is None:
            raise RecordNotFoundError(self.kind.name, record_id)
        return found

    async def delete(self, record_id: str) -> bool:
        """Delete a record. Return False if it did not exist."""
        return await self._store.delete(*self.kind.identity(record_id))

    def record(self, entry: Entry, *, created: bool = False) -> Record:
        """Return the record in an entry, with `updatedBy`: the author of the last write, None if unknown."""
        document = {**self.kind.document(entry), _AUTHOR: entry.updated_by}
        return Record(self.kind.id_of(entry), document, entry.version, created)

    async def change(
        self,
        record_id: str,
        change: Callable[[dict[str, Any] | None, int], dict[str, Any] | None],
        *,
        others: Sequence[Identity] = (),
        look: Callable[[list[Entry | None]], None] | None = None,
    ) -> Record:
        """Read a record, change its document and write it, in one transaction.

        Args:
            record_id: the record.
            change: gets the document (None if the record does not exist) and the time in milliseconds; returns the
                document to write, or None to write nothing. It runs on the writer's thread. If it raises, nothing is
                written.
            others: identities of other entries to read in the transaction.
            look: gets the other entries before `change` runs.

        Returns:
            The record after the transaction.

        Raises:
            RecordNotFoundError: the record does not exist and `change` returned None.
        """
        identity = self.kind.identity(record_id)
        kept: list[Entry | None] = []

        def decide(entries: list[Entry | None], now: int) -> Sequence[Write]:
            entry = entries[0]
            if look is not None:
                look(entries[1:])
            document = change(None if entry is None else self.kind.document(entry), now)
            kept[:] = [entry]
            return [] if document is None else [self.kind.put({**document, "id": record_id}, entry)]

        written = await self._store.transact([identity, *others], decide)
        if written:
            entry, created = written[0]
            return self.record(entry, created=created)
        if kept[0] is None:
            raise RecordNotFoundError(self.kind.name, record_id)
        return self.record(kept[0])

    async def page(
        self,
        matches: Callable[[Record], bool] | None = None,
        *,
        tags: Sequence[str] = (),
        after: str | None = None,
        limit: int = 100,
    ) -> RecordPage:
        """Return a page of the matching records in id order. One call scans about 2000 entries at most.

        Args:
            matches: predicate on records; None returns all.
            tags: scan only entries with all these tags, using the tag index.
            after: `next_key` of the previous page.
            limit: 1 to 1000.
        """
        check_page_size(limit)
        if after is not None:
            check_key(after)
        records: list[Record] = []
        for _ in range(_MOST_SCANNED // _BATCH_SIZE):
            wanted = limit - len(records) if matches is None else _BATCH_SIZE
            entries, after = await self.scan(tags=tags, after=after, limit=wanted)
            for entry in entries:
                record = self.record(entry)
                if matches is None or matches(record):
                    records.append(record)
                    if len(records) == limit:
                        more = after is not None or entry is not entries[-1]
                        return RecordPage(records, entry.key if more else None)
            if after is None:
                break
        return RecordPage(records, after)

    async def scan(
        self,
        *,
        tags: Sequence[str] = (),
        any_tags: Sequence[str] = (),
        after: str | None = None,
        limit: int = _BATCH_SIZE,
    ) -> tuple[list[Entry], str | None]:
        """Return entries after `after` with all `tags` and at least one of `any_tags`, by key, and the next `after`."""
        namespace, prefix = self.kind.namespace, self.kind.prefix
        if not tags and not any_tags:
            page = await self._store.list(namespace, prefix=prefix, after=after, limit=limit)
            return page.entries, page.next_key
        query = Query.create(namespace=namespace, prefix=prefix, tags=tags, any_tags=any_tags, order=Order.KEY)
        position = None if after is None else key_position(namespace, after)
        found = await self._store.search(query, position=position, limit=limit)
        return [hit.entry for hit in found.hits], None if found.position is None else found.position[2]
