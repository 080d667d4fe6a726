"""Cuts a stream's bytes into lines of JSON, assembles the answer from them, and yields each piece as it comes.

No SDK is imported and nothing is sent or read here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from understudy import (
    Finish,
    Request,
    ResponseWarning,
    StreamEvent,
    StreamInterrupted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)
from understudy.errors import MalformedResponse
from understudy.response import Heartbeat
from understudy_ollama.failures import PROVIDER, error_of, failure_of_reply
from understudy_ollama.wire import WRONG_SHAPE, Json, arguments_of, checked, message_of, response_of, usage_of
from understudy_toolkit.bodies import excerpt, read_json
from understudy_toolkit.broken import BrokenPieces
from understudy_toolkit.ndjson import NdjsonReader
from understudy_toolkit.tool_calls import CallNames

_ALIVE = Heartbeat()


class StreamReader:
    """Assembles a stream into the answer, and yields each piece as it comes.

    Args:
        headers: the reply's headers.
        request: what was asked.
        warnings: what the request was sent without.
        sent: the request's JSON, as it was sent.
        heard: called when an answer has begun or ended, with whether some thinking has come.
    """

    def __init__(
        self,
        headers: Mapping[str, str],
        request: Request,
        warnings: Sequence[ResponseWarning] = (),
        sent: Mapping[str, Any] | None = None,
        heard: Callable[[bool], object] = lambda thought: None,
    ) -> None:
        self._headers, self._request, self._warnings, self._sent = headers, request, warnings, sent
        self._heard = heard
        self._lines = NdjsonReader()
        self._last: Json = {}
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: list[Mapping[str, Any]] = []
        self._logprobs: list[Any] = []
        self._name = CallNames(request)
        self._images: list[str] = []
        self._broken = BrokenPieces()

    def read(self, data: bytes) -> Iterator[StreamEvent]:
        """Take the next bytes of the stream; an empty line is a heartbeat.

        Raises:
            Failure: a line in them is an error, or not what the API promises.
        """
        for line in self._lines.feed(data):
            if not self._done:
                yield from self._read(line)

    def _read(self, line: bytes) -> Iterator[StreamEvent]:
        told: Iterable[StreamEvent] = (_ALIVE,)
        try:
            told = self.feed(_parsed(line)) if line else told
        except MalformedResponse as failure:
            if not self._last:  # it was not a stream at all
                raise
            self._broken.add(failure)
        yield from told

    def end(self) -> Iterator[StreamEvent]:
        """Take the end of the stream: what is left of it, and Finish.

        Raises:
            StreamInterrupted: the stream broke off.
            Failure: as `response_of`.
        """
        line = self._lines.end()
        if line is not None and not self._done:
            try:
                chunk = _parsed(line)
            except MalformedResponse:
                if not self._last:  # it was not a stream at all
                    raise
            else:
                yield from self.feed(chunk)
        yield self.finish()

    @property
    def ended(self) -> bool:
        """Whether the end marker has come."""
        return self._done

    @property
    def _done(self) -> bool:
        return self._last.get("done") is True  # nothing that comes after it is looked at

    def feed(self, chunk: Any) -> Iterator[StreamEvent]:
        """Take one line's JSON; one with nothing for the caller is a heartbeat.

        Raises:
            Failure: it is an error.
            MalformedResponse: it does not have the shape that the API promises.
        """
        if error_of(chunk) is not None:
            raise failure_of_reply(200, self._headers, chunk)
        try:
            told = list(self._take(chunk))
        except WRONG_SHAPE as error:
            raise MalformedResponse(
                f"expected a piece of an answer, found {excerpt(chunk)} ({type(error).__name__}: {error})",
                provider=PROVIDER,
                status=200,
            ) from error
        yield from told if told or self._done else (_ALIVE,)

    def finish(self) -> Finish:
        """Return the whole answer, once there is no more of it.

        Raises:
            StreamInterrupted: the end marker never came.
            MalformedResponse: a line could not be read, and nothing proves that none of the answer was in it.
            Failure: as `response_of`.
        """
        text = "".join(self._text)
        if not self._done and self._broken.failure is not None:
            raise self._broken.failure
        if not self._done:
            raise StreamInterrupted(
                "the stream ended without done: true",
                partial=text,
                provider=PROVIDER,
                request_id=self._headers.get("x-request-id"),
            )
        self._heard(bool(self._thinking))
        warnings = (*self._warnings, *self._broken.judge(usage_of(self._last)))
        message = {
            "content": text,
            "thinking": "".join(self._thinking),
            "tool_calls": self._calls,
            "images": self._images,
        }
        body = {**self._last, "message": message, "logprobs": self._logprobs or None}
        given = bool(text or self._calls) and not self._request.whole
        return Finish(response_of(body, self._headers, self._request, warnings, sent=self._sent, given=given))

    def _take(self, chunk: Mapping[str, Any]) -> Iterator[StreamEvent]:
        message = message_of(chunk)
        if not self._last or (message.get("thinking") and not self._thinking):
            self._heard(bool(message.get("thinking")))
        if thinking := message.get("thinking"):
            self._thinking.append(checked(thinking))
            yield ThinkingDelta(thinking)
        if content := message.get("content"):
            self._text.append(checked(content))
            yield TextDelta(content)
        for call in message.get("tool_calls") or ():
            yield self._call(call)
        self._images += message.get("images") or ()
        self._broken.count(sum(bool(message.get(name)) for name in ("content", "thinking", "tool_calls")))
        self._logprobs += chunk.get("logprobs") or ()
        self._last = dict(chunk)

    def _call(self, call: Mapping[str, Any]) -> ToolCallDelta:
        """Take a tool call, which comes in one piece."""
        name = checked(call["function"]["name"])
        identity, arguments = self._name(call.get("id"), name), json.dumps(arguments_of(call), ensure_ascii=False)
        self._calls.append(call)  # one without an id is given the same one again at the end
        return ToolCallDelta(len(self._calls) - 1, identity, name, arguments)


def _parsed(line: bytes) -> Any:
    try:
        return read_json(line)
    except ValueError:
        found = excerpt(line.decode("utf-8", "replace"))
    raise MalformedResponse(f"expected a line of JSON, found {found}", provider=PROVIDER, status=200)
