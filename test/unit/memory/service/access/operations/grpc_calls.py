"""Calls of every method of gRPC, and what they take."""

from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from unit.memory.service.access.operations.model import (
    EVERYTHING,
    NOTHING,
    PLAIN,
    TOKEN,
    VISIBLE,
    Case,
    key,
    read,
    write,
)

from swarm_operator.memory.service.grpc import memory_pb2 as pb


def _each(make):
    return [case for namespace in PLAIN for case in make(namespace)]


def _put(namespace):
    return pb.PutRequest(namespace=namespace, key="new", value=b"1")


def _batch(*operations, independent=False):
    return pb.BatchRequest(
        operations=[pb.BatchRequest.Operation(**operation) for operation in operations], independent=independent
    )


_MEMORY = {
    "Put": _each(lambda n: [Case(write(n), _put(n))]),
    "Get": _each(lambda n: [Case(read(n), pb.GetRequest(namespace=n, key=key(n)), shows=(n,))]),
    "GetMany": [
        *_each(
            lambda n: [
                Case(read(n), pb.GetManyRequest(identities=[pb.Identity(namespace=n, key=key(n))]), shows=(n,)),
            ]
        ),
        Case(
            read("alpha", "gamma"),
            pb.GetManyRequest(identities=[pb.Identity(namespace=n, key=key(n)) for n in ("alpha", "gamma")]),
            shows=("alpha", "gamma"),
        ),
    ],
    "Delete": _each(lambda n: [Case(write(n), pb.DeleteRequest(namespace=n, key=key(n)))]),
    "DeleteRange": _each(lambda n: [Case(write(n), pb.DeleteRangeRequest(namespace=n, prefix=""))]),
    "Batch": [
        *_each(
            lambda n: [
                Case(write(n), _batch({"put": _put(n)})),
                Case(write(n), _batch({"delete": pb.DeleteRequest(namespace=n, key=key(n))}, independent=True)),
                Case(read(n), _batch({"get": pb.GetRequest(namespace=n, key=key(n))}), shows=(n,)),
            ]
        ),
        Case(write("alpha", "gamma"), _batch({"put": _put("alpha")}, {"put": _put("gamma")})),
        Case(write("alpha", "gamma"), _batch({"put": _put("alpha")}, {"put": _put("gamma")}, independent=True)),
    ],
    "List": _each(lambda n: [Case(read(n), pb.ListRequest(namespace=n), shows=(n,))]),
    "Search": [
        *_each(lambda n: [Case(read(n), pb.SearchRequest(namespace=n, text="word"), shows=(n,))]),
        Case(TOKEN, pb.SearchRequest(tags=["common"], page_size=100), shows=VISIBLE),
        Case(TOKEN, pb.SearchRequest(text="word", page_size=100), shows=VISIBLE),
        Case(TOKEN, pb.SearchRequest(order="updated", page_size=100), shows=VISIBLE),
        Case(TOKEN, pb.SearchRequest(vector=[1, 1, 1], page_size=100, explain=True), shows=VISIBLE),
    ],
    "Namespaces": [Case(TOKEN, pb.NamespacesRequest(), shows=VISIBLE, names=True)],
    "Stats": [Case(EVERYTHING, pb.StatsRequest())],
    "Watch": [
        *_each(lambda n: [Case(read(n), pb.WatchRequest(namespace=n), shows=(n,), follows=True)]),
        Case(TOKEN, pb.WatchRequest(), shows=VISIBLE, follows=True),
    ],
}
_HEALTH = {
    "Check": [Case(NOTHING, health_pb2.HealthCheckRequest())],
    # The package has the method and does not implement it.
    "List": [Case(NOTHING, health_pb2.HealthListRequest(), statuses=("UNIMPLEMENTED",))],
    "Watch": [Case(NOTHING, health_pb2.HealthCheckRequest())],
}
_REFLECTION = {"ServerReflectionInfo": [Case(TOKEN, reflection_pb2.ServerReflectionRequest(list_services=""))]}
CASES = {
    f"/{service}/{method}": cases
    for service, methods in (
        ("swarm.memory.v1.Memory", _MEMORY),
        ("grpc.health.v1.Health", _HEALTH),
        ("grpc.reflection.v1alpha.ServerReflection", _REFLECTION),
    )
    for method, cases in methods.items()
}
"""By the full name of the method."""
