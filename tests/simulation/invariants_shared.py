"""What must hold for what calls share: breakers, cooldowns, budgets, limits, and the store that keeps them."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass

from simulation.invariants import MARGIN, ROUNDING, come_to
from simulation.world import CallRecord, Flushed, Given, History, Taken
from understudy.errors import Effect, Failure, RateLimited
from understudy.events import RetryScheduled
from understudy.health import shared
from understudy.health.breaker import FEW, RELAPSE
from understudy.health.record import SLOWEST_SIGN
from understudy.target import BreakerState

RESTING = (BreakerState.OPEN, BreakerState.COOLING)


def check_i10(history: History) -> None:
    """Over any 10 seconds a program's retries are at most the budget's share of its calls, and the reserve. An
    attempt with an adapted request is none, nor is one on a target that was given up for another which broke off.
    """
    for call in history.calls:
        made_again = len(call.visits) - len({visit.vendor for visit in call.visits})
        adapted = len({visit.vendor for visit in call.visits if visit.adapted})
        given_up = sum(visit.outcome == "left" and visit.ended < call.ended for visit in call.visits[:-1])
        granted = sum(1 for _ in _retries([call]))
        assert made_again <= granted + adapted + given_up, (
            f"call {call.number} made {made_again} retries, {adapted} adapted, and was granted {granted}"
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
    """A half-open breaker lets one request through at a time: its probe, until its first piece or its end is there, or
    the time is over that a probe has for it; and a call that nobody else can answer.
    """
    if history.is_flushed:
        return
    probes: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)  # until when each keeps others out
    for entry in history.store_log:
        if isinstance(entry, Flushed):
            continue
        known = probes[entry.store, entry.target]
        if isinstance(entry, Given):
            known.pop(entry.lease.probe, None)
            continue
        if not entry.lease.granted or entry.lease.state is not BreakerState.HALF_OPEN:
            continue
        if not entry.lease.probe:
            assert entry.claim.forced, f"{entry.target} is half-open, and call {entry.call} is no probe"
            continue
        beside = [until for until in known.values() if until > entry.at + ROUNDING]
        assert not beside, f"{entry.target} is probed by call {entry.call} at {entry.at}, beside one until {beside}"
        known[entry.lease.probe] = entry.probe_until
        policy = entry.claim.policy
        longest = max(policy.breaker_longest * (1 + policy.breaker_jitter), SLOWEST_SIGN)
        seconds = entry.probe_until - entry.at
        least = min(SLOWEST_SIGN, policy.breaker_longest, entry.claim.lease)
        words = f"a probe of {entry.target} keeps others out for {seconds} s, at most {longest} are allowed"
        assert least - ROUNDING <= seconds <= longest + ROUNDING, words


def check_i13(history: History) -> None:
    """An open or cooling target gets no request until its time is over, but from a call that nobody else is left for:
    it has come to every other target, and not asked this one, unless its request was adapted or a hint is over.
    """
    until: dict[tuple[str, str], float] = {}
    for entry in history.store_log:
        if isinstance(entry, Flushed):
            until = {key: value for key, value in until.items() if key[0] != entry.store}
            continue
        after = entry.after if isinstance(entry, Given) else entry.lease
        rest = until.get((entry.store, entry.target), 0.0)
        if isinstance(entry, Taken) and entry.lease.granted and not entry.claim.forced:
            words = f"call {entry.call} may ask {entry.target} at {entry.at}, resting until {rest}"
            assert entry.at >= rest - ROUNDING, words
        if after.changed:
            until[entry.store, entry.target] = entry.at + after.free_in if after.state in RESTING else 0.0
    for call in history.calls:
        for number, visit in enumerate(call.visits):
            if visit.claim.forced:
                words = f"call {call.number} asked {visit.vendor} at {visit.began}, whether it rested or not"
                others = set(call.route) - come_to(call, visit.began) - {visit.vendor}
                assert not others, f"{words}, and had not come to {others}"
                before = [other for other in call.visits[:number] if other.vendor == visit.vendor]
                waited = bool(before) and isinstance(before[-1].failure, RateLimited)
                assert not before or visit.adapted or waited, f"{words}, and had asked it before"


def check_i17(history: History) -> None:
    """A request that is too large or wrong says nothing about its target: nothing is held against that; sent as the
    probe of a half-open breaker, it shows that the target is alive.
    """
    for entry in history.store_log:
        if isinstance(entry, Given) and not entry.lease.probe:
            assert not entry.touched, f"{entry.failure!r} to call {entry.call} changed what is known of {entry.target}"


def check_i18(history: History) -> None:
    """A breaker opens only on failures of several distinct calls, so never by one call alone: of as many as the policy
    says; of three where they are few, and fail one after another for a minute; of two where it was closed a moment ago.
    """
    failing: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    closed: dict[tuple[str, str], float] = {}
    for entry in history.store_log:
        if isinstance(entry, Flushed):
            for key in [key for key in failing if key[0] == entry.store]:
                del failing[key]
            continue
        key = entry.store, entry.target
        if isinstance(entry, Taken):
            continue
        policy, known = entry.claim.policy, failing[key]
        if entry.report.effect is Effect.FAILURE:
            known[entry.call] = entry.at
        if entry.after.changed and entry.after.state is BreakerState.OPEN and not entry.lease.probe:
            least = min(policy.breaker_requests, FEW)
            if entry.at - closed.get(key, -1e9) < policy.breaker_window:
                least = min(least, RELAPSE)
            lately = [at for at in known.values() if at >= entry.at - max(policy.breaker_memory, policy.breaker_window)]
            assert len(lately) >= least, (
                f"{entry.target} opened at {entry.at} for {len(lately)} calls, expected {least}"
            )
        if entry.after.changed and entry.after.state is BreakerState.CLOSED:
            known.clear()
            closed[key] = entry.at


def check_i20(history: History) -> None:
    """A health store that is killed, flushed or slow fails no call, and adds at most 50 ms to an attempt."""
    for _, line in history.errors:
        assert "health store failed" not in line or ("store" in history.episodes and not history.remote), line
    for call in history.calls:
        fine = call.error is None or isinstance(call.error, Failure) or "store" not in history.episodes
        assert fine, f"call {call.number} raised {call.error!r}"
    for call in history.calls:
        if call.left or not call.visits:
            continue
        known = _seconds_of(call)
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


def _seconds_of(call: CallRecord) -> float:
    """Return for how long a call waited for one vendor at least."""
    seconds, until = 0.0, call.arrived
    for visit in sorted(call.visits, key=lambda visit: visit.began):
        ended = min(visit.ended, call.ended)
        seconds += max(ended - max(visit.began, until), 0.0)
        until = max(until, ended)
    return seconds


def check_hedges(history: History) -> None:
    """Calls ask two targets at once at most as often as the share of their program's calls, and the few it saved up.
    Not counted is who is asked beside a probe or a target that answers nobody, or whose turn has come.
    """
    for client, (share, saved) in history.hedges.items():
        calls = [call for call in history.calls if call.client == client]
        taken = sum(_taken(call) for call in calls)
        assert taken <= share * len(calls) + saved, f"client {client} hedged {taken} of {len(calls)} calls"
    for call in history.calls:
        if call.policy.deadline is not None:
            continue  # one may have been asked because its turn had come
        beside = [one.vendor for one in call.visits for other in call.visits if one.began < other.began < one.ended]
        suspect = [vendor for vendor in beside if (call.number, vendor) in history.suspects]
        probes = [visit.vendor for visit in call.visits if visit.lease.probe]
        counted = [vendor for vendor in beside if vendor not in suspect and vendor not in probes]
        granted = sum(what == "granted" for _, what in call.hedges)
        assert len(counted) <= granted, f"call {call.number} asked others beside {counted}, {granted} were granted"


def _taken(call: CallRecord) -> int:
    """Return how many hedges a call took and did not give back; it gives none back that it has not taken."""
    taken = 0
    for _, what in call.hedges:
        taken += {"granted": 1, "refused": 0, "given back": -1}[what]
        assert taken >= 0, f"call {call.number} gave a hedge back that it had not taken"
    return taken


def check_beside(history: History) -> None:
    """A probe costs nobody anything: where another target may be asked, it is asked beside the probe at once."""
    if "store" in history.episodes:
        return  # programs ask their own stores while the shared one fails
    states = _states(history)
    for call in history.calls:
        for number, visit in enumerate(call.visits):
            if not visit.lease.probe or visit.ended - visit.began <= 2 * MARGIN:
                continue
            if any(other.began < visit.began <= other.ended for other in call.visits[:number]):
                continue  # it is asked beside another itself
            if any(at <= visit.began for at, _ in call.pieces):
                continue  # it takes up what another has begun
            before = {other.vendor for other in call.visits[:number]} | {visit.vendor}
            free = [v for v in call.route if v not in before | come_to(call, visit.began) | set(history.limits)]
            free = [v for v in free if states.are_closed(visit.store, v, visit.began)]
            beside = [other for other in call.visits if 0 <= other.began - visit.began <= 2 * MARGIN]
            words = f"call {call.number} waited for the probe of {visit.vendor} at {visit.began}, beside {free}"
            assert not free or len(beside) > 1, words


@dataclass(slots=True)
class _States:
    """When the state of each target's breaker changed, in each store."""

    changes: dict[tuple[str, str], list[tuple[float, BreakerState]]]

    def are_closed(self, store: str, vendor: str, at: float) -> bool:
        """Whether a target's breaker was closed then."""
        states = [state for since, state in self.changes.get((store, vendor), ()) if since <= at]
        return not states or states[-1] is BreakerState.CLOSED


def _states(history: History) -> _States:
    changes: dict[tuple[str, str], list[tuple[float, BreakerState]]] = defaultdict(list)
    for entry in history.store_log:
        if isinstance(entry, Flushed):
            for (store, _), known in changes.items():
                if store == entry.store:
                    known.append((entry.at, BreakerState.CLOSED))
            continue
        after = entry.after if isinstance(entry, Given) else entry.lease
        if after.changed:
            changes[entry.store, entry.target.partition("/")[0]].append((entry.at, after.state))
    return _States(changes)
