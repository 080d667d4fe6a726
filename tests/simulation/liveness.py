"""What must hold once nothing is wrong any more, and what must hold for calls that a healthy target could answer."""

from __future__ import annotations

from collections.abc import Iterator

from simulation.faults import is_sound
from simulation.invariants import MARGIN
from simulation.world import CallRecord, Flushed, Given, History, Taken
from understudy.health.breaker import BreakerState

EXCUSES = ("invalid", "poison", "blocked", "large")  # prompts that nobody, or not everybody, can answer


def check_i22(history: History) -> None:
    """A primary answers again with the first call after its time of rest is over, once it is healthy."""
    for vendor in history.slowest:
        if vendor in history.limits:
            continue
        rest = _rest_until(vendor, history)
        calls = [call for call in history.calls if call.route[:1] == (vendor,) and call.arrived >= rest]
        able = [call for call in calls if not call.left and call.visits and _may_take(call, vendor, history)]
        probes = list(_probes(vendor, history))
        able = [
            call
            for call in able
            if call.prompt == "plain"
            and call.policy.hedge_after is None  # else a quicker one may have been asked beside it
            and not any(
                begin <= call.ended and call.arrived <= end for number, begin, end in probes if number != call.number
            )
        ]
        if not able:
            continue
        first = able[0]
        answered = any(visit.vendor == vendor and visit.outcome == "answered" for visit in first.visits)
        assert answered, (
            f"{vendor} may be asked from {rest} on, and does not answer call {first.number} at {first.arrived}"
        )


def _probes(vendor: str, history: History) -> Iterator[tuple[int, float, float]]:
    """Yield each probe of a target: by which call, from when, until when."""
    under_way: dict[tuple[str, int], tuple[int, float, float]] = {}
    for entry in history.store_log:
        if isinstance(entry, Flushed) or not entry.lease.probe or not entry.target.startswith(f"{vendor}/"):
            continue
        key = entry.store, entry.lease.probe
        if isinstance(entry, Taken):
            under_way[key] = entry.call, entry.at, entry.at + entry.claim.lease
        elif key in under_way:
            call, begin, _ = under_way.pop(key)
            yield call, begin, entry.at
    yield from under_way.values()  # of callers who died


def _rest_until(vendor: str, history: History) -> float:
    """Return when the last time is over in which a target may not be asked, or only by a probe that is under way."""
    rest = history.healed
    probes: dict[tuple[str, int], tuple[float, float]] = {}
    for entry in history.store_log:
        if isinstance(entry, Flushed) or not entry.target.startswith(f"{vendor}/"):
            continue
        if isinstance(entry, Taken):
            if entry.lease.probe:
                probes[entry.store, entry.lease.probe] = entry.at, entry.at + entry.claim.lease
            continue
        if (entry.store, entry.lease.probe) in probes:
            began, _ = probes.pop((entry.store, entry.lease.probe))
            if began < history.healed:
                rest = max(rest, entry.at)
        if entry.after.changed and entry.after.state in (BreakerState.OPEN, BreakerState.COOLING):
            rest = max(rest, entry.at + entry.after.free_in)
    return max(rest, *(until for _, until in probes.values()), history.healed)  # those of callers who died


def check_i24(history: History) -> None:
    """In the end every target is closed and cool, every budget full, and no lease, slot or task is left."""
    left = {what: value for what, value in history.remains.items() if value}
    assert not left, f"left over at {history.ended}, healthy since {history.healed}: {left}"


def check_i25(history: History) -> None:
    """A call succeeds while one target of its route is healthy and known to be, and answers within its slice.

    Where all targets rest, one of them is asked nevertheless.
    """
    rests = _rests(history)
    for call in history.calls:
        if call.left or call.prompt in EXCUSES or (call.response is not None and call.response.success):
            continue
        if call.response is not None and "under way" in str(call.response.error):
            continue  # the program allows no more calls at once
        if call.error is not None and call.policy.stream_recovery in ("raise", "buffer"):
            continue  # the caller wants to be told of a stream that breaks
        if call.error is not None and call.ended >= call.deadline - MARGIN:
            continue  # a stream that has begun may take all the time that there is
        limited = any(vendor in history.limits for vendor in call.route)
        assert call.visits or limited, f"call {call.number} at {call.arrived} failed, and nobody was asked"
        able = [vendor for vendor in call.route if _could_answer(call, vendor, history, rests)]
        assert not able, (
            f"call {call.number} at {call.arrived} failed, and {able} could have answered: {call.response!r}"
        )


def _could_answer(call: CallRecord, vendor: str, history: History, rests: dict[str, list[tuple[float, float]]]) -> bool:
    if vendor in history.limits or not is_sound(history.episodes[vendor], call.arrived, call.ended):
        return False
    if call.error is not None and call.policy.stream_recovery == "continue":
        return False  # it may not go on with another's words
    if any(begin <= call.ended and call.arrived < end for begin, end in rests.get(vendor, ())):
        return False
    return _may_take(call, vendor, history)


def _may_take(call: CallRecord, vendor: str, history: History) -> bool:
    """Whether a call is sure to have the time that a sound vendor needs at most."""
    policy = call.policy
    seconds = min(policy.attempt_timeout, policy.first_token_timeout, policy.idle_timeout)
    if policy.deadline is not None:
        if not policy.switch_first and policy.max_retries:
            return False  # waiting for the first target may take up the time of the next
        seconds = min(seconds, policy.deadline / len(call.route))
    return history.slowest[vendor] + 2 * MARGIN <= seconds


def _rests(history: History) -> dict[str, list[tuple[float, float]]]:
    """Return from when to when each target's breaker was not closed."""
    rests: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for entry in history.store_log:
        if isinstance(entry, Flushed):
            for (store, _), spans in rests.items():
                if store == entry.store and spans:
                    spans[-1] = spans[-1][0], min(spans[-1][1], entry.at)
        elif isinstance(entry, Given) and entry.after.changed:
            spans = rests.setdefault((entry.store, entry.target.partition("/")[0]), [])
            if entry.after.state is BreakerState.CLOSED and spans:
                spans[-1] = spans[-1][0], entry.at
            elif entry.after.state is not BreakerState.CLOSED and (not spans or spans[-1][1] <= entry.at):
                spans.append((entry.at, float("inf")))
    found: dict[str, list[tuple[float, float]]] = {}
    for (_, vendor), spans in rests.items():
        found.setdefault(vendor, []).extend(spans)
    return found
