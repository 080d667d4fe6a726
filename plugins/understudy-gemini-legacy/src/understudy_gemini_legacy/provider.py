"""The provider `gemini-legacy`: the life of the SDK's client, and the four calls. The SDK is used only here.

The SDK's own way to be asynchronous is gRPC, which is not used here: async calls run in threads, as the core does them.
"""

from __future__ import annotations

import re
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import date
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
    ResponseWarning,
    Settings,
    StreamEvent,
    Timeout,
)
from understudy_gemini_legacy.failures import KeyForm, failure_of_exception, failure_of_reply
from understudy_gemini_legacy.models import (
    DEFAULT_MODEL,
    Room,
    answering_model,
    ending_warnings,
    room_for,
    takes_prefill,
)
from understudy_gemini_legacy.options import PROVIDER, own_config
from understudy_gemini_legacy.streaming import StreamReader
from understudy_gemini_legacy.wire import read_json, request_body, response_of

if TYPE_CHECKING:
    import requests

    from understudy_gemini_legacy import transport

BASE_URL = "https://generativelanguage.googleapis.com"
TIMEOUT = 60.0  # seconds, where a request gives none: the attempt timeout of every policy preset
PIECE = 65536  # most bytes of a reply that are read at once

# What google-api-core says of Python 3.11 and older when it is imported, for example "You are using a Python version
# (3.11.7) which Google will stop supporting ...".
_NOT_FOR_USERS = (r"You are using a (?:non-supported )?Python version", r"google\.api_core\.")


class GeminiLegacyProvider(ChatProvider):
    """Gemini through google-generativeai.

    Args:
        settings: where the key, the address and the model come from.
        today: returns the day, by which some models are answered by others.

    Raises:
        ConfigurationError: the key or the URL is malformed.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(tools=True, images=True, files=True, output_schema=True, streaming=True)

    def __init__(self, settings: Settings, today: Callable[[], date] = date.today) -> None:
        self._today = today
        names = ("GOOGLE_API_KEY", "GEMINI_API_KEY")
        self._name = settings.provider_name or PROVIDER
        self._key = settings.api_key(*names)
        self._unavailable = None if self._key or not settings.needs_key else settings.missing(*names)
        self._base_url = settings.base_url("GEMINI_LEGACY_BASE_URL", "GEMINI_BASE_URL", default=BASE_URL)
        self.default_model: str = settings.model("GEMINI_LEGACY_MODEL", "GEMINI_MODEL", default=DEFAULT_MODEL)
        self.capabilities = replace(self.capabilities, prefill=self.takes_prefill(self.default_model))
        self.credential = settings.credential(self._key, self._base_url, default=BASE_URL)
        self._client: transport.Client | None = None
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"GeminiLegacyProvider(base_url={self._base_url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return self._name

    def unavailable_reason(self) -> str | None:
        """Say which variable to set, where the key is missing."""
        return self._unavailable

    def model_notice(self, model: str) -> str | None:
        """Say when a model ends, and who answers in its place, where that is known."""
        return "; ".join(map(str, ending_warnings(model, self._today()))) or None

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are asked for besides those of the answer, so that thinking has room."""
        return self._room(request).tokens

    def pace(self, request: Request) -> Pace:
        """Return whether the model thinks for longer than a moment before it answers."""
        return Pace(thinks=self._room(request).level not in ("none", "minimal", "low"))

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask Google for the models that can be asked for an answer."""
        response: requests.Response | None = None
        try:
            self._check()
            client, until = self._opened(), time.monotonic() + timeout
            response = client.open_list(timeout)
            content = _read(response, until)
            if response.status_code != 200:
                raise failure_of_reply(response.status_code, response.headers, content, self._key_form)
            return _names(read_json(content))
        except Exception as exception:
            failure = failure_of_exception(exception)
        finally:
            if response is not None:
                response.close()
        failure.provider = self._name
        raise failure

    # ---- The four calls --------------------------------------------------------------------------------------------
    # A failure is raised after the `except`, not in it, so that it does not drag along the library's exception: that,
    # and the frames of its traceback, hold the request with the key among its headers.

    def generate(self, request: Request) -> LLMResponse:
        """Answer a request; the timeout bounds the whole attempt, give or take one wait."""
        response: requests.Response | None = None
        try:
            model, body, told = self._translated(request)
            client, seconds = self._opened(), request.timeout or TIMEOUT
            until = time.monotonic() + seconds
            response = client.open(body, seconds, streamed=False)
            content = _read(response, until)
            if response.status_code != 200:
                raise failure_of_reply(response.status_code, response.headers, content, self._key_form)
            return response_of(
                *(read_json(content), response.headers, request, told),
                provider=self._name,
                model=model,
                adaptation=self._room(request).adaptation,
            )
        except Exception as exception:
            failure = failure_of_exception(exception)
        finally:
            if response is not None:
                response.close()
        raise self._named(failure, request)

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece; the timeout bounds the wait for each piece."""
        response: requests.Response | None = None
        try:
            model, body, told = self._translated(request)
            client, seconds = self._opened(), request.timeout or TIMEOUT
            response = client.open(body, seconds, streamed=True)
            if response.status_code != 200:
                content = _read(response, time.monotonic() + seconds)
                raise failure_of_reply(response.status_code, response.headers, content, self._key_form)
            reader = StreamReader(
                *(response.headers, request, told),
                provider=self._name,
                model=model,
                adaptation=self._room(request).adaptation,
            )
            for data in _pieces(response):
                yield from reader.read(data)
            yield from reader.end()
            return
        except Exception as exception:
            failure = failure_of_exception(exception)
        finally:
            if response is not None:
                response.close()
        raise self._named(failure, request)

    def _translated(self, request: Request) -> tuple[str, dict[str, Any], tuple[ResponseWarning, ...]]:
        self._check()
        model = request.model or self.default_model
        return model, *request_body(request, model, self._name, self._today())

    def _check(self) -> None:
        if self._unavailable is not None:
            raise ProviderUnavailable(self._unavailable)

    def _room(self, request: Request) -> Room:
        own = own_config(request.options, self._name)
        return room_for(request, request.model or self.default_model, own, self._today())

    @property
    def _key_form(self) -> KeyForm | None:
        if self._key is None:
            return None
        return "old" if self._key.reveal().startswith("AIza") else "new"

    def _named(self, failure: Failure, request: Request) -> Failure:
        failure.provider = failure.provider or self._name
        failure.model = failure.model or request.model or self.default_model
        return failure

    # ---- The life of the client ------------------------------------------------------------------------------------

    def takes_prefill(self, model: str) -> bool:
        """Return whether a model is known to go on with a begun answer."""
        return takes_prefill(answering_model(model, self._today())) is True

    def warm_up(self) -> None:
        """Import the SDK, so that the first question need not wait for it."""
        with self._lock, _unheard():
            import_module("understudy_gemini_legacy.transport")

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _opened(self) -> transport.Client:
        with self._lock:
            if self._client is None:
                with _unheard():
                    from understudy_gemini_legacy import transport
                self._client = transport.Client(self._base_url, self._key.reveal() if self._key else None)
            return self._client


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep off the user's screen what the SDK says when it is imported; the log has it in a sentence (transport.py).

    `warnings.catch_warnings` would silence, and then forget, what other threads do with their warnings meanwhile. One
    entry that fits nothing else is put in and taken out.
    """
    message, module = _NOT_FOR_USERS
    warnings.filterwarnings("ignore", message, FutureWarning, module)
    try:
        yield
    finally:
        entry = ("ignore", re.compile(message, re.IGNORECASE), FutureWarning, re.compile(module), 0)
        with suppress(ValueError):  # another thread was quicker, or has put back filters of its own
            cast("list[object]", warnings.filters).remove(entry)


def _read(response: requests.Response, until: float) -> bytes:
    content = []
    for piece in _pieces(response):
        content.append(piece)
        if time.monotonic() > until:  # each wait has its own timeout: a trickle would pass them all
            raise Timeout("the answer came too slowly to be whole in time")
    return b"".join(content)


def _names(document: Any) -> tuple[str, ...]:
    """Return the models of a list that can be asked for an answer."""
    listed = document.get("models") if isinstance(document, dict) else None
    if not isinstance(listed, list) or not all(isinstance(one, dict) and one.get("name") for one in listed):
        raise MalformedResponse("expected a list of models with names, found something else", status=200)
    asked = [one for one in listed if "generateContent" in one.get("supportedGenerationMethods", ("generateContent",))]
    return tuple(str(one["name"]).rpartition("/")[2] for one in asked)


def _pieces(response: requests.Response) -> Iterator[bytes]:
    """Yield the body of a reply as it comes; requests itself would wait until a piece is full."""
    while piece := response.raw.read1(PIECE, decode_content=True):
        yield piece
