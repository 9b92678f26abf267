"""Admission of gRPC calls: takes the caller's quotas, then reads the message of the call.

The C core of gRPC reads the message of a unary call before the handler runs and limits each message, but not all
messages together. Calls are therefore registered as streams of requests (see server): until a message is read, the
core holds no more of the message than a flow-control window.
"""

from __future__ import annotations

import asyncio
import collections
from typing import Any, Final, cast

import grpc
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from swarm_operator.memory.core.errors import InvalidInputError, OverloadedError
from swarm_operator.memory.core.threads import LARGE_BYTES, run_on_thread
from swarm_operator.memory.service.errors import BodyTimeoutError, BodyTooLargeError
from swarm_operator.memory.service.grpc.pause import Pause
from swarm_operator.memory.service.grpc.weight import check_weight
from swarm_operator.memory.service.quotas import Holder, Quotas, largest_request, too_large
from swarm_operator.memory.service.settings import ServiceSettings

_PROMPT_READS: Final = 8
"""Maximum number of messages of one principal that are read concurrently without a reservation. Further calls wait."""
_PROMPT_SECONDS: Final = 0.1
"""Seconds after which an incomplete message takes a reservation. A small message arrives with its call."""
_SMALL: Final = 64 * 1024
"""Messages up to this size (bytes) are not counted: the number of calls bounds them."""


class Held:
    """Share of the quotas that a call holds until its response has been sent."""

    __slots__ = ("_holder", "_message", "_quotas", "_response")

    def __init__(self, quotas: Quotas, holder: Holder) -> None:
        self._quotas = quotas
        self._holder = holder
        self._message = 0
        self._response = 0
        quotas.calls.take(holder)

    def message(self, size: int) -> None:
        """Hold the bytes of the message instead of its reservation. Raise OverloadedError."""
        size = size if size > _SMALL else 0
        if size > self._message:
            self._quotas.bodies.take(self._holder, size - self._message, mine=self._message)
        elif size < self._message:
            self._quotas.bodies.give_back(self._holder, self._message - size)
        self._message = size

    def response(self, size: int) -> None:
        """Hold the bytes of the response, which stay in memory until the client reads. Raise OverloadedError."""
        if size > _SMALL:
            self._quotas.bodies.take(self._holder, size, mine=self._message)
            self._response = size

    def release(self, _: Any) -> None:
        """Release everything."""
        self._quotas.calls.give_back(self._holder)
        if held := self._message + self._response:
            self._quotas.bodies.give_back(self._holder, held)


class _Caller:
    """State that the calls of one principal share."""

    __slots__ = ("pause", "prompt", "turn")

    def __init__(self) -> None:
        self.prompt = asyncio.Semaphore(_PROMPT_READS)
        self.pause = Pause()
        self.turn = asyncio.Lock()
        """Held by one call that waits for the end of the pause: what has waited must not be read all at once."""


class Admission:
    """Admits calls and reads their messages."""

    def __init__(self, quotas: Quotas, settings: ServiceSettings) -> None:
        self._quotas = quotas
        self._largest = settings.max_grpc_message_bytes
        self._timeout = settings.body_timeout
        self._callers: dict[str, _Caller] = collections.defaultdict(_Caller)
        self._reading: dict[_Reading, None] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def enter(self, holder: Holder, context: Any) -> Held:
        """Count a call until it has ended. Raise OverloadedError."""
        held = Held(self._quotas, holder)
        context.add_done_callback(held.release)
        return held

    def enter_stream(self, holder: Holder, context: Any) -> None:
        """Count a call whose messages gRPC reads, and reserve a message of maximum size. Raise OverloadedError."""
        self.enter(holder, context).message(self._largest)

    def pause_of(self, holder: Holder) -> Pause:
        """Return the pause after the principal's refused messages, for a call whose messages others read."""
        return self._callers[holder.name].pause

    async def read(self, holder: Holder, held: Held, kind: type[Message], context: Any) -> Any:
        """Return the message of a call. Parse a large message on a thread.

        After a large message that is refused, the principal's next messages wait for the end of a pause.

        Raises:
            BodyTooLargeError: the message is larger than a holder that may only read may send.
            OverloadedError: the message is slow, and the holder's share has no room for a message of maximum size.
            BodyTimeoutError: the message did not arrive in time.
            InvalidInputError: the bytes are not a message of this call, or have too many fields.
        """
        caller = self._callers[holder.name]
        if not caller.pause.seconds:
            return await self._read(caller, holder, held, kind, context)
        async with caller.turn:
            await asyncio.sleep(caller.pause.seconds)
            return await self._read(caller, holder, held, kind, context)

    async def _read(self, caller: _Caller, holder: Holder, held: Held, kind: type[Message], context: Any) -> Any:
        raw = await self._receive(caller.prompt, held, context)
        if raw is grpc.aio.EOF:
            raise InvalidInputError("message", "exactly one")
        try:
            if len(raw) > largest_request(holder, self._largest):
                raise too_large(holder, self._largest)
            held.message(len(raw))
            return await run_on_thread(_parse, kind, raw) if len(raw) > LARGE_BYTES else _parse(kind, raw)
        except (BodyTooLargeError, InvalidInputError):
            caller.pause.extend(len(raw))
            raise

    async def _receive(self, prompt: asyncio.Semaphore, held: Held, context: Any) -> Any:
        await prompt.acquire()
        reading = _Reading(prompt, held)
        self._reading[reading] = None
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(_PROMPT_SECONDS, self._sweep)
        try:
            return await context.read()
        except asyncio.CancelledError:
            if reading.refusal is None:
                raise
            reading.task.uncancel()
            raise reading.refusal from None
        finally:
            del self._reading[reading]
            if not reading.reserved:
                prompt.release()

    def _sweep(self) -> None:
        """Check the messages that are being read. A timer per call would cost more than this check."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for reading in self._reading:
            reading.check(now, self._largest, self._timeout)
        self._sweeper = loop.call_later(_PROMPT_SECONDS, self._sweep) if self._reading else None


def _parse(kind: type[Message], raw: bytes) -> Message:
    check_weight(raw, cast(Descriptor, kind.DESCRIPTOR))
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise InvalidInputError("message", "as memory.proto describes it") from None


class _Reading:
    """A message that is being read."""

    __slots__ = ("_held", "_prompt", "_since", "refusal", "reserved", "task")

    def __init__(self, prompt: asyncio.Semaphore, held: Held) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - for mypy
        self.task = task
        self.refusal: Exception | None = None
        self.reserved = False
        self._prompt = prompt
        self._held = held
        self._since = asyncio.get_running_loop().time()

    def check(self, now: float, largest: int, seconds: float) -> None:
        """Reserve room for a slow message. End the call if there is no room, or if the message is too late."""
        if self.refusal is not None:
            return
        if not self.reserved:
            if now - self._since < _PROMPT_SECONDS:
                return
            self.reserved = True
            self._prompt.release()
            try:
                self._held.message(largest)
            except OverloadedError as error:
                self._end(error)
        elif now - self._since >= seconds:
            self._end(BodyTimeoutError(f"the message did not arrive within {seconds:g} seconds"))

    def _end(self, refusal: Exception) -> None:
        self.refusal = refusal
        self.task.cancel()
