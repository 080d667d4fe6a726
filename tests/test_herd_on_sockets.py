"""Many callers and a dead provider, through the real SDKs over sockets: what arrives there while its breaker is open,
when its time is over, and when it is healed.

The breaker's 30 seconds pass at once: the health store has a clock of its own, which the tests put forward.
"""

import asyncio
from collections import Counter

import pytest
from staging import Clock, ways

from understudy import InMemoryHealthStore, Policy
from understudy.testing import no_waiting
from understudy_sandbox import faults

HERD = 50
OPEN = 33.0  # seconds: the longest that a breaker is open for the first time, jitter included
PRESETS = {"eager": Policy.eager(), "patient": Policy.patient(max_retries=0)}

primaries = pytest.mark.parametrize("primary", ["gemini", "claude"])
every_preset = pytest.mark.parametrize("preset", PRESETS)


@pytest.fixture
def clock():
    return Clock()


def open_stage(stage, primary, preset, clock):
    """Put a real SDK first, and a provider second that answers at once, without a socket."""
    stage.open([primary, "echo"], PRESETS[preset], health_store=InMemoryHealthStore(clock))


def break_down(stage, how):
    """Fail until the breaker opens, and forget what was counted."""
    stage.primary.always(faults.server_error())
    with no_waiting():
        for _ in range(10):
            stage.ask(how)
    assert state_of(stage) == "open"
    assert stage.primary.request_count == 10
    stage.primary.reset()


def state_of(stage):
    return stage.factory.get_provider_status()["primary"]["health"]["state"]


def parts(calls, target):
    """Return every part that a target had in some calls."""
    return [attempt for call in calls for attempt in call.response.attempts if attempt.target == target]


def send_herd(stage, how):
    """Let many call at once; return how often each provider answered, and what became of the primary."""
    calls = stage.ask_at_once(how, [stage.factory] * HERD)
    of_primary = parts(calls, stage.cast[0])
    assert sum(part.outcome != "skipped" for part in of_primary) == stage.primary.request_count
    return Counter(call.response.provider_name for call in calls), Counter(part.outcome for part in of_primary)


@ways
@every_preset
@pytest.mark.parametrize("fault", [faults.server_error(), faults.black_hole(0.2)], ids=str)
def test_a_herd_when_its_time_is_over_sends_one_probe(stage, clock, how, preset, fault):
    open_stage(stage, "gemini", preset, clock)
    break_down(stage, how)
    assert send_herd(stage, how) == ({"echo": HERD}, {"skipped": HERD})
    clock.forward += OPEN
    stage.primary.always(fault)
    assert send_herd(stage, how) == ({"echo": HERD}, {"failed": 1, "skipped": HERD - 1})
    assert stage.primary.request_count == 1
    assert state_of(stage) == "open"


@ways
def test_a_herd_after_a_cooldown_sends_one_probe(stage, clock, how):
    open_stage(stage, "gemini", "eager", clock)
    stage.primary.always(faults.rate_limited(retry_after=30))
    stage.ask(how)
    assert state_of(stage) == "cooling"
    clock.forward += 30
    stage.primary.reset()
    stage.primary.always(faults.rate_limited(retry_after=30))
    assert send_herd(stage, how) == ({"echo": HERD}, {"failed": 1, "skipped": HERD - 1})
    assert state_of(stage) == "cooling"


@pytest.mark.parametrize("how", ["sync", "astream"])
def test_a_herd_at_a_healed_provider_lets_the_probes_go_first(stage, clock, how):
    open_stage(stage, "gemini", "eager", clock)
    break_down(stage, how)
    clock.forward += OPEN
    stage.primary.always(faults.slow_first_token(0.6))  # longer than the herd takes
    assert send_herd(stage, how) == ({"gemini": 1, "echo": HERD - 1}, {"succeeded": 1, "skipped": HERD - 1})
    assert state_of(stage) == "half-open"
    stage.primary.heal()
    assert stage.ask(how).attempts[0].breaker == "half-open"
    assert state_of(stage) == "closed"
    stage.primary.reset()
    assert send_herd(stage, how) == ({"gemini": HERD}, {"succeeded": HERD})


@primaries
@ways
@every_preset
def test_healed_it_serves_again_after_two_probes(stage, clock, primary, how, preset):
    open_stage(stage, primary, preset, clock)
    break_down(stage, how)
    assert stage.ask(how).provider_name == "echo"
    clock.forward += OPEN
    responses = [stage.ask(how) for _ in range(3)]
    assert [response.provider_name for response in responses] == [primary] * 3
    assert [response.attempts[0].breaker for response in responses] == ["half-open", "half-open", "closed"]
    assert stage.primary.request_count == 3


@primaries
@ways
def test_a_failed_probe_costs_its_call_one_request_and_opens_for_twice_as_long(stage, clock, primary, how):
    open_stage(stage, primary, "eager", clock)
    break_down(stage, how)
    stage.primary.always(faults.server_error())
    clock.forward += OPEN
    with no_waiting() as waits:
        response = stage.ask(how)
    assert (waits, stage.primary.request_count) == ([], 1)
    assert [(a.target, a.outcome, a.breaker) for a in response.attempts] == [
        (primary, "failed", "half-open"),
        ("echo", "succeeded", "closed"),
    ]
    health = stage.factory.get_provider_status()["primary"]["health"]
    assert health["state"] == "open"
    assert 59 < health["free_in"] <= 66


@pytest.mark.parametrize("how", ["async", "astream", "stream"])
def test_a_probe_that_its_caller_gives_up_leaves_the_place_to_the_next(stage, clock, how):
    open_stage(stage, "gemini", "eager", clock)
    break_down(stage, "sync" if how == "stream" else how)
    clock.forward += OPEN
    stage.primary.next(faults.stall(after=2) if how == "stream" else faults.black_hole())

    async def leave():
        stream = stage.factory.astream_content("hello")
        task = asyncio.create_task(stage.factory.agenerate_content("hello") if how == "async" else anext(stream))
        while stage.primary.request_count == 0:
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    if how == "stream":
        stream = stage.factory.stream_content("hello")
        next(stream)
        assert parts([stage.call("sync")], "gemini")[0].outcome == "skipped"  # the place is taken
        stream.close()
    else:
        stage.loop.run_until_complete(leave())
    assert state_of(stage) == "half-open"
    (attempt,) = stage.ask(how).attempts
    assert (attempt.target, attempt.breaker) == ("gemini", "half-open")
    assert stage.primary.request_count == 2


@ways
def test_when_everybody_rests_one_attempt_is_made_all_the_same(stage, clock, how):
    stage.open(["gemini", "claude"], "eager", health_store=InMemoryHealthStore(clock))
    for stand_in, seconds in ((stage.primary, 200), (stage.fallback, 100)):
        stand_in.next(faults.rate_limited(retry_after=seconds))
    with no_waiting():
        assert not stage.ask(how).success
    stage.sandbox.reset()
    response = stage.ask(how)
    assert stage.counts == [0, 1]
    assert response.provider_name == "claude"
    assert [a.outcome for a in response.attempts] == ["skipped", "skipped", "succeeded"]
    assert response.attempts[-1].reason == "every target was skipped, this one is free soonest"
