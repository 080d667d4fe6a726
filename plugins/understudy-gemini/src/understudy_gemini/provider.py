"""The providers `gemini` and `vertex`: the life of the SDK's clients, and the four calls. The SDK is used only here."""

from __future__ import annotations

import asyncio
import logging
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from understudy import (
    Capabilities,
    ChatProvider,
    Clients,
    Failure,
    LLMResponse,
    ProviderUnavailable,
    Request,
    ResponseWarning,
    StreamEvent,
    Timeout,
    unwind,
)
from understudy_gemini.connection import Connection
from understudy_gemini.failures import failure_of_exception
from understudy_gemini.models import ending_warnings, takes_prefill
from understudy_gemini.streaming import StreamReader
from understudy_gemini.wire import read_json, request_body, response_of

if TYPE_CHECKING:
    import httpx2
    from google.genai import Client, types

    from understudy_gemini import transport

DEFAULT_TIMEOUT = 60.0  # seconds, where a request gives none: the attempt timeout of every policy preset


class _Call(NamedTuple):
    """One call as the SDK takes it: our JSON goes past the SDK's models, which refuse what they do not know."""

    model: str
    arguments: dict[str, Any]
    warnings: tuple[ResponseWarning, ...]


class _Opened(NamedTuple):
    """The SDK's client, and what closes its connections: the SDK leaves clients alone that it was given."""

    client: Client
    close: Callable[[], Any]


class GeminiProvider(ChatProvider):
    """Gemini through google-genai.

    Args:
        connection: where it is reached, and how one signs in.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, files=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.default_model = connection.model
        self.capabilities = replace(self.capabilities, prefill=takes_prefill(connection.model) is True)
        self.credential = connection.credential
        self._credentials: Any = None
        self._clients: Clients[_Opened, _Opened] = Clients(
            prepare=self._prepare,
            open=self._open,
            close=lambda opened: opened.close(),
            open_async=self._open_async,
            close_async=lambda opened: opened.close(),
        )

    def get_provider_name(self) -> str:
        """Return "gemini" or "vertex"."""
        return self._connection.provider

    def unavailable_reason(self) -> str | None:
        """Say which variable to set, where one is missing."""
        return self._connection.unavailable

    def model_notice(self, model: str) -> str | None:
        """Say when a model ends, where its end is known."""
        return "; ".join(map(str, ending_warnings(model))) or None

    # ---- The four calls --------------------------------------------------------------------------------------------
    # A failure is raised after the `except`, not in it, so that it does not drag along the SDK's exception: that, and
    # the frames of its traceback, hold the request with the key among its headers.

    def generate(self, request: Request) -> LLMResponse:
        """Answer a request."""
        try:
            client = self._clients.get().client
            call = self._call(request, whole=True)
            reply = client.models.generate_content(**call.arguments)
            return self._response(request, call, reply)
        except Exception as exception:
            failure = failure_of_exception(exception)
        raise self._named(failure, request)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece."""
        response: httpx2.Response | None = None
        try:
            client = self._clients.get().client
            call = self._call(request, whole=False)
            response = _open_stream(client, call)
            reader = self._reader(request, call, response)
            for data in response.iter_bytes():
                yield from reader.read(data)
            yield from reader.end()
            return
        except Exception as exception:
            failure = failure_of_exception(exception)
        finally:
            if response is not None:
                response.close()
        raise self._named(failure, request)

    async def agenerate(self, request: Request) -> LLMResponse:
        """Answer a request on the running event loop."""
        seconds = request.timeout or DEFAULT_TIMEOUT
        try:
            client = (await self._clients.aget()).client
            call = self._call(request, whole=True)
            async with asyncio.timeout(seconds):
                reply = await client.aio.models.generate_content(**call.arguments)
            return self._response(request, call, reply)
        except TimeoutError:
            failure: Failure = Timeout(f"no answer within {seconds:g} s")
        except Exception as exception:
            failure = failure_of_exception(exception)
        raise self._named(failure, request)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Answer a request piece by piece on the running event loop."""
        response: httpx2.Response | None = None
        pieces: AsyncIterator[bytes] | None = None
        try:
            client = (await self._clients.aget()).client
            call = self._call(request, whole=False)
            response = await _aopen_stream(client, call)
            reader = self._reader(request, call, response)
            pieces = response.aiter_bytes()
            async for data in pieces:
                for event in reader.read(data):
                    yield event
            for event in reader.end():
                yield event
            return
        except Exception as exception:
            failure = failure_of_exception(exception)
        finally:
            if response is not None:
                await response.aclose()
            if pieces is not None:
                await unwind(pieces)
        raise self._named(failure, request)

    def _call(self, request: Request, *, whole: bool) -> _Call:
        from google.genai import types

        seconds = request.timeout or DEFAULT_TIMEOUT
        model = request.model or self._connection.model
        body, told = request_body(request, model, self._connection.provider)
        config = types.GenerateContentConfig(
            http_options=types.HttpOptions(timeout=max(1, round(seconds * 1000)), extra_body=body),
            should_return_http_response=whole or None,
            # The SDK sends no further requests of its own, neither with results of tools nor to go on with an answer.
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            automatic_continuation=False,
        )
        # The SDK wants contents of its own kind; those in the body take their place.
        return _Call(model, {"model": model, "contents": ".", "config": config}, told)

    def _response(self, request: Request, call: _Call, reply: types.GenerateContentResponse) -> LLMResponse:
        http = reply.sdk_http_response
        assert http is not None  # asked for with should_return_http_response
        body, headers, provider = read_json(http.body or ""), http.headers or {}, self._connection.provider
        return response_of(body, headers, request, call.warnings, provider=provider, model=call.model)

    def _reader(self, request: Request, call: _Call, response: httpx2.Response) -> StreamReader:
        provider = self._connection.provider
        return StreamReader(response.headers, request, call.warnings, provider=provider, model=call.model)

    def _named(self, failure: Failure, request: Request) -> Failure:
        failure.provider = failure.provider or self._connection.provider
        failure.model = failure.model or request.model or self._connection.model
        return failure

    # ---- The life of the clients -----------------------------------------------------------------------------------

    def takes_prefill(self, model: str) -> bool:
        """Return whether a model is known to go on with a begun answer."""
        return takes_prefill(model) is True

    def warm_up(self) -> None:
        """Import the SDK; credentials for Vertex AI, which may have to be asked for, are left to the first question."""
        if self._connection.key is not None:
            self._clients.prepare()
        else:
            self._load()

    def close(self) -> None:
        """Close all connections; those of an event loop that is busy are closed on it, a moment later."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and then all others."""
        await self._clients.aclose()

    def _prepare(self) -> None:
        if self._connection.unavailable is not None:
            raise ProviderUnavailable(self._connection.unavailable)
        self._load()
        self._credentials = self._connection.read_credentials()
        self._new_client()  # not to be used: the first one takes fifty times as long as those after it

    def _load(self) -> None:
        _silence()
        import_module("understudy_gemini.transport")
        import_module("google.genai")

    def _open(self) -> _Opened:
        client, http, _ = self._new_client()
        return _Opened(client, weakref.finalize(self, http.close))  # closed at the latest when nobody has us any more

    def _open_async(self) -> _Opened:
        client, _, http = self._new_client()
        return _Opened(client, http.aclose)

    def _new_client(self) -> tuple[Client, transport.Client, transport.AsyncClient]:
        """Make a client that takes nothing from the environment: address, version, key and mode are all pinned."""
        from google.genai import Client, types
        from google.genai.client import DebugConfig

        from understudy_gemini import transport

        options = transport.options_for(self._connection.base_url)
        http, async_http = transport.Client(**options), transport.AsyncClient(**options)
        client = Client(
            **self._connection.client_arguments(self._credentials),
            debug_config=DebugConfig(client_mode=None, replays_directory=None, replay_id=None),
            http_options=types.HttpOptions(
                base_url=self._connection.base_url,
                api_version=self._connection.api_version,
                timeout=round(DEFAULT_TIMEOUT * 1000),
                retry_options=types.HttpRetryOptions(attempts=1),
                httpx_client=http,
                httpx_async_client=async_http,
                async_client_args={"ssl": options["verify"]},  # else it makes a context for sockets never opened here
            ),
        )
        return client, http, async_http


def _open_stream(client: Client, call: _Call) -> httpx2.Response:
    from understudy_gemini.transport import StreamOpened

    try:
        for _ in client.models.generate_content_stream(**call.arguments):
            pass
    except StreamOpened as opened:
        return opened.response
    raise AssertionError("google-genai went on with a stream that was taken from it")


async def _aopen_stream(client: Client, call: _Call) -> httpx2.Response:
    from understudy_gemini.transport import StreamOpened

    try:
        async for _ in await client.aio.models.generate_content_stream(**call.arguments):
            pass
    except StreamOpened as opened:
        return opened.response
    raise AssertionError("google-genai went on with a stream that was taken from it")


def _silence() -> None:
    """Keep two things off the user's screen that the SDK says and the user can do nothing about."""
    # Versions before 3.4.0 have a wrong escape sequence in a text.
    warnings.filterwarnings("ignore", message="invalid escape sequence", module=r".*google.genai.types")
    logging.getLogger("google_genai._api_client").addFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    """Tell whether a record says something else than that two keys are set: the SDK is given one, and uses neither."""
    return not record.getMessage().startswith("Both GOOGLE_API_KEY and GEMINI_API_KEY are set")
