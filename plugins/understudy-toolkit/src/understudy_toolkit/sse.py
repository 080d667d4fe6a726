"""Server-sent events: a stream's bytes in, its events out.

https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream, read 2026-11-30. There are
six differences, because of what servers really send. A name without data is an event. A comment is one too, as a sign
of life, and so is anything that says no more than that: blank data, a comment sent as data, a ping. JSON that is not a
field, and the field `error`, are data: some servers report an error like that. An event at the end without its blank
line is not lost; its content shows whether it is whole. `id` and `retry` mean nothing, since there is no reconnection.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from understudy.errors import MalformedResponse

__all__ = ["MOST_EVENT_BYTES", "SseEvent", "SseReader"]

MOST_EVENT_BYTES = 16 * 2**20  # of one event: pictures come in one line, and no vendor's is a tenth of it
_BOM = b"\xef\xbb\xbf"

# What says only that the server is there, as a name and as data: "data: : keepalive" of Vertex AI's partner models,
# "event: keepalive" of relays (https://github.com/diegosouzapw/OmniRoute/pull/1146), empty data
# (https://github.com/modelcontextprotocol/python-sdk/pull/1670), {"type": "ping"} of Anthropic, {"type": "keepalive"}
# of OpenAI's Responses API. Read 2026-11-30.
_PINGS = ("ping", "heartbeat", "keepalive", "keep-alive", "keep_alive")
_ALIVE = re.compile(
    rb'\s*(?::.*|[\["]?(?:%(ping)s)[\]"]?|\{\s*"type"\s*:\s*"(?:%(ping)s)"[^{}]*\})\s*'
    % {b"ping": "|".join(_PINGS).encode()},
    re.DOTALL | re.IGNORECASE,
)


class SseEvent(NamedTuple):
    """One event.

    Args:
        data: its data in UTF-8, lines joined by a line feed; b"" where it has none.
        name: its type, as the field `event` gives it; "error" for a field of that name; "" where there is neither.
        is_comment: whether it is a comment or a ping, which says no more than that the server is there.
    """

    data: bytes
    name: str = ""
    is_comment: bool = False


_COMMENT = SseEvent(b"", "", True)


class SseReader:
    """Cuts the bytes of a stream into events, wherever the pieces end.

    Args:
        most_bytes: the most that one event may have.
    """

    def __init__(self, most_bytes: int = MOST_EVENT_BYTES) -> None:
        self._most = most_bytes
        self._size = 0  # of the data of the event that has not ended
        self._line: list[bytes] = []  # the pieces of the line that has not ended
        self._line_size = 0
        self._data: list[bytes] = []
        self._name = ""
        self._bare = False  # whether the event is JSON that is not a field
        self._first = True
        self._after_cr = False  # the line feed that may follow belongs to the line end before it

    def feed(self, data: bytes) -> list[SseEvent]:
        """Take the next bytes, and return the events that they complete.

        Raises:
            MalformedResponse: an event is longer than it may be.
        """
        if self._after_cr and data:
            self._after_cr = False
            if data[:1] == b"\n":
                data = data[1:]
        if not data:
            return []
        lines = data.splitlines(True)  # of bytes: at CR, LF and CRLF alone
        last = lines.pop() if lines[-1][-1:] not in (b"\n", b"\r") else b""
        self._after_cr = not last and data[-1:] == b"\r"
        events: list[SseEvent] = []
        for line in lines:
            if self._line:
                line = b"".join([*self._line, line])
                self._line, self._line_size = [], 0
            self._take(line.rstrip(b"\r\n"), events)
        if last:
            self._line.append(last)
            self._line_size += len(last)
            self._check()
        return events

    def end(self) -> SseEvent | None:
        """Return the last event if it has no blank line; it may be cut; None where there is nothing."""
        events: list[SseEvent] = []
        if self._line:
            line, self._line = b"".join(self._line), []
            self._take(line, events)
        self._take(b"", events)
        return next((event for event in events if not event.is_comment), None)

    def _take(self, line: bytes, events: list[SseEvent]) -> None:
        if self._first:
            line, self._first = line.removeprefix(_BOM), False
        if not line:
            if self._data or self._name:
                events.append(_event(b"\n".join(self._data), self._name))
            self._data, self._name, self._size, self._bare = [], "", 0, False
            return
        field, colon, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if self._bare and field in (b"data", b"event"):
            self._take(b"", events)  # the JSON has ended without a blank line
        elif self._bare or (not self._data and line[:1] in (b"{", b"[")):
            self._bare, field, value = True, b"data", line
        if field in (b"data", b"error"):
            self._data.append(value)
            self._size += len(value)
            self._check()
        if field == b"event":
            self._name = value.decode("utf-8", "replace")
        elif field == b"error":
            self._name = "error"
        elif colon and not field:
            events.append(_COMMENT)

    def _check(self) -> None:
        if self._size + self._line_size > self._most:
            raise MalformedResponse(f"expected events of at most {self._most:,} bytes, found a longer one")


def _event(data: bytes, name: str) -> SseEvent:
    if name.lower() in _PINGS or _ALIVE.fullmatch(data) or not (name or data.strip()):
        return _COMMENT
    return SseEvent(data if data.isascii() else data.decode("utf-8", "replace").encode(), name)
