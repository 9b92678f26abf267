"""Implements the calls of swarm.memory.v1.Memory: maps each request to the store and its result to a response."""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final, TypeAlias

import grpc
import structlog
from google.protobuf import message_factory
from prometheus_client import Counter

from swarm_operator.memory.core import MemoryStoreError, Put, Query
from swarm_operator.memory.core.entry import Entry, Identity, check_batch_size, check_key, check_namespace
from swarm_operator.memory.core.errors import InvalidInputError, MissedChangesError, StoreClosedError
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.core.threads import LARGE_BYTES, run_on_thread
from swarm_operator.memory.core.writes import Write
from swarm_operator.memory.service import batches, cursors, documents, searches
from swarm_operator.memory.service.access.rights import AuthorizedStore, Credential
from swarm_operator.memory.service.errors import NotFoundError
from swarm_operator.memory.service.grpc import memory_pb2 as pb
from swarm_operator.memory.service.grpc.admission import Admission
from swarm_operator.memory.service.grpc.messages import (
    change_event,
    deletion,
    entry_message,
    hit_message,
    metadata_of,
    milliseconds,
    put,
    put_response,
    vector_of,
)
from swarm_operator.memory.service.grpc.statuses import problem_message, refusal, status_of
from swarm_operator.memory.service.pieces import in_pieces
from swarm_operator.memory.service.problems import describe
from swarm_operator.memory.service.quotas import Quotas
from swarm_operator.memory.service.settings import ServiceSettings
from swarm_operator.memory.service.telemetry.metrics import ServiceMetrics

Context: TypeAlias = Any
"""grpc.aio.ServicerContext; the package has no types."""

_Call: TypeAlias = Callable[[AuthorizedStore, Any], Awaitable[Any]]

_SERVICE: Final = pb.DESCRIPTOR.services_by_name["Memory"]
SERVICE: Final = _SERVICE.full_name
_KINDS: Final = {method.name: message_factory.GetMessageClass(method.input_type) for method in _SERVICE.methods}
"""Type of the message of each call."""
OPERATIONS: Final = {
    "Put": "put",
    "Get": "get",
    "GetMany": "batch",
    "Delete": "delete",
    "DeleteRange": "delete-range",
    "Batch": "batch",
    "List": "list",
    "Search": "search",
    "Namespaces": "namespaces",
    "Stats": "stats",
}
"""Operation names of the unary calls in the duration metric, shared with HTTP."""

_log = structlog.get_logger(__name__)


class MemoryServicer:
    """Implements the calls.

    Args:
        store: an open store.
        metrics: metrics of operations and errors, shared with HTTP.
        handled: counter of calls by method and status.
        settings: heartbeat and pause of watches.
        quotas: quotas of principals, shared with HTTP.
        admission: reads the messages of calls.
    """

    def __init__(
        self,
        store: Store,
        *,
        metrics: ServiceMetrics,
        handled: Counter,
        settings: ServiceSettings,
        quotas: Quotas,
        admission: Admission,
    ) -> None:
        self._store = store
        self._metrics = metrics
        self._handled = handled
        self._heartbeat = settings.watch_heartbeat
        self._pause = settings.watch_pause
        self._quotas = quotas
        self._admission = admission
        self._stopping = asyncio.Event()
        calls: dict[str, _Call] = {**_CALLS, "Search": functools.partial(_search, metrics)}
        for name, call in calls.items():
            setattr(self, name, self._answering(name, call))

    def stop(self) -> None:
        """End the watches, which are endless otherwise."""
        self._stopping.set()

    def _answering(self, name: str, call: _Call) -> Callable[[Credential, Any, Context], Awaitable[Any]]:
        """Return the handler of a call: admits, authorizes, times and counts the call, and maps errors to statuses."""
        observe = self._metrics.operations[OPERATIONS[name]].observe
        succeeded = self._handled.labels(SERVICE, name, grpc.StatusCode.OK.name)

        kind = _KINDS[name]

        async def answer(credential: Credential, _: Any, context: Context) -> Any:
            try:
                held = self._admission.enter(credential.principal, context)
                request = await self._admission.read(credential.principal, held, kind, context)
                started = time.perf_counter()
                response = await call(AuthorizedStore(self._store, credential), request)
                held.response(response.ByteSize())
            except Exception as error:  # noqa: BLE001 - unexpected errors are logged and answered with INTERNAL
                await self._fail(name, error, context)
            observe(time.perf_counter() - started)
            succeeded.inc()
            return response

        return answer

    async def _fail(self, name: str, error: Exception, context: Context) -> None:
        problem = describe(error)
        status = status_of(problem)
        self._metrics.refused(problem.code)
        if status is grpc.StatusCode.INTERNAL:
            _log.error("call failed", method=name, exc_info=error)
        self._handled.labels(SERVICE, name, status.name).inc()
        await context.abort(*refusal(problem))

    async def Watch(  # noqa: N802
        self, credential: Credential, _: Any, context: Context
    ) -> AsyncIterator[pb.WatchResponse]:
        """Yield events until the caller disconnects, the service stops, or the store fails."""
        store = AuthorizedStore(self._store, credential)
        stopping = asyncio.create_task(self._stopping.wait(), name="memory-grpc-watch-stop")
        try:
            held = self._admission.enter(credential.principal, context)
            request = await self._admission.read(credential.principal, held, _KINDS["Watch"], context)
            namespace = request.namespace if request.HasField("namespace") else None
            since = request.since if request.HasField("since") else None
            with self._quotas.watches.holding(credential.principal):
                async with store.watch(namespace, prefix=request.prefix, since=since) as watch:
                    yield pb.WatchResponse(ready=pb.WatchResponse.Ready(position=watch.position))
                    while True:
                        waiting = asyncio.ensure_future(watch.next(self._heartbeat))
                        try:
                            await asyncio.wait([waiting, stopping], return_when=asyncio.FIRST_COMPLETED)
                            if stopping.done():
                                raise StoreClosedError("the service is stopping")
                            changes = waiting.result()
                        except MissedChangesError as missed:
                            self._metrics.refused(missed.code)
                            yield pb.WatchResponse(
                                missed=pb.WatchResponse.Missed(since=missed.since, oldest=missed.oldest)
                            )
                            continue
                        finally:
                            waiting.cancel()
                        if not changes:
                            yield pb.WatchResponse(heartbeat=pb.WatchResponse.Heartbeat())
                        for change in changes:
                            yield change_event(change)
                        await asyncio.sleep(self._pause if changes else 0.0)
        except Exception as error:  # noqa: BLE001 - handled like errors of the unary calls
            await self._fail("Watch", error, context)
        finally:
            stopping.cancel()


async def _put(store: Store, request: pb.PutRequest) -> pb.PutResponse:
    wanted = await run_on_thread(put, request) if len(request.value) > LARGE_BYTES else put(request)
    draft, rule = wanted.draft, wanted.duplicates
    if rule is None:
        return put_response(await store.write(draft, create_only=wanted.create_only, if_version=wanted.if_version))
    return put_response(
        await store.write_checked(draft, rule, create_only=wanted.create_only, if_version=wanted.if_version)
    )


async def _get(store: Store, request: pb.GetRequest) -> pb.Entry:
    return entry_message(_there(await store.get(request.namespace, request.key)))


async def _get_many(store: AuthorizedStore, request: pb.GetManyRequest) -> pb.GetManyResponse:
    check_batch_size("operations", len(request.identities))
    identities = [(check_namespace(each.namespace), check_key(each.key)) for each in request.identities]
    results = await batches.read(store, identities)
    for result in results:
        if isinstance(result, MemoryStoreError):
            raise result
    return pb.GetManyResponse(results=await in_pieces(_found, results))


async def _delete(store: Store, request: pb.DeleteRequest) -> pb.DeleteResponse:
    wanted = deletion(request)
    if not await store.delete(*wanted.identity, if_version=wanted.if_version):
        raise NotFoundError("there is no such entry")
    return pb.DeleteResponse()


async def _delete_range(store: Store, request: pb.DeleteRangeRequest) -> pb.DeleteRangeResponse:
    if not request.HasField("prefix"):
        raise InvalidInputError("prefix", "required; an empty prefix is the whole namespace")
    deleted = await store.delete_range(request.namespace, prefix=request.prefix)
    return pb.DeleteRangeResponse(deleted=deleted)


def _operations(request: pb.BatchRequest) -> list[Write | Identity]:
    return [_operation(index, each) for index, each in enumerate(request.operations)]


async def _batch(store: AuthorizedStore, request: pb.BatchRequest) -> pb.BatchResponse:
    check_batch_size("operations", len(request.operations))
    large = request.ByteSize() > LARGE_BYTES
    operations = await run_on_thread(_operations, request) if large else _operations(request)
    results = await batches.run(store, operations, atomic=not request.independent)
    return pb.BatchResponse(results=await in_pieces(_result, operations, results))


async def _list(store: AuthorizedStore, request: pb.ListRequest) -> pb.ListResponse:
    own = cursors.of_list(store.credential, request.namespace, request.prefix)
    after = own.decode(request.page_token or None, "page_token")
    limit = request.page_size or cursors.DEFAULT_LIMIT
    page = await store.list(request.namespace, prefix=request.prefix, after=after, limit=limit)
    entries = await in_pieces(entry_message, page.entries)
    return pb.ListResponse(entries=entries, next_page_token=own.encode(page.next_key) or "")


async def _search(metrics: ServiceMetrics, store: AuthorizedStore, request: pb.SearchRequest) -> pb.SearchResponse:
    def given(name: str) -> Any:
        return getattr(request, name) if request.HasField(name) else None

    query = Query.create(
        namespace=given("namespace"),
        subtree=request.subtree,
        prefix=request.prefix,
        glob=given("glob"),
        tags=list(request.tags),
        any_tags=list(request.any_tags),
        metadata=metadata_of(request.metadata),
        updated_since=milliseconds(request.updated_since) if request.HasField("updated_since") else None,
        updated_by=given("updated_by"),
        text=given("text"),
        match=given("match"),
        order=given("order"),
        mode=given("mode"),
        vector=vector_of(request.vector),
    )
    found = await searches.run(
        store,
        store.credential,
        query,
        cursor=request.page_token or None,
        limit=request.page_size or searches.DEFAULT_LIMIT,
        metrics=metrics,
    )
    page = found.page
    message = functools.partial(hit_message, value=not request.without_values)
    return pb.SearchResponse(
        hits=await in_pieces(message, page.hits, itertools.count(found.before + 1)),
        next_page_token=found.next_cursor or "",
        partial=page.partial,
        ranked=page.ranked,
        fresh=None if page.fresh else False,
        mode=page.mode,
        words=query.words_used,
        steps=[pb.SearchResponse.Step(**step) for step in searches.steps(store.credential, page)]
        if request.explain
        else [],
    )


async def _namespaces(store: AuthorizedStore, request: pb.NamespacesRequest) -> pb.NamespacesResponse:
    own = cursors.of_namespaces(store.credential)
    after = own.decode(request.page_token or None, "page_token")
    page = await store.namespaces(after=after, limit=request.page_size or cursors.DEFAULT_LIMIT)
    counts = [
        pb.NamespacesResponse.Namespace(namespace=each.namespace, entries=each.entries, bytes=each.bytes)
        for each in page.namespaces
    ]
    return pb.NamespacesResponse(namespaces=counts, next_page_token=own.encode(page.next_name) or "")


async def _stats(store: Store, _: pb.StatsRequest) -> pb.StatsResponse:
    return pb.StatsResponse(document=documents.statistics(store, await store.stats()))


def _there(entry: Entry | None) -> Entry:
    if entry is None:
        raise NotFoundError("there is no such entry")
    return entry


def _found(entry: Entry | None) -> pb.GetManyResponse.Found:
    return pb.GetManyResponse.Found(entry=None if entry is None else entry_message(entry))


def _operation(index: int, operation: pb.BatchRequest.Operation) -> Write | Identity:
    kind = operation.WhichOneof("operation")
    if kind is None:
        raise InvalidInputError(f"operations[{index}]", "one of put, delete, get")
    try:
        if kind == "put":
            return put(operation.put)
        if kind == "delete":
            return deletion(operation.delete)
        return check_namespace(operation.get.namespace), check_key(operation.get.key)
    except InvalidInputError as error:
        raise InvalidInputError(f"operations[{index}].{error.field}", error.allowed) from None


def _result(operation: Write | Identity, result: Any) -> pb.BatchResponse.Result:
    if isinstance(result, MemoryStoreError):
        return pb.BatchResponse.Result(problem=problem_message(describe(result)))
    if isinstance(operation, tuple):
        return pb.BatchResponse.Result(got=_found(result))
    if isinstance(operation, Put):
        return pb.BatchResponse.Result(put=put_response(result))
    return pb.BatchResponse.Result(deleted=result)


_CALLS: Final[dict[str, _Call]] = {
    "Put": _put,
    "Get": _get,
    "GetMany": _get_many,
    "Delete": _delete,
    "DeleteRange": _delete_range,
    "Batch": _batch,
    "List": _list,
    "Namespaces": _namespaces,
    "Stats": _stats,
}
