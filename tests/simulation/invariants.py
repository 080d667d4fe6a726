"""What must hold for every single call, checked on the history of a world. Each function is one invariant, in words.

What calls share (health, budgets, limits) is in `invariants_shared`, what must hold once nothing is wrong any more in
`liveness`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from simulation.vendors import SECRET
from simulation.world import CallRecord, Flushed, Given, History, Taken, Visit
from understudy import AllProvidersFailed, Continuation, Failure, Finish, Restart, StreamInterrupted, TextDelta
from understudy.engine.decision import FAST, SHORT_HINT
from understudy.engine.decision import QUICK as SOON
from understudy.errors import (
    ContentBlocked,
    QuotaFailure,
    RateLimited,
    RequestFailure,
    RequestRefused,
    Scope,
    TargetResting,
)
from understudy.events import AttemptStarted, RetryScheduled, TargetSkipped
from understudy.response import Attempt

MARGIN = 0.05  # seconds: what may be lost at the end of a call, or by asking the health store
ROUNDING = 1e-6  # seconds
SLICE = 1.0  # seconds by which the windows of limits are counted
# The words with which the record's reasons begin.
QUICK, BESIDE = "quick retry", ("beside the probe of", "hedge:")


def check_i01(history: History) -> None:
    """A call asks each target at most 1 + max_retries times, and once more where a failure said how to adapt the
    request; and what vendors saw is what the record tells.
    """
    for call in history.calls:
        seen = Counter(visit.vendor for visit in call.visits)
        for vendor, times in seen.items():
            adapted = any(visit.adapted for visit in _visits_of(call, vendor))
            words = f"{_who(call)} asked {vendor} {times} times, {'once adapted' if adapted else 'never adapted'}"
            assert times <= 1 + call.policy.max_retries + adapted, words
        attempts = attempts_of(call)
        if attempts is not None:
            told = Counter(attempt.target for attempt in attempts if attempt.outcome != "skipped")
            assert told == seen, f"{_who(call)}: the vendors saw {seen}, the record tells of {told}"


def check_i02(history: History) -> None:
    """After a quota reply the next target is asked at once. The one that gave it is asked again in this call only where
    nobody else is left, and not before its hint is over; after an exhausted account never.
    """
    for call in history.calls:
        for number, visit in enumerate(call.visits):
            if not isinstance(visit.failure, QuotaFailure):
                continue
            again = next((other for other in call.visits[number + 1 :] if other.vendor == visit.vendor), None)
            if again is not None:
                _check_asked_again(call, visit, again)
            if any(other is not visit and other.began <= visit.ended < other.ended for other in call.visits):
                continue  # another attempt is under way
            after = next((told for told in call.told if told[0] >= visit.ended and _goes_on(told[1])), None)
            if after is not None:
                waits = isinstance(after[1], RetryScheduled) and (after[0], after[1].target) not in quick_waits(call)
                waits = waits and (call.policy.switch_first or after[1].target == visit.vendor)  # else in its turn
                waits = waits and not set(call.route) <= come_to(call, visit.ended)
                late = after[0] - visit.ended > MARGIN
                assert not waits, f"{_who(call)} waited at {after[0]} beside a target that it had not come to"
                assert not late, f"{_who(call)} went on {after[0] - visit.ended} s after a quota reply"


def _check_asked_again(call: CallRecord, visit: Visit, again: Visit) -> None:
    words = f"{_who(call)} asked {visit.vendor} again at {again.began}, after {visit.failure!r} at {visit.ended}"
    assert isinstance(visit.failure, RateLimited), words
    others = set(call.route) - come_to(call, again.began)
    assert not others, f"{words}: it had not come to {others}"
    hint = visit.failure.retry_after
    assert hint is not None or call.policy.switch_first, f"{words}, which gave no hint"
    assert (hint or 0.0) <= call.policy.max_delay, f"{words}, longer than it may wait"
    assert again.began >= visit.ended + (hint or 0.0) - ROUNDING, f"{words}: before its hint was over"


def check_i03(history: History) -> None:
    """The k-th wait is min(retry_delay * 2**k, max_delay); jitter only makes it shorter, a hint only longer. Besides
    there are short ones: quick retries, and those for a target that rests where nobody else is left.
    """
    for call in history.calls:
        quick = quick_waits(call)
        for at, event in call.told:
            if isinstance(event, RetryScheduled) and (at, event.target) not in quick:
                _check_wait(call, at, event, sum(when < at and target == event.target for when, target in quick))
        for attempt in attempts_of(call) or ():
            if attempt.wait and attempt.number:
                waits = [e.wait for _, e in call.told if isinstance(e, RetryScheduled) and e.target == attempt.target]
                assert attempt.wait in waits, (
                    f"{_who(call)}: the record tells of a wait of {attempt.wait}, not of {waits}"
                )


def _check_wait(call: CallRecord, at: float, event: RetryScheduled, quick: int) -> None:
    policy = call.policy
    if isinstance(event.failure, TargetResting):  # nobody else is left, and this one is free again soon
        rest = min(event.failure.retry_after or 0.0, policy.max_delay + SLICE)
        assert event.wait <= rest + ROUNDING, f"{_who(call)} waited {event.wait} s for {event.failure}"
        return
    formula = min(policy.retry_delay * 2 ** (event.retry - quick - 1), policy.max_delay)
    hint = event.failure.retry_after or 0.0
    limited = isinstance(event.failure, RateLimited)  # waited for only where nobody else is left
    if limited:
        formula = max(formula, policy.retry_delay) if event.failure.retry_after is None else hint
    most = max(formula, hint)
    words = f"{_who(call)} waited {event.wait} s before retry {event.retry}, formula {formula}, hint {hint}"
    assert event.wait <= min(most, max(policy.max_delay, policy.retry_delay)) + ROUNDING, words
    since = max((visit.ended for visit in _visits_of(call, event.target) if visit.ended <= at), default=None)
    assert since is not None, f"{_who(call)} retries {event.target}, which it has not asked"
    if not policy.switch_first and policy.hedge_after is None and not limited:
        meanwhile = at - since if _others_between(call, event.target, since, at) else 0.0
        assert event.wait >= hint - meanwhile - ROUNDING, words
        if policy.jitter == "none":
            exact = abs(event.wait - max(most - meanwhile, 0.0)) < (MARGIN if meanwhile else ROUNDING)
            assert exact, f"{words}, {meanwhile} s after its failure"
        elif hint < formula:
            assert event.wait < formula, words
    assert at + event.wait >= since + hint - ROUNDING, f"{words}: it came back before the hint was over"


def _others_between(call: CallRecord, target: str, since: float, until: float) -> bool:
    """Whether the call dealt with others between a target's failure and its wait: the wait is shorter by that time."""
    asked = any(v.vendor != target and v.began < until + ROUNDING and v.ended >= since for v in call.visits)
    return asked or any(isinstance(e, RetryScheduled) and since <= at < until for at, e in call.told)


def check_quick(history: History) -> None:
    """A target is retried quickly at most quick_retries times in a call, within a second or the vendor's short hint,
    before anybody else is asked; and only after a transient failure that came fast.
    """
    for call in history.calls:
        quick = Counter(target for _, target in quick_waits(call))
        for target, times in quick.items():
            most = call.policy.quick_retries
            assert times <= most, f"{_who(call)} retried {target} quickly {times} times, {most} are allowed"
        for at, event in call.told:
            if not isinstance(event, AttemptStarted) or not event.reason.startswith(QUICK):
                continue
            before = [visit for visit in call.visits if visit.began < at]
            last = max((visit for visit in before if visit.vendor == event.target), key=lambda visit: visit.ended)
            words = f"{_who(call)} retried {event.target} quickly at {at}, after {last.failure!r} at {last.ended}"
            hint = last.failure.retry_after or 0.0 if last.failure is not None else 0.0
            passing = last.failure is None or last.failure.scope is Scope.TRANSIENT  # None for a stream that just ends
            assert passing, words
            assert last.outcome == "failed", f"{words}: it was given up"
            assert last.ended - last.began <= FAST + ROUNDING, (
                f"{words}, {last.ended - last.began} s after it was asked"
            )
            together = [other.ended for other in before if last.ended < other.ended <= at + MARGIN]
            assert at - max(last.ended, *together, 0.0) <= max(1.5 * SOON, hint) + MARGIN, words
            assert hint <= SHORT_HINT, f"{words}, which gave a long hint"
            beside = {e.target for _, e in call.told if isinstance(e, AttemptStarted) and e.reason.startswith(BESIDE)}
            between = {other.vendor for other in before if other.began >= last.ended}
            between -= come_to(call, last.ended) | beside
            assert not between, f"{words}, and asked {between} meanwhile"


def quick_waits(call: CallRecord) -> set[tuple[float, str]]:
    """Return the waits before quick retries, when each began and for whom: a retry's number does not count them."""
    return {
        (at, event.target)
        for at, event in call.told
        if isinstance(event, RetryScheduled) and not event.retry and not isinstance(event.failure, TargetResting)
    }


def check_i04(history: History) -> None:
    """No wait begins that ends past the deadline, and the call ends within 50 ms of it, whatever a vendor does."""
    for call in history.calls:
        if call.policy.deadline is None:
            continue
        assert call.ended <= call.deadline + MARGIN, f"{_who(call)} ended {call.ended - call.deadline} s late"
        for visit in call.visits:
            assert visit.began < call.deadline, f"{_who(call)} asked {visit.vendor} after its deadline"
        for at, event in call.told:
            if isinstance(event, AttemptStarted) and event.reason.startswith("hedge:"):
                left = call.deadline - at
                assert left > call.policy.minimum_attempt - MARGIN, f"{_who(call)} asked another one {left} s before it"
            if isinstance(event, RetryScheduled):
                end = at + event.wait
                assert end < call.deadline, f"{_who(call)} waits until {end}, its deadline is {call.deadline}"


def check_i05(history: History) -> None:
    """After a failure of the request itself nothing more is sent in this call; nor after a refusal, if so wanted."""
    for call in history.calls:
        for number, visit in enumerate(call.visits):
            refused = isinstance(visit.failure, RequestRefused) and visit.failure.adaptation is None
            if not isinstance(visit.failure, RequestFailure) and (call.policy.switch_on_refusal or not refused):
                continue
            if isinstance(visit.failure, ContentBlocked) and call.policy.switch_on_content_blocked:
                continue
            later = [other for other in call.visits[number + 1 :] if other.began >= visit.ended]
            assert not later, f"{_who(call)} went on after {visit.failure!r}"


def check_i06(history: History) -> None:
    """Targets are come to in the route's order, each when the one before it has ended or was skipped; only beside a
    probe, or beside one that is late where the policy says so, another one is asked, and never a third.
    """
    for call in history.calls:
        hedging = call.policy.hedge_after is not None
        reasons = {event.target: event.reason for _, event in reversed(call.told) if isinstance(event, AttemptStarted)}
        beside = {target for target, reason in reasons.items() if reason.startswith(BESIDE)}
        first = list(dict.fromkeys(e.target for _, e in call.told if isinstance(e, AttemptStarted | TargetSkipped)))
        first = [target for target in first if target not in beside]
        expected = [target for target in call.route if target not in beside]
        if not hedging:
            assert first == expected[: len(first)], f"{_who(call)} came to {first} on {call.route}"
        for one, other in pairwise(call.visits):
            alone = other.began >= one.ended or hedging or one.lease.probe > 0
            assert alone, f"{_who(call)} asked {other.vendor} before {one.vendor} had ended"
        for visit in call.visits:
            together = sum(other.began <= visit.began < other.ended for other in call.visits)
            assert together <= 2, f"{_who(call)} asked {together} targets at once"


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
    """A success carries the text of one reply that its vendor gave to this call, byte for byte; and it has a string."""
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
    """When a caller gives up, nothing is sent any more, what is under way is closed, and leases and retries go back. A
    probe that another target overtook goes on by itself, and gives back at its own end.
    """
    if "store" not in history.episodes:
        _check_leases(history)
    for call in history.calls:
        alone = left_to_end(call)
        open_ = set(call.open) - alone
        assert not open_, f"{_who(call)} ended at {call.ended}, and {open_} are not closed"
        for visit in call.visits:
            assert visit.began <= call.ended, f"{_who(call)} ended at {call.ended}, and asked {visit.vendor} later"
            assert visit.ended <= call.ended or visit.vendor in alone, (
                f"{_who(call)} ended at {call.ended}, {visit.vendor} is asked until {visit.ended}"
            )
        held = None
        for at, what in (*call.retries, (call.ended, "granted")):
            if what == "granted":
                kept = held is not None and not any(held <= visit.began <= at for visit in call.visits)
                assert not kept, f"{_who(call)} took a retry at {held}, and neither made it nor gave it back"
            held = {"granted": at, "given back": None, "refused": held}[what]


def left_to_end(call: CallRecord) -> set[str]:
    """Return the targets of a call whose probes went on by themselves, since another target answered."""
    attempts = attempts_of(call)
    if attempts is not None:
        return {attempt.target for attempt in attempts if attempt.outcome == "left to end"}
    # The caller left before there was a record.
    return {one.vendor for one in call.visits if one.lease.probe and _overlaps(call, one)}


def _overlaps(call: CallRecord, visit: Visit) -> bool:
    return any(visit.began <= other.began < visit.ended for other in call.visits if other is not visit)


def _check_leases(history: History) -> None:
    """What a call takes of a target, be it the probe or a slot, it gives back before its end."""
    held: dict[tuple[str, int, int, int], int] = {}
    for entry in history.store_log:
        if isinstance(entry, Flushed) or not (entry.lease.probe or entry.lease.slot):
            continue
        key = entry.target, entry.call, entry.lease.probe, entry.lease.slot
        held[key] = held.get(key, 0) + (1 if isinstance(entry, Taken) else -1)
        call = history.calls[entry.call]
        on_time = entry.at <= call.ended + MARGIN or entry.target.partition("/")[0] in left_to_end(call)
        assert on_time, f"{_who(call)} gave {entry.target} back at {entry.at}, after its end"
        if isinstance(entry, Given) and not call.left:
            for visit in call.visits:
                if visit.lease is entry.lease:
                    _check_on_time(call, visit, entry.at)
    for (target, number, _, _), times in held.items():
        assert not times or history.calls[number].died, f"{_who(history.calls[number])} keeps a lease of {target}"


def _check_on_time(call: CallRecord, visit: Visit, at: float) -> None:
    """A lease is given back when its attempt ends; that of a probe with its first piece, if no slot hangs on it."""
    first = visit.pieces[0] if visit.pieces and not visit.lease.slot else visit.ended
    words = f"{_who(call)} gave {visit.vendor} back at {at}, asked until {visit.ended}, first piece at {first}"
    assert abs(at - min(first, visit.ended)) <= MARGIN, words


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
    """An eager call waits for no target while it has not come to all of them, but a moment before a quick retry."""
    for call in history.calls:
        if not call.policy.switch_first:
            continue
        quick = quick_waits(call)
        for at, event in call.told:
            if isinstance(event, RetryScheduled) and (at, event.target) not in quick:
                others = set(call.route) - come_to(call, at)
                assert not others, f"{_who(call)} waited at {at}, and had not come to {others}"


def check_hints(history: History) -> None:
    """A call does not fail while the short hint of a target could be waited for, nobody else being left."""
    for call in history.calls:
        if call.response is None or not isinstance(call.response.failure, AllProvidersFailed):
            continue
        for target in call.route:
            own = [attempt for attempt in call.response.attempts if attempt.target == target]
            last = own[-1] if own else None
            if last is None or not isinstance(last.failure, RateLimited) or last.failure.retry_after is None:
                continue
            visits = list(_visits_of(call, target))
            asked = len(visits) - any(visit.adapted for visit in visits)
            short = last.failure.retry_after <= call.policy.max_delay and asked <= call.policy.max_retries
            given_up = short and not last.decision and call.ended < call.deadline - MARGIN
            assert not given_up, f"{_who(call)} failed, and had not waited for {last.failure!r} of {target}"


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


def come_to(call: CallRecord, until: float) -> set[str]:
    """Return the targets that were asked or skipped by then."""
    events = (event for at, event in call.told if at <= until)
    return {event.target for event in events if isinstance(event, AttemptStarted | TargetSkipped)}


def _goes_on(event: object) -> bool:
    return isinstance(event, AttemptStarted | RetryScheduled | TargetSkipped)


def _continued(call: CallRecord) -> bool:
    return any(isinstance(event, Continuation) for _, event in call.pieces)


def _who(call: CallRecord) -> str:
    return f"call {call.number} of client {call.client} at {call.arrived:.3f}"
