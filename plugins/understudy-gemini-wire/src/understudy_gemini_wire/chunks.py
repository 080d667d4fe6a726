"""The bytes of Gemini's streams, cut into the JSON of their chunks: events, or the elements of an array. No I/O.

Google sends events if it is asked for them (`alt=sse`), and one JSON array otherwise; a proxy may have dropped that
parameter, or may send an error instead of a stream. The first byte shows which it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from understudy.errors import MalformedResponse
from understudy_gemini_wire.failures import error_of, unreadable
from understudy_toolkit.bodies import read_json, too_large
from understudy_toolkit.lanes import MOST_BYTES
from understudy_toolkit.sse import SseReader

__all__ = ["ChunkReader", "parse"]

_BOM = b"\xef\xbb\xbf"
_END = b"[DONE]"  # of OpenAI's streams, which relays send after ours
# What cuts JSON into objects: quotes, braces, and a backslash with what it escapes; and what no string may hold.
_STRUCTURE = re.compile(rb'["{}\x00-\x1f]|\\.', re.DOTALL)


class _Cutter(Protocol):
    def feed(self, data: bytes, /) -> Iterable[Any]: ...

    def end(self) -> Iterable[Any]: ...


class ChunkReader:
    """Cuts a stream's bytes into its chunks, each parsed: None for a sign of life, a failure for what is not JSON."""

    def __init__(self) -> None:
        self._head = b""
        self._cutter: _Cutter | None = None

    def feed(self, data: bytes) -> Iterable[Any]:
        """Take the next bytes, and return the chunks that they complete.

        Raises:
            MalformedResponse: the stream is not one of Gemini's, or a chunk is too large.
        """
        if self._cutter is None:
            data, self._head = self._head + data, b""
            start = data.removeprefix(_BOM).lstrip()[:1]
            if not start or _BOM.startswith(data):
                self._head = data
                return ()
            self._cutter = _Elements() if start in (b"{", b"[", b"<") else _Events()
        return self._cutter.feed(data)

    def end(self) -> Iterable[Any]:
        """Return the chunks that are left when the stream has ended; the finish reason shows whether it was cut.

        Raises:
            MalformedResponse: the stream was not one of Gemini's.
        """
        return () if self._cutter is None else self._cutter.end()


def parse(content: bytes) -> Any:
    """Parse the JSON of a chunk.

    Raises:
        MalformedResponse: it is none.
    """
    try:
        return read_json(content)
    except ValueError:
        pass
    raise unreadable(content.decode("utf-8", "replace"), "a reply in JSON")


def _read(content: bytes) -> Any:
    """Parse a chunk, or return its failure: what came before and comes after it tells whether it is missed."""
    try:
        return parse(content)
    except MalformedResponse as failure:
        return failure.with_traceback(None)


class _Events:
    """Server-sent events."""

    def __init__(self) -> None:
        self._events = SseReader()

    def feed(self, data: bytes) -> Iterator[Any]:
        for event in self._events.feed(data):
            if event.is_comment or event.data.strip() in (b"", _END):
                yield None
            else:
                yield _read_error(event.data) if event.name.lower() == "error" else _read(event.data)

    def end(self) -> list[Any]:
        last = self._events.end()
        if last is None or last.data.strip() in (b"", _END):
            return []
        if last.name.lower() == "error":
            return [_read_error(last.data)]
        try:
            return [parse(last.data)]
        except MalformedResponse:
            return []


def _read_error(data: bytes) -> Any:
    """Return what an event named error says, in the form of an error."""
    try:
        document = parse(data)
    except MalformedResponse:
        document = data.decode("utf-8", "replace")
    return document if error_of(document) is not None else {"error": document}


class _Elements:
    """One JSON array, each element as soon as it is whole; or one JSON object.

    What comes outside of objects and is no punctuation of an array, a page of HTML for example, is kept and reported.
    """

    def __init__(self) -> None:
        self._element: list[bytes] = []  # the pieces of the element that has not ended
        self._outside: list[bytes] = []
        self._held = b""  # backslashes at the end, of which the last may escape what comes next
        self._size = 0  # of what is kept
        self._depth = 0
        self._quoted = False

    def feed(self, data: bytes) -> list[Any]:
        data = self._held + data
        data, self._held = _split_backslashes(data)
        elements = []
        begin = 0
        for found in _STRUCTURE.finditer(data):
            mark = found[0]
            if mark == b'"' and self._depth:
                self._quoted = not self._quoted
            elif self._quoted:
                if mark < b" ":
                    raise unreadable(self._shown(data), "a stream in JSON")
            elif mark == b"{":
                if not self._depth:
                    self._outside.append(data[begin : found.start()])
                    begin = found.start()
                self._depth += 1
            elif mark == b"}" and self._depth:
                self._depth -= 1
                if not self._depth:
                    self._element.append(data[begin : found.end()])
                    begin = found.end()
                    elements.append(self._take())
        (self._element if self._depth else self._outside).append(data[begin:])
        self._size += len(data) - begin
        if self._size > MOST_BYTES:
            raise too_large(MOST_BYTES)
        return elements

    def end(self) -> tuple[()]:
        outside = b"".join(self._outside)
        if outside.removeprefix(_BOM).strip(b"[],\r\n\t "):
            raise unreadable(outside.decode("utf-8", "replace"), "a stream in JSON")
        return ()

    def _shown(self, data: bytes) -> str:
        return b"".join([*self._element, data]).decode("utf-8", "replace")

    def _take(self) -> Any:
        self.end()  # nothing else stands before the element
        element = b"".join(self._element)
        self._element, self._outside, self._size = [], [], 0
        return _read(element)


def _split_backslashes(data: bytes) -> tuple[bytes, bytes]:
    end = len(data.rstrip(b"\\"))
    return data[:end], data[end:]
