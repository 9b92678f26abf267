"""Messages between agents, kept for a day.

Stored in `swarm:communications` under `comm:<milliseconds>-<suffix>`, tagged with communication and the message's type,
like the seed's storeCommunication. Keys increase even if the clock does not, and are committed in key order. A reader
that continues after the last key it has read misses no message.
"""

from __future__ import annotations

import re
import secrets
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from swarm_operator.memory.core.entry import Entry, check_page_size
from swarm_operator.memory.core.store import Store
from swarm_operator.memory.core.writes import Write
from swarm_operator.memory.swarm import fields, times
from swarm_operator.memory.swarm.record import Kind, Record, Records, text_of

BROADCAST: Final = "*"
"""Receiver that stands for every agent except the sender."""
_PREFIX: Final = "comm:"
_BATCH_SIZE: Final = 200
_MOST_SCANNED: Final = 2000
_AHEAD_BATCH_SIZE: Final = 20
_MOST_IN_ONE_MILLISECOND: Final = 0xFFFF
_MAX_AHEAD: Final = 10 * 365 * 86_400_000
"""Milliseconds. Keys further than this in the future are invalid and ignored."""
_KEY: Final = re.compile(r"comm:([0-9]{13})-")


def _message_type(document: dict[str, Any]) -> str | None:
    message = document.get("message")
    return text_of(message, "type") or None if isinstance(message, dict) else None


class _Communication(Kind):
    __slots__ = ()

    def tags(self, document: dict[str, Any]) -> list[str]:
        """Return the tags of a message: the kind, and the `type` inside the message."""
        return Kind.tags(self, {"type": _message_type(document)})


COMMUNICATION: Final = _Communication(
    name="communication",
    namespace="swarm:communications",
    prefix="",
    tagged=("type",),
    ttl=86_400,
    metadata=lambda document: {
        "fromAgent": text_of(document, "fromAgent") or None,
        "toAgent": text_of(document, "toAgent") or None,
        "messageType": _message_type(document),
    },
)


@dataclass(frozen=True, slots=True)
class MessagePage:
    """A page of messages.

    Attributes:
        messages: in sending order.
        cursor: position to continue reading from, now or later; None while no message exists.
        more: True if more messages can be read now.
    """

    messages: list[Record]
    cursor: str | None
    more: bool


class _Sequence:
    """Generates increasing keys. Each origin has one sequence, shared by several Communications and views."""

    def __init__(self) -> None:
        self._milliseconds = 0
        self._count = 0

    def last(self, now: int) -> str:
        """Return a bound that is greater than all generated and earlier keys, and less than the next key."""
        if now > self._milliseconds or self._count >= _MOST_IN_ONE_MILLISECOND:
            return f"{_PREFIX}{max(self._milliseconds, now - 1):013}."  # "." sorts after "-"
        return _key(self._milliseconds, self._count) + "g"  # "g" sorts after every hexadecimal digit

    def seen(self, milliseconds: int) -> None:
        """Continue after a key of this time that another writer has generated."""
        if milliseconds >= self._milliseconds:
            self._milliseconds, self._count = milliseconds, _MOST_IN_ONE_MILLISECOND

    def next(self, now: int) -> str:
        """Return a key that is greater than all previous keys."""
        if now > self._milliseconds:
            self._milliseconds, self._count = now, 0
        elif self._count >= _MOST_IN_ONE_MILLISECOND:
            self._milliseconds, self._count = self._milliseconds + 1, 0
        else:
            self._count += 1
        return _key(self._milliseconds, self._count) + secrets.token_hex(3)


def _key(milliseconds: int, count: int) -> str:
    return f"{_PREFIX}{milliseconds:013}-{count:04x}"


def _moment(key: str, now: int) -> int | None:
    """Return the time in a key, in milliseconds; None if it is not a valid message key."""
    match = _KEY.match(key)
    return None if match is None or int(match[1]) > now + _MAX_AHEAD else int(match[1])


_sequences: weakref.WeakKeyDictionary[object, _Sequence] = weakref.WeakKeyDictionary()


class Communications:
    """The messages of a swarm.

    Args:
        store: the store that holds the messages.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = Records(store, COMMUNICATION)
        self._sequence = _sequences.setdefault(store.origin, _Sequence())

    async def send(self, from_agent: str, to_agent: str | None = None, message: Any = None) -> Record:
        """Append a message. The message expires after a day.

        Args:
            from_agent: the sender.
            to_agent: the receiver; "*" or None, the default, sends to all other agents.
            message: any JSON value; the `type` of an object must be a word and becomes a tag.

        Raises:
            InvalidInputError: names the invalid member.
        """
        fields.identifier("fromAgent", from_agent)
        receiver = BROADCAST if to_agent is None else fields.identifier("toAgent", to_agent)
        fields.document("message", {"message": message})
        if isinstance(message, dict) and message.get("type") is not None:
            fields.word("message.type", message["type"])
        await self._catch_up()
        now = self._store.now()
        key = self._sequence.next(now)
        document = {
            "id": key,
            "fromAgent": from_agent,
            "toAgent": receiver,
            "message": message,
            "swarmId": self._store.swarm_id,
            "timestamp": times.to_text(now),
        }
        put = COMMUNICATION.put(document, None)

        def decide(_: list[Entry | None], __: int) -> Sequence[Write]:
            return [put]

        # Do not await between generating the key and queueing the write: writes are committed in queue order.
        entry, created = (await self._store.transact([(COMMUNICATION.namespace, key)], decide))[0]
        return self._records.record(entry, created=created)

    async def read(
        self,
        *,
        agent: str | None = None,
        from_agent: str | None = None,
        type: str | None = None,  # noqa: A002 - the member's name
        since: str | None = None,
        limit: int = 100,
    ) -> MessagePage:
        """Return a page of messages in sending order. One call examines at most 2000 messages.

        Args:
            agent: only messages to this agent, and broadcasts of other agents.
            from_agent: only messages from this agent.
            type: only messages with this `type`.
            since: the `cursor` of the previous page; None starts at the oldest stored message.
            limit: 1 to 1000.
        """
        for name, value in (("agent", agent), ("from", from_agent), ("type", type)):
            if value is not None:
                fields.identifier(name, value)
        check_page_size(limit)
        messages: list[Record] = []
        now = self._store.now()
        after = cursor = since
        for _ in range(_MOST_SCANNED // _BATCH_SIZE):
            page = await self._store.list(COMMUNICATION.namespace, prefix=_PREFIX, after=after, limit=_BATCH_SIZE)
            for entry in page.entries:
                if _moment(entry.key, now) is None:
                    continue  # a cursor after this key would skip future messages
                record = self._records.record(entry)
                cursor = entry.key
                if _wanted(record.document, agent, from_agent, type):
                    messages.append(record)
                    if len(messages) == limit:
                        more = page.next_key is not None or entry is not page.entries[-1]
                        return MessagePage(messages, cursor, more)
            after = page.next_key
            if after is None:
                return MessagePage(messages, cursor, more=False)
        return MessagePage(messages, cursor, more=cursor != since)

    async def _catch_up(self) -> None:
        """Advance the sequence past newer stored keys: after a clock setback, imports or direct writes."""
        now = self._store.now()
        while True:
            last = self._sequence.last(now)
            page = await self._store.list(COMMUNICATION.namespace, prefix=_PREFIX, after=last, limit=_AHEAD_BATCH_SIZE)
            moments = [moment for entry in page.entries if (moment := _moment(entry.key, now)) is not None]
            if not moments:
                return
            self._sequence.seen(max(moments))


def _wanted(document: dict[str, Any], agent: str | None, from_agent: str | None, message_type: str | None) -> bool:
    sender, receiver = text_of(document, "fromAgent"), document.get("toAgent")
    if from_agent is not None and sender != from_agent:
        return False
    if message_type is not None and _message_type(document) != message_type:
        return False
    if agent is None or receiver == agent:
        return True
    return receiver in (None, BROADCAST) and sender != agent
