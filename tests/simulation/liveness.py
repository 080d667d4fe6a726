"""What must hold once nothing is wrong any more, and what must hold for calls that a healthy target could answer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from simulation.faults import is_sound
from simulation.invariants import MARGIN
from simulation.world import CallRecord, Flushed, History, Taken, Visit
from understudy import Failure, StreamInterrupted
from understudy.engine.call_state import UNUSUAL
from understudy.errors import Timeout
from understudy.events import AttemptFailed
from understudy.target import BreakerState

LONGEST = 600.0  # seconds for a piece, whatever was learnt
THINKING_IDLE = 300.0  # between two of a model that thinks
BEATS = 1.5  # heartbeats that may be missing
EXCUSES = ("invalid", "poison", "blocked", "large", "starving")  # prompts that nobody, or not everybody, can answer


def check_i22(history: History) -> None:
    """A primary serves again with the first call after its time of rest is over, once it is healthy: it is asked, and
    answers, at once or as a probe that another target overtakes.
    """
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
            and call.policy.hedge_after in (None, "late")  # else a quicker one may have been asked beside it
            and not any(
                begin <= call.ended and call.arrived <= end for number, begin, end in probes if number != call.number
            )
        ]
        if not able:
            continue
        first = able[0]
        answered = any(v.vendor == vendor and (v.outcome == "answered" or v.pieces) for v in first.visits)
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
            under_way[key] = entry.call, entry.at, entry.probe_until
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
                probes[entry.store, entry.lease.probe] = entry.at, entry.probe_until
            if entry.lease.changed and entry.lease.state is BreakerState.OPEN:
                rest = max(rest, entry.at + entry.lease.free_in)
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
    """A call succeeds while one target of its route is healthy and answers within the time that the call leaves it,
    whatever its breaker says: before a call fails, each target is asked.
    """
    refused = {
        (entry.call, entry.target.partition("/")[0])
        for entry in history.store_log
        if isinstance(entry, Taken) and not entry.lease.granted
    }
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
        able = [vendor for vendor in call.route if _could_answer(call, vendor, history)]
        if call.ended >= call.deadline - MARGIN:  # no time is kept for targets that rest
            able = [vendor for vendor in able if (call.number, vendor) not in refused]
        assert not able, (
            f"call {call.number} at {call.arrived} failed, and {able} could have answered: {call.response!r}"
        )


def _could_answer(call: CallRecord, vendor: str, history: History) -> bool:
    if call.prompt == "refused" and (vendor in history.strict or not call.policy.switch_on_refusal):
        return False
    if vendor in history.limits or not is_sound(history.episodes[vendor], call.arrived, call.ended):
        return False
    if call.error is not None and call.policy.stream_recovery == "continue":
        return False  # it may not go on with another's words
    return _may_take(call, vendor, history)


def _may_take(call: CallRecord, vendor: str, history: History) -> bool:
    """Whether a call is sure to have the time that a sound vendor needs at most."""
    policy = call.policy
    named = policy.attempt_timeout, policy.first_token_timeout, policy.idle_timeout, policy.silence_timeout
    seconds = min(one for one in named if one is not None)
    if policy.deadline is not None:
        if not policy.switch_first and policy.max_retries:
            return False  # waiting for the first target may take up the time of the next
        seconds = min(seconds, *_slices(call, policy.deadline))
    return history.slowest[vendor] + 2 * MARGIN <= seconds


def _slices(call: CallRecord, deadline: float) -> Iterator[float]:
    """Yield the seconds that the deadline leaves each target at least: less where those before take long and answer."""
    yield deadline / (len(call.route) + 1)
    for visit in call.visits:
        known = visit.lease.learned
        usual, median = (known.first_p95, known.first_median) if call.streaming else (known.end_p95, known.end_median)
        if usual is not None and median is not None:
            left = call.deadline - visit.began - (len(call.route) - 1) * usual
            yield usual if left >= UNUSUAL * usual else median / 2


def check_times(history: History) -> None:
    """A number that the caller names is kept to; without one, no attempt outlasts its vendor's silence or standstill:
    signs of life come within silence_timeout, where the vendor sends some, and pieces within ten minutes.
    """
    for visit in history.visits:
        call = history.calls[visit.call]
        policy, times = call.policy, [visit.began, *visit.pieces, min(visit.ended, history.ended)]
        words = f"call {call.number} waited for {visit.vendor} from {visit.began} to {visit.ended}"
        if not visit.streaming:
            longest = policy.attempt_timeout or LONGEST
            assert visit.ended - visit.began <= longest + MARGIN, f"{words}, at most {longest} are allowed"
            continue
        if policy.attempt_timeout is not None and not call.streaming:
            assert visit.ended - visit.began <= policy.attempt_timeout + MARGIN, words
        named = policy.attempt_timeout or LONGEST
        first, idle = (min(seconds or LONGEST, named) for seconds in (policy.first_token_timeout, policy.idle_timeout))
        assert times[1] - times[0] <= first + MARGIN, f"{words}, and its first piece took {times[1] - times[0]} s"
        standstill = max((later - earlier for earlier, later in pairwise(times[1:])), default=0.0)
        assert standstill <= idle + MARGIN, f"{words}, and one piece took {standstill} s"
        if visit.beat is not None:
            signs = [visit.began, *visit.signs, times[-1]]
            silence = max(later - earlier for earlier, later in pairwise(signs))
            longest = max(policy.silence_timeout, BEATS * visit.beat)
            assert silence <= longest + MARGIN, f"{words}, which was silent for {silence} s"


def check_patience(history: History) -> None:
    """Work is not cut: who gives signs of life is waited for as long as models think, if nobody names a time."""
    for visit in history.visits:
        call = history.calls[visit.call]
        named = call.policy.attempt_timeout, call.policy.first_token_timeout, call.policy.idle_timeout
        if not isinstance(_lateness(visit, call), Timeout) or named != (None, None, None) or not visit.thinks:
            continue
        if call.policy.deadline is not None or not visit.streaming:
            continue
        silent = visit.ended - (visit.signs[-1] if visit.signs else visit.began)
        still = visit.ended - (visit.pieces[-1] if visit.pieces else visit.began)
        dead = visit.beat is not None and silent >= call.policy.silence_timeout - MARGIN
        least = THINKING_IDLE if visit.pieces else LONGEST
        words = f"call {call.number} gave {visit.vendor} up at {visit.ended}, silent for {silent} s"
        assert dead or still >= least - MARGIN, f"{words}, without progress for {still} s"


def _lateness(visit: Visit, call: CallRecord) -> Failure | None:
    """Return the failure with which an attempt was given up."""
    number = [other for other in call.visits if other.vendor == visit.vendor].index(visit) + 1
    for _, event in call.told:
        if isinstance(event, AttemptFailed) and event.target == visit.vendor and event.number == number:
            cause = event.failure.__cause__
            return (
                cause if isinstance(event.failure, StreamInterrupted) and isinstance(cause, Failure) else event.failure
            )
    return None
