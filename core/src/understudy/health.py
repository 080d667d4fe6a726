"""What is known of the targets' health, shared by all calls: the HealthStore protocol, and the store in memory.

A store answers three questions about a target, a text that names provider, model and credential: may it be asked now
(`take`), what came of it (`give`), how is it (`look`). Take and give are atomic each. Whatever is taken is a lease: a
caller that dies gives nothing back, and the store frees it when its time is over. No call carries a time of day, and
answers are durations that remain, so stores of several hosts need no common clock: each keeps its own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import random
from typing import Literal, Protocol, runtime_checkable

from understudy.breaker import Breaker, BreakerState, Effect
from understudy.forks import begin_anew_in_child
from understudy.latencies import UNKNOWN, Failing, Latencies, Latency
from understudy.limits import Limits
from understudy.policy import Policy
from understudy.windows import Allowance

MOST_TARGETS = 4096  # known at a time; those that are closed and idle are forgotten first


@dataclass(slots=True)  # not frozen, because each call makes one
class Claim:
    """What a call wants of a target.

    Args:
        call: a number that tells this call from all others, in other processes too.
        policy: the numbers of the breaker and of cooldowns.
        lease: seconds after which what was taken counts as abandoned.
        limits: the caller's own limits for this target.
        tokens: an estimate of the tokens that the request will cost.
        cost: an estimate of the US dollars.
        forced: take it whatever the breaker says: the only attempt of a call that nobody else can answer.
    """

    call: int
    policy: Policy
    lease: float
    limits: Limits | None = None
    tokens: float = 0.0
    cost: float = 0.0
    forced: bool = False


@dataclass(slots=True)  # not frozen, because each call makes one where there are limits
class Lease:
    """What a call was given: the right to ask a target once, or the reason why not.

    Args:
        granted: whether the target may be asked.
        state: the breaker's state.
        free_in: where it may not: seconds until it may, infinity for never.
        reason: where it may not: "breaker", "cooldown", or the limit that is reached, in words.
        generation: of the breaker, so that a late outcome is known for what it is.
        probe: a number above 0, where this is the probe of a half-open breaker.
        slot: a number above 0, where something is reserved under limits.
        reserved: what is reserved, in the store's own terms.
        changed: whether just this question or report moved the breaker to `state`.
        local: whether a process gave it to itself, because the store that it shares did not answer.
        busy: where it may not: whether another request must end first. Then `free_in` is the rest of that one's lease,
            and it may be free much sooner.
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


@dataclass(slots=True)  # not frozen, because each call makes one
class Report:
    """What came of an attempt.

    Args:
        effect: what it says about the target.
        seconds: to the first token of a stream, or to the whole answer; None where there was none.
        hint: seconds after which the vendor says to come back.
        tokens: that it cost; None where the vendor did not say: then what was reserved stays counted.
        cost: in US dollars; None where it is not known: likewise.
        sent: whether there was a request at all; where not, all that was reserved is given back.
        streamed: whether the call was a stream, and `seconds` are to its first token.
        failed: whether it brought no answer that will do, without the request or the caller being at fault: a target
            is asked later for that, also where its breaker has nothing against it.
    """

    effect: Effect
    seconds: float | None = None
    hint: float | None = None
    tokens: float | None = None
    cost: float | None = None
    sent: bool = True
    streamed: bool = False
    failed: bool = False


@dataclass(frozen=True, slots=True)
class TargetHealth:
    """How a target is.

    Args:
        state: the breaker's state.
        free_in: seconds until it may be asked; 0.0 for now.
        failures: failed attempts within the breaker's window.
        left: what is left of each limit.
        answers: how quickly whole answers come.
        first_tokens: how quickly the first piece of a stream comes.
        failing: how often it brings no answer that will do, from 0.0 to 1.0: 1.0 with each such attempt, less with
            each answer and with time.
    """

    state: BreakerState = BreakerState.CLOSED
    free_in: float = 0.0
    failures: int = 0
    left: dict[str, float] = field(default_factory=dict)
    answers: Latency = UNKNOWN
    first_tokens: Latency = UNKNOWN
    failing: float = 0.0

    def latency(self, *, streaming: bool) -> Latency:
        """Return how quickly this kind of call is answered."""
        return self.first_tokens if streaming else self.answers


@runtime_checkable
class HealthStore(Protocol):
    """Keeps what is known of the targets' health. Safe to use from several threads and event loops.

    Attributes:
        blocks: whether a question may wait for input or output; async calls then ask in a thread.
    """

    blocks: bool

    def take(self, target: str, claim: Claim) -> Lease:
        """Ask for the right to ask a target once; reserve what the limits count."""
        ...

    def give(self, target: str, lease: Lease, claim: Claim, report: Report) -> Lease:
        """Tell what came of it, and free or settle what was taken.

        Returns:
            How the target stands now: granted where it could be asked again at once.
        """
        ...

    def look(self, target: str, policy: Policy) -> TargetHealth:
        """Tell how a target is, and change nothing."""
        ...


class InMemoryHealthStore:
    """Keeps health in this process. Share one among factories to have them know what the others learnt.

    Args:
        clock: gives seconds, monotonic.
        random: gives numbers of at least 0 and below 1, for the jitter of open breakers.
    """

    blocks = False

    def __init__(self, clock: Callable[[], float] = time.monotonic, random: Callable[[], float] = random) -> None:
        self._clock = clock
        self._random = random
        self._records: dict[str, _Record] = {}
        self.begin_anew()
        begin_anew_in_child(self)

    def __repr__(self) -> str:
        return f"InMemoryHealthStore({len(self._records)} targets)"

    def take(self, target: str, claim: Claim) -> Lease:
        """Ask for the right to ask a target once; reserve what the limits count."""
        record = self._records.get(target) or self._add(target)
        now = self._clock()
        with record.lock:
            return record.take(claim, now)

    def give(self, target: str, lease: Lease, claim: Claim, report: Report) -> Lease:
        """Tell what came of it, and free or settle what was taken."""
        record = self._records.get(target) or self._add(target)
        now = self._clock()
        with record.lock:
            return record.give(lease, claim, report, now, self._random)

    def look(self, target: str, policy: Policy) -> TargetHealth:
        """Tell how a target is, and change nothing."""
        record = self._records.get(target)
        if record is None:
            return TargetHealth()
        with record.lock:
            return record.look(self._clock(), policy)

    def forget(self) -> None:
        """Forget everything, for example between two tests."""
        with self._lock:
            self._records.clear()

    def begin_anew(self) -> None:
        """Make the locks anew in a forked process, and free what was leased to calls: these are another process's."""
        self._lock = threading.Lock()
        for record in self._records.values():
            record.begin_anew()

    def _add(self, target: str) -> _Record:
        with self._lock:
            if len(self._records) >= MOST_TARGETS:
                idle = [name for name, known in self._records.items() if known.is_idle()]
                for name in idle[: MOST_TARGETS // 2]:
                    del self._records[name]
            return self._records.setdefault(target, _Record())


class _Record:
    """One target's breaker, limits and latencies."""

    __slots__ = (
        "_allowance",
        "_allowances",
        "_answers",
        "_closed",
        "_failing",
        "_first_tokens",
        "_slots",
        "breaker",
        "lock",
    )

    def __init__(self) -> None:
        self.breaker = Breaker()
        self._allowance: Allowance | None = None  # the one that was used last
        self._allowances: dict[Limits, Allowance] = {}
        self._answers = Latencies()
        self._first_tokens = Latencies()
        self._failing = Failing()
        self._slots = 0
        self._closed = Lease(True)  # what nearly every call is given, made once for each generation
        self.begin_anew()

    def begin_anew(self) -> None:
        self.lock = threading.Lock()
        self.breaker._probe = 0
        for allowance in self._allowances.values():
            allowance._slots.clear()

    def take(self, claim: Claim, now: float) -> Lease:
        breaker = self.breaker
        if claim.limits is None and breaker.state is BreakerState.CLOSED:
            if self._closed.generation != breaker.generation:
                self._closed = Lease(True, generation=breaker.generation)
            return self._closed
        before = breaker.generation
        wait = breaker.admit(now)
        changed = breaker.generation != before
        if wait > 0 and not claim.forced:
            probed = breaker.state is BreakerState.HALF_OPEN
            return Lease(False, breaker.state, wait, self._why(), breaker.generation, busy=probed)
        slot = 0
        reserved: tuple[float, ...] = ()
        if claim.limits is not None:
            allowance = self._allowance_under(claim.limits)
            limit_wait, limit, busy = allowance.wait_for(claim.tokens, claim.cost, now)
            if limit:
                return Lease(False, breaker.state, limit_wait, limit, breaker.generation, changed=changed, busy=busy)
            self._slots += 1
            slot = self._slots
            reserved = allowance.reserve(claim.tokens, claim.cost, now, slot, claim.lease)
        half_open = breaker.state is BreakerState.HALF_OPEN and wait <= 0
        probe = breaker.send_probe(now, claim.lease) if half_open else 0
        return Lease(True, breaker.state, 0.0, "", breaker.generation, probe, slot, reserved, changed)

    def give(self, lease: Lease, claim: Claim, report: Report, now: float, random: Callable[[], float]) -> Lease:
        breaker, effect = self.breaker, report.effect
        if effect is Effect.SUCCESS:
            if report.seconds is not None:
                (self._first_tokens if report.streamed else self._answers).add(report.seconds, now)
            if self._failing.share:  # rarely: and every call comes by here
                self._failing.succeed(now)
        elif report.failed:
            self._failing.fail(now)
        if lease.slot and claim.limits is not None:
            tokens = claim.tokens if report.tokens is None else report.tokens
            cost = claim.cost if report.cost is None else report.cost
            used = (tokens, cost) if report.sent else None
            allowance = self._allowance_under(claim.limits)
            allowance.settle(lease.reserved, (claim.tokens, claim.cost), used, now, lease.slot)
        before = breaker.generation
        breaker.record(
            effect,
            now,
            call=claim.call,
            generation=lease.generation,
            probe=lease.probe,
            policy=claim.policy,
            draw=0.0 if effect is Effect.SUCCESS else random(),
            hint=report.hint,
        )
        changed = breaker.generation != before
        if breaker.state is BreakerState.CLOSED and not changed:
            return self._closed
        resting = breaker.state in (BreakerState.OPEN, BreakerState.COOLING)
        wait = max(breaker.until - now, 0.0) if resting else 0.0
        why = self._why() if wait > 0 else ""
        return Lease(wait <= 0, breaker.state, wait, why, breaker.generation, changed=changed)

    def look(self, now: float, policy: Policy) -> TargetHealth:
        breaker = self.breaker
        state = breaker.state_at(now)
        resting = state in (BreakerState.OPEN, BreakerState.COOLING)
        left = self._allowance.left(now) if self._allowance is not None else {}
        free_in = max(breaker.until - now, 0.0) if resting else 0.0
        answers, first_tokens = self._answers.look(now), self._first_tokens.look(now)
        failures = breaker.failures(now, policy)
        return TargetHealth(state, free_in, failures, left, answers, first_tokens, self._failing.look(now))

    def is_idle(self) -> bool:
        return self.breaker.state is BreakerState.CLOSED and self._allowance is None

    def _why(self) -> Literal["breaker", "cooldown"]:
        return "cooldown" if self.breaker.state is BreakerState.COOLING else "breaker"

    def _allowance_under(self, limits: Limits) -> Allowance:
        """Return what is left of these limits; programs that share a store may have different ones."""
        allowance = self._allowance
        if allowance is None or (allowance.limits is not limits and allowance.limits != limits):
            allowance = self._allowances.get(limits)
            if allowance is None:
                allowance = self._allowances[limits] = Allowance(limits)
            self._allowance = allowance
        return allowance
