"""The events that a factory sends to extensions during a call. None is built unless an extension listens.

Each event has its call's id in `call`, which equality ignores: equal events of different calls compare equal.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from understudy.errors import Failure
from understudy.response import AttemptOutcome, FinishReason, LLMResponse
from understudy.target import BreakerState
from understudy.usage import Usage

if TYPE_CHECKING:
    from understudy.policy import Policy

# The id of the call on whose behalf the caller's code (a validator, an extension) runs now. Empty outside a call.
current_call: ContextVar[str] = ContextVar("current_call", default="")


def _id_of_call() -> Any:
    return field(default="", kw_only=True, compare=False)


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call begins.

    Args:
        route: the labels of its targets, in the order in which they are asked.
        policy: its numbers.
        streaming: whether its caller receives it piece by piece.
        messages: how many messages the conversation has.
        model: the model that was asked for; None for each target's own.
        temperature: as it was asked for.
        max_tokens: as it was asked for.
        tools: how many tools the model may call.
        structured: whether the answer must fit a JSON schema.
    """

    route: tuple[str, ...]
    policy: Policy
    streaming: bool
    messages: int
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    tools: int = 0
    structured: bool = False
    call: str = _id_of_call()


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A target is about to be asked for the `number`-th time in this call (from 1).

    Args:
        target: its label.
        number: the attempt on it, from 1.
        reason: why it is asked now.
        breaker: the state of its circuit breaker.
        beside: why it is asked while another is under way: "hedge" after a time that the policy names, "late" if
            the other is later than usual, "turn" if it has had its share of the time, "probe" if it tests whether
            its target is well again; else "".
        other: the label of that other target, else "".
    """

    target: str
    number: int
    reason: str = ""
    breaker: BreakerState = BreakerState.CLOSED
    beside: str = ""
    other: str = ""
    call: str = _id_of_call()


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The first piece of an answer came, `seconds` after its attempt began; only if it is requested as a stream."""

    target: str
    number: int
    seconds: float
    call: str = _id_of_call()


@dataclass(frozen=True, slots=True)
class AttemptFinished:
    """An attempt ended, one way or another: this is the last event of every attempt that started.

    Args:
        target: its label.
        number: the attempt on it, from 1.
        outcome: "succeeded", "failed", "cancelled", or "left to end" if it continues without the call.
        seconds: how long it took.
        model: the model that answered, if it is known.
        usage: the tokens, if the vendor reported them; also of an answer that was refused.
        request_id: the vendor's id of the reply.
        finish_reason: why the answer ended.
        failure: how it failed; None where it did not.
        price_list: the name under which the prices are listed.
    """

    target: str
    number: int
    outcome: AttemptOutcome
    seconds: float
    model: str | None = None
    usage: Usage | None = None
    request_id: str | None = None
    finish_reason: FinishReason | None = None
    failure: Failure | None = None
    price_list: str = ""
    call: str = _id_of_call()

    @property
    def cost(self) -> float | None:
        """US dollars, if the extra "prices" is installed and knows the model; else None."""
        if self.usage is None:
            return None
        from understudy.extras.pricing import price_of  # loads a table of prices

        return price_of(self.price_list, self.model, self.usage)


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt ended in a failure after so many seconds; it may have cost `wasted` tokens, by estimate."""

    target: str
    number: int
    failure: Failure
    seconds: float
    wasted: int = 0
    call: str = _id_of_call()


@dataclass(frozen=True, slots=True)
class TargetSkipped:
    """A target was skipped without being asked."""

    target: str
    reason: str
    breaker: BreakerState = BreakerState.CLOSED
    call: str = _id_of_call()


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """The same target will be asked again after `wait` seconds; `retry` counts from 1."""

    target: str
    retry: int
    wait: float
    failure: Failure
    call: str = _id_of_call()


@dataclass(frozen=True, slots=True)
class Switched:
    """The next target takes over."""

    target: str
    next_target: str
    failure: Failure
    call: str = _id_of_call()


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A target's circuit breaker is in another state.

    Args:
        target: whose.
        state: the new state.
        seconds: how long the target rests now; 0.0 if it does not.
    """

    target: str
    state: BreakerState
    seconds: float
    call: str = _id_of_call()


@dataclass(frozen=True, slots=True)
class CallFinished:
    """The call ended; the response says how, and holds the record of attempts."""

    response: LLMResponse
    call: str = _id_of_call()


@dataclass(frozen=True, slots=True)
class CallCancelled:
    """The caller gave up: it cancelled the call, left its stream, or was interrupted. Attempts under way are cancelled.

    Args:
        target: the one that was asked last; empty if none was.
    """

    target: str = ""
    call: str = _id_of_call()


Event: TypeAlias = (
    CallStarted
    | AttemptStarted
    | FirstToken
    | AttemptFinished
    | AttemptFailed
    | TargetSkipped
    | RetryScheduled
    | Switched
    | BreakerChanged
    | CallFinished
    | CallCancelled
)
