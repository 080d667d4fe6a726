"""The provider: the SDK's clients and the four calls. The only module that touches Anthropic's SDK.

The SDK is asked for the reply as it is: no models are built from it, a page of HTML is seen for what it is, and no
setting is refused on this side of the wire. Streams are read here too, because the SDK's reader keeps pings to itself.
Its retries are off.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
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
)
from understudy_claude.failures import PROVIDER, failure_of_exception, failure_of_reply
from understudy_claude.history import Json, account_mark
from understudy_claude.models import DEFAULT_MODEL, NEWEST_VERSION, ending_warnings, heartbeat, takes_prefill
from understudy_claude.streaming import StreamReader
from understudy_claude.thinking import plan
from understudy_claude.wire import Asked, model_ids, request_body, response_of
from understudy_toolkit.clients import Clients, unwind

if TYPE_CHECKING:
    import anthropic
    import httpx2

BASE_URL = "https://api.anthropic.com"
PATH = "/v1/messages"
MODELS_PATH = "/v1/models"
TIMEOUT = 60.0  # seconds: about what 4096 tokens take
CONNECT_TIMEOUT = 5.0  # seconds, as the SDK's own default


class ClaudeProvider(ChatProvider):
    """Claude, through Anthropic's SDK.

    Args:
        settings: where ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL and CLAUDE_MODEL come from.

    Raises:
        ConfigurationError: the key or the URL is malformed.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, files=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, settings: Settings) -> None:
        self._key = settings.api_key("ANTHROPIC_API_KEY")
        self._unavailable = None if self._key or not settings.needs_key else settings.missing("ANTHROPIC_API_KEY")
        self._base_url = settings.base_url("ANTHROPIC_BASE_URL", default=BASE_URL)
        self.default_model: str = settings.model("CLAUDE_MODEL", default=DEFAULT_MODEL)
        self.capabilities = replace(self.capabilities, prefill=takes_prefill(self.default_model) is True)
        self.credential = settings.credential(self._key, self._base_url, default=BASE_URL)
        self._account = account_mark(self.credential)
        self._clients: Clients[anthropic.Anthropic, anthropic.AsyncAnthropic] = Clients(
            prepare=lambda: import_module("understudy_claude.transport"),
            open=self._open,
            close=lambda client: client.close(),
            open_async=self._open_async,
            close_async=lambda client: client.close(),
        )

    def __repr__(self) -> str:
        return f"ClaudeProvider(base_url={self._base_url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return PROVIDER

    def unavailable_reason(self) -> str | None:
        """Say that the key is missing, where it is."""
        return self._unavailable

    def model_notice(self, model: str) -> str | None:
        """Say when a model ends, where its end is known."""
        return "; ".join(map(str, ending_warnings(model))) or None

    # ---- the four calls ----

    def generate(self, request: Request) -> LLMResponse:
        """Answer a request; the timeout bounds the whole attempt, give or take one wait."""
        model, body, asked = self._prepare(request)
        with _failures_of(model):
            until = time.monotonic() + _seconds(request)
            # asked for as a stream, so that it is read here, where the time is watched
            response = self._send(body, asked, request)
            try:
                content = _read(response, until)
            finally:
                response.close()
            return response_of(_parse(response, content), response.headers, asked)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece; the timeout bounds the wait for each piece."""
        model, body, asked = self._prepare(request)
        with _failures_of(model):
            response = self._send({**body, "stream": True}, asked, request)
            try:
                if not _has_type(response, "text/event-stream"):
                    raise _unexpected(response, response.read())
                reader = StreamReader(response.headers, asked)
                for data in response.iter_bytes():
                    yield from reader.read(data)
                yield reader.finish()
            finally:
                response.close()

    async def agenerate(self, request: Request) -> LLMResponse:
        """Answer a request on the running event loop; the timeout bounds the whole attempt."""
        model, body, asked = self._prepare(request)
        with _failures_of(model):
            client = await self._clients.aget()
            import httpx2

            async with asyncio.timeout(_seconds(request)):
                response = await client.post(
                    PATH, cast_to=httpx2.Response, body=body, options=_options(_seconds(request), asked.version)
                )
            return response_of(_parse(response, response.content), response.headers, asked)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Answer a request piece by piece on the running event loop; the timeout bounds the wait for each piece."""
        model, body, asked = self._prepare(request)
        with _failures_of(model):
            client = await self._clients.aget()
            import anthropic
            import httpx2

            unread = await client.post(
                PATH,
                cast_to=httpx2.Response,
                body={**body, "stream": True},
                options=_options(_seconds(request), asked.version),
                stream=True,
                stream_cls=anthropic.AsyncStream[object],
            )
            response = cast("httpx2.Response", unread)
            pieces = response.aiter_bytes()
            try:
                if not _has_type(response, "text/event-stream"):
                    raise _unexpected(response, await response.aread())
                reader = StreamReader(response.headers, asked)
                async for data in pieces:
                    for event in reader.read(data):
                        yield event
                yield reader.finish()
            finally:
                await response.aclose()
                await unwind(pieces)

    def _prepare(self, request: Request) -> tuple[str, Json, Asked]:
        if self._unavailable is not None:
            raise ProviderUnavailable(self._unavailable, provider=PROVIDER)
        model = request.model or self.default_model
        with _failures_of(model):
            body, asked = request_body(request, model, self._account)
        return model, body, asked

    def _send(self, body: Json, asked: Asked, request: Request) -> httpx2.Response:
        """Send a request, and return the reply with its body unread."""
        client = self._clients.get()
        import anthropic
        import httpx2

        unread = client.post(
            PATH,
            cast_to=httpx2.Response,
            body=body,
            options=_options(_seconds(request), asked.version),
            stream=True,
            stream_cls=anthropic.Stream[object],
        )
        return cast("httpx2.Response", unread)

    # ---- what is known beforehand ----

    def takes_prefill(self, model: str) -> bool:
        """Return whether a model is known to go on with a begun answer."""
        return takes_prefill(model) is True

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are asked for besides `max_tokens`, since thinking counts within the API's limit."""
        return plan(request, request.model or self.default_model).room

    def pace(self, request: Request) -> Pace:
        """Say whether the model will think for a while, and how often Anthropic pings; gateways may drop the pings."""
        level = plan(request, request.model or self.default_model).level
        return Pace(
            thinks=level not in ("none", "minimal", "low"),
            heartbeat=heartbeat(request) if self._base_url == BASE_URL else None,
        )

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask which models this account may use, as many as one page holds: 1000, the newest first."""
        if self._unavailable is not None:
            raise ProviderUnavailable(self._unavailable, provider=PROVIDER)
        import anthropic
        import httpx2

        with _failures_of(None):
            until = time.monotonic() + timeout
            client = self._clients.get()
            unread = client.get(
                MODELS_PATH,
                cast_to=httpx2.Response,
                options={**_options(timeout, NEWEST_VERSION), "params": {"limit": 1000}},
                stream=True,
                stream_cls=anthropic.Stream[object],
            )
            response = cast("httpx2.Response", unread)
            try:
                content = _read(response, until)
            finally:
                response.close()
            return model_ids(_parse(response, content), response.headers)

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

    def _open(self) -> anthropic.Anthropic:
        import anthropic

        from understudy_claude import transport

        http_client = transport.client(self._base_url)
        client = anthropic.Anthropic(
            api_key=self._revealed_key(), base_url=self._base_url, max_retries=0, http_client=http_client
        )
        http_client.auth = transport.credentials(client.auth_headers, self._key_elsewhere())
        return client

    def _open_async(self) -> anthropic.AsyncAnthropic:
        import anthropic

        from understudy_claude import transport

        http_client = transport.async_client(self._base_url)
        client = anthropic.AsyncAnthropic(
            api_key=self._revealed_key(), base_url=self._base_url, max_retries=0, http_client=http_client
        )
        http_client.auth = transport.credentials(client.auth_headers, self._key_elsewhere())
        return client

    def _key_elsewhere(self) -> str:
        return "" if self._base_url == BASE_URL else self._revealed_key()

    def _revealed_key(self) -> str:
        return self._key.reveal() if self._key is not None else "none"  # a server without keys looks at none


# ---- what the SDK is given ----


def _options(seconds: float, version: str) -> anthropic.RequestOptions:
    import httpx2

    timeout = httpx2.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT))
    return {"timeout": timeout, "headers": {"anthropic-version": version}}


def _seconds(request: Request) -> float:
    return TIMEOUT if request.timeout is None else request.timeout


# ---- what the SDK gives back ----


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


def _read(response: httpx2.Response, until: float) -> bytes:
    pieces = []
    for piece in response.iter_bytes():
        pieces.append(piece)
        if time.monotonic() > until:  # each read has its own timeout: a trickle would pass them all
            raise Timeout("the answer came too slowly to be whole in time", provider=PROVIDER)
    return b"".join(pieces)


def _parse(response: httpx2.Response, content: bytes) -> Any:
    if not _has_type(response, "application/json"):
        raise _unexpected(response, content)
    try:
        return json.loads(content)
    except ValueError:
        raise _unexpected(response, content) from None


def _has_type(response: httpx2.Response, expected: str) -> bool:
    found: str = response.headers.get("content-type", expected)
    return found.partition(";")[0].strip().lower() == expected


def _unexpected(response: httpx2.Response, content: bytes) -> Failure:
    found = response.headers.get("content-type", "no content type")
    failure = failure_of_reply(response.status_code, response.headers, content)
    if type(failure) is MalformedResponse:
        failure = MalformedResponse(
            f"{failure.message} ({found})", provider=PROVIDER, status=failure.status, request_id=failure.request_id
        )
    return failure
