"""Communications: messages between agents, kept for a day.

In `swarm:communications` under `comm:<milliseconds>-<suffix>`, with the tags communication and the message's type, as
the seed's storeCommunication writes them. Keys only ever grow, also when the clock does not, and are committed in their
order; so whoever reads on from the last key it has seen misses nothing.
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
"""As the receiver: every agent but the sender."""
_PREFIX: Final = "comm:"
_AT_ONCE: Final = 200
_MOST_SCANNED: Final = 2000
_AHEAD_AT_ONCE: Final = 20
_MOST_IN_ONE_MILLISECOND: Final = 0xFFFF
_MOST_AHEAD: Final = 10 * 365 * 86_400_000
"""Milliseconds. A key from later than that is a mistake, and not followed."""
_KEY: Final = re.compile(r"comm:([0-9]{13})-")


def _message_type(document: dict[str, Any]) -> str | None:
    message = document.get("message")
    return text_of(message, "type") or None if isinstance(message, dict) else None


class _Communication(Kind):
    __slots__ = ()

    def tags(self, document: dict[str, Any]) -> list[str]:
        """The kind, and the type that stands in the message."""
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
    """Part of the messages.

    Attributes:
        messages: in the order in which they were sent.
        cursor: read on from here, now or later; None while there has been no message at all.
        more: whether there is more to read now.
    """

    messages: list[Record]
    cursor: str | None
    more: bool


class _Sequence:
    """Gives out keys that grow. One for each origin: several Communications, and views, may share a store."""

    def __init__(self) -> None:
        self._milliseconds = 0
        self._count = 0

    def last(self, now: int) -> str:
        """Keys that were given out, and those of earlier times, are less than this; the next one is greater."""
        if now > self._milliseconds or self._count >= _MOST_IN_ONE_MILLISECOND:
            return f"{_PREFIX}{max(self._milliseconds, now - 1):013}."  # a dot comes after a dash
        return _key(self._milliseconds, self._count) + "g"  # and a g after every hexadecimal digit

    def seen(self, milliseconds: int) -> None:
        """There is a key of that time that was not given out here: go on behind it."""
        if milliseconds >= self._milliseconds:
            self._milliseconds, self._count = milliseconds, _MOST_IN_ONE_MILLISECOND

    def next(self, now: int) -> str:
        """A key greater than all before."""
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
    """The time in a key, in milliseconds; None when it is none of a message."""
    match = _KEY.match(key)
    return None if match is None or int(match[1]) > now + _MOST_AHEAD else int(match[1])


_sequences: weakref.WeakKeyDictionary[object, _Sequence] = weakref.WeakKeyDictionary()


class Communications:
    """The messages of a swarm.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._records = Records(store, COMMUNICATION)
        self._sequence = _sequences.setdefault(store.origin, _Sequence())

    async def send(self, from_agent: str, to_agent: str | None, message: Any) -> Record:
        """Append a message; it is kept for a day.

        Args:
            from_agent: who says it.
            to_agent: to whom; "*" or None: to everyone else.
            message: any JSON value; the `type` of an object, a word, becomes a tag.

        Raises:
            InvalidInputError: names the member.
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

        # Nothing may come between taking the key and queueing the write: the queue's order is the commits'.
        entry, created = (await self._store.transact([(COMMUNICATION.namespace, key)], decide))[0]
        return self._records.record(entry, created=created)

    async def read(
        self,
        *,
        agent: str | None = None,
        from_agent: str | None = None,
        message_type: str | None = None,
        since: str | None = None,
        limit: int = 100,
    ) -> MessagePage:
        """Messages in the order in which they were sent. Looks at 2000 at most.

        Args:
            agent: only those to this agent, and those to everyone that others sent.
            from_agent: only those that this one sent.
            message_type: only those whose message has this `type`.
            since: the `cursor` of the page before; None: from the oldest that is kept.
            limit: 1 to 1000.
        """
        for name, value in (("agent", agent), ("from", from_agent), ("type", message_type)):
            if value is not None:
                fields.identifier(name, value)
        check_page_size(limit)
        messages: list[Record] = []
        now = self._store.now()
        after = cursor = since
        for _ in range(_MOST_SCANNED // _AT_ONCE):
            page = await self._store.list(COMMUNICATION.namespace, prefix=_PREFIX, after=after, limit=_AT_ONCE)
            for entry in page.entries:
                if _moment(entry.key, now) is None:
                    continue  # a cursor behind it would hide the messages to come
                record = self._records.record(entry)
                cursor = entry.key
                if _wanted(record.document, agent, from_agent, message_type):
                    messages.append(record)
                    if len(messages) == limit:
                        more = page.next_key is not None or entry is not page.entries[-1]
                        return MessagePage(messages, cursor, more)
            after = page.next_key
            if after is None:
                return MessagePage(messages, cursor, more=False)
        return MessagePage(messages, cursor, more=cursor != since)

    async def _catch_up(self) -> None:
        """Go on behind keys that others have made: when the clock was set back, by an import, as plain entries."""
        now = self._store.now()
        while True:
            last = self._sequence.last(now)
            page = await self._store.list(COMMUNICATION.namespace, prefix=_PREFIX, after=last, limit=_AHEAD_AT_ONCE)
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
