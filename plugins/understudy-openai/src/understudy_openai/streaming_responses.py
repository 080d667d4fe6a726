"""A stream's events put together to the response that they are about, each piece told on the way.

No SDK is imported and nothing is sent or read here. The order is that of streaming.py, which is Chat Completions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from understudy import (
    Finish,
    Request,
    ResponseWarning,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from understudy_openai.failures import failure_of_reply
from understudy_openai.models import Endpoint
from understudy_openai.shared import WRONG_SHAPE, Json
from understudy_openai.stops import StopFilter
from understudy_openai.streaming import ALIVE, DONE, error_of, interrupted, parse_event, unexpected_event
from understudy_openai.wire_responses import response_of


class StreamReader:
    """Puts a stream's events together to the response that it is about, and tells each piece on the way.

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
        self._response: Json | None = None
        self._items: dict[int, Json] = {}
        self._calls: dict[int, tuple[int, Json]] = {}
        self._stops = StopFilter(request.stop)
        self._readers: Mapping[str, Callable[[Json], Iterator[StreamEvent]]] = {
            "response.output_item.added": self._begin_item,
            "response.output_item.done": self._end_item,
            "response.output_text.delta": self._say,
            "response.reasoning_summary_part.added": self._begin_summary,
            "response.reasoning_summary_text.delta": self._think,
            "response.reasoning_text.delta": self._think,
            "response.function_call_arguments.delta": self._call,
            "response.completed": self._end,
            "response.incomplete": self._end,
            "response.failed": self._end,
            "error": self._fail,
        }

    @property
    def ended(self) -> bool:
        """Whether the end marker has come: nothing that happens afterwards takes anything away."""
        return self._response is not None

    def feed(self, event: str, data: str) -> list[StreamEvent]:
        """Take the next event; what brings nothing to the caller (that a response was created, say) is a heartbeat.

        So are kinds of events that are not known, and `keepalive`, which OpenAI sends and documents nowhere.

        Args:
            event: the event's name.
            data: its data.

        Raises:
            Failure: it is an error.
            MalformedResponse: it has not the shape that the API promises.
        """
        if data.startswith(DONE):
            return []  # some compatible servers end so here too
        body = parse_event(data, self._endpoint)
        try:
            kind = "error" if "error" in body and "type" not in body else body.get("type", event)
            read = self._readers.get(kind)
            told = list(read(body)) if read is not None else []  # reading them may end the answer
            shown = self._stops.shown(told, ended=self.ended)
            return shown if shown or self.ended else [ALIVE]
        except WRONG_SHAPE as error:
            raise unexpected_event(body, error, self._endpoint) from error

    def finish(self) -> Finish:
        """Return the whole answer, once there are no more events.

        Raises:
            StreamInterrupted: the end marker never came.
            Failure: as `response_of`.
        """
        if self._response is None:
            raise interrupted("response.completed", self._stops.text, self._headers, self._endpoint)
        body = self._response
        if not body.get("output"):  # some servers tell the items only on the way
            body = {**body, "output": [self._items[index] for index in sorted(self._items)]}
        told = self._headers, self._request, self._endpoint, self._warnings
        return Finish(response_of(body, *told, given=self._stops.given and not self._request.whole))

    def _begin_item(self, event: Json) -> Iterator[StreamEvent]:
        item = event["item"]
        if item["type"] == "function_call":
            self._calls[event["output_index"]] = len(self._calls), item
            yield ToolCallDelta(len(self._calls) - 1, item["call_id"], item["name"], "")

    def _end_item(self, event: Json) -> Iterator[StreamEvent]:
        self._items[event["output_index"]] = event["item"]
        yield from ()

    def _say(self, event: Json) -> Iterator[StreamEvent]:
        if event["delta"]:
            yield TextDelta(event["delta"])

    def _begin_summary(self, event: Json) -> Iterator[StreamEvent]:
        if event["summary_index"] > 0:
            yield ThinkingDelta("\n\n")  # as the parts stand apart in the whole answer

    def _think(self, event: Json) -> Iterator[StreamEvent]:
        if event["delta"]:
            yield ThinkingDelta(event["delta"])

    def _call(self, event: Json) -> Iterator[StreamEvent]:
        index, item = self._calls[event["output_index"]]
        if event["delta"]:
            yield ToolCallDelta(index, item["call_id"], item["name"], event["delta"])

    def _end(self, event: Json) -> Iterator[StreamEvent]:
        self._response = dict(event["response"])
        yield from ()

    def _fail(self, event: Json) -> Iterator[StreamEvent]:
        raise failure_of_reply(self._endpoint.name, 200, self._headers, error_of(event))
