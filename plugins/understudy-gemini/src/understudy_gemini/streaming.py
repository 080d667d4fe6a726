"""The bytes of Gemini's streams, cut into the JSON of their chunks. No SDK, no I/O."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from understudy.errors import MalformedResponse
from understudy_gemini_wire.failures import error_of
from understudy_gemini_wire.wire import parse
from understudy_toolkit.bodies import too_large
from understudy_toolkit.lanes import MOST_BYTES
from understudy_toolkit.sse import SseReader

_BOM = b"\xef\xbb\xbf"


class EventReader:
    """Cuts the bytes of a stream into the JSON of its events.

    What begins like JSON is no event stream: an error, or a JSON array where somebody on the way dropped `alt=sse`. It
    is kept, and read at the end.
    """

    def __init__(self) -> None:
        self._events = SseReader()
        self._document: list[bytes] | None = None  # the pieces of what is JSON
        self._begun = False
        self._size = 0

    def feed(self, data: bytes) -> Iterable[Any]:
        """Take the next bytes, and return the chunks that they complete, each parsed when it is asked for.

        Raises:
            MalformedResponse: an event is not JSON, or too large; those before it are returned all the same.
        """
        start = data.removeprefix(_BOM).lstrip()[:1]
        if not self._begun and start:
            self._begun = True
            self._document = [] if start in (b"{", b"[", b"<") else None
        if self._document is not None:
            self._size += len(data)
            if self._size > MOST_BYTES:
                raise too_large(MOST_BYTES)
            self._document.append(data)
            return []
        return (parse(event.data) for event in self._events.feed(data) if event.data)

    def end(self) -> list[Any]:
        """Return the chunks that are left when the stream has ended.

        Raises:
            MalformedResponse: the stream was neither events nor JSON.
        """
        if self._document is None:
            last = self._events.end()
            try:
                return [parse(last.data)] if last is not None and last.data else []
            except MalformedResponse:
                return []  # it was cut: whether the answer is whole, its finish reason tells
        document = parse(b"".join(self._document))
        return document if isinstance(document, list) and error_of(document) is None else [document]
