"""Gemini's streams: bytes to the JSON of their chunks, and chunks to our events. No SDK, no I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from understudy import (
    Finish,
    Heartbeat,
    Request,
    ResponseWarning,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from understudy_gemini_legacy.failures import error_of, failure_of_reply, unreadable
from understudy_gemini_legacy.options import PROVIDER
from understudy_gemini_legacy.wire import CallNames, checked_call, raw_parts, read_json, response_of

_ALIVE = Heartbeat()
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

    def end(self) -> None:
        """Take the end of the stream; whether an answer is whole, its finish reason tells.

        Raises:
            MalformedResponse: the stream was no array.
        """
        outside = b"".join(self._outside)
        if outside.strip(b"[],\r\n\t "):
            raise unreadable(outside.decode("utf-8", "replace"), "a stream in JSON")

    def _shown(self, data: bytes) -> str:
        return b"".join([*self._element, data]).decode("utf-8", "replace")

    def _take(self) -> Any:
        self.end()  # nothing else stands before the element
        element = b"".join(self._element)
        self._element, self._outside = [], []
        return read_json(element)


def _split_backslashes(data: bytes) -> tuple[bytes, bytes]:
    end = len(data.rstrip(b"\\"))
    return data[:end], data[end:]


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
        provider: str = PROVIDER,
        model: str | None = None,
        adaptation: str | None = None,
    ) -> None:
        self._headers, self._request, self._warnings = headers, request, warnings
        self._provider, self._model, self._adaptation = provider, model, adaptation
        self._elements = ElementReader()
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
            Failure: a chunk in them is an error, or not what the API promises.
        """
        for chunk in self._elements.feed(data):
            yield from self.feed(chunk)

    def end(self) -> Iterator[StreamEvent]:
        """Take the end of the stream, and give Finish.

        Raises:
            StreamInterrupted: the stream broke off.
            Failure: the answer is a refusal, or empty, or what came was no stream.
        """
        self._elements.end()
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
