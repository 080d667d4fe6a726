"""The commands that the decision procedure yields to its drivers, and the outcomes that they send back.

Treat these as read-only. They are not frozen: a frozen one takes three to five times as long to make, and every call
makes a dozen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from understudy.errors import Failure
from understudy.response import Attempt, LLMResponse
from understudy.target import BreakerState

End: TypeAlias = Literal["success", "exhausted", "deadline", "failed", "interrupted", "refused"]

Beside: TypeAlias = Literal["", "hedge", "late", "turn", "probe"]

ATTEMPT = 60.0  # seconds for an attempt without a limit of its own: in dry runs


@dataclass(slots=True)
class Enter:
    """Command: count the call as under way. Answer with an Outcome; `skip` says that there are too many."""


@dataclass(slots=True)
class Admit:
    """Command: say whether this target may be asked now. Answer with an Outcome; `skip` says why not.

    Args:
        index: the target.
        number: the attempt that is meant, from 1.
        forced: it is the last target: the breaker is not asked.
        beside: it would be asked in parallel with another: one that has not answered after a configured time ("hedge"),
            one that is late compared with its past answers ("late"), one that has had its share of the time before
            the deadline ("turn"), or a probe ("probe").
        other: the one beside which it would be asked.
        early: whether that one is not late yet: then this one may be asked only if that one seems to answer nobody.
    """

    index: int
    number: int = 1
    forced: bool = False
    beside: Beside = ""
    other: int = -1
    early: bool = False


@dataclass(slots=True)
class Call:
    """Command: ask this target, for at most `timeout` seconds. Answer with the Outcome.

    Args:
        index: the target.
        number: the attempt, from 1.
        timeout: seconds for a whole answer, or for a stream's first piece.
        reason: why it is asked now.
        hedge_after: seconds after which an Outcome with `pending` is sent and the attempt goes on; None for never.
        alongside: another attempt is under way; answer with the Outcome of whichever ends first.
        adaptation: how the request is adapted, in the words of the failure that suggested it.
        beside: why it is asked beside another, as in Admit; "" where it is not.
        other: the one beside which it is asked.
    """

    index: int
    number: int
    timeout: float
    reason: str
    hedge_after: float | None = None
    alongside: bool = False
    adaptation: str | None = None
    beside: Beside = ""
    other: int = -1


@dataclass(slots=True)
class Await:
    """Command: go on with the attempt under way on this target. Answer with its Outcome.

    Args:
        index: the target.
        seconds: the longest wait, after which an Outcome with `pending` is sent; None for the attempt's own time.
    """

    index: int
    seconds: float | None = None


@dataclass(slots=True)
class Cancel:
    """Command: give up the attempt under way on this target. Answer with an Outcome.

    Args:
        index: the target.
        late: whether it is given up because it was late: that counts against the target, unless it answered others.
    """

    index: int
    late: bool = False


@dataclass(slots=True)
class Leave:
    """Command: let the attempt under way on this target continue on its own: it shows whether the target is well.
    Answer at once."""

    index: int


@dataclass(slots=True)
class Withdraw:
    """Command: take one retry from the budget. Answer with an Outcome; `refused` where there is none left."""

    index: int


@dataclass(slots=True)
class Wait:
    """Command: let `seconds` pass before this target is asked again. Answer with an Outcome."""

    index: int
    retry: int
    seconds: float
    failure: Failure


@dataclass(slots=True)
class Switch:
    """Command: note that the next target takes over. Answer with an Outcome."""

    index: int
    next_index: int
    failure: Failure


Command: TypeAlias = Enter | Admit | Call | Await | Cancel | Leave | Withdraw | Wait | Switch


@dataclass(slots=True)
class Outcome:
    """The result of a command.

    Args:
        at: seconds on the caller's monotonic clock, now.
        failure: the failure of an attempt; None for an answer.
        response: the answer.
        delivered: whether the caller already holds a part of this attempt's answer.
        draw: a random number from 0 to below 1, for jitter.
        skip: why a target may not be asked; None where it may.
        free_in: seconds until the target may be asked (again); None where nothing is known, infinity for never.
        busy: another request must end first: `free_in` is when it does at the latest.
        breaker: the state of the target's breaker.
        refused: the retry budget is used up.
        index: whose outcome it is, where two attempts are under way.
        pending: the attempt goes on, and its hedge_after has passed.
        working: it is pending, and pieces of its answer arrive, not yet handed out.
        began: the attempt goes on, and the first piece of its stream is there.
        most: seconds that the attempt may take: a whole answer, or a stream's first piece.
        beside_after: seconds after which another target is asked beside this one; None for never.
        look_after: seconds after which to check whether the target answers anybody; None for never.
        usual: seconds within which 95 of 100 answers came; None if that is not known.
        median: seconds that half of them took; likewise.
        probe: whether the attempt is the probe of a half-open breaker.
        failing: the share of the target's recent attempts that failed, without this one.
        alive: the attempt was late, but one that began later was answered.
        took: seconds that the attempt took.
        wasted: an estimate of the tokens that the attempt may have cost for nothing.
    """

    at: float
    failure: Failure | None = None
    response: LLMResponse | None = None
    delivered: bool = False
    draw: float = 0.0
    skip: Failure | None = None
    free_in: float | None = None
    busy: bool = False
    breaker: BreakerState = BreakerState.CLOSED
    refused: bool = False
    index: int = -1
    pending: bool = False
    working: bool = False
    began: bool = False
    most: float = ATTEMPT
    beside_after: float | None = None
    look_after: float | None = None
    usual: float | None = None
    median: float | None = None
    probe: bool = False
    failing: float = 0.0
    alive: bool = False
    took: float = 0.0
    wasted: int = 0


@dataclass(slots=True)
class Verdict:
    """How a call ended.

    Args:
        end: "success", "exhausted" (no target answered), "deadline", "failed" (the request is at fault),
            "interrupted" (a stream broke off after its first token, and no target continued it) or "refused" (too many
            calls under way).
        attempts: every target's part, in order.
        failures: the last failure or skip reason of every target that was tried, by its index.
        failure: what ended the call, where it ended with one.
    """

    end: End
    attempts: tuple[Attempt, ...]
    failures: dict[int, Failure]
    failure: Failure | None = None
