"""A stream's bytes cut into events, and the events put together to the message that they are about.

No SDK is imported and nothing is sent or read here. The SDK's own reader keeps the vendor's pings to itself, and with
them the difference between a model that thinks and one that is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from understudy import Finish, StreamEvent, StreamInterrupted, TextDelta, ThinkingDelta, ToolCallDelta
from understudy.errors import MalformedResponse
from understudy.response import Heartbeat
from understudy_claude.failures import PROVIDER, failure_of_reply
from understudy_claude.history import Json
from understudy_claude.wire import WRONG_SHAPE, Asked, Overlap, response_of
from understudy_toolkit.bodies import excerpt, read_json
from understudy_toolkit.sse import SseEvent, SseReader

_ALIVE = Heartbeat()


_COMMENT: Json = {"type": "comment"}  # no event of the API's; it shows that the server is at work, as unknown ones do


class EventReader:
    """Cuts the bytes of a stream into the JSON of its events, each with its type.

    Args:
        headers: the reply's headers.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        self._headers = headers
        self._events = SseReader()

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take the next bytes, and yield the events that they complete.

        Raises:
            Failure: an event named error is not JSON.
            MalformedResponse: another one is not.
        """
        for event in self._events.feed(data):
            yield from self._parsed(event)

    def end(self) -> Iterator[Any]:
        """Yield what stands at the end without its blank line, where it is whole."""
        last = self._events.end()
        if last is not None:
            with suppress(MalformedResponse):  # it was cut: finish() says so
                yield from list(self._parsed(last))

    def _parsed(self, event: SseEvent) -> Iterator[Any]:
        if event.is_comment:
            yield _COMMENT
            return
        try:
            document = read_json(event.data or b"{}")
        except ValueError:
            if event.name == "error":
                raise failure_of_reply(200, self._headers, event.data) from None
            found = excerpt(event.data.decode("utf-8", "replace"))
            raise MalformedResponse(f"expected an event in JSON, found {found}", provider=PROVIDER) from None
        if isinstance(document, Mapping) and "type" not in document:
            if event.name:  # what has no type at all says nothing
                yield {**document, "type": event.name}
        else:
            yield document


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

    @property
    def ended(self) -> bool:
        """Whether the end marker has come."""
        return self._ended

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

    def end(self) -> Iterator[StreamEvent]:
        """Take the end of the stream; Finish is the last event.

        Raises:
            Failure: as `finish`.
        """
        for event in self._events.end():
            yield from self.feed(event)
        yield self.finish()

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
            return {**block, "input": read_json(joined)}
        except ValueError:
            return {**block, "input": None}
