"""What the log holds of an outage, and what listeners are told: a line per change, and no line per call."""

import asyncio
import logging
import threading

import pytest
from timed import WAYS, Player, Stage, ask, record

from understudy import Limits, LLMFactory, Policy, hookimpl
from understudy.errors import AuthenticationFailed, QuotaExhausted, RateLimited, ServerError
from understudy.events import BreakerChanged, CallFinished, TargetSkipped
from understudy.health.budgets import SUMMARY, PassedOver
from understudy.testing import VirtualClock

every_way = pytest.mark.parametrize("how", WAYS)
DOWN = ServerError("down")
EXACT = {"breaker_jitter": 0.0, "max_retries": 0}


def lines(caplog, *levels):
    return [(each.levelname, each.getMessage()) for each in caplog.records if each.levelname in levels]


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.DEBUG, "understudy")
    return caplog


class Listener:
    """Remembers what it was told."""

    def __init__(self):
        self.told = []
        self.changed = threading.Condition()

    @hookimpl
    def understudy_event(self, event):
        with self.changed:
            self.told.append(event)
            self.changed.notify_all()

    def of(self, kind):
        return [event for event in self.told if type(event) is kind]


# ---- who is skipped ----


@every_way
def test_calls_that_pass_a_target_over_write_no_line_each_but_one_a_minute(how, log):
    stage = Stage(Player("a", QuotaExhausted("spent")), Player("b"), policy=Policy.eager(**EXACT))
    for _ in range(150):
        assert stage.ask(how).provider_name == "b"
        stage.clock.advance(1.0)
    assert lines(log, "WARNING", "ERROR") == [
        ("WARNING", "a circuit cooling for 300 s"),
        ("WARNING", "a quota exceeded, switching to b"),
        ("WARNING", "a is left alone (cooling down): 61 calls in 60 s"),
        ("WARNING", "a is left alone (cooling down): 60 calls in 60 s"),
    ]
    passed_over = [message for _, message in lines(log, "DEBUG") if message.startswith("a cooling down, back in ")]
    assert len(passed_over) == 149


@every_way
def test_an_outage_is_a_line_per_change_of_state_and_a_summary_a_minute(how, log):
    """Ten minutes of one call a second, while a probe fails every nine seconds."""
    stage = Stage(Player("a", DOWN), Player("b"), policy=Policy.eager(**EXACT))
    for _ in range(600):
        assert stage.ask(how).provider_name == "b"
        stage.clock.advance(1.0)
    told = lines(log, "WARNING", "ERROR")
    openings = [message for _, message in told if message.startswith("a circuit open for ")]
    summaries = [message for _, message in told if message.startswith("a is left alone (circuit open): ")]
    switches = [message for _, message in told if message == "a server error, switching to b"]
    assert len(told) == len(openings) + len(summaries) + len(switches)
    assert 60 <= len(openings) <= 75
    assert 9 <= len(summaries) <= 10
    assert len(switches) <= 8 + len(openings)  # those before it opened, and at most one for each probe
    halves = [message for _, message in lines(log, "INFO") if message == "a circuit half-open"]
    assert len(halves) in (len(openings), len(openings) - 1)


@every_way
def test_a_refused_key_is_one_error_per_change_of_state(how, log):
    stage = Stage(Player("a", AuthenticationFailed("no")), Player("b"), policy=Policy.eager(**EXACT))
    for _ in range(25):
        assert stage.ask(how).provider_name == "b"
        stage.clock.advance(1.0)
    words = "it is skipped for 30 s, and longer each time, until its key, model or URL changes"
    assert lines(log, "WARNING", "ERROR") == [
        ("ERROR", f"a authentication failed: {words}"),
        ("ERROR", "a authentication failed, switching to b"),
    ]
    log.clear()
    stage.clock.advance(10.0)
    stage.ask(how)
    errors = [message for _, message in lines(log, "ERROR")]
    assert errors[0] == f"a authentication failed: {words.replace('30', '60')}"
    assert len(errors) <= 2
    assert lines(log, "WARNING") == []


@every_way
def test_a_limit_of_ones_own_is_told_once_and_then_a_line_a_minute(how, log):
    limits = {"a": Limits(requests_per_minute=1)}
    stage = Stage(Player("a"), Player("b"), policy=Policy.eager(**EXACT), limits=limits)
    for _ in range(90):
        stage.ask(how)
        stage.clock.advance(0.5)
    assert lines(log, "WARNING", "ERROR") == [("WARNING", "a is left alone (limit reached)")]
    for _ in range(90):
        stage.ask(how)
        stage.clock.advance(0.5)
    summary = lines(log, "WARNING", "ERROR")[1:]
    assert len(summary) == 1
    assert summary[0][1].startswith("a is left alone (limit reached): ")


@every_way
def test_an_outage_long_after_another_begins_with_a_count_of_its_own(how, log):
    stage = Stage(Player("a", *[DOWN] * 8, "fine", DOWN), Player("b"), policy=Policy.eager(**EXACT, quick_retries=0))
    for pause in (0.0, 3 * SUMMARY):
        stage.clock.advance(pause)
        while stage.state() == "closed":
            stage.ask(how)
        assert stage.ask(how).provider_name == "b"  # it is passed over
        stage.clock.advance(30.0)
        if not pause:
            assert stage.ask(how).provider_name == "a"
    assert [message for _, message in lines(log, "WARNING") if "left alone" in message] == []


def test_once_it_is_closed_the_count_begins_anew(log):
    clock = VirtualClock()
    passed_over = PassedOver(lambda: clock.now)
    passed_over.add("a", "circuit open", told=True)
    clock.advance(SUMMARY - 1)
    passed_over.add("a", "circuit open", told=True)
    passed_over.forget("a")
    clock.advance(2)
    passed_over.add("a", "circuit open", told=True)
    passed_over.add("b", "circuit open", told=True)
    assert lines(log, "WARNING") == []
    clock.advance(SUMMARY)
    passed_over.add("a", "circuit open", told=True)
    assert lines(log, "WARNING") == [("WARNING", "a is left alone (circuit open): 2 calls in 60 s")]


@every_way
def test_listeners_are_told_of_every_target_that_is_passed_over_all_the_same(how):
    listener = Listener()
    policy = Policy.eager(**EXACT)
    stage = Stage(Player("a", QuotaExhausted("spent")), Player("b"), policy=policy, extensions=[listener])
    for _ in range(5):
        stage.ask(how)
    skipped = [(event.target, event.breaker) for event in listener.of(TargetSkipped)]
    assert skipped == [("a", "cooling")] * 4


@every_way
def test_the_lines_of_a_failing_call_are_as_ever(how, log):
    stage = Stage(Player("a", RateLimited("429")), Player("b", DOWN), policy=Policy.patient(max_retries=1))
    stage.ask(how)
    assert lines(log, "WARNING", "ERROR") == [
        ("WARNING", "a quota exceeded, switching to b"),
        ("WARNING", "b server error, retry 1 in 5 s"),
        ("ERROR", "All LLM providers failed: [a: quota exceeded, b: server error]"),
    ]


# ---- a circuit that changes after the call ----


def probing(listener, line, **options):
    """A factory whose first target is half-open and plays this line, while the second answers at once."""
    policy = Policy.eager(**EXACT, breaker_failures=1, breaker_requests=1)
    first, second = Player("a", DOWN, line), Player("b", (0.01, "quick"))
    stage = Stage(first, second, policy=policy, extensions=[listener], **options)
    assert stage.ask("async").provider_name == "b"
    assert stage.state() == "open"
    stage.clock.advance(policy.breaker_open)
    listener.told.clear()
    return stage


@pytest.mark.parametrize("how", ["async", "astream"])
@pytest.mark.parametrize(("line", "state"), [((3.0, "fine"), "closed"), ((3.0, DOWN), "open")])
def test_a_probe_that_ends_after_its_call_is_told_of(how, line, state, log):
    listener = Listener()
    stage = probing(listener, line)

    async def call():
        if how == "async":
            response = await stage.factory.agenerate_content("hello")
        else:
            response = [event async for event in stage.factory.astream_content("hello")][-1].response
        assert record(response) == [("a", "left to end"), ("b", "succeeded")]
        assert response.wasted_tokens == 0
        assert type(listener.told[-1]) is CallFinished
        await asyncio.sleep(10)

    stage.clock.run(call())
    assert [event.state for event in listener.of(BreakerChanged)] == ["half-open", state]
    assert type(listener.told[-1]) is BreakerChanged
    assert listener.told[-1].seconds == pytest.approx(8.5 if state == "open" else 0.0)
    assert stage.state() in (state, "half-open")
    levels = [level for level, message in lines(log, "INFO", "WARNING") if message.startswith(f"a circuit {state}")]
    assert levels[-1] == ("WARNING" if state == "open" else "INFO")


@pytest.mark.parametrize("how", ["sync", "stream"])
def test_a_sync_calls_probe_goes_on_in_the_background_and_is_told_of(how):
    listener = Listener()
    policy = Policy.eager(**EXACT, breaker_failures=1, breaker_requests=1, breaker_open=0.0)
    first, second = Player("a", DOWN, (0.3, "fine")), Player("b")
    factory = LLMFactory(first, [second], settings={}, extensions=[listener], policy=policy)
    assert ask(factory, how).provider_name == "b"
    response = ask(factory, how)
    assert record(response) == [("a", "left to end"), ("b", "succeeded")]
    with listener.changed:
        assert listener.changed.wait_for(
            lambda: [event.state for event in listener.of(BreakerChanged)] == ["open", "half-open", "closed"], 30
        )
    assert factory.get_provider_status()["primary"]["health"]["state"] == "closed"
