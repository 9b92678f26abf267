"""Carry out the steps of the contracts of entries and of records on a store, whatever its engine."""

from support import entry_contract, record_contract
from swarm_operator.memory.core import Delete, Draft, Put, Query
from swarm_operator.memory.core.changes import Op
from swarm_operator.memory.core.errors import (
    BatchItemError,
    InvalidInputError,
    MissedChangesError,
    VersionConflictError,
)
from swarm_operator.memory.swarm import RecordNotFoundError, RecordPage, RecordStateError, Swarm


async def play(scenario, driver, clock):
    """Carry out a scenario and compare the outcome of each step."""
    for number, step in enumerate(scenario.steps):
        if hasattr(step, "seconds"):
            clock.advance(step.seconds)
            continue
        outcome = await driver(step.operation, dict(step.arguments))
        assert outcome == step.outcome, f"step {number}: {step.operation}{step.arguments} -> {outcome}"


def document(entry):
    """An entry of the engine or of the client."""
    ttl = entry.raw["ttl"] if hasattr(entry, "raw") else entry.ttl
    what = {"value": entry.value, "version": entry.version, "tags": list(entry.tags)}
    return {**what, "metadata": entry.metadata, "ttl": ttl}


async def pages(fetch):
    """All items of `fetch(token)`, which gives a page and the next token."""
    found, token = [], None
    while True:
        items, token = await fetch(token)
        found += items
        if token is None:
            return found


class EntryDriver:
    """Carries out the steps of entry_contract on a store, as the client token does it."""

    def __init__(self, store, clock):
        self.store = store
        self.clock = clock

    async def __call__(self, operation, arguments):
        try:
            return await getattr(self, operation)(**arguments)
        except BatchItemError as error:
            return entry_contract.at(error.index, self.refusal(error.cause))
        except (InvalidInputError, VersionConflictError, MissedChangesError) as error:
            return self.refusal(error)

    @staticmethod
    def refusal(error):
        if isinstance(error, VersionConflictError):
            return entry_contract.conflict(error.current_version)
        if isinstance(error, MissedChangesError):
            return entry_contract.Refusal("gone", error.oldest)
        return entry_contract.invalid(error.field)

    async def put(self, *, create_only=False, if_version=None, **draft):
        made = Draft.create(**draft, updated_by="client")
        entry, _ = await self.store.write(made, create_only=create_only, if_version=if_version)
        return entry.version

    async def get(self, namespace, key):
        entry = await self.store.get(namespace, key)
        return None if entry is None else document(entry)

    async def get_many(self, identities):
        return [None if entry is None else entry.value for entry in await self.store.get_many(identities)]

    async def delete(self, **arguments):
        return await self.store.delete(**arguments)

    async def delete_range(self, **arguments):
        return await self.store.delete_range(**arguments)

    async def list(self, **arguments):
        async def fetch(after):
            page = await self.store.list(**arguments, after=after)
            return [entry.key for entry in page.entries], page.next_key

        return await pages(fetch)

    async def search(self, limit=50, **arguments):
        if "updated_since" in arguments:
            arguments["updated_since"] = int((self.clock() - arguments["updated_since"]) * 1000)
        query = Query.create(**arguments)

        async def fetch(position):
            found = await self.store.search(query, position=position, limit=limit)
            return [(hit.entry.namespace, hit.entry.key) for hit in found.hits], found.position

        return await pages(fetch)

    async def namespaces(self, limit=100):
        async def fetch(after):
            page = await self.store.namespaces(after=after, limit=limit)
            return [(count.namespace, count.entries) for count in page.namespaces], page.next_name

        return await pages(fetch)

    async def batch(self, operations, *, atomic=True):
        writes, reads = [], []
        for step in operations:
            one = dict(step.arguments)
            if step.operation == "get":
                reads.append((one["namespace"], one["key"]))
            elif step.operation == "delete":
                writes.append(Delete((one["namespace"], one["key"])))
            else:
                conditions = {name: one.pop(name) for name in ("create_only", "if_version") if name in one}
                writes.append(Put(Draft.create(**one), **conditions))
        written = iter(await self.store.batch(writes, atomic=atomic))
        read = iter(await self.get_many(reads))
        results = [next(read) if step.operation == "get" else next(written) for step in operations]
        return [
            result[0].version if isinstance(result, tuple)
            else self.refusal(result) if isinstance(result, Exception) else result
            for result in results
        ]  # fmt: skip

    async def watch(self, since, count, **where):
        async with self.store.watch(since=since, **where) as watch:
            told = []
            while len(told) < count:
                told += await watch.next()
        names = {op: op.name.lower() for op in Op}
        return [(names[Op(each.op)], each.namespace, each.key, each.version) for each in told[:count]]


class RecordDriver:
    """Carries out the steps of record_contract on the records of a store."""

    def __init__(self, store):
        self.swarm = Swarm(store)

    async def __call__(self, operation, arguments):
        kind, name = operation.split(".")
        keywords = dict(arguments)
        positional = [keywords.pop("id")] if "id" in keywords else []
        if "document" in keywords:
            positional.append(keywords.pop("document"))
        try:
            result = await getattr(getattr(self.swarm, kind), name)(*positional, **keywords)
        except InvalidInputError as error:
            return record_contract.invalid(error.field)
        except RecordStateError as error:
            return record_contract.state(error.reason)
        except RecordNotFoundError:
            return None if name == "get" else record_contract.MISSING
        if isinstance(result, RecordPage):
            return [record.id for record in result.records]
        if operation == "patterns.best":
            return [record.id for record, _ in result.scored]
        if operation == "coordination.put":
            return True  # its caller is not told more
        return getattr(result, "document", result)
