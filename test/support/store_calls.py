"""Short calls of a store: write, and walk all pages of a search or a list."""

from support.store_drivers import pages
from swarm_operator.memory.core import Draft


async def put(store, key, value=1, *, namespace="n", **draft):
    entry, _ = await store.write(Draft.create(namespace, key, value, **draft))
    return entry


async def fill(store, *places):
    for namespace, key in places:
        await put(store, key, namespace=namespace)


async def found(store, query, limit=50):
    async def fetch(position):
        page = await store.search(query, position=position, limit=limit)
        return [(hit.entry.namespace, hit.entry.key) for hit in page.hits], page.position

    return await pages(fetch)


async def listed(store, namespace="n", limit=100):
    async def fetch(after):
        page = await store.list(namespace, after=after, limit=limit)
        return [entry.key for entry in page.entries], page.next_key

    return await pages(fetch)


async def named(store, **options):
    async def fetch(after):
        page = await store.namespaces(after=after, **options)
        return [(count.namespace, count.entries, count.bytes) for count in page.namespaces], page.next_name

    return await pages(fetch)
