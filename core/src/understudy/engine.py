"""THE decision procedure: who is asked, how long, how often, and who comes next.

`decide` is a generator without input, output, clock or randomness of its own. It yields commands and is sent what came
of them; every driver (sync, async, streams, the simulator) runs this same code.

    ENTER    too many calls under way                     -> end: refused
    VISIT    the deadline has passed                      -> end: deadline
             the target must be skipped                   -> note why, and when it is free; NEXT
    ATTEMPT  as long as the target may take, and at most its share of the time left; beside it another target's: at once
             where this one is a probe, or after hedge_after
             answer                                       -> end: success; a probe that is still under way goes on alone
             quota                                        -> NEXT, at once; this one again only where nobody is left
             transient                                    -> it may be retried, after a wait, if retries, the vendor's
                                                             hint, the breaker, the deadline and the budget allow
             it may be answered with an adapted request   -> this target again, at once, once in a call
             this target cannot                           -> NEXT, at once
             the request is at fault                      -> end: failed
             broken off after the caller got a part       -> end: interrupted; or NEXT, by the stream recovery
    NEXT     this target again, soon, where it failed fast and is otherwise well (quick_retries)
             patient: this target again if it may be retried, else the next one
             eager: a target not yet come to, else the one that may be retried soonest
             none left: one that a hint, a cooldown or a limit lets go of soon enough, after that wait; then each that
             was skipped for its health alone is asked all the same; else end: exhausted
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from dataclasses import replace
from typing import TypeAlias

from understudy.commands import (
    Admit,
    Await,
    Beside,
    Call,
    Cancel,
    Command,
    End,
    Enter,
    Leave,
    Outcome,
    Switch,
    Target,
    Verdict,
    Wait,
    Withdraw,
)
from understudy.errors import (
    Cancelled,
    CircuitOpen,
    ContentBlocked,
    Failure,
    LimitReached,
    RateLimited,
    Scope,
    StreamInterrupted,
    Timeout,
)
from understudy.policy import Policy
from understudy.response import Attempt

Procedure: TypeAlias = Generator[Command, Outcome, Verdict]
Part: TypeAlias = Generator[Command, Outcome, End | None]  # None: the call goes on

SHORTEST = 0.001  # seconds: a provider takes no timeout of 0
POLL = 0.1  # seconds before a target whose slots are taken is looked at again, doubled each time
SLICE = 1.0  # seconds: a limit in a minute has room again after a minute and a slice of it, at the latest
QUICK = 0.5  # seconds before a quick retry, half as long or half as much again at random: most blips are over by then
FAST = 10.0  # seconds within which a failure came fast
WELL = 0.15  # share of failed attempts from which on a target is not otherwise well
SHORT_HINT = 2.0  # seconds: with a longer hint a quick retry is none


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


class _TargetState:
    """What this call knows of one target. Defaults of the class, because every call makes several."""

    visited = False  # come to, and not to be come to again but by a retry
    tries = 0
    skips = 0
    adapted = 0  # attempts with an adapted request that were asked for: 1 at most
    adaptation: str | None = None  # how its request is adapted
    again = False  # whether that attempt is next
    quick = False  # whether a quick retry is next
    quick_retries = 0
    busy_for = 0.0  # seconds waited for other requests to end
    wait = 0.0  # seconds waited before the attempt that is next
    due: float | None = None  # when it may be asked again; None for not in this call
    pause = 0.0  # seconds until then, counted from its failure
    since = 0.0  # when it failed
    free_at: float | None = None  # when the breaker or a cooldown lets go of it, where it was never asked
    failure: Failure | None = None  # of its own, or why it was skipped where it was never asked
    rest: Failure | None = None  # why it is waited for only where nobody else is left
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
        self.states = [_TargetState() for _ in targets]
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
        resting = sorted((state.free_at, i) for i, state in enumerate(self.states) if state.free_at is not None)
        for _, index in resting:  # nobody is passed over where the call would fail
            if self._late():
                break
            if not self.states[index].tries:
                end = yield from self._visit(index, "nobody else is left, this one is free soonest", forced=True)
                if end is not None:
                    return self._verdict(end)
        return self._verdict("deadline" if self._late() else "exhausted")

    def _visit(self, index: int, reason: str, forced: bool = False) -> Part:
        """Ask one target once, unless it must be skipped."""
        state = self.states[index]
        state.visited, state.due, state.rest = True, None, None
        self.latest = index
        admission = yield Admit(index, state.tries + 1, forced)
        self.now = admission.at
        if admission.skip is not None:
            self._note_skip(index, admission)
            return None
        if self._late():  # the store took its time
            return "deadline"
        beside, after = self._beside(index, admission)
        asked = self.now
        timeout = self._timeout(index, forced, admission, alone=after is None)
        look = after if after is None or beside != "late" or admission.look_after is None else admission.look_after
        wait = None if after is None or look is None else min(after, look)
        outcome = yield Call(index, state.tries + 1, timeout, reason, wait, adaptation=state.adaptation)
        self.now = outcome.at
        if outcome.pending:
            assert after is not None
            return (yield from self._ask_beside(index, reason, asked, admission, beside, asked + after))
        return self._take_in(index, reason, outcome, asked, admission)

    def _take_in(self, index: int, reason: str, outcome: Outcome, asked: float, admission: Outcome) -> End | None:
        """Note an attempt's outcome, and say whether it ends the call."""
        state, failure = self.states[index], outcome.failure
        self.latest = index
        self.asked += 1
        state.tries += 1
        state.due = None
        end, decision = self._judge(state, outcome)
        self._note_attempt(index, reason, outcome, asked, admission, decision)
        state.failure = failure
        return end

    def _judge(self, state: _TargetState, outcome: Outcome) -> tuple[End | None, str]:
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
        if failure.adaptation is not None and not state.adapted and self._fits(self.now):
            state.adapted, state.adaptation, state.again = 1, failure.adaptation, True
            return None, ""
        limited = isinstance(failure, RateLimited) and (failure.retry_after is not None or self.policy.switch_first)
        passing = failure.scope is Scope.TRANSIENT or isinstance(failure, StreamInterrupted)
        if not (passing or limited) or failure.retryable is False:
            return None, ""
        if state.tries - state.adapted > self.policy.max_retries:
            return None, ""
        if isinstance(failure, Timeout) and outcome.alive:
            return None, "no retry: it is slow, and answered others meanwhile"
        if isinstance(failure, Timeout) and outcome.took > self.policy.max_delay and self._fresh() is not None:
            return None, "no retry: it took longer than any wait, and another target is left"
        if passing and self._is_quick(state, outcome, failure):
            return None, ""
        return None, self._set_due(state, outcome, failure)

    def _is_final(self, failure: BaseException | None) -> bool:
        """Whether nobody else is to be asked: the request is at fault, or its caller gave up."""
        if not isinstance(failure, Failure):
            return False
        if isinstance(failure, ContentBlocked) and self.policy.switch_on_content_blocked:
            return False
        return failure.scope in (Scope.REQUEST, Scope.CANCELLED)

    def _is_quick(self, state: _TargetState, outcome: Outcome, failure: Failure) -> bool:
        """Whether a target that is otherwise well is retried soon, and set when."""
        policy = self.policy
        if state.quick_retries >= policy.quick_retries or isinstance(failure, Timeout) or outcome.took > FAST:
            return False
        hint = failure.retry_after or 0.0
        if outcome.failing >= WELL or outcome.free_in or hint > SHORT_HINT:
            return False
        wait = max(QUICK * (0.5 + outcome.draw), hint)
        if not self._fits(self.now + wait):
            return False
        state.due, state.pause, state.since, state.quick = self.now + wait, wait, self.now, True
        state.quick_retries += 1
        return True

    def _set_due(self, state: _TargetState, outcome: Outcome, failure: Failure) -> str:
        """Set when the target may be asked again; return why it may not, where it may not."""
        hint = failure.retry_after
        if hint is not None and hint > self.policy.max_delay:
            return f"no retry: the vendor asks for {hint:g} s, more than max_delay"
        wait = self.policy.backoff(state.tries - state.adapted - state.quick_retries - 1)
        if self.policy.jitter == "full":
            wait *= outcome.draw
        if isinstance(failure, RateLimited):  # only where nobody else is left
            state.rest = failure
            wait = hint if hint is not None else max(wait, self.policy.retry_delay)
        else:
            wait = max(wait, hint or 0.0)
            if outcome.free_in:
                return f"no retry: the circuit is {outcome.breaker}"
        if not self._fits(self.now + wait):
            state.rest = None
            return "no retry: it would begin too late for the deadline"
        state.due, state.pause, state.since = self.now + wait, wait, self.now
        return ""

    def _next(self, index: int) -> Generator[Command, Outcome, tuple[int, str] | None]:
        """Choose who is asked next, and wait until then; None where nobody is left."""
        for i, state in enumerate(self.states):
            if state.again:
                state.again = False
                return i, f"once more, {state.adaptation}"
        for i, state in enumerate(self.states):
            if state.quick:
                state.quick = False
                if (yield from self._wait_for(i)):
                    return i, self._retry_reason(i)
        if not self.policy.switch_first:
            tried = [i for i, state in enumerate(self.states) if state.due is not None and state.rest is None]
            for failed in sorted(tried, key=lambda i: i != index):  # two, where one was asked beside the other
                if (yield from self._wait_for(failed)):
                    return failed, self._retry_reason(failed)
        fresh = self._fresh()
        if fresh is not None:
            failure = self.states[self.latest].failure
            assert failure is not None  # it failed or was skipped, or the call would have ended
            self.now = (yield Switch(self.latest, fresh, failure)).at
            return fresh, f"after {self.targets[self.latest].label}: {failure.brief}"
        while waiting := self._waiting():
            soonest = min(waiting, key=lambda i: self.states[i].due or 0.0)
            if (yield from self._wait_for(soonest)):
                return soonest, self._retry_reason(soonest)
        return None

    def _waiting(self) -> list[int]:
        """Return who may be asked after a wait. Before anybody was asked no circuit is waited for: it may be wrong."""
        due = [i for i, state in enumerate(self.states) if state.due is not None]
        return due if self.asked else [i for i in due if not isinstance(self.states[i].rest, CircuitOpen)]

    def _wait_for(self, index: int) -> Generator[Command, Outcome, bool]:
        """Wait until a target may be asked again; False, at once, where it may not be in this call."""
        state = self.states[index]
        due, failure = state.due, state.rest or state.failure
        state.due = None
        if due is None or failure is None:
            return False
        if not self._fits(max(due, self.now)):
            self._note_decision(state, "no retry: it would begin too late for the deadline")
            return False
        just_now = state.since == self.now  # then the wait is the policy's own number, to the last digit
        if state.tries:
            budget = yield Withdraw(index)
            self.now = budget.at
            if budget.refused:
                self._note_decision(state, "no retry: the retry budget is used up")
                return False
        state.wait = state.pause if just_now else max(due - self.now, 0.0)
        self.now = (
            yield Wait(index, max(state.tries - state.adapted - state.quick_retries, 0), state.wait, failure)
        ).at
        return True

    # ---- two at once ----

    def _beside(self, index: int, admission: Outcome) -> tuple[Beside, float | None]:
        """Return for which reason, and after how many seconds, another target is asked beside this one."""
        if self.broken is not None or self._partner() is None:
            return "", None
        if admission.probe:
            return "probe", 0.0
        after = self.policy.hedge_after
        if after is None or admission.beside_after is None:
            return "", None
        if after != "late":
            return ("hedge", admission.beside_after) if not self.states[index].tries else ("", None)
        seconds = admission.beside_after
        if self.deadline is not None:
            seconds = min(seconds, self._slice(index, False))
        return "late", seconds

    def _ask_beside(
        self, index: int, reason: str, asked: float, admission: Outcome, beside: Beside, late_at: float
    ) -> Part:
        """Ask another target beside one that is a probe or takes long; whoever answers first is taken."""
        partner = self._partner()
        assert partner is not None  # else nothing would have been pending
        early = self.now < late_at
        admitted = yield Admit(partner, self.states[partner].tries + 1, beside=beside, other=index, early=early)
        self.now = admitted.at
        while admitted.skip is not None:  # it may still be come to in its turn
            patience = max((self.now - asked) / 2, SLICE) if beside == "late" else None
            if early and patience is not None:
                patience = min(patience, max(late_at - self.now, 0.0))
            outcome = yield Await(index, self._patience(index, asked, patience))
            self.now = outcome.at
            if not outcome.pending or self._is_used_up(index, asked):
                return (yield from self._end_alone(index, reason, asked, admission, outcome, admitted.skip))
            early = self.now < late_at
            admitted = yield Admit(partner, self.states[partner].tries + 1, beside=beside, other=index, early=early)
            self.now = admitted.at
        parts = {index: (reason, asked, admission)}
        waited = self.now - asked
        words = f"no answer from {self.targets[index].label} within {waited:.3g} s"
        why = f"beside the probe of {self.targets[index].label}" if beside == "probe" else f"hedge: {words}"
        parts[partner] = (why, self.now, admitted)
        state = self.states[partner]
        state.visited = True
        timeout = self._timeout(partner, False, admitted, alone=True)
        outcome = yield Call(partner, state.tries + 1, timeout, why, alongside=True, adaptation=state.adaptation)
        self.now = outcome.at
        first = outcome.index
        last = partner if first == index else index
        if outcome.failure is not None:
            end = self._take_in(first, parts[first][0], outcome, *parts[first][1:])
            if end is None:
                outcome = yield Await(last)
                self.now = outcome.at
                return self._take_in(last, parts[last][0], outcome, *parts[last][1:])
            yield from self._end_other(last, parts[last], beside, late=last == index)
            return end
        yield from self._end_other(last, parts[last], beside, late=last == index)
        if outcome.began:
            outcome = yield Await(first)
            self.now = outcome.at
            if outcome.failure is not None and self.states[last].tries <= self.policy.max_retries:
                self.states[last].visited = False  # it was given up for one that broke off: it may still answer
        return self._take_in(first, parts[first][0], outcome, *parts[first][1:])

    def _patience(self, index: int, asked: float, seconds: float | None) -> float | None:
        """Return the seconds after which it is looked again at an attempt beside which nobody could be asked."""
        if self.deadline is None:
            return seconds
        share = max(asked + self._slice_at(index, asked) - self.now, 0.0)
        return share if seconds is None else min(seconds, share)

    def _is_used_up(self, index: int, asked: float) -> bool:
        """Whether an attempt that is alone has had its share of the time."""
        return self.deadline is not None and self.now >= asked + self._slice_at(index, asked)

    def _end_alone(
        self, index: int, reason: str, asked: float, admission: Outcome, outcome: Outcome, skip: Failure
    ) -> Part:
        """Take in an attempt beside which nobody could be asked, or give it up at the end of its share of the time."""
        if outcome.pending:
            outcome = yield Cancel(index, late=True)
            self.now = outcome.at
            words = f"no answer within {self.now - asked:.3g} s"
            outcome.failure = Timeout(words, provider=self.targets[index].provider)
        end = self._take_in(index, reason, outcome, asked, admission)
        if not self.attempts[-1].decision:
            self._note_decision(self.states[index], f"nobody was asked beside it: {skip.brief}")
        return end

    def _end_other(
        self, index: int, part: tuple[str, float, Outcome], beside: Beside, *, late: bool
    ) -> Generator[Command, Outcome, None]:
        """End the attempt that was not taken: a probe goes on by itself, since it shows how its target is."""
        reason, asked, admission = part
        if beside == "probe" and late:
            outcome = yield Leave(index)
        else:
            outcome = yield Cancel(index, late=late and beside == "late")
        self.now = outcome.at
        state = self.states[index]
        state.tries += 1
        state.failure = outcome.failure = Cancelled("another target was quicker", provider=self.targets[index].provider)
        self._note_attempt(index, reason, outcome, asked, admission, "", left=beside == "probe" and late)

    # ---- the time ----

    def _late(self) -> bool:
        return self.deadline is not None and self.now >= self.deadline

    def _fits(self, begin: float) -> bool:
        return self.deadline is None or begin + self.policy.minimum_attempt < self.deadline

    def _timeout(self, index: int, forced: bool, admission: Outcome, *, alone: bool) -> float:
        """Return the seconds for an attempt: all that is left where another target can be asked beside it."""
        if self.deadline is None:
            return admission.most
        share = self._slice(index, forced) if alone else self.deadline - self.now
        return max(min(admission.most, share), SHORTEST)

    def _slice(self, index: int, forced: bool) -> float:
        """Return an attempt's share of the time: the last target that is left gets all that remains."""
        return self._slice_at(index, self.now, forced)

    def _slice_at(self, index: int, moment: float, forced: bool = False) -> float:
        """Return the share from a moment on.

        What has failed already takes no time from a first attempt, only from another retry.
        """
        assert self.deadline is not None
        retry, left = self.states[index].tries > 0, 1
        if not forced:
            for i, state in enumerate(self.states):
                waits = not state.visited or (retry and state.due is not None)
                if i != index and i not in self.unable and waits:
                    left += 1
        return (self.deadline - moment) / left

    def _fresh(self) -> int | None:
        return next((i for i, state in enumerate(self.states) if not state.visited), None)

    def _partner(self) -> int | None:
        return next((i for i, state in enumerate(self.states) if not state.visited and i not in self.unable), None)

    # ---- the record ----

    def _retry_reason(self, index: int) -> str:
        state = self.states[index]
        if state.rest is not None:
            return f"free again after {state.rest.brief}"
        assert state.failure is not None
        number = state.tries - state.adapted
        if number <= state.quick_retries:
            return f"quick retry after {state.failure.brief}"
        return f"retry {number - state.quick_retries} of {self.policy.max_retries} after {state.failure.brief}"

    def _note_attempt(
        self,
        index: int,
        reason: str,
        outcome: Outcome,
        asked: float,
        admission: Outcome,
        decision: str,
        *,
        left: bool = False,
    ) -> None:
        target, state, failure = self.targets[index], self.states[index], outcome.failure
        source = failure if outcome.response is None else outcome.response
        cancelled = failure is not None and failure.scope is Scope.CANCELLED
        state.attempt = len(self.attempts)
        usage = source.usage if source is not None else None
        self.attempts.append(
            Attempt(
                target=target.label,
                provider=target.provider,
                model=(source.model if source else None) or target.model,
                outcome="left to end"
                if left
                else "succeeded"
                if failure is None
                else "cancelled"
                if cancelled
                else "failed",
                reason=reason,
                number=state.tries,
                failure=failure,
                seconds=outcome.at - asked,
                wait=state.wait,
                usage=usage,
                request_id=source.request_id if source else None,
                breaker=admission.breaker,
                decision=decision,
                price_list=target.price_list,
                wasted=0 if usage is not None or left else outcome.wasted,
            )
        )
        state.wait = 0.0

    def _note_skip(self, index: int, admission: Outcome) -> None:
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
                often = self.policy.max_retries == 0
                state.busy_for += pause
            soon = max(pause, state.busy_for) <= self.policy.max_delay + SLICE and not often
            worth = soon and not (state.tries and isinstance(failure, CircuitOpen))  # it is no better probe than others
            if worth and self._fits(self.now + pause):
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

    def _note_decision(self, state: _TargetState, decision: str) -> None:
        self.attempts[state.attempt] = replace(self.attempts[state.attempt], decision=decision)

    def _verdict(self, end: End) -> Verdict:
        if end == "success":
            return Verdict(end, tuple(self.attempts), {})
        failures = {i: state.failure for i, state in enumerate(self.states) if state.failure is not None}
        if self.broken is not None:
            return Verdict("interrupted", tuple(self.attempts), failures, self.broken)
        return Verdict(end, tuple(self.attempts), failures, self.failure)
