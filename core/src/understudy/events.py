"""What the factory tells an extension while a call goes on. Nothing is built where nobody listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from understudy.errors import Failure
from understudy.response import LLMResponse


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A target is about to be asked, for the `number`-th time in this call (from 1), and why."""

    target: str
    number: int
    reason: str = ""
    breaker: str = "closed"


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """An attempt ended in a failure after so many seconds; it may have cost `wasted` tokens, by estimate."""

    target: str
    number: int
    failure: Failure
    seconds: float
    wasted: int = 0


@dataclass(frozen=True, slots=True)
class TargetSkipped:
    """A target was passed over without being asked."""

    target: str
    reason: str
    breaker: str = "closed"


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """The same target will be asked again after `wait` seconds; `retry` counts from 1."""

    target: str
    retry: int
    wait: float
    failure: Failure


@dataclass(frozen=True, slots=True)
class Switched:
    """The next target takes the part."""

    target: str
    next_target: str
    failure: Failure


@dataclass(frozen=True, slots=True)
class BreakerChanged:
    """A target's circuit breaker is in another state: "closed", "open", "cooling" or "half-open".

    Args:
        target: whose.
        state: the new state.
        seconds: how long the target is left alone now; 0.0 where it is not.
    """

    target: str
    state: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CallFinished:
    """The call ended; the response says how, and holds the record of attempts."""

    response: LLMResponse


@dataclass(frozen=True, slots=True)
class CallCancelled:
    """The caller gave up: it cancelled the call, left its stream, or was interrupted. Nothing else is told of it.

    Args:
        target: who was asked last; empty where nobody was.
    """

    target: str = ""


Event: TypeAlias = (
    AttemptStarted
    | AttemptFailed
    | TargetSkipped
    | RetryScheduled
    | Switched
    | BreakerChanged
    | CallFinished
    | CallCancelled
)
