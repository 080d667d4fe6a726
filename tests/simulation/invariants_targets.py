"""What must hold for what is known of one target: when its breaker opens, for how long, when it closes; its limits."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from simulation.invariants import ROUNDING, SLICE
from simulation.world import Flushed, Given, History, Taken
from understudy.errors import Effect
from understudy.health.breaker import BURST, FEW, LASTING, LATELY, LIMIT_GROWTH, REFUSAL_GROWTH, RELAPSE, SOME_TIME
from understudy.health.record import SIGN, SILENT, SUSPECT
from understudy.policy import Policy
from understudy.target import BreakerState


@dataclass(slots=True)
class Known:
    """What a store was told of one target since its breaker last changed, or since it was last closed.

    Args:
        state: the breaker's.
        generation: of it.
        attempts: when each one ended, with the call of those that failed.
        refused: calls that were refused for a rate limit, and when.
        openings: since it was closed, one more where it was closed too soon.
        rejected: how often it rested since then for its key, a permission, its model or its credit.
        spent: whether a quota was found used up since the last answer.
        closed: when it last was.
        wanted: how many probes must succeed.
        probes: how many did.
        under_way: calls that wait for it, with when they began.
        answered: when the latest request began that was answered.
    """

    state: BreakerState = BreakerState.CLOSED
    generation: int = 0
    attempts: list[tuple[float, int | None]] = field(default_factory=list)
    refused: dict[int, float] = field(default_factory=dict)
    openings: int = 0
    rejected: int = 0
    spent: bool = False
    closed: float = float("-inf")
    wanted: int = 1
    probes: int = 0
    under_way: dict[int, float] = field(default_factory=dict)
    answered: float = float("-inf")


def check_opening(history: History) -> None:
    """A breaker opens after as many failures as the policy says and no fewer, rests as long as it says and no longer,
    and closes after as many good probes as it says and no fewer; and where a target seems to answer nobody.
    """
    targets: dict[tuple[str, str], Known] = defaultdict(Known)
    policies = {entry.claim.policy for entry in history.store_log if not isinstance(entry, Flushed)}
    for entry in history.store_log:
        if isinstance(entry, Flushed):
            for key in [key for key in targets if key[0] == entry.store]:
                del targets[key]
        elif isinstance(entry, Taken):
            known = targets[entry.store, entry.target]
            if entry.lease.changed:
                _check_change_at_a_question(known, entry)
            known.generation = entry.lease.generation
            if entry.lease.granted:
                known.under_way[entry.call] = entry.at
        else:
            known = targets[entry.store, entry.target]
            was = known.state
            if entry.lease.generation == known.generation:
                _note(known, entry)
            if was is BreakerState.CLOSED and len(policies) == 1:  # else each report is judged by other numbers
                _check_opening(known, entry)
                _check_limited(known, entry)
                _check_spent(known, entry)
            if entry.after.changed:
                _check_change(known, entry)
            _note_life(known, entry)


def _note(known: Known, entry: Given) -> None:
    effect = entry.report.effect
    if _is_of_the_hurry(known, entry):
        effect = Effect.NOTHING
    if known.state is BreakerState.CLOSED:
        if effect is Effect.FAILURE and entry.claim.policy.breaker:
            known.attempts.append((entry.at, entry.call))
        elif effect in (Effect.SUCCESS, Effect.REPLIED):
            known.attempts.append((entry.at, None))
            known.spent = False
        elif effect is Effect.EXHAUSTED and not entry.after.changed:
            known.spent = True
        elif effect is Effect.RATE_LIMITED:
            known.refused.pop(entry.call, None)
            known.refused[entry.call] = entry.at
    elif known.state is BreakerState.HALF_OPEN and entry.lease.probe and effect is not Effect.NOTHING:
        known.probes += 1


def _is_of_the_hurry(known: Known, entry: Given) -> bool:
    """Whether an attempt was given up as late while one that began later was answered: that is not an outage."""
    late = entry.report.late
    return late is not None and known.under_way.get(entry.call, entry.at - late) < known.answered


def _note_life(known: Known, entry: Given) -> None:
    began = known.under_way.pop(entry.call, None)
    if began is None and entry.report.late is not None:
        began = entry.at - entry.report.late  # the store has forgotten it meanwhile
    if began is not None and (entry.report.effect is Effect.SUCCESS or entry.report.first is not None):
        known.answered = max(known.answered, began)


def _check_opening(known: Known, entry: Given) -> None:
    policy, now = entry.claim.policy, entry.at
    failed = entry.report.effect is Effect.FAILURE and not _is_of_the_hurry(known, entry) and policy.breaker
    must = entry.lease.generation == known.generation and failed and _is_failing(known, now, policy)
    opened = entry.after.changed and entry.after.state is BreakerState.OPEN
    words = f"after {[(round(at, 1), call) for at, call in known.attempts[-12:]]}"
    assert must == opened, f"{entry.target} {'opened' if opened else 'stays closed'} at {now}, {words}"


def _is_failing(known: Known, now: float, policy: Policy) -> bool:
    """Whether a target's failures open its breaker."""
    row: list[tuple[float, int]] = []
    for at, call in reversed(known.attempts):
        if call is None:
            break
        row.insert(0, (at, call))
    lasting = [(at, call) for at, call in row if at >= now - policy.breaker_memory]
    calls, most = {call for _, call in lasting}, policy.breaker_failures
    if len(lasting) >= most and len(calls) >= policy.breaker_requests:
        return True
    window = [(at, call) for at, call in known.attempts if int(at) > now - policy.breaker_window]  # counted by seconds
    recent = {call for at, call in known.attempts if call is not None and at >= now - policy.breaker_window}
    distinct = len(recent) >= policy.breaker_requests
    if len(window) >= most and _is_share(window, policy) and distinct:
        return True
    late = [(at, call) for at, call in window if int(at) > now - LASTING]
    early = [at for at, call in late if call is not None and int(at) <= now - BURST]
    if len(early) >= FEW and len(late) >= most and _is_share(late, policy) and distinct:
        return True
    if now - known.closed < policy.breaker_window and len(recent) >= RELAPSE and _is_share(window, policy):
        return True
    quiet = bool(lasting) and now - lasting[0][0] >= SOME_TIME and len(window) < most
    few = len(lasting) >= min(FEW, most) and len(calls) >= min(FEW, policy.breaker_requests)
    return quiet and few


def _check_limited(known: Known, entry: Given) -> None:
    """One refusal for a rate limit rests nobody, unless it was let in too soon after a rest."""
    policy, hint = entry.claim.policy, entry.report.hint
    cools = entry.after.changed and entry.after.state is BreakerState.COOLING
    if not cools or entry.report.effect is not Effect.RATE_LIMITED or entry.at - known.closed < policy.breaker_window:
        return
    window = max(LATELY, min(hint or 0.0, policy.longest_hint))
    calls = [call for call, at in known.refused.items() if at >= entry.at - window]
    words = f"{entry.target} cools down at {entry.at}, {len(calls)} calls were refused lately"
    assert len(calls) >= policy.quota_calls, f"{words}, expected {policy.quota_calls}"
    since = entry.at - min(window, policy.breaker_window)  # answers are counted no longer
    answered = [at for at, call in known.attempts if call is None and int(at) > since]
    assert len(calls) >= len(answered), f"{words}, and {len(answered)} were answered"


def _check_spent(known: Known, entry: Given) -> None:
    """One used-up quota rests nobody where rate limits do not: the next call begins with the target again."""
    cools = entry.after.changed and entry.after.state is BreakerState.COOLING
    if cools and entry.report.effect is Effect.EXHAUSTED and not entry.claim.policy.quota_cooldown:
        assert known.spent, f"{entry.target} cools down at {entry.at}, though its quota was not used up before"


def _is_share(attempts: list[tuple[float, int | None]], policy: Policy) -> bool:
    failed = [call for _, call in attempts if call is not None]
    return len(failed) >= len(attempts) * policy.breaker_rate


def _check_change_at_a_question(known: Known, entry: Taken) -> None:
    """Who asks finds that the time of rest is over, or that nobody is answered."""
    state = entry.lease.state
    if state is BreakerState.OPEN:
        waiting = [at for at in known.under_way.values() if at > known.answered]
        words = f"{entry.target} opened at {entry.at}, since those who asked at {waiting} wait"
        assert len(waiting) >= SUSPECT, words
        assert entry.at - min(waiting) >= max(SIGN, SILENT) - ROUNDING, words
        _rest(known, entry.claim.policy, entry.at)
    elif state is BreakerState.CLOSED:
        assert known.state is BreakerState.COOLING, f"{entry.target} closed at {entry.at}, and nobody had asked it"
    known.state, known.probes = state, 0


def _rest(known: Known, policy: Policy, now: float) -> None:
    """Count an opening: one soon after it was closed counts twice, and then it takes one probe more to close it."""
    relapse = known.state is BreakerState.CLOSED and now - known.closed < policy.breaker_window
    known.openings += 2 if relapse else 1
    if known.state is BreakerState.CLOSED:
        known.wanted = policy.breaker_successes + relapse


def _check_change(known: Known, entry: Given) -> None:
    policy, state, rest = entry.claim.policy, entry.after.state, entry.after.free_in
    if state is BreakerState.OPEN:
        _rest(known, policy, entry.at)
        seconds = min(policy.breaker_open * 2.0 ** (known.openings - 1), policy.breaker_longest)
        good = seconds - ROUNDING <= rest <= seconds * (1 + policy.breaker_jitter) + ROUNDING
        assert good, f"{entry.target} rests for {rest} s after {known.openings} openings in a row, expected {seconds}"
    elif state is BreakerState.COOLING:
        _check_cooling(known, entry)
        known.wanted = 1
    elif state is BreakerState.CLOSED:
        words = f"{entry.target} closed at {entry.at} after {known.probes} good probes, expected {known.wanted}"
        assert known.probes >= known.wanted, words
        known.openings, known.rejected, known.spent, known.closed = 0, 0, False, entry.at
        known.attempts.clear()
    known.state, known.generation, known.probes = state, entry.after.generation, 0


def _check_cooling(known: Known, entry: Given) -> None:
    policy, effect, hint, rest = entry.claim.policy, entry.report.effect, entry.report.hint, entry.after.free_in
    longest = max(policy.longest_cooldown, policy.exhausted_cooldown)
    if effect is Effect.REFUSED or (effect is Effect.EXHAUSTED and not policy.quota_cooldown):
        longest = min(2.0**known.rejected, REFUSAL_GROWTH) * (policy.refusal_cooldown or 0.0)
        known.rejected += 1
    elif effect is Effect.RATE_LIMITED:
        longest = max(LIMIT_GROWTH, policy.rate_limit_cooldown)
        if hint is not None:
            longest = min(hint, policy.longest_hint)
            assert rest >= longest - ROUNDING, f"{entry.target} cools for {rest} s, its vendor said {longest}"
        known.refused.clear()
    assert rest <= longest + ROUNDING, f"{entry.target} cools for {rest} s, at most {longest} are allowed"


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
            sent = [visit for visit in visits if visit.failure is None or visit.failure.sent]
            begun = sorted(visit.began for visit in sent if visit.outcome != "left")
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
