"""The decision procedure: which target is asked, for how long, how often, and which one is next.

`decide` is a generator without I/O, clock or randomness of its own. It yields commands and is sent their outcomes;
every driver (sync, async, streams, the simulator) runs this same code.

    ENTER    too many calls under way                     -> end: refused
    VISIT    the deadline has passed                      -> end: deadline
             the target must be skipped                   -> note why, and when it is free; NEXT
    ATTEMPT  as long as the target may take, at most its share of the time left; another target is asked in parallel: at
             once if this one is a probe, or after hedge_after
             answer                                       -> end: success; a probe still under way goes on alone
             quota                                        -> NEXT, at once; this one again only as the last target
             transient                                    -> it may be retried, after a wait, if retries, the vendor's
                                                             hint, the breaker, the deadline and the budget allow
             it may be answered with an adapted request   -> this target again, at once, once in a call
             this target cannot                           -> NEXT, at once
             the request is at fault                      -> end: failed
             broken off after the caller got a part       -> end: interrupted; or NEXT, by the stream recovery
    NEXT     this target again, soon, where it failed fast and is otherwise well (quick_retries)
             patient: this target again if it may be retried, else the next one
             eager: a target not tried yet, else the one that may be retried soonest
             none left: one that a hint, a cooldown or a limit releases soon enough, after that wait; then each that
             was skipped only for its health is asked anyway; else end: exhausted
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from typing import TypeAlias

from understudy.engine.call_state import SHORTEST, SLICE, CallState, TargetState
from understudy.engine.commands import (
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
    Verdict,
    Wait,
    Withdraw,
)
from understudy.errors import (
    Cancelled,
    CircuitOpen,
    ContentBlocked,
    Failure,
    NeedsAttention,
    RateLimited,
    RequestRefused,
    Scope,
    StreamInterrupted,
    Timeout,
)
from understudy.policy import Policy
from understudy.target import Target

Procedure: TypeAlias = Generator[Command, Outcome, Verdict]
Part: TypeAlias = Generator[Command, Outcome, End | None]  # None: the call goes on

QUICK = 0.5  # seconds before a quick retry, half as long or half as much again at random: most blips are over by then
FAST = 10.0  # seconds within which a failure came fast
WELL = 0.15  # share of failed attempts from which on a target does not count as otherwise well
INFINITE = float("inf")
SHORT_HINT = 2.0  # seconds: with a longer hint there is no quick retry


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


class _Run(CallState):
    """One call under way."""

    __slots__ = ()

    def perform(self) -> Procedure:
        if self.policy.max_concurrent_calls is not None:
            entrance = yield Enter()
            if entrance.skip is not None:
                return Verdict("refused", (), {}, entrance.skip)
        routing = self.policy.routing
        index = 0
        reason = "primary" if routing == "ordered" else f"first by {getattr(routing, '__name__', routing)}"
        while True:
            if self.late():
                return self.verdict("deadline")
            end = yield from self._visit(index, reason)
            if end is not None:
                return self.verdict(end)
            if self.late():
                return self.verdict("deadline")
            step = (yield from self._next(index)) or self._resting()
            if step is None:
                return self.verdict("deadline" if self.late() else "exhausted")
            index, reason = step

    def _resting(self) -> tuple[int, str] | None:
        """Return the target to ask although it rests: no target is skipped if the call would fail otherwise."""
        resting = [
            (state.free_at, i)
            for i, state in enumerate(self.states)
            if state.free_at is not None and not (state.tries or state.forced)
        ]
        if not resting:
            return None
        for _, index in resting:
            self.states[index].due = None  # no wait for a target that is asked at once
        _, index = min(resting)
        self.states[index].forced = True
        return index, "no other target is left, this one is free soonest"

    def _visit(self, index: int, reason: str) -> Part:
        """Ask one target once, unless it must be skipped."""
        state = self.states[index]
        forced = state.forced
        state.visited, state.due, state.rest = True, None, None
        self.latest = index
        admission = yield Admit(index, state.tries + 1, forced)
        self.now = admission.at
        if admission.skip is not None:
            self.note_skip(index, admission)
            return None
        if self.late():  # the store was slow
            return "deadline"
        beside, after = self._beside(index, admission)
        timeout = self.timeout_of(index, admission, alone=after is None, forced=forced)
        look = None if after is None or beside in ("probe", "hedge") else admission.look_after
        wait = after if after is None or look is None else min(after, look)
        outcome = yield Call(index, state.tries + 1, timeout, reason, wait, adaptation=state.adaptation)
        self.now = outcome.at
        if outcome.pending:
            assert after is not None
            due = admission.at + after
            return (yield from self._ask_beside(index, reason, admission, beside, due, working=outcome.working))
        return self._take_in(index, reason, outcome, admission)

    def _take_in(self, index: int, reason: str, outcome: Outcome, admission: Outcome, alone: str = "") -> End | None:
        """Record an attempt's outcome, and why no other was asked in parallel; say whether it ends the call."""
        state, failure = self.states[index], outcome.failure
        self.latest = index
        self.asked += 1
        state.tries += 1
        state.due = None
        end, decision = self._judge(state, outcome)
        self.note_attempt(index, reason, outcome, admission, "; ".join(filter(None, (alone, decision))))
        state.failure = failure
        return end

    def _judge(self, state: TargetState, outcome: Outcome) -> tuple[End | None, str]:
        """Say whether an outcome ends the call, and why its target is not retried where its failure would be."""
        failure = outcome.failure
        if failure is None:
            return "success", ""
        if outcome.delivered:
            assert isinstance(failure, StreamInterrupted)  # a driver makes it one
            self.broken = failure
            final = self.policy.stream_recovery in ("raise", "buffer") or self._is_final(failure.__cause__)
            return ("interrupted" if final else None), ""
        if failure.adaptation is not None and not state.adapted and self.fits(self.now):
            state.adapted, state.adaptation, state.again = 1, failure.adaptation, True
            return None, ""
        if self._is_final(failure):
            self.failure = failure
            return "failed", ""
        limited = isinstance(failure, RateLimited) and (failure.retry_after is not None or self.policy.switch_first)
        passing = failure.scope is Scope.TRANSIENT or isinstance(failure, StreamInterrupted)
        state.forced = state.forced and limited  # a target that rests is waited for only because of a hint
        spent = state.tries - state.adapted > self.policy.max_retries
        if spent or not (passing or limited) or failure.retryable is False:
            return None, ""
        late, fresh = isinstance(failure, Timeout), self.fresh() is not None
        if late and fresh and not outcome.alive and outcome.took >= self.policy.max_delay:
            return None, "no retry: it took as long as the longest wait, and another target is left"
        if passing and self._is_quick(state, outcome, failure):
            return None, ""
        decision = self._set_due(state, outcome, failure)
        if late and fresh and outcome.alive and state.due is not None:
            state.rest = failure  # it is well, and slow for this request
            return None, "retried last: it is slow, and answered others meanwhile"
        return None, decision

    def _is_final(self, failure: BaseException | None) -> bool:
        """Whether the call ends here: the request is at fault, or its caller gave up."""
        if not isinstance(failure, Failure):
            return False
        if isinstance(failure, ContentBlocked) and self.policy.switch_on_content_blocked:
            return False
        if isinstance(failure, RequestRefused) and not self.policy.switch_on_refusal:
            return True
        return failure.scope in (Scope.REQUEST, Scope.CANCELLED)

    def _is_quick(self, state: TargetState, outcome: Outcome, failure: Failure) -> bool:
        """Decide whether a target that is otherwise well is retried soon, and set when."""
        policy = self.policy
        if state.quick_retries >= policy.quick_retries or isinstance(failure, Timeout) or outcome.took > FAST:
            return False
        hint = failure.retry_after or 0.0
        if outcome.failing >= WELL or outcome.free_in or hint > SHORT_HINT:
            return False
        wait = max(QUICK * (0.5 + outcome.draw), hint)
        if not self.fits(self.now + wait):
            return False
        state.due, state.pause, state.since, state.quick = self.now + wait, wait, self.now, True
        state.quick_retries += 1
        return True

    def _set_due(self, state: TargetState, outcome: Outcome, failure: Failure) -> str:
        """Set when the target may be asked again; return why it may not, where it may not."""
        hint = failure.retry_after
        if hint is not None and hint > self.policy.max_delay:
            return f"no retry: the vendor asks for {hint:g} s, more than max_delay"
        wait = self.policy.backoff(state.tries - state.adapted - state.quick_retries - 1)
        if self.policy.jitter == "full":
            wait *= outcome.draw
        if isinstance(failure, RateLimited):  # only as the last target
            state.rest = failure
            wait = hint if hint is not None else max(wait, self.policy.retry_delay)
        else:
            wait = max(wait, hint or 0.0)
            if outcome.free_in:
                return f"no retry: the circuit is {outcome.breaker}"
        if not self.fits(self.now + wait):
            state.rest = None
            return "no retry: it would begin too late for the deadline"
        state.due, state.pause, state.since = self.now + wait, wait, self.now
        return ""

    def _next(self, index: int) -> Generator[Command, Outcome, tuple[int, str] | None]:
        """Choose the next target, and wait until it may be asked; None if none is left."""
        for i, state in enumerate(self.states):
            if state.again:
                state.again = False
                return i, f"once more, {state.adaptation}"
        for i, state in enumerate(self.states):
            if state.quick:
                state.quick = False
                failure = state.failure
                if (yield from self._wait_for(i, quick=True)):
                    assert failure is not None
                    return i, f"quick retry after {failure.brief}"
        if not self.policy.switch_first:
            tried = [i for i, state in enumerate(self.states) if state.due is not None and state.rest is None]
            for failed in sorted(tried, key=lambda i: i != index):  # two, where one was asked beside the other
                if (yield from self._wait_for(failed)):
                    return failed, self._retry_reason(failed)
        fresh = self.fresh()
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
        """Return the targets that may be asked after a wait. Before any was asked, no circuit is waited for: it may be
        wrong.

        Nor is a target that refuses its key, a permission or its model: waiting changes none of them.
        """
        rests = [(i, state.rest) for i, state in enumerate(self.states) if state.due is not None]
        due = [i for i, rest in rests if not isinstance(rest, NeedsAttention)]
        return due if self.asked else [i for i in due if not isinstance(self.states[i].rest, CircuitOpen)]

    def _wait_for(self, index: int, *, quick: bool = False) -> Generator[Command, Outcome, bool]:
        """Wait until a target may be asked again; False, at once, where it may not be in this call."""
        state = self.states[index]
        due, failure = state.due, state.rest or state.failure
        state.due = None
        assert due is not None
        assert failure is not None
        if not self.fits(max(due, self.now)):
            self.note_decision(state, "no retry: it would begin too late for the deadline")
            return False
        just_now = state.since == self.now  # then the wait is the policy's own number, to the last digit
        if state.tries:
            budget = yield Withdraw(index)
            self.now = budget.at
            if budget.refused:
                self.note_decision(state, "no retry: the retry budget is used up")
                return False
        state.wait = state.pause if just_now else max(due - self.now, 0.0)
        number = 0 if quick else state.tries - state.adapted
        self.now = (yield Wait(index, number, state.wait, failure)).at
        return True

    # ---- hedging ----

    def _beside(self, index: int, admission: Outcome) -> tuple[Beside, float | None]:
        """Return why, and after how many seconds, another target is asked in parallel with this one."""
        if self.broken is not None or self.fresh(able=True) is None:
            return "", None
        if admission.probe:
            return "probe", 0.0
        kind: Beside = "late" if self.policy.hedge_after == "late" else "hedge"
        after = admission.beside_after
        if after is None or self.policy.hedge_after is None or (kind == "hedge" and self.states[index].tries):
            return "", None
        if self.deadline is not None:
            turn = self.share_of(index, admission)
            self.states[index].turn = admission.at + turn
            if turn < after:
                return "turn", turn
        return kind, after

    def _ask_beside(
        self, index: int, reason: str, admission: Outcome, beside: Beside, due: float, *, working: bool
    ) -> Part:
        """Ask another target in parallel with one that is a probe or is slow; the first answer wins.

        Args:
            index: the target that is under way.
            reason: why it was asked.
            admission: with what it was let through, and when.
            beside: for which reason another one is asked.
            due: when that is; before that it is asked only if the first seems to answer nobody.
            working: whether pieces of its answer come.
        """
        asked, alone = admission.at, ""
        while True:
            turn = self.states[index].turn
            over = self.now >= turn and beside in ("late", "hedge")  # no target could be asked for that reason
            if over or (working and beside == "late"):  # it is not late, but its turn may be over anyway
                beside, due = "turn", turn
            early = self.now < due
            if not (early and working) and self.fits(self.now):
                partner, admitted = yield from self._admit_beside(index, beside, early=early)
                if admitted is not None and admitted.skip is None:
                    break
                if admitted is not None and admitted.skip is not None and not early:
                    alone = f"not hedged: {admitted.skip.brief}"
            outcome = yield Await(index, self._patience_beside(index, beside, asked, due, working=working))
            self.now = outcome.at
            if not outcome.pending:
                return self._take_in(index, reason, outcome, admission, alone)
            working = outcome.working
        parts = {index: (reason, admission)}
        words = f"no answer from {self.targets[index].label} within {self.now - asked:.3g} s"
        why = f"beside the probe of {self.targets[index].label}" if beside == "probe" else f"hedge: {words}"
        parts[partner] = (why, admitted)
        state = self.states[partner]
        state.visited = True
        timeout = self.timeout_of(partner, admitted, alone=True)
        command = Call(partner, state.tries + 1, timeout, why, alongside=True, adaptation=state.adaptation)
        command.beside, command.other = beside, index
        outcome = yield command
        self.now = outcome.at
        first = outcome.index
        last = partner if first == index else index
        if outcome.failure is not None:
            end = self._take_in(first, parts[first][0], outcome, parts[first][1])
            if end is None and last == index and state.again:
                state.again = state.visited = False  # with an adapted request it can be hedged once more
            if end is None and last == index and self.fresh(able=True) is not None:
                # The one that was asked first may take all the time that is left: the next one is asked beside it.
                outcome = yield Await(index, 0.0)
                self.now = outcome.at
                if not outcome.pending:
                    return self._take_in(index, reason, outcome, admission)
                due = self.states[index].turn if beside == "hedge" else self.now
                working = outcome.working
                return (yield from self._ask_beside(index, reason, admission, beside, due, working=working))
            if end is None:
                outcome = yield Await(last)
                self.now = outcome.at
                return self._take_in(last, parts[last][0], outcome, parts[last][1])
            yield from self._end_other(last, parts[last], beside, late=last == index)
            return end
        yield from self._end_other(last, parts[last], beside, late=last == index)
        if outcome.began:
            outcome = yield Await(first)
            self.now = outcome.at
            if outcome.failure is not None and self.states[last].tries <= self.policy.max_retries:
                self.states[last].visited = False  # it was given up for one that broke off: it may still answer
        return self._take_in(first, parts[first][0], outcome, parts[first][1])

    def _patience_beside(self, index: int, beside: Beside, asked: float, due: float, *, working: bool) -> float | None:
        """Return after how many seconds to check again whether another target may be asked; None for never."""
        if self.fresh(able=True) is None:
            return None
        turn = self.states[index].turn
        moments = [moment for moment in (due, turn) if self.now < moment < INFINITE]
        if beside != "hedge" and not (working and self.now < due):
            moments.append(self.now + max((self.now - asked) / 2, SLICE))
        return max(min(moments) - self.now, SHORTEST) if moments else None

    def _admit_beside(
        self, index: int, beside: Beside, *, early: bool
    ) -> Generator[Command, Outcome, tuple[int, Outcome | None]]:
        """Find a target that may be asked in parallel with this one; those that may not can still be tried later.

        Returns:
            The target with its admission; where there is none, why the first of them may not be asked.
        """
        refused: Outcome | None = None
        for i, state in enumerate(self.states):
            if not state.visited and i not in self.unable:
                admitted = yield Admit(i, state.tries + 1, beside=beside, other=index, early=early)
                self.now = admitted.at
                if admitted.skip is None:
                    return i, admitted
                refused = refused or admitted
        return index, refused

    def _end_other(
        self, index: int, part: tuple[str, Outcome], beside: Beside, *, late: bool
    ) -> Generator[Command, Outcome, None]:
        """End the attempt that lost: a probe continues on its own, since it shows whether its target is well."""
        reason, admission = part
        if beside == "probe" and late:
            outcome = yield Leave(index)
        else:
            outcome = yield Cancel(index, late=late and beside in ("late", "turn"))
        self.now = outcome.at
        state = self.states[index]
        state.tries += 1
        state.failure = outcome.failure = Cancelled("another target was quicker", provider=self.targets[index].provider)
        self.note_attempt(index, reason, outcome, admission, "", left=beside == "probe" and late)

    # ---- reasons in words ----

    def _retry_reason(self, index: int) -> str:
        state = self.states[index]
        if state.rest is not None and not isinstance(state.rest, Timeout):
            return f"free again after {state.rest.brief}"
        assert state.failure is not None
        return f"retry {state.tries - state.adapted} of {self.policy.max_retries} after {state.failure.brief}"
