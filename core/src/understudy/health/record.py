"""All that is known about one target: its breaker, its limits, how long its answers took, and which calls wait for it.

No clock, no lock and no randomness of its own: a HealthStore gives it the time and guards it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, log
from typing import Any, Literal

from understudy.errors import Effect
from understudy.health.breaker import Breaker
from understudy.health.latency import Durations, Failing, Latency
from understudy.health.rate_windows import Allowance
from understudy.health.store import Claim, Lease, Report, TargetHealth
from understudy.limits import Limits
from understudy.policy import Policy
from understudy.target import BreakerState

# A target answers nobody if all requests under way began after the last one that was answered, and if a healthy target
# would leave them unanswered only once in e ** ENOUGH times.
ENOUGH, DOUBT = 18.0, 5.0  # so that a target that is three times as slow for a minute passes, but for one in a hundred
SIGN = 3.0  # seconds for a sign of life, once there is doubt
SLOWEST_SIGN = 4.0  # seconds for a probe of a target that failed at once, before another one is sent
SUSPECT, SILENT = 6, 4.0  # at least this many requests, and this many seconds
UNTOLD, MOST_TOLD = 0.25, 3.0  # times the median before which nothing is expected; and what one request tells at most
HALVING = log(2) / (1 - UNTOLD)  # half of the requests are answered within the median
LOOK = 0.2  # seconds after which it is checked again, since that takes a while
MOST_UNDER_WAY = 10_000  # requests that are remembered
LOST = 600.0  # seconds, the longest lease: an older request was abandoned, or is still being answered
CENSORED = 2.0  # times the seconds after which an answer was abandoned: a guess of what it would have taken

_GIVEN_UP = (BreakerState.OPEN, BreakerState.HALF_OPEN)
_WELL = Lease(True)  # the state after nearly every answer


class TargetRecord:
    """One target's health."""

    __slots__ = (
        "_allowance",
        "_allowances",
        "_answered",
        "_closed",
        "_doubted",
        "_durations",
        "_failing",
        "_looked",
        "_shift",
        "_silent",
        "_slots",
        "_stale_at",
        "_under_way",
        "breaker",
    )

    def __init__(self) -> None:
        self.breaker = Breaker()
        self._allowance: Allowance | None = None  # the one that was used last
        self._allowances: dict[Limits, Allowance] = {}  # that one comes last
        self._durations = Durations(), Durations()  # without thinking, with it
        self._failing = Failing()
        self._slots = 0
        self._looked, self._silent, self._doubted = -inf, 0.0, inf
        self._answered = float("-inf")  # the latest beginning of a request that was answered
        # The calls that wait for it, without thinking and with it, each with its beginning; the oldest first.
        self._under_way: tuple[dict[int, float], dict[int, float]] = {}, {}
        self._closed = [Lease(True), Lease(True)]  # what nearly every call gets, made once for each generation
        self._stale_at = [-inf, -inf]  # when it is made again, since what was learnt grows old
        self._shift = 0.0  # seconds by which the clock that its times are of is ahead of the caller's

    def dump(self, now: float) -> dict[str, Any]:
        """Return all of it as a JSON document; `load` makes a record of it that decides in the same way.

        Args:
            now: seconds on the caller's clock.
        """
        from understudy.health import document  # only external stores need it

        return document.dump(self, now + self._shift)

    @classmethod
    def load(cls, document: Mapping[str, Any], now: float | None = None, age: float = 0.0) -> TargetRecord:
        """Return the record of a document, on the clock that it was dumped on or on another one.

        Args:
            document: what `dump` returned, after a round trip through JSON.
            now: seconds on the caller's clock; None where it is the clock that was given to `dump`, such as that of
                the server which keeps the document.
            age: seconds since it was dumped, where `now` is named.

        Raises:
            ValueError: the document is damaged, or a later release wrote it in another form.
        """
        from understudy.health import document as documents

        record = cls()
        at = documents.load(record, document)
        if now is not None:
            record._shift = at + age - now
        return record

    def free_leases(self) -> None:
        """Release what was leased to calls: in a forked process these are the parent's."""
        self.breaker._probe = 0
        for under_way in self._under_way:
            under_way.clear()
        for allowance in self._allowances.values():
            allowance._slots.clear()

    # ---- the three questions of a store ----

    def take(self, claim: Claim, now: float) -> Lease:
        """Grant permission to ask the target once, or say why not."""
        now += self._shift
        breaker = self.breaker
        if claim.limits is None and breaker.state is BreakerState.CLOSED:
            thinks = claim.thinks
            lease, durations = self._closed[thinks], self._durations[thinks]
            known = lease.learned is durations.learned and now <= self._stale_at[thinks]
            if lease.generation != breaker.generation or not known:
                lease = self._closed[thinks] = self._granted(claim, now)
                self._stale_at[thinks] = durations.stale_at()
            if self._silence(now) < DOUBT:
                self._begin(claim, now)
                return lease
        before = breaker.generation
        doubt = False
        if breaker.state is BreakerState.CLOSED:
            silence = self._silence(now)
            doubt = silence >= DOUBT
            if self._is_silent(silence, now):
                breaker.open_for_silence(now, claim.policy)
        wait = breaker.admit(now)
        changed = breaker.generation != before
        if wait > 0 and not claim.forced:
            probed = breaker.state is BreakerState.HALF_OPEN
            refused = Lease(False, breaker.state, wait, self._why(), breaker.generation, changed=changed, busy=probed)
            refused.refused = breaker.refused
            return refused
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
        lease = self._granted(claim, now)
        lease.doubt = doubt
        lease.state, lease.slot, lease.reserved, lease.changed = breaker.state, slot, reserved, changed
        if half_open:
            longest = (
                claim.policy.breaker_longest * (1 + claim.policy.breaker_jitter) if breaker.hangs else SLOWEST_SIGN
            )
            lease.probe = breaker.send_probe(now, min(claim.lease, longest))
        self._begin(claim, now)
        return lease

    def give(self, lease: Lease, claim: Claim, report: Report, now: float, random: Callable[[], float]) -> Lease:
        """Record the outcome, and release or settle what was taken."""
        now += self._shift
        breaker, effect = self.breaker, report.effect
        began = self._under_way[claim.thinks].pop(claim.call, None)
        if began is None and report.late is not None:
            began = now - report.late  # the store has since forgotten it
        alive = self._take_note(claim, report, began, now)
        if report.late is not None and alive:
            effect = Effect.NOTHING  # it took long, and the target is not down
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
            why=report.why,
            late=report.late is not None,
        )
        changed = breaker.generation != before
        closed = breaker.state is BreakerState.CLOSED
        if closed and not changed and effect is Effect.SUCCESS:
            return _WELL
        resting = breaker.state in (BreakerState.OPEN, BreakerState.COOLING)
        wait = max(breaker.until - now, 0.0) if resting else 0.0
        after = Lease(wait <= 0, breaker.state, wait, self._why() if wait > 0 else "", breaker.generation)
        after.changed, after.alive, after.refused = changed, alive, breaker.refused
        after.failing = breaker.share(now, claim.policy)
        return after

    def look(self, now: float, policy: Policy) -> TargetHealth:
        """Return how healthy the target is."""
        now += self._shift
        breaker = self.breaker
        state = breaker.state_at(now)
        resting = state in (BreakerState.OPEN, BreakerState.COOLING)
        plain, thinking = self._durations
        return TargetHealth(
            state,
            max(breaker.until - now, 0.0) if resting else 0.0,
            breaker.failures(now, policy),
            self._allowance.left(now) if self._allowance is not None else {},
            _latest(plain.answers.look(now), thinking.answers.look(now)),
            _latest(plain.first.look(now), thinking.first.look(now)),
            self._failing.look(now),
            (plain.look(now), thinking.look(now)),
            breaker.refused if state is BreakerState.COOLING else "",
            self._is_silent(self._silence(now), now) or (breaker.hangs and state in _GIVEN_UP),
        )

    def worth(self) -> tuple[bool, float]:
        """Return how much is lost by forgetting it: less if it is idle, or has never answered."""
        return self.breaker.state is not BreakerState.CLOSED or self._allowance is not None, self._answered

    # ---- helpers ----

    def _granted(self, claim: Claim, now: float) -> Lease:
        return Lease(True, generation=self.breaker.generation, learned=self._durations[claim.thinks].look(now))

    def _begin(self, claim: Claim, now: float) -> None:
        under_way = self._under_way[claim.thinks]
        under_way[claim.call] = now
        if len(under_way) > MOST_UNDER_WAY:
            del under_way[next(iter(under_way))]

    def _silence(self, now: float) -> float:
        """Return the evidence that the target answers nobody, as a power of e."""
        plain, thinking = self._under_way
        if len(plain) + len(thinking) < SUSPECT:
            self._doubted = inf
            return 0.0
        if now - self._looked >= LOOK:
            self._looked = now
            self._silent = self._weigh(now)
            if self._silent < DOUBT:
                self._doubted = inf
            elif self._doubted == inf:
                self._doubted = now
        return self._silent

    def _weigh(self, now: float) -> float:
        """Weigh the requests under way that began after the last one that was answered, each by its own kind."""
        count, longest, told = 0, 0.0, 0.0
        for under_way, durations in zip(self._under_way, self._durations, strict=True):
            while under_way and next(iter(under_way.values())) <= now - LOST:  # its caller died, or could not report
                del under_way[next(iter(under_way))]
            median = durations.learned.end_median
            if not median:  # nothing is known, or nothing can be concluded from it
                continue
            waiting = [now - began for began in under_way.values() if began > self._answered]
            count += len(waiting)
            longest = max(longest, waiting[0] if waiting else 0.0)
            told += sum(min(HALVING * (age / median - UNTOLD), MOST_TOLD) for age in waiting if age > UNTOLD * median)
        return told if count >= SUSPECT and longest >= SILENT else 0.0

    def _is_silent(self, silence: float, now: float) -> bool:
        """Whether the target answers nobody: doubtful requests have had time for a sign of life."""
        return silence >= ENOUGH and now - self._doubted >= SIGN

    def _take_note(self, claim: Claim, report: Report, began: float | None, now: float) -> bool:
        """Record how long an attempt took; return whether one that began later than it was answered."""
        durations = self._durations[claim.thinks]
        alive = began is not None and began < self._answered
        if report.effect is Effect.SUCCESS or report.first is not None:
            if began is not None and began > self._answered:
                self._answered = began
                if self._silent >= DOUBT:
                    self._looked = -inf  # earlier findings say nothing after this answer
            plain = not claim.streamed
            if report.effect is Effect.SUCCESS:
                durations.add(
                    now, answer=report.seconds, plain=plain, first=report.first, gap=report.gap, end=report.end
                )
                if self._failing.share:  # rarely, since every call passes through here
                    self._failing.succeed(now)
        if report.late is not None and alive:
            guess = CENSORED * report.late
            if claim.streamed and report.first is None:
                durations.add(now, first=guess)
            elif not claim.streamed:
                durations.add(now, answer=guess, plain=True)
        return alive

    def _why(self) -> Literal["breaker", "cooldown", "refusal"]:
        if self.breaker.state is not BreakerState.COOLING:
            return "breaker"
        return "refusal" if self.breaker.refused else "cooldown"

    def _allowance_under(self, limits: Limits) -> Allowance:
        """Return what is left of these limits; programs that share a store may have different ones."""
        allowance = self._allowance
        if allowance is None or allowance.limits != limits:
            allowance = self._allowances.pop(limits, None) or Allowance(limits)
            self._allowance = self._allowances[limits] = allowance
        return allowance


def _latest(plain: Latency, thinking: Latency) -> Latency:
    """Return the one of two latencies that is known, the second where both are: answers of models that think."""
    return plain if thinking.seconds is None else thinking
