"""The circuit breaker of one target: whether it may be asked now, and what an answer or a failure changes.

No clock, no lock and no randomness of its own: a HealthStore gives it the time and guards it. Outcomes carry the
generation in which their attempt began; those of an older one change nothing.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from enum import StrEnum

from understudy.errors import Effect
from understudy.policy import Policy
from understudy.target import BreakerState

LIMIT_GROWTH = 8.8  # seconds: a cooldown without a hint grows no longer than this, so that a target is used again soon
REFUSAL_GROWTH = 10.0  # times the first rest of a target that refuses its key
LATELY = 5.0  # seconds over which quota refusals are weighed against answers, or the vendor's hint if that is longer
BUSY = 2.0  # seconds: of the attempts in them a quarter must fail in a row, so that many calls at once open nothing
QUARTER = 0.25
MOST_REFUSED = 100  # calls that are remembered
FEW_ATTEMPTS = 10  # fewer are not enough for a share
LASTING, BURST = 18.0, 12.0  # seconds: errors that last longer than a healthy vendor's bursts
RELAPSE = 2  # calls that must fail if it was closed a moment ago
FEW, SOME_TIME = 3, 60.0  # failures in a row over this many seconds are enough if there is little traffic


class Signal(StrEnum):
    """What can move a breaker from one state to another."""

    FAILURES = "too many failures"
    QUOTA = "a quota reply"
    REFUSAL = "key or model refused"
    TIME = "its time is over"
    QUOTA_BACK = "a rate limit's time is over"
    PROBE_FAILED = "the probe failed"
    PROBES_SUCCEEDED = "enough probes succeeded"


TRANSITIONS: dict[tuple[BreakerState, Signal], BreakerState] = {
    (BreakerState.CLOSED, Signal.FAILURES): BreakerState.OPEN,
    (BreakerState.CLOSED, Signal.QUOTA): BreakerState.COOLING,
    (BreakerState.CLOSED, Signal.REFUSAL): BreakerState.COOLING,
    (BreakerState.OPEN, Signal.TIME): BreakerState.HALF_OPEN,
    (BreakerState.COOLING, Signal.TIME): BreakerState.HALF_OPEN,
    (BreakerState.COOLING, Signal.QUOTA_BACK): BreakerState.CLOSED,
    (BreakerState.HALF_OPEN, Signal.PROBE_FAILED): BreakerState.OPEN,
    (BreakerState.HALF_OPEN, Signal.QUOTA): BreakerState.COOLING,
    (BreakerState.HALF_OPEN, Signal.REFUSAL): BreakerState.COOLING,
    (BreakerState.HALF_OPEN, Signal.PROBES_SUCCEEDED): BreakerState.CLOSED,
}


class Breaker:
    """The state of one target.

    Attributes:
        state: where it is in TRANSITIONS.
        generation: counts the changes of state.
        until: when an open or cooling breaker lets a probe through, on the caller's clock.
        trips: openings in a row.
        failing_calls: the latest distinct calls that failed, each with its latest failure; oldest first.
        hangs: whether its latest failure was that it did not answer.
        refused: why it cools down, where its key, permission or model was refused; empty otherwise.
    """

    __slots__ = (
        "_buckets",
        "_closed_at",
        "_cooldowns",
        "_limited",
        "_probe",
        "_probe_until",
        "_probes",
        "_refusals",
        "_refused_calls",
        "_streak",
        "_streak_began",
        "_successes",
        "_wanted",
        "failing_calls",
        "generation",
        "hangs",
        "refused",
        "state",
        "trips",
        "until",
    )

    def __init__(self) -> None:
        self.state = BreakerState.CLOSED
        self.generation = 0
        self.hangs = False
        self.until = 0.0
        self.trips = 0
        self.failing_calls: OrderedDict[int, float] = OrderedDict()
        self._streak: deque[float] = deque()
        self._streak_began = 0.0
        self._buckets: deque[list[int]] = deque()  # [second, attempts, failures]
        self._closed_at = float("-inf")
        self._cooldowns = 0
        self._limited = False  # whether it cools down for a rate limit, after which all may ask again
        self._refusals = 0  # in a row: 1 for a used-up quota that was found once, and one more for each rest
        self._refused_calls: OrderedDict[int, float] = OrderedDict()  # the latest that were refused for a quota
        self.refused = ""
        self._probe = 0  # the token of the probe under way
        self._probe_until = 0.0
        self._probes = 0
        self._successes = 0
        self._wanted = 1

    def admit(self, now: float) -> float:
        """Return how many seconds it is until the target may be asked: 0.0 for now, half-open for the probe alone."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        if self.state is not BreakerState.HALF_OPEN:
            if now < self.until:
                return self.until - now
            if self._go(Signal.QUOTA_BACK if self._limited else Signal.TIME) is BreakerState.CLOSED:
                return 0.0
        return self._probe_until - now if self._probe and now < self._probe_until else 0.0

    def state_at(self, now: float) -> BreakerState:
        """Return the state that a request made now will find, and change nothing."""
        if self.state not in (BreakerState.OPEN, BreakerState.COOLING) or now < self.until:
            return self.state
        return TRANSITIONS[self.state, Signal.QUOTA_BACK if self._limited else Signal.TIME]

    def send_probe(self, now: float, lease: float) -> int:
        """Record that a probe is under way.

        Args:
            now: seconds on the caller's clock.
            lease: seconds after which another may be sent, whether this one was abandoned or takes long.

        Returns:
            The probe's token.
        """
        self._probes += 1
        self._probe, self._probe_until = self._probes, now + lease
        return self._probe

    def record(
        self,
        effect: Effect,
        now: float,
        *,
        call: int,
        generation: int,
        probe: int,
        policy: Policy,
        draw: float,
        hint: float | None,
        why: str = "",
        late: bool = False,
    ) -> None:
        """Record an attempt's outcome.

        Args:
            effect: what it says about the target.
            now: seconds on the caller's clock.
            call: a number that distinguishes the call from others.
            generation: the breaker's generation when the attempt began.
            probe: the token, where it was the probe.
            policy: the numbers.
            draw: a random number from 0 to below 1.
            hint: seconds after which the vendor says to come back.
            why: what was refused, if it was a key, a permission or a model.
            late: whether it failed by not answering.
        """
        if generation != self.generation:
            return
        self.hangs = late if effect is Effect.FAILURE else self.hangs
        if self.state is BreakerState.HALF_OPEN:
            # A probe that was overtaken by the next one still counts if it is answered.
            if probe and (probe == self._probe or effect is Effect.SUCCESS):
                self._probe = 0 if probe == self._probe else self._probe
                self._record_probe(effect, now, policy, draw, hint, why)
            return
        if self.state is not BreakerState.CLOSED:
            return
        if effect is Effect.SUCCESS or effect is Effect.REPLIED:
            self._count(now, policy, failed=0)
            if self._streak:
                self._streak.clear()
            self._refusals = 0
            if self._cooldowns and now > self.until + LATELY:
                self._cooldowns = 0
        elif effect is Effect.FAILURE:
            self._record_failure(now, call, policy, draw)
        elif effect is Effect.RATE_LIMITED and policy.quota_cooldown:
            if self._is_limited(now, call, policy, hint):
                self._cool(effect, now, policy, hint)
        elif effect is Effect.EXHAUSTED and policy.quota_cooldown:
            self._cool(effect, now, policy, hint)
        elif effect is Effect.EXHAUSTED and not self._refusals:
            self._refusals = 1  # the next call asks it again
        elif effect in (Effect.REFUSED, Effect.EXHAUSTED) and policy.refusal_cooldown is not None:
            self._rest(policy.refusal_cooldown, now, why)

    def open_for_silence(self, now: float, policy: Policy) -> None:
        """Open a closed breaker, because the target seems to answer nobody."""
        if policy.breaker:
            self._open(Signal.FAILURES, now, policy, 0.5)
            self.hangs = True

    def share(self, now: float, policy: Policy) -> float:
        """Return the share of attempts that failed within the policy's window, without the latest of them."""
        recent = [bucket for bucket in self._buckets if bucket[0] > now - policy.breaker_window]
        attempts, failed = sum(bucket[1] for bucket in recent), sum(bucket[2] for bucket in recent)
        return max(failed - 1, 0) / max(attempts, FEW_ATTEMPTS)

    def failures(self, now: float, policy: Policy) -> int:
        """Return how many attempts failed within the policy's window."""
        return sum(failed for second, _, failed in self._buckets if second > now - policy.breaker_window)

    # ---- what changes the state ----

    def _go(self, signal: Signal) -> BreakerState:
        self.state = state = TRANSITIONS[self.state, signal]
        self.generation += 1
        self._probe = 0
        self._successes = 0
        self.refused = ""
        return state

    def _record_probe(
        self, effect: Effect, now: float, policy: Policy, draw: float, hint: float | None, why: str
    ) -> None:
        if effect is Effect.NOTHING:
            return  # nothing was learnt: the next request is the probe
        if effect is Effect.FAILURE and policy.breaker:
            self._open(Signal.PROBE_FAILED, now, policy, draw)
        elif effect in (Effect.RATE_LIMITED, Effect.EXHAUSTED) and policy.quota_cooldown:
            self._cool(effect, now, policy, hint)
        elif effect in (Effect.REFUSED, Effect.EXHAUSTED) and policy.refusal_cooldown is not None:
            self._rest(policy.refusal_cooldown, now, why)
        else:
            self._successes += 1
            if self._successes >= self._wanted:
                self._close(now)

    def _close(self, now: float) -> None:
        self._go(Signal.PROBES_SUCCEEDED)
        self._closed_at = now
        self.trips = self._refusals = 0
        self._streak.clear()
        self._buckets.clear()
        self.failing_calls.clear()

    def _record_failure(self, now: float, call: int, policy: Policy, draw: float) -> None:
        if not policy.breaker:
            return
        attempts, failed = self._count(now, policy, failed=1)
        streak = self._streak
        while streak and streak[0] < now - policy.breaker_memory:
            streak.popleft()
            self._streak_began = streak[0] if streak else now
        if not streak:
            self._streak_began = now
        streak.append(now)
        self.failing_calls[call] = now
        self.failing_calls.move_to_end(call)
        while len(self.failing_calls) > max(policy.breaker_requests, FEW):
            self.failing_calls.popitem(last=False)
        distinct = len(self.failing_calls)
        if self._is_quiet_and_failing(now, attempts, policy) or (
            self._is_relapse(now, policy) and distinct >= RELAPSE and failed >= attempts * policy.breaker_rate
        ):
            self._open(Signal.FAILURES, now, policy, draw)
            return
        if distinct < policy.breaker_requests:
            return
        oldest = list(self.failing_calls.values())[-policy.breaker_requests]
        enough = max(policy.breaker_failures, int(QUARTER * self._attempts_since(now - BUSY)))
        while len(streak) > enough:
            streak.popleft()
        in_a_row = len(streak) >= enough
        streak_counts = oldest >= max(self._streak_began, now - policy.breaker_memory)
        share = attempts >= policy.breaker_failures and failed >= attempts * policy.breaker_rate
        share = share or self._is_lasting(now, policy)
        if (in_a_row and streak_counts) or (share and oldest >= now - policy.breaker_window):
            self._open(Signal.FAILURES, now, policy, draw)

    def _is_quiet_and_failing(self, now: float, attempts: int, policy: Policy) -> bool:
        """Whether several calls in a row failed over a while, and there are too few to wait for more."""
        if now - self._streak_began < SOME_TIME or attempts >= policy.breaker_failures:
            return False
        distinct = sum(latest >= self._streak_began for latest in self.failing_calls.values())
        return len(self._streak) >= min(FEW, policy.breaker_failures) and distinct >= min(FEW, policy.breaker_requests)

    def _is_lasting(self, now: float, policy: Policy) -> bool:
        """Whether the share of a whole window failed in a part of it already, and has done so for some seconds."""
        recent = [bucket for bucket in self._buckets if bucket[0] > now - LASTING]
        attempts, failed = sum(bucket[1] for bucket in recent), sum(bucket[2] for bucket in recent)
        early = sum(bucket[2] for bucket in recent if bucket[0] <= now - BURST)
        return early >= FEW and attempts >= policy.breaker_failures and failed >= attempts * policy.breaker_rate

    def _is_relapse(self, now: float, policy: Policy) -> bool:
        """Whether it was closed a moment ago: perhaps too soon."""
        return now - self._closed_at < policy.breaker_window

    def _attempts_since(self, moment: float) -> int:
        return sum(bucket[1] for bucket in self._buckets if bucket[0] >= moment - 1.0)

    def _is_limited(self, now: float, call: int, policy: Policy, hint: float | None) -> bool:
        """Whether so many recent calls were refused for a quota that the target is limited for all."""
        window = max(LATELY, min(hint or 0.0, policy.longest_hint))
        refused = self._refused_calls
        refused[call] = now
        refused.move_to_end(call)
        while next(iter(refused.values())) < now - window or len(refused) > MOST_REFUSED:
            refused.popitem(last=False)
        answered = sum(bucket[1] - bucket[2] for bucket in self._buckets if bucket[0] > now - window)
        again = self._cooldowns > 0 and self._is_relapse(now, policy)
        if not again and (len(refused) < policy.quota_calls or len(refused) < min(answered, MOST_REFUSED)):
            return False
        refused.clear()
        return True

    def _count(self, now: float, policy: Policy, *, failed: int) -> tuple[int, int]:
        """Count an attempt, and return how many there were and how many failed; only a failure needs to know."""
        second = int(now)
        buckets = self._buckets
        if buckets and buckets[-1][0] == second:
            buckets[-1][1] += 1
            buckets[-1][2] += failed
        else:
            buckets.append([second, 1, failed])
            while buckets[0][0] <= now - policy.breaker_window and len(buckets) > 1:
                buckets.popleft()
        if not failed:
            return 0, 0
        recent = [bucket for bucket in buckets if bucket[0] > now - policy.breaker_window]
        return sum(bucket[1] for bucket in recent), sum(bucket[2] for bucket in recent)

    def _open(self, signal: Signal, now: float, policy: Policy, draw: float) -> None:
        self._go(signal)
        self.trips += 1
        if signal is Signal.FAILURES and self._is_relapse(now, policy):
            self.trips += 1
            self._wanted = policy.breaker_successes + 1
        elif signal is Signal.FAILURES:
            self._wanted = policy.breaker_successes
        seconds = min(policy.breaker_open * 2.0 ** min(self.trips - 1, 64), policy.breaker_longest)
        self.until = now + seconds * (1 + policy.breaker_jitter * draw)
        self._limited = False

    def _cool(self, effect: Effect, now: float, policy: Policy, hint: float | None) -> None:
        if effect is Effect.EXHAUSTED:
            seconds = min(policy.exhausted_cooldown * 2.0 ** min(self._cooldowns, 64), policy.longest_cooldown)
        elif hint is not None:
            seconds = min(hint, policy.longest_hint)
        else:
            grown = policy.rate_limit_cooldown * 2.0 ** min(self._cooldowns, 64)
            seconds = min(grown, max(LIMIT_GROWTH, policy.rate_limit_cooldown))
        was_closed = self.state is BreakerState.CLOSED
        self._go(Signal.QUOTA)
        self._cooldowns += 1
        self.until = now + seconds
        self._wanted = 1  # a quota comes back as a whole: one answer shows it
        # After the first cooldown all may ask again; if that was too soon, one request finds out the next time.
        self._limited = effect is Effect.RATE_LIMITED and self._cooldowns == 1 and was_closed

    def _rest(self, seconds: float, now: float, why: str) -> None:
        """Open for a target that refuses its key, a permission or its model, or that has no credit."""
        self._go(Signal.REFUSAL)
        self._refusals = max(self._refusals, 1)
        seconds = min(seconds * 2.0 ** min(self._refusals - 1, 64), seconds * REFUSAL_GROWTH)
        self._refusals += 1
        self.until = now + seconds
        self._wanted = 1
        self._limited = False
        self.refused = why
