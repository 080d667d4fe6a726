"""What a caller receives: the response, the record of attempts, and the events of a stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from understudy.messages import Message, Part, Text, Thinking, ToolCall
from understudy.target import BreakerState
from understudy.usage import Usage

if TYPE_CHECKING:
    from understudy.errors import Failure


class FinishReason(StrEnum):
    """Why a model stopped, in one vocabulary for all vendors."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    BLOCKED = "blocked"
    PAUSED = "paused"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ResponseWarning:
    """A setting that was requested but not honoured.

    Args:
        setting: the field of the request, for example "temperature".
        message: what was done instead and why, as a sentence.
    """

    setting: str
    message: str

    def __str__(self) -> str:
        return self.message


AttemptOutcome: TypeAlias = Literal["succeeded", "failed", "skipped", "cancelled", "left to end"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One target's part in a call: an attempt on it, or the reason why it was passed over.

    Args:
        target: the route as it was named, for example "gemini" or "claude:claude-haiku-4-5".
        provider: the provider's name.
        model: the model that was asked, if it is known.
        outcome: what came of it. "left to end" is a probe that continues on its own, since another target answered.
        reason: why this target was asked now, or why it was skipped.
        number: 1 for the first attempt on this target, counting up; 0 where it was skipped.
        failure: the typed failure, where it failed.
        seconds: how long the attempt took.
        wait: seconds waited before it.
        usage: what it cost in tokens, if the vendor reported it.
        request_id: the vendor's id of the request, for their support.
        breaker: the state of the target's circuit breaker when it was asked or skipped.
        decision: why it was not asked again, or no other in parallel, if the reason is not its failure or the time that
            it took.
        price_list: the name under which its prices are listed, if that is not the provider's.
        wasted: tokens that it may have cost for nothing, by estimate, if the vendor did not report it: an answer that
            was given up may be written to its end anyway, and charged.
    """

    target: str
    provider: str
    model: str | None = None
    outcome: AttemptOutcome
    reason: str = ""
    number: int = 0
    failure: Failure | None = None
    seconds: float = 0.0
    wait: float = 0.0
    usage: Usage | None = None
    request_id: str | None = None
    breaker: BreakerState = BreakerState.CLOSED
    decision: str = ""
    price_list: str = ""
    wasted: int = 0

    @property
    def cost(self) -> float | None:
        """US dollars, if the extra "prices" is installed and knows the model; else None."""
        if self.usage is None:
            return None
        from understudy.extras.pricing import price_of  # loads a table of prices

        return price_of(self.price_list or self.provider, self.model, self.usage)


@dataclass(frozen=True, slots=True)
class LLMResponse:
    """An answer, or the reason why there is none.

    Args:
        success: whether there is an answer.
        content: the answer's text.
        provider_name: who gave it.
        error: why there is none, in one line.
        metadata: what else the vendor reported, for people; no decision depends on it.
        model: the model that answered.
        finish_reason: why the model stopped.
        usage: tokens, as the vendor counted them.
        parts: the answer in full and in order: text, thinking, tool calls.
        structured: the answer parsed, where the request gave an output_schema.
        warnings: settings that were asked for and not honoured.
        request_id: the vendor's id of the request.
        attempts: every target's part in the call, in order.
        failure: the typed failure behind `error`.
    """

    success: bool
    content: str = ""
    provider_name: str = ""
    error: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    model: str | None = None
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    parts: tuple[Part, ...] = ()
    structured: Any = None
    warnings: tuple[ResponseWarning, ...] = ()
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = ()
    failure: Failure | None = None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tools that the model asks for, in order."""
        return tuple(part for part in self.parts if isinstance(part, ToolCall))

    @property
    def thinking(self) -> str:
        """The reasoning that the model showed, joined."""
        return "".join(part.text for part in self.parts if isinstance(part, Thinking))

    @property
    def cost(self) -> float | None:
        """US dollars for all attempts of the call, as far as it is known; None where no attempt's is."""
        known = [cost for attempt in self.attempts if (cost := attempt.cost) is not None]
        return sum(known) if known else None

    @property
    def wasted_tokens(self) -> int:
        """Tokens that attempts without an answer cost, as the vendors reported them, or by estimate."""
        failed = [attempt for attempt in self.attempts if attempt.outcome != "succeeded"]
        return sum(attempt.usage.total_tokens if attempt.usage else attempt.wasted for attempt in failed)

    @property
    def message(self) -> Message:
        """The answer as a message, to continue the conversation with, on this provider or another.

        Raises:
            ValueError: there is no answer.
        """
        if not self.success:
            raise ValueError(f"expected a successful response, found a failed one: {self.error}")
        return Message("assistant", self.parts or (Text(self.content),))

    def raise_for_failure(self) -> LLMResponse:
        """Raise the typed failure where there is one.

        Returns:
            This response, so that calls can be chained.

        Raises:
            Failure: the call failed.
        """
        if self.failure is not None:
            raise self.failure
        if not self.success:
            from understudy.errors import UnknownFailure

            raise UnknownFailure(self.error or "no reason given", provider=self.provider_name)
        return self


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """The next piece of the reasoning that the model shows."""

    text: str


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """The next piece of a tool call.

    Args:
        index: which tool call of this answer it belongs to, from 0.
        id: the call's id.
        name: the tool's name.
        arguments: the next piece of the arguments' JSON text.
    """

    index: int
    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The vendor is at work and has nothing to show yet. Providers yield it; callers never see it."""


@dataclass(frozen=True, slots=True)
class Restart:
    """What came so far is void: another target answers from the beginning (stream_recovery "restart").

    Args:
        target: the one that broke off.
        next_target: the one that answers now.
        failure: why.
        voided: the ids of the tool calls that the caller holds, and that are void: whoever runs tools before Finish has
            run them for nothing, and may be asked for the same again under another id.
    """

    target: str
    next_target: str
    failure: Failure
    voided: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Continuation:
    """What came so far stands: another target goes on after its last letter (stream_recovery "continue").

    Args:
        target: the one that broke off.
        next_target: the one that goes on.
        failure: why.
    """

    target: str
    next_target: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of every complete stream, with the whole answer."""

    response: LLMResponse


StreamEvent: TypeAlias = TextDelta | ThinkingDelta | ToolCallDelta | Heartbeat | Restart | Continuation | Finish
