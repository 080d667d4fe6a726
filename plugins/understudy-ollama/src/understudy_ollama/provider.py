"""The provider: the SDK's clients and the four calls. With transport.py the only module that touches Ollama's SDK.

The SDK's clients give the server's JSON as it is: no models are built from it, nothing in it is dropped, and a page of
HTML is seen for what it is. They retry nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

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
from understudy_ollama.address import DEFAULT_URL, is_hosted, read_address, without_credentials
from understudy_ollama.failures import PROVIDER, failure_of_exception, failure_of_reply
from understudy_ollama.memory import Memory
from understudy_ollama.models import DEFAULT_MODEL, full_name, level_of, runs_elsewhere, takes_prefill
from understudy_ollama.streaming import StreamReader
from understudy_ollama.wire import (
    Json,
    Warnings,
    loading_body,
    names_in,
    own_options,
    request_body,
    response_of,
    thinking_in,
    thinking_room,
    thought_in,
)
from understudy_toolkit.clients import Clients, is_this_machine, unwind

if TYPE_CHECKING:
    import httpx

    from understudy_ollama import transport

PATH = "/api/chat"
MODELS = "/api/tags"
LOADED = "/api/ps"
TIMEOUT = 60.0  # seconds: the attempt timeout of every policy preset
AVAILABLE_WITHIN = 1.0  # seconds: a server that runs answers this at once, whatever its models are doing
# Of the time that a request has, so much is kept back to ask whether its model is being loaded, where nothing came: the
# call still ends in time, also where the SDK had to be imported first.
KEPT_BACK = 0.05  # of the whole
MOST_KEPT_BACK = 2.0  # seconds
_WAITS = 4  # in an answer that is asked for within a time: to connect, for its beginning, and for its pieces

_JSON = ("application/json",)
_LINES = ("application/x-ndjson", "application/json")  # the second of servers that stand in for Ollama


class OllamaProvider(ChatProvider):
    """Local models, through Ollama's SDK.

    Args:
        settings: where OLLAMA_BASE_URL, OLLAMA_HOST, OLLAMA_MODEL and OLLAMA_API_KEY come from.

    Raises:
        ConfigurationError: the address or the key is malformed.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, settings: Settings) -> None:
        self._key = settings.api_key("OLLAMA_API_KEY")
        table = settings.tables.get(settings.provider_name or "")
        wanted = table is not None and bool(table.api_key_env)  # a server of one's own needs a key if one says so
        self._unavailable = settings.missing("OLLAMA_API_KEY") if wanted and self._key is None else None
        self._address = read_address(settings)
        self._url = without_credentials(self._address)
        self.default_model: str = settings.model("OLLAMA_MODEL", default=DEFAULT_MODEL)
        self.capabilities = replace(self.capabilities, prefill=takes_prefill(self.default_model))
        self.credential = settings.credential(self._key, self._address, default=DEFAULT_URL)
        self._thinking: set[str] = set()  # full names of models that were seen, or said, to think
        self._memory = Memory(time.monotonic)
        self._clients: Clients[transport.Client, transport.AsyncClient] = Clients(
            prepare=lambda: import_module("understudy_ollama.transport"),
            open=self._open,
            close=lambda client: client.close(),
            open_async=self._open_async,
            close_async=lambda client: client.close(),
        )

    def __repr__(self) -> str:
        return f"OllamaProvider(base_url={self._url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return PROVIDER

    def unavailable_reason(self) -> str | None:
        """Say that a key is missing, where one was said to be needed; whether the server runs is not asked."""
        return self._unavailable

    def is_available(self) -> bool:
        """Ask the server whether it is there, for a second at most."""
        try:
            response = self._clients.get().open("GET", "/api/version", AVAILABLE_WITHIN)
            try:
                document = json.loads(_read(response, time.monotonic() + AVAILABLE_WITHIN))
            finally:
                response.close()
            return self._unavailable is None and response.status_code == 200 and "version" in dict(document)
        except Exception:  # whatever it is, nobody can be asked there
            return False

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are asked for besides `max_tokens`: none for models that are not known to think."""
        return thinking_room(request, request.model or self.default_model, self._thinking)

    def pace(self, request: Request) -> Pace:
        """Say whether the model will think for a while, and how long it may take to be loaded; nobody is asked."""
        model, options = request.model or self.default_model, own_options(request)
        elsewhere = runs_elsewhere(model) or is_hosted(self._url)
        return Pace(
            thinks=level_of(request, model, options, self._thinking) not in ("none", "minimal", "low"),
            loading=0.0 if elsewhere else self._memory.loading(model, options),
            local=not elsewhere and is_this_machine(self._url),
        )

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask the server which models were pulled; which of them think is remembered, where it says so."""
        with self._failures_of(None):
            document = self._ask(MODELS, timeout)
            names = names_in(document)
            self._thinking |= thinking_in(document)
            return names

    def is_loaded(self, model: str, seconds: float) -> bool | None:
        """Ask the server whether a model is in memory; the first request for one that is not loads it first.

        Args:
            model: the model's name.
            seconds: for the whole answer, above 0.

        Returns:
            Whether it is; None where the server does not say so in time, or has the model run elsewhere.
        """
        if runs_elsewhere(model):
            return None
        try:
            return self._told(_lists(self._ask(LOADED, seconds), model))
        except Exception:  # it is asked to explain a failure, which must not become another one
            return None

    async def ais_loaded(self, model: str, seconds: float) -> bool | None:
        """Ask as `is_loaded` does, on the running event loop."""
        if runs_elsewhere(model):
            return None
        try:
            client = await self._clients.aget()
            async with asyncio.timeout(seconds):
                response = await client.open("GET", LOADED, seconds)
                try:
                    content = await response.aread()
                finally:
                    await response.aclose()
            return self._told(_lists(_parse(response, content, model), model))
        except Exception:  # as above
            return None

    # ---- the four calls ----

    def generate(self, request: Request) -> LLMResponse:
        """Answer a request; the timeout bounds the whole attempt, give or take one wait."""
        model, body, warnings = self._prepare(request)
        with self._failures_of(model):
            seconds = _seconds(request)
            until = time.monotonic() + seconds
            response = self._begin(body, model, seconds)
            try:
                content = _read(response, until)
            finally:
                response.close()
            return self._response(_parse(response, content, model), response, request, body, warnings)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece; the timeout bounds the wait for each piece."""
        model, body, warnings = self._prepare(request)
        with self._failures_of(model):
            seconds = _seconds(request)
            response = self._begin({**body, "stream": True}, model, seconds)
            reader = StreamReader(response.headers, request, warnings, body)
            try:
                if not _is_of(response, _LINES):
                    raise _unexpected(response, _read(response, time.monotonic() + seconds), model)
                for data in response.iter_bytes():
                    yield from reader.read(data)
                yield from reader.end()
            finally:
                self._remember(request, model, reader.thought, answered=reader.began)
                response.close()

    async def agenerate(self, request: Request) -> LLMResponse:
        """Answer a request on the running event loop; the timeout bounds the whole attempt."""
        model, body, warnings = self._prepare(request)
        with self._failures_of(model):
            client = await self._clients.aget()
            seconds = _seconds(request)
            async with asyncio.timeout(seconds):
                response = await self._abegin(client, body, model, seconds)
                try:
                    content = await response.aread()
                finally:
                    await response.aclose()
            return self._response(_parse(response, content, model), response, request, body, warnings)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Answer a request piece by piece on the running event loop; the timeout bounds the wait for each piece."""
        model, body, warnings = self._prepare(request)
        with self._failures_of(model):
            client = await self._clients.aget()
            seconds = _seconds(request)
            response = await self._abegin(client, {**body, "stream": True}, model, seconds)
            reader = StreamReader(response.headers, request, warnings, body)
            pieces = response.aiter_bytes()
            try:
                if not _is_of(response, _LINES):
                    async with asyncio.timeout(seconds):
                        raise _unexpected(response, await response.aread(), model)
                async for data in pieces:
                    for event in reader.read(data):
                        yield event
                for event in reader.end():
                    yield event
            finally:
                self._remember(request, model, reader.thought, answered=reader.began)
                await response.aclose()
                await unwind(pieces)

    def _prepare(self, request: Request) -> tuple[str, Json, Warnings]:
        if self._unavailable is not None:
            raise ProviderUnavailable(self._unavailable, provider=PROVIDER)
        model = request.model or self.default_model
        with self._failures_of(model):
            body, warnings = request_body(request, model, self._thinking)
        return model, body, warnings

    def _begin(self, body: Json, model: str, seconds: float) -> httpx.Response:
        """Send a request, and wait until its reply begins."""
        client, kept_back = self._clients.get(), _kept_back(seconds)
        from understudy_ollama.transport import NOTHING_CAME

        try:
            return client.open("POST", PATH, seconds - kept_back, body)
        except NOTHING_CAME as silence:
            if self.is_loaded(model, kept_back) is False:
                raise self._loading(body, model, seconds) from silence
            raise

    async def _abegin(self, client: transport.AsyncClient, body: Json, model: str, seconds: float) -> httpx.Response:
        from understudy_ollama.transport import NOTHING_CAME

        kept_back = _kept_back(seconds)
        try:
            return await client.open("POST", PATH, seconds - kept_back, body)
        except NOTHING_CAME as silence:
            if await self.ais_loaded(model, kept_back) is False:
                raise self._loading(body, model, seconds) from silence
            raise

    def _loading(self, body: Json, model: str, seconds: float) -> Timeout:
        """Return the failure of a request that was given up while its model was being loaded."""
        return Timeout(
            f"{model} was not loaded within {seconds:.3g} s, and loading it stops when its request is given up: give "
            "the call a longer timeout, or load the model beforehand, with the same settings: "
            f"curl {self._url}{PATH} -d '{json.dumps(loading_body(body))}'",
            provider=PROVIDER,
        )

    def _response(
        self, document: Any, response: httpx.Response, request: Request, body: Json, warnings: Warnings
    ) -> LLMResponse:
        self._remember(request, body["model"], thought_in(document), answered=True)
        return response_of(document, response.headers, request, warnings, sent=body)

    def _remember(self, request: Request, model: str, thought: bool, *, answered: bool) -> None:
        """Keep in mind that a model thinks, and that it is in memory."""
        if thought:
            self._thinking.add(full_name(model))
        if answered:
            self._memory.answered(model, own_options(request))

    def _told(self, loaded: bool) -> bool:
        """Keep in mind what the server has said of its memory."""
        if not loaded:
            self._memory.is_gone()
        return loaded

    def _ask(self, path: str, seconds: float) -> Any:
        """Ask the server for a document, within so many seconds."""
        until = time.monotonic() + seconds
        response = self._clients.get().open("GET", path, seconds / _WAITS)
        try:
            content = _read(response, until)
        finally:
            response.close()
        return _parse(response, content, None)

    @contextmanager
    def _failures_of(self, model: str | None) -> Iterator[None]:
        """Turn whatever goes wrong into one of our failures, with the model's name on it."""
        try:
            yield
        except Exception as exception:
            failure = failure_of_exception(exception, url=self._url)
            failure.model = failure.model or model
            if failure is exception:
                raise
            raise failure from failure.__cause__

    # ---- clients ----

    def takes_prefill(self, model: str) -> bool:
        """Return whether a model is known to go on with a begun answer."""
        return takes_prefill(model) is True

    def warm_up(self) -> None:
        """Import the SDK, so that the first question need not wait for it."""
        self._clients.prepare()

    def close(self) -> None:
        """Close all connections; those of an event loop that is busy are closed on it, a moment later."""
        self._clients.close()

    async def aclose(self) -> None:
        """Close the connections of the running event loop, and then all others."""
        await self._clients.aclose()

    def _open(self) -> transport.Client:
        from understudy_ollama import transport

        return transport.Client(**transport.options_for(self._address, self._key))

    def _open_async(self) -> transport.AsyncClient:
        from understudy_ollama import transport

        return transport.AsyncClient(**transport.options_for(self._address, self._key))


def _seconds(request: Request) -> float:
    return TIMEOUT if request.timeout is None else request.timeout


def _kept_back(seconds: float) -> float:
    return min(seconds * KEPT_BACK, MOST_KEPT_BACK)


def _lists(document: Any, model: str) -> bool:
    return full_name(model) in map(full_name, names_in(document))


# ---- what the SDK gives back ----


def _read(response: httpx.Response, until: float) -> bytes:
    pieces = []
    for piece in response.iter_bytes():
        pieces.append(piece)
        if time.monotonic() > until:  # each read has its own timeout: a trickle would pass them all
            raise Timeout("the answer came too slowly to be whole in time", provider=PROVIDER)
    return b"".join(pieces)


def _parse(response: httpx.Response, content: bytes, model: str | None) -> Any:
    if not _is_of(response, _JSON):
        raise _unexpected(response, content, model)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise _unexpected(response, content, model) from None


def _is_of(response: httpx.Response, types: tuple[str, ...]) -> bool:
    """Tell whether a reply is an answer, of one of these content types; one without a type is let through."""
    found: str = response.headers.get("content-type", types[0])
    return response.status_code == 200 and found.partition(";")[0].strip().lower() in types


def _unexpected(response: httpx.Response, content: bytes, model: str | None) -> Failure:
    failure = failure_of_reply(response.status_code, response.headers, content, model=model)
    if type(failure) is MalformedResponse:
        found = response.headers.get("content-type", "no content type")
        failure = MalformedResponse(
            f"{failure.message} ({found})", provider=PROVIDER, status=failure.status, request_id=failure.request_id
        )
    return failure
