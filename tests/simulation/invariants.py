"""What must hold for every single call, checked on the history of a world. Each function is one invariant, in words.

What calls share (health, budgets, limits) is in `invariants_shared`, what must hold once nothing is wrong any more in
`liveness`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from simulation.vendors import SECRET
from simulation.world import CallRecord, Flushed, History, Taken, Visit
from understudy import (
    AllProvidersFailed,
    ContentBlocked,
    Continuation,
    Failure,
    Finish,
    QuotaFailure,
    RequestFailure,
    Restart,
    StreamInterrupted,
    TargetResting,
    TextDelta,
)
from understudy.events import AttemptStarted, RetryScheduled, TargetSkipped
from understudy.response import Attempt

MARGIN = 0.05  # seconds: what may be lost at the end of a call, or by asking the health store
ROUNDING = 1e-6  # seconds
SLICE = 1.0  # seconds by which the windows of limits are counted


def check_i01(history: History) -> None:
    """A call asks each target at most 1 + max_retries times, and what vendors saw is what the record tells."""
    for call in history.calls:
        seen = Counter(visit.vendor for visit in call.visits)
        for vendor, times in seen.items():
            assert times <= 1 + call.policy.max_retries, f"{_who(call)} asked {vendor} {times} times"
        attempts = attempts_of(call)
        if attempts is not None:
            told = Counter(attempt.target for attempt in attempts if attempt.outcome != "skipped")
            assert told == seen, f"{_who(call)}: the vendors saw {seen}, the record tells of {told}"


def check_i02(history: History) -> None:
    """After a quota reply the target gets no more requests in this call, and the next one is asked at once."""
    for call in history.calls:
        for number, visit in enumerate(call.visits):
            if not isinstance(visit.failure, QuotaFailure):
                continue
            later = call.visits[number + 1 :]
            assert all(other.vendor != visit.vendor for other in later), f"{_who(call)} asked {visit.vendor} again"
            if any(other is not visit and other.began <= visit.ended < other.ended for other in call.visits):
                continue  # another attempt is under way
            after = next((told for told in call.told if told[0] >= visit.ended and _goes_on(told[1])), None)
            if after is not None:
                asked_before = {other.vendor for other in call.visits[: number + 1]}
                waits = isinstance(after[1], RetryScheduled) and not set(call.route) <= asked_before | _skipped(call)
                late = after[0] - visit.ended > MARGIN
                assert not waits, f"{_who(call)} waited at {after[0]} beside a target that it had not asked"
                assert not late, f"{_who(call)} went on {after[0] - visit.ended} s after a quota reply"


def check_i03(history: History) -> None:
    """The k-th wait is min(retry_delay * 2**k, max_delay); jitter only makes it shorter, a hint only longer."""
    for call in history.calls:
        policy = call.policy
        for at, event in call.told:
            if not isinstance(event, RetryScheduled):
                continue
            if isinstance(event.failure, TargetResting):  # nobody else is left, and this one is free again soon
                rest = min(event.failure.retry_after or 0.0, policy.max_delay + SLICE)
                assert event.wait <= rest + ROUNDING, f"{_who(call)} waited {event.wait} s for {event.failure}"
                continue
            formula = min(policy.retry_delay * 2 ** (event.retry - 1), policy.max_delay)
            hint = event.failure.retry_after or 0.0
            most = max(formula, hint)
            words = f"{_who(call)} waited {event.wait} s before retry {event.retry}, formula {formula}, hint {hint}"
            assert event.wait <= min(most, policy.max_delay) + ROUNDING, words
            if not policy.switch_first and policy.hedge_after is None:
                assert event.wait >= hint - ROUNDING, words
                if policy.jitter == "none":
                    assert abs(event.wait - most) < ROUNDING, words
                elif hint < formula:
                    assert event.wait < formula, words
            since = max((visit.ended for visit in _visits_of(call, event.target) if visit.ended <= at), default=None)
            assert since is not None, f"{_who(call)} retries {event.target}, which it has not asked"
            assert at + event.wait >= since + hint - ROUNDING, f"{words}: it came back before the hint was over"
        for attempt in attempts_of(call) or ():
            if attempt.wait and attempt.number:
                waits = [e.wait for _, e in call.told if isinstance(e, RetryScheduled) and e.target == attempt.target]
                assert attempt.wait in waits, (
                    f"{_who(call)}: the record tells of a wait of {attempt.wait}, not of {waits}"
                )


def check_i04(history: History) -> None:
    """No wait begins that ends past the deadline, and the call ends within 50 ms of it, whatever a vendor does."""
    for call in history.calls:
        if call.policy.deadline is None:
            continue
        assert call.ended <= call.deadline + MARGIN, f"{_who(call)} ended {call.ended - call.deadline} s late"
        for visit in call.visits:
            assert visit.began < call.deadline, f"{_who(call)} asked {visit.vendor} after its deadline"
        for at, event in call.told:
            if isinstance(event, RetryScheduled):
                end = at + event.wait
                assert end < call.deadline, f"{_who(call)} waits until {end}, its deadline is {call.deadline}"


def check_i05(history: History) -> None:
    """After a failure of the request itself nothing more is sent in this call."""
    for call in history.calls:
        for number, visit in enumerate(call.visits):
            if not isinstance(visit.failure, RequestFailure):
                continue
            if isinstance(visit.failure, ContentBlocked) and call.policy.switch_on_content_blocked:
                continue
            later = [other for other in call.visits[number + 1 :] if other.began >= visit.ended]
            assert not later, f"{_who(call)} went on after {visit.failure!r}"


def check_i06(history: History) -> None:
    """Targets are come to in the route's order, each when the one before it has ended or was skipped."""
    for call in history.calls:
        first = list(dict.fromkeys(e.target for _, e in call.told if isinstance(e, AttemptStarted | TargetSkipped)))
        hedging = call.policy.hedge_after is not None
        if not hedging:
            assert first == list(call.route[: len(first)]), f"{_who(call)} came to {first} on {call.route}"
        for one, other in pairwise(call.visits):
            assert hedging or other.began >= one.ended, (
                f"{_who(call)} asked {other.vendor} before {one.vendor} had ended"
            )
        for visit in call.visits:
            beside = sum(other.began <= visit.began < other.ended for other in call.visits)
            assert beside <= 2, f"{_who(call)} asked {beside} targets at once"


def check_i07(history: History) -> None:
    """A total failure names every target with its failure, in one ERROR line; no key stands in any of it."""
    logged: dict[int, list[str]] = {}
    for number, line in history.errors:
        assert SECRET not in line, f"a key is in the log: {line}"
        logged.setdefault(number, []).append(line)
    for call in history.calls:
        response = call.response
        words = f"{response!r} {call.error!r} {call.told!r}" if call.error or (response and response.error) else ""
        assert SECRET not in words, f"{_who(call)}: a key is in {words}"
        if response is None or not isinstance(response.failure, AllProvidersFailed):
            continue
        failures = response.failure.failures
        assert len(failures) == len(call.route), f"{_who(call)}: {len(failures)} failures of {len(call.route)} targets"
        for label, failure in zip(call.route, failures, strict=True):
            named = f"{label}: {failure.brief}"
            assert named in str(response.error), f"{_who(call)}: {named} is not in {response.error}"
            asked = any(_visits_of(call, label))
            assert not (asked and isinstance(failure, TargetResting)), f"{_who(call)} asked, and is told {named}"
            skipped = [event for _, event in call.told if isinstance(event, TargetSkipped) and event.target == label]
            assert asked or skipped or "deadline" in named, f"{_who(call)}: {named}?"
        lines = [line for line in logged.get(call.number, []) if line.startswith("All LLM providers failed")]
        assert lines == [response.error], f"{_who(call)} logged {lines}, expected {response.error}"


def check_i08(history: History) -> None:
    """A success carries the text of one reply that its vendor gave to this call, byte for byte; and it has a text."""
    for call in history.calls:
        response = call.response
        if response is None or not response.success or _continued(call):
            continue
        assert response.content.strip(), f"{_who(call)} was given nothing as an answer"
        own = [visit for visit in call.visits if visit.outcome == "answered" and visit.text == response.content]
        assert len(own) == 1, f"{_who(call)} was given {response.content!r}, which {len(own)} vendors said"
        assert own[0].vendor == response.provider_name, (
            f"{_who(call)}: {own[0].vendor} is called {response.provider_name}"
        )
        last = response.attempts[-1]
        good = [attempt for attempt in response.attempts if attempt.outcome == "succeeded"]
        assert good == [last], f"{_who(call)}: the record tells of {good}"
        assert last.target == own[0].vendor, f"{_who(call)}: {own[0].vendor} answered, the record tells of {last}"


def check_i09(history: History) -> None:
    """Numbers that were given with one call count for that call, and for no other."""
    for call in history.calls:
        assert call.used == call.policy, f"{_who(call)} was made with {call.used}, expected {call.policy}"


def check_i15(history: History) -> None:
    """When a caller gives up, nothing is sent any more, what is under way is closed, and leases and retries go back."""
    if "store" not in history.episodes:
        _check_leases(history)
    for call in history.calls:
        assert not call.open, f"{_who(call)} ended at {call.ended}, and {call.open} are not closed"
        for visit in call.visits:
            assert visit.ended <= call.ended, (
                f"{_who(call)} ended at {call.ended}, {visit.vendor} is asked until {visit.ended}"
            )
        held = None
        for at, what in call.retries:
            held = at if what == "granted" else None if what == "given back" else held
            if held is not None and any(visit.began >= held for visit in call.visits):
                held = None
        assert held is None, f"{_who(call)} took a retry at {held}, and neither made it nor gave it back"


def _check_leases(history: History) -> None:
    """What a call takes of a target, be it the probe or a slot, it gives back before its end."""
    held: dict[tuple[str, int, int, int], int] = {}
    for entry in history.store_log:
        if isinstance(entry, Flushed) or not (entry.lease.probe or entry.lease.slot):
            continue
        key = entry.target, entry.call, entry.lease.probe, entry.lease.slot
        held[key] = held.get(key, 0) + (1 if isinstance(entry, Taken) else -1)
        call = history.calls[entry.call]
        assert entry.at <= call.ended + MARGIN, f"{_who(call)} gave {entry.target} back at {entry.at}, after its end"
    for (target, number, _, _), times in held.items():
        assert not times or history.calls[number].died, f"{_who(history.calls[number])} keeps a lease of {target}"


def check_i16(history: History) -> None:
    """No other target's text follows a piece that the caller holds, unless it is told; the pieces are the answer."""
    for call in history.calls:
        held, own = "", ""
        continued = False
        for _, event in call.pieces:
            if isinstance(event, Restart):
                assert own or held, f"{_who(call)} was told of a restart, and held nothing"
                held, own, continued = "", "", False
            elif isinstance(event, Continuation):
                own, continued = "", True
            elif isinstance(event, TextDelta):
                held += event.text
                own += event.text
                said = any(visit.text.lstrip().startswith(own.lstrip()) for visit in call.visits)
                assert said, f"{_who(call)} holds {own!r}, which no vendor said in one piece"
            elif isinstance(event, Finish) and event.response.success:
                content = event.response.content
                assert content == held, f"{_who(call)} holds {held!r}, and the answer is {content!r}"
                assert continued or content in [visit.text for visit in call.visits], f"{_who(call)}: {content!r}"
        whole = call.policy.stream_recovery == "buffer" and call.policy.buffer_tokens is None
        assert not (whole and call.error), f"{_who(call)} wants whole answers alone, and was given a part"
        if call.pieces and not call.left:
            ended = call.error is not None or isinstance(call.pieces[-1][1], Finish)
            assert ended, f"{_who(call)}: the stream just ended"


def check_switch_first(history: History) -> None:
    """An eager call waits for no target while it has not come to all of them."""
    for call in history.calls:
        if not call.policy.switch_first:
            continue
        come_to: set[str] = set()
        for at, event in call.told:
            if isinstance(event, AttemptStarted | TargetSkipped):
                come_to.add(event.target)
            waits = isinstance(event, RetryScheduled) and len(come_to) < len(call.route)
            assert not waits, f"{_who(call)} waited at {at}, and had only come to {sorted(come_to)}"


def check_errors(history: History) -> None:
    """A call ends with an answer, a response that says why there is none, or StreamInterrupted, and nothing else."""
    for call in history.calls:
        good = call.error is None or isinstance(call.error, StreamInterrupted)
        assert good, f"{_who(call)} raised {call.error!r}"
        assert call.left or call.error is not None or call.response is not None, f"{_who(call)} ended without an end"
        if call.response is not None and not call.response.success:
            assert isinstance(call.response.failure, Failure), f"{_who(call)}: {call.response!r}"


def attempts_of(call: CallRecord) -> tuple[Attempt, ...] | None:
    """Return the record of a call that has ended by itself."""
    if isinstance(call.error, StreamInterrupted):
        return call.error.attempts
    return call.response.attempts if call.response is not None else None


def _visits_of(call: CallRecord, label: str) -> Iterator[Visit]:
    return (visit for visit in call.visits if visit.vendor == label)


def _skipped(call: CallRecord) -> set[str]:
    return {event.target for _, event in call.told if isinstance(event, TargetSkipped)}


def _goes_on(event: object) -> bool:
    return isinstance(event, AttemptStarted | RetryScheduled | TargetSkipped)


def _continued(call: CallRecord) -> bool:
    return any(isinstance(event, Continuation) for _, event in call.pieces)


def _who(call: CallRecord) -> str:
    return f"call {call.number} of client {call.client} at {call.arrived:.3f}"
