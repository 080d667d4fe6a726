"""A stream's bytes cut into events, and the events put together to the message that they are about.

No SDK is imported and nothing is sent or read here. The SDK's own reader keeps the vendor's pings to itself, and with
them the difference between a model that thinks and one that is gone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from understudy import (
    Finish,
    Heartbeat,
    MalformedResponse,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from understudy_claude.failures import PROVIDER, failure_of_reply
from understudy_claude.history import Json
from understudy_claude.wire import WRONG_SHAPE, Asked, Overlap, excerpt, response_of

_ALIVE = Heartbeat()


class EventReader:
    """Cuts the bytes of a stream into the JSON of its events, each with its type.

    Args:
        headers: the reply's headers.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._line: list[bytes] = []  # the pieces of the line that has not ended
        self._data: list[bytes] = []  # the lines of the event that has not ended
        self._name = b""

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take the next bytes, and yield the events that they complete.

        Raises:
            Failure: an event named error is not JSON.
            MalformedResponse: another one is not.
        """
        first, *rest = data.split(b"\n")  # never at U+2028 and its like, which may stand inside JSON
        self._line.append(first)
        for piece in rest:
            line = b"".join(self._line).removesuffix(b"\r")
            self._line = [piece]
            if line.startswith(b"data:"):
                self._data.append(line[5:].strip())
            elif line.startswith(b"event:"):
                self._name = line[6:].strip()
            elif not line:
                event, name = b"\n".join(self._data), self._name
                self._data, self._name = [], b""
                if event or name:
                    yield from self._event(event or b"{}", name.decode("utf-8", "replace"))

    def _event(self, data: bytes, name: str) -> Iterator[Any]:
        try:
            event = json.loads(data)
        except ValueError:  # or UnicodeDecodeError, which is one
            if name == "error":
                raise failure_of_reply(200, self._headers, data) from None
            found = excerpt(data.decode("utf-8", "replace"))
            raise MalformedResponse(f"expected an event in JSON, found {found}", provider=PROVIDER) from None
        if isinstance(event, Mapping) and "type" not in event:
            if name:  # what has no type at all says nothing
                yield {**event, "type": name}
        else:
            yield event


class StreamReader:
    """Puts a stream's events together to the message that it is about, and tells each piece on the way.

    Args:
        headers: the reply's headers.
        asked: how the request was sent.
    """

    def __init__(self, headers: Mapping[str, str], asked: Asked) -> None:
        self._headers, self._asked = headers, asked
        self._events = EventReader(headers)
        self._message: Json = {}
        self._blocks: dict[int, Json] = {}
        self._pieces: dict[int, list[str]] = {}
        self._tool_calls: dict[int, int] = {}
        self._text: list[str] = []
        self._new = Overlap(asked.request)
        self._ended = False
        self._readers: Mapping[str, Callable[[Json], Iterator[StreamEvent]]] = {
            "message_start": self._start,
            "content_block_start": self._start_block,
            "content_block_delta": self._continue_block,
            "message_delta": self._continue,
            "message_stop": self._stop,
            "error": self._fail,
        }

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """Take the next bytes of the stream.

        Raises:
            Failure: as `feed`.
        """
        for event in self._events.feed(data):
            yield from self.feed(event)

    def feed(self, event: Any) -> list[StreamEvent]:
        """Take the next event; what brings nothing to the caller (a ping, say) is a heartbeat.

        Kinds of events that are not known are passed over, as the API asks: they too show that it is at work.

        Raises:
            Failure: the event is an error.
            MalformedResponse: it has not the shape that the API promises.
        """
        try:
            read = self._readers.get(event["type"])
            told = list(read(event)) if read is not None else []
            return told if told or self._ended else [_ALIVE]
        except WRONG_SHAPE as error:
            raise MalformedResponse(
                f"expected an event of a message, found {excerpt(event)} ({type(error).__name__}: {error})",
                provider=PROVIDER,
            ) from error

    def finish(self) -> Finish:
        """Return the whole answer, once there are no more events.

        Raises:
            StreamInterrupted: the end marker never came.
            Failure: as `response_of`.
        """
        if not self._ended or self._message.get("stop_reason") is None:
            raise StreamInterrupted(
                "the stream ended without message_stop and a stop_reason",
                partial="".join(self._text),
                provider=PROVIDER,
                request_id=self._headers.get("request-id"),
            )
        content = [self._block(index) for index in sorted(self._blocks)]
        given = bool(self._text or self._tool_calls) and not self._asked.request.whole
        return Finish(response_of({**self._message, "content": content}, self._headers, self._asked, given=given))

    def _start(self, event: Json) -> Iterator[StreamEvent]:
        self._message = dict(event["message"])
        yield from ()

    def _start_block(self, event: Json) -> Iterator[StreamEvent]:
        index, block = event["index"], dict(event["content_block"])
        self._blocks[index], self._pieces[index] = block, []
        if block["type"] == "tool_use":
            self._tool_calls[index] = len(self._tool_calls)
            yield ToolCallDelta(self._tool_calls[index], block["id"], block["name"], "")

    def _continue_block(self, event: Json) -> Iterator[StreamEvent]:
        index, delta = event["index"], event["delta"]
        block, pieces = self._blocks[index], self._pieces[index]
        match delta["type"]:
            case "text_delta":
                pieces.append(delta["text"])
                if text := self._new(delta["text"]):
                    self._text.append(text)
                    yield TextDelta(text)
            case "thinking_delta":
                pieces.append(delta["thinking"])
                if delta["thinking"]:
                    yield ThinkingDelta(delta["thinking"])
            case "input_json_delta":
                pieces.append(delta["partial_json"])
                if index in self._tool_calls and delta["partial_json"]:
                    yield ToolCallDelta(self._tool_calls[index], block["id"], block["name"], delta["partial_json"])
            case "signature_delta":
                block["signature"] = delta["signature"]
            case "citations_delta":
                block["citations"] = [*(block.get("citations") or ()), delta["citation"]]

    def _continue(self, event: Json) -> Iterator[StreamEvent]:
        self._message.update(event["delta"])
        counted = {name: value for name, value in (event.get("usage") or {}).items() if value is not None}
        self._message["usage"] = {**(self._message.get("usage") or {}), **counted}
        yield from ()

    def _stop(self, event: Json) -> Iterator[StreamEvent]:
        self._ended = True
        yield from ()

    def _fail(self, event: Json) -> Iterator[StreamEvent]:
        raise failure_of_reply(200, self._headers, event)

    def _block(self, index: int) -> Json:
        """Return a block with its pieces joined; input that is no JSON, because it was cut, becomes None."""
        block, joined = self._blocks[index], "".join(self._pieces[index])
        if not joined:
            return block
        if block["type"] in ("text", "thinking"):
            return {**block, block["type"]: block[block["type"]] + joined}
        try:
            return {**block, "input": json.loads(joined)}
        except ValueError:
            return {**block, "input": None}
