"""Many callers and a dead provider, through the real SDKs over sockets: what arrives there while its breaker is open,
when its time is over, and when it is healed.

The breaker's seconds pass at once: the health store has a clock of its own, which the tests put forward. Who answers
first is said by a gate, wherever anything hangs on it.
"""

import asyncio
from collections import Counter

import pytest
from gates import PATIENCE, Gate, happens
from staging import AWAITED, Clock, connections_end, ways

from understudy import Policy
from understudy.events import AttemptFailed
from understudy.health import InMemoryHealthStore
from understudy.testing import no_waiting
from understudy_sandbox import faults

HERD = 50
OPEN = 5.5  # seconds: the longest that a breaker is open for the first time, jitter included
AGAIN = 8.5, 9.35  # seconds that it is open after a failed probe: the least, and the most
COOL = 8.8  # seconds: the longest hint that the eager policy believes
EAGER = Policy.eager()
PATIENT = Policy.patient(max_retries=0)

primaries = pytest.mark.parametrize("primary", ["gemini", "claude"])


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()  # nobody is held back for longer than a test


def open_stage(stage, clock, gate, policy=EAGER, primary="gemini", held="echo"):
    """Put a real SDK first, and a provider second that answers at once, without a socket; a gate holds one of them."""
    stage.sandbox.reset()
    cast = [gate.before(stage.providers[name]) if name == held else name for name in (primary, "echo")]
    stage.open(cast, policy, health_store=InMemoryHealthStore(clock), extensions=[gate])


def break_down(stage, how, failures=8):
    """Fail until the breaker opens, and forget what was counted."""
    stage.primary.always(faults.server_error())
    with no_waiting():
        for _ in range(failures):
            if state_of(stage) == "closed":
                stage.ask(how)
    assert state_of(stage) == "open"
    assert stage.primary.request_count == failures
    stage.primary.reset()


def health_of(stage):
    return stage.factory.get_provider_status()["primary"]["health"]


def state_of(stage):
    return health_of(stage)["state"]


def becomes(stage, state):
    return happens(stage, lambda: state_of(stage) == state)


def parts(call):
    return [(attempt.target, attempt.outcome) for attempt in call.attempts]


def send_herd(stage, how):
    """Let many call at once; return how often each provider answered, and what became of the primary's part."""
    calls = stage.ask_at_once(how, [stage.factory] * HERD)
    of_primary = [part.outcome for call in calls for part in call.attempts if part.target == stage.cast[0]]
    return Counter(call.response.provider_name for call in calls), Counter(of_primary)


@ways
def test_a_herd_when_its_time_is_over_sends_one_probe_that_nobody_waits_for(stage, clock, gate, how):
    for policy, failures in ((EAGER, 8), (PATIENT, 10)):
        open_stage(stage, clock, gate, policy)
        break_down(stage, how, failures)
        assert send_herd(stage, how) == ({"echo": HERD}, {"skipped": HERD})
        assert stage.primary.request_count == 0
        clock.forward += OPEN
        stage.primary.always(faults.black_hole())
        assert send_herd(stage, how) == ({"echo": HERD}, {"left to end": 1, "skipped": HERD - 1})
        assert happens(stage, lambda: stage.primary.request_count == 1)
        assert state_of(stage) == "half-open"
        stage.primary.hang_up()
        assert becomes(stage, "open")
        assert AGAIN[0] <= health_of(stage)["free_in"] <= AGAIN[1]
        assert send_herd(stage, how) == ({"echo": HERD}, {"skipped": HERD})
        assert stage.primary.request_count == 1


@ways
def test_a_herd_at_a_healed_provider_lets_the_probe_go_first(stage, clock, gate, how):
    open_stage(stage, clock, gate, held="gemini")
    break_down(stage, how)
    clock.forward += OPEN
    gate.shut()
    assert send_herd(stage, how) == ({"echo": HERD}, {"left to end": 1, "skipped": HERD - 1})
    assert (state_of(stage), stage.primary.request_count) == ("half-open", 0)
    gate.open()
    assert becomes(stage, "closed")
    assert stage.primary.request_count == 1
    assert send_herd(stage, how) == ({"gemini": HERD}, {"succeeded": HERD})


@ways
def test_after_a_cooldown_all_may_ask_and_after_another_one_asks_for_all(stage, clock, gate, how):
    open_stage(stage, clock, gate)
    refuse(stage, how)
    assert send_herd(stage, how) == ({"echo": HERD}, {"skipped": HERD})
    assert stage.primary.request_count == 3
    clock.forward += COOL
    stage.primary.reset()
    assert send_herd(stage, how) == ({"gemini": HERD}, {"succeeded": HERD})
    stage.primary.reset()
    clock.forward += 2 * COOL  # those answers do not weigh against refusals any more
    refuse(stage, how)
    clock.forward += COOL
    gate.shut(until=AttemptFailed)
    assert send_herd(stage, how) == ({"echo": HERD}, {"failed": 1, "skipped": HERD - 1})
    assert (state_of(stage), stage.primary.request_count) == ("cooling", 4)


def refuse(stage, how):
    """Have the primary refuse one call after another for its quota, until it is left alone."""
    stage.primary.always(faults.rate_limited(retry_after=30))
    for _ in range(3):  # so many show that it is not one call's bad luck
        assert state_of(stage) == "closed"
        assert parts(stage.call(how)) == [("gemini", "failed"), ("echo", "succeeded")]
    assert state_of(stage) == "cooling"
    assert health_of(stage)["free_in"] == pytest.approx(COOL)


@primaries
@ways
def test_healed_it_serves_again_after_one_answer(stage, clock, gate, primary, how):
    for policy, failures in ((EAGER, 8), (PATIENT, 10)):
        open_stage(stage, clock, gate, policy, primary)
        break_down(stage, how, failures)
        assert parts(stage.call(how)) == [(primary, "skipped"), ("echo", "succeeded")]
        clock.forward += OPEN
        gate.shut()
        probe = stage.call(how)
        gate.open()
        assert parts(probe) == [("echo", "cancelled"), (primary, "succeeded")]
        assert [attempt.breaker for attempt in probe.attempts] == ["closed", "half-open"]
        assert state_of(stage) == "closed"
        (attempt,) = stage.ask(how).attempts
        assert (attempt.target, attempt.outcome, attempt.breaker) == (primary, "succeeded", "closed")
        assert stage.primary.request_count == 2


@primaries
@ways
def test_a_failed_probe_costs_its_call_one_request_and_opens_for_longer(stage, clock, gate, primary, how):
    open_stage(stage, clock, gate, primary=primary)
    break_down(stage, how)
    stage.primary.always(faults.server_error())
    clock.forward += OPEN
    gate.shut(until=AttemptFailed)
    with no_waiting() as waits:
        response = stage.ask(how)
    assert (waits, stage.primary.request_count) == ([], 1)
    assert [(a.target, a.outcome, a.breaker) for a in response.attempts] == [
        (primary, "failed", "half-open"),
        ("echo", "succeeded", "closed"),
    ]
    assert response.attempts[1].reason == f"beside the probe of {primary}"
    assert state_of(stage) == "open"
    assert AGAIN[0] <= health_of(stage)["free_in"] <= AGAIN[1]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_the_first_piece_of_a_probe_is_enough(stage, clock, gate, how):
    """It is requested as a stream internally: it may write for minutes, and others need not wait for that."""
    open_stage(stage, clock, gate)
    break_down(stage, how)
    clock.forward += OPEN
    stage.primary.hang_up()
    stage.primary.next(faults.stall(after=2))
    assert parts(stage.call(how)) == [("gemini", "left to end"), ("echo", "succeeded")]
    assert becomes(stage, "closed")
    assert stage.primary.open_connections == 1  # it is still being written
    assert stage.ask(how).provider_name == "gemini"


@pytest.mark.parametrize("how", AWAITED)
def test_a_caller_that_leaves_takes_its_probe_along_and_the_next_call_probes(stage, clock, gate, how):
    open_stage(stage, clock, gate)
    break_down(stage, how)
    clock.forward += OPEN
    stage.primary.hang_up()
    stage.primary.next(faults.black_hole())
    gate.shut()

    async def leave():
        stream = stage.factory.astream_content("hello")
        task = asyncio.create_task(stage.factory.agenerate_content("hello") if how == "async" else anext(stream))
        async with asyncio.timeout(PATIENCE):
            while stage.primary.request_count == 0:
                await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    stage.loop.run_until_complete(leave())
    assert connections_end(stage.primary, PATIENCE)
    assert state_of(stage) == "half-open"
    call = stage.call(how)
    assert parts(call) == [("echo", "cancelled"), ("gemini", "succeeded")]
    assert call.attempts[1].breaker == "half-open"
    assert stage.primary.request_count == 2


@ways
def test_where_everybody_rests_each_is_asked_all_the_same(stage, clock, how):
    policy = Policy.eager(quota_calls=1, longest_hint=300)
    stage.open(["gemini", "claude"], policy, health_store=InMemoryHealthStore(clock))
    for stand_in, seconds in ((stage.primary, 200), (stage.fallback, 100)):
        stand_in.next(faults.rate_limited(retry_after=seconds))
    with no_waiting() as waits:
        assert not stage.ask(how).success
        stage.sandbox.reset()
        response = stage.ask(how)
        assert (response.provider_name, stage.counts) == ("claude", [0, 1])
        assert [a.outcome for a in response.attempts] == ["skipped", "skipped", "succeeded"]
        assert response.attempts[-1].reason == "no other target is left, this one is free soonest"
        stage.fallback.next(faults.server_error())
        response = stage.ask(how)
    assert (response.provider_name, stage.counts) == ("gemini", [1, 2])
    assert parts(response)[2:] == [("claude", "failed"), ("gemini", "succeeded")]
    assert waits == []
