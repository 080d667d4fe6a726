"""What an attempt that took too long says of its target, what it may have cost, and a time that cannot hold."""

import logging

import pytest
from timed import NEVER, STREAMS, WAYS, Player, Stage, answer, record

from understudy import Policy, Usage, hookimpl
from understudy.errors import EmptyResponse, Overloaded, RateLimited, ServerError, Timeout
from understudy.events import AttemptFailed, CallFinished
from understudy.provider import Pace

every_way = pytest.mark.parametrize("how", WAYS)
SLOW = Timeout("slow")
USAGE = Usage(input_tokens=30, output_tokens=12)


class Listener:
    def __init__(self):
        self.told = []

    @hookimpl
    def understudy_event(self, event):
        self.told.append(event)


def stage_of(*players, listener=None, **changes):
    policy = Policy.patient(**{"max_retries": 0, **changes})
    return Stage(*players, policy=policy, extensions=[listener] if listener else [])


def failures(stage):
    return stage.factory._admission.look(0).failures


# ---- evidence ----


@every_way
@pytest.mark.parametrize(
    ("line", "counted"),
    [
        ((0.9, SLOW), 0),
        ((1.1, SLOW), 1),
        ((0.1, Timeout("the gateway says so", status=504)), 1),
        ((0.1, ServerError("down")), 1),
    ],
)
def test_a_timeout_of_less_than_a_second_tells_of_the_callers_hurry(how, line, counted):
    stage = stage_of(Player("a", line), Player("b"))
    assert stage.ask(how).provider_name == "b"
    assert failures(stage) == counted


def test_a_timeout_that_the_vendor_reports_is_told_in_its_words_however_late_it_comes():
    late = (70.0, Timeout("the gateway says so", status=504))
    stage = stage_of(Player("a", late, keeps_deadline=True), Player("b"), deadline=None, hedge_after=None)
    assert stage.ask("stream").attempts[0].failure.status == 504


def slow_of(how, *lines, **changes):
    """A stage whose first player has answered 20 times after 8 seconds, and then plays these lines."""
    stage = stage_of(Player("a", *[(8.0, "fine")] * 20, *lines), Player("b"), **changes)
    for _ in range(20):
        assert stage.ask(how, timeout=60).provider_name == "a"
    return stage


@every_way
@pytest.mark.parametrize(("timeout", "counted"), [(3, 0), (20, 1)])
def test_a_calls_own_hurry_is_not_held_against_its_target(how, timeout, counted):
    stage = slow_of(how, (float(timeout), SLOW))
    assert stage.ask(how, timeout=timeout).provider_name == "b"
    assert failures(stage) == counted


@every_way
def test_the_factorys_own_timeout_is_no_hurry(how):
    stage = slow_of(how, (3.0, SLOW), attempt_timeout=3.0)
    assert stage.ask(how).provider_name == "b"
    assert failures(stage) == 1


# ---- what follows ----


@pytest.mark.parametrize("how", ["async", "astream"])
def test_who_was_slow_and_answered_others_meanwhile_is_asked_again_only_as_the_last(how):
    import asyncio

    stage = stage_of(Player("a", (20.0, SLOW), (1.0, "fine")), Player("b", "quick"), max_retries=5)

    async def call(delay):
        await asyncio.sleep(delay)
        if how == "async":
            return await stage.factory.agenerate_content("hello")
        return [event async for event in stage.factory.astream_content("hello")][-1].response

    async def both():
        return await asyncio.gather(call(0.0), call(5.0))

    slow, other = stage.clock.run(both())
    assert record(slow) == [("a", "failed"), ("b", "succeeded")]
    assert slow.attempts[0].decision == "retried last: it is slow, and answered others meanwhile"
    assert record(other) == [("a", "succeeded")]
    assert failures(stage) == 0


@pytest.mark.parametrize("how", ["async", "astream"])
@pytest.mark.parametrize("preset", [Policy.patient, Policy.eager])
@pytest.mark.parametrize("others", [(), (ServerError("down"),)], ids=["alone", "the other is down"])
def test_who_was_slow_once_and_is_well_is_asked_again_while_there_is_time(how, preset, others):
    import asyncio

    down = [Player("b", *(others * 9))] if others else []
    policy = preset(deadline=40, hedge_after=None, quick_retries=0, max_retries=2)
    stage = Stage(Player("a", (5.0, SLOW), (1.0, "fine"), "well"), *down, policy=policy, extensions=[])

    async def call(delay):
        await asyncio.sleep(delay)
        if how == "async":
            return await stage.factory.agenerate_content("hello")
        return [event async for event in stage.factory.astream_content("hello")][-1].response

    async def both():
        return await asyncio.gather(call(0.0), call(2.0))

    slow, other = stage.clock.run(both())
    assert record(other) == [("a", "succeeded")]
    assert slow.content == "well"
    asked = [target for target, _ in record(slow)]
    assert asked == ["a", *["b"] * (len(asked) - 2), "a"]
    assert ("b" in asked) == bool(others)
    assert slow.attempts[-1].reason.startswith("retry 1 of 2 after timeout")


@every_way
@pytest.mark.parametrize(("seconds", "retried"), [(50.0, True), (60.0, False)])
def test_patience_does_not_insist_on_who_took_as_long_as_any_wait_while_another_is_left(how, seconds, retried):
    stage = stage_of(Player("a", (seconds, SLOW), "fine"), Player("b"), max_retries=1)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("a" if retried else "b", "succeeded")]
    words = "no retry: it took as long as the longest wait, and another target is left"
    assert (response.attempts[0].decision == words) is not retried
    alone = stage_of(Player("a", (seconds, SLOW), "fine"), max_retries=1)
    assert record(alone.ask(how)) == [("a", "failed"), ("a", "succeeded")]


@every_way
def test_a_timeout_is_never_retried_quickly(how):
    stage = Stage(Player("a", (2.0, SLOW), "fine"), Player("b"), policy=Policy.eager())
    assert record(stage.ask(how)) == [("a", "failed"), ("b", "succeeded")]
    assert stage.clock.waits == []


# ---- what it may have cost ----


@every_way
def test_what_was_given_up_may_be_written_to_its_end_and_charged(how):
    """Ten seconds at 50 tokens a second, and what was read; of a stream nothing came."""
    listener = Listener()
    stage = stage_of(Player("a", (10.0, SLOW)), Player("b"), listener=listener)
    response = stage.ask(how, "word " * 40)
    expected = 50 if how in STREAMS else 50 + 500
    assert [attempt.wasted for attempt in response.attempts] == [expected, 0]
    assert response.wasted_tokens == expected
    assert [event.wasted for event in listener.told if type(event) is AttemptFailed] == [expected]
    assert [event.response.wasted_tokens for event in listener.told if type(event) is CallFinished] == [expected]


@every_way
def test_no_more_is_charged_than_the_answer_may_have(how):
    class Thinking(Player):
        def thinking_room(self, request):
            return 300

    for kind, room in ((Player, 0), (Thinking, 300)):
        stage = stage_of(kind("a", (500.0, SLOW)), Player("b"))
        response = stage.ask(how, "word", max_tokens=200)
        assert response.attempts[0].wasted == (1 if how in STREAMS else 1 + 200 + room)


@every_way
def test_who_failed_without_an_answer_cost_nothing(how):
    for failure in (Overloaded("down"), RateLimited("429"), Timeout("the gateway says so", status=504)):
        stage = stage_of(Player("a", (5.0, failure)), Player("b"))
        response = stage.ask(how)
        assert (response.attempts[0].wasted, response.wasted_tokens) == (0, 0)


@every_way
def test_what_the_vendor_told_is_what_was_wasted(how):
    refused = answer("", "a", usage=USAGE)
    for line in (refused, EmptyResponse("nothing", usage=USAGE), Timeout("slow", usage=USAGE)):
        stage = stage_of(Player("a", line), Player("b", answer("fine", "b", usage=USAGE)))
        response = stage.ask(how)
        assert [attempt.usage for attempt in response.attempts] == [USAGE, USAGE]
        assert response.attempts[0].wasted == 0
        assert response.wasted_tokens == USAGE.total_tokens


@pytest.mark.parametrize("how", ["async", "astream"])
def test_what_was_overtaken_is_charged_like_what_was_given_up(how):
    policy = Policy.eager(hedge_after=4.0, hedge_share=1.0)
    stage = Stage(Player("a", (NEVER, "late")), Player("b", (1.0, "quick")), policy=policy)
    response = stage.ask(how, "word " * 40)
    assert record(response) == [("a", "cancelled"), ("b", "succeeded")]
    assert [attempt.wasted for attempt in response.attempts] == [50 if how == "astream" else 50 + 250, 0]
    assert response.wasted_tokens == response.attempts[0].wasted


@pytest.mark.parametrize("how", ["sync", "async"])
def test_of_a_whole_answer_asked_for_as_a_stream_what_came_is_counted(how):
    for end in ((70.0, "late", NEVER), (Overloaded("cut"),)):
        stage = stage_of(Player("a", ("word " * 400, *end)), Player("b"))
        response = stage.ask(how, "word", max_tokens=5000)
        assert [attempt.wasted for attempt in response.attempts] == [1 + 500, 0]


# ---- a time that cannot hold ----


def warnings(caplog):
    return [each.getMessage() for each in caplog.records if "95 of 100" in each.getMessage()]


@every_way
def test_a_timeout_below_what_answers_take_is_told_once(how, caplog):
    stage = slow_of(how, *[(8.0, "fine")] * 100)
    with caplog.at_level(logging.WARNING, "understudy"):
        for _ in range(3):
            stage.ask(how, timeout=3)
            stage.ask(how, timeout=9)
            stage.ask(how)
        what = "first pieces" if how in STREAMS else "answers"
        told = f"a: a timeout of 3 s is less than 95 of 100 {what} took (8 s): many calls will be cut"
        assert warnings(caplog) == [told]
        stage.ask(how, timeout=4)
        assert len(warnings(caplog)) == 2


@every_way
def test_a_deadline_below_what_answers_take_is_told_once(how, caplog):
    stage = slow_of(how, *[(8.0, "fine")] * 100)
    with caplog.at_level(logging.WARNING, "understudy"):
        for _ in range(3):
            stage.ask(how, deadline=5)
            stage.ask(how, deadline=30)
        what = "first pieces" if how in STREAMS else "answers"
        told = f"a: a deadline of 5 s is less than 95 of 100 {what} took (8 s): many calls will be cut"
        assert warnings(caplog) == [told]


@every_way
def test_nothing_is_told_before_anything_is_known_nor_of_times_that_are_found(how, caplog):
    stage = stage_of(Player("a", (8.0, "fine")), Player("b"))
    with caplog.at_level(logging.WARNING, "understudy"):
        stage.ask(how, timeout=9)
        for _ in range(25):
            stage.ask(how)
        assert warnings(caplog) == []


def test_many_different_timeouts_are_not_remembered_for_ever(caplog):
    stage = slow_of("sync", *[(8.0, "fine")] * 1000)
    with caplog.at_level(logging.WARNING, "understudy"):
        for number in range(300):
            stage.ask(timeout=1 + number / 100)
    assert len(stage.factory._admission._told) == 256


def test_a_plan_says_that_a_time_cannot_hold():
    stage = slow_of("sync")
    words = "95 of 100 answers take 8 s: many will be cut after 3 s"
    plan = stage.factory.plan("hello", timeout=3)
    assert [one.warning for one in plan.targets] == [words, ""]
    assert words in " ".join(str(plan).split())
    assert stage.factory.plan("hello", deadline=5).targets[0].warning == words.replace("3 s", "5 s")
    assert stage.factory.plan("hello", timeout=9).targets[0].warning == ""
    assert stage.factory.plan("hello").targets[0].warning == ""


def test_a_plan_warns_by_what_answers_of_that_kind_take():
    class Thinker(Player):
        def pace(self, request):
            return Pace(thinks="think" in request.prompt)

    stage = Stage(Thinker("a", *[(8.0, "fine")] * 20), policy=Policy.patient(max_retries=0))
    for _ in range(20):
        stage.ask()
    assert stage.factory.plan("hello", timeout=3).targets[0].warning
    assert not stage.factory.plan("think", timeout=3).targets[0].warning
