"""grpc.health.v1.Health, which requires no token. Its limits keep it available for all clients.

Health checks count neither as calls nor in a principal's share.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health, health_pb2

from swarm_operator.memory.service.grpc.pause import Pause

_CHECK: Final = f"/{health.SERVICE_NAME}/Check"
_LIST: Final = f"/{health.SERVICE_NAME}/List"
_WATCH: Final = f"/{health.SERVICE_NAME}/Watch"
_MOST_READS: Final = 4
"""Maximum number of requests that are read concurrently: any client may send one of maximum size."""
_READ_SECONDS: Final = 1.0
_MOST_WATCHES: Final = 64
"""Maximum number of watches. A further watch ends the oldest, whose client has a status and may watch again."""
_UNKNOWN: Final = health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
"""Status of an unknown service, which the protocol requires in watches."""


class _Watch:
    """A watch in progress."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        """Set when a status has changed or the watch must end."""
        self.ended = False


class Health:
    """Health of the server and its services, which share one status."""

    def __init__(self) -> None:
        self._servicer = health.aio.HealthServicer()
        self._statuses: dict[str, health_pb2.HealthCheckResponse] = {}
        self._reads = 0
        self._pause = Pause()
        self._watches: dict[_Watch, None] = {}

    async def set(self, service: str, *, ready: bool) -> None:
        """Set the status of a service; the empty name is the server."""
        kinds = health_pb2.HealthCheckResponse
        status = kinds.SERVING if ready else kinds.NOT_SERVING
        self._statuses[service] = kinds(status=status)
        await self._servicer.set(service, status)
        for watch in self._watches:
            watch.wake.set()

    def stop(self) -> None:
        """End the watches, which are endless otherwise."""
        while self._watches:
            self._end_oldest()

    def handler(self, method: str) -> Any:
        """Return the handler of a method.

        A handler takes a stream, so that the request is not read before it is admitted.
        """
        if method == _CHECK:
            return grpc.stream_unary_rpc_method_handler(self._check, None, _serialize)
        if method == _LIST:
            return grpc.stream_unary_rpc_method_handler(self._list, None, _serialize)
        if method == _WATCH:
            return grpc.stream_stream_rpc_method_handler(self._watch, None, _serialize)
        return grpc.stream_unary_rpc_method_handler(_unimplemented)

    async def _check(self, _: Any, context: Any) -> Any:
        return await self._servicer.Check(await self._request(context), context)

    async def _list(self, _: Any, context: Any) -> Any:
        await self._request(context)  # without content, even if a later version adds fields
        return health_pb2.HealthListResponse(statuses=self._statuses)

    async def _watch(self, _: Any, context: Any) -> None:
        request = await self._request(context)
        if len(self._watches) >= _MOST_WATCHES:
            self._end_oldest()
        watch = _Watch()
        self._watches[watch] = None
        try:
            await self._tell(request.service, watch, context)
        finally:
            self._watches.pop(watch, None)
        await context.abort(
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            f"health watches: ended by a newer one; the limit is {_MOST_WATCHES}",
        )

    async def _tell(self, service: str, watch: _Watch, context: Any) -> None:
        """Send the status of a service and its changes, until the watch ends.

        A cancellation does not end the watch: after a cancellation during a write, gRPC can send nothing more to the
        client.
        """
        told = None
        while not watch.ended:
            status = self._statuses.get(service, _UNKNOWN)
            if status != told:
                await context.write(status)
                told = status
            else:
                await watch.wake.wait()
            watch.wake.clear()

    def _end_oldest(self) -> None:
        oldest = next(iter(self._watches))
        del self._watches[oldest]
        oldest.ended = True
        oldest.wake.set()

    async def _request(self, context: Any) -> health_pb2.HealthCheckRequest:
        """Return the request. If too many are being read, return the request for the server, so that it is answered.

        After a large request, which is no health check, none is read for a while either.
        """
        if self._reads >= _MOST_READS or self._pause.seconds:
            return health_pb2.HealthCheckRequest()
        self._reads += 1
        try:
            async with asyncio.timeout(_READ_SECONDS):
                raw = await context.read()
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the request did not arrive")
        finally:
            self._reads -= 1
        if raw is grpc.aio.EOF:
            return health_pb2.HealthCheckRequest()
        self._pause.extend(len(raw))
        try:
            return health_pb2.HealthCheckRequest.FromString(raw)
        except DecodeError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the request is not a HealthCheckRequest")


async def _unimplemented(_: Any, context: Any) -> None:
    """Refuse a call of an unknown method. If the handler were None, gRPC would log a traceback."""
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "there is no such method")


def _serialize(response: health_pb2.HealthCheckResponse | health_pb2.HealthListResponse) -> bytes:
    return bytes(response.SerializeToString())
