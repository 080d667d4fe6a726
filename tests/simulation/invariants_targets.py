"""What must hold for what is known of one target: when its breaker opens, for how long, when it closes; its limits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from simulation.invariants import ROUNDING, SLICE
from simulation.world import Flushed, Given, History, Taken
from understudy.health.breaker import BreakerState
from understudy.errors import Effect


@dataclass(slots=True)
class Known:
    """What a store was told of one target since its breaker last changed, or since it was last closed."""

    state: BreakerState = BreakerState.CLOSED
    generation: int = 0
    row: list[tuple[float, int]] = field(default_factory=list)  # failures in a row, each with its call
    attempts: list[tuple[float, int | None]] = field(default_factory=list)  # all, with the call of those that failed
    openings: int = 0  # since it was closed
    wanted: int = 1  # probes that must succeed
    probes: int = 0  # that did


def check_opening(history: History) -> None:
    """A breaker opens after as many failures as the policy says and no fewer, rests as long as it says and no longer,
    and closes after as many good probes as it says and no fewer.
    """
    targets: dict[tuple[str, str], Known] = defaultdict(Known)
    policies = {entry.claim.policy for entry in history.store_log if not isinstance(entry, Flushed)}
    for entry in history.store_log:
        if isinstance(entry, Flushed):
            for key in [key for key in targets if key[0] == entry.store]:
                del targets[key]
        elif isinstance(entry, Taken):
            known = targets[entry.store, entry.target]
            known.generation = entry.lease.generation
            if entry.lease.changed:
                known.state, known.probes = entry.lease.state, 0
        else:
            known = targets[entry.store, entry.target]
            was = known.state
            if entry.lease.generation == known.generation:
                _note(known, entry)
            if was is BreakerState.CLOSED and len(policies) == 1:  # else each report is judged by other numbers
                _check_opening(known, entry)
            if entry.after.changed:
                _check_change(known, entry)


def _note(known: Known, entry: Given) -> None:
    effect = entry.report.effect
    if known.state is BreakerState.CLOSED:
        if effect is Effect.FAILURE and entry.claim.policy.breaker:
            known.row.append((entry.at, entry.call))
            known.attempts.append((entry.at, entry.call))
        elif effect in (Effect.SUCCESS, Effect.REPLIED):
            known.row.clear()
            known.attempts.append((entry.at, None))
    elif known.state is BreakerState.HALF_OPEN and entry.lease.probe and effect is not Effect.NOTHING:
        known.probes += 1


def _check_opening(known: Known, entry: Given) -> None:
    policy, now, least = entry.claim.policy, entry.at, entry.claim.policy.breaker_failures
    row = [call for at, call in known.row if at >= now - policy.breaker_memory]
    in_a_row = len(row) >= least and len(set(row)) >= policy.breaker_requests
    window = [(at, call) for at, call in known.attempts if int(at) > now - policy.breaker_window]
    failed = [call for _, call in window if call is not None]
    recent = {call for at, call in known.attempts if call is not None and at >= now - policy.breaker_window}
    many = len(window) >= least and len(failed) >= len(window) * policy.breaker_rate
    must = in_a_row or (many and len(recent) >= policy.breaker_requests)
    must = must and entry.report.effect is Effect.FAILURE and entry.lease.generation == known.generation
    opened = entry.after.changed and entry.after.state is BreakerState.OPEN
    words = f"{len(row)} failures in a row, and {len(failed)} of {len(window)} in the window"
    assert must == opened, f"{entry.target} {'opened' if opened else 'stays closed'} at {now}, after {words}"


def _check_change(known: Known, entry: Given) -> None:
    policy, state, rest = entry.claim.policy, entry.after.state, entry.after.free_in
    if state is BreakerState.OPEN:
        known.openings += 1
        known.wanted = policy.breaker_successes
        seconds = min(policy.breaker_open * known.openings, policy.breaker_longest)
        good = seconds - ROUNDING <= rest <= seconds * (1 + policy.breaker_jitter) + ROUNDING
        assert good, f"{entry.target} rests for {rest} s after {known.openings} openings in a row, expected {seconds}"
    elif state is BreakerState.COOLING:
        known.wanted = 1
        longest = max(policy.longest_cooldown, policy.exhausted_cooldown)
        if entry.report.effect is Effect.RATE_LIMITED:
            longest = max(60.0, policy.rate_limit_cooldown)
            if entry.report.hint is not None:
                longest = min(entry.report.hint, policy.longest_hint)
                assert rest >= longest - ROUNDING, f"{entry.target} cools for {rest} s, its vendor said {longest}"
        assert rest <= longest + ROUNDING, f"{entry.target} cools for {rest} s, at most {longest} are allowed"
    elif state is BreakerState.CLOSED:
        words = f"{entry.target} closed at {entry.at} after {known.probes} good probes, expected {known.wanted}"
        assert known.probes >= known.wanted, words
        known.openings = 0
    known.state, known.generation, known.probes = state, entry.after.generation, 0
    known.row.clear()
    known.attempts.clear()


def check_limits(history: History) -> None:
    """Within any minute a target gets no more requests than its limit, and at once no more than its slots, as long as
    their leases last: a stream may outlast its own.

    Programs whose shared store fails count for themselves until it is back: then nothing is certain.
    """
    if "store" in history.episodes:
        return
    for vendor, limits in history.limits.items():
        visits = [visit for visit in history.visits if visit.vendor == vendor and visit.lease.slot]
        if limits.requests_per_minute is not None:
            begun = sorted(visit.began for visit in visits if visit.outcome != "left")
            most = limits.requests_per_minute
            for earlier, later in zip(begun, begun[most:], strict=False):
                assert later - earlier >= 60, f"{vendor} got {most + 1} requests in {later - earlier} s"
        if limits.concurrent is not None:
            for visit in visits:
                beside = sum(
                    other.began <= visit.began < min(other.ended, other.began + other.claim.lease) for other in visits
                )
                assert beside <= limits.concurrent, f"{vendor} is asked {beside} times at once"


def check_refusals(history: History) -> None:
    """A target's limit is not said to be reached while there is room."""
    if "store" in history.episodes:
        return
    slots: dict[str, dict[int, float]] = defaultdict(dict)  # until when each counts
    begun: dict[str, dict[int, float]] = defaultdict(dict)  # when each was sent, but for those that were not
    for entry in history.store_log:
        if isinstance(entry, Flushed) or entry.claim.limits is None:
            continue
        used, times = slots[entry.target], begun[entry.target]
        if isinstance(entry, Given):
            used.pop(entry.lease.slot, None)
            if not entry.report.sent:
                times.pop(entry.lease.slot, None)
        elif entry.lease.granted:
            used[entry.lease.slot] = entry.at + entry.claim.lease
            times[entry.lease.slot] = entry.at
        elif entry.lease.reason.endswith("at once"):
            beside = sum(until > entry.at for until in used.values())
            words = f"{entry.target} is refused to call {entry.call} at {entry.at}: {entry.lease.reason}, of {beside}"
            assert beside >= (entry.claim.limits.concurrent or 0), words
        elif entry.lease.reason.endswith("requests a minute"):
            within = sum(at > entry.at - 60.0 - SLICE for at in times.values())
            words = f"{entry.target} is refused to call {entry.call} at {entry.at}: {entry.lease.reason}, of {within}"
            assert within >= (entry.claim.limits.requests_per_minute or 0), words
