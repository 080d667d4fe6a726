"""A stream's chunks put together to the completion that they are about, each piece told on the way.

No SDK is imported and nothing is sent or read here. The Responses API's events are in streaming_responses.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from understudy import (
    Finish,
    Request,
    ResponseWarning,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    ThinkingDelta,
)
from understudy.errors import MalformedResponse
from understudy.response import Heartbeat
from understudy_openai.failures import failure_of_reply, request_id_of
from understudy_openai.models import Endpoint
from understudy_openai.reply import calls_in, details_text, images_in, pieces_of, response_of
from understudy_openai.shared import OPAQUE_FIELDS, THINKING_FIELDS, WRONG_SHAPE, Json, failure_in, shown
from understudy_openai.stops import StopFilter
from understudy_openai.think_tags import Piece, ThinkFilter
from understudy_openai.tool_pieces import CallPieces
from understudy_openai.usage import count_tokens, usage_in
from understudy_toolkit.bodies import read_json
from understudy_toolkit.broken import BrokenPieces
from understudy_toolkit.sse import SseEvent, SseReader
from understudy_toolkit.tool_calls import CallNames

DONE = "[DONE]"
ALIVE = Heartbeat()
WHOLE = ResponseWarning("stream", "a whole answer came instead of a stream: it was taken as it is")
_TEXTS = ("text", "summary", "thinking")  # of pieces of reasoning: what grows from chunk to chunk


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
        self._begun = False

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
            alone = not self._begun
            try:
                yield from self._fed(last)
            except MalformedResponse:
                if alone:
                    raise  # no stream at all; elsewhere it was cut, and finish() says so
        yield self._reader.finish()

    def _fed(self, event: SseEvent) -> list[StreamEvent]:
        self._begun = True
        if not event.data.strip() and event.name != "error":
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
        self._headers, self._request, self._endpoint = headers, request, endpoint
        self._warnings = list(warnings)
        self._body: Json = {}
        self._message: Json = {}
        self._content: list[Json] = []
        self._logprobs: Json = {}
        self._calls = CallPieces(CallNames(request))
        self._finish_reason: str | None = None
        self._think = ThinkFilter(off=endpoint.is_openai)
        self._stops = StopFilter(request.stop)
        self._broken = BrokenPieces()
        self._whole = self._done = False

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
            MalformedResponse: it has not the shape that the API promises, or cannot be read while the caller holds
                nothing.
        """
        if data.strip() == DONE:
            self._done = True
            return self._shown(self._let_go())
        chunk = self._parsed(event, data)
        if chunk is None:
            return [ALIVE]
        try:
            return self._shown(self._read(chunk)) or [ALIVE]
        except WRONG_SHAPE as error:
            raise unexpected_event(chunk, error, self._endpoint) from error

    def finish(self) -> Finish:
        """Return the whole answer, once there are no more chunks.

        Raises:
            StreamInterrupted: the end never came: OpenAI says both why the model stopped and that this was all;
                compatible servers say why it stopped at least, for [DONE] follows an error too.
            MalformedResponse: a chunk could not be read, and something may be missing.
            Failure: as `response_of`.
        """
        ended = self._finish_reason is not None and (self._done or not self._endpoint.is_openai)
        if not (ended or self._whole):
            raise interrupted("a finish_reason and [DONE]", self._stops.text, self._headers, self._endpoint)
        message = {**self._message, "content": self._content, "tool_calls": self._calls.calls}
        if self._think.tags is not None:
            message["think_tags"] = self._think.tags
        choice = {"message": message, "finish_reason": self._finish_reason, "logprobs": self._logprobs or None}
        body = {**self._body, "choices": [choice]}
        warnings = (*self._warnings, *self._broken.judge(count_tokens(usage_in(body), "prompt", "completion")))
        told = self._headers, self._request, self._endpoint, warnings
        return Finish(response_of(body, *told, given=self._stops.given and not self._request.whole))

    def _parsed(self, event: str, data: str) -> Json | None:
        """Return a chunk; None where it says nothing, or cannot be read and is left to be judged at the end.

        Raises:
            Failure: it is an error.
            MalformedResponse: it cannot be read, and the caller holds nothing yet.
        """
        try:
            chunk = parse_event(event, data, self._headers, self._endpoint)
        except MalformedResponse as failure:
            if not self._stops.given:
                raise  # another can take over, unseen
            if self._finish_reason is None:  # afterwards no more of the answer comes
                self._broken.add(failure)
            return None
        return chunk

    def _shown(self, events: Iterable[StreamEvent]) -> list[StreamEvent]:
        told = list(events)  # reading them may end the answer
        return self._stops.shown(told, ended=self._done or self._finish_reason is not None)

    def _read(self, chunk: Json) -> Iterator[StreamEvent]:
        self._body |= {name: value for name, value in chunk.items() if value is not None and name != "choices"}
        if (usage := usage_in(chunk)) is not None:
            self._body["usage"] = usage
        for choice in chunk.get("choices") or ():
            if choice.get("index") in (0, None):  # others were asked for by options alone
                yield from self._read_choice(choice)

    def _read_choice(self, choice: Json) -> Iterator[StreamEvent]:
        if choice.get("error"):
            raise failure_of_reply(self._endpoint.name, 200, self._headers, {"error": choice["error"]})
        if choice.get("message") and not choice.get("delta") and not self._whole:
            self._whole = True
            self._warnings.append(WHOLE)
        delta = choice.get("delta") or choice.get("message") or {}
        if not delta and isinstance(choice.get("text"), str):
            delta = {"content": choice["text"]}
        self._broken.count(sum(bool(delta.get(name)) for name in ("content", "tool_calls", *THINKING_FIELDS)))
        yield from self._read_delta(delta)
        if isinstance(choice.get("logprobs"), Mapping):
            for name, told in choice["logprobs"].items():
                joined = isinstance(told, list) and isinstance(self._logprobs.get(name), list)
                self._logprobs[name] = [*self._logprobs[name], *told] if joined else told
        self._finish_reason = choice.get("finish_reason") or self._finish_reason
        if self._finish_reason is not None or self._whole:
            yield from self._let_go()

    def _read_delta(self, delta: Json) -> Iterator[StreamEvent]:
        thoughts = ((name, delta[name]) for name in THINKING_FIELDS if isinstance(delta.get(name), str))
        name, thought = next((pair for pair in thoughts if pair[1]), ("", ""))
        if name:
            self._message[name] = self._message.get(name, "") + thought
        elif delta.get("reasoning_content") == "":
            self._message.setdefault("reasoning_content", "")
        for field in OPAQUE_FIELDS:
            if delta.get(field):
                self._message[field] = grown(self._message.get(field), delta[field])
        if thought := thought or details_text(delta):
            yield ThinkingDelta(thought)
        for is_thinking, text in pieces_of(delta.get("content")):
            pieces = [Piece(True, text)] if is_thinking else self._think.feed(text)
            yield from map(self._say, filter(lambda piece: piece.text, pieces))
        for field, told in (("images", images_in(delta)), ("annotations", delta.get("annotations"))):
            if told:
                self._message[field] = [*self._message.get(field, ()), *told]
        if delta.get("refusal"):
            self._message["refusal"] = self._message.get("refusal", "") + delta["refusal"]
        if isinstance(delta.get("audio"), Mapping):
            self._message["audio"] = grown(self._message.get("audio"), delta["audio"])
        for piece in calls_in(delta):
            yield from self._calls.feed(piece)

    def _say(self, piece: Piece) -> StreamEvent:
        if piece.thinking:
            self._content.append({"type": "thinking", "thinking": piece.text})
            return ThinkingDelta(piece.text)
        self._content.append({"type": "text", "text": piece.text})
        return TextDelta(piece.text)

    def _let_go(self) -> Iterator[StreamEvent]:
        """Yield what may have been the beginning of a tag, once nothing more can come."""
        return map(self._say, self._think.end())


def grown(before: Any, more: Any) -> Any:
    """Return what came in pieces, with the next of them: texts and lists grow, and so do pieces of one thought."""
    if isinstance(before, str) and isinstance(more, str):
        return before + more
    if isinstance(before, Mapping) and isinstance(more, Mapping):
        growing = {name: grown(before.get(name), value) for name, value in more.items() if name in (*_TEXTS, *_SOUND)}
        return {**before, **{name: value for name, value in more.items() if value is not None}, **growing}
    if not isinstance(before, list) or not isinstance(more, list):
        return more if before is None or more else before
    joined = list(before)
    for piece in more:
        last = joined[-1] if joined else None
        if isinstance(last, Mapping) and isinstance(piece, Mapping) and _goes_on(last, piece):
            joined[-1] = grown(last, piece)
        else:
            joined.append(piece)
    return joined


_SOUND = ("data", "transcript")


def _goes_on(last: Mapping[str, Any], piece: Mapping[str, Any]) -> bool:
    same = last.get("type") == piece.get("type") and last.get("index") == piece.get("index")
    return same and any(isinstance(piece.get(name), str) for name in _TEXTS)


def parse_event(event: str, data: str, headers: Mapping[str, str], endpoint: Endpoint) -> Json | None:
    """Return an event's data, parsed; None where it says nothing.

    Raises:
        Failure: it is an error, in whatever shape.
        MalformedResponse: it is no JSON object.
    """
    parsed: Any = None
    try:
        parsed = read_json(data)
    except ValueError as error:
        if event == "error":
            raise failure_of_reply(endpoint.name, 200, headers, {"error": {"message": shown(data)}}) from None
        raise unexpected_event(data, error, endpoint) from error
    failure = failure_in(parsed, headers, endpoint)
    if failure is None and event == "error":
        failure = failure_of_reply(endpoint.name, 200, headers, {"error": {"message": shown(parsed)}})
    if failure is not None:
        raise failure
    if parsed is None:
        return None
    if not isinstance(parsed, dict):
        raise MalformedResponse(f"expected an event with a JSON object, found {shown(data)}", provider=endpoint.name)
    return parsed


def unexpected_event(event: Any, error: Exception, endpoint: Endpoint) -> MalformedResponse:
    """Return the failure that an event of another shape is."""
    return MalformedResponse(
        f"expected an event of an answer, found {shown(event)} ({type(error).__name__}: {error})",
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
