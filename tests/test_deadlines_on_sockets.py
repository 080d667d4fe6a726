"""When calls end whose vendors hang, stall or dribble, through the real SDKs over sockets, in all four ways.

All vendors fail at the same time, each asked by a factory of its own. Where another program had the processors, a
measurement is made again, ten times at most: it is of how soon a call can end, and not of how busy the machine is.
"""

import threading
import time

import pytest
from staging import STREAMS, streams, ways

from understudy import LLMProvider, LLMResponse, Policy, Restart, StreamInterrupted, Timeout
from understudy_sandbox import faults

VENDORS = ["gemini", "claude", "openai", "cohere", "ollama"]
LIMIT = 0.12  # seconds: of whatever is tested
LATE = 0.05  # seconds that a call may end later than that
EARLY = 0.005  # seconds by which one clock may be ahead of another
BROKEN = 3  # seconds later, it is not the machine
TRIES = 10
HANGS = [faults.black_hole(), faults.stall(0), faults.stall(after=2), faults.dribble(0.01, size=1)]
SILENCES = [faults.black_hole(), faults.stall(0), faults.slow_first_token(60), faults.dribble(0.01, size=1)]

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


def measure(stage, how, fault, policy, others=(), seconds=LIMIT, duration=None, **arguments):
    """Ask every vendor while it fails, until each call took as long as expected; return the calls."""
    stand_ins = [stage.sandbox[name] for name in VENDORS]
    for _ in range(TRIES):
        stage.sandbox.reset()
        for stand_in in stand_ins:
            stand_in.always(fault)
        factories = [stage.open([name, *others], policy) for name in VENDORS]
        calls = stage.ask_at_once(how, factories, **arguments)
        took = {name: duration(call) if duration else call.seconds for name, call in zip(VENDORS, calls, strict=True)}
        asked = [one.request_count for one in stand_ins]
        longest = max(took.values())
        if longest > seconds + BROKEN or (longest < seconds + LATE and asked == [1] * len(VENDORS)):
            break
    assert {name: time for name, time in took.items() if not seconds - EARLY < time < seconds + LATE} == {}
    assert asked == [1] * len(VENDORS)
    return calls


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
    for call in measure(stage, how, fault, Policy.eager(deadline=LIMIT)):
        assert isinstance(failure_of(call), Timeout), failure_of(call)


@ways
@pytest.mark.parametrize("preset", ["patient", "eager"])
def test_the_deadline_of_one_call(stage, warm, how, preset):
    for call in measure(stage, how, faults.dribble(0.01, size=1), preset, deadline=LIMIT):
        assert isinstance(failure_of(call), Timeout), failure_of(call)


@streams
def test_pieces_that_keep_coming_do_not_move_the_deadline(stage, warm, how):
    for _ in range(TRIES):
        calls = measure(stage, how, faults.dribble(0.01), Policy.eager(deadline=LIMIT))
        if all(call.error for call in calls):  # every stream had begun by then
            break
    for call in calls:
        assert call.error.partial or call.events
        assert isinstance(failure_of(call), Timeout)


@ways
@silences
def test_silence_costs_its_timeout_and_no_more(stage, warm, how, fault):
    limits = {"first_token_timeout": LIMIT} if how in STREAMS else {"attempt_timeout": LIMIT}
    for call in measure(stage, how, fault, Policy.eager(**limits), ["echo"]):
        first, second = call.response.attempts
        assert (call.response.provider_name, second.wait) == ("echo", 0.0)
        assert isinstance(first.failure, Timeout)
        assert LIMIT - EARLY < first.seconds < LIMIT + LATE


@streams
def test_a_stall_in_the_middle_costs_the_idle_timeout(stage, warm, how):
    policy = Policy.eager(idle_timeout=LIMIT, stream_recovery="restart")
    for call in measure(stage, how, faults.stall(after=2), policy, ["echo"], duration=silence_of):
        assert call.response.provider_name == "echo"
        (restart,) = [event for event in call.events if isinstance(event, Restart)]
        assert isinstance(restart.failure.__cause__, Timeout)
        assert restart.failure.partial


def silence_of(call):
    """Return the seconds between the last piece of a stream that broke and what came next."""
    next_one = [isinstance(event, Restart) for event in call.events].index(True)
    return call.moments[next_one] - call.moments[next_one - 1]


@ways
def test_a_deadline_leaves_the_backup_its_share(stage, warm, how):
    for call in measure(stage, how, faults.black_hole(), Policy.eager(deadline=2 * LIMIT), ["echo"]):
        assert call.response.provider_name == "echo"


@ways
def test_where_everybody_hangs_the_deadline_is_shared_out(stage, warm, how):
    for _ in range(TRIES):
        stage.begin(VENDORS[:3], Policy.eager(deadline=3 * LIMIT, max_retries=0), *[faults.black_hole()] * 3)
        response = stage.ask(how)
        took = [attempt.seconds for attempt in response.attempts]
        if stage.seconds < 3 * LIMIT + LATE and max(took) < LIMIT + LATE:
            break
    assert 3 * LIMIT - EARLY < stage.seconds < 3 * LIMIT + LATE
    assert response.error == "All LLM providers failed: [gemini: timeout, claude: timeout, openai: timeout]"
    assert stage.counts == [1, 1, 1]
    assert took[0] > LIMIT - EARLY
    assert max(took) < LIMIT + LATE


@ways
def test_no_wait_goes_beyond_the_deadline(stage, warm, how):
    policy = Policy.eager(deadline=LIMIT, retry_delay=1.5 * LIMIT, jitter="none")
    for _ in range(TRIES):
        stage.begin(["gemini", "claude"], policy, faults.server_error(), faults.server_error())
        response = stage.ask(how)
        if stage.seconds < LIMIT:
            break
    assert stage.seconds < LIMIT  # nobody is waited for in vain, either
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
    deadline = LIMIT * (1 + len(others))
    for _ in range(TRIES):
        stage.open([sleeper, *others], Policy.eager(deadline=deadline))
        call = stage.call(how)
        if call.error is None and call.seconds < LIMIT + LATE:
            break
    assert LIMIT - EARLY < call.seconds < LIMIT + LATE
    assert isinstance(call.attempts[0].failure, Timeout)
    assert call.response.success == bool(others)


@ways
def test_what_it_says_later_is_heard_by_nobody(stage, sleeper, how):
    stage.open([sleeper, "echo"], Policy.eager(attempt_timeout=0.05))
    response = stage.ask(how)
    sleeper.awake.set()
    time.sleep(0.02)
    assert response.provider_name == "echo"
    assert "dreams" not in response.content
    assert stage.text == (response.content if how in STREAMS else "")
