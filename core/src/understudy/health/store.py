"""The HealthStore protocol: how calls share what they learn about the targets' health.

A store is asked three things about a target (a string that names provider, model and credential): may it be asked now
(`take`), here is the outcome (`give`), how healthy is it (`look`). Take and give are each atomic. Whatever is taken is
a lease: a caller that dies returns nothing, and the store releases it when its time is over. No call carries a time of
day, and answers are remaining durations, so the stores of several hosts need no common clock: each keeps its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from understudy.engine.timeouts import NOTHING_LEARNT, Learned
from understudy.errors import Effect
from understudy.health.latency import UNKNOWN, Latency
from understudy.limits import Limits
from understudy.policy import Policy
from understudy.target import BreakerState


@dataclass(slots=True)  # not frozen: each call makes one
class Claim:
    """What a call claims of a target.

    Args:
        call: a number that distinguishes this call from all others, in other processes too.
        policy: the numbers of the breaker and of cooldowns.
        lease: seconds after which what was taken counts as abandoned.
        limits: the caller's own limits for this target.
        tokens: an estimate of the tokens that the request will cost.
        cost: an estimate of the US dollars.
        forced: take it whatever the breaker says: the only attempt of a call that no other target can answer.
        thinks: whether the model will think before it answers: its times are kept separately.
        streamed: whether the answer comes as a stream, also if the caller gets it in one piece.
    """

    call: int
    policy: Policy
    lease: float
    limits: Limits | None = None
    tokens: float = 0.0
    cost: float = 0.0
    forced: bool = False
    thinks: bool = False
    streamed: bool = False


@dataclass(slots=True)  # not frozen: each call with limits makes one
class Lease:
    """What a call received: permission to ask a target once, or the reason why not.

    Args:
        granted: whether the target may be asked.
        state: the breaker's state.
        free_in: if it may not: seconds until it may, infinity for never.
        reason: if it may not: "breaker", "cooldown", "refusal" (with `refused` in words), or the limit that is
            reached, in words.
        generation: of the breaker, so that a late outcome is recognised as such.
        probe: a number above 0, where this is the probe of a half-open breaker.
        slot: a number above 0, where something is reserved under limits.
        reserved: what is reserved, in the store's own terms.
        changed: whether this very query or report moved the breaker to `state`.
        local: whether the process granted it to itself, because the shared store did not answer.
        busy: if it may not: whether another request must end first. Then `free_in` is the rest of that one's lease, and
            it may be free much sooner.
        learned: what answers of this kind took.
        doubt: whether the target may be answering nobody: it is asked so that its first sign of life is heard.
        refused: what the target refuses, if that is its key, a permission or a model.
        failing: after a failure: the share of recent attempts that failed, without this one.
        alive: after an attempt that was late: whether one that began later was answered.
    """

    granted: bool
    state: BreakerState = BreakerState.CLOSED
    free_in: float = 0.0
    reason: str = ""
    generation: int = 0
    probe: int = 0
    slot: int = 0
    reserved: tuple[float, ...] = ()
    changed: bool = False
    local: bool = False
    busy: bool = False
    learned: Learned = NOTHING_LEARNT
    doubt: bool = False
    refused: str = ""
    failing: float = 0.0
    alive: bool = False


@dataclass(slots=True)  # not frozen: each call makes one
class Report:
    """The outcome of an attempt.

    Args:
        effect: what it says about the target.
        seconds: to the whole answer that the caller waited for; None for the caller's own streams, and for no answer.
        end: to the end of the answer, in either case; None for no answer.
        first: to the first piece, where it came as a stream; None where none came.
        gap: the longest pause between two pieces, likewise.
        late: seconds after which it was abandoned or overtaken because it took long; None if it was not. It counts
            against the target only if no later request was answered.
        hint: seconds after which the vendor says to come back.
        tokens: that it cost; None where the vendor did not say: then what was reserved stays counted.
        cost: in US dollars; None where it is not known: likewise.
        sent: whether there was a request at all; if not, all that was reserved is released.
        why: what was refused, if it was a key, a permission or a model.
        failed: whether it brought no usable answer, without the request or the caller being at fault: a target
            is then asked later, even if its breaker is closed.
    """

    effect: Effect
    seconds: float | None = None
    end: float | None = None
    first: float | None = None
    gap: float | None = None
    late: float | None = None
    hint: float | None = None
    tokens: float | None = None
    cost: float | None = None
    sent: bool = True
    why: str = ""
    failed: bool = False


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """How healthy a target is.

    Args:
        state: the breaker's state.
        free_in: seconds until it may be asked; 0.0 for now.
        failures: failed attempts within the breaker's window.
        left: what is left of each limit.
        answers: how quickly whole answers come.
        first_tokens: how quickly the first piece of a stream comes.
        failing: how often it brings no usable answer, from 0.0 to 1.0: 1.0 with each such attempt, less with
            each answer and with time.
        learned: what its answers took, without thinking and with it.
        refused: what it refuses, if that is its key, a permission or a model.
        suspect: whether it seems to answer nobody just now: requests are under way that began after the last one that
            was answered, and more and longer than chance explains; or its circuit has not closed again since it did not
            answer.
    """

    state: BreakerState = BreakerState.CLOSED
    free_in: float = 0.0
    failures: int = 0
    left: dict[str, float] = field(default_factory=dict)
    answers: Latency = UNKNOWN
    first_tokens: Latency = UNKNOWN
    failing: float = 0.0
    learned: tuple[Learned, Learned] = (NOTHING_LEARNT, NOTHING_LEARNT)
    refused: str = ""
    suspect: bool = False

    def latency(self, *, streaming: bool) -> Latency:
        """Return how quickly this kind of call is answered."""
        return self.first_tokens if streaming else self.answers


@runtime_checkable
class HealthStore(Protocol):
    """Keeps what is known of the targets' health. Safe to use from several threads and event loops.

    Attributes:
        blocks: whether a query may wait for I/O; async calls then make it in a thread.
    """

    blocks: bool

    def take(self, target: str, claim: Claim) -> Lease:
        """Ask for permission to ask a target once; reserve what the limits count."""
        ...

    def give(self, target: str, lease: Lease, claim: Claim, report: Report) -> Lease:
        """Report the outcome, and release or settle what was taken.

        Returns:
            The target's state now: granted if it could be asked again at once.
        """
        ...

    def look(self, target: str, policy: Policy) -> TargetHealth:
        """Return how healthy a target is, and change nothing."""
        ...
