"""A record: a JSON object with an id, in its kind's namespace. What all kinds share.

Records are entries like any other: GET /v1/entries/swarm:agents/agent:1 shows one as it is stored, and clients of the
seed that write entries directly meet those that use the operations here. So whatever is read may be incomplete or odd:
members that are unknown are kept, those of an unexpected type count as absent, and a value that is no object stands in
the member `value`.
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

_SCANNED_AT_ONCE: Final = 200
_MOST_SCANNED: Final = 2000
"""Entries that one page of a filtered list looks at: some ten milliseconds."""


def text_of(document: dict[str, Any], name: str) -> str:
    """A text of a stored document; "" when it isn't one."""
    value = document.get(name)
    return value if isinstance(value, str) else ""


def texts_of(document: dict[str, Any], name: str) -> list[str]:
    """The texts of a list of a stored document; [] when it isn't one."""
    value = document.get(name)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def tags_of(**words: str | None) -> list[str]:
    """The tags that entries have whose members have these values; those that are None are not asked for."""
    return list(dict.fromkeys(fields.word(name, value) for name, value in words.items() if value is not None))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of record, as the seed's SwarmMemory stores it.

    Attributes:
        name: in errors, and the first tag.
        namespace: where its records are.
        prefix: of their keys; the id follows.
        tagged: members whose values are the further tags; one that is a list gives several.
        ttl: seconds that a record lives from its last write on; 0 for ever.
        metadata: the entry's metadata, made from the document.
    """

    name: str
    namespace: str
    prefix: str
    tagged: tuple[str, ...]
    ttl: int
    metadata: Callable[[dict[str, Any]], dict[str, Any]]

    def identity(self, record_id: Any, field: str = "id") -> Identity:
        """Of the entry."""
        return self.namespace, self.prefix + fields.identifier(field, record_id)

    def id_of(self, entry: Entry) -> str:
        """Of the record in an entry."""
        return entry.key.removeprefix(self.prefix)

    def document(self, entry: Entry) -> dict[str, Any]:
        """The record in an entry: a new object, with its id."""
        value = entry.value
        if not isinstance(value, dict):
            value = {"value": value}
        value["id"] = self.id_of(entry)
        return value

    def tags(self, document: dict[str, Any]) -> list[str]:
        """What the seed would have tagged it with; what can't be a tag is left out."""
        tags = [self.name]
        for name in self.tagged:
            value = document.get(name)
            for item in value if isinstance(value, list) else [value]:
                text = str(item) if type(item) is int else item
                if isinstance(text, str) and 0 < len(text.encode(errors="replace")) <= MAX_TAG_BYTES:
                    tags.append(text)
        return tags[:MAX_TAGS]

    def put(self, document: dict[str, Any], entry: Entry | None, *, if_version: int | None = None) -> Put:
        """Write a document in the place of an entry; tags and metadata that others gave that one stay."""
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
    """A record as it was read or written.

    Attributes:
        id: which.
        document: its members.
        version: of its entry, for compare-and-set.
        created: whether this call created it.
    """

    id: str
    document: dict[str, Any]
    version: int
    created: bool = False


@dataclass(frozen=True, slots=True)
class RecordPage:
    """Part of a list.

    Attributes:
        records: in the order of their ids. A filtered page may be short, or empty, and yet not be the last.
        next_key: goes into `after` for the next page; None when this is the last.
    """

    records: list[Record]
    next_key: str | None


class Records:
    """The records of one kind.

    Args:
        store: where they are.
        kind: which.
    """

    def __init__(self, store: Store, kind: Kind) -> None:
        self._store = store
        self.kind = kind

    async def find(self, record_id: str) -> Record | None:
        """The record, or None."""
        entry = await self._store.get(*self.kind.identity(record_id))
        return None if entry is None else self.record(entry)

    async def get(self, record_id: str) -> Record:
        """The record. Raises RecordNotFoundError."""
        found = await self.find(record_id)
        if found is None:
            raise RecordNotFoundError(self.kind.name, record_id)
        return found

    async def delete(self, record_id: str) -> bool:
        """Delete it. False when there was none."""
        return await self._store.delete(*self.kind.identity(record_id))

    def record(self, entry: Entry, *, created: bool = False) -> Record:
        """The record in an entry."""
        return Record(self.kind.id_of(entry), self.kind.document(entry), entry.version, created)

    async def change(
        self,
        record_id: str,
        change: Callable[[dict[str, Any] | None, int], dict[str, Any] | None],
        *,
        others: Sequence[Identity] = (),
        look: Callable[[list[Entry | None]], None] | None = None,
    ) -> Record:
        """Read a record and write what is made of it; nothing comes between.

        Args:
            record_id: which.
            change: gets the document, None when there is none, and the time in milliseconds; returns the document to
                be written, or None to leave it. It runs on the writer's thread. What it raises leaves everything as
                it was.
            others: entries to read as well.
            look: gets these before `change` runs.

        Returns:
            The record as it is now.

        Raises:
            RecordNotFoundError: there is none, and `change` made none.
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
        """A page of those that match, in the order of their ids. Looks at some 2000 entries at most.

        Args:
            matches: which; all by default.
            tags: look only at entries that have all of these: they have an index.
            after: `next_key` of the page before.
            limit: 1 to 1000.
        """
        check_page_size(limit)
        if after is not None:
            check_key(after)
        records: list[Record] = []
        for _ in range(_MOST_SCANNED // _SCANNED_AT_ONCE):
            wanted = limit - len(records) if matches is None else _SCANNED_AT_ONCE
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
        limit: int = _SCANNED_AT_ONCE,
    ) -> tuple[list[Entry], str | None]:
        """Some entries with all these tags, and one of those, by key, from behind `after` on; and where to go on."""
        namespace, prefix = self.kind.namespace, self.kind.prefix
        if not tags and not any_tags:
            page = await self._store.list(namespace, prefix=prefix, after=after, limit=limit)
            return page.entries, page.next_key
        query = Query.create(namespace=namespace, prefix=prefix, tags=tags, any_tags=any_tags, order=Order.KEY)
        position = None if after is None else key_position(namespace, after)
        found = await self._store.search(query, position=position, limit=limit)
        return [hit.entry for hit in found.hits], None if found.position is None else found.position[2]
