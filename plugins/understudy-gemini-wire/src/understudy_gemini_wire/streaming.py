"""The chunks of Gemini's streams, put together to the answer that they are, each piece told on the way.

How chunks are cut from bytes is the providers' own: one vendor's JSON comes as events, or as the elements of an array.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol

from understudy import Finish, StreamEvent, StreamInterrupted, TextDelta, ThinkingDelta, ToolCallDelta
from understudy.response import Heartbeat
from understudy_gemini_wire.failures import error_of, failure_of_reply, unreadable
from understudy_gemini_wire.wire import Asked, checked_call, raw_parts, response_of
from understudy_toolkit.tool_calls import CallNames

__all__ = ["Chunks", "StreamReader"]

_ALIVE = Heartbeat()


class Chunks(Protocol):
    """Cuts the bytes of a stream into the JSON of its chunks."""

    def feed(self, data: bytes, /) -> Iterable[Any]:
        """Take the next bytes, and return the chunks that they complete."""
        ...

    def end(self) -> Iterable[Any]:
        """Return the chunks that are left when the stream has ended."""
        ...


class StreamReader:
    """Reads a stream: what each chunk adds, and in the end the whole answer, by the way that a whole reply is read.

    Args:
        chunks: cuts the stream's bytes.
        headers: the reply's headers.
        asked: how the request was sent.
    """

    def __init__(self, chunks: Chunks, headers: Mapping[str, str], asked: Asked) -> None:
        self._chunks, self._headers, self._asked = chunks, headers, asked
        self._name = CallNames(asked.request)
        self._calls = 0
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
            Failure: the answer is a refusal, or empty, or what came was no stream.
        """
        for chunk in self._chunks.end():
            yield from self.feed(chunk)
        yield self.finish()

    @property
    def ended(self) -> bool:
        """Whether the reason why the model stopped has come: it comes last."""
        return "finishReason" in self._candidate

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
            raise unreadable(json.dumps(chunk), "a chunk of a stream")
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
        given = self._given and not self._asked.request.whole
        return Finish(response_of(body, self._headers, self._asked, given=given))

    def _take(self, part: Mapping[str, Any]) -> StreamEvent | None:
        self._add(dict(part))
        if "functionCall" in part:
            call = checked_call(part["functionCall"])
            self._calls += 1
            arguments = json.dumps(call.get("args") or {}, ensure_ascii=False)
            return ToolCallDelta(self._calls - 1, self._name(call.get("id"), call["name"]), call["name"], arguments)
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
