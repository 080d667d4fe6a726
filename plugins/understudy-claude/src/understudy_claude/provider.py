"""The provider: what is asked of Anthropic, and on which lane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import ClassVar

from understudy import Capabilities, ChatProvider, Failure, LLMResponse, Request, Settings, StreamEvent
from understudy.classify import classify_exception
from understudy.provider import Pace
from understudy_claude import refusals
from understudy_claude.account import CREDENTIALS, credentials
from understudy_claude.failures import PROVIDER, failure_of_reply
from understudy_claude.history import account_mark
from understudy_claude.models import DEFAULT_MODEL, NEWEST_VERSION, ending_warnings, heartbeat, takes_prefill
from understudy_claude.reply import model_ids, response_of
from understudy_claude.streaming import StreamReader
from understudy_claude.thinking import plan
from understudy_claude.wire import request_body
from understudy_toolkit import calls
from understudy_toolkit.account import read_account
from understudy_toolkit.lanes import Ask
from understudy_toolkit.transport import lane_of

BASE_URL = "https://api.anthropic.com"
PATH = "/v1/messages"
MODELS_PATH = "/v1/models"
TIMEOUT = 60.0  # seconds: about what 4096 tokens take

REPLIES = calls.Replies(PROVIDER, failure_of_reply)


class ClaudeProvider(ChatProvider):
    """Claude, through Anthropic's SDK, or over HTTP without it.

    Args:
        settings: where ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL, CLAUDE_MODEL and CLAUDE_TRANSPORT come from.

    Raises:
        ConfigurationError: one of them is malformed.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, files=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, settings: Settings) -> None:
        self._account = read_account(
            settings,
            key="ANTHROPIC_API_KEY",
            url="ANTHROPIC_BASE_URL",
            default_url=BASE_URL,
            model="CLAUDE_MODEL",
            default_model=DEFAULT_MODEL,
            transport="CLAUDE_TRANSPORT",
            headers="ANTHROPIC_CUSTOM_HEADERS",
            credentials=CREDENTIALS,
        )
        self.default_model: str = self._account.model
        self.credential = self._account.credential
        self._mark = account_mark(self.credential)
        self._lane = lane_of(self._account, "understudy_claude.sdk", lambda: credentials(self._account))
        self.capabilities = replace(
            self.capabilities,
            prefill=takes_prefill(self.default_model) is True,
            keeps_deadline=self._lane.keeps_deadline,
        )

    def __repr__(self) -> str:
        return f"ClaudeProvider(base_url={self._account.shown_url!r}, default_model={self.default_model!r})"

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
        with calls.failures_of(model, REPLIES):
            body, asked = request_body(request, model, self._mark, self._known(request))
        ask = Ask(
            path=PATH,
            seconds=TIMEOUT if request.timeout is None else request.timeout,
            stream=stream,
            body={**body, "stream": True} if stream else body,
            headers={"anthropic-version": asked.version},
        )

        def learn(exception: BaseException) -> Failure:
            failure = classify_exception(exception)
            refusals.note(self._account.base_url, model, request, failure)
            return failure

        return calls.Call(
            *(model, ask, replace(REPLIES, failure_of_exception=learn)),
            response_of=lambda document, headers: response_of(document, headers, asked),
            reader_of=lambda headers: StreamReader(headers, asked),
        )

    def _known(self, request: Request) -> refusals.Known:
        return refusals.known(self._account.base_url, request.model or self.default_model, request)

    # ---- what is known in advance, or asked separately ----

    def model_notice(self, model: str) -> str | None:
        """Say when a model will be retired, if that is known."""
        return "; ".join(map(str, ending_warnings(model))) or None

    def takes_prefill(self, model: str) -> bool:
        """Return whether a model is known to continue a begun answer."""
        return takes_prefill(model) is True

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are requested in addition to `max_tokens`, for thinking."""
        return plan(request, request.model or self.default_model, self._known(request)).room

    def pace(self, request: Request) -> Pace:
        """Say whether the model will think for a while, and how often Anthropic pings; gateways may drop the pings."""
        level = plan(request, request.model or self.default_model, self._known(request)).level
        return Pace(
            thinks=level not in ("none", "minimal", "low"),
            heartbeat=heartbeat(request) if self._account.is_vendor else None,
        )

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask which models this account may use, as many as one page holds: 1000, the newest first."""
        self._account.check(PROVIDER)
        ask = Ask(
            path=MODELS_PATH,
            seconds=timeout,
            method="GET",
            query={"limit": "1000"},
            headers={"anthropic-version": NEWEST_VERSION},
        )
        return calls.list_models(self._lane, ask, REPLIES, model_ids)

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
