"""Assembles the chunks of Gemini's streams into the answer, and yields each piece as it comes.

How chunks are cut from bytes is the providers' own: one vendor's JSON comes as events, or as the elements of an array.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from understudy import (
    Finish,
    LLMResponse,
    ResponseWarning,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from understudy.errors import MalformedResponse
from understudy.response import Heartbeat
from understudy_gemini_wire.failures import error_of, failure_of_reply, unreadable
from understudy_gemini_wire.wire import Asked, candidate_of, checked_call, raw_parts, response_of, usage_of
from understudy_toolkit.bodies import text_of
from understudy_toolkit.tool_calls import CallNames, new_seed

__all__ = ["Chunks", "StreamReader", "response_of_document"]

_ALIVE = Heartbeat()
_UNSAID = "FINISH_REASON_UNSPECIFIED"  # what a relay that knows the API's types has where nothing is said yet


class Chunks(Protocol):
    """Cuts the bytes of a stream into the JSON of its chunks; a failure stands for one that is none."""

    def feed(self, data: bytes, /) -> Iterable[Any]:
        """Take the next bytes, and return the chunks that they complete."""
        ...

    def end(self) -> Iterable[Any]:
        """Return the chunks that are left when the stream has ended."""
        ...


def response_of_document(document: Any, headers: Mapping[str, str], asked: Asked) -> LLMResponse:
    """Read a reply that is to be whole, and may come as the list of a stream's chunks.

    Raises:
        Failure: as `response_of`.
    """
    if not isinstance(document, list) or not document or error_of(document) is not None:
        return response_of(document, headers, asked)
    reader = StreamReader(_NoChunks(), headers, asked)
    for chunk in document:
        reader.feed(chunk)
    return reader.finish().response


class _NoChunks:
    """A stream whose chunks are there already."""

    def feed(self, data: bytes, /) -> Iterable[Any]:
        return ()

    def end(self) -> Iterable[Any]:
        return ()


class StreamReader:
    """Reads a stream: what each chunk adds, and in the end the whole answer, by the way that a whole reply is read.

    A chunk that is not JSON is an error, unless nothing can have been in it: with the finish reason and the tokens told
    before it, or with no token more at the end than there were before it. Then the answer has a warning.

    Args:
        chunks: cuts the stream's bytes.
        headers: the reply's headers.
        asked: how the request was sent.
    """

    def __init__(self, chunks: Chunks, headers: Mapping[str, str], asked: Asked) -> None:
        self._chunks, self._headers, self._asked = chunks, headers, asked
        self._name = CallNames(asked.request, new_seed())
        self._calls = 0
        self._hollow = False  # whether a chunk had nothing in it
        self._fault: MalformedResponse | None = None  # of a chunk that was not JSON
        self._tokens: int | None = None  # that were written before it
        self._given = False  # whether the caller holds a piece of the answer
        self._body: dict[str, Any] = {}
        self._candidate: dict[str, Any] = {}
        self._parts: list[dict[str, Any]] = []
        self._pieces: list[str] = []  # the text of the last part, where it has any

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """Take the next bytes of the stream.

        Raises:
            Failure: a chunk in them is an error, or not what the API promises.
        """
        for chunk in self._chunks.feed(data):
            yield from self.feed(chunk)

    def end(self) -> Iterator[StreamEvent]:
        """Take the end of the stream: what is left of it, and Finish.

        Raises:
            StreamInterrupted: the stream broke off.
            Failure: the answer is a refusal, or empty, or what came was not a stream.
        """
        for chunk in self._chunks.end():
            yield from self.feed(chunk)
        yield self.finish()

    @property
    def ended(self) -> bool:
        """Whether the reason why the model stopped has come: it comes last."""
        return text_of(self._candidate.get("finishReason")) is not None

    @property
    def text(self) -> str:
        """The text that has come so far."""
        self._join()
        texts = (part["text"] for part in self._parts if not part.get("thought") and isinstance(part.get("text"), str))
        return "".join(texts)

    def feed(self, chunk: Any) -> list[StreamEvent]:
        """Take one chunk of the stream; one with nothing for the caller (a signature alone, say) is a heartbeat.

        Raises:
            Failure: the chunk is an error, or not what the API promises.
        """
        if isinstance(chunk, MalformedResponse):
            return self._doubt(chunk)
        if chunk is None or chunk == {} or chunk == []:
            self._hollow = self._hollow or chunk is not None
            return [_ALIVE]
        if isinstance(chunk, list):
            return [event for one in chunk if not isinstance(one, list) for event in self.feed(one)]
        if error_of(chunk) is not None:
            raise self._asked.mend(failure_of_reply(200, self._headers, chunk))
        if not isinstance(chunk, Mapping):
            return self._doubt(unreadable(chunk, "a chunk of a stream"))
        events = self._take_chunk(chunk)
        if events and self._fault is not None:
            raise self._fault  # what it held may belong before these
        self._given = self._given or bool(events)
        return events or [_ALIVE]

    def finish(self) -> Finish:
        """End the stream.

        Raises:
            StreamInterrupted: no reason why the model stopped has come: the stream broke off.
            Failure: the answer is a refusal, or empty, or a piece of it was lost.
        """
        feedback = self._body.get("promptFeedback")
        refused = isinstance(feedback, Mapping) and feedback.get("blockReason")
        text = self.text
        if not self.ended and not refused:
            if self._fault is not None:
                raise self._fault
            if self._hollow and not self._body and not self._candidate:
                raise unreadable("{}", "a stream of chunks")
            message = f"the stream ended without a finish reason, after {len(text)} characters"
            raise StreamInterrupted(message, partial=text)
        doubts: tuple[ResponseWarning, ...] = ()
        if self._fault is not None:
            if self._tokens != self._written():
                raise self._fault
            doubts = (ResponseWarning("stream", f"a piece of the stream was skipped: {self._fault.message}"),)
        body = dict(self._body)
        if self._candidate:
            body["candidates"] = [{**self._candidate, "content": {"parts": self._parts}}]
        given = self._given and not self._asked.request.whole
        names = self._name.again()
        return Finish(response_of(body, self._headers, self._asked, given=given, name=names, doubts=doubts))

    def _doubt(self, fault: MalformedResponse) -> list[StreamEvent]:
        if self._fault is None:
            self._fault, self._tokens = fault, self._written()
        if self._tokens is None:
            raise self._fault
        return [_ALIVE]

    def _written(self) -> int | None:
        usage = usage_of(self._body)
        return usage.output_tokens if usage is not None else None

    def _take_chunk(self, chunk: Mapping[str, Any]) -> list[StreamEvent]:
        told = {name: value for name, value in chunk.items() if name != "candidates" and value is not None}
        usage, more = self._body.get("usageMetadata"), told.get("usageMetadata")
        if isinstance(usage, Mapping):
            counts = more.items() if isinstance(more, Mapping) else ()
            told["usageMetadata"] = {**usage, **{name: count for name, count in counts if count is not None}}
        self._body |= told
        candidate = candidate_of(chunk, self._candidate.get("index", 0) if self._candidate else None)
        if candidate is None:
            return []
        known = [(name, value) for name, value in candidate.items() if name != "content" and value is not None]
        self._candidate |= {"index": 0, **{name: value for name, value in known if value != _UNSAID}}
        return [event for part in raw_parts(candidate) if (event := self._take(part)) is not None]

    def _take(self, part: Mapping[str, Any]) -> StreamEvent | None:
        self._add(dict(part))
        if part.get("functionCall") is not None:
            call = checked_call(part["functionCall"])
            self._calls += 1
            arguments = json.dumps(call["args"], ensure_ascii=False)
            return ToolCallDelta(self._calls - 1, self._name(call.get("id")), call["name"], arguments)
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
