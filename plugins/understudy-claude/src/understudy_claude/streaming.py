"""Cuts a stream's bytes into events, and assembles the message from them.

No SDK is imported and nothing is sent or read here. The SDK's own reader keeps the vendor's pings to itself, and with
them the difference between a model that thinks and one that is gone.

An unreadable event is an error if it may have held some of the answer. Between blocks it cannot have: there it is
skipped, with a warning, if the reason why the model stopped and the tokens that it wrote come after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from understudy import (
    Finish,
    ResponseWarning,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from understudy.errors import MalformedResponse
from understudy.response import Heartbeat
from understudy_claude.dialects import says_error
from understudy_claude.failures import PROVIDER, failure_of_reply
from understudy_claude.history import Json
from understudy_claude.reply import WRONG_SHAPE, Overlap, count_in, response_of, text_in
from understudy_claude.wire import Asked
from understudy_toolkit.bodies import excerpt, read_json, text_of, write_json
from understudy_toolkit.sse import SseEvent, SseReader
from understudy_toolkit.tool_calls import CallNames

_ALIVE = Heartbeat()

_COMMENT: Json = {"type": "comment"}  # no event of the API's; it shows that the server is at work, as unknown ones do
_UNREADABLE = "unreadable"  # nor is this
_DONE = b"[DONE]"  # OpenAI's end marker, which gateways send after the last event: it proves nothing
# The events that hold some of the answer, or say what it is.
_TELLING = ("message_start", "content_block_start", "content_block_delta", "message_delta")
_SILENT = ("content_block_stop", "message_stop")  # those that do not
# Of which kind a block is that a delta of this kind belongs to.
_KIND_OF_DELTA: Mapping[str, str] = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "thinking"}
_KIND_BY_FIELD: Mapping[str, str] = {
    "text": "text_delta",
    "thinking": "thinking_delta",
    "partial_json": "input_json_delta",
}


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
            MalformedResponse: an event is longer than it may be.
        """
        for event in self._events.feed(data):
            yield from self._parsed(event)

    def end(self) -> Iterator[Any]:
        """Yield what is at the end without its blank line, if it is complete."""
        last = self._events.end()
        if last is not None:
            with suppress(MalformedResponse):  # it was cut: finish() says so
                yield from (event for event in list(self._parsed(last)) if event.get("type") != _UNREADABLE)

    def _parsed(self, event: SseEvent) -> Iterator[Json]:
        data, name = event.data.strip(), event.name.strip()
        if event.is_comment or data == _DONE:
            yield _COMMENT
            return
        try:
            document = read_json(data or b"{}")
        except ValueError:
            document = data.decode("utf-8", "replace")
        if isinstance(document, list) and says_error(document):
            raise failure_of_reply(200, self._headers, document)  # Google's, in front of Claude
        if name == "error" and not isinstance(document, Mapping):
            raise failure_of_reply(200, self._headers, {"type": "error", "error": str(document)})
        if document is None:
            yield _COMMENT
        elif not isinstance(document, Mapping):
            yield {"type": _UNREADABLE, "name": name, "found": excerpt(document)}
        elif not isinstance(document.get("type"), str):
            if name:
                yield {**document, "type": name}
            else:  # without any type it says nothing, unless it is an error
                yield dict(document) if says_error(document) else _COMMENT
        else:
            yield dict(document)


class StreamReader:
    """Assembles a stream's events into the message that they make up, and yields each piece as it comes.

    Args:
        headers: the reply's headers.
        asked: how the request was sent.
    """

    def __init__(self, headers: Mapping[str, str], asked: Asked) -> None:
        self._headers, self._asked = headers, asked
        self._events = EventReader(headers)
        self._message: Json = {}
        self._begun = False
        self._started: Any = None  # the id of the message that has begun
        self._blocks: list[Json] = []
        self._pieces: list[list[str]] = []
        self._place: dict[Any, int] = {}  # of each block by the index that the server gives it
        self._open: set[int] = set()
        self._tool_calls: dict[int, int] = {}
        self._text: list[str] = []
        self._new, self._names = Overlap(asked.request), CallNames(asked.request)
        self._unread: list[str] = []
        self._written = False  # whether the tokens of the whole answer were reported
        self._stopped = False
        self._readers: Mapping[str, Callable[[Json], Iterator[StreamEvent]]] = {
            "message_start": self._start,
            "content_block_start": self._start_block,
            "content_block_delta": self._continue_block,
            "content_block_stop": self._stop_block,
            "message_delta": self._continue,
            "message_stop": self._stop,
            _UNREADABLE: self._pass_over,
        }

    @property
    def ended(self) -> bool:
        """Whether nothing of the answer can be missing: its end marker has come, or why it stopped and its tokens."""
        return self._stopped or (self._written and self._message.get("stop_reason") is not None)

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """Take the next bytes of the stream.

        Raises:
            Failure: as `feed`.
        """
        for event in self._events.feed(data):
            yield from self.feed(event)

    def feed(self, event: Any) -> list[StreamEvent]:
        """Take the next event; one with nothing for the caller (a ping, say) is a heartbeat.

        Unknown kinds of events are ignored, as the API asks: they too show that it is at work.

        Raises:
            Failure: the event is an error.
            MalformedResponse: it does not have the shape that the API promises.
        """
        if says_error(event):
            raise failure_of_reply(200, self._headers, event)
        try:
            read = self._readers.get(event["type"])
            told = list(read(event)) if read is not None else []
            return told if told or self._stopped else [_ALIVE]
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
            StreamInterrupted: the end marker never came, nor proof that nothing is missing.
            MalformedResponse: an event could not be read, and may have held some of the answer.
            Failure: as `response_of`.
        """
        if not self.ended or self._message.get("stop_reason") is None:
            raise StreamInterrupted(
                "the stream ended without message_stop and a stop_reason",
                partial="".join(self._text),
                provider=PROVIDER,
                request_id=text_of(self._headers.get("request-id")),
            )
        warnings: tuple[ResponseWarning, ...] = ()
        if self._unread:
            words = f"skipped what could not be read between two blocks: {self._unread[0]}"
            if not self._written:
                raise MalformedResponse(f"expected an event in JSON, found {self._unread[0]}", provider=PROVIDER)
            warnings += (ResponseWarning("stream", words),)
        if not self._stopped:
            words = "the stream ended without message_stop; why the model stopped, and its tokens, had come"
            warnings += (ResponseWarning("stream", words),)
        content = [self._block(place) for place in range(len(self._blocks))]
        given = bool(self._text or self._tool_calls) and not self._asked.request.whole
        body = {**self._message, "content": content, "usage": self._message.get("usage") if self._written else None}
        return Finish(response_of(body, self._headers, self._asked, given=given, warnings=warnings))

    def _start(self, event: Json) -> Iterator[StreamEvent]:
        message = event.get("message")
        told = dict(message) if isinstance(message, Mapping) else {}
        before, self._started = self._started, told.get("id")
        if self._begun and self._blocks:
            if before != self._started:
                raise ValueError("another message began before the end of the first")
            return  # the same once more: MoonshotAI/Kimi-K2.5#33, BerriAI/litellm#33859, read 2026-12-01
        self._begun = True
        self._message |= told
        begun = self._message.pop("content", None)
        for index, block in enumerate(begun if isinstance(begun, list) else ()):
            yield from self._start_block({"index": f"begun {index}", "content_block": block})

    def _start_block(self, event: Json) -> Iterator[StreamEvent]:
        given = event.get("content_block")
        yield from self._open_block(event.get("index"), dict(given) if isinstance(given, Mapping) else {})

    def _open_block(self, index: Any, block: Json) -> Iterator[StreamEvent]:
        place = len(self._blocks)
        self._place[index] = place
        self._open.add(place)
        self._blocks.append(block)
        self._pieces.append([])
        kind = block.get("type")
        if kind == "text":
            yield from self._tell(text_in(block, "text"))
        elif kind == "thinking":
            if thought := text_in(block, "thinking"):
                yield ThinkingDelta(thought)
        elif kind == "tool_use":
            name = text_of(block.get("name"))
            if name is None:
                raise ValueError("a tool call has no name")
            block["id"] = self._names(block.get("id"), name)
            self._tool_calls[place] = len(self._tool_calls)
            yield ToolCallDelta(self._tool_calls[place], block["id"], name, "")

    def _continue_block(self, event: Json) -> Iterator[StreamEvent]:
        delta = event.get("delta")
        if not isinstance(delta, Mapping):
            return
        kind = delta.get("type") or next((kind for name, kind in _KIND_BY_FIELD.items() if name in delta), None)
        place = self._place.get(event.get("index"))
        wanted = _KIND_OF_DELTA.get(str(kind))
        if wanted is not None and (place is None or self._blocks[place].get("type") != wanted):
            yield from self._open_block(event.get("index"), {"type": wanted})  # its start was left out
            place = len(self._blocks) - 1
        called = place is not None and str(self._blocks[place].get("type")).endswith("tool_use")
        if kind == "input_json_delta" and not called:
            raise ValueError("pieces of a tool call came without its beginning")
        if place is None:
            return
        block, pieces = self._blocks[place], self._pieces[place]
        match kind:
            case "text_delta":
                text = text_in(delta, "text")
                pieces.append(text)
                yield from self._tell(text)
            case "thinking_delta":
                pieces.append(text_in(delta, "thinking"))
                if pieces[-1]:
                    yield ThinkingDelta(pieces[-1])
            case "input_json_delta":
                pieces.append(text_in(delta, "partial_json"))
                if place in self._tool_calls and pieces[-1]:
                    yield ToolCallDelta(self._tool_calls[place], block["id"], block["name"], pieces[-1])
            case "signature_delta":
                block["signature"] = text_in(delta, "signature")
            case "compaction_delta":
                block |= {name: value for name, value in delta.items() if name != "type"}
            case "citations_delta" if delta.get("citation") is not None:
                block["citations"] = [*(block.get("citations") or ()), delta["citation"]]

    def _tell(self, text: str) -> Iterator[StreamEvent]:
        if new := self._new(text):
            self._text.append(new)
            yield TextDelta(new)

    def _stop_block(self, event: Json) -> Iterator[StreamEvent]:
        place = self._place.get(event.get("index"), len(self._blocks) - 1)
        self._open.discard(place)
        if place in self._tool_calls and not self._pieces[place] and self._blocks[place].get("input"):
            given = self._blocks[place]["input"]  # all at once, at the beginning of its block
            arguments = given if isinstance(given, str) else write_json(given).decode()
            block = self._blocks[place]
            yield ToolCallDelta(self._tool_calls[place], block["id"], block["name"], arguments)

    def _continue(self, event: Json) -> Iterator[StreamEvent]:
        delta = event.get("delta")
        delta = delta if isinstance(delta, Mapping) else {}
        self._message.update({name: value for name, value in delta.items() if value is not None and name != "usage"})
        self._count(event.get("usage") or delta.get("usage"))
        if delta.get("stop_reason") is not None:
            self._open.clear()
        yield from ()

    def _count(self, told: Any) -> None:
        """Take counts of tokens: for what was read, 0 does not replace an earlier count."""
        if not isinstance(told, Mapping):
            return
        before = self._message.get("usage")
        usage = dict(before) if isinstance(before, Mapping) else {}
        usage.update({name: value for name, value in told.items() if value or usage.get(name) is None})
        self._message["usage"] = usage
        self._written = self._written or count_in(told, "output_tokens") is not None

    def _stop(self, event: Json) -> Iterator[StreamEvent]:
        self._count(event.get("usage"))
        self._stopped = True
        yield from ()

    def _pass_over(self, event: Json) -> Iterator[StreamEvent]:
        if self._stopped:
            return
        name = event["name"]
        if name in _TELLING or (name not in _SILENT and (self._open or not self._blocks)):
            raise ValueError("it may have held some of the answer")
        self._unread.append(event["found"])
        yield from ()

    def _block(self, place: int) -> Json:
        """Return a block with its pieces joined."""
        block, joined = self._blocks[place], "".join(self._pieces[place])
        if not joined:
            return block
        kind = block.get("type")
        if kind in ("text", "thinking"):
            return {**block, kind: text_in(block, kind) + joined}
        if kind == "tool_use":
            return {**block, "input": joined}
        try:
            return {**block, "input": read_json(joined)}
        except ValueError:
            return {**block, "input": None}
