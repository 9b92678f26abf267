"""Client of entries: write, read, list and search. MemoryClient has these methods.

A batch is one request; a list and a search return pages, `iterate` and `find` walk all pages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from swarm_operator.memory.client.decoding import (
    batch_results,
    entry_page,
    named,
    namespace_page,
    search_page,
    whole_entry,
)
from swarm_operator.memory.client.encoding import batch_operation, to_json, vector_text
from swarm_operator.memory.client.models import (
    BatchResult,
    EntryHead,
    EntryPage,
    MemoryEntry,
    MemoryHit,
    Namespace,
    SearchPage,
)
from swarm_operator.memory.client.transport import WRITTEN, Transport, url_path, with_query


class EntriesClient:
    """`/v1/entries`, `/v1/batch`, `/v1/namespaces` and `/v1/search`."""

    _transport: Transport

    async def put(
        self,
        namespace: str,
        key: str,
        value: Any,
        *,
        tags: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        ttl: int | None = None,
        vector: bytes | Sequence[float] | None = None,
        create_only: bool = False,
        if_version: int | None = None,
        on_duplicate: str | None = None,
        threshold: float | None = None,
    ) -> EntryHead:
        """Write an entry. When this returns, the entry is durable on the service's disk.

        Args:
            namespace: 1 to 255 bytes.
            key: 1 to 1024 bytes.
            value: any JSON value. None is stored as null.
            tags: at most 64.
            metadata: a JSON object.
            ttl: seconds until the entry expires; None or 0 for never.
            vector: the entry's embedding, for searches by meaning: 1 to 4096 numbers, or their bytes as little-endian
                float32. All vectors of a namespace have the same number of dimensions.
            create_only: fail if the entry exists.
            if_version: fail unless the entry exists with this version.
            on_duplicate: what to do if another entry of the namespace has almost the same meaning: `refuse`, `link`
                (metadata["duplicate_of"] is its key) or `keep`, the default. The result and the error name that entry.
            threshold: minimum cosine of such an entry, above 0 and up to 1; by default 0.9.

        Raises:
            MemoryConflictError: a precondition failed.
            MemoryDuplicateError: `on_duplicate` is `refuse`, and such an entry exists.
            MemoryProtocolError: something else responded, so the entry may not be stored.
            ValueError: a part of `value`, `tags`, `metadata` or `vector` is not JSON; the message names the part.
        """
        document = {"value": value, "tags": list(tags or ()), "metadata": dict(metadata or {}), "ttl": ttl or 0}
        if vector is not None:
            document["vector"] = vector_text(vector)
        rule = {"on_duplicate": on_duplicate, "threshold": threshold}
        document |= {name: part for name, part in rule.items() if part is not None}
        headers = _if_match(if_version) | ({"If-None-Match": "*"} if create_only else {})
        return await self._transport.request(
            "PUT", url_path("entries", namespace, key), lambda answer: named(EntryHead(answer), namespace, key),
            headers=headers, body=to_json(document), statuses=WRITTEN, idempotent=not headers,
        )  # fmt: skip

    async def get(self, namespace: str, key: str) -> MemoryEntry | None:
        """Return an entry, or None if it does not exist."""
        return await self._transport.find(
            url_path("entries", namespace, key), lambda answer: named(whole_entry(answer), namespace, key)
        )

    async def delete(self, namespace: str, key: str, *, if_version: int | None = None) -> bool:
        """Delete an entry. Return False if it does not exist. `if_version` is that of `put`."""
        return await self._transport.delete(url_path("entries", namespace, key), headers=_if_match(if_version))

    async def batch(self, operations: Sequence[Mapping[str, Any]], *, atomic: bool = True) -> list[BatchResult]:
        """Apply several operations in one request; its writes are one transaction, in order.

        Args:
            operations: at most 1000 of `{"op": "put", "namespace": ..., "key": ..., "value": ..., "tags": [...],
                "metadata": {...}, "ttl": ..., "vector": ..., "create_only": ..., "if_version": ...,
                "on_duplicate": ..., "threshold": ...}`, `{"op": "delete", ..., "if_version": ...}` and
                `{"op": "get", ...}`. A get sees the batch's own writes.
            atomic: apply all writes or none. False: each operation succeeds or fails independently.

        Returns:
            A result for each operation, in order.

        Raises:
            MemoryConflictError, MemoryRequestError: an atomic batch failed and nothing was written.
                `problem["index"]` is the index of the failed operation.
            ValueError: a value is not JSON.
        """
        document = {"atomic": atomic, "operations": [batch_operation(operation) for operation in operations]}
        conditional = any(each.get("create_only") or each.get("if_version") is not None for each in operations)
        return await self._transport.request(
            "POST", url_path("batch"), lambda answer: batch_results(answer["results"], operations),
            body=to_json(document), idempotent=not conditional,
        )  # fmt: skip

    async def get_many(self, identities: Sequence[tuple[str, str]]) -> list[MemoryEntry | None]:
        """Return the entries of at most 1000 (namespace, key) pairs, in order; None for each that does not exist."""
        operations = [{"op": "get", "namespace": namespace, "key": key} for namespace, key in identities]
        return [result.entry for result in await self.batch(operations)]

    async def delete_range(self, namespace: str, *, prefix: str, timeout: float = 600.0) -> int:
        """Delete all entries of a namespace whose keys have the prefix; "" deletes all. Return their number."""
        path = with_query("/v1/entries", namespace=namespace, prefix=prefix)
        return await self._transport.request("DELETE", path, lambda answer: int(answer["deleted"]), timeout=timeout)

    async def list(self, namespace: str, *, prefix: str = "", limit: int = 100, cursor: str | None = None) -> EntryPage:
        """Return a page of a namespace's entries, sorted by key. `limit` is 1 to 1000; a page may be shorter."""
        path = with_query("/v1/entries", namespace=namespace, prefix=prefix, limit=limit, cursor=cursor)
        return await self._transport.request("GET", path, entry_page)

    async def iterate(self, namespace: str, *, prefix: str = "", page: int = 100) -> AsyncIterator[MemoryEntry]:
        """Yield all entries of a namespace, page by page."""
        cursor: str | None = None
        while True:
            part = await self.list(namespace, prefix=prefix, limit=page, cursor=cursor)
            for entry in part.entries:
                yield entry
            if (cursor := part.next_cursor) is None:
                return

    async def namespaces(self) -> AsyncIterator[Namespace]:
        """Yield all namespaces that have entries and that the token may read, sorted by name, page by page."""
        cursor: str | None = None
        while True:
            path = with_query("/v1/namespaces", limit=1000, cursor=cursor)
            namespaces, cursor = await self._transport.request("GET", path, namespace_page)
            for namespace in namespaces:
                yield namespace
            if cursor is None:
                return

    async def search(
        self,
        *,
        namespace: str | None = None,
        subtree: bool = False,
        prefix: str = "",
        glob: str | None = None,
        tags: Sequence[str] = (),
        any_tags: Sequence[str] = (),
        metadata: Mapping[str, Any] | None = None,
        updated_since: str | None = None,
        updated_by: str | None = None,
        text: str | None = None,
        match: str | None = None,
        order: str | None = None,
        mode: str | None = None,
        vector: bytes | Sequence[float] | None = None,
        values: bool = True,
        explain: bool = False,
        limit: int = 50,
        cursor: str | None = None,
    ) -> SearchPage:
        """Return a page of the entries that match all conditions.

        Args:
            namespace: the namespace; None for all namespaces that the token may read.
            subtree: also search the namespaces below: `a/b` is below `a`.
            prefix: prefix of the key.
            glob: pattern of the key, with `*`, `?` and `[abc]`.
            tags: tags that the entry must all have.
            any_tags: tags of which the entry must have at least one.
            metadata: top-level fields and their values.
            updated_since: RFC 3339 time.
            updated_by: author of the last write, see `EntryHead.updated_by`.
            text: words that all occur in the key or the value, or a question; see `mode`. `wor*` is a prefix,
                `"two words"` is a phrase.
            match: FTS5 expression, instead of `text`.
            order: key, updated (last written first) or rank (best match first, requires a text or a vector).
            mode: words, meaning or hybrid. By default hybrid where the service has an embedder, else words.
            vector: search entries whose vectors are similar to this one, as in `put`; with a text or without.
            values: False omits values and metadata from the response.
            explain: also return the steps of the search, in `searched["steps"]`.
            limit: 1 to 1000; a page may be shorter.
            cursor: `next_cursor` of the previous page, with all other arguments unchanged.

        Raises:
            MemoryRequestError: an argument is invalid; `problem` names the field.
        """
        query: dict[str, Any] = {
            "namespace": namespace, "subtree": subtree or None, "prefix": prefix or None, "glob": glob, "tag": [*tags],
            "any_tag": [*any_tags], "updated_since": updated_since, "updated_by": updated_by,
            "text": text, "match": match, "order": order,
            "mode": mode, "values": None if values else False, "explain": explain or None, "limit": limit,
            "cursor": cursor,
        }  # fmt: skip
        if vector is None:
            encoded = to_json(dict(metadata)).decode() if metadata else None
            return await self._transport.request(
                "GET", with_query(url_path("search"), **query, metadata=encoded), search_page
            )
        query |= {"metadata": dict(metadata) if metadata else None, "vector": vector_text(vector)}
        body = to_json({name: value for name, value in query.items() if value is not None})
        return await self._transport.request("POST", url_path("search"), search_page, body=body)

    async def find(self, /, **query: Any) -> AsyncIterator[MemoryHit]:
        """Yield all results of `search`, page by page. Takes the arguments of `search` except `cursor`."""
        cursor: str | None = None
        while True:
            page = await self.search(**query, cursor=cursor)
            for hit in page.hits:
                yield hit
            if (cursor := page.next_cursor) is None:
                return


def _if_match(version: int | None) -> dict[str, str]:
    return {} if version is None else {"If-Match": f'"{version}"'}
