"""The provider: what is asked of OpenAI, or of a server that speaks its API, and on which lane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

from understudy import Capabilities, ChatProvider, Failure, LLMResponse, Request, Settings, StreamEvent
from understudy.provider import Pace
from understudy_openai import reply, streaming, streaming_responses, wire, wire_responses
from understudy_openai.adapting import adaptations_of, remember
from understudy_openai.connection import Connection
from understudy_openai.failures import failure_of_reply
from understudy_openai.models import Api, Endpoint, choose_api, ending_warnings, heartbeat
from understudy_openai.reasoning import level_of, room
from understudy_openai.shared import Json, Warnings, around, models_of, options_of
from understudy_openai.streaming import EventReader, Events
from understudy_toolkit import calls
from understudy_toolkit.clients import is_this_machine
from understudy_toolkit.lanes import Ask
from understudy_toolkit.transport import lane_of

MODELS_PATH = "/models"
TIMEOUT = 60.0  # seconds, as the other providers' default
_STREAMS = ("text/event-stream", "application/json")  # some servers send a whole answer where a stream was asked for


@dataclass(frozen=True, slots=True)
class _Api:
    """One of the two APIs: where it is, and the functions that speak it."""

    path: str
    request_body: Callable[..., tuple[Json, Warnings]]
    response_of: Callable[..., LLMResponse]
    reader: Callable[..., Events]


_APIS: dict[Api, _Api] = {
    "chat": _Api("/chat/completions", wire.request_body, reply.response_of, streaming.StreamReader),
    "responses": _Api(
        "/responses", wire_responses.request_body, wire_responses.response_of, streaming_responses.StreamReader
    ),
}


class OpenAIProvider(ChatProvider):
    """OpenAI, or a server that speaks its API, through OpenAI's SDK, or over HTTP without it.

    Args:
        settings: where OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_MODEL and OPENAI_TRANSPORT come from, or another
            provider's own table.

    Raises:
        ConfigurationError: one of them is malformed.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, files=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, settings: Settings) -> None:
        self._connection = connection = Connection.of(settings)
        self._account = connection.account
        self.default_model: str = self._account.model
        self.credential = self._account.credential
        self._endpoint = Endpoint.at(self._account.base_url, settings.provider_name, self.credential)
        self._replies = calls.Replies(self._endpoint.name, partial(failure_of_reply, self._endpoint.name))
        self._lane = lane_of(connection.account, "understudy_openai.sdk", lambda: connection.credentials, connection)
        self.capabilities = replace(self.capabilities, keeps_deadline=self._lane.keeps_deadline)

    def __repr__(self) -> str:
        name = f"name={self._endpoint.name!r}, " if self._connection.has_own_name else ""
        return f"OpenAIProvider({name}base_url={self._account.shown_url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return self._endpoint.name

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
        self._account.check(self._endpoint.name)
        model, endpoint = request.model or self.default_model, self._endpoint
        refused = partial(self._failure_of_reply, request, model)
        replies = calls.Replies(endpoint.name, refused, streams=_STREAMS)
        with calls.failures_of(model, replies):
            options = options_of(request, endpoint)
            headers, query = around(options, endpoint)
            api = _APIS[choose_api(request, model, endpoint, options)]
            body, warnings = api.request_body(request, model, endpoint, stream=stream)
        ask = Ask(
            path=api.path,
            seconds=TIMEOUT if request.timeout is None else request.timeout,
            stream=stream,
            body=body,
            headers=headers,
            query=query,
        )
        asked = (request if request.model else replace(request, model=model)), endpoint, warnings
        return calls.Call(
            *(model, ask, replies),
            response_of=lambda document, headers: api.response_of(document, headers, *asked),
            reader_of=lambda headers: EventReader(api.reader(headers, *asked), endpoint),
        )

    def _failure_of_reply(
        self, request: Request, model: str, status: int, headers: Mapping[str, str], body: Any
    ) -> Failure:
        """Return what a reply means, and remember where it says how this model wants to be asked."""
        known = adaptations_of(request, model, self._endpoint)
        failure = failure_of_reply(self._endpoint.name, status, headers, body, known=known)
        remember(failure.adaptation, request, model, self._endpoint)
        return failure

    # ---- what is known in advance, or asked separately ----

    def model_notice(self, model: str) -> str | None:
        """Say when a model will be retired, if that is known."""
        return "; ".join(map(str, ending_warnings(model, self._endpoint))) or None

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are requested in addition to `max_tokens`, for reasoning."""
        return room(request, request.model or self.default_model, options_of(request, self._endpoint))

    def pace(self, request: Request) -> Pace:
        """Say whether the model will reason at more than a low effort, and how often OpenAI shows that it works."""
        model, options = request.model or self.default_model, options_of(request, self._endpoint)
        return Pace(
            thinks=level_of(request, model, options) not in ("none", "minimal", "low"),
            heartbeat=heartbeat(request, model, self._endpoint, options),
            local=self._connection.has_own_name and is_this_machine(self._account.base_url),
        )

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask the server which models this account may use: no model is called, and nothing is charged."""
        self._account.check(self._endpoint.name)
        ask = Ask(path=MODELS_PATH, seconds=timeout, method="GET")
        return calls.list_models(self._lane, ask, self._replies, partial(models_of, endpoint=self._endpoint))

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
