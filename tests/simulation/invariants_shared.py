"""What must hold for what calls share: breakers, cooldowns, budgets, limits, and the store that keeps them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator

from simulation.invariants import MARGIN, ROUNDING
from simulation.world import CallRecord, Flushed, Given, History, Visit
from understudy.errors import Failure
from understudy.events import RetryScheduled
from understudy.health import shared
from understudy.health.breaker import BreakerState
from understudy.errors import Effect

RESTING = (BreakerState.OPEN, BreakerState.COOLING)


def check_i10(history: History) -> None:
    """Over any 10 seconds a program's retries are at most the budget's share of its calls, and the reserve."""
    for call in history.calls:
        made_again = len(call.visits) - len({visit.vendor for visit in call.visits})
        granted = sum(1 for _ in _retries([call]))
        assert call.policy.hedge_after is not None or made_again <= granted, (
            f"call {call.number} made {made_again} retries, and was granted {granted}"
        )
    for client in {call.client for call in history.calls}:
        calls = [call for call in history.calls if call.client == client]
        factory = next((call.policy for call in calls if call.policy is call.used), None)
        if factory is None:
            continue
        share, reserve = history.budgets[client]
        asked = [call.visits[0].began for call in calls if call.visits]  # only these count
        made: deque[float] = deque()
        begun: deque[float] = deque()
        for at, retry in sorted([(at, False) for at in asked] + [(at, True) for at in _retries(calls)]):
            (made if retry else begun).append(at)
            for window in (made, begun):
                while window and window[0] <= at - 10:
                    window.popleft()
            most = share * len(begun) + reserve * 10
            assert not retry or len(made) <= most + ROUNDING, (
                f"client {client} made {len(made)} retries in the 10 s before {at}, {most} are allowed"
            )


def _retries(calls: list[CallRecord]) -> Iterator[float]:
    """Return when retries were taken that were not given back."""
    for call in calls:
        taken: list[float] = []
        for at, what in call.retries:
            if what == "granted":
                taken.append(at)
            elif what == "given back":
                taken.pop()
        yield from taken


def check_i11(history: History) -> None:
    """A half-open breaker lets one request through at a time: its probe, until it ends or its lease is over."""
    if history.is_flushed:
        return
    probes: dict[tuple[str, str], list[Visit]] = defaultdict(list)
    for visit in history.visits:
        if visit.lease.state is not BreakerState.HALF_OPEN or visit.claim.forced:
            continue
        assert visit.lease.probe, f"{visit.vendor} is half-open, and call {visit.call} is no probe"
        known = probes[visit.store, visit.vendor]
        for other in known:
            under_way = min(other.ended, other.began + other.claim.lease) > visit.began
            assert not under_way, f"{visit.vendor} is probed by calls {other.call} and {visit.call} at {visit.began}"
        known.append(visit)


def check_i13(history: History) -> None:
    """An open or cooling target gets no request until its time is over, but the only attempt of a call that nobody
    else could answer.
    """
    until: dict[tuple[str, str], float] = {}
    for entry in history.store_log:
        if isinstance(entry, Flushed):
            until = {key: value for key, value in until.items() if key[0] != entry.store}
        elif isinstance(entry, Given):
            if entry.after.changed:
                rest = entry.at + entry.after.free_in if entry.after.state in RESTING else 0.0
                until[entry.store, entry.target] = rest
        elif entry.lease.granted and not entry.claim.forced:
            rest = until.get((entry.store, entry.target), 0.0)
            assert entry.at >= rest - ROUNDING, (
                f"call {entry.call} may ask {entry.target} at {entry.at}, resting until {rest}"
            )
    for call in history.calls:
        forced = [number for number, visit in enumerate(call.visits) if visit.claim.forced]
        assert forced in ([], [0]), f"call {call.number} asked resting targets as its attempts {forced}"


def check_i17(history: History) -> None:
    """A request that is too large or wrong says nothing about its target: nothing is held against that; sent as the
    probe of a half-open breaker, it shows that the target is alive.
    """
    for entry in history.store_log:
        if isinstance(entry, Given) and not entry.lease.probe:
            assert not entry.touched, f"{entry.failure!r} to call {entry.call} changed what is known of {entry.target}"


def check_i18(history: History) -> None:
    """A breaker opens only on failures of as many distinct calls as the policy says, so never by one call alone."""
    failing: dict[tuple[str, str], set[int]] = defaultdict(set)
    for entry in history.store_log:
        if isinstance(entry, Flushed):
            for key in [key for key in failing if key[0] == entry.store]:
                del failing[key]
        elif isinstance(entry, Given):
            known = failing[entry.store, entry.target]
            if entry.report.effect is Effect.FAILURE:
                known.add(entry.call)
            if entry.after.changed and entry.after.state is BreakerState.OPEN and not entry.lease.probe:
                least = entry.claim.policy.breaker_requests
                assert len(known) >= least, (
                    f"{entry.target} opened at {entry.at} for {len(known)} calls, expected {least}"
                )
            if entry.after.changed and entry.after.state is BreakerState.CLOSED:
                known.clear()


def check_i20(history: History) -> None:
    """A health store that is killed, flushed or slow fails no call, and adds at most 50 ms to an attempt."""
    for _, line in history.errors:
        assert "health store failed" not in line or ("store" in history.episodes and not history.remote), line
    for call in history.calls:
        fine = call.error is None or isinstance(call.error, Failure) or "store" not in history.episodes
        assert fine, f"call {call.number} raised {call.error!r}"
    for call in history.calls:
        if call.left or not call.visits or call.policy.hedge_after is not None:
            continue
        known = sum(visit.ended - visit.began for visit in call.visits)
        known += sum(event.wait for _, event in call.told if isinstance(event, RetryScheduled))
        questions = len(call.visits) + len(call.told)
        added = call.ended - call.arrived - known
        allowed = MARGIN if len(call.told) <= 2 else MARGIN * questions
        if call.policy.routing != "ordered":
            allowed += shared.PATIENCE  # it is asked how the targets are, too
        assert added <= allowed, f"call {call.number} took {added} s more than its vendors and waits"


def check_generations(history: History) -> None:
    """What comes of a request that was sent before the breaker's last change does not change it again."""
    for entry in history.store_log:
        if isinstance(entry, Given) and entry.after.changed:
            late = entry.after.generation != entry.lease.generation + 1
            assert not late, (
                f"{entry.target} became {entry.after.state} at {entry.at}, by a request from before its last change"
            )


def check_hedges(history: History) -> None:
    """Calls ask two targets at once at most as often as the share of their program's calls, and the few it saved up."""
    for client, (share, saved) in history.hedges.items():
        calls = [call for call in history.calls if call.client == client]
        twice = sum(
            any(one.began < other.began < one.ended for one in call.visits for other in call.visits) for call in calls
        )
        assert twice <= share * len(calls) + saved, f"client {client} hedged {twice} of {len(calls)} calls"
