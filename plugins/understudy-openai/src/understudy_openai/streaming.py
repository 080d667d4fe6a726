"""A stream's chunks put together to the completion that they are about, each piece told on the way.

No SDK is imported and nothing is sent or read here. The Responses API's events are in streaming_responses.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

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
from understudy_openai.failures import error_in, failure_of_reply, request_id_of
from understudy_openai.models import Endpoint
from understudy_openai.shared import WRONG_SHAPE, Json
from understudy_openai.stops import StopFilter
from understudy_openai.wire import CALL_FIELDS, THINKING_FIELDS, pieces_of, response_of
from understudy_toolkit.bodies import excerpt, read_json
from understudy_toolkit.sse import SseEvent, SseReader

DONE = "[DONE]"
ALIVE = Heartbeat()


class Events(Protocol):
    """Puts the events of one API's streams together: a StreamReader."""

    @property
    def ended(self) -> bool:
        """Whether the end marker has come."""
        ...

    def feed(self, event: str, data: str, /) -> list[StreamEvent]:
        """Take the next event."""
        ...

    def finish(self) -> Finish:
        """Return the whole answer."""
        ...


class EventReader:
    """Cuts the bytes of a stream into events, and has a reader put them together.

    Args:
        reader: of one of the two APIs.
        endpoint: who was asked.
    """

    def __init__(self, reader: Events, endpoint: Endpoint) -> None:
        self._reader, self._endpoint = reader, endpoint
        self._events = SseReader()

    @property
    def ended(self) -> bool:
        """Whether the end marker has come: nothing that happens afterwards takes anything away."""
        return self._reader.ended

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """Take the next bytes; a comment (": keepalive"), which some servers send, is a heartbeat.

        Raises:
            Failure: as `feed` of the reader.
            MalformedResponse: they are no text.
        """
        for event in self._events.feed(data):
            yield from self._fed(event)

    def end(self) -> Iterator[StreamEvent]:
        """Take the end of the stream; Finish is the last event.

        Raises:
            Failure: as `finish` of the reader.
        """
        last = self._events.end()
        if last is not None:
            with suppress(MalformedResponse):  # it was cut: finish() says so
                yield from self._fed(last)
        yield self._reader.finish()

    def _fed(self, event: SseEvent) -> list[StreamEvent]:
        if not event.data:
            return [ALIVE]
        try:
            return self._reader.feed(event.name, event.data.decode())
        except UnicodeDecodeError as error:
            fault = error.reason
        raise MalformedResponse(f"expected UTF-8, found other bytes: {fault}", provider=self._endpoint.name)


class StreamReader:
    """Puts a stream's chunks together to the completion that it is about, and tells each piece on the way.

    Args:
        headers: the reply's headers.
        request: what was asked, and of which model.
        endpoint: who was asked.
        warnings: what the request was sent without.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        request: Request,
        endpoint: Endpoint,
        warnings: Sequence[ResponseWarning] = (),
    ) -> None:
        self._headers, self._request, self._endpoint, self._warnings = headers, request, endpoint, warnings
        self._body: Json = {}
        self._message: Json = {}
        self._content: list[Json] = []
        self._calls: list[Json] = []
        self._call_of: dict[Any, int] = {}
        self._finish_reason: str | None = None
        self._stops = StopFilter(request.stop)
        self._done = False

    @property
    def ended(self) -> bool:
        """Whether the end marker has come: nothing that happens afterwards takes anything away."""
        return self._done

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """Take the next event; what is not known in a chunk is passed over.

        A chunk that brings nothing to the caller is a heartbeat.

        Args:
            event: the event's name; chunks have none of their own.
            data: its data.

        Raises:
            Failure: it is an error.
            MalformedResponse: it has not the shape that the API promises.
        """
        if data.startswith(DONE):
            self._done = True
            return self._shown(())
        chunk = parse_event(data, self._endpoint)
        try:
            if chunk.get("error") or event == "error" or chunk.get("object") == "error":
                raise failure_of_reply(self._endpoint.name, 200, self._headers, error_of(chunk))
            return self._shown(self._read(chunk)) or [ALIVE]
        except WRONG_SHAPE as error:
            raise unexpected_event(chunk, error, self._endpoint) from error

    def finish(self) -> Finish:
        """Return the whole answer, once there are no more chunks.

        Raises:
            StreamInterrupted: the end never came: OpenAI says both why the model stopped and that this was all;
                compatible servers say one of them at least.
            Failure: as `response_of`.
        """
        said = (self._finish_reason is not None, self._done)
        if not (all(said) if self._endpoint.is_openai else any(said)):
            raise interrupted("a finish_reason and [DONE]", self._stops.text, self._headers, self._endpoint)
        message = {**self._message, "content": self._content, "tool_calls": self._calls}
        choice = {"message": message, "finish_reason": self._finish_reason or "unknown"}
        body = {**self._body, "choices": [choice]}
        told = self._headers, self._request, self._endpoint, self._warnings
        return Finish(response_of(body, *told, given=self._stops.given and not self._request.whole))

    def _shown(self, events: Iterable[StreamEvent]) -> list[StreamEvent]:
        told = list(events)  # reading them may end the answer
        return self._stops.shown(told, ended=self._done or self._finish_reason is not None)

    def _read(self, chunk: Json) -> Iterator[StreamEvent]:
        self._body |= {name: value for name, value in chunk.items() if value is not None and name != "choices"}
        for choice in chunk.get("choices") or ():
            if choice.get("index", 0) == 0:  # others were asked for by options alone
                yield from self._read_delta(choice.get("delta") or {})
                self._finish_reason = choice.get("finish_reason") or self._finish_reason

    def _read_delta(self, delta: Json) -> Iterator[StreamEvent]:
        for name in THINKING_FIELDS:
            if isinstance(delta.get(name), str) and delta[name]:
                yield self._thought(name, delta[name])
                break
        for is_thinking, text in pieces_of(delta.get("content")):
            if text and is_thinking:
                self._content.append({"type": "thinking", "thinking": text})
                yield ThinkingDelta(text)
            elif text:
                self._content.append({"type": "text", "text": text})
                yield TextDelta(text)
        if delta.get("refusal"):
            self._message["refusal"] = self._message.get("refusal", "") + delta["refusal"]
        if delta.get("annotations"):
            self._message["annotations"] = [*self._message.get("annotations", ()), *delta["annotations"]]
        for piece in delta.get("tool_calls") or ():
            yield from self._read_call(piece)

    def _thought(self, name: str, text: str) -> ThinkingDelta:
        self._message[name] = self._message.get(name, "") + text
        return ThinkingDelta(text)

    def _read_call(self, piece: Json) -> Iterator[StreamEvent]:
        function, known = piece.get("function") or {}, len(self._calls)
        position = self._position(piece)
        begins = len(self._calls) > known
        call = self._calls[position]
        call["function"]["name"] = call["function"]["name"] or function.get("name") or ""
        arguments = function.get("arguments") or ""
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments)  # some compatible servers parse them
        call["function"]["arguments"] += arguments
        call |= {name: value for name, value in piece.items() if name not in CALL_FIELDS and value is not None}
        if arguments or begins:
            yield ToolCallDelta(position, call["id"], call["function"]["name"], arguments)

    def _position(self, piece: Json) -> int:
        """Return which call a piece belongs to; some compatible servers give several calls one index, or none."""
        key, call_id = piece.get("index"), piece.get("id")
        position = self._call_of.get(key)
        if position is None or (call_id and call_id != self._calls[position]["id"]):
            position = self._call_of[key] = len(self._calls)
            call_id = call_id or f"{self._body.get('id') or 'call'}-{position}"
            self._calls.append({"id": call_id, "function": {"name": "", "arguments": ""}})
        return position


def parse_event(data: str, endpoint: Endpoint) -> Json:
    """Return an event's data, parsed.

    Raises:
        MalformedResponse: it is no JSON object.
    """
    try:
        parsed = read_json(data)
    except ValueError as error:
        raise unexpected_event(data, error, endpoint) from error
    if not isinstance(parsed, dict):
        raise MalformedResponse(f"expected an event with a JSON object, found {excerpt(data)}", provider=endpoint.name)
    return parsed


def error_of(event: Json) -> Json:
    """Return an event that is an error in a form that is one without doubt."""
    return event if error_in(event) else {"error": {"message": excerpt(event)}}


def unexpected_event(event: Any, error: Exception, endpoint: Endpoint) -> MalformedResponse:
    """Return the failure that an event of another shape is."""
    return MalformedResponse(
        f"expected an event of an answer, found {excerpt(event)} ({type(error).__name__}: {error})",
        provider=endpoint.name,
    )


def interrupted(marker: str, text: str, headers: Mapping[str, str], endpoint: Endpoint) -> StreamInterrupted:
    """Return the failure of a stream that ended without its end marker."""
    return StreamInterrupted(
        f"the stream ended without {marker}",
        partial=text,
        provider=endpoint.name,
        request_id=request_id_of({name.lower(): value for name, value in headers.items()}),
    )
