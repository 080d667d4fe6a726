"""Assembles a stream's events into the response, and yields each piece as it comes.

No SDK is imported and nothing is sent or read here. The order is that of streaming.py, which is Chat Completions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from understudy import (
    Finish,
    Request,
    ResponseWarning,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from understudy.errors import MalformedResponse
from understudy_openai.failures import failure_of_reply
from understudy_openai.models import Endpoint
from understudy_openai.shared import WRONG_SHAPE, Json, shown
from understudy_openai.stops import StopFilter
from understudy_openai.streaming import ALIVE, DONE, WHOLE, interrupted, parse_event, unexpected_event
from understudy_openai.wire_responses import TEXTS, response_of
from understudy_toolkit.broken import BrokenPieces
from understudy_toolkit.tool_calls import CallNames

_DIFFERS = ResponseWarning("stream", "the text at the end of the stream is not that of its pieces: it is what counts")


class StreamReader:
    """Assembles a stream's events into the response, and yields each piece as it comes.

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
        self._names = CallNames(request)
        self._texts: list[str] = []
        self._broken = BrokenPieces()
        self._response: Json | None = None
        self._items: dict[int, Json] = {}
        self._spoken: set[tuple[int, int]] = set()  # which pieces of which items have been told
        self._places: dict[Any, int] = {}  # of items without an index, by their ids
        self._calls: dict[int, tuple[int, Json]] = {}
        self._stops = StopFilter(request.stop)
        self._readers: Mapping[str, Callable[[Json], Iterator[StreamEvent]]] = {
            "response.output_item.added": self._begin_item,
            "response.output_item.done": self._end_item,
            "response.output_text.delta": self._say,
            "response.output_text.done": self._say_all,
            "response.reasoning_summary_part.added": self._begin_summary,
            "response.reasoning_summary_text.delta": self._think,
            "response.reasoning_text.delta": self._think,
            "response.function_call_arguments.delta": self._call,
            "response.completed": self._end,
            "response.incomplete": self._end,
            "response.failed": self._end,
            "response.cancelled": self._end,
            "error": self._fail,
        }

    @property
    def ended(self) -> bool:
        """Whether the end marker has come: nothing that happens afterwards takes anything away."""
        return self._response is not None

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """Take the next event; one with nothing for the caller (that a response was created, say) is a heartbeat.

        So are unknown kinds of events, and `keepalive`, which OpenAI sends and documents nowhere.

        Args:
            event: the event's name.
            data: its data.

        Raises:
            Failure: it is an error.
            MalformedResponse: it does not have the shape that the API promises.
        """
        if data.strip() == DONE:
            return []  # some compatible servers end so here too
        try:
            body = parse_event(event, data, self._headers, self._endpoint)
        except MalformedResponse as failure:
            if failure.status is not None or not self._stops.given:
                raise  # the server says so itself, or another can take over, unnoticed
            self._broken.add(failure)
            return [ALIVE]
        if body is None:
            return [ALIVE]
        try:
            kind = body.get("type", event)
            if "type" not in body and "output" in body:
                kind, body = "response.completed", {"response": body}
                self._warnings.append(WHOLE)
            read = self._readers.get(kind)
            told = list(read(body)) if read is not None else []  # reading them may end the answer
            passed = self._stops.shown(told, ended=self.ended)
            return passed if passed or self.ended else [ALIVE]
        except WRONG_SHAPE as error:
            raise unexpected_event(body, error, self._endpoint) from error

    def finish(self) -> Finish:
        """Return the whole answer, once there are no more events.

        Raises:
            StreamInterrupted: the end marker never came.
            MalformedResponse: an event could not be read, and the caller of the stream may miss a piece.
            Failure: as `response_of`.
        """
        if self._response is None:
            raise interrupted("response.completed", self._stops.text, self._headers, self._endpoint)
        body = self._response
        if not body.get("output"):  # some servers tell the items only on the way, or nothing but their text
            items = [self._items[index] for index in sorted(self._items)]
            said = {"type": "message", "role": "assistant", "content": "".join(self._texts)}
            body = {**body, "output": items or [said]}
        told = self._headers, self._request, self._endpoint
        given = self._stops.given and not self._request.whole
        response = response_of(body, *told, self._warnings, given=given)
        warnings = self._broken.judge(None, complete=self._request.whole or self._has_all_of(body))
        if given and self._texts and _text_of(body) != "".join(self._texts):
            warnings = (*warnings, _DIFFERS)
        return Finish(replace(response, warnings=(*response.warnings, *warnings)) if warnings else response)

    def _has_all_of(self, body: Json) -> bool:
        """Return whether the pieces that came are all of the text at the end, with no tool call beside it."""
        return _text_of(body) == "".join(self._texts) and not self._calls

    def _begin_item(self, event: Json) -> Iterator[StreamEvent]:
        item = event["item"]
        if item.get("type") == "function_call":
            item = {**item, "call_id": self._names(item.get("call_id"), item["name"])}
            self._calls[self._place(event)] = len(self._calls), item
            yield ToolCallDelta(len(self._calls) - 1, item["call_id"], item["name"], "")

    def _end_item(self, event: Json) -> Iterator[StreamEvent]:
        place, item = self._place(event), event["item"]
        self._items[place] = item
        for number, text in enumerate(_texts_of(item)):
            yield from self._said(place, number, text)

    def _say(self, event: Json) -> Iterator[StreamEvent]:
        if event["delta"]:
            self._spoken.add((self._place(event), event.get("content_index") or 0))
            self._texts.append(event["delta"])
            yield TextDelta(event["delta"])

    def _say_all(self, event: Json) -> Iterator[StreamEvent]:
        yield from self._said(self._place(event), event.get("content_index") or 0, event.get("text"))

    def _said(self, place: int, number: int, text: Any) -> Iterator[StreamEvent]:
        """Tell a whole piece of text that did not come in deltas: Meta's models behind OpenCode have none.

        ltmoerdani/opencode-copilot-chat#201, read 2026-12-01.
        """
        if text and isinstance(text, str) and (place, number) not in self._spoken:
            self._spoken.add((place, number))
            self._texts.append(text)
            yield TextDelta(text)

    def _place(self, event: Json) -> int:
        """Return which item an event is about, also without its index: lemonade-sdk/lemonade#3607, read 2026-12-01."""
        index = event.get("output_index")
        if isinstance(index, int):
            return index
        item = event.get("item")
        told = event.get("item_id") or (item.get("id") if isinstance(item, Mapping) else None)
        return self._places.setdefault(told, len(self._places)) if told else max(len(self._places) - 1, 0)

    def _begin_summary(self, event: Json) -> Iterator[StreamEvent]:
        if event.get("summary_index"):
            yield ThinkingDelta("\n\n")  # as the parts stand apart in the whole answer

    def _think(self, event: Json) -> Iterator[StreamEvent]:
        if event["delta"]:
            yield ThinkingDelta(event["delta"])

    def _call(self, event: Json) -> Iterator[StreamEvent]:
        index, item = self._calls.get(self._place(event), (0, None))
        if item is not None and event.get("delta"):  # else the item at its end holds the whole call
            yield ToolCallDelta(index, item["call_id"], item["name"], event["delta"])

    def _end(self, event: Json) -> Iterator[StreamEvent]:
        self._response = dict(event["response"])
        told, text = "".join(self._texts), _text_of(self._response)
        if len(text) > len(told) and text.startswith(told) and not self._response.get("error"):
            self._texts.append(text[len(told) :])  # some servers tell it only here
            yield TextDelta(self._texts[-1])

    def _fail(self, event: Json) -> Iterator[StreamEvent]:
        raise failure_of_reply(self._endpoint.name, 200, self._headers, {"error": {"message": shown(event)}})


def _texts_of(item: Any) -> list[str]:
    """Return the texts of a message; none of anything else."""
    content = item.get("content") if isinstance(item, Mapping) and item.get("type") == "message" else None
    if isinstance(content, str):
        return [content]
    pieces = (piece for piece in content if isinstance(piece, Mapping)) if isinstance(content, list) else ()
    return [text for piece in pieces if piece.get("type") in TEXTS and isinstance(text := piece.get("text"), str)]


def _text_of(body: Json) -> str:
    """Return the text of a whole response."""
    output = body.get("output")
    return "".join(text for item in (output if isinstance(output, list) else ()) for text in _texts_of(item))
