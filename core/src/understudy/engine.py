"""THE decision procedure: who is asked, how long, how often, and who comes next.

`decide` is a generator without input, output, clock or randomness of its own. It yields commands and is sent what came
of them; every driver (sync, async, streams, the simulator) runs this same code.

    ENTER    too many calls under way                     -> end: refused
    VISIT    the deadline has passed                      -> end: deadline
             the target must be skipped                   -> note why, and when it is free; NEXT
    ATTEMPT  timeout = min(attempt_timeout, time left / targets left); beside it, after hedge_after, another target's
             answer                                       -> end: success
             quota                                        -> NEXT, at once
             transient                                    -> it may be retried, after a wait, if retries, the vendor's
                                                             hint, the breaker, the deadline and the budget allow
             it may be answered with an adapted request   -> this target again, at once, once in a call
             this target cannot                           -> NEXT, at once
             the request is at fault                      -> end: failed
             broken off after the caller got a part       -> end: interrupted; or NEXT, by the stream recovery
    NEXT     patient: this target again if it may be retried, else the next one
             eager: a target not yet come to, else the one that may be retried soonest
             none left: one that a cooldown or a limit lets go of soon enough, after that wait; if every target was
             only skipped, one plain attempt on the one that is free soonest; else end: exhausted
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import replace
from typing import TypeAlias

from understudy.commands import (
    Admit,
    Await,
    Call,
    Cancel,
    Command,
    End,
    Enter,
    Outcome,
    Switch,
    Target,
    Verdict,
    Wait,
    Withdraw,
)
from understudy.errors import Cancelled, CircuitOpen, ContentBlocked, Failure, LimitReached, Scope, StreamInterrupted
from understudy.policy import Policy
from understudy.response import Attempt

Procedure: TypeAlias = Generator[Command, Outcome, Verdict]
Part: TypeAlias = Generator[Command, Outcome, End | None]  # None: the call goes on

SHORTEST = 0.001  # seconds: a provider takes no timeout of 0
POLL = 0.1  # seconds before a target whose slots are taken is looked at again, doubled each time
SLICE = 1.0  # seconds: a limit in a minute has room again after a minute and a slice of it, at the latest


def decide(targets: Sequence[Target], policy: Policy, started: float, unable: Collection[int] = ()) -> Procedure:
    """Run one call.

    Args:
        targets: the targets, in the order in which they are asked; at least one.
        policy: the numbers.
        started: seconds on the caller's monotonic clock, now.
        unable: the targets that cannot answer this request at all, where that is known: they get no share of the time.

    Returns:
        A generator that yields commands, is sent outcomes, and returns the Verdict.
    """
    return _Run(targets, policy, started, unable).perform()


class _Seat:
    """What this call knows of one target. Defaults of the class, because every call makes several."""

    visited = False  # come to, and not to be come to again but by a retry
    tries = 0
    skips = 0
    adapted = 0  # attempts with an adapted request that were asked for: 1 at most
    adaptation: str | None = None  # how its request is adapted
    again = False  # whether that attempt is next
    busy_for = 0.0  # seconds waited for other requests to end
    wait = 0.0  # seconds waited before the attempt that is next
    due: float | None = None  # when it may be asked again; None for not in this call
    pause = 0.0  # seconds until then, counted from its failure
    since = 0.0  # when it failed
    free_at: float | None = None  # when the breaker or a cooldown lets go of it
    failure: Failure | None = None  # of its own, or why it was skipped where it was never asked
    rest: Failure | None = None  # why it was skipped, where it is due because it will be free again
    attempt = -1  # its latest place in the record


class _Run:
    """The state of one call; it belongs to nobody else."""

    __slots__ = (
        "asked",
        "attempts",
        "broken",
        "deadline",
        "failure",
        "latest",
        "now",
        "policy",
        "seats",
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
        self.seats = [_Seat() for _ in targets]
        self.asked = 0
        self.latest = 0  # who failed or was skipped last
        self.broken: StreamInterrupted | None = None  # the caller holds a part of an answer that broke off
        self.failure: Failure | None = None

    def perform(self) -> Procedure:
        if self.policy.max_concurrent_calls is not None:
            entrance = yield Enter()
            if entrance.skip is not None:
                return Verdict("refused", (), {}, entrance.skip)
        routing = self.policy.routing
        index = 0
        reason = "primary" if routing == "ordered" else f"first by {getattr(routing, '__name__', routing)}"
        while True:
            if self._late():
                return self._verdict("deadline")
            end = yield from self._visit(index, reason)
            if end is not None:
                return self._verdict(end)
            if self._late():
                return self._verdict("deadline")
            step = yield from self._next(index)
            if step is None:
                break
            index, reason = step
        resting = [(seat.free_at, i) for i, seat in enumerate(self.seats) if seat.free_at is not None]
        for _, index in sorted(resting):
            if self.asked:
                break  # once; a limit may refuse the one that is free soonest
            end = yield from self._visit(index, "every target was skipped, this one is free soonest", forced=True)
            if end is not None:
                return self._verdict(end)
        return self._verdict("deadline" if self._late() else "exhausted")

    def _visit(self, index: int, reason: str, forced: bool = False) -> Part:
        """Ask one target once, unless it must be skipped."""
        seat = self.seats[index]
        seat.visited, seat.due, seat.rest = True, None, None
        self.latest = index
        admission = yield Admit(index, seat.tries + 1, forced)
        self.now = admission.at
        if admission.skip is not None:
            self._note_skip(index, admission)
            return None
        if self._late():  # the store took its time
            return "deadline"
        number = seat.tries + 1
        hedge_after = self._hedge_after(index, admission) if self.policy.hedge_after is not None else None
        asked = self.now
        outcome = yield Call(
            index, number, self._timeout(index, forced), reason, hedge_after, adaptation=seat.adaptation
        )
        self.now = outcome.at
        if outcome.pending:
            return (yield from self._hedge(index, reason, asked, admission))
        return self._take_in(index, reason, outcome, asked, admission)

    def _take_in(self, index: int, reason: str, outcome: Outcome, asked: float, admission: Outcome) -> End | None:
        """Note an attempt's outcome, and say whether it ends the call."""
        seat, failure = self.seats[index], outcome.failure
        self.latest = index
        self.asked += 1
        seat.tries += 1
        seat.due = None
        end, decision = self._judge(seat, outcome)
        self._note_attempt(index, reason, outcome, asked, admission, decision)
        seat.failure = failure
        return end

    def _judge(self, seat: _Seat, outcome: Outcome) -> tuple[End | None, str]:
        """Say whether an outcome ends the call, and why its target is not retried where its failure would be."""
        failure = outcome.failure
        if failure is None:
            return "success", ""
        if outcome.delivered:
            assert isinstance(failure, StreamInterrupted)  # a driver makes it one
            self.broken = failure
            final = self.policy.stream_recovery in ("raise", "buffer") or self._is_final(failure.__cause__)
            return ("interrupted" if final else None), ""
        if self._is_final(failure):
            self.failure = failure
            return "failed", ""
        if failure.adaptation is not None and not seat.adapted and self._fits(self.now):
            seat.adapted, seat.adaptation, seat.again = 1, failure.adaptation, True
            return None, ""
        passing = failure.scope is Scope.TRANSIENT or isinstance(failure, StreamInterrupted)
        if not passing or failure.retryable is False or seat.tries - seat.adapted > self.policy.max_retries:
            return None, ""
        return None, self._set_due(seat, outcome, failure)

    def _is_final(self, failure: BaseException | None) -> bool:
        """Whether nobody else is to be asked: the request is at fault, or its caller gave up."""
        if not isinstance(failure, Failure):
            return False
        if isinstance(failure, ContentBlocked) and self.policy.switch_on_content_blocked:
            return False
        return failure.scope in (Scope.REQUEST, Scope.CANCELLED)

    def _set_due(self, seat: _Seat, outcome: Outcome, failure: Failure) -> str:
        """Set when the target may be asked again; return why it may not, where it may not."""
        wait = self.policy.backoff(seat.tries - seat.adapted - 1)
        if self.policy.jitter == "full":
            wait *= outcome.draw
        hint = failure.retry_after
        if hint is not None:
            if hint > self.policy.max_delay:
                return f"no retry: the vendor asks for {hint:g} s, more than max_delay"
            wait = max(wait, hint)
        if outcome.free_in:
            return f"no retry: the circuit is {outcome.breaker}"
        if not self._fits(self.now + wait):
            return "no retry: it would begin too late for the deadline"
        seat.due, seat.pause, seat.since = self.now + wait, wait, self.now
        return ""

    def _next(self, index: int) -> Generator[Command, Outcome, tuple[int, str] | None]:
        """Choose who is asked next, and wait until then; None where nobody is left."""
        for i, seat in enumerate(self.seats):
            if seat.again:
                seat.again = False
                return i, f"once more, {seat.adaptation}"
        if not self.policy.switch_first:
            tried = [i for i, seat in enumerate(self.seats) if seat.due is not None and seat.rest is None]
            for failed in sorted(tried, key=lambda i: i != index):  # two, where one was asked beside the other
                if (yield from self._wait_for(failed)):
                    return failed, self._retry_reason(failed)
        fresh = self._fresh()
        if fresh is not None:
            failure = self.seats[self.latest].failure
            assert failure is not None  # it failed or was skipped, or the call would have ended
            self.now = (yield Switch(self.latest, fresh, failure)).at
            return fresh, f"after {self.targets[self.latest].label}: {failure.brief}"
        while waiting := self._waiting():
            soonest = min(waiting, key=lambda i: self.seats[i].due or 0.0)
            if (yield from self._wait_for(soonest)):
                return soonest, self._retry_reason(soonest)
        return None

    def _waiting(self) -> list[int]:
        """Return who may be asked after a wait. Before anybody was asked no circuit is waited for: it may be wrong."""
        due = [i for i, seat in enumerate(self.seats) if seat.due is not None]
        return due if self.asked else [i for i in due if not isinstance(self.seats[i].rest, CircuitOpen)]

    def _wait_for(self, index: int) -> Generator[Command, Outcome, bool]:
        """Wait until a target may be asked again; False, at once, where it may not be in this call."""
        seat = self.seats[index]
        due, failure = seat.due, seat.rest or seat.failure
        seat.due = None
        if due is None or failure is None:
            return False
        if not self._fits(max(due, self.now)):
            self._note_decision(seat, "no retry: it would begin too late for the deadline")
            return False
        just_now = seat.since == self.now  # then the wait is the policy's own number, to the last digit
        if seat.tries:
            budget = yield Withdraw(index)
            self.now = budget.at
            if budget.refused:
                self._note_decision(seat, "no retry: the retry budget is used up")
                return False
        seat.wait = seat.pause if just_now else max(due - self.now, 0.0)
        self.now = (yield Wait(index, max(seat.tries - seat.adapted, 0), seat.wait, failure)).at
        return True

    def _hedge(self, index: int, reason: str, asked: float, admission: Outcome) -> Part:
        """Ask another target beside one that takes long; whoever answers first is taken."""
        partner = self._partner()
        assert partner is not None  # else nothing would have been pending
        admitted = yield Admit(partner, self.seats[partner].tries + 1, hedge=True)
        self.now = admitted.at
        if admitted.skip is not None:  # it may still be come to in its turn
            outcome = yield Await(index)
            self.now = outcome.at
            end = self._take_in(index, reason, outcome, asked, admission)
            if not self.attempts[-1].decision:
                self._note_decision(self.seats[index], f"not hedged: {admitted.skip.brief}")
            return end
        parts = {index: (reason, asked, admission)}
        hedge_reason = f"hedge: no answer from {self.targets[index].label} within {self.now - asked:.3g} s"
        parts[partner] = (hedge_reason, self.now, admitted)
        number = self.seats[partner].tries + 1
        self.seats[partner].visited = True
        outcome = yield Call(partner, number, self._timeout(partner, False), hedge_reason, alongside=True)
        self.now = outcome.at
        first = outcome.index
        last = partner if first == index else index
        why, since, admitted = parts[first]
        if outcome.failure is not None:
            end = self._take_in(first, why, outcome, since, admitted)
            if end is None:
                outcome = yield Await(last)
                self.now = outcome.at
                why, since, admitted = parts[last]
                return self._take_in(last, why, outcome, since, admitted)
            yield from self._cancel(last, *parts[last])
            return end
        yield from self._cancel(last, *parts[last])
        if outcome.began:
            outcome = yield Await(first)
            self.now = outcome.at
            if outcome.failure is not None and self.seats[last].tries <= self.policy.max_retries:
                self.seats[last].visited = False  # it was given up for one that broke off: it may still answer
        return self._take_in(first, why, outcome, since, admitted)

    def _cancel(self, index: int, reason: str, asked: float, admission: Outcome) -> Generator[Command, Outcome, None]:
        outcome = yield Cancel(index)
        self.now = outcome.at
        seat = self.seats[index]
        seat.tries += 1
        seat.failure = outcome.failure = Cancelled("another target was quicker", provider=self.targets[index].provider)
        self._note_attempt(index, reason, outcome, asked, admission, "")

    # ---- the time ----

    def _late(self) -> bool:
        return self.deadline is not None and self.now >= self.deadline

    def _fits(self, begin: float) -> bool:
        return self.deadline is None or begin + self.policy.minimum_attempt < self.deadline

    def _timeout(self, index: int, forced: bool) -> float:
        """Return the seconds for an attempt: the last target that is left gets all that remains.

        What has failed already takes no time from a first attempt, only from another retry.
        """
        if self.deadline is None:
            return self.policy.attempt_timeout
        retry, left = self.seats[index].tries > 0, 1
        if not forced:
            for i, seat in enumerate(self.seats):
                if i != index and i not in self.unable and (not seat.visited or (retry and seat.due is not None)):
                    left += 1
        slice_ = (self.deadline - self.now) / left
        return max(min(self.policy.attempt_timeout, slice_), SHORTEST)

    def _hedge_after(self, index: int, admission: Outcome) -> float | None:
        if self.seats[index].tries or self.broken is not None or self._partner() is None:
            return None
        after = self.policy.hedge_after
        return admission.p95 if isinstance(after, str) else after

    def _fresh(self) -> int | None:
        return next((i for i, seat in enumerate(self.seats) if not seat.visited), None)

    def _partner(self) -> int | None:
        return next((i for i, seat in enumerate(self.seats) if not seat.visited and i not in self.unable), None)

    # ---- the record ----

    def _retry_reason(self, index: int) -> str:
        seat = self.seats[index]
        if seat.rest is not None:
            return f"free again after {seat.rest.brief}"
        assert seat.failure is not None
        return f"retry {seat.tries - seat.adapted} of {self.policy.max_retries} after {seat.failure.brief}"

    def _note_attempt(
        self, index: int, reason: str, outcome: Outcome, asked: float, admission: Outcome, decision: str
    ) -> None:
        target, seat, failure = self.targets[index], self.seats[index], outcome.failure
        source = failure if outcome.response is None else outcome.response
        cancelled = failure is not None and failure.scope is Scope.CANCELLED
        seat.attempt = len(self.attempts)
        self.attempts.append(
            Attempt(
                target=target.label,
                provider=target.provider,
                model=(source.model if source else None) or target.model,
                outcome="succeeded" if failure is None else "cancelled" if cancelled else "failed",
                reason=reason,
                number=seat.tries,
                failure=failure,
                seconds=outcome.at - asked,
                wait=seat.wait,
                usage=outcome.response.usage if outcome.response else failure.usage if failure else None,
                request_id=source.request_id if source else None,
                breaker=admission.breaker,
                decision=decision,
                price_list=target.price_list,
            )
        )
        seat.wait = 0.0

    def _note_skip(self, index: int, admission: Outcome) -> None:
        target, seat, failure, free_in = self.targets[index], self.seats[index], admission.skip, admission.free_in
        assert failure is not None
        if not seat.tries:
            seat.failure = failure
        seat.skips += 1
        seat.attempt = len(self.attempts)
        if free_in is not None and free_in < float("inf"):
            if not isinstance(failure, LimitReached):
                seat.free_at = self.now + free_in
            pause, often = free_in, seat.skips > self.policy.max_retries
            if admission.busy:  # it may be free at any moment: look again and again, less and less often
                pause = min(free_in, POLL * 2.0 ** min(seat.skips - 1, 16) * (1 - admission.draw / 2))
                often = self.policy.max_retries == 0
                seat.busy_for += pause
            soon = max(pause, seat.busy_for) <= self.policy.max_delay + SLICE and not often
            worth = soon and not (seat.tries and isinstance(failure, CircuitOpen))  # it is no better probe than others
            if worth and self._fits(self.now + pause):
                seat.rest, seat.due, seat.pause, seat.since = failure, self.now + pause, pause, self.now
        self.attempts.append(
            Attempt(
                target=target.label,
                provider=target.provider,
                model=target.model,
                outcome="skipped",
                reason=f"skipped: {failure.brief}",
                failure=failure,
                wait=seat.wait,
                breaker=admission.breaker,
            )
        )
        seat.wait = 0.0

    def _note_decision(self, seat: _Seat, decision: str) -> None:
        self.attempts[seat.attempt] = replace(self.attempts[seat.attempt], decision=decision)

    def _verdict(self, end: End) -> Verdict:
        if end == "success":
            return Verdict(end, tuple(self.attempts), {})
        failures = {i: seat.failure for i, seat in enumerate(self.seats) if seat.failure is not None}
        if self.broken is not None:
            return Verdict("interrupted", tuple(self.attempts), failures, self.broken)
        return Verdict(end, tuple(self.attempts), failures, self.failure)
