"""The provider: what is asked of Cohere, and on which lane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from typing import Any, ClassVar

from understudy import Capabilities, ChatProvider, Failure, LLMResponse, Request, Settings, StreamEvent
from understudy.provider import Pace
from understudy_cohere.failures import PROVIDER, failure_of_reply
from understudy_cohere.models import DEFAULT_MODEL, ending_warnings, level_of, room
from understudy_cohere.refusals import adaptations_of, keep
from understudy_cohere.streaming import StreamReader
from understudy_cohere.wire import models_of, options_of, request_body, response_of
from understudy_toolkit import calls
from understudy_toolkit.account import read_account
from understudy_toolkit.lanes import Ask
from understudy_toolkit.transport import lane_of

BASE_URL = "https://api.cohere.com"
# The versions of the API, chosen here and not by the SDK: 2 is the default for chat, and models are listed by 1 alone.
# https://docs.cohere.com/v2/docs/streaming.md, https://docs.cohere.com/reference/list-models, read 2026-12-01
PATH = "/v2/chat"
MODELS_PATH = "/v1/models"
# As the SDK asks (cohere 7.3.1): this header may choose the form of a stream.
ACCEPT = {"accept": "*/*"}
MOST_LISTED = 1000  # models on one page, where 20 are the default (cohere 7.3.1, models/client.py)
TIMEOUT = 60.0  # seconds, where a request gives none: the attempt timeout of every policy preset

REPLIES = calls.Replies(PROVIDER, failure_of_reply)


class CohereProvider(ChatProvider):
    """Cohere, and its chat API v2, through its SDK, or over HTTP without it.

    Args:
        settings: where COHERE_API_KEY, COHERE_BASE_URL, COHERE_MODEL and COHERE_TRANSPORT come from; or the names that
            the SDK has for the first two, CO_API_KEY and CO_API_URL.

    Raises:
        ConfigurationError: one of them is malformed.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, settings: Settings) -> None:
        self._account = read_account(
            settings,
            key=("COHERE_API_KEY", "CO_API_KEY"),
            url=("COHERE_BASE_URL", "CO_API_URL"),
            default_url=BASE_URL,
            model="COHERE_MODEL",
            default_model=DEFAULT_MODEL,
            transport="COHERE_TRANSPORT",
        )
        self.default_model: str = self._account.model
        self.credential = self._account.credential
        self._lane = lane_of(self._account, "understudy_cohere.sdk", lambda: self._account.bearer, headers=ACCEPT)
        self.capabilities = replace(self.capabilities, keeps_deadline=self._lane.keeps_deadline)

    def __repr__(self) -> str:
        return f"CohereProvider(base_url={self._account.shown_url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return PROVIDER

    def unavailable_reason(self) -> str | None:
        """Say that the key is missing, if it is."""
        return self._account.unavailable_reason

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
        self._account.check(PROVIDER)
        model = request.model or self.default_model
        address = self._account.shown_url
        with calls.failures_of(model, REPLIES):
            body, warnings = request_body(request, model, adaptations_of(request, address, model))

        def failure_of(status: int, headers: Mapping[str, str], reply: Any) -> Failure:
            failure = failure_of_reply(status, headers, reply, sent=body)
            keep(address, model, failure.adaptation)
            return failure

        ask = Ask(
            path=PATH,
            seconds=TIMEOUT if request.timeout is None else request.timeout,
            stream=stream,
            body={**body, "stream": stream},
        )
        return calls.Call(
            *(model, ask, calls.Replies(PROVIDER, failure_of)),
            response_of=lambda document, headers: response_of(document, headers, request, model, warnings),
            reader_of=lambda headers: StreamReader(headers, request, model, warnings),
        )

    # ---- what is known in advance, or asked separately ----

    def model_notice(self, model: str) -> str | None:
        """Say that a model may end, where that is known."""
        return "; ".join(map(str, ending_warnings(model))) or None

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are requested in addition to `max_tokens`, for thinking."""
        return room(request, request.model or self.default_model, options_of(request))

    def pace(self, request: Request) -> Pace:
        """Say whether the model will think for longer than a small budget allows."""
        level = level_of(request, request.model or self.default_model, options_of(request))
        return Pace(thinks=level not in ("none", "minimal", "low"))

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask Cohere which models this account may chat with: no model is called, and nothing is charged."""
        self._account.check(PROVIDER)
        query = {"endpoint": "chat", "page_size": str(MOST_LISTED)}
        ask = Ask(path=MODELS_PATH, seconds=timeout, method="GET", query=query)
        return calls.list_models(self._lane, ask, REPLIES, models_of)

    # ---- the life of the lane ----

    def warm_up(self) -> None:
        """Do the slow preparation, so that the first request need not wait for it."""
        self._lane.prepare()

    def close(self) -> None:
        """Close all connections; those of an event loop that is busy are closed on it, a moment later."""
        self._lane.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and then all others."""
        await self._lane.aclose()
