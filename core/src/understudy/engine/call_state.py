"""The state of a call under way: each target, the time left, and the record so far."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from understudy.engine.commands import End, Outcome, Verdict
from understudy.errors import CircuitOpen, Failure, LimitReached, Scope, StreamInterrupted
from understudy.frozen import freeze, unfrozen
from understudy.policy import Policy
from understudy.response import Attempt, AttemptOutcome
from understudy.target import Target

SHORTEST = 0.001  # seconds: a provider takes no timeout of 0
POLL = 0.1  # seconds before a target whose slots are taken is checked again, doubled each time
SLICE = 1.0  # seconds: a limit per minute has room again after a minute and one slice of it, at the latest
UNUSUAL = 1.6  # times the 95th percentile of the answers: a deadline does not wait for later ones
HOPELESS = 4.0  # times that: no answer is expected any more, and the next target can use the time


class TargetState:
    """What this call knows about one target. The defaults are the class's, because every call makes several."""

    visited = False  # tried: from now on it is asked only by a retry
    tries = 0
    skips = 0
    adapted = 0  # attempts with an adapted request that were asked for: 1 at most
    adaptation: str | None = None  # how its request is adapted
    again = False  # whether that attempt is next
    forced = False  # whether it is asked whatever its breaker says: it is the last target
    quick = False  # whether a quick retry is next
    quick_retries = 0
    busy_for = 0.0  # seconds waited for other requests to end, or for a limit
    wait = 0.0  # seconds waited before the attempt that is next
    turn = float("inf")  # when it has had its share of the time
    due: float | None = None  # when it may be asked again; None for not in this call
    pause = 0.0  # seconds until then, counted from its failure
    since = 0.0  # when it failed
    free_at: float | None = None  # when the breaker or a cooldown releases it, if it was never asked
    failure: Failure | None = None  # its own, or why it was skipped if it was never asked
    rest: Failure | None = None  # why it is waited for only as the last target
    attempt = -1  # its latest place in the record


class CallState:
    """The state of one call, never shared.

    Args:
        targets: in the order in which they are asked.
        policy: the numbers.
        started: seconds on the caller's monotonic clock.
        unable: the targets that cannot answer the request.
    """

    __slots__ = (
        "asked",
        "attempts",
        "broken",
        "deadline",
        "failure",
        "latest",
        "now",
        "policy",
        "states",
        "targets",
        "unable",
    )

    def __init__(self, targets: Sequence[Target], policy: Policy, started: float, unable: Collection[int]) -> None:
        self.targets = targets
        self.policy = policy
        self.unable = unable
        self.now = started
        self.deadline = None if policy.deadline is None else started + policy.deadline
        self.attempts: list[Attempt] = []
        self.states = [TargetState() for _ in targets]
        self.asked = 0
        self.latest = 0  # who failed or was skipped last
        self.broken: StreamInterrupted | None = None  # the caller holds a part of an answer that broke off
        self.failure: Failure | None = None

    # ---- the time ----

    def late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and self.now >= self.deadline

    def fits(self, begin: float) -> bool:
        """Whether an attempt that begins then has some time before the deadline."""
        return self.deadline is None or begin + self.policy.minimum_attempt < self.deadline

    def timeout_of(self, index: int, admission: Outcome, *, alone: bool, forced: bool = False) -> float:
        """Return the seconds for an attempt: all that is left where another target can be asked beside it."""
        if self.deadline is None:
            return admission.most
        left = self.deadline - self.now
        share = self.share_of(index, admission) if alone and not forced else left
        return max(min(admission.most, share), SHORTEST)

    def share_of(self, index: int, admission: Outcome) -> float:
        """Return the seconds that a target has for itself before the next one must get its turn.

        Twice what each of the others gets, and more where its answers are known to come in time. The last target
        that is left gets all that remains. What has failed already takes no time from a first attempt, only from
        another retry.
        """
        assert self.deadline is not None
        retry, others = self.states[index].tries > 0, 0
        for i, state in enumerate(self.states):
            waits = not state.visited or (retry and state.due is not None)
            if i not in self.unable and waits:
                others += 1
        left = self.deadline - self.now
        share, usual, median = 2 * left / (others + 2), admission.usual, admission.median
        if not others or usual is None or median is None:
            return share
        unusual = UNUSUAL * usual
        if left - others * usual >= unusual:
            return max(min(left - others * usual, HOPELESS * usual), share)
        return max(min(max(unusual, left - others * median), left - others * median / 2), share)

    def fresh(self, *, able: bool = False) -> int | None:
        """Return the first target not tried yet; `able` leaves out those that cannot answer."""
        for i, state in enumerate(self.states):
            if not state.visited and not (able and i in self.unable):
                return i
        return None

    # ---- the record ----

    def note_attempt(
        self,
        index: int,
        reason: str,
        outcome: Outcome,
        admission: Outcome,
        decision: str,
        *,
        left: bool = False,
    ) -> None:
        """Record an attempt's outcome; `left` if it goes on by itself."""
        target, state, failure = self.targets[index], self.states[index], outcome.failure
        source = failure if outcome.response is None else outcome.response
        came: AttemptOutcome = "succeeded" if failure is None else "failed"
        if failure is not None and failure.scope is Scope.CANCELLED:
            came = "left to end" if left else "cancelled"
        state.attempt = len(self.attempts)
        usage = source.usage if source is not None else None
        attempt = unfrozen(Attempt)
        attempt.target, attempt.provider, attempt.price_list = target.label, target.provider, target.price_list
        attempt.model = (source.model if source else None) or target.model
        attempt.outcome, attempt.reason, attempt.number, attempt.failure = came, reason, state.tries, failure
        attempt.seconds, attempt.wait = outcome.at - admission.at, state.wait
        attempt.usage, attempt.request_id = usage, source.request_id if source else None
        attempt.breaker, attempt.decision = admission.breaker, decision
        attempt.wasted = 0 if usage is not None else outcome.wasted
        self.attempts.append(freeze(attempt, Attempt))
        state.wait = 0.0

    def note_skip(self, index: int, admission: Outcome) -> None:
        """Record why a target was not asked, and when it may be."""
        target, state, failure, free_in = self.targets[index], self.states[index], admission.skip, admission.free_in
        assert failure is not None
        if not state.tries:
            state.failure = failure
        state.skips += 1
        state.attempt = len(self.attempts)
        if free_in is not None and free_in < float("inf"):
            if not isinstance(failure, LimitReached):
                state.free_at = self.now + free_in
            pause, often = free_in, state.skips > self.policy.max_retries
            if admission.busy:  # it may be free at any moment: look again and again, less and less often
                pause = min(free_in, POLL * 2.0 ** min(state.skips - 1, 16) * (1 - admission.draw / 2))
            if admission.busy or isinstance(failure, LimitReached):  # many may wait for room, and others may be quicker
                often = self.policy.max_retries == 0
                state.busy_for += pause
            soon = max(pause, state.busy_for) <= self.policy.max_delay + SLICE and not often
            worth = soon and not (state.tries and isinstance(failure, CircuitOpen))  # no better as a probe
            if worth and self.fits(self.now + pause):
                state.rest, state.due, state.pause, state.since = failure, self.now + pause, pause, self.now
        self.attempts.append(
            Attempt(
                target=target.label,
                provider=target.provider,
                model=target.model,
                outcome="skipped",
                reason=f"skipped: {failure.brief}",
                failure=failure,
                wait=state.wait,
                breaker=admission.breaker,
            )
        )
        state.wait = 0.0

    def note_decision(self, state: TargetState, decision: str) -> None:
        """Say why a target is not retried, at its latest place in the record."""
        self.attempts[state.attempt] = replace(self.attempts[state.attempt], decision=decision)

    def verdict(self, end: End) -> Verdict:
        """Return the verdict."""
        if end == "success":
            return Verdict(end, tuple(self.attempts), {})
        failures = {i: state.failure for i, state in enumerate(self.states) if state.failure is not None}
        if self.broken is not None:
            return Verdict("interrupted", tuple(self.attempts), failures, self.broken)
        return Verdict(end, tuple(self.attempts), failures, self.failure)
