"""The guards of the code, each with the invariant that it keeps: `test_guards` takes out one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any

from simulation.checks import CHECKS, breaks
from simulation.clients import Manners
from simulation.mutations import without
from simulation.scenarios import USUAL, is_small, play
from simulation.world import History
from understudy import masking
from understudy.engine.call_state import CallState
from understudy.engine.decision import _Run
from understudy.execution import arguments, async_driver, attempt, outcomes, validation
from understudy.execution.call import Execution
from understudy.execution.hedging import Race
from understudy.execution.stream_clocks import Clocks
from understudy.execution.stream_recovery import Delivery
from understudy.health import admission
from understudy.health.breaker import Breaker
from understudy.health.budgets import HedgeBudget, RetryBudget
from understudy.health.leases import CallLeases
from understudy.health.rate_windows import Allowance, Window
from understudy.health.record import TargetRecord
from understudy.health.shared import GuardedStore
from understudy.policy import Policy

WORLDS = 1000  # among which small ones are looked for


def small_worlds() -> Iterator[int]:
    """Yield the seeds of worlds that are played quickly."""
    return filter(is_small, range(WORLDS))


@cache
def sound(seed: int, policy: tuple[tuple[str, Any], ...], manners: Manners) -> History:
    """Return the world of a seed with all guards in their places."""
    return play(seed, dict(policy), manners)


@dataclass(frozen=True, slots=True)
class Guard:
    """A piece of the code without which an invariant breaks.

    Args:
        keeps: the invariant's name among the checks.
        owner: the module or class that has the function.
        function: the function's name.
        guard: the piece of its source.
        instead: what stands there when it is taken out.
        seeds: of worlds in which that shows; `python tests/simulation --guards` finds some anew.
        policy: numbers that all programs have in them.
        manners: how callers behave in them.
    """

    keeps: str
    owner: Any
    function: str
    guard: str
    instead: str
    seeds: tuple[int, ...]
    policy: tuple[tuple[str, Any], ...] = ()
    manners: Manners = USUAL

    def __str__(self) -> str:
        return f"{self.keeps}: {self.function}: {' '.join(self.guard.split())[:50]}"

    def shows_in(self, seeds: Iterable[int]) -> Iterator[int]:
        """Yield the seeds in whose worlds the invariant holds, and breaks without the guard."""
        check = CHECKS[self.keeps]
        for seed in seeds:
            with self.taken_out():
                history = play(seed, dict(self.policy), self.manners)
            if breaks(check, history) and not breaks(check, sound(seed, self.policy, self.manners)):
                yield seed

    def taken_out(self) -> AbstractContextManager[None]:
        """Take it out of the code, for as long as the context lasts."""
        return without(self.owner, self.function, self.guard, self.instead)


def numbers(**numbers: Any) -> tuple[tuple[str, Any], ...]:
    """Return numbers of a policy."""
    return tuple(numbers.items())


GUARDS = (
    # ---- one call ----
    Guard("I1", _Run, "_judge", "state.tries - state.adapted > self.policy.max_retries", "False", (31,)),
    Guard("I1", _Run, "_judge", " and not state.adapted", "", (209,)),
    Guard(
        "I1",
        async_driver,
        "_attempt",
        "agenerate(request)",
        "agenerate(request) and await execution.providers[command.index].agenerate(request)",
        (1,),
    ),
    Guard("I2", _Run, "_judge", "not (passing or limited) or ", "", (3,)),
    Guard("I2", _Run, "_set_due", "state.rest = failure", "pass", (53,), numbers(switch_first=False, max_delay=20.0)),
    Guard("I3", Policy, "backoff", ", self.max_delay)", ", 9 * self.max_delay)", (69,)),
    Guard("I3", _Run, "_set_due", "wait = max(wait, hint or 0.0)", "pass", (3,)),
    Guard("I3", _Run, "_set_due", "wait *= outcome.draw", "wait *= 2", (1,)),
    Guard("I3", _Run, "_set_due", "hint > self.policy.max_delay", "False", (31,)),
    Guard("I4", CallState, "timeout_of", "min(admission.most, share)", "admission.most", (34,)),
    Guard("I4", CallState, "fits", "begin + self.policy.minimum_attempt < self.deadline", "True", (3,)),
    Guard(
        "I4",
        _Run,
        "_ask_beside",
        " and self.fits(self.now)",
        "",
        (36,),
        numbers(deadline=5.0, hedge_after=1.0, hedge_share=1.0),
    ),
    Guard("I4", async_driver, "_attempt", "CancelScope(command.timeout)", "CancelScope(1e6)", (41,)),
    Guard("I4", async_driver, "_whole", "min(clocks.patience(), until - clock())", "clocks.patience()", (34,)),
    Guard("I4", async_driver, "_pieces", "limit.seconds = delivery.patience()", "limit.seconds = 1e6", (33,)),
    Guard("I4", Delivery, "patience", "min(patience, self._deadline - now)", "patience", (34,)),
    Guard("I5", _Run, "_is_final", "failure.scope in (Scope.REQUEST, Scope.CANCELLED)", "False", (3,)),
    Guard("I5", _Run, "_is_final", "isinstance(failure, RequestRefused)", "False", (3,)),
    Guard("I6", CallState, "fresh", "enumerate(self.states)", "reversed(list(enumerate(self.states)))", (20,)),
    Guard("I7", masking, "conceal", 'text = text.replace(secret, "***")', "pass", (1,)),
    Guard("I7", outcomes, "_exhausted", 'logger.error("%s", error)', "pass", (1,)),
    Guard("I7", CallState, "note_skip", "if not state.tries:", "if True:", (34,)),
    Guard("I8", validation, "_check_ending", "nothing and ", "False and ", (33,)),
    Guard("I9", arguments.Overrides, "policy_for", "(own, values, *map(type, values))", "own", (1,)),
    Guard("I10", RetryBudget, "withdraw", "self._left(now) < 1", "False", (105,)),
    Guard(
        "I10", RetryBudget, "_left", "self._retries[0] <= now - WINDOW", "self._retries[0] <= now - WINDOW / 3", (105,)
    ),
    Guard("I10", _Run, "_wait_for", "budget.refused", "False", (1,)),
    Guard("I10", _Run, "_wait_for", "if state.tries:", "if state.tries > 1:", (1,)),
    Guard("I15", CallLeases, "leave", "self.give_back_retry()", "pass", (85,)),
    Guard("I15", CallLeases, "leave", "list(self._leases)", "()", (69,)),
    Guard(
        "I15",
        Execution,
        "_skipped",
        "self.leases.give_back_retry()",
        "pass",
        (3,),
        numbers(max_retries=12, max_delay=20.0),
    ),
    Guard("I15", async_driver, "_close", "await close()", "pass", (20,)),
    Guard("I15", Race, "close", "list(self._tasks)", "()", (35,)),
    Guard("I15", Race, "cancel", "task.cancel()", "pass", (1,)),
    Guard("I16", attempt, "failed", "delivered = delivery is not None and delivery.began", "delivered = False", (31,)),
    Guard(
        "I16",
        Delivery,
        "release",
        "events.append(Restart(who, self._target, failure, tuple(dict.fromkeys(self._tool_calls))))",
        "pass",
        (33,),
        numbers(stream_recovery="restart"),
    ),
    Guard(
        "I16",
        Delivery,
        "release",
        "events.append(Continuation(who, self._target, failure))",
        "pass",
        (35,),
        numbers(stream_recovery="continue"),
    ),
    Guard(
        "I16",
        Delivery,
        "take",
        "tokens is None or ",
        "tokens is not None and ",
        (3,),
        numbers(stream_recovery="buffer", buffer_tokens=None),
    ),
    Guard("switch first", _Run, "_next", "not self.policy.switch_first", "True", (1,)),
    Guard("quick", _Run, "_is_quick", "state.quick_retries >= policy.quick_retries or ", "", (3,)),
    Guard("quick", _Run, "_is_quick", " or outcome.took > FAST", "", (3,)),
    Guard("quick", _Run, "_is_quick", " or hint > SHORT_HINT", "", (1,)),
    Guard("quick", _Run, "_judge", "passing and self._is_quick", "self._is_quick", (53,)),
    Guard("hints", _Run, "_judge", "not (passing or limited)", "not passing", (53,)),
    Guard("hints", _Run, "_next", "while waiting := self._waiting():", "while waiting := []:", (53,)),
    Guard(
        "times",
        Clocks,
        "_ends",
        "min(self._progress_ends(), self._heard + self.times.silence)",
        "self._progress_ends()",
        (20,),
    ),
    Guard("times", Clocks, "hear", "if type(event) is Heartbeat:", "if False:", (34,)),
    Guard(
        "times",
        admission,
        "times_for",
        "first, idle = min(first, named), min(idle, named)",
        "pass",
        (3,),
        numbers(attempt_timeout=3.0),
    ),
    Guard("patience", Clocks, "hear", "self._heard = now", "pass", (43,)),
    Guard("patience", admission, "times_for", "_LEAST_FIRST_THINKING, _FIRST_THINKING", "_LEAST_FIRST, _FIRST", (35,)),
    Guard("patience", admission, "times_for", "least = _IDLE_THINKING if thinks else _IDLE", "least = _IDLE", (33,)),
    Guard(
        "errors",
        async_driver,
        "_attempt",
        "except (Exception, asyncio.CancelledError) as error",
        "except TimeoutError as error",
        (1,),
    ),
    # ---- two at once ----
    Guard(
        "hedges",
        HedgeBudget,
        "withdraw",
        "self._saved < 1 or not self.share",
        "False",
        (20,),
        numbers(deadline=None, hedge_after=0.5, hedge_share=0.05),
    ),
    Guard(
        "hedges",
        Execution,
        "_reason_not_beside",
        "self.admission.hedges.withdraw()",
        "True",
        (1,),
        numbers(deadline=None, hedge_after=0.5, hedge_share=0.05),
    ),
    Guard("beside", _Run, "_beside", "if admission.probe:", "if False:", (1,)),
    Guard("I15", CallLeases, "leave_to_end", "{*(self._left_to_end or ()), index}", "set()", (62,)),
    # ---- what calls share ----
    Guard(
        "I11",
        Breaker,
        "admit",
        "self._probe_until - now if self._probe and now < self._probe_until else 0.0",
        "0.0",
        (35,),
    ),
    Guard(
        "I11", TargetRecord, "take", "lease.probe = breaker.send_probe(now, min(claim.lease, longest))", "pass", (1,)
    ),
    Guard("I11", TargetRecord, "take", "min(claim.lease, longest)", "9 * longest", (1,)),
    Guard(
        "I11",
        Breaker,
        "record",
        "0 if probe == self._probe else self._probe",
        "0",
        (212,),
        numbers(breaker_successes=3, breaker_open=1.0, breaker_failures=2, breaker_requests=1),
    ),
    Guard("I13", Breaker, "admit", "now < self.until", "False", (3,)),
    Guard("I13", TargetRecord, "take", "wait > 0 and not claim.forced", "False", (3,)),
    Guard(
        "I13",
        _Run,
        "perform",
        "(yield from self._next(index)) or self._resting()",
        "self._resting() or (yield from self._next(index))",
        (34,),
    ),
    Guard(
        "I17",
        admission,
        "effect_of",
        "return failure.effect",
        "return Effect.FAILURE if failure.effect in (Effect.REPLIED, Effect.ALIVE) else failure.effect",
        (3,),
    ),
    Guard(
        "I18",
        Breaker,
        "_record_failure",
        """if distinct < policy.breaker_requests:
        return
    oldest = list(self.failing_calls.values())[-policy.breaker_requests]""",
        "oldest = next(iter(self.failing_calls.values()))",
        (49,),
    ),
    Guard("I18", Breaker, "_record_failure", "distinct >= RELAPSE and ", "", (36,)),
    Guard("I18", Breaker, "_is_quiet_and_failing", " and distinct >= min(FEW, policy.breaker_requests)", "", (259,)),
    Guard("I20", CallLeases, "take", "lease = Lease(True)", "raise", (39,)),
    Guard("I20", GuardedStore, "_ask", "gate.acquire(timeout=PATIENCE)", "gate.acquire()", (41,)),
    Guard("I20", GuardedStore, "take", "if lease is not None else", "if True else", (3,)),
    Guard("opening", Breaker, "_record_failure", "in_a_row = len(streak) >= enough", "in_a_row = True", (1,)),
    Guard("opening", Breaker, "_record_failure", "share = attempts >= policy.breaker_failures and ", "share = ", (1,)),
    Guard("opening", Breaker, "_record_failure", "if (in_a_row and streak_counts)", "if False", (121,)),
    Guard("opening", Breaker, "_record_failure", "share = share or self._is_lasting(now, policy)", "pass", (30,)),
    Guard("opening", Breaker, "_record_failure", "* policy.breaker_rate\n    ):", "* 0.01\n    ):", (60,)),
    Guard("opening", Breaker, "_is_lasting", "early >= FEW and ", "", (60,)),
    Guard("opening", Breaker, "_is_relapse", "now - self._closed_at < policy.breaker_window", "False", (53,)),
    Guard("opening", Breaker, "_is_quiet_and_failing", "now - self._streak_began < SOME_TIME or ", "", (1,)),
    Guard("opening", Breaker, "record", "self._streak.clear()", "pass", (1,)),
    Guard("opening", Breaker, "_record_probe", "effect is Effect.NOTHING", "False", (34,)),
    Guard("opening", Breaker, "_record_probe", "self._successes >= self._wanted", "True", (53,)),
    Guard("opening", Breaker, "record", "not self._refusals:", "False:", (14,)),
    Guard(
        "opening",
        Breaker,
        "record",
        "self._refusals = 0",
        "pass",
        (4,),
        numbers(quota_cooldown=False, refusal_cooldown=10.0),
    ),
    Guard("opening", Breaker, "_close", "self.trips = self._refusals = 0", "pass", (84,)),
    Guard("opening", Breaker, "_open", ", policy.breaker_longest)", ", 9 * policy.breaker_longest)", (25,)),
    Guard("opening", Breaker, "_open", "self._wanted = policy.breaker_successes + 1", "self._wanted = 1", (53,)),
    Guard(
        "opening",
        Breaker,
        "_cool",
        "min(hint, policy.longest_hint)",
        "hint",
        (53,),
        numbers(quota_cooldown=True, quota_calls=1, longest_hint=5.0),
    ),
    Guard(
        "opening",
        Breaker,
        "_is_limited",
        "len(refused) < policy.quota_calls or ",
        "",
        (20,),
        numbers(quota_cooldown=True, quota_calls=3, longest_hint=5.0),
    ),
    Guard(
        "opening",
        Breaker,
        "_is_limited",
        " or len(refused) < min(answered, MOST_REFUSED)",
        "",
        (124,),
        numbers(quota_cooldown=True, quota_calls=1, longest_hint=5.0),
    ),
    Guard("opening", Breaker, "_rest", "min(seconds * 2.0", "max(seconds * 2.0", (35,)),
    Guard("opening", TargetRecord, "give", "report.late is not None and alive", "False", (20,)),
    Guard("opening", TargetRecord, "_is_silent", "silence >= ENOUGH and now - self._doubted >= SIGN", "True", (3,)),
    Guard("opening", TargetRecord, "_weigh", " if began > self._answered", "", (36,)),
    Guard("generations", Breaker, "record", "generation != self.generation", "False", (258,)),
    Guard("limits", Window, "wait_for", "self.used + amount <= self.limit", "True", (69,)),
    Guard("limits", Allowance, "wait_for", " and not longest", " and False", (143,)),
    Guard("refusals", Allowance, "settle", "self._slots.pop(token, None)", "pass", (69,)),
    # ---- in the end ----
    Guard(
        "I22",
        Breaker,
        "admit",
        "if self._probe and now < self._probe_until else 0.0",
        "if self._probe and now < self._probe_until else 9.0 * bool(self._probe)",
        (100,),
        (),
        Manners(dying=0.3),
    ),
    Guard("I22", _Run, "_end_other", 'if beside == "probe" and late:', "if False:", (41,)),
    Guard("I15", attempt, "first_sign", "execution.leases.shows_life(index)", "False", (1,)),
    Guard("I24", CallLeases, "leave", "self._admission.bulkhead.leave()", "pass", (34,)),
    Guard("I24", TargetRecord, "give", ".pop(claim.call, None)", ".get(claim.call)", (1,)),
    Guard(
        "I25",
        CallState,
        "timeout_of",
        "alone and not forced",
        "False",
        (20,),
        numbers(deadline=20.0, attempt_timeout=None, hedge_after=None, switch_first=True),
    ),
    Guard(
        "I25",
        CallState,
        "share_of",
        "others += 1",
        "pass",
        (20,),
        numbers(deadline=20.0, attempt_timeout=None, hedge_after=None, switch_first=True),
    ),
    Guard("I25", _Run, "_judge", "self._is_final(failure)", "True", (20,)),
    Guard(
        "I25",
        _Run,
        "_is_final",
        "isinstance(failure, RequestRefused) and not self.policy.switch_on_refusal",
        "isinstance(failure, RequestRefused)",
        (3,),
    ),
    Guard("I25", _Run, "perform", " or self._resting()", "", (34,)),
    Guard(
        "I25",
        _Run,
        "_ask_beside",
        "state.again = state.visited = False",
        "pass",
        (157,),
        numbers(deadline=20.0, hedge_after=0.5, hedge_share=1.0),
        Manners(prompts=("starved",)),
    ),
)
