"""The providers `gemini` and `vertex`: the life of the SDK's clients, and the four calls. The SDK is used only here."""

from __future__ import annotations

import asyncio
import logging
import math
import time
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import date
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from understudy import (
    Capabilities,
    ChatProvider,
    Failure,
    LLMResponse,
    Pace,
    ProviderUnavailable,
    Request,
    ResponseWarning,
    StreamEvent,
    Timeout,
)
from understudy_gemini.connection import Connection
from understudy_gemini.failures import WITHOUT_SIGNATURES, failure_of_exception
from understudy_gemini.models import answering_model, ending_warnings, takes_prefill
from understudy_gemini.streaming import StreamReader
from understudy_gemini.thinking import Plan, plan_thinking
from understudy_gemini.wire import has_signatures, read_json, request_body, response_of
from understudy_toolkit.clients import Clients, unwind

if TYPE_CHECKING:
    import httpx2
    from google.genai import Client, types

    from understudy_gemini import transport

DEFAULT_TIMEOUT = 60.0  # seconds, where a request gives none: the attempt timeout of every policy preset

# Google's servers end an answer after the seconds in X-Server-Timeout, and refuse less than 10 with 400 "Minimum
# allowed deadline is 10s" (https://github.com/livekit/agents/issues/3723, read 2026-11-30). The client keeps shorter
# times by itself. A stream's time is meant for each piece, so the whole gets half an hour: without the header Vertex AI
# would end it after 5 minutes (https://github.com/googleapis/js-genai/issues/1489), and Google's own client sends a
# long one for streams (https://github.com/google-gemini/gemini-api-cli/pull/12).
SERVER_TIMEOUT = "X-Server-Timeout"
LEAST_SERVER_TIMEOUT = 10  # seconds
STREAM_SERVER_TIMEOUT = 1800  # seconds

MODELS_AT_ONCE = 1000  # the most that a page of a list may have: https://ai.google.dev/api/models, read 2026-11-30


class _Call(NamedTuple):
    """One call as the SDK takes it: our JSON goes past the SDK's models, which refuse what they do not know."""

    model: str
    arguments: dict[str, Any]
    warnings: tuple[ResponseWarning, ...]
    adaptation: str | None


class _Opened(NamedTuple):
    """The SDK's client, and what closes its connections: the SDK leaves clients alone that it was given."""

    client: Client
    close: Callable[[], Any]


class GeminiProvider(ChatProvider):
    """Gemini through google-genai.

    Args:
        connection: where it is reached, and how one signs in.
        today: returns the day, by which some models are answered by others.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, files=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, connection: Connection, today: Callable[[], date] = date.today) -> None:
        self._connection = connection
        self._today = today
        self.default_model: str = connection.model
        self.capabilities = replace(self.capabilities, prefill=self.takes_prefill(connection.model))
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
        """Say which variable to set, where one is missing, or names a region without the default model."""
        return self._connection.unavailable or self._connection.misplaced(self.default_model)

    def model_notice(self, model: str) -> str | None:
        """Say when a model ends, who answers in its place, and that it is not in the chosen region, where it is so."""
        ending = map(str, ending_warnings(model, self._today(), self._connection.provider))
        return "; ".join(filter(None, (*ending, self._connection.misplaced(model)))) or None

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are asked for besides those of the answer, so that thinking has room."""
        return self._plan(request).room

    def pace(self, request: Request) -> Pace:
        """Return whether the model thinks for longer than a moment before it answers."""
        return Pace(thinks=self._plan(request).level not in ("none", "minimal", "low"))

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask Google for the models that can be asked for an answer; on Vertex AI, for all that it has of Google's."""
        names = []
        try:
            client = self._clients.get().client
            from google.genai import types

            until = time.monotonic() + timeout  # the SDK's import is not the vendor's time
            config = types.ListModelsConfig(
                page_size=MODELS_AT_ONCE, query_base=True, http_options=self._http_options(timeout)
            )
            for model in client.models.list(config=config):
                if model.name and "generateContent" in (model.supported_actions or ["generateContent"]):
                    names.append(model.name.rpartition("/")[2])
                if time.monotonic() > until:
                    raise Timeout(f"no whole list of models within {timeout:g} s")
            return tuple(names)
        except Exception as exception:
            failure = failure_of_exception(exception, self._connection.key_form)
        failure.provider = self._connection.provider
        raise failure

    # ---- The four calls --------------------------------------------------------------------------------------------
    # A failure is raised after the `except`, not in it, so that it does not drag along the SDK's exception: that, and
    # the frames of its traceback, hold the request with the key among its headers.

    def generate(self, request: Request) -> LLMResponse:
        """Answer a request."""
        try:
            self._check_place(request)
            client = self._clients.get().client
            call = self._call(request, whole=True)
            reply = client.models.generate_content(**call.arguments)
            return self._response(request, call, reply)
        except Exception as exception:
            failure = failure_of_exception(exception, self._connection.key_form)
        raise self._named(failure, request)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece."""
        response: httpx2.Response | None = None
        try:
            self._check_place(request)
            client = self._clients.get().client
            call = self._call(request, whole=False)
            response = _open_stream(client, call)
            reader = self._reader(request, call, response)
            for data in response.iter_bytes():
                yield from reader.read(data)
            yield from reader.end()
            return
        except Exception as exception:
            failure = failure_of_exception(exception, self._connection.key_form)
        finally:
            if response is not None:
                response.close()
        raise self._named(failure, request)

    async def agenerate(self, request: Request) -> LLMResponse:
        """Answer a request on the running event loop."""
        seconds = request.timeout or DEFAULT_TIMEOUT
        try:
            self._check_place(request)
            client = (await self._clients.aget()).client
            call = self._call(request, whole=True)
            async with asyncio.timeout(seconds):
                reply = await client.aio.models.generate_content(**call.arguments)
            return self._response(request, call, reply)
        except TimeoutError:
            failure: Failure = Timeout(f"no answer within {seconds:g} s")
        except Exception as exception:
            failure = failure_of_exception(exception, self._connection.key_form)
        raise self._named(failure, request)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Answer a request piece by piece on the running event loop."""
        response: httpx2.Response | None = None
        pieces: AsyncIterator[bytes] | None = None
        try:
            self._check_place(request)
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
            failure = failure_of_exception(exception, self._connection.key_form)
        finally:
            if response is not None:
                await response.aclose()
            if pieces is not None:
                await unwind(pieces)
        raise self._named(failure, request)

    def _call(self, request: Request, *, whole: bool) -> _Call:
        from google.genai import types

        seconds = request.timeout or DEFAULT_TIMEOUT
        model = self._model_of(request)
        body, told = request_body(request, model, self._connection.provider, self._today())
        config = types.GenerateContentConfig(
            http_options=self._http_options(seconds, None if whole else STREAM_SERVER_TIMEOUT, body),
            should_return_http_response=whole or None,
            # The SDK sends no further requests of its own, neither with results of tools nor to go on with an answer.
            automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
            automatic_continuation=False,
        )
        # The SDK wants contents of its own kind; those in the body take their place.
        return _Call(model, {"model": model, "contents": ".", "config": config}, told, self._plan(request).adaptation)

    def _http_options(
        self, seconds: float, at_server: int | None = None, body: dict[str, Any] | None = None
    ) -> types.HttpOptions:
        """Return how long the client waits, and how long the server may take: as long, where it is not said."""
        from google.genai import types

        at_server = at_server or max(LEAST_SERVER_TIMEOUT, math.ceil(seconds))
        return types.HttpOptions(
            timeout=max(1, round(seconds * 1000)), headers={SERVER_TIMEOUT: str(at_server)}, extra_body=body
        )

    def _response(self, request: Request, call: _Call, reply: types.GenerateContentResponse) -> LLMResponse:
        http = reply.sdk_http_response
        assert http is not None  # asked for with should_return_http_response
        return response_of(
            *(read_json(http.body or ""), http.headers or {}, request, call.warnings),
            provider=self._connection.provider,
            model=call.model,
            adaptation=call.adaptation,
        )

    def _reader(self, request: Request, call: _Call, response: httpx2.Response) -> StreamReader:
        return StreamReader(
            *(response.headers, request, call.warnings),
            provider=self._connection.provider,
            model=call.model,
            adaptation=call.adaptation,
        )

    def _model_of(self, request: Request) -> str:
        return request.model or self.default_model

    def _plan(self, request: Request) -> Plan:
        return plan_thinking(request, self._model_of(request), self._connection.provider, self._today())

    def _check_place(self, request: Request) -> None:
        """Refuse what the chosen region does not have: data goes to no other without being told to."""
        reason = self._connection.unavailable or self._connection.misplaced(self._model_of(request))
        if reason is not None:
            raise ProviderUnavailable(reason)

    def _named(self, failure: Failure, request: Request) -> Failure:
        failure.provider = failure.provider or self._connection.provider
        failure.model = failure.model or self._model_of(request)
        if failure.adaptation == WITHOUT_SIGNATURES and not has_signatures(request):
            failure.adaptation = None  # there is nothing to leave out
        return failure

    # ---- The life of the clients -----------------------------------------------------------------------------------

    def takes_prefill(self, model: str) -> bool:
        """Return whether a model is known to go on with a begun answer."""
        return takes_prefill(answering_model(model, self._today(), self._connection.provider)) is True

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
