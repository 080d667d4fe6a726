"""What one vendor refuses, another may answer: no refusal of a vendor ends a call, and none is hidden."""

import logging

import pytest
from timed import WAYS, Player, Stage, ask, record

from understudy import LLMFactory, Policy
from understudy.errors import AllProvidersFailed, InvalidRequest, RequestRefused, ServerError
from understudy.explain.policy_text import explain_policy

every_way = pytest.mark.parametrize("how", WAYS)
every_preset = pytest.mark.parametrize("preset", ["patient", "eager"])
REFUSED = RequestRefused("no dogs", status=400, code="invalid_request_error")
ADAPTABLE = RequestRefused("no dogs", status=400, adaptation="without dogs")


def stage_of(first, second="fine", preset="eager", **changes):
    policy = Policy.eager(**changes) if preset == "eager" else Policy(**changes)
    return Stage(Player("a", first), Player("b", second), policy=policy)


@every_way
@every_preset
def test_the_next_target_is_asked_at_once_and_the_answer_says_who_refused(how, preset, caplog):
    caplog.set_level(logging.INFO)
    stage = stage_of(REFUSED, preset=preset)
    for _ in range(12):  # however often: it says nothing of the target's health
        caplog.clear()
        response = stage.ask(how)
        assert (response.success, response.content) == (True, "fine")
        assert record(response) == [("a", "failed"), ("b", "succeeded")]
        assert [warning.setting for warning in response.warnings] == ["request"]
        words = "a refused the request, so another was asked: no dogs [400 invalid_request_error]"
        assert str(response.warnings[0]) == words
        told = [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]
        assert told == ["a request refused: no dogs, switching to b"]
    assert stage.clock.waits == []
    assert stage.state() == "closed"


@every_way
def test_a_policy_can_have_a_refusal_end_the_call(how):
    stage = stage_of(REFUSED, switch_on_refusal=False)
    response = stage.ask(how)
    assert record(response) == [("a", "failed")]
    assert isinstance(response.failure, RequestRefused)
    assert response.error == "a: request refused: no dogs"


@every_way
def test_where_all_refuse_the_error_has_the_words_of_each(how):
    response = stage_of(REFUSED, RequestRefused("no cats", status=422)).ask(how)
    assert isinstance(response.failure, AllProvidersFailed)
    assert response.error == "All LLM providers failed: [a: request refused: no dogs, b: request refused: no cats]"


@every_way
@pytest.mark.parametrize("switch", [True, False])
def test_a_refusal_that_says_how_it_can_be_mended_is_none_in_the_end(how, switch):
    policy = Policy.eager(switch_on_refusal=switch)
    stage = Stage(Player("a", ADAPTABLE, "no dogs here"), policy=policy)
    response = stage.ask(how)
    assert response.content == "no dogs here"
    assert [attempt.reason for attempt in response.attempts] == ["primary", "once more, without dogs"]
    assert response.warnings == ()


@every_way
def test_what_a_plugin_calls_invalid_with_a_status_is_its_vendors_refusal(how):
    response = stage_of(InvalidRequest("no dogs", status=400, code="bad", request_id="r1")).ask(how)
    failure = response.attempts[0].failure
    assert response.success
    assert type(failure) is RequestRefused
    assert (failure.message, failure.status, failure.code, failure.request_id) == ("no dogs", 400, "bad", "r1")
    assert (failure.provider, failure.model) == ("a", response.attempts[0].model)


@every_way
def test_what_is_found_before_anything_is_sent_ends_the_call(how):
    response = stage_of(InvalidRequest("no text")).ask(how)
    assert record(response) == [("a", "failed")]
    assert response.error == "a: invalid request: no text"


@every_way
def test_what_the_request_is_at_fault_for_ends_the_call_also_where_blocked_content_does_not(how):
    assert record(stage_of(InvalidRequest("no text"), switch_on_content_blocked=True).ask(how)) == [("a", "failed")]


@every_way
def test_the_error_names_the_model_that_ended_the_call_where_several_are_of_one_provider(how):
    class Two(Player):
        def __init__(self):
            super().__init__("two")

        def _play(self, line):
            raise ServerError("down") if self.requests[-1].model == "large" else InvalidRequest("no text")
            yield

    LLMFactory.register_provider("two", Two)
    try:
        policy = Policy.eager(quick_retries=0, max_retries=0)
        factory = LLMFactory("two:large", ["two:small"], policy=policy, settings={}, extensions=[])
    finally:
        del LLMFactory.PROVIDER_REGISTRY["two"]
    assert ask(factory, how).error == "two:small: invalid request: no text"


@pytest.mark.parametrize(("switch", "words"), [(True, "The next target, at once"), (False, "The call ends.")])
def test_explain_says_what_a_refusal_leads_to(switch, words):
    lines = explain_policy(Policy(switch_on_refusal=switch)).splitlines()
    start = next(i for i, line in enumerate(lines) if "RequestRefused" in line)
    assert words in " ".join(lines[max(0, start - 3) : start + 2])
