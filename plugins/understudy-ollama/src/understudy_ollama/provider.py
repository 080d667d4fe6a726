"""The provider: what is asked of Ollama, and on which lane."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from understudy import Capabilities, ChatProvider, Failure, LLMResponse, Request, Settings, StreamEvent
from understudy.provider import Pace
from understudy_ollama.account import account_of
from understudy_ollama.address import is_hosted
from understudy_ollama.failures import PROVIDER, failure_of_exception, failure_of_reply
from understudy_ollama.loading import LoadingLane
from understudy_ollama.memory import Memory
from understudy_ollama.models import level_of, runs_elsewhere, takes_prefill
from understudy_ollama.refusals import adaptations_of, keep
from understudy_ollama.streaming import StreamReader
from understudy_ollama.wire import names_in, own_options, request_body, response_of, thinking_in, thought_in
from understudy_ollama.wire import thinking_room as room
from understudy_toolkit import calls
from understudy_toolkit.clients import is_this_machine
from understudy_toolkit.lanes import Ask
from understudy_toolkit.transport import lane_of

# Ollama's API has no version in a path or a header (ollama 0.6.3, _client.py).
PATH = "/api/chat"
MODELS_PATH = "/api/tags"
VERSION_PATH = "/api/version"
TIMEOUT = 60.0  # seconds: the attempt timeout of every policy preset
AVAILABLE_WITHIN = 1.0  # seconds: a server that runs answers this at once, whatever its models are doing

STREAMS = ("application/x-ndjson", "application/json")  # the second of servers that stand in for Ollama


class OllamaProvider(ChatProvider):
    """Local models, through Ollama's SDK, or over HTTP without it.

    Args:
        settings: where OLLAMA_BASE_URL, OLLAMA_HOST, OLLAMA_MODEL, OLLAMA_API_KEY and OLLAMA_TRANSPORT come from.

    Raises:
        ConfigurationError: one of them is malformed.
    """

    spec_version: ClassVar[int] = 1
    capabilities = Capabilities(
        tools=True, images=True, output_schema=True, thinking=True, streaming=True, native_async=True
    )

    def __init__(self, settings: Settings) -> None:
        self._account = account = account_of(settings)
        self._url = account.shown_url
        self.default_model: str = account.model
        self.credential = account.credential
        self._memory = Memory(time.monotonic)
        inner = lane_of(account, "understudy_ollama.sdk", lambda: account.bearer)
        self._lane = LoadingLane(inner, self._memory, self._url)
        self.capabilities = replace(
            self.capabilities,
            prefill=self.takes_prefill(self.default_model),
            keeps_deadline=self._lane.keeps_deadline,
        )

    def __repr__(self) -> str:
        return f"OllamaProvider(base_url={self._url!r}, default_model={self.default_model!r})"

    def get_provider_name(self) -> str:
        """Return the provider's name."""
        return PROVIDER

    def unavailable_reason(self) -> str | None:
        """Say that a key is missing, where one was said to be needed; whether the server runs is not asked."""
        return self._account.unavailable_reason

    def is_available(self) -> bool:
        """Ask the server whether it is there, for a second at most."""
        ask = Ask(path=VERSION_PATH, seconds=AVAILABLE_WITHIN, method="GET")
        try:
            found = dict(calls.answer(self._lane, ask, self._replies(None)).document)
            return self._account.unavailable_reason is None and "version" in found
        except Exception:  # whatever it is, nobody can be asked there
            return False

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
        self._account.check(PROVIDER)
        model = request.model or self.default_model
        with calls.failures_of(model, self._replies(model)):
            adaptations = adaptations_of(request, self._url, model)
            body, warnings = request_body(request, model, self._memory.thinking, adaptations)
        replies = self._replies(model, body)
        ask = Ask(
            path=PATH,
            seconds=TIMEOUT if request.timeout is None else request.timeout,
            stream=stream,
            body={**body, "stream": True} if stream else body,
        )
        heard = partial(self._memory.heard, model, own_options(request))

        def answer_of(document: Any, headers: Mapping[str, str]) -> LLMResponse:
            heard(thought_in(document))
            return response_of(document, headers, request, warnings, sent=body)

        return calls.Call(
            *(model, ask, replies),
            response_of=answer_of,
            reader_of=lambda headers: StreamReader(headers, request, warnings, body, heard),
        )

    def _replies(self, model: str | None, sent: Mapping[str, Any] | None = None) -> calls.Replies:
        def failure_of(status: int, headers: Mapping[str, str], reply: Any) -> Failure:
            failure = failure_of_reply(status, headers, reply, model=model, sent=sent)
            keep(self._url, model or "", failure.adaptation)
            return failure

        return calls.Replies(PROVIDER, failure_of, partial(failure_of_exception, url=self._url), STREAMS)

    # ---- what is known in advance, or asked separately ----

    def takes_prefill(self, model: str) -> bool:
        """Return whether a model is known to continue a begun answer."""
        return takes_prefill(model) is True

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens are requested in addition to `max_tokens`: none for models not known to think."""
        return room(request, request.model or self.default_model, self._memory.thinking)

    def pace(self, request: Request) -> Pace:
        """Say whether the model will think for a while, and how long it may take to be loaded; nobody is asked."""
        model, options = request.model or self.default_model, own_options(request)
        elsewhere = runs_elsewhere(model) or is_hosted(self._url)
        return Pace(
            thinks=level_of(request, model, options, self._memory.thinking) not in ("none", "minimal", "low"),
            loading=0.0 if elsewhere else self._memory.loading(model, options),
            local=not elsewhere and is_this_machine(self._url),
        )

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask the server which models were pulled; which of them think is remembered, where it says so."""

        def names_of(document: Any, _: Mapping[str, str]) -> tuple[str, ...]:
            names = names_in(document)
            self._memory.thinking |= thinking_in(document)
            return names

        ask = Ask(path=MODELS_PATH, seconds=timeout, method="GET")
        return calls.list_models(self._lane, ask, self._replies(None), names_of)

    def is_loaded(self, model: str, seconds: float) -> bool | None:
        """Ask the server, within so many seconds, whether a model is in memory; None where it does not say so."""
        return self._lane.is_loaded(model, seconds)

    async def ais_loaded(self, model: str, seconds: float) -> bool | None:
        """Ask as `is_loaded` does, on the running event loop."""
        return await self._lane.ais_loaded(model, seconds)

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
