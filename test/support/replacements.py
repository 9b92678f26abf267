"""Replaces the database of a store, and reads what is in it."""


async def nothing(_):
    """What a caller does who does nothing before the exchange."""


async def swap(store, file, before=nothing):
    """Replace the data by those of a file, and forget the former ones."""
    former = file.with_name("former.db")
    try:
        await store.replace(file, former=former, before=before)
    finally:
        former.unlink(missing_ok=True)


async def entries(store, namespace="n"):
    return {entry.key: (entry.value, entry.version) for entry in (await store.list(namespace, limit=1000)).entries}


async def values(store, namespace="n"):
    return {key: value for key, (value, _) in (await entries(store, namespace)).items()}
