"""Splits a JSON file into its elements, in bounded memory: the items of lists, and the members of the outer object.

An event parser, such as ijson, stops at the first invalid byte and holds each string in memory. A legacy file may have
one invalid element among a million valid ones, or a value of any size. So this module only finds the ends of elements,
by the brackets outside strings. Each element is then parsed strictly and separately: an invalid or too large element
does not affect others. The search uses regular expressions and splits some 200 MB a second.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import orjson

_CHUNK: Final = 256 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_STRING: Final = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+', re.DOTALL)
"""Matches a string up to its quote, to the end of the chunk, or to a backslash that is the chunk's last byte."""
_BETWEEN: Final = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.[^"\\]*+)*+")*+', re.DOTALL)
"""Matches text between brackets: strings that end in the chunk, and bytes other than brackets and quotes."""
_SCALAR: Final = re.compile(rb'[^\s,:\[\]{}"]*')
_QUOTE, _OPEN_LIST, _OPEN_OBJECT, _CLOSE_LIST, _CLOSE_OBJECT = b'"[{]}'
_COMMA, _COLON, _BACKSLASH = b",:\\"
_MAX_NAME_BYTES: Final = 64 * 1024


class BrokenJsonError(Exception):
    """The file can't be split further.

    Attributes:
        offset: start of the last element, or of the invalid byte after it.
        truncated: True if the file ends inside an element, a list or an object.
    """

    def __init__(self, offset: int, detail: str, *, truncated: bool) -> None:
        super().__init__(detail)
        self.offset = offset
        self.truncated = truncated


@dataclass(frozen=True, slots=True)
class Element:
    """A part of the file.

    Attributes:
        member: member of the outer object that contains the part; None if the file has no outer object.
        index: index in the list, from 0; None for a part outside a list; -1 for the start of the list.
        start: offset of the first byte.
        end: offset after the last byte.
        text: JSON text; None if it is larger than the limit.
    """

    member: str | None
    index: int | None
    start: int
    end: int
    text: bytes | None


def elements(file: BinaryIO, limit: int) -> Iterator[Element]:
    """Yield the items of an outer list, or the members of an outer object. Split members that are lists into items.

    Args:
        file: the file, at its start.
        limit: maximum bytes of an element; a larger element is yielded without its text.

    Raises:
        BrokenJsonError: the rest of the file after the last element can't be split.
    """
    scanner = _Scanner(file, limit)
    scanner.skip_bom()
    first = scanner.peek()
    if first == _OPEN_LIST:
        yield from scanner.items(None)
    elif first == _OPEN_OBJECT:
        yield from scanner.members()
    else:
        raise scanner.broken("neither an array nor an object")
    if scanner.peek() is not None:
        raise scanner.broken("something follows the document")


def lines(file: BinaryIO, limit: int) -> Iterator[Element]:
    """Yield the non-empty lines of a file of JSON lines, as elements without a member."""
    start = index = 0
    while text := file.readline(limit + 1):
        end = start + len(text)
        whole = len(text) <= limit or text.endswith(b"\n")
        while not text.endswith(b"\n") and (text := file.readline(_CHUNK)):
            whole = False
            end += len(text)
        if whole:
            file.seek(start)
            text = file.read(end - start).strip()
        if not whole or text:
            yield Element(None, index, start, end, text if whole else None)
            index += 1
        start = end


class _Scanner:
    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file = file
        self._limit = limit
        self._chunk = b""
        self._chunk_start = 0
        self._at = 0

    @property
    def offset(self) -> int:
        return self._chunk_start + self._at

    def broken(self, detail: str, *, start: int | None = None) -> BrokenJsonError:
        truncated = self.peek() is None
        where = self.offset if start is None else start
        return BrokenJsonError(where, "the file ends too early" if truncated else detail, truncated=truncated)

    def skip_bom(self) -> None:
        self._more()
        if self._chunk.startswith(_BOM):
            self._at = len(_BOM)

    def peek(self) -> int | None:
        """Return the next byte that is not white space, without consuming it; None at the end of the file."""
        while True:
            match = _SPACE.match(self._chunk, self._at)
            assert match is not None  # noqa: S101 - for mypy: the pattern matches anywhere
            self._at = match.end()
            if self._at < len(self._chunk):
                return self._chunk[self._at]
            if not self._more():
                return None

    def items(self, member: str | None) -> Iterator[Element]:
        """Yield the items of the list that begins at the next byte."""
        yield Element(member, -1, self.offset, self.offset, b"[]")
        self._at += 1
        index = 0
        if self.peek() == _CLOSE_LIST:
            self._at += 1
            return
        while True:
            start = self._start_of_value()
            text = self._value(start)
            yield Element(member, index, start, self.offset, text)
            index += 1
            if self._separator(_CLOSE_LIST):
                return

    def members(self) -> Iterator[Element]:
        """Yield the members of the object that begins at the next byte."""
        self._at += 1
        if self.peek() == _CLOSE_OBJECT:
            self._at += 1
            return
        while True:
            name = self._name()
            if self.peek() == _OPEN_LIST:
                yield from self.items(name)
            else:
                start = self._start_of_value()
                text = self._value(start)
                yield Element(name, None, start, self.offset, text)
            if self._separator(_CLOSE_OBJECT):
                return

    def _name(self) -> str:
        if self.peek() != _QUOTE:
            raise self.broken("a member without a name")
        start = self.offset
        text = self._value(start)
        if text is None or len(text) > _MAX_NAME_BYTES:
            raise BrokenJsonError(start, "a member's name is too long", truncated=False)
        if self.peek() != _COLON:
            raise self.broken("a name without a value", start=start)
        self._at += 1
        try:
            name: str = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise BrokenJsonError(start, f"a member's name is not JSON ({error})", truncated=False) from None
        return name

    def _separator(self, close: int) -> bool:
        """Consume a comma or the closing bracket. Return True for the bracket."""
        found = self.peek()
        if found not in {_COMMA, close}:
            raise self.broken("elements without a comma between them")
        self._at += 1
        return found == close

    def _start_of_value(self) -> int:
        if self.peek() in {None, _COMMA, _COLON, _CLOSE_LIST, _CLOSE_OBJECT}:
            raise self.broken("a value is missing")
        return self.offset

    def _value(self, start: int) -> bytes | None:
        """Consume a value and return its text; None if it is over the limit."""
        text = bytearray()
        whole = True
        for part in self._parts(start):
            if whole and len(text) + len(part) <= self._limit:
                text += part
            else:
                whole = False
                text.clear()
        return bytes(text) if whole else None

    def _parts(self, start: int) -> Iterator[bytes]:
        """Yield the parts of a value, chunk by chunk."""
        first = self._chunk[self._at]
        depth, in_string = 0, False
        if first not in {_QUOTE, _OPEN_LIST, _OPEN_OBJECT}:
            yield from self._scalar()
            return
        begin = self._at
        if first == _QUOTE:
            in_string = True
            self._at += 1
        while True:
            chunk = self._chunk
            match = (_STRING if in_string else _BETWEEN).match(chunk, self._at)
            assert match is not None  # noqa: S101 - as above
            self._at = match.end()
            if self._at == len(chunk) or (chunk[self._at] == _BACKSLASH and self._at == len(chunk) - 1):
                # A backslash must stay in one chunk with the byte after it.
                kept = chunk[self._at :]
                yield chunk[begin : self._at]
                begin = 0
                if not self._more(kept):
                    raise BrokenJsonError(start, "the file ends too early", truncated=True)
                continue
            found = chunk[self._at]
            self._at += 1
            if in_string:
                in_string = False
            elif found == _QUOTE:
                in_string = True
            elif found in {_OPEN_LIST, _OPEN_OBJECT}:
                depth += 1
            else:
                depth -= 1
            if not in_string and depth == 0:
                yield chunk[begin : self._at]
                return

    def _scalar(self) -> Iterator[bytes]:
        while True:
            match = _SCALAR.match(self._chunk, self._at)
            assert match is not None  # noqa: S101 - as above
            yield match[0]
            self._at = match.end()
            if self._at < len(self._chunk) or not self._more():
                return

    def _more(self, kept: bytes = b"") -> bool:
        """Append the next chunk to the rest of this one. Return False at the end of the file."""
        read = self._file.read(_CHUNK)
        if not read:
            return False
        self._chunk_start += len(self._chunk) - len(kept)
        self._chunk = kept + read
        self._at = 0
        return True
