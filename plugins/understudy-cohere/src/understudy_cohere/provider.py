"""The provider: the SDK's clients and the four calls. The only module that touches Cohere's SDK, besides transport.py.

The SDK is asked for its raw response (`with_raw_response.chat_stream`), for plain answers too: that leaves the reply
unread, so its JSON and its events are read here as they are. The SDK itself would build models of them, return a page
of HTML as an error with status 200, and skip the events of a stream that it does not know. It retries no stream.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

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
    UnsupportedRequest,
)
from understudy_cohere.failures import PROVIDER, failure_of_exception, failure_of_reply
from understudy_cohere.models import DEFAULT_MODEL, Warnings, ending_warnings, level_of, room
from understudy_cohere.streaming import StreamReader
from understudy_cohere.wire import Json, models_of, options_of, request_body, response_of
from understudy_toolkit.clients import Clients, unwind

if TYPE_CHECKING:
    import httpx
    from cohere import AsyncClientV2, ClientV2

    from understudy_cohere import transport

BASE_URL = "https://api.cohere.com"
MOST_LISTED = 1000  # models on one page, where 20 are the default (cohere 7.3.1, models/client.py)
TIMEOUT = 60.0  # seconds, where a request gives none: the attempt timeout of every policy preset


class _Opened(NamedTuple):
    """The SDK's client, and the HTTP client below it, which the SDK does not close."""

    client: ClientV2
    http: transport.Client


class _AsyncOpened(NamedTuple):
    client: AsyncClientV2
    http: transport.AsyncClient


class CohereProvider(ChatProvider):
    """Cohere, through its SDK and the chat API v2.

    Args:
        settings: where COHERE_API_KEY, COHERE_BASE_URL and COHERE_MODEL come from; or the names that the SDK has for
            the first two, CO_API_KEY and CO_API_URL.

    Raises:
        ConfigurationError: the key or the URL is malformed.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, settings: Settings) -> None:
        keys = ("COHERE_API_KEY", "CO_API_KEY")
        self._key = settings.api_key(*keys)
        self._unavailable = None if self._key or not settings.needs_key else settings.missing(*keys)
        self._base_url = settings.base_url("COHERE_BASE_URL", "CO_API_URL", default=BASE_URL)
        self.default_model: str = settings.model("COHERE_MODEL", default=DEFAULT_MODEL)
        self.credential = settings.credential(self._key, self._base_url, default=BASE_URL)
        self._clients: Clients[_Opened, _AsyncOpened] = Clients(
            prepare=lambda: import_module("understudy_cohere.transport"),
            open=self._open,
            close=lambda opened: opened.http.close(),
            open_async=self._open_async,
            close_async=lambda opened: opened.http.aclose(),
        )

    def __repr__(self) -> str:
        return f"CohereProvider(base_url={self._base_url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return PROVIDER

    def unavailable_reason(self) -> str | None:
        """Say that the key is missing, where it is."""
        return self._unavailable

    def model_notice(self, model: str) -> str | None:
        """Say that a model may end, where that is known."""
        return "; ".join(map(str, ending_warnings(model))) or None

    def pace(self, request: Request) -> Pace:
        """Say whether the model will think for longer than a small budget allows."""
        level = level_of(request, request.model or self.default_model, options_of(request))
        return Pace(thinks=level not in ("none", "minimal", "low"))

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are asked for besides `max_tokens`: where the model thinks, that counts as well."""
        return room(request, request.model or self.default_model, options_of(request))

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask Cohere which models this account may chat with: no model is called, and nothing is charged.

        Args:
            timeout: seconds for the whole answer, above 0.

        Raises:
            UnsupportedRequest: a server at another address has no list of models.
            Failure: there is no answer.
        """
        if self._unavailable is not None:
            raise ProviderUnavailable(self._unavailable, provider=PROVIDER)
        try:
            with _failures_of(None):
                return self._list_models(timeout)
        except Failure as failure:
            if failure.status not in (404, 405):
                raise
            lack = f"does not list its models: GET /v1/models is answered with status {failure.status}"
            raise UnsupportedRequest(lack, provider=PROVIDER, status=failure.status) from None

    def _list_models(self, timeout: float) -> tuple[str, ...]:
        until = time.monotonic() + timeout
        http = self._clients.get().http
        from understudy_cohere import transport

        # past the SDK's own method, which would read a trickle for as long as it comes
        with http.stream(
            "GET",
            f"{self._base_url.rstrip('/')}/v1/models",
            params={"endpoint": "chat", "page_size": MOST_LISTED},
            headers={"Authorization": f"Bearer {self._revealed_key()}"},
            timeout=timeout,
        ) as response:
            content = transport.read(response, until)
        return models_of(_parse(response, content), response.headers)

    # ---- the four calls ----

    def generate(self, request: Request) -> LLMResponse:
        """Answer a request; the timeout bounds the whole attempt, give or take one wait."""
        model, body, warnings = self._prepare(request)
        with _failures_of(model):
            until = time.monotonic() + _seconds(request)
            client = self._clients.get().client
            from understudy_cohere import transport

            with client.with_raw_response.chat_stream(**_arguments(request, body, stream=False)) as raw:
                response = _response(raw)
                content = transport.read(response, until)
            return response_of(_parse(response, content), response.headers, request, model, warnings)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece; the timeout bounds the wait for each piece."""
        model, body, warnings = self._prepare(request)
        with _failures_of(model):
            client = self._clients.get().client
            from understudy_cohere import transport

            with client.with_raw_response.chat_stream(**_arguments(request, body, stream=True)) as raw:
                response = _response(raw)
                if not _has_type(response, "text/event-stream"):
                    content = transport.read(response, time.monotonic() + _seconds(request))
                    raise _unexpected(response, content)
                reader = StreamReader(response.headers, request, model, warnings)
                for data in response.iter_bytes():
                    yield from reader.read(data)
            yield reader.finish()

    async def agenerate(self, request: Request) -> LLMResponse:
        """Answer a request on the running event loop; the timeout bounds the whole attempt."""
        model, body, warnings = self._prepare(request)
        with _failures_of(model):
            client = (await self._clients.aget()).client
            async with asyncio.timeout(_seconds(request)):
                async with client.with_raw_response.chat_stream(**_arguments(request, body, stream=False)) as raw:
                    response = _response(raw)
                    content = await response.aread()
            return response_of(_parse(response, content), response.headers, request, model, warnings)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Answer a request piece by piece on the running event loop; the timeout bounds the wait for each piece."""
        model, body, warnings = self._prepare(request)
        with _failures_of(model):
            client = (await self._clients.aget()).client
            async with client.with_raw_response.chat_stream(**_arguments(request, body, stream=True)) as raw:
                response = _response(raw)
                if not _has_type(response, "text/event-stream"):
                    async with asyncio.timeout(_seconds(request)):
                        content = await response.aread()
                    raise _unexpected(response, content)
                reader = StreamReader(response.headers, request, model, warnings)
                pieces = response.aiter_bytes()
                try:
                    async for data in pieces:
                        for event in reader.read(data):
                            yield event
                finally:
                    await response.aclose()
                    await unwind(pieces)
            yield reader.finish()

    def _prepare(self, request: Request) -> tuple[str, Json, Warnings]:
        if self._unavailable is not None:
            raise ProviderUnavailable(self._unavailable, provider=PROVIDER)
        model = request.model or self.default_model
        with _failures_of(model):
            body, warnings = request_body(request, model)
        return model, body, warnings

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

    def _open(self) -> _Opened:
        from understudy_cohere import transport

        http = transport.Client(**transport.options_for(self._base_url))
        key = self._revealed_key()
        return _Opened(transport.ClientV2(key, base_url=self._base_url, httpx_client=http), http)

    def _open_async(self) -> _AsyncOpened:
        from understudy_cohere import transport

        http = transport.AsyncClient(**transport.options_for(self._base_url))
        key = self._revealed_key()
        return _AsyncOpened(transport.AsyncClientV2(key, base_url=self._base_url, httpx_client=http), http)

    def _revealed_key(self) -> str:
        return self._key.reveal() if self._key is not None else "none"  # a server without keys looks at none


# ---- what the SDK is given ----


def _arguments(request: Request, body: Json, *, stream: bool) -> dict[str, Any]:
    """Return the arguments of a call: our JSON goes past the SDK's own parameters, which are not all there are."""
    own = {**body, "stream": stream}
    seconds = _seconds(request)
    options = {
        "timeout": seconds,
        "timeout_in_seconds": seconds,  # the only name for it before 7.0.9
        "max_retries": 0,
        "additional_body_parameters": own,
    }
    return {"model": body["model"], "messages": [], "request_options": options}


def _seconds(request: Request) -> float:
    return TIMEOUT if request.timeout is None else request.timeout


# ---- what the SDK gives back ----


def _response(raw: Any) -> httpx.Response:
    """Return the open reply that the SDK has in hand: under a public name since 7.1.1."""
    response: httpx.Response = getattr(raw, "response", None) or raw._response
    return response


@contextmanager
def _failures_of(model: str | None) -> Iterator[None]:
    """Turn whatever goes wrong into one of our failures, with the model's name on it, where one was asked."""
    try:
        yield
    except Exception as exception:
        failure = failure_of_exception(exception)
        failure.model = failure.model or model
        if failure is exception:
            raise
        raise failure from failure.__cause__


def _parse(response: httpx.Response, content: bytes) -> Any:
    if not _has_type(response, "application/json"):
        raise _unexpected(response, content)
    try:
        return json.loads(content)
    except ValueError:
        raise _unexpected(response, content) from None


def _has_type(response: httpx.Response, expected: str) -> bool:
    found: str = response.headers.get("content-type", expected)
    return found.partition(";")[0].strip().lower() == expected


def _unexpected(response: httpx.Response, content: bytes) -> Failure:
    found = response.headers.get("content-type", "no content type")
    failure = failure_of_reply(response.status_code, response.headers, content)
    if type(failure) is MalformedResponse:
        failure = MalformedResponse(
            f"{failure.message} ({found})", provider=PROVIDER, status=failure.status, request_id=failure.request_id
        )
    return failure
