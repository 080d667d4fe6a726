"""The provider contracts: three methods for the simplest one; one request in, one response out for the full one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from understudy.errors import Failure, MalformedResponse, UnsupportedRequest
from understudy.messages import (
    DEFAULT_TEMPERATURE,
    DefaultTemperature,
    File,
    Image,
    Request,
    Text,
    ToolCall,
    ToolResult,
    read_prompt,
)
from understudy.response import Finish, FinishReason, LLMResponse, StreamEvent, TextDelta
from understudy.target import Target

_NEEDS: tuple[tuple[Any, str], ...] = ((Image, "images"), (File, "files"), (ToolCall | ToolResult, "tools"))


class LLMProvider(ABC):
    """One LLM vendor, in three methods.

    A class that implements just these is fully supported: it gets fallback, retries, async and streaming (in one
    piece). It may catch its own exceptions into `LLMResponse(success=False, error=str(exception))`, or let them
    propagate.
    """

    @abstractmethod
    def generate_content(self, prompt: str, temperature: float = 0.0, max_tokens: int = 1024) -> LLMResponse:
        """Answer a prompt.

        Args:
            prompt: the text to answer.
            temperature: 0.0 (the likeliest words) to 2.0.
            max_tokens: most tokens of answer, at least 1.

        Returns:
            The answer, or a response with success False and the reason in `error`.
        """

    @abstractmethod
    def get_provider_name(self) -> str:
        """Return the name that logs, errors and responses call this provider by."""

    @abstractmethod
    def is_available(self) -> bool:
        """Return whether the provider can be asked at all: its key is there, its server runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider can take. A target that lacks what a request needs is skipped, with the reason in the record.

    Args:
        conversation: several turns, and system instructions, in their own places.
        tools: tools, tool calls and tool results.
        images: images in user messages.
        files: documents in user messages.
        output_schema: answers that follow a JSON schema.
        thinking: the model's reasoning is passed on.
        streaming: streams come piece by piece rather than in one.
        native_async: the async calls run on the event loop rather than in a thread.
        prefill: an assistant message at the end of the request is continued, to the letter.
        keeps_deadline: the sync calls end within 50 ms of `request.timeout` whatever the vendor does, even if
            bytes only trickle in. Sync calls of other providers run on a background event loop if they must end in
            time.
    """

    conversation: bool = True
    tools: bool = False
    images: bool = False
    files: bool = False
    output_schema: bool = False
    thinking: bool = False
    streaming: bool = False
    native_async: bool = False
    prefill: bool = False
    keeps_deadline: bool = False

    def lacking(self, request: Request) -> str | None:
        """Name the first thing that the request needs and this provider lacks.

        Returns:
            The lack in words for the record, or None where nothing is lacking.
        """
        if request.tools and not self.tools:
            return "does not take tools"
        if request.output_schema is not None and not self.output_schema:
            return "does not take an output schema"
        for message in request.messages:
            for part in message.parts:
                if type(part) is Text:
                    continue
                held = part.content if isinstance(part, ToolResult) and not isinstance(part.content, str) else ()
                for one in (part, *held):
                    lack = next((words for kind, words in _NEEDS if isinstance(one, kind)), None)
                    if lack is not None and not getattr(self, lack):
                        return f"does not take {lack}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """What a provider knows in advance about how long an answer may take.

    Args:
        thinks: whether the model thinks before it answers for longer than a moment: at a level above "low".
        heartbeat: seconds between the signs of life that the vendor sends in a stream while it works; None where it
            sends none.
        loading: most seconds until the model is in memory; 0.0 if it is, or if that is not the user's concern.
        local: whether the answer is made on the user's own machine: by default no remote target is asked in parallel.
    """

    thinks: bool = False
    heartbeat: float | None = None
    loading: float = 0.0
    local: bool = False


PLAIN_PACE = Pace()


class ChatProvider(LLMProvider):
    """The full contract: one frozen Request in, one LLMResponse or a stream of events out.

    Only `generate` and `get_provider_name` are required; the rest has working defaults, which `capabilities` reports:
    a stream in one piece, and async calls in a thread. A provider never retries, never sleeps, never changes the
    request, and raises a Failure for whatever goes wrong. A stream ends in Finish or raises.

    Attributes:
        spec_version: the version of this contract that the provider was written for.
        capabilities: what it can take.
        default_model: the model that is asked when a request names none, where there is one.
        credential: what distinguishes one account from another without revealing its key: Settings.credential. What is
            known of a target's health is kept for each provider, model and credential.
    """

    spec_version: ClassVar[int] = 1
    capabilities: Capabilities = Capabilities()
    default_model: str | None = None
    credential: str = ""

    @abstractmethod
    def generate(self, request: Request) -> LLMResponse:
        """Answer a request.

        Raises:
            Failure: there is no answer; the class of the failure decides what the factory does next.
        """

    def stream(self, request: Request) -> Iterator[StreamEvent]:
        """Answer a request piece by piece, ending in Finish.

        Raises:
            Failure: there is no answer, or no more of it (StreamInterrupted).
        """
        response = self.generate(request)
        good = isinstance(response, LLMResponse) and response.success and isinstance(response.content, str)
        if good and response.content:  # a failed answer is reported by Finish, before the caller holds a piece of it
            yield TextDelta(response.content)
        yield Finish(response)

    async def agenerate(self, request: Request) -> LLMResponse:
        """Answer a request on the running event loop."""
        from understudy.concurrency.threads import (
            in_thread,  # costly to import, and not needed by programs without an event loop
        )

        return await in_thread(self.generate, request)

    async def astream(self, request: Request) -> AsyncIterator[StreamEvent]:
        """Answer a request piece by piece on the running event loop, ending in Finish."""
        import threading

        from understudy.concurrency.threads import in_thread, start

        events = self.stream(request)
        at_work = threading.Lock()  # a generator that waits for its next piece cannot be closed
        asking = False

        def step() -> StreamEvent | None:
            with at_work:
                return next(events, None)

        def leave() -> None:
            with at_work:
                close = getattr(events, "close", None)
                if close is not None:
                    close()

        try:
            while True:
                asking = True
                event = await in_thread(step)
                asking = False
                if event is None:
                    return
                yield event
        finally:
            if asking:  # the caller has given up, and need not wait for the piece
                start(leave)
            else:
                await in_thread(leave)

    def unavailable_reason(self) -> str | None:
        """Say why the provider cannot be asked, for example which variable to set, without any I/O.

        Returns:
            The reason, or None where the provider can be asked.
        """
        return None

    def is_available(self) -> bool:
        """Return whether the provider can be asked."""
        return self.unavailable_reason() is None

    def model_notice(self, model: str) -> str | None:
        """Say that a model is retired or will be, and what to ask instead, without any I/O.

        Returns:
            The notice, with the day as YYYY-MM-DD if there is one; None if nothing of the kind is known.
        """
        return None

    def pace(self, request: Request) -> Pace:
        """Return what is known of how long this request's answer may take, without any I/O."""
        return PLAIN_PACE

    def thinking_room(self, request: Request) -> int:
        """Return how many tokens the provider requests in addition to `max_tokens`, as room for thinking; 0 for none.

        Limits and estimates of costs count them.
        """
        return 0

    def list_models(self, timeout: float = 10.0) -> tuple[str, ...]:
        """Ask the vendor which models this account may use: no model is called, and nothing is charged.

        Args:
            timeout: seconds for the whole answer, above 0.

        Raises:
            UnsupportedRequest: the vendor has no list of models, or the provider does not know it.
            Failure: there is no answer.
        """
        raise UnsupportedRequest("does not list its models", provider=self.get_provider_name())

    def takes_prefill(self, model: str) -> bool:
        """Return whether a model continues a begun answer; `capabilities.prefill` covers the default model."""
        return self.capabilities.prefill

    def warm_up(self) -> None:
        """Import what the first call needs, and open nothing. It may take seconds, and be called from any thread."""

    def generate_content(
        self, prompt: str, temperature: float = DEFAULT_TEMPERATURE, max_tokens: int = 1024
    ) -> LLMResponse:
        """Answer a prompt, every failure turned into a response with success False."""
        system, messages = read_prompt(prompt)
        request = Request(messages=messages, system=system, temperature=temperature, max_tokens=max_tokens)
        try:
            return without_warning_of_default(self.generate(request), request)
        except Failure as failure:
            return LLMResponse(False, "", self.get_provider_name(), str(failure), failure=failure)

    def close(self) -> None:
        """Close connections; a provider that is asked again afterwards opens new ones."""

    async def aclose(self) -> None:
        """Close the connections that belong to the running event loop, and then as `close` does."""
        self.close()


def without_warning_of_default(response: LLMResponse, request: Request) -> LLMResponse:
    """Return an answer without warnings about the temperature, if the caller gave none."""
    if not response.warnings or type(request.temperature) is not DefaultTemperature:
        return response
    kept = tuple(one for one in response.warnings if getattr(one, "setting", "") != "temperature")
    return replace(response, warnings=kept)


def structured_output(request: Request, text: str, finish_reason: FinishReason) -> object:
    """Parse an answer that should follow the request's output schema, removing a fence or other text around it.

    Returns:
        The parsed JSON; None where the request gave no schema, or the model called a tool instead.

    Raises:
        MalformedResponse: the text is not JSON, does not hold just one such value, or is nested too deep to be read.
    """
    if request.output_schema is None or finish_reason == FinishReason.TOOL_CALLS or not text:
        return None
    from understudy.extras.json_schema import read_answer  # not needed by most calls

    try:
        return read_answer(text)[0]
    except RecursionError as error:
        raise MalformedResponse("expected an answer in JSON, found lists and objects nested too deep") from error
    except ValueError as error:
        cut = ", it was cut at max_tokens" if finish_reason == FinishReason.LENGTH else ""
        raise MalformedResponse(f"expected an answer in JSON, found text that is not{cut}: {error}") from error


@dataclass(frozen=True, slots=True)
class Route:
    """The targets that may be asked, in order, each with its provider.

    Args:
        targets: the targets.
        providers: the provider of each target.
    """

    targets: tuple[Target, ...]
    providers: tuple[ChatProvider, ...]

    def __iter__(self) -> Iterator[tuple[Target, ChatProvider]]:
        return zip(self.targets, self.providers, strict=True)

    def __len__(self) -> int:
        return len(self.targets)

    def in_order(self, order: Iterable[int]) -> Route:
        """Return a route with these stops, by their indices."""
        order = tuple(order)
        return Route(tuple(self.targets[i] for i in order), tuple(self.providers[i] for i in order))
