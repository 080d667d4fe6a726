"""Cuts a stream's bytes into events, and assembles the message from them.

No SDK is imported and nothing is sent or read here. The SDK's own reader skips events that it cannot read or does not
know, with a line in a log: text would be lost, and an error would look like a short answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from understudy import (
    Finish,
    Request,
    ResponseWarning,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from understudy.errors import MalformedResponse
from understudy.response import Heartbeat
from understudy_cohere.failures import PROVIDER, error_in, failure_of_reply, request_id_of
from understudy_cohere.wire import WRONG_SHAPE, Json, checked_text, own_name, response_of, usage_of
from understudy_toolkit.bodies import excerpt, read_json, text_of
from understudy_toolkit.broken import BrokenPieces
from understudy_toolkit.sse import SseEvent, SseReader
from understudy_toolkit.tool_calls import CallNames

_DONE = b"[DONE]"  # what closes a stream besides message-end, and says nothing more
_ALIVE = Heartbeat()


_COMMENT: Json = {"type": "comment"}  # no event of the API's; it shows that the server is at work, as unknown ones do


class EventReader:
    """Cuts the bytes of a stream into the JSON of its events."""

    def __init__(self) -> None:
        self._events = SseReader()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take the next bytes, and yield the events that they complete; a failure for one that is not JSON."""
        for event in self._events.feed(data):
            yield from _parsed(event)

    def end(self) -> Iterator[Any]:
        """Yield what is at the end without its blank line, if it is complete."""
        last = self._events.end()
        if last is not None:  # where it was cut, finish() says so
            yield from (event for event in _parsed(last) if not isinstance(event, MalformedResponse))


class StreamReader:
    """Assembles a stream's events into the message that they make up, and yields each piece as it comes.

    Args:
        headers: the reply's headers.
        request: what was asked.
        model: who was asked.
        warnings: what the request was sent without.
    """

    def __init__(
        self, headers: Mapping[str, str], request: Request, model: str, warnings: Sequence[ResponseWarning] = ()
    ) -> None:
        self._headers, self._request, self._model, self._warnings = headers, request, model, warnings
        self._events = EventReader()
        self._start: Json = {}
        self._end: Json | None = None
        self._blocks: dict[tuple[int, str], list[str]] = {}  # by place and kind: its pieces
        self._plan: list[str] = []
        self._calls: list[tuple[int, str, str, list[str]]] = []  # of each: its place, id, name, and its pieces
        self._place: dict[int, int] = {}  # of the latest call with an index
        self._citations: list[Any] = []
        self._names = CallNames(request)
        self._broken = BrokenPieces()
        self._given = False  # whether the caller holds text, or a call
        self._readers: Mapping[str, Callable[[Json], Iterator[StreamEvent]]] = {
            "message-start": self._read_start,
            "content-start": self._read_content,
            "content-delta": self._read_content,
            "tool-plan-delta": self._read_plan,
            "tool-call-start": self._read_call_start,
            "tool-call-delta": self._read_call,
            "citation-start": self._read_citation,
            "message-end": self._read_end,
        }

    @property
    def ended(self) -> bool:
        """Whether the end marker has come."""
        return self._end is not None

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """Take the next bytes of the stream.

        Raises:
            Failure: as `feed`.
        """
        for event in self._events.feed(data):
            yield from self.feed(event)

    def feed(self, event: Any) -> list[StreamEvent]:
        """Take the next event; one with nothing for the caller (the start of a message, say) is a heartbeat.

        So are unknown kinds of events, which are ignored otherwise.

        Raises:
            Failure: the event is an error.
            MalformedResponse: it does not have the shape that the API promises.
        """
        if isinstance(event, MalformedResponse):
            if not self._given:
                raise event  # another can take over, unnoticed
            self._broken.add(event)
            return [_ALIVE]
        try:
            kind = event.get("type")
            if kind == "error" or (kind is None and text_of((error_in(event) or {}).get("message"))):
                raise failure_of_reply(200, self._headers, event)
            read = self._readers.get(kind)
            told = list(read(event)) if read is not None else []
            self._given = self._given or any(map(_is_given, told))
            self._broken.count(len(told))
            return told if told or self._end is not None else [_ALIVE]
        except WRONG_SHAPE as error:
            raise MalformedResponse(
                f"expected an event of a message, found {excerpt(event)} ({type(error).__name__}: {error})",
                provider=PROVIDER,
            ) from error

    def end(self) -> Iterator[StreamEvent]:
        """Take the end of the stream; Finish is the last event.

        Raises:
            Failure: as `finish`.
        """
        for event in self._events.end():
            yield from self.feed(event)
        yield self.finish()

    def finish(self) -> Finish:
        """Return the whole answer, once there are no more bytes.

        Raises:
            StreamInterrupted: the end marker never came.
            MalformedResponse: an event could not be read, and nothing proves that none of the answer was in it.
            Failure: as `response_of`.
        """
        if self._end is None and self._broken.failure is not None:
            raise self._broken.failure
        if self._end is None or self._end.get("finish_reason") is None:
            raise StreamInterrupted(
                "the stream ended without message-end and a finish_reason",
                partial="".join("".join(pieces) for (_, kind), pieces in self._blocks.items() if kind == "text"),
                provider=PROVIDER,
                request_id=request_id_of(self._headers, self._start),
            )
        content = [{"type": kind, kind: "".join(pieces)} for (_, kind), pieces in self._blocks.items()]
        calls = [
            {"id": id_, "function": {"name": name, "arguments": "".join(pieces)}}
            for _, id_, name, pieces in self._calls
        ]
        message = {"content": content, "tool_plan": "".join(self._plan), "tool_calls": calls}
        body = {**self._start, **self._end, "message": {**message, "citations": self._citations}}
        warnings = (*self._warnings, *self._broken.judge(usage_of(self._end.get("usage"))))
        told = self._headers, self._request, self._model, warnings
        return Finish(response_of(body, *told, given=self._given and not self._request.whole))

    def _read_start(self, event: Json) -> Iterator[StreamEvent]:
        told = event.get("id")
        if self._start and (self._blocks or self._calls) and told != self._start.get("id"):
            raise ValueError("another message began before the end of the first")
        self._start = {"id": told}
        yield from ()

    def _read_content(self, event: Json) -> Iterator[StreamEvent]:
        """Read the start of a block, or its next piece, which says its kind by its only field."""
        content = event["delta"]["message"]["content"]
        for kind, told in (("text", TextDelta), ("thinking", ThinkingDelta)):
            piece = content.get(kind)
            if piece is not None:
                self._blocks.setdefault((event["index"], kind), []).append(checked_text(piece))
                if piece:
                    yield told(piece)

    def _read_plan(self, event: Json) -> Iterator[StreamEvent]:
        piece = checked_text(event["delta"]["message"]["tool_plan"])
        self._plan.append(piece)
        if piece:
            yield ThinkingDelta(piece)

    def _read_call_start(self, event: Json) -> Iterator[StreamEvent]:
        call = event["delta"]["message"]["tool_calls"]
        sent = checked_text(call["function"]["name"])
        id_ = self._names(call.get("id"), sent)
        self._calls.append((len(self._calls), id_, sent, []))
        self._place[event["index"]] = len(self._calls) - 1
        yield from self._continue_call(event["index"], _text_of(call["function"].get("arguments")), always=True)

    def _read_call(self, event: Json) -> Iterator[StreamEvent]:
        arguments = event["delta"]["message"]["tool_calls"]["function"]["arguments"]
        yield from self._continue_call(event["index"], _text_of(arguments))

    def _continue_call(self, index: int, piece: str, *, always: bool = False) -> Iterator[StreamEvent]:
        place, id_, name, pieces = self._calls[self._place[index]]
        pieces.append(piece)
        if piece or always:
            yield ToolCallDelta(place, id_, own_name(name, self._request), piece)

    def _read_citation(self, event: Json) -> Iterator[StreamEvent]:
        self._citations.append(event["delta"]["message"]["citations"])
        yield from ()

    def _read_end(self, event: Json) -> Iterator[StreamEvent]:
        self._end = dict(event["delta"])
        yield from ()


def _text_of(arguments: Any) -> str:
    """Return a piece of a call's arguments; one that is a whole object already is written as the API writes it."""
    return json.dumps(arguments) if isinstance(arguments, Mapping) else checked_text(arguments or "")


def _is_given(event: StreamEvent) -> bool:
    return isinstance(event, ToolCallDelta) or (isinstance(event, TextDelta) and bool(event.text.strip()))


def _parsed(event: SseEvent) -> Iterator[Any]:
    data = event.data.strip()
    if event.is_comment or not data:
        yield _COMMENT
    elif data != _DONE:
        try:
            document = read_json(data)
        except ValueError:
            document = _unreadable(event.name, data.decode())
        yield document


def _unreadable(name: str, data: str) -> Any:
    if name == "error":
        return {"type": "error", "message": data}
    return MalformedResponse(f"expected an event in JSON, found {excerpt(data)}", provider=PROVIDER)
