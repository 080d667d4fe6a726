"""What came of some days: who was answered, by whom, how late, and what was paid in vain."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from simulation.healthy.records import NEVER, Call, Played, Visit
from simulation.healthy.vendors import INPUT_TOKENS
from simulation.healthy.worlds import PRIMARY
from simulation.world import BEGINNING

IN_A_ROW = 3  # calls that the primary answers, one after another, before it counts as used again


@dataclass(frozen=True, slots=True, kw_only=True)
class InFault:
    """What came of the calls that arrived in a fault of the primary.

    Args:
        calls: how many.
        answered: how many of them were.
        p50: seconds until the answer; infinite where fewer than that share were answered.
        p95: likewise.
        asked: requests to the primary while it was sick.
        back: seconds from its end until the primary was used again, the latest of some days; infinite for never.
    """

    calls: int
    answered: int
    p50: float
    p95: float
    asked: int
    back: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What came of some days of one client.

    Args:
        calls: how many.
        answered: how many of them were.
        by_primary: how many of them by the primary.
        cuts: requests that were hung up on, and would have been answered.
        paid: tokens that were billed.
        wasted: tokens of these that were not for the answer which the caller got.
        largest: tokens of the longest answer, with its prompt.
        opened: how often the breaker of a vendor opened that was well.
        cooled: how often a vendor that was well was left alone for a 429.
        requests: to all vendors.
        p50: seconds until the answer; infinite where fewer than that share were answered.
        p95: likewise.
        p99: likewise.
        fault: the calls in a fault; None on healthy days.
        unanswered: why the others were not answered, and how many of them.
    """

    calls: int
    answered: int
    by_primary: int
    cuts: int
    paid: float
    wasted: float
    largest: float
    opened: int
    cooled: int
    requests: int
    p50: float
    p95: float
    p99: float
    fault: InFault | None
    unanswered: tuple[tuple[str, int], ...]

    def share(self, number: float) -> float:
        """Return a number of calls in percent of all."""
        return 100.0 * number / self.calls

    @property
    def wasted_share(self) -> float:
        """The wasted tokens, in percent of those that were paid."""
        return 100.0 * self.wasted / max(self.paid, 1.0)

    def __str__(self) -> str:
        words = [
            f"{self.calls} calls: answered {self.answered} ({self.share(self.answered):.2f} %)",
            f"by the primary {self.by_primary} ({self.share(self.by_primary):.2f} %)",
            f"wrong cuts {self.cuts}, wasted tokens {self.wasted_share:.2f} %",
            f"opened {self.opened}, cooled {self.cooled}, requests a call {self.requests / self.calls:.3f}",
            f"p50 {self.p50:.1f} s, p95 {self.p95:.1f} s, p99 {self.p99:.1f} s",
        ]
        if (fault := self.fault) is not None:
            words += [
                f"in the fault: answered {fault.answered} of {fault.calls}, p95 {fault.p95:.1f} s",
                f"requests to the sick vendor {fault.asked} ({fault.asked / max(fault.calls, 1):.3f} a call)",
                f"used again after {fault.back:.0f} s",
            ]
        if self.unanswered:
            words.append("unanswered: " + ", ".join(f"{number} {why}" for why, number in self.unanswered))
        return "; ".join(words)


def measure(days: Sequence[Played]) -> Row:
    """Measure some days of one client together."""
    calls = [call for day in days for call in day.calls]
    visits = [visit for day in days for visit in day.visits]
    bills = [billed(visit) for visit in visits]
    paid = sum(bills)
    healthy = [(target, state) for day in days for at, target, state in day.breaker if _is_well(day, target, at)]
    waits = [_wait(call) for call in calls]
    return Row(
        calls=len(calls),
        answered=sum(bool(call.by) for call in calls),
        by_primary=sum(call.by == PRIMARY for call in calls),
        cuts=sum(visit.outcome == "left" and visit.sound for visit in visits),
        paid=paid,
        wasted=paid - sum(_useful(call) for call in calls),
        largest=max(bills, default=0.0),
        opened=sum(state == "open" for _, state in healthy),
        cooled=sum(state == "cooling" for _, state in healthy),
        requests=len(visits),
        p50=percentile(waits, 0.50),
        p95=percentile(waits, 0.95),
        p99=percentile(waits, 0.99),
        fault=_in_fault(days) if any(day.day.fault for day in days) else None,
        unanswered=tuple(Counter(call.why[:60] for call in calls if not call.by).most_common(3)),
    )


def billed(visit: Visit) -> float:
    """Return the tokens that a vendor bills for a request.

    A whole answer that was hung up on is billed in full, a stream up to there. Vendors and gateways differ, and say
    little; https://www.ferryapi.io/blog/ai-api-streaming-timeout-policy, read 2026-11-30, has the provider go on.
    """
    if not visit.sound or visit.works_until == NEVER:
        return 0.0
    if visit.whole:
        return INPUT_TOKENS + visit.tokens
    span = max(visit.works_until - visit.works_from, 1e-9)
    return INPUT_TOKENS + visit.tokens * min(max((visit.ended - visit.works_from) / span, 0.0), 1.0)


def _useful(call: Call) -> float:
    answers = [visit for visit in call.visits if visit.outcome == "answered" and visit.vendor == call.by]
    return billed(answers[-1]) if call.by and answers else 0.0


def _is_well(played: Played, target: str, at: float) -> bool:
    """Whether a vendor is in no fault of minutes, nor was until just now."""
    day, now = played.day, at - BEGINNING
    if not day.fault or target != PRIMARY:
        return True
    return not day.begin <= now < day.end


def _in_fault(days: Sequence[Played]) -> InFault:
    calls = [call for day in days for call in day.calls if call.sick]
    waits = [_wait(call) for call in calls]
    return InFault(
        calls=len(calls),
        answered=sum(bool(call.by) for call in calls),
        p50=percentile(waits, 0.50),
        p95=percentile(waits, 0.95),
        asked=sum(visit.sick and visit.vendor == PRIMARY for day in days for visit in day.visits),
        back=max(_back(day) for day in days),
    )


def _back(played: Played) -> float:
    """Return the seconds after a fault until the primary answers some calls in a row."""
    end = BEGINNING + played.day.end
    after = [call for call in played.calls if call.arrived >= end]
    for number, call in enumerate(after[: len(after) - IN_A_ROW + 1]):
        if all(following.by == PRIMARY for following in after[number : number + IN_A_ROW]):
            return call.arrived - end
    return NEVER


def _wait(call: Call) -> float:
    return call.ended - call.arrived if call.by else NEVER


def percentile(values: Iterable[float], share: float) -> float:
    """Return the least value that so large a share of all does not exceed; infinite where there are none."""
    ordered = sorted(values)
    return ordered[max(math.ceil(share * len(ordered)) - 1, 0)] if ordered else NEVER
