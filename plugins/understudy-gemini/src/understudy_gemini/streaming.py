"""Gemini's streams: bytes to the JSON of their events, and events to ours. No SDK, no I/O."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from understudy import (
    Finish,
    Heartbeat,
    MalformedResponse,
    Request,
    ResponseWarning,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from understudy_gemini.failures import error_of, failure_of_reply, unreadable
from understudy_gemini.options import FAMILY
from understudy_gemini.wire import CallNames, checked_call, raw_parts, read_json, response_of

_ALIVE = Heartbeat()


class EventReader:
    """Cuts the bytes of a stream into the JSON of its events.

    What comes without "data:" is no event: an error in plain JSON, a JSON array where somebody on the way dropped
    `alt=sse`, a page of HTML. It is kept and read at the end.
    """

    def __init__(self) -> None:
        self._line: list[bytes] = []  # the pieces of the line that has not ended
        self._data: list[bytes] = []  # the lines of the event that has not ended
        self._other: list[bytes] = []

    def feed(self, data: bytes) -> list[Any]:
        """Take the next bytes, and return the events that they complete.

        Raises:
            MalformedResponse: an event is not JSON.
        """
        first, *rest = data.split(b"\n")  # never at U+2028 and its like, which may stand inside JSON
        self._line.append(first)
        events = []
        for piece in rest:
            line = b"".join(self._line).rstrip(b"\r")
            self._line = [piece]
            if line.startswith(b"data:"):
                self._data.append(line[5:])
            elif line:
                self._other.append(line)
            elif self._data:
                events.append(read_json(b"\n".join(self._data)))
                self._data = []
        return events

    def end(self) -> list[Any]:
        """Return the events that are left when the stream has ended.

        Raises:
            MalformedResponse: the stream was neither events nor JSON.
        """
        try:
            events = self.feed(b"\n\n")
        except MalformedResponse:
            events = []  # the last event was cut: whether the answer is whole, its finish reason tells
        other = b"\n".join(self._other)
        if not other.strip() or _is_field(other):
            return events
        document = read_json(other)
        return events + (document if isinstance(document, list) and error_of(document) is None else [document])


def _is_field(other: bytes) -> bool:
    """Whether the lines besides the data are the other fields of an event stream."""
    return all(line.startswith((b":", b"event:", b"id:", b"retry:")) for line in other.split(b"\n"))


class StreamReader:
    """Reads a stream: what each chunk adds, and in the end the whole answer, by the way that a whole reply is read.

    Args:
        headers: the reply's headers.
        request: what was asked.
        warnings: what the request was sent without.
        provider: who was asked.
        model: the model that was asked.
        adaptation: how the answer may come after all where thinking used up its tokens; None where nothing helps.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        request: Request,
        warnings: tuple[ResponseWarning, ...] = (),
        *,
        provider: str = FAMILY,
        model: str | None = None,
        adaptation: str | None = None,
    ) -> None:
        self._headers, self._request, self._warnings = headers, request, warnings
        self._provider, self._model, self._adaptation = provider, model, adaptation
        self._events = EventReader()
        self._name = CallNames(request)
        self._calls = 0
        self._given = False  # whether the caller holds a piece of the answer
        self._body: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []
        self._pieces: list[str] = []  # the text of the last part, where it has any

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """Take the next bytes of the stream.

        Raises:
            Failure: an event in them is an error, or not what the API promises.
        """
        for chunk in self._events.feed(data):
            yield from self.feed(chunk)

    def end(self) -> Iterator[StreamEvent]:
        """Take the end of the stream: what is left of it, and Finish.

        Raises:
            StreamInterrupted: the stream broke off.
            Failure: the answer is a refusal, or empty, or what came was no stream.
        """
        for chunk in self._events.end():
            yield from self.feed(chunk)
        yield self.finish()

    @property
    def text(self) -> str:
        """The text that has come so far."""
        self._join()
        texts = (part["text"] for part in self._parts if not part.get("thought") and isinstance(part.get("text"), str))
        return "".join(texts)

    def feed(self, chunk: Any) -> list[StreamEvent]:
        """Take one chunk of the stream; one that brings nothing to the caller (a signature alone, say) is a heartbeat.

        Raises:
            Failure: the chunk is an error, or not what the API promises.
        """
        if error_of(chunk) is not None:
            raise failure_of_reply(200, self._headers, chunk)
        if not isinstance(chunk, Mapping) or not chunk:
            raise unreadable(json.dumps(chunk), "an event of a stream")
        self._body |= {name: value for name, value in chunk.items() if name != "candidates"}
        candidates = chunk.get("candidates")
        if not isinstance(candidates, list) or not candidates or not isinstance(candidates[0], Mapping):
            return [_ALIVE]
        self._candidate |= {name: value for name, value in candidates[0].items() if name != "content"}
        events = [event for part in raw_parts(candidates[0]) if (event := self._take(part)) is not None]
        self._given = self._given or bool(events)
        return events or [_ALIVE]

    def finish(self) -> Finish:
        """End the stream.

        Raises:
            StreamInterrupted: no reason why the model stopped has come: the stream broke off.
            Failure: the answer is a refusal, or empty.
        """
        feedback = self._body.get("promptFeedback")
        refused = isinstance(feedback, Mapping) and feedback.get("blockReason")
        text = self.text
        if "finishReason" not in self._candidate and not refused:
            message = f"the stream ended without a finish reason, after {len(text)} characters"
            raise StreamInterrupted(message, partial=text)
        body = dict(self._body)
        if self._candidate:
            body["candidates"] = [{**self._candidate, "content": {"parts": self._parts}}]
        response = response_of(
            *(body, self._headers, self._request, self._warnings),
            provider=self._provider,
            model=self._model,
            adaptation=self._adaptation,
            given=self._given and not self._request.whole,
        )
        return Finish(response)

    def _take(self, part: Mapping[str, Any]) -> StreamEvent | None:
        self._add(dict(part))
        if "functionCall" in part:
            call = checked_call(part["functionCall"])
            self._calls += 1
            arguments = json.dumps(call.get("args") or {}, ensure_ascii=False)
            return ToolCallDelta(self._calls - 1, self._name(call), call["name"], arguments)
        text = part.get("text")
        if not isinstance(text, str) or not text:
            return None
        return ThinkingDelta(text) if part.get("thought") else TextDelta(text)

    def _add(self, part: dict[str, Any]) -> None:
        """Put a part to the others; text goes on from the text before it, unless one of them is signed."""
        last = self._parts[-1] if self._parts else {}
        if _is_plain(part) and _is_plain(last) and part.get("thought") == last.get("thought"):
            self._pieces.append(part["text"])
            return
        self._join()
        self._parts.append(part)
        self._pieces = [part["text"]] if isinstance(part.get("text"), str) else []

    def _join(self) -> None:
        if self._pieces:
            self._parts[-1]["text"] = "".join(self._pieces)
            self._pieces = [self._parts[-1]["text"]]


def _is_plain(part: Mapping[str, Any]) -> bool:
    return part.keys() <= {"text", "thought"} and isinstance(part.get("text"), str)
