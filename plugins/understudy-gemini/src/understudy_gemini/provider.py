"""The providers `gemini` and `vertex`: what is asked of Google, and on which lane."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from importlib import import_module
from typing import Any, ClassVar

from understudy import Capabilities, ChatProvider, Failure, LLMResponse, Request, StreamEvent
from understudy.errors import ProviderUnavailable
from understudy.provider import Pace
from understudy_gemini.connection import Connection, server_timeout
from understudy_gemini.models import VERTEX, answering_model, ending_warnings
from understudy_gemini.thinking import Plan, plan_thinking
from understudy_gemini.wire import request_body
from understudy_gemini_wire.chunks import ChunkReader
from understudy_gemini_wire.failures import failure_of_exception, failure_of_reply, key_form
from understudy_gemini_wire.models import takes_prefill
from understudy_gemini_wire.refusals import Refusals
from understudy_gemini_wire.streaming import StreamReader, response_of_document
from understudy_gemini_wire.wire import Asked, names_in
from understudy_toolkit import calls
from understudy_toolkit.lanes import Ask
from understudy_toolkit.transport import lane_of

TIMEOUT = 60.0  # seconds, where a request gives none: the attempt timeout of every policy preset
MODELS_AT_ONCE = 1000  # the most that a page of a list may have: https://ai.google.dev/api/models, read 2026-11-30

# A JSON array is read as a stream too: somebody on the way may have dropped `alt=sse`.
STREAMS = ("text/event-stream", "application/json")
ACCEPT = {"accept": "*/*"}  # as the SDK asks (google-genai 3.6.1): `alt` says what is wanted


class GeminiProvider(ChatProvider):
    """Gemini, through google-genai, or over HTTP without it.

    Args:
        connection: where it is reached, and how one signs in.
        today: returns the day, by which some models are answered by others.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, files=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, connection: Connection, today: Callable[[], date] = date.today) -> None:
        self._connection, self._today = connection, today
        self._name = connection.provider
        self.default_model: str = connection.account.model
        self.credential = connection.account.credential
        self._failure_of_reply = partial(failure_of_reply, key_form=key_form(connection.account.key))
        self._refusals = Refusals(connection.account.base_url)
        self._lane = lane_of(
            connection.account, "understudy_gemini.sdk", lambda: connection.credentials, connection, ACCEPT
        )
        self.capabilities = replace(
            self.capabilities,
            prefill=self.takes_prefill(self.default_model),
            keeps_deadline=self._lane.keeps_deadline,
        )

    def __repr__(self) -> str:
        return f"GeminiProvider(base_url={self._connection.account.shown_url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return "gemini" or "vertex"."""
        return self._name

    def unavailable_reason(self) -> str | None:
        """Say which variable to set, where one is missing, or names a region without the default model."""
        return self._connection.refusal(self.default_model)

    # ---- the four calls ----

    def generate(self, request: Request) -> LLMResponse:
        """Answer a request; the timeout bounds the whole attempt."""
        return calls.generate(self._lane, self._prepare(request))

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece; the timeout bounds the wait for each piece."""
        return calls.events(self._lane, lambda: self._prepare(request, stream=True))

    async def agenerate(self, request: Request) -> LLMResponse:
        """Answer a request on the running event loop; the timeout bounds the whole attempt."""
        return await calls.agenerate(self._lane, self._prepare(request))

    def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Answer a request piece by piece on the running event loop; the timeout bounds the wait for each piece."""
        return calls.aevents(self._lane, lambda: self._prepare(request, stream=True))

    def _prepare(self, request: Request, *, stream: bool = False) -> calls.Call:
        model = request.model or self.default_model
        self._check(model)
        plan = self._plan(request)
        with calls.failures_of(model, self._replies()):
            body, warnings = request_body(request, model, self._name, self._today(), plan)
            warnings += self._refusals.adapt(body, model, request)
            path = self._connection.path(model, stream=stream)
        mend = self._refusals.mender(model, body)
        seconds = TIMEOUT if request.timeout is None else request.timeout
        ask = Ask(
            path=path,
            seconds=seconds,
            stream=stream,
            body=body,
            headers=server_timeout(seconds, stream=stream),
            query={"alt": "sse"} if stream else {},
        )
        asked = Asked(request, self._name, model, warnings, plan.adaptation, mend)
        return calls.Call(
            *(model, ask, self._replies(mend)),
            response_of=lambda document, headers: response_of_document(document, headers, asked),
            reader_of=lambda headers: StreamReader(ChunkReader(), headers, asked),
        )

    def _replies(self, mend: Callable[[Failure], Failure] | None = None) -> calls.Replies:
        def failure_of(status: int, headers: Mapping[str, str], body: Any) -> Failure:
            failure = self._failure_of_reply(status, headers, body)
            return failure if mend is None else mend(failure)

        return calls.Replies(self._name, failure_of, failure_of_exception, STREAMS)

    def _check(self, model: str | None) -> None:
        """Refuse what the chosen region does not have: data goes to no other without being told to."""
        reason = self._connection.refusal(model)
        if reason is not None:
            raise ProviderUnavailable(reason, provider=self._name)

    # ---- what is known in advance, or asked separately ----

    def model_notice(self, model: str) -> str | None:
        """Say when a model ends, who answers in its place, and that it is not in the chosen region, where it is so."""
        ending = map(str, ending_warnings(model, self._today(), self._name))
        return "; ".join(filter(None, (*ending, self._connection.misplaced(model)))) or None

    def takes_prefill(self, model: str) -> bool:
        """Return whether a model is known to continue a begun answer."""
        return takes_prefill(answering_model(model, self._today(), self._name)) is True

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are requested in addition to those of the answer, as room for thinking."""
        return self._plan(request).room

    def pace(self, request: Request) -> Pace:
        """Return whether the model thinks for longer than a moment before it answers."""
        return Pace(thinks=self._plan(request).level not in ("none", "minimal", "low"))

    def _plan(self, request: Request) -> Plan:
        model = request.model or self.default_model
        refuses = self._refusals.refuses_thinking_config(model, request)
        return plan_thinking(request, model, self._name, self._today(), refuses_config=refuses)

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask Google for the models that can be asked for an answer; on Vertex AI, for all that it has of Google's."""
        self._check(None)
        replies, token, names = self._replies(), None, list[str]()
        with calls.failures_of(None, replies):
            self._lane.prepare()  # the SDK's import is not the vendor's time
            until = time.monotonic() + timeout
            while token != "":
                query = {"pageSize": str(MODELS_AT_ONCE)} | ({} if token is None else {"pageToken": token})
                left = max(until - time.monotonic(), 0.001)
                headers = server_timeout(left, stream=False)
                path = self._connection.models_path
                ask = Ask(path=path, seconds=left, method="GET", query=query, headers=headers)
                found, token = names_in(calls.answer(self._lane, ask, replies).document)
                names += found
        return tuple(names)

    # ---- the life of the lane ----

    def warm_up(self) -> None:
        """Do what takes long; credentials for Vertex AI, which may have to be asked for, are left to the first call."""
        if self._name == VERTEX:
            import_module("understudy_gemini.sdk")
        else:
            self._lane.prepare()

    def close(self) -> None:
        """Close all connections; those of an event loop that is busy are closed on it, a moment later."""
        self._lane.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and then all others."""
        await self._lane.aclose()
