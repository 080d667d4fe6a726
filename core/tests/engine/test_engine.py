"""The invariants of the decision procedure, for any script of failures, under a clock that only moves by waiting."""

import asyncio
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import LLMFactory, LLMResponse, Policy, StreamInterrupted
from understudy.engine.commands import Admit, Call, Outcome, Switch, Verdict, Wait
from understudy.engine.decision import decide
from understudy.errors import (
    AuthenticationFailed,
    CircuitOpen,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    CoolingDown,
    InvalidRequest,
    ModelNotFound,
    NeedsAttention,
    Overloaded,
    QuotaExhausted,
    QuotaFailure,
    RateLimited,
    RequestFailure,
    RequestTooLarge,
    ServerError,
    Timeout,
)
from understudy.target import Target
from understudy.testing import ScriptedProvider, VirtualClock

TRANSIENT = [Timeout, ConnectionFailed, ServerError, Overloaded]
QUOTA = [RateLimited, QuotaExhausted, RequestTooLarge]
TARGET = [AuthenticationFailed, ModelNotFound, ContextTooLong]
REQUEST = [InvalidRequest, ContentBlocked]

hints = st.none() | st.floats(0, 100)
failures = st.builds(
    lambda kind, hint, retryable: kind("scripted", retry_after=hint, retryable=retryable),
    st.sampled_from(TRANSIENT * 2 + QUOTA + TARGET + REQUEST),
    hints,
    st.sampled_from([None, None, None, False]),
)
lines = st.one_of(failures, failures, st.text(min_size=1).filter(str.strip))
scripts = st.lists(lines, min_size=1, max_size=8)
casts = st.lists(scripts, min_size=1, max_size=4)
durations = st.floats(0, 30)


class Stage:
    """A factory whose providers play scripts, with every request in the order in which it was made."""

    def __init__(self, scripts: list[list[Any]], policy: Policy, seconds: float = 0.0, draw: float = 0.5) -> None:
        self.clock = VirtualClock()
        self.asked: list[tuple[int, float, float]] = []
        self.providers = [
            ScriptedProvider(f"p{index}", script, act=self.actor(index, seconds))
            for index, script in enumerate(scripts)
        ]
        runtime = self.clock.runtime(lambda: draw)
        self.factory = LLMFactory(
            self.providers[0], self.providers[1:], policy=policy, runtime=runtime, settings={}, extensions=[]
        )

    def actor(self, index: int, seconds: float) -> Any:
        def act(request: Any) -> None:
            self.asked.append((index, self.clock.now, request.timeout))
            self.clock.advance(min(seconds, request.timeout))

        return act

    def play(self, how: str, **arguments: Any) -> LLMResponse:
        return play(self.factory, how, **arguments)


def play(factory: LLMFactory, how: str, **arguments: Any) -> LLMResponse:
    """Make one call in one of the four ways and return its final response."""
    if how == "sync":
        return factory.generate_content("hello", **arguments)
    if how == "async":
        return asyncio.run(factory.agenerate_content("hello", **arguments))
    if how == "stream":
        *_, last = factory.stream_content("hello", **arguments)
        return last.response

    async def collect() -> LLMResponse:
        events = [event async for event in factory.astream_content("hello", **arguments)]
        return events[-1].response

    return asyncio.run(collect())


WAYS = ["sync", "async", "stream", "astream"]
ways = st.sampled_from(WAYS)
policies = st.builds(
    Policy,
    max_retries=st.integers(0, 6),
    retry_delay=st.floats(0, 20),
    jitter=st.sampled_from(["none", "full"]),
    deadline=st.none() | st.floats(0.5, 200),
    switch_on_content_blocked=st.booleans(),
)
draws = st.floats(0, 1, exclude_max=True)


@given(casts, policies, durations, draws, ways)
@settings(max_examples=300, deadline=None)
def test_every_call_keeps_the_invariants(scripts, policy, seconds, draw, how):
    stage = Stage(scripts, policy, seconds, draw)
    response = stage.play(how)

    by_target = {i: [a for a in response.attempts if a.target == f"p{i}" and a.number] for i in range(len(scripts))}
    for index, attempts in by_target.items():
        # I1: at most one attempt and its retries, and the record holds exactly the requests that were made
        assert len(attempts) <= 1 + policy.max_retries
        assert len(attempts) == sum(1 for asked, _, _ in stage.asked if asked == index)
        for retry, (before, after) in enumerate(pairwise(attempts)):
            hint = before.failure.retry_after
            if isinstance(before.failure, QuotaFailure):
                # I2: after a quota failure it is asked again only where the vendor said when, and nobody else is left
                assert isinstance(before.failure, RateLimited)
                assert hint is not None
                assert after.wait <= hint <= policy.max_delay
                earlier = response.attempts[: response.attempts.index(after)]
                assert {attempt.target for attempt in earlier} == {f"p{i}" for i in range(len(scripts))}
                continue
            # I3: the k-th wait is exactly the formula, or less of it under full jitter; a hint only raises it
            formula = min(policy.retry_delay * 2**retry, 60)
            expected = formula * draw if policy.jitter == "full" else formula
            assert after.wait == max(expected, hint or 0.0)
    # I2: the switch itself does not wait: what was slept is what the record says
    assert stage.clock.waits == [a.wait for a in response.attempts if a.wait or a.number > 1]
    # I4: no wait and no attempt reaches past the deadline
    if policy.deadline is not None:
        assert stage.clock.now <= policy.deadline + 0.05
        assert all(at + timeout <= policy.deadline + 0.001 for _, at, timeout in stage.asked)
    # I5: when the request is at fault, its failure is the last request of all
    for attempt in response.attempts[:-1]:
        blocked_may_switch = isinstance(attempt.failure, ContentBlocked) and policy.switch_on_content_blocked
        assert not isinstance(attempt.failure, RequestFailure) or blocked_may_switch
    # I6: a target is come to only after the one before it is through, but for the end of its rate limit
    order = [index for index, _, _ in stage.asked]
    assert list(dict.fromkeys(order)) == sorted(set(order))
    asked = [attempt for attempt in response.attempts if attempt.number]
    for before, after in pairwise(asked):
        again = [one for one in asked[: asked.index(after)] if one.target == after.target]
        if again and again[-1] is not before:
            assert isinstance(again[-1].failure, RateLimited)
    # I7, I8: either one reply's text as it was, or everybody's failure
    if response.success:
        index, number = int(response.provider_name[1:]), len(by_target[int(response.provider_name[1:])])
        script = scripts[index]
        assert response.content == script[min(number, len(script)) - 1]
        assert response.error is None
    elif response.error.startswith("All LLM"):
        assert all(f"p{index}: " in response.error for index in range(len(scripts)))
        assert len(response.failure.failures) == len(scripts)


@given(st.lists(st.sampled_from(TRANSIENT), min_size=1, max_size=5), ways)
@settings(max_examples=40, deadline=None)
def test_patient_waits_are_the_formula(kinds, how):
    stage = Stage([[kind("scripted") for kind in kinds] + ["at last"]], Policy())
    assert stage.play(how).content == "at last"
    assert stage.clock.waits == [min(5 * 2**n, 60) for n in range(len(kinds))]


def test_persistent_transient_failure_ends_in_the_fallbacks_answer():
    for how in WAYS:
        stage = Stage([[Timeout("slow")], ["the show goes on"]], Policy())
        response = stage.play(how)
        assert response.content == "the show goes on"
        assert response.provider_name == "p1"
        assert stage.clock.waits == [5, 10, 20, 40, 60]
        assert [a.number for a in response.attempts] == [1, 2, 3, 4, 5, 6, 1]


def test_overrides_touch_their_call_only():
    """I9."""
    stage = Stage([[Timeout("slow")], ["answer"]], Policy())
    stage.play("sync", max_retries=1, retry_delay=2)
    assert stage.clock.waits == [2]
    stage.play("sync")
    assert stage.clock.waits == [2, 5, 10, 20, 40, 60]


def test_policy_numbers_hold_where_the_call_says_nothing():
    stage = Stage([[Timeout("slow")], ["answer"]], Policy(max_retries=2, retry_delay=1))
    stage.play("sync")
    assert stage.clock.waits == [1, 2]
    stage.play("sync", max_retries=5, retry_delay=5)
    assert stage.clock.waits[2:] == [5, 10, 20, 40, 60]


def test_each_slice_leaves_time_for_the_targets_behind():
    stage = Stage([[Timeout("hang")], [Timeout("hang")], ["answer"]], Policy(deadline=60, max_retries=0), seconds=60)
    stage.play("sync")
    assert [timeout for _, _, timeout in stage.asked] == [30, 20, 10]


def test_nobody_is_asked_after_the_deadline():
    """A provider that overruns its timeout leaves nothing for those behind it."""
    clock = VirtualClock()
    slow = ScriptedProvider("slow", [Timeout("late")], act=lambda request: clock.advance(100))
    spare = ScriptedProvider("spare")
    factory = LLMFactory(slow, [spare], policy=Policy(deadline=10), runtime=clock.runtime(), settings={}, extensions=[])
    response = factory.generate_content("hello")
    assert spare.requests == []
    assert response.error == (
        "All LLM providers failed: [slow: timeout, spare: not available: not asked, the deadline of 10 s had passed]"
    )


def test_hint_beyond_the_longest_wait_switches():
    stage = Stage([[Overloaded("busy", retry_after=61)], ["answer"]], Policy())
    assert stage.play("sync").content == "answer"
    assert stage.clock.waits == []


def test_a_failure_that_must_not_be_repeated_switches():
    stage = Stage([[ServerError("no", retryable=False)], ["answer"]], Policy())
    assert stage.play("sync").content == "answer"
    assert stage.clock.waits == []


def run_engine(targets: int, policy: Policy, answers: dict[str, Any]) -> tuple[list[Any], Verdict]:
    """Drive the bare generator: Admit is answered from `skip` (a list in turn), Call from `call`, in order."""
    procedure = decide([Target(f"p{i}", f"p{i}") for i in range(targets)], policy, 0.0)
    commands, now = [], 0.0
    command = next(procedure)
    try:
        while True:
            commands.append(command)
            outcome = Outcome(now)
            if isinstance(command, Admit) and not command.forced:
                outcome = answers.get("skip", {}).get(command.index, outcome)
                if isinstance(outcome, list):
                    asked = len([c for c in commands if isinstance(c, Admit) and c.index == command.index])
                    outcome = outcome[min(asked, len(outcome)) - 1]
            elif isinstance(command, Call):
                failure = answers["call"][
                    min(len([c for c in commands if isinstance(c, Call)]), len(answers["call"])) - 1
                ]
                outcome = replace(outcome, failure=failure)
            elif isinstance(command, Wait):
                now += command.seconds
                outcome = Outcome(now)
            command = procedure.send(outcome)
    except StopIteration as stop:
        return commands, stop.value


def test_before_a_call_fails_each_that_rests_is_asked_once_the_one_first_that_is_free_soonest():
    rests = [(CircuitOpen(), 900.0), (CoolingDown(), 300.0), (Overloaded("no key"), None)]
    skips = {i: Outcome(0.0, skip=skip, free_in=free) for i, (skip, free) in enumerate(rests)}
    commands, verdict = run_engine(3, Policy(), {"skip": skips, "call": [Timeout("slow", retryable=False)]})
    assert [c.index for c in commands if isinstance(c, Call)] == [1, 0]
    assert [(c.index, c.forced) for c in commands if isinstance(c, Admit)] == [
        *((index, False) for index in range(3)),
        (1, True),
        (0, True),
    ]
    assert not [c for c in commands if isinstance(c, Wait)]
    assert verdict.end == "exhausted"
    assert set(verdict.failures) == {0, 1, 2}


def test_an_answer_of_one_that_rests_ends_the_call():
    skips = {i: Outcome(0.0, skip=CircuitOpen(), free_in=3.0 - i) for i in range(3)}
    commands, verdict = run_engine(3, Policy(), {"skip": skips, "call": [Timeout("slow", retryable=False), None]})
    assert [c.index for c in commands if isinstance(c, Call)] == [2, 1]
    assert verdict.end == "success"


def test_who_cannot_answer_at_all_is_not_asked_though_nobody_else_is_left():
    skips = {i: Outcome(0.0, skip=Overloaded("no key")) for i in range(2)}
    commands, verdict = run_engine(2, Policy(), {"skip": skips, "call": [None]})
    assert not [c for c in commands if isinstance(c, Call)]
    assert verdict.end == "exhausted"
    assert [a.outcome for a in verdict.attempts] == ["skipped", "skipped"]


@pytest.mark.parametrize("rest", [CircuitOpen(), CoolingDown(), NeedsAttention()])
def test_one_that_rests_is_asked_where_all_others_have_failed(rest):
    skips = {0: Outcome(0.0, skip=rest, free_in=100.0)}
    commands, verdict = run_engine(2, Policy(max_retries=0), {"skip": skips, "call": [Timeout("slow")]})
    assert [c.index for c in commands if isinstance(c, Call)] == [1, 0]
    assert verdict.end == "exhausted"
    assert [type(c) for c in commands] == [Admit, Switch, Admit, Call, Admit, Call]


@pytest.mark.parametrize("policy", [Policy(), Policy.eager()])
def test_a_short_cooldown_is_waited_for_and_a_refused_key_is_not(policy):
    for rest, waits in ((CoolingDown(), [4.0]), (CircuitOpen(), []), (NeedsAttention(), [])):
        skips = [Outcome(0.0, skip=rest, free_in=4.0), Outcome(4.0)]
        commands, verdict = run_engine(1, policy, {"skip": {0: skips}, "call": [None]})
        assert [c.seconds for c in commands if isinstance(c, Wait)] == waits
        assert [c.forced for c in commands if isinstance(c, Admit)] == [False, not waits]
        assert verdict.end == "success"


def test_a_circuit_is_waited_for_once_somebody_was_asked_and_a_refused_key_is_not():
    """Where it may be wrong it is asked first; then the call asks where it has a chance."""
    call = [AuthenticationFailed("no key"), None]
    skips = {0: [Outcome(0.0, skip=CircuitOpen(), free_in=4.0), Outcome(4.0)]}
    commands, verdict = run_engine(2, Policy.eager(max_retries=1), {"skip": skips, "call": call})
    assert [c.seconds for c in commands if isinstance(c, Wait)] == [4.0]
    assert [c.index for c in commands if isinstance(c, Call)] == [1, 0]
    assert verdict.end == "success"
    skips = {0: Outcome(0.0, skip=NeedsAttention(), free_in=4.0)}
    commands, verdict = run_engine(2, Policy.eager(max_retries=1), {"skip": skips, "call": call})
    assert not [c for c in commands if isinstance(c, Wait)]
    assert [c.index for c in commands if isinstance(c, Call)] == [1, 0]


def test_nobody_is_asked_where_asking_about_its_health_took_all_the_time():
    commands, verdict = run_engine(2, Policy(deadline=5), {"skip": {0: Outcome(5.0)}, "call": [None]})
    assert not [c for c in commands if isinstance(c, Call)]
    assert (verdict.end, verdict.attempts) == ("deadline", ())


def test_interrupted_after_delivery_ends_the_call():
    procedure = decide([Target("p0", "p0"), Target("p1", "p1")], Policy(), 0.0)
    next(procedure)
    procedure.send(Outcome(0.0))
    with pytest.raises(StopIteration) as stop:
        procedure.send(Outcome(0.0, failure=StreamInterrupted("cut", partial="half"), delivered=True))
    assert stop.value.value.end == "interrupted"
