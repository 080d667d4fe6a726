"""When calls end whose vendors hang, stall or dribble, through the real SDKs over sockets, in all four ways.

All vendors fail at the same time, each asked by a factory of its own. Where another program had the processors, a
measurement is made again, at last with more seconds: it is of when a call ends, and not of how busy the machine is.
"""

import threading
import time

import pytest
from staging import STREAMS, streams, ways

from understudy import LLMProvider, LLMResponse, Policy, Restart, StreamInterrupted
from understudy.errors import Timeout
from understudy_sandbox import faults

VENDORS = ["gemini", "claude", "openai", "cohere", "ollama"]
LIMITS = (0.12, 0.12, 0.12, 0.5, 2.0)  # seconds of whatever is tested: the next, where a call ended later
LATE = 0.4  # times so many seconds that a call may end later than that
EARLY = 0.005  # seconds by which one clock may be ahead of another
HANGS = [faults.black_hole(), faults.stall(0), faults.stall(after=2), faults.dribble(0.01, size=1)]
SILENCES = [faults.black_hole(), faults.stall(0), faults.slow_first_token(60), faults.dribble(0.01, size=1)]

pytestmark = pytest.mark.timing  # on the virtual clock the core's own tests see the same
hangs = pytest.mark.parametrize("fault", HANGS, ids=str)
silences = pytest.mark.parametrize("fault", SILENCES, ids=str)


@pytest.fixture(scope="module")
def warmed_up():
    return set()


@pytest.fixture
def warm(stage, how, warmed_up):
    if how not in warmed_up:
        stage.warm_up(how, *VENDORS)
    warmed_up.add(how)


def is_on_time(seconds, limit):
    return limit - EARLY < seconds < limit * (1 + LATE)


def measure(stage, how, fault, policy, others=(), duration=None, good=None, arguments=None):
    """Ask every vendor while it fails, until each call took as long as expected.

    Args:
        stage, how, fault: where, in which way, and what every vendor does.
        policy: makes the policy, of the seconds that a call is to take.
        others: who comes after the vendor.
        duration: of a call; all of it by default.
        good: says whether the calls went as they were meant to.
        arguments: makes the arguments of a call, of the same seconds.

    Returns:
        The seconds that each call was to take, and the calls.
    """
    stand_ins = [stage.sandbox[name] for name in VENDORS]
    for limit in LIMITS:
        stage.sandbox.reset()
        for stand_in in stand_ins:
            stand_in.always(fault)
        factories = [stage.open([name, *others], policy(limit)) for name in VENDORS]
        calls = stage.ask_at_once(how, factories, **(arguments(limit) if arguments else {}))
        asked = [one.request_count for one in stand_ins]
        went_well = asked == [1] * len(VENDORS) and (good is None or all(good(call) for call in calls))
        took = (
            {}
            if not went_well
            else {name: duration(call) if duration else call.seconds for name, call in zip(VENDORS, calls, strict=True)}
        )
        if took and all(is_on_time(seconds, limit) for seconds in took.values()):
            break
    assert asked == [1] * len(VENDORS)
    assert went_well
    assert {name: seconds for name, seconds in took.items() if not is_on_time(seconds, limit)} == {}
    return limit, calls


def failure_of(call):
    """Return what ended a call's only attempt."""
    if isinstance(call.error, StreamInterrupted):
        return call.error.__cause__
    assert call.response is not None
    assert not call.response.success
    (attempt,) = call.response.attempts
    return attempt.failure


@ways
@hangs
def test_a_call_ends_at_its_deadline(stage, warm, how, fault):
    _, calls = measure(stage, how, fault, lambda limit: Policy.eager(deadline=limit))
    for call in calls:
        assert isinstance(failure_of(call), Timeout), failure_of(call)


@ways
def test_the_deadline_of_one_call(stage, warm, how):
    for policy in (Policy.patient(), Policy.eager()):
        fault = faults.dribble(0.01, size=1)
        _, calls = measure(
            stage, how, fault, lambda _, policy=policy: policy, arguments=lambda limit: {"deadline": limit}
        )
        for call in calls:
            assert isinstance(failure_of(call), Timeout), failure_of(call)


@streams
def test_pieces_that_keep_coming_do_not_move_the_deadline(stage, warm, how):
    """Every stream has begun by then."""
    fault = faults.dribble(0.01)
    _, calls = measure(stage, how, fault, lambda limit: Policy.eager(deadline=limit), good=lambda call: call.error)
    for call in calls:
        assert call.error.partial or call.events
        assert isinstance(failure_of(call), Timeout)


@ways
@silences
def test_silence_costs_its_timeout_and_no_more(stage, warm, how, fault):
    name = "first_token_timeout" if how in STREAMS else "attempt_timeout"
    limit, calls = measure(stage, how, fault, lambda limit: Policy.eager(**{name: limit}), ["echo"], good=is_answered)
    for call in calls:
        first, second = call.response.attempts
        assert (call.response.provider_name, second.wait) == ("echo", 0.0)
        assert isinstance(first.failure, Timeout)
        assert is_on_time(first.seconds, limit)


@streams
def test_a_stall_in_the_middle_costs_the_idle_timeout(stage, warm, how):
    def policy(limit):
        return Policy.eager(idle_timeout=limit, stream_recovery="restart")

    _, calls = measure(stage, how, faults.stall(after=2), policy, ["echo"], duration=silence_of, good=is_answered)
    for call in calls:
        assert call.response.provider_name == "echo"
        (restart,) = [event for event in call.events if isinstance(event, Restart)]
        assert isinstance(restart.failure.__cause__, Timeout)
        assert restart.failure.partial


def is_answered(call):
    """Whether nothing healthy was given up for the time that it took."""
    return call.error is None and call.response.success


def silence_of(call):
    """Return the seconds between the last piece of a stream that broke and what came next."""
    next_one = [isinstance(event, Restart) for event in call.events].index(True)
    return call.moments[next_one] - call.moments[next_one - 1]


@ways
def test_a_deadline_leaves_the_backup_its_turn(stage, warm, how):
    """The first has twice as long for itself as the other. The eager policy does not cut it off then."""
    for preset, outcome in ((Policy.eager, "cancelled"), (Policy.patient, "failed")):
        _, calls = measure(
            stage,
            how,
            faults.black_hole(),
            lambda limit, preset=preset: preset(deadline=1.5 * limit, max_retries=0),
            ["echo"],
            good=is_answered,
        )
        for call in calls:
            first, second = call.response.attempts
            assert (first.outcome, second.target, second.outcome) == (outcome, "echo", "succeeded")


@ways
def test_where_everybody_hangs_the_deadline_is_shared_out(stage, warm, how):
    """Each has twice as long for itself as each of those who come after it; the eager policy lets the first go on."""
    for preset, shares in ((Policy.eager, [6, 2, 1]), (Policy.patient, [3, 2, 1])):
        for limit in LIMITS:
            policy = preset(deadline=6 * limit, max_retries=0)
            stage.begin(VENDORS[:3], policy, *[faults.black_hole()] * 3)
            response = stage.ask(how)
            took = {attempt.target: attempt.seconds for attempt in response.attempts}
            right = stage.counts == [1, 1, 1] and is_on_time(stage.seconds, 6 * limit)
            limits = {name: share * limit for name, share in zip(VENDORS, shares, strict=False)}
            if right and all(is_on_time(took[name], limits[name]) for name in took):
                break
        assert stage.counts == [1, 1, 1]
        assert is_on_time(stage.seconds, 6 * limit)
        assert {name: seconds for name, seconds in took.items() if not is_on_time(seconds, limits[name])} == {}
        assert not response.success
        assert {type(attempt.failure) for attempt in response.attempts} == {Timeout}


@ways
def test_no_wait_goes_beyond_the_deadline(stage, warm, how):
    for limit in LIMITS:
        policy = Policy.eager(deadline=limit, retry_delay=1.5 * limit, jitter="none", quick_retries=0)
        stage.begin(["gemini", "claude"], policy, faults.server_error(), faults.server_error())
        response = stage.ask(how)
        if stage.seconds < limit:
            break
    assert stage.seconds < limit  # nobody is waited for in vain, either
    assert stage.counts == [1, 1]
    assert [a.decision for a in response.attempts] == ["no retry: it would begin too late for the deadline"] * 2


class Sleeper(LLMProvider):
    """Three methods, one of which does not end before it is woken."""

    def __init__(self):
        self.awake = threading.Event()

    def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
        self.awake.wait(20)
        return LLMResponse(True, "What dreams may come", "sleeper")

    def get_provider_name(self):
        return "sleeper"

    def is_available(self):
        return True


@pytest.fixture
def sleeper():
    sleeper = Sleeper()
    yield sleeper
    sleeper.awake.set()


@ways
@pytest.mark.parametrize("others", [[], ["echo"]], ids=["alone", "then echo"])
def test_a_provider_of_three_methods_that_sleeps(stage, sleeper, how, others):
    for limit in LIMITS:
        stage.open([sleeper, *others], Policy.eager(deadline=1.5 * limit if others else limit))
        call = stage.call(how)
        if call.error is None and is_on_time(call.seconds, limit):
            break
    assert is_on_time(call.seconds, limit)
    assert call.response.success == bool(others)
    first = call.attempts[0]
    assert (first.target, first.outcome) == ("sleeper", "cancelled" if others else "failed")
    assert others or isinstance(first.failure, Timeout)


@ways
def test_what_it_says_later_is_heard_by_nobody(stage, sleeper, how):
    for limit in LIMITS:
        stage.open([sleeper, "echo"], Policy.eager(attempt_timeout=limit))
        call = stage.call(how)
        if is_answered(call):  # echo has as long for itself, and for each of its pieces
            break
    sleeper.awake.set()
    time.sleep(0.02)
    assert call.response.provider_name == "echo"
    assert "dreams" not in call.response.content
    assert stage.text == (call.response.content if how in STREAMS else "")
