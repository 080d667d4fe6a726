"""What callers allow themselves, through the real SDKs over sockets: quota windows, slots, calls at once, retries.

The windows' minutes pass at once: the health store has a clock of its own, which the tests put forward. Where calls
are to be under way together, a gate holds the first ones until the others have ended.
"""

from collections import Counter
from dataclasses import replace

import pytest
from gates import Gate
from staging import Clock, casts, ways

from understudy import Limits, Policy
from understudy.errors import LimitReached, TooManyCalls
from understudy.events import CallFinished
from understudy.factory import RUNTIME
from understudy.health import InMemoryHealthStore
from understudy.testing import no_waiting
from understudy_sandbox import faults

HERD = 20
MINUTE = 61.0  # seconds: the window, and the slice in which its first request was counted
DOWN = faults.server_error()
PRESETS = {"patient": Policy.patient(), "eager": Policy.eager()}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open()  # nobody is held back for longer than a test


def open_stage(stage, clock, limits, policy, primary="gemini", gate=None):
    """Put a real SDK first, and a provider second that answers at once, without a socket."""
    stage.sandbox.reset()
    first = primary if gate is None else gate.before(stage.providers[primary])
    stage.open(
        [first, "echo"],
        policy,
        limits={primary: limits},
        health_store=InMemoryHealthStore(clock),
        extensions=[] if gate is None else [gate],
    )


def left(stage):
    return stage.factory.get_provider_status()["primary"]["health"]["left"]


def answered(calls):
    return Counter(call.response.provider_name for call in calls)


@ways
def test_a_herd_gets_what_the_minute_allows(stage, clock, how):
    for policy in PRESETS.values():
        open_stage(stage, clock, Limits(requests_per_minute=5), policy)
        calls = stage.ask_at_once(how, [stage.factory] * HERD)
        assert answered(calls) == {"gemini": 5, "echo": HERD - 5}
        assert stage.primary.request_count == 5
        skipped = [call.attempts[0] for call in calls if call.response.provider_name == "echo"]
        assert {(part.target, part.outcome, part.number, type(part.failure)) for part in skipped} == {
            ("gemini", "skipped", 0, LimitReached)
        }
        assert left(stage) == {"requests a minute": 0}
        clock.forward += MINUTE
        assert stage.ask(how).provider_name == "gemini"


@casts
@ways
def test_tokens_are_counted_as_the_vendor_counts_them(stage, clock, cast, how):
    open_stage(stage, clock, Limits(tokens_per_minute=100_000, spend_per_day=1.0), Policy.eager(), cast[0])
    first = stage.ask(how, max_tokens=50_000)
    assert left(stage)["tokens a minute"] == 100_000 - first.usage.total_tokens
    assert left(stage)["dollars a day"] == pytest.approx(1.0 - first.cost)
    assert first.cost > 0
    assert stage.ask(how, max_tokens=99_000).provider_name == cast[0]
    assert stage.ask(how, max_tokens=100_000).provider_name == "echo"  # more than is left
    assert stage.primary.request_count == 2


@ways
def test_the_days_money_is_not_overspent_by_a_herd(stage, clock, gate, how):
    """Every answer may cost 2 cents by what it may be long, so four may be under way at once for 10 cents."""
    open_stage(stage, clock, Limits(spend_per_day=0.1), Policy.eager(), gate=gate)
    gate.shut(until=CallFinished, times=HERD - 4)
    calls = stage.ask_at_once(how, [stage.factory] * HERD, max_tokens=50_000)
    assert answered(calls) == {"gemini": 4, "echo": HERD - 4}
    assert stage.primary.request_count == 4
    spent = sum(call.response.cost for call in calls if call.response.provider_name == "gemini")
    assert left(stage)["dollars a day"] == pytest.approx(0.1 - spent)
    assert 0 < spent < 0.02


@ways
def test_slots_are_given_back(stage, clock, gate, how):
    for policy in PRESETS.values():
        open_stage(stage, clock, Limits(concurrent=3), policy, gate=gate)
        for _ in range(2):
            gate.shut(until=CallFinished, times=7)
            assert answered(stage.ask_at_once(how, [stage.factory] * 10)) == {"gemini": 3, "echo": 7}
        assert stage.primary.request_count == 6


@ways
def test_what_failed_leaves_its_slot_and_its_tokens(stage, clock, how):
    for policy in PRESETS.values():
        open_stage(stage, clock, Limits(concurrent=1, tokens_per_minute=100_000), policy)
        for fault in (faults.rate_limited(), faults.request_too_large()):
            stage.primary.next(fault)
            assert stage.ask(how).provider_name == "echo"
            assert left(stage) == {"tokens a minute": 100_000}
        assert stage.ask(how).provider_name == "gemini"
        assert stage.primary.request_count == 3


@ways
def test_a_failure_and_its_quick_retry_take_one_slot_one_after_the_other(stage, clock, how):
    open_stage(stage, clock, Limits(concurrent=1, requests_per_minute=3, tokens_per_minute=100_000), Policy.eager())
    stage.primary.next(faults.server_error())
    with no_waiting() as waits:
        response = stage.ask(how)
    assert (response.provider_name, len(waits)) == ("gemini", 1)
    assert left(stage) == {
        "requests a minute": 1,  # both were sent
        "tokens a minute": 100_000 - response.usage.total_tokens,
    }


@ways
def test_calls_at_once(stage, gate, how):
    for policy in PRESETS.values():
        stage.sandbox.reset()
        first = gate.before(stage.providers["gemini"])
        stage.open([first, "claude"], replace(policy, max_concurrent_calls=3), extensions=[gate])
        gate.shut(until=CallFinished, times=7)
        calls = stage.ask_at_once(how, [stage.factory] * 10)
        refused = [call.response for call in calls if not call.response.success]
        assert (len(refused), stage.counts) == (7, [3, 0])
        assert {type(response.failure) for response in refused} == {TooManyCalls}
        assert stage.ask(how).success


@ways
def test_a_budget_of_three_retries_for_all_calls_together(stage, clock, how):
    open_in_outage(stage, clock, Policy.patient(retry_budget=0, retry_reserve=0.3, breaker=False))
    with no_waiting() as waits:
        calls = stage.ask_at_once(how, [stage.factory] * HERD)
    assert {call.response.provider_name for call in calls} == {"claude"}
    assert stage.counts == [HERD + 3, HERD]
    assert len(waits) == 3
    refused = [part.decision for call in calls for part in call.attempts if part.decision]
    assert set(refused) == {"no retry: the retry budget is used up"}
    assert len(refused) == HERD


@ways
def test_a_budget_of_a_share_of_the_calls(stage, clock, how):
    open_in_outage(stage, clock, Policy.eager(retry_budget=0.2, retry_reserve=0, breaker=False))
    stage.fallback.always(DOWN)
    with no_waiting() as waits:
        responses = [stage.ask(how) for _ in range(10)]
    assert not any(response.success for response in responses)
    assert len(waits) == 2
    assert sum(stage.counts) == 10 * 2 + 2


def open_in_outage(stage, clock, policy):
    """Put a primary first that is down, with a budget whose ten seconds do not pass."""
    stage.open(["gemini", "claude"], policy, runtime=replace(RUNTIME, clock=clock))
    stage.primary.always(DOWN)
