"""What passes between the server and a vendor: the request as it came, the reply as it will go. Stdlib only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: When everything here was made, in seconds since 1970 and as a string (the start of 2026): vendors have no clock here.
CREATED = 1_767_225_600
CREATED_AT = "2026-01-01T00:00:00Z"
#: Every reply of the sandbox carries this header, so that nobody takes it for the vendor's.
STAND_IN = ("x-understudy-sandbox", "stand-in")


@dataclass(frozen=True, slots=True, eq=False)
class RecordedRequest:
    """One request as it reached a stand-in.

    ``number`` counts from 1 since the last reset, ``headers`` has lower-case names, ``json`` is the parsed body (None
    when it is not JSON), ``at`` is ``time.monotonic()`` when it was fully read, ``stream`` tells whether it asked for
    a stream, ``fault`` is the fault it met, in text form. The representation shows no header and no query: they
    hold keys.
    """

    number: int
    method: str
    path: str
    query: Mapping[str, str] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    json: Any
    stream: bool
    at: float
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """One piece of a reply's body; ``delta`` marks content of a stream, ``beat`` a sign of life before the first."""

    data: bytes
    delta: bool = False
    beat: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply before it is played: the body is the frames joined."""

    status: int
    headers: tuple[tuple[str, str], ...]
    frames: tuple[Frame, ...]
    streamed: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(frame.data for frame in self.frames)


def compact(document: Any) -> str:
    """Write JSON as the vendors do: compact, and with characters beyond ASCII as themselves."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def spelled_out(arguments: Mapping[str, Any]) -> str:
    """Write a tool's arguments as a string, with the spaces at which a stream is cut."""
    return json.dumps(dict(arguments), ensure_ascii=False)


def json_reply(status: int, document: Any, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    """A plain reply whose body is one JSON document."""
    body = Frame(compact(document).encode())
    return Reply(status, (("content-type", "application/json"), STAND_IN, *headers), (body,))


def stream_reply(
    frames: Iterable[Frame], headers: Iterable[tuple[str, str]] = (), content_type: str = "text/event-stream"
) -> Reply:
    """A streamed reply with HTTP status 200."""
    return Reply(200, (("content-type", content_type), STAND_IN, *headers), tuple(frames), streamed=True)


def text_reply(status: int, text: str, headers: Iterable[tuple[str, str]] = ()) -> Reply:
    """A plain reply whose body is text and no JSON."""
    return Reply(status, (("content-type", "text/plain; charset=utf-8"), STAND_IN, *headers), (Frame(text.encode()),))


def empty_event() -> Reply:
    """A stream of one server-sent event with nothing in it."""
    return stream_reply([Frame(b"data: {}\n\n")])
