"""The provider `gemini-legacy`: what is asked of Google, through google-generativeai alone.

The SDK's own way to be asynchronous is gRPC, which is not used here: async calls run in threads, as the core does them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any, ClassVar

from understudy import Capabilities, ChatProvider, Failure, LLMResponse, Request, Settings, StreamEvent
from understudy.provider import Pace
from understudy_gemini_legacy.failures import failure_of_exception, failure_of_reply
from understudy_gemini_legacy.models import DEFAULT_MODEL, Room, room_for
from understudy_gemini_legacy.options import PROVIDER, own_config
from understudy_gemini_legacy.wire import request_body
from understudy_gemini_wire.adaptations import WITHOUT_SIGNATURES
from understudy_gemini_wire.chunks import ChunkReader
from understudy_gemini_wire.failures import key_form
from understudy_gemini_wire.models import answering_model, ending_warnings, takes_prefill
from understudy_gemini_wire.refusals import Refusals
from understudy_gemini_wire.streaming import StreamReader, response_of_document
from understudy_gemini_wire.wire import Asked, names_in
from understudy_toolkit import calls
from understudy_toolkit.account import read_account
from understudy_toolkit.lanes import Ask, SyncLane
from understudy_toolkit.machine import REQUESTS
from understudy_toolkit.sdk_lane import SdkLane

BASE_URL = "https://generativelanguage.googleapis.com"
# The only version that google-generativeai speaks (0.8.6, google.ai.generativelanguage_v1beta).
API_VERSION = "v1beta"
MODELS_PATH = f"/{API_VERSION}/models"
TIMEOUT = 60.0  # seconds, where a request gives none: the attempt timeout of every policy preset
MODELS_AT_ONCE = 1000  # the most that a page of a list may have: https://ai.google.dev/api/models, read 2026-11-30

STREAMS = ("application/json",)  # one JSON array


class GeminiLegacyProvider(ChatProvider):
    """Gemini, through google-generativeai.

    Args:
        settings: where the key, the address and the model come from.
        today: returns the day, by which some models are answered by others.

    Raises:
        ConfigurationError: one of them is malformed.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(tools=True, images=True, files=True, output_schema=True, streaming=True)

    def __init__(self, settings: Settings, today: Callable[[], date] = date.today) -> None:
        self._today = today
        self._name = settings.provider_name or PROVIDER
        self._account = read_account(
            settings,
            key=("GOOGLE_API_KEY", "GEMINI_API_KEY"),
            url=("GEMINI_LEGACY_BASE_URL", "GEMINI_BASE_URL"),
            default_url=BASE_URL,
            model=("GEMINI_LEGACY_MODEL", "GEMINI_MODEL"),
            default_model=DEFAULT_MODEL,
            sdk=REQUESTS,
        )
        self.default_model: str = self._account.model
        self.credential = self._account.credential
        self._failure_of_reply = partial(failure_of_reply, key_form=key_form(self._account.key))
        self._refusals = Refusals(self._account.base_url, unable=(WITHOUT_SIGNATURES,))  # the SDK cannot carry a sign
        self._lane: SyncLane = SdkLane("understudy_gemini_legacy.sdk", self._account)
        self.capabilities = replace(self.capabilities, prefill=self.takes_prefill(self.default_model))

    def __repr__(self) -> str:
        return f"GeminiLegacyProvider(base_url={self._account.shown_url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return self._name

    def unavailable_reason(self) -> str | None:
        """Say which variable to set, where the key is missing."""
        return self._account.unavailable_reason

    # ---- the calls ----

    def generate(self, request: Request) -> LLMResponse:
        """Answer a request; the timeout bounds the whole attempt, give or take one wait."""
        return calls.generate(self._lane, self._prepare(request))

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece; the timeout bounds the wait for each piece."""
        return calls.events(self._lane, lambda: self._prepare(request, stream=True))

    def _prepare(self, request: Request, *, stream: bool = False) -> calls.Call:
        self._account.check(self._name)
        model = request.model or self.default_model
        with calls.failures_of(model, self._replies()):
            body, warnings = request_body(request, model, self._name, self._today())
            warnings += self._refusals.adapt(body, model, request)
        mend = self._refusals.mender(model, body)
        ask = Ask(
            path=f"/{API_VERSION}/{body['model']}:{'streamGenerateContent' if stream else 'generateContent'}",
            seconds=TIMEOUT if request.timeout is None else request.timeout,
            stream=stream,
            body=body,
        )
        asked = Asked(request, self._name, model, warnings, self._room(request).adaptation, mend)
        return calls.Call(
            *(model, ask, self._replies(mend)),
            response_of=lambda document, headers: response_of_document(document, headers, asked),
            reader_of=lambda headers: StreamReader(ChunkReader(), headers, asked),
        )

    def _replies(self, mend: Callable[[Failure], Failure] | None = None) -> calls.Replies:
        def failure_of(status: int, headers: Mapping[str, str], body: Any) -> Failure:
            failure = self._failure_of_reply(status, headers, body)
            return failure if mend is None else mend(failure)

        return calls.Replies(self._name, failure_of, failure_of_exception, STREAMS)

    # ---- what is known in advance, or asked separately ----

    def model_notice(self, model: str) -> str | None:
        """Say when a model ends, and who answers in its place, where that is known."""
        return "; ".join(map(str, ending_warnings(model, self._today()))) or None

    def takes_prefill(self, model: str) -> bool:
        """Return whether a model is known to continue a begun answer."""
        return takes_prefill(answering_model(model, self._today())) is True

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are requested in addition to those of the answer, as room for thinking."""
        return self._room(request).tokens

    def pace(self, request: Request) -> Pace:
        """Return whether the model thinks for longer than a moment before it answers."""
        return Pace(thinks=self._room(request).level not in ("none", "minimal", "low"))

    def _room(self, request: Request) -> Room:
        own = own_config(request.options, self._name)
        return room_for(request, request.model or self.default_model, own, self._today())

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask Google for the models that can be asked for an answer, as many as one page holds: 1000."""
        self._account.check(self._name)
        ask = Ask(path=MODELS_PATH, seconds=timeout, method="GET", query={"pageSize": str(MODELS_AT_ONCE)})
        return calls.list_models(self._lane, ask, self._replies(), lambda document, _: names_in(document)[0])

    # ---- the life of the lane ----

    def warm_up(self) -> None:
        """Do the slow preparation, so that the first request need not wait for it."""
        self._lane.prepare()

    def close(self) -> None:
        """Close all connections."""
        self._lane.close()
