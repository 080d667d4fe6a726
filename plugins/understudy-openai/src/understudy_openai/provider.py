"""The provider: the SDK's clients and the four calls. The only module, with transport.py, that touches OpenAI's SDK.

The SDK is asked for the reply as it is: no models are built from it, a page of HTML is seen for what it is, and no
setting is refused on this side of the wire. Streams are read here too, because the SDK's reader keeps the end marker to
itself. Its retries are off.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, cast

from understudy import (
    Capabilities,
    ChatProvider,
    Failure,
    LLMResponse,
    MalformedResponse,
    Pace,
    ProviderUnavailable,
    Request,
    Settings,
    StreamEvent,
    Timeout,
    UnsupportedRequest,
)
from understudy_openai import streaming, streaming_responses, wire, wire_responses
from understudy_openai.failures import failure_of_exception, failure_of_reply
from understudy_openai.models import DEFAULT_MODEL, Api, Endpoint, choose_api, ending_warnings, heartbeat
from understudy_openai.reasoning import level_of, room
from understudy_openai.shared import Json, Warnings, models_of, options_of
from understudy_toolkit.clients import Clients, is_this_machine, unwind

if TYPE_CHECKING:
    import httpx2
    import openai

    Reader = streaming.StreamReader | streaming_responses.StreamReader

BASE_URL = "https://api.openai.com/v1"
TIMEOUT = 60.0  # seconds, as the other providers' default
CONNECT_TIMEOUT = 5.0  # seconds, as the SDK's own default


class OpenAIProvider(ChatProvider):
    """OpenAI, or a server that speaks its API, through OpenAI's SDK.

    Args:
        settings: where OPENAI_API_KEY, OPENAI_BASE_URL and OPENAI_MODEL come from, or another provider's own table.

    Raises:
        ConfigurationError: the key or the URL is malformed.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, files=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, settings: Settings) -> None:
        self._key = settings.api_key("OPENAI_API_KEY")
        self._unavailable = None if self._key or not settings.needs_key else settings.missing("OPENAI_API_KEY")
        self._base_url = settings.base_url("OPENAI_BASE_URL", default=BASE_URL)
        self.credential = settings.credential(self._key, self._base_url, default=BASE_URL)
        self._endpoint = Endpoint.at(self._base_url, settings.provider_name, self.credential)
        self.default_model: str = settings.model("OPENAI_MODEL", default=DEFAULT_MODEL)
        self._has_own_name = settings.provider_name is not None
        charged = {"OpenAI-Organization": "OPENAI_ORG_ID", "OpenAI-Project": "OPENAI_PROJECT_ID"}
        found = {} if self._has_own_name else {name: settings.get(variable) for name, variable in charged.items()}
        self._charged = {name: value for name, value in found.items() if value is not None}
        self._clients: Clients[openai.OpenAI, openai.AsyncOpenAI] = Clients(
            prepare=lambda: import_module("understudy_openai.transport"),
            open=self._open,
            close=lambda client: client.close(),
            open_async=self._open_async,
            close_async=lambda client: client.close(),
        )

    def __repr__(self) -> str:
        name = f"name={self._endpoint.name!r}, " if self._has_own_name else ""
        return f"OpenAIProvider({name}base_url={self._base_url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return self._endpoint.name

    def unavailable_reason(self) -> str | None:
        """Say that the key is missing, where it is."""
        return self._unavailable

    def model_notice(self, model: str) -> str | None:
        """Say when a model ends, where its end is known."""
        return "; ".join(map(str, ending_warnings(model, self._endpoint))) or None

    def pace(self, request: Request) -> Pace:
        """Say whether the model will reason at more than a low effort, and how often OpenAI shows that it works."""
        model, options = request.model or self.default_model, options_of(request, self._endpoint)
        return Pace(
            thinks=level_of(request, model, options) not in ("none", "minimal", "low"),
            heartbeat=heartbeat(request, model, self._endpoint, options),
            local=self._has_own_name and is_this_machine(self._base_url),
        )

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are asked for besides `max_tokens`: where the model reasons, that counts as well."""
        return room(request, request.model or self.default_model, options_of(request, self._endpoint))

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask the server which models this account may use: no model is called, and nothing is charged.

        Args:
            timeout: seconds for the whole answer, above 0.

        Raises:
            UnsupportedRequest: the server has no list of models.
            Failure: there is no answer.
        """
        if self._unavailable is not None:
            raise ProviderUnavailable(self._unavailable, provider=self._endpoint.name)
        try:
            with self._failures_of(None):
                return self._list_models(timeout)
        except Failure as failure:
            if failure.status not in (404, 405):
                raise
            lack = f"does not list its models: GET /models is answered with status {failure.status}"
            raise UnsupportedRequest(lack, provider=self._endpoint.name, status=failure.status) from None

    def _list_models(self, timeout: float) -> tuple[str, ...]:
        until = time.monotonic() + timeout
        client = self._clients.get()
        import httpx2
        import openai

        unread = client.get(
            "/models",
            cast_to=httpx2.Response,
            options=_options(timeout),
            stream=True,
            stream_cls=openai.Stream[object],
        )
        response = cast("httpx2.Response", unread)
        try:
            content = self._read(response, until)
        finally:
            response.close()
        return models_of(self._parse(response, content), response.headers, self._endpoint)

    # ---- the four calls ----

    def generate(self, request: Request) -> LLMResponse:
        """Answer a request; the timeout bounds the whole attempt, give or take one wait."""
        call = self._prepare(request)
        with self._failures_of(call.model):
            until = time.monotonic() + _seconds(request)
            response = self._send(call, request)
            try:
                content = self._read(response, until)
            finally:
                response.close()
            body = self._parse(response, content)
            return call.api.response_of(body, response.headers, call.request, self._endpoint, call.warnings)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece; the timeout bounds the wait for each piece."""
        call = self._prepare(request, stream=True)
        import httpx2

        with self._failures_of(call.model):
            response = self._send(call, request)
            try:
                if not _has_type(response, "text/event-stream"):
                    raise self._unexpected(response, response.read())
                reader = call.api.reader(response.headers, call.request, self._endpoint, call.warnings)
                with _breaks_after_the_end(reader):
                    for event in httpx2.EventSource(response, max_event_size=None):
                        yield from reader.feed(event.event, event.data)
                yield reader.finish()
            finally:
                response.close()

    async def agenerate(self, request: Request) -> LLMResponse:
        """Answer a request on the running event loop; the timeout bounds the whole attempt."""
        call = self._prepare(request)
        with self._failures_of(call.model):
            async with asyncio.timeout(_seconds(request)):
                response = await self._asend(call, request)
                try:
                    content = await response.aread()
                finally:
                    await response.aclose()
            body = self._parse(response, content)
            return call.api.response_of(body, response.headers, call.request, self._endpoint, call.warnings)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Answer a request piece by piece on the running event loop; the timeout bounds the wait for each piece."""
        call = self._prepare(request, stream=True)
        with self._failures_of(call.model):
            response = await self._asend(call, request)
            import httpx2

            events = aiter(httpx2.EventSource(response, max_event_size=None))
            try:
                if not _has_type(response, "text/event-stream"):
                    raise self._unexpected(response, await response.aread())
                reader = call.api.reader(response.headers, call.request, self._endpoint, call.warnings)
                with _breaks_after_the_end(reader):
                    async for event in events:
                        for piece in reader.feed(event.event, event.data):
                            yield piece
                yield reader.finish()
            finally:
                await response.aclose()
                await unwind(events)

    def _prepare(self, request: Request, *, stream: bool = False) -> _Call:
        if self._unavailable is not None:
            raise ProviderUnavailable(self._unavailable, provider=self._endpoint.name)
        model = request.model or self.default_model
        with self._failures_of(model):
            api = _APIS[choose_api(request, model, self._endpoint, options_of(request, self._endpoint))]
            body, warnings = api.request_body(request, model, self._endpoint, stream=stream)
        return _Call(api, model, body, warnings, request if request.model else replace(request, model=model))

    # ---- clients ----

    def warm_up(self) -> None:
        """Import the SDK, so that the first question need not wait for it."""
        self._clients.prepare()

    def close(self) -> None:
        """Close all connections; those of an event loop that is busy are closed on it, a moment later."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and then all others."""
        await self._clients.aclose()

    def _open(self) -> openai.OpenAI:
        import openai

        from understudy_openai import transport

        http_client = transport.client(self._base_url)
        client = openai.OpenAI(api_key="none", base_url=self._base_url, max_retries=0, http_client=http_client)
        http_client.auth = transport.account(self._account(), self._foreign_headers(client))
        return client

    def _open_async(self) -> openai.AsyncOpenAI:
        import openai

        from understudy_openai import transport

        http_client = transport.async_client(self._base_url)
        client = openai.AsyncOpenAI(api_key="none", base_url=self._base_url, max_retries=0, http_client=http_client)
        http_client.auth = transport.account(self._account(), self._foreign_headers(client))
        return client

    def _account(self) -> dict[str, str]:
        key = {"Authorization": f"Bearer {self._key.reveal()}"} if self._key is not None else {}
        return {**key, **self._charged}

    def _foreign_headers(self, client: openai.OpenAI | openai.AsyncOpenAI) -> list[str]:
        from understudy_openai import transport

        return transport.headers_of_environment(client) if self._has_own_name else []

    # ---- what the SDK is given, and gives back ----

    def _send(self, call: _Call, request: Request) -> httpx2.Response:
        """Send a request, and return the reply with its body unread: it is read where the time is watched."""
        client = self._clients.get()
        import httpx2
        import openai

        unread = client.post(
            call.api.path,
            cast_to=httpx2.Response,
            body=call.body,
            options=_options(_seconds(request)),
            stream=True,
            stream_cls=openai.Stream[object],
        )
        return cast("httpx2.Response", unread)

    async def _asend(self, call: _Call, request: Request) -> httpx2.Response:
        client = await self._clients.aget()
        import httpx2
        import openai

        unread = await client.post(
            call.api.path,
            cast_to=httpx2.Response,
            body=call.body,
            options=_options(_seconds(request)),
            stream=True,
            stream_cls=openai.AsyncStream[object],
        )
        return cast("httpx2.Response", unread)

    @contextmanager
    def _failures_of(self, model: str | None) -> Iterator[None]:
        """Turn whatever goes wrong into one of our failures, with the model's name on it, where one was asked."""
        try:
            yield
        except Exception as exception:
            failure = failure_of_exception(self._endpoint.name, exception)
            failure.model = failure.model or model
            if failure is exception:
                raise
            raise failure from failure.__cause__

    def _read(self, response: httpx2.Response, until: float) -> bytes:
        pieces = []
        for piece in response.iter_bytes():
            pieces.append(piece)
            if time.monotonic() > until:  # each read has its own timeout: a trickle would pass them all
                raise Timeout("the answer came too slowly to be whole in time", provider=self._endpoint.name)
        return b"".join(pieces)

    def _parse(self, response: httpx2.Response, content: bytes) -> Any:
        if not _has_type(response, "application/json"):
            raise self._unexpected(response, content)
        try:
            return json.loads(content)
        except ValueError:
            raise self._unexpected(response, content) from None

    def _unexpected(self, response: httpx2.Response, content: bytes) -> Failure:
        found = response.headers.get("content-type", "no content type")
        failure = failure_of_reply(self._endpoint.name, response.status_code, response.headers, content)
        if type(failure) is MalformedResponse:
            failure = MalformedResponse(
                f"{failure.message} ({found})",
                provider=self._endpoint.name,
                status=failure.status,
                request_id=failure.request_id,
            )
        return failure


@dataclass(frozen=True, slots=True)
class _Api:
    """One of the two APIs: where it is, and the functions that speak it."""

    path: str
    request_body: Callable[..., tuple[Json, Warnings]]
    response_of: Callable[..., LLMResponse]
    reader: Callable[..., Reader]


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, ready to be sent."""

    api: _Api
    model: str
    body: Json
    warnings: Warnings
    request: Request  # what was asked, with the model's name in it


_APIS: dict[Api, _Api] = {
    "chat": _Api("/chat/completions", wire.request_body, wire.response_of, streaming.StreamReader),
    "responses": _Api(
        "/responses", wire_responses.request_body, wire_responses.response_of, streaming_responses.StreamReader
    ),
}


def _options(seconds: float) -> openai.RequestOptions:
    import httpx2

    return {"timeout": httpx2.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT))}


def _seconds(request: Request) -> float:
    return TIMEOUT if request.timeout is None else request.timeout


def _has_type(response: httpx2.Response, expected: str) -> bool:
    found: str = response.headers.get("content-type", "application/json")
    return found.partition(";")[0].strip().lower() == expected


@contextmanager
def _breaks_after_the_end(reader: Reader) -> Iterator[None]:
    """Let pass a connection that breaks when the answer is whole; it is read to its end to be used again."""
    import httpx2

    try:
        yield
    except httpx2.TransportError:
        if not reader.ended:
            raise
