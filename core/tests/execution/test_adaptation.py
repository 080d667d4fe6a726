"""A failure that says how its target may answer after all: the target is asked once more, at once, adapted so."""

import logging

import pytest
from timed import WAYS, Player, Stage, answer, record

from understudy import FinishReason, Limits, Policy, Request, Usage
from understudy.errors import AnswerCutShort, EmptyResponse, RateLimited, ServerError, UnsupportedRequest
from understudy.extras.pricing import estimate_usage
from understudy.messages import Message
from understudy_toolkit.thinking import MORE_ROOM, ROOM, check_room, room_to_think

every_way = pytest.mark.parametrize("how", WAYS)
every_preset = pytest.mark.parametrize("policy", [Policy.patient(), Policy.eager()], ids=["patient", "eager"])
REFUSED = UnsupportedRequest("no such setting", adaptation="without that setting")
USAGE = Usage(input_tokens=10, output_tokens=90, thinking_tokens=80)


@every_way
@every_preset
def test_the_same_target_is_asked_once_more_at_once(how, policy):
    stage = Stage(Player("a", REFUSED, "fine"), Player("b"), policy=policy)
    response = stage.ask(how)
    assert (response.provider_name, response.content) == ("a", "fine")
    assert [request.adaptation for request in stage.players[0].requests] == [None, "without that setting"]
    assert [attempt.reason for attempt in response.attempts] == ["primary", "once more, without that setting"]
    assert [attempt.number for attempt in response.attempts] == [1, 2]
    assert stage.clock.waits == []


@every_way
@every_preset
def test_no_target_is_adapted_to_twice_in_a_call(how, policy):
    stage = Stage(Player("a", REFUSED), Player("b", REFUSED, "fine"), policy=policy)
    response = stage.ask(how)
    assert record(response) == [("a", "failed"), ("a", "failed"), ("b", "failed"), ("b", "succeeded")]


@every_way
def test_neither_retries_nor_their_budget_are_used(how):
    policy = Policy(max_retries=0, retry_budget=0.0, retry_reserve=0.0)
    stage = Stage(Player("a", REFUSED, "fine"), policy=policy)
    assert stage.ask(how).content == "fine"


@every_way
def test_a_retry_of_the_adapted_request_is_adapted_too(how):
    stage = Stage(Player("a", REFUSED, ServerError("broken"), "fine"), policy=Policy.patient())
    response = stage.ask(how)
    assert [request.adaptation for request in stage.players[0].requests] == [None, *["without that setting"] * 2]
    assert response.attempts[-1].reason == "retry 1 of 5 after server error"
    assert stage.clock.waits == [5]


@every_way
def test_retries_are_counted_without_the_adapted_attempt(how):
    lines = [ServerError("broken"), REFUSED, *[ServerError("broken")] * 9]
    stage = Stage(Player("a", *lines), policy=Policy.patient(max_retries=2, retry_delay=1))
    response = stage.ask(how)
    assert len(response.attempts) == 4
    assert stage.clock.waits == [1, 2]


@every_way
def test_nobody_is_asked_once_more_where_the_deadline_leaves_no_time(how):
    stage = Stage(Player("a", (4.95, REFUSED)), policy=Policy.eager(deadline=5))
    assert record(stage.ask(how)) == [("a", "failed")]


@every_way
def test_an_adaptation_beside_a_quota_failure_does_not_keep_its_target(how):
    stage = Stage(Player("a", REFUSED, RateLimited("429")), Player("b"), policy=Policy.patient())
    assert record(stage.ask(how)) == [("a", "failed"), ("a", "failed"), ("b", "succeeded")]


@pytest.mark.parametrize("how", ["async", "astream"])
def test_who_is_asked_beside_another_is_asked_once_more_while_that_one_is_under_way(how):
    stage = Stage(Player("a", (50.0, "late")), Player("b", REFUSED, "fine"), policy=Policy.eager(deadline=60.0))
    assert record(stage.ask(how)) == [("b", "failed"), ("a", "cancelled"), ("b", "succeeded")]
    assert [request.adaptation for request in stage.players[1].requests] == [None, "without that setting"]
    assert stage.clock.now == pytest.approx(40.0)


def test_the_log_says_how_a_target_is_asked_once_more(caplog):
    caplog.set_level(logging.INFO, "understudy")
    Stage(Player("a", REFUSED, "fine")).ask()
    assert "a is asked once more, without that setting" in caplog.messages


@every_way
def test_what_a_failed_attempt_cost_is_in_the_record_and_counts_under_limits(how):
    failure = AnswerCutShort("cut", adaptation=MORE_ROOM, usage=USAGE)
    limits = {"a": Limits(tokens_per_minute=10_000)}
    stage = Stage(Player("a", failure, answer("fine", "a", usage=USAGE)), limits=limits)
    response = stage.ask(how)
    assert [attempt.usage for attempt in response.attempts] == [USAGE, USAGE]
    left = stage.factory.get_provider_status()["primary"]["health"]["left"]
    assert left["tokens a minute"] == 10_000 - 2 * USAGE.total_tokens


@every_way
def test_an_answer_cut_short_is_a_reply_and_no_outage(how):
    failure = AnswerCutShort("cut")
    stage = Stage(Player("a", failure), Player("b"), policy=Policy.eager(breaker_failures=2, breaker_requests=1))
    for _ in range(5):
        stage.ask(how)
    assert stage.state() == "closed"


# ---- room to think ----


def request(max_tokens=100, **more):
    return Request(messages=(Message.user("hello"),), max_tokens=max_tokens, **more)


def test_room_follows_the_level_and_stays_below_the_models_limit():
    assert room_to_think("low", 1024, None) == ROOM["low"]
    assert room_to_think("low", 1024, 2048) == 1024
    assert room_to_think("low", 4096, 2048) == 0
    assert room_to_think("none", 1024, None) == 0
    assert room_to_think("low", None, 2048) == 0
    assert room_to_think("of another kind", 1024, None) == ROOM["high"]


def test_more_room_is_four_times_as_much():
    assert room_to_think("low", 1024, None, MORE_ROOM) == 4 * ROOM["low"]
    assert room_to_think("low", 1024, 8192, MORE_ROOM) == 8192 - 1024


def test_an_answer_that_thinking_cut_short_asks_for_more_room():
    with pytest.raises(AnswerCutShort, match="after 10 of 100 tokens") as caught:
        check_room(request(), FinishReason.LENGTH, USAGE, thought=True)
    assert (caught.value.adaptation, caught.value.usage) == (MORE_ROOM, USAGE)


@pytest.mark.parametrize(
    ("asked", "given"), [(request(), True), (request(adaptation=MORE_ROOM), False)], ids=["held", "adapted"]
)
def test_where_nothing_is_to_be_done_a_warning_says_that_thinking_cut_it(asked, given):
    (warning,) = check_room(asked, FinishReason.LENGTH, USAGE, thought=True, given=given)
    assert (warning.setting, "after 10 of 100 tokens" in warning.message) == ("max_tokens", True)


@pytest.mark.parametrize(
    ("asked", "reason", "usage", "thought"),
    [
        (request(), FinishReason.STOP, USAGE, True),
        (request(10), FinishReason.LENGTH, USAGE, True),  # all ten tokens of answer came
        (request(None), FinishReason.LENGTH, USAGE, True),
        (request(), FinishReason.LENGTH, None, True),
        (request(), FinishReason.LENGTH, Usage(output_tokens=50), False),  # cut for another reason
    ],
)
def test_other_answers_are_not_taken_for_cut_by_thinking(asked, reason, usage, thought):
    assert check_room(asked, reason, usage, thought=thought) == ()


@every_way
def test_a_longer_answer_than_asked_for_carries_a_warning(how):
    long = answer("long", "a", usage=Usage(output_tokens=300, thinking_tokens=100))
    (warning,) = Stage(Player("a", long)).ask(how, max_tokens=150).warnings
    assert warning.setting == "max_tokens"
    assert warning.message.startswith("the answer has 200 tokens, more than the 150")


@every_way
def test_thinking_alone_makes_no_answer_too_long(how):
    thoughtful = answer("short", "a", usage=Usage(output_tokens=300, thinking_tokens=200))
    assert Stage(Player("a", thoughtful)).ask(how, max_tokens=150).warnings == ()


def test_estimates_count_the_room_to_think():
    class Thinker(Player):
        def thinking_room(self, request):
            return 5000

    limits = {"a": Limits(tokens_per_minute=6000)}
    stage = Stage(Thinker("a"), Player("b"), limits=limits)
    assert record(stage.ask(max_tokens=1024)) == [("a", "skipped"), ("b", "succeeded")]
    assert estimate_usage(request(), 5000).output_tokens == 5100


def test_a_provider_that_cannot_say_its_room_is_asked_all_the_same():
    class Broken(Player):
        def thinking_room(self, request):
            raise RuntimeError("oops")

    assert Stage(Broken("a"), limits={"a": Limits(tokens_per_minute=6000)}).ask().content == "fine"


def test_a_failure_pickles_with_its_adaptation_and_usage():
    import pickle

    failure = pickle.loads(pickle.dumps(EmptyResponse("nothing", adaptation=MORE_ROOM, usage=USAGE)))
    assert (failure.adaptation, failure.usage) == (MORE_ROOM, USAGE)
