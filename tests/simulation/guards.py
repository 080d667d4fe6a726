"""The guards of the code, each with the invariant that it keeps: `test_guards` takes out one after another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any

from simulation.checks import CHECKS, breaks
from simulation.mutations import without
from simulation.scenarios import play
from understudy import errors
from understudy.engine.decision import _Run
from understudy.execution import arguments, concluding, drivers, validation
from understudy.execution.call import Performance
from understudy.execution.hedging import Race
from understudy.execution.stream_recovery import Delivery
from understudy.health import admission
from understudy.health.breaker import Breaker
from understudy.health.budgets import HedgeBudget, RetryBudget
from understudy.health.leases import Holdings
from understudy.health.rate_windows import Allowance, Window
from understudy.health.record import TargetRecord
from understudy.health.shared import GuardedStore
from understudy.policy import Policy

WORLDS = 420  # among which small ones are looked for
FEW = 400  # calls in a small one
sound = cache(play)  # the world of a seed with all guards in their places


def small_worlds() -> Iterator[int]:
    """Yield the seeds of worlds that are played quickly."""
    return (seed for seed in range(WORLDS) if len(sound(seed).calls) <= FEW)


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
    """

    keeps: str
    owner: Any
    function: str
    guard: str
    instead: str
    seeds: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.keeps}: {self.function}: {' '.join(self.guard.split())[:50]}"

    def shows_in(self, seeds: Iterable[int]) -> Iterator[int]:
        """Yield the seeds in whose worlds the invariant holds, and breaks without the guard."""
        check = CHECKS[self.keeps]
        for seed in seeds:
            with self.taken_out():
                history = play(seed)
            if breaks(check, history) and not breaks(check, sound(seed)):
                yield seed

    def taken_out(self) -> AbstractContextManager[None]:
        """Take it out of the code, for as long as the context lasts."""
        return without(self.owner, self.function, self.guard, self.instead)


GUARDS = (
    # ---- one call ----
    Guard("I1", _Run, "_judge", " or seat.tries - seat.adapted > self.policy.max_retries", "", (3, 5)),
    Guard(
        "I1",
        drivers,
        "_async_attempt",
        "agenerate(request)",
        "agenerate(request) and await performance.providers[command.index].agenerate(request)",
        (1, 2),
    ),
    Guard("I2", _Run, "_judge", "not passing or ", "", (1, 3)),
    Guard("I3", Policy, "backoff", ", self.max_delay)", ", 9 * self.max_delay)", (11, 16)),
    Guard("I3", _Run, "_set_due", "wait = max(wait, hint)", "pass", (1, 3)),
    Guard("I3", _Run, "_set_due", "wait *= outcome.draw", "wait *= 2", (1, 2)),
    Guard("I3", _Run, "_set_due", "hint > self.policy.max_delay", "False", (9, 13)),
    Guard("I4", _Run, "_timeout", "min(self.policy.attempt_timeout, slice_)", "self.policy.attempt_timeout", (5, 6)),
    Guard(
        "I4",
        _Run,
        "_fits",
        "self.deadline is None or begin + self.policy.minimum_attempt < self.deadline",
        "True",
        (5, 6),
    ),
    Guard(
        "I4",
        drivers,
        "_async_attempt",
        "CancelScope(command.timeout)",
        "CancelScope(1e6)",
        (2, 4),
    ),
    Guard(
        "I4",
        drivers,
        "_async_pieces",
        "CancelScope(delivery.patience())",
        "CancelScope(1e6)",
        (4, 5),
    ),
    Guard("I4", Delivery, "patience", "self.allowed = min(self.allowed, self._deadline - now)", "pass", (17, 27)),
    Guard("I5", _Run, "_is_final", "failure.scope in (Scope.REQUEST, Scope.CANCELLED)", "False", (1, 2)),
    Guard("I6", _Run, "_fresh", "enumerate(self.seats)", "reversed(list(enumerate(self.seats)))", (2, 5)),
    Guard("I7", errors, "conceal", 'text = text.replace(secret, "***")', "pass", (1, 2)),
    Guard("I7", concluding, "_exhausted", 'logger.error("%s", error)', "pass", (1, 2)),
    Guard("I7", _Run, "_note_skip", "not seat.tries", "True", (3, 5)),
    Guard("I8", validation, "_check", "nothing and ", "False and ", (3, 4)),
    Guard("I9", arguments.Overrides, "policy_for", "(own, values, *map(type, values))", "own", (1, 2)),
    Guard("I10", RetryBudget, "withdraw", "self._left(now) < 1", "False", (1, 2)),
    Guard(
        "I10", RetryBudget, "_left", "self._retries[0] <= now - WINDOW", "self._retries[0] <= now - WINDOW / 3", (1, 2)
    ),
    Guard("I10", _Run, "_wait_for", "budget.refused", "False", (1, 2)),
    Guard("I15", Holdings, "leave", "self.give_back_retry()", "pass", (5, 6)),
    Guard("I15", Holdings, "leave", "list(self._leases)", "()", (4, 5)),
    Guard("I15", Performance, "_skipped", "self.holdings.give_back_retry()", "pass", (8, 9)),
    Guard("I15", drivers, "_async_pieces", "await close()", "pass", (1, 2)),
    Guard("I15", Race, "close", "list(self._tasks)", "()", (4, 15)),
    Guard("I15", Race, "cancel", "task.cancel()", "pass", (4, 69)),
    Guard(
        "I16", Performance, "failed", "delivered = delivery is not None and delivery.began", "delivered = False", (3, 4)
    ),
    Guard("I16", Delivery, "release", "events.append(Restart(who, self._target, failure))", "pass", (23, 40)),
    Guard("I16", Delivery, "release", "events.append(Continuation(who, self._target, failure))", "pass", (112, 118)),
    Guard("I16", Delivery, "take", "tokens is None or ", "tokens is not None and ", (76, 133)),
    Guard("switch first", _Run, "_next", "not self.policy.switch_first", "True", (2, 3)),
    Guard(
        "errors",
        drivers,
        "_async_attempt",
        "except (Exception, asyncio.CancelledError) as error",
        "except TimeoutError as error",
        (1, 2),
    ),
    # ---- what calls share ----
    Guard(
        "I11",
        Breaker,
        "admit",
        "self._probe_until - now if self._probe and now < self._probe_until else 0.0",
        "0.0",
        (1, 2),
    ),
    Guard("I11", TargetRecord, "take", "breaker.send_probe(now, claim.lease) if half_open else 0", "0", (1, 2)),
    Guard("I13", Breaker, "admit", "now < self.until", "False", (1, 2)),
    Guard("I13", TargetRecord, "take", "wait > 0 and not claim.forced", "False", (1, 2)),
    Guard("I13", _Run, "perform", "if self.asked:", "if False:", (4, 5)),
    Guard(
        "I17",
        admission,
        "effect_of",
        "Effect.REPLIED if isinstance(failure, _WRITTEN) else Effect.ALIVE",
        "Effect.FAILURE",
        (1, 2),
    ),
    Guard("I18", Breaker, "_record_failure", "len(self.failing_calls) < policy.breaker_requests", "False", (3, 4)),
    Guard("I20", Holdings, "take", "lease = Lease(True)", "raise", (11, 39)),
    Guard("I20", GuardedStore, "_ask", "gate.acquire(timeout=PATIENCE)", "gate.acquire()", (22, 26)),
    Guard("I20", GuardedStore, "take", "if lease is not None else", "if True else", (3, 20)),
    Guard("opening", Breaker, "_record_failure", "len(self._streak) >= enough and ", "", (1, 8)),
    Guard("opening", Breaker, "_record_failure", "attempts >= enough and ", "", (1, 8)),
    Guard("opening", Breaker, "_record_failure", "if (in_a_row and streak_counts)", "if False", (4, 22)),
    Guard("opening", Breaker, "record", "self._streak.clear()", "pass", (1, 4)),
    Guard("opening", Breaker, "_record_probe", "effect is Effect.NOTHING", "False", (4, 8)),
    Guard("opening", Breaker, "_record_probe", "self._successes >= self._wanted", "True", (1, 2)),
    Guard("opening", Breaker, "_close", "self.trips = self._cooldowns = 0", "pass", (4, 5)),
    Guard("opening", Breaker, "_open", ", policy.breaker_longest)", ", 9 * policy.breaker_longest)", (19, 143)),
    Guard("opening", Breaker, "_cool", "min(hint, policy.longest_hint)", "hint", (249,)),
    Guard("generations", Breaker, "record", "generation != self.generation", "False", (8,)),
    Guard("limits", Window, "wait_for", "self.used + amount <= self.limit", "True", (16,)),
    Guard("limits", Allowance, "wait_for", " and not longest", " and False", (101,)),
    Guard("refusals", Allowance, "settle", "self._slots.pop(token, None)", "pass", (101,)),
    Guard("hedges", HedgeBudget, "withdraw", "self._saved < 1 or not self.share", "False", (132, 154)),
    # ---- in the end ----
    Guard(
        "I22",
        Breaker,
        "admit",
        "if self._probe and now < self._probe_until else 0.0",
        "if self._probe and now < self._probe_until else 9.0 * bool(self._probe)",
        (171,),
    ),
    Guard("I24", Holdings, "leave", "self._admission.bulkhead.leave()", "pass", (6, 41)),
    Guard("I25", _Run, "_timeout", "left += 1", "pass", (107, 111)),
    Guard("I25", _Run, "_judge", "self._is_final(failure)", "True", (5, 6)),
)
