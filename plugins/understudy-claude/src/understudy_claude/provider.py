"""The provider: the SDK's clients and the four calls. The only module that touches Anthropic's SDK.

The SDK is asked for the vendor's JSON as it is (`client.post` with a plain type): no models are built from it, a page
of HTML is seen for what it is, and no setting is refused on this side of the wire. Its retries are off.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from understudy import (
    Capabilities,
    ChatProvider,
    Failure,
    LLMResponse,
    MalformedResponse,
    ProviderUnavailable,
    Request,
    Settings,
    StreamEvent,
    Timeout,
)
from understudy_claude.failures import PROVIDER, failure_of_exception, failure_of_reply
from understudy_claude.models import DEFAULT_MODEL
from understudy_claude.wire import Json, StreamReader, Warnings, request_body, response_of

if TYPE_CHECKING:
    import anthropic
    import httpx2

BASE_URL = "https://api.anthropic.com"
PATH = "/v1/messages"
TIMEOUT = 60.0  # seconds: about what 4096 tokens take
CONNECT_TIMEOUT = 5.0  # seconds, as the SDK's own default


class ClaudeProvider(ChatProvider):
    """Claude, through Anthropic's SDK.

    Args:
        settings: where ANTHROPIC_API_KEY, ANTHROPIC_BASE_URL and CLAUDE_MODEL come from.

    Raises:
        ConfigurationError: the key or the URL is malformed.
    """

    capabilities = Capabilities(
        tools=True, images=True, files=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, settings: Settings) -> None:
        self._key = settings.secret("ANTHROPIC_API_KEY")
        self._unavailable = settings.missing("ANTHROPIC_API_KEY") if self._key is None else None
        self._base_url = settings.url("ANTHROPIC_BASE_URL", default=BASE_URL) or BASE_URL
        self.default_model: str = settings.get("CLAUDE_MODEL") or DEFAULT_MODEL
        self._lock = threading.Lock()
        self._client: anthropic.Anthropic | None = None
        self._async_clients: WeakKeyDictionary[asyncio.AbstractEventLoop, _HeldClient] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"ClaudeProvider(base_url={self._base_url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return PROVIDER

    def unavailable_reason(self) -> str | None:
        """Say that the key is missing, where it is."""
        return self._unavailable

    # ---- the four calls ----

    def generate(self, request: Request) -> LLMResponse:
        """Answer a request; the timeout bounds the whole attempt, give or take one wait."""
        model, body, warnings = self._prepare(request)
        import anthropic
        import httpx2

        with _failures_of(model):
            until = time.monotonic() + _seconds(request)
            client = self._sync_client()
            # asked for as a stream, so that it is read here, where the time is watched
            unread = client.post(
                PATH,
                cast_to=httpx2.Response,
                body=body,
                options=_options(request),
                stream=True,
                stream_cls=anthropic.Stream[object],
            )
            response = cast("httpx2.Response", unread)
            try:
                content = _read(response, until)
            finally:
                response.close()
            return response_of(_parse(response, content), response.headers, request, warnings)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece; the timeout bounds the wait for each piece."""
        model, body, warnings = self._prepare(request)
        import anthropic

        with _failures_of(model):
            client = self._sync_client()
            events = client.post(
                PATH,
                cast_to=object,
                body={**body, "stream": True},
                options=_options(request),
                stream=True,
                stream_cls=anthropic.Stream[object],
            )
            try:
                if not _has_type(events.response, "text/event-stream"):
                    raise _unexpected(events.response, events.response.read())
                reader = StreamReader(events.response.headers, request, warnings)
                for event in events:
                    yield from reader.feed(event)
                yield reader.finish()
            finally:
                events.close()

    async def agenerate(self, request: Request) -> LLMResponse:
        """Answer a request on the running event loop; the timeout bounds the whole attempt."""
        model, body, warnings = self._prepare(request)
        with _failures_of(model):
            client = await self._async_client()
            import httpx2

            async with asyncio.timeout(_seconds(request)):
                response = await client.post(PATH, cast_to=httpx2.Response, body=body, options=_options(request))
            return response_of(_parse(response, response.content), response.headers, request, warnings)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Answer a request piece by piece on the running event loop; the timeout bounds the wait for each piece."""
        model, body, warnings = self._prepare(request)
        with _failures_of(model):
            client = await self._async_client()
            import anthropic

            events = await client.post(
                PATH,
                cast_to=object,
                body={**body, "stream": True},
                options=_options(request),
                stream=True,
                stream_cls=anthropic.AsyncStream[object],
            )
            try:
                if not _has_type(events.response, "text/event-stream"):
                    raise _unexpected(events.response, await events.response.aread())
                reader = StreamReader(events.response.headers, request, warnings)
                async for event in events:
                    for piece in reader.feed(event):
                        yield piece
                yield reader.finish()
            finally:
                await events.close()

    def _prepare(self, request: Request) -> tuple[str, Json, Warnings]:
        if self._unavailable is not None:
            raise ProviderUnavailable(self._unavailable, provider=PROVIDER)
        model = request.model or self.default_model
        with _failures_of(model):
            body, warnings = request_body(request, model)
        return model, body, warnings

    # ---- clients ----

    def close(self) -> None:
        """Close all connections; those of an event loop that is busy are closed on it, a moment later."""
        with self._lock:
            client, self._client = self._client, None
            held = list(self._async_clients.items())
            self._async_clients.clear()
        if client is not None:
            client.close()
        for loop, other in held:
            if loop.is_closed():
                continue
            if loop.is_running() or _in_event_loop():  # no other loop may run in this thread now
                asyncio.run_coroutine_threadsafe(other.aclose(), loop)
            else:
                loop.run_until_complete(other.aclose())

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and then all others."""
        with self._lock:
            own = self._async_clients.pop(asyncio.get_running_loop(), None)
        if own is not None:
            await own.aclose()
        self.close()

    def _sync_client(self) -> anthropic.Anthropic:
        client = self._client
        if client is not None:
            return client
        import anthropic

        with self._lock:
            if self._client is None:
                http_client = _http_client(self._base_url)
                client = anthropic.Anthropic(
                    api_key=self._revealed_key(), base_url=self._base_url, max_retries=0, http_client=http_client
                )
                http_client.auth = _credentials(client.auth_headers)
                self._client = client
            return self._client

    async def _async_client(self) -> anthropic.AsyncAnthropic:
        """Return the client of the running event loop: connections cannot be used from another one."""
        loop = asyncio.get_running_loop()
        if "anthropic" not in sys.modules:
            await asyncio.to_thread(import_module, "anthropic")  # a second or two, in which the loop goes on
        held = self._async_clients.get(loop)
        if held is None:
            import anthropic

            http_client = _async_http_client(self._base_url)
            client = anthropic.AsyncAnthropic(
                api_key=self._revealed_key(), base_url=self._base_url, max_retries=0, http_client=http_client
            )
            http_client.auth = _credentials(client.auth_headers)
            held = _HeldClient(client)
            with self._lock:
                for closed in [other for other in self._async_clients if other.is_closed()]:
                    del self._async_clients[closed]
                self._async_clients[loop] = held
            await held.hold()
        return held.client

    def _revealed_key(self) -> str:
        return self._key.reveal() if self._key is not None else ""


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class _HeldClient:
    """An async client that is closed when its event loop ends.

    Before asyncio.run closes its loop, it closes the asynchronous generators that were begun there. One that waits at
    its yield until then is how a library can close connections that nobody else knows of.
    """

    def __init__(self, client: anthropic.AsyncAnthropic) -> None:
        self.client = client
        self._holder = self._hold()

    async def hold(self) -> None:
        await anext(self._holder)

    async def aclose(self) -> None:
        await self._holder.aclose()

    async def _hold(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            await self.client.close()


# ---- what the SDK is given ----


def _options(request: Request) -> anthropic.RequestOptions:
    import httpx2

    seconds = _seconds(request)
    return {"timeout": httpx2.Timeout(seconds, connect=min(seconds, CONNECT_TIMEOUT))}


def _credentials(auth_headers: Mapping[str, str]) -> Callable[[httpx2.Request], httpx2.Request]:
    """Return what sets the key at the last moment: ANTHROPIC_CUSTOM_HEADERS must not send another in its place.

    Given to the SDK with each request instead, the key would stand in its debug log.
    """

    def set_key(request: httpx2.Request) -> httpx2.Request:
        for name in ("Authorization", "X-Api-Key"):
            request.headers.pop(name, None)
        request.headers.update(auth_headers)
        return request

    return set_key


def _seconds(request: Request) -> float:
    return TIMEOUT if request.timeout is None else request.timeout


def _http_client(base_url: str) -> httpx2.Client:
    """Return an HTTP client that follows no redirection; a proxy of the environment is used, but never to this host."""
    import anthropic
    import httpx2

    if _is_loopback(base_url):
        return httpx2.Client(
            verify=_certificates(base_url), trust_env=False, limits=anthropic.DEFAULT_CONNECTION_LIMITS
        )
    return anthropic.DefaultHttpxClient(verify=_certificates(base_url), follow_redirects=False)


def _async_http_client(base_url: str) -> httpx2.AsyncClient:
    import anthropic
    import httpx2

    if _is_loopback(base_url):
        return httpx2.AsyncClient(
            verify=_certificates(base_url), trust_env=False, limits=anthropic.DEFAULT_CONNECTION_LIMITS
        )
    return anthropic.DefaultAsyncHttpxClient(verify=_certificates(base_url), follow_redirects=False)


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _certificates(base_url: str) -> ssl.SSLContext:
    if base_url.startswith("http://") and _is_loopback(base_url):
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # never used, so it trusts nobody: loading takes 30 ms
    return _shared_certificates()


@lru_cache(maxsize=1)
def _shared_certificates() -> ssl.SSLContext:
    import httpx2

    return httpx2.create_ssl_context()


# ---- what the SDK gives back ----


@contextmanager
def _failures_of(model: str) -> Iterator[None]:
    """Turn whatever goes wrong into one of our failures, with the model's name on it."""
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
