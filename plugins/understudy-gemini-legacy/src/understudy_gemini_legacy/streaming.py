"""The bytes of Gemini's streams, one JSON array, cut into the JSON of their chunks. No SDK, no I/O."""

from __future__ import annotations

import re
from typing import Any

from understudy_gemini_wire.failures import unreadable
from understudy_gemini_wire.wire import parse

# What cuts JSON into objects: quotes, braces, and a backslash with what it escapes; and what no string may hold.
_STRUCTURE = re.compile(rb'["{}\x00-\x1f]|\\.', re.DOTALL)


class ElementReader:
    """Cuts the bytes of a stream, which is one JSON array, into its elements, as soon as each is whole.

    What comes outside of objects and is no punctuation of an array, a page of HTML for example, is kept and told of.
    """

    def __init__(self) -> None:
        self._element: list[bytes] = []  # the pieces of the element that has not ended
        self._outside: list[bytes] = []
        self._held = b""  # backslashes at the end, of which the last may escape what comes next
        self._depth = 0
        self._quoted = False

    def feed(self, data: bytes) -> list[Any]:
        """Take the next bytes, and return the elements that they complete.

        Raises:
            MalformedResponse: an element is not JSON, or the stream is no array.
        """
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
        return elements

    def end(self) -> tuple[()]:
        """Return nothing: what is left when the stream has ended was cut, and the finish reason tells of that.

        Raises:
            MalformedResponse: the stream was no array.
        """
        outside = b"".join(self._outside)
        if outside.strip(b"[],\r\n\t "):
            raise unreadable(outside.decode("utf-8", "replace"), "a stream in JSON")
        return ()

    def _shown(self, data: bytes) -> str:
        return b"".join([*self._element, data]).decode("utf-8", "replace")

    def _take(self) -> Any:
        self.end()  # nothing else stands before the element
        element = b"".join(self._element)
        self._element, self._outside = [], []
        return parse(element)


def _split_backslashes(data: bytes) -> tuple[bytes, bytes]:
    end = len(data.rstrip(b"\\"))
    return data[:end], data[end:]
