"""Answers that will not do: the next provider is asked, on streams too as far as the caller holds nothing."""

import sys

import pytest
from timed import STREAMS, WAYS, Player, Stage, answer, record

from understudy import (
    FinishReason,
    Limits,
    LLMResponse,
    Policy,
    Restart,
    StreamInterrupted,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    hookimpl,
)
from understudy.errors import (
    EmptyResponse,
    InvalidRequest,
    MalformedResponse,
    Overloaded,
    RateLimited,
    ResponseRejected,
)
from understudy.extras import json_schema
from understudy.messages import File, Image

every_way = pytest.mark.parametrize("how", WAYS)
every_stream = pytest.mark.parametrize("how", STREAMS)
# on streams the whole answer is held back, so that another one may take its place unseen
HELD = Policy.eager(stream_recovery="buffer", jitter="none")
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def stage_of(first, second="fine", policy=HELD, **options):
    return Stage(
        Player("a", first, output_schema=True), Player("b", second, output_schema=True), policy=policy, **options
    )


def ask_both(how, first, second="fine", policy=HELD, extensions=(), **options):
    """Ask two players; return the response, and the first one's failure."""
    stage = stage_of(first, second, policy, extensions=list(extensions))
    response = stage.ask(how, **options)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert stage.clock.waits == []  # it is nothing that would pass
    assert stage.text in ("", response.content)
    assert stage.state() == "closed"
    assert [len(player.requests) for player in stage.players] == [1, 1]
    return response, response.attempts[0].failure


# ---- by themselves ----


@every_way
@pytest.mark.parametrize(
    "line", ["", " \n", answer(""), answer("", content=None) if False else LLMResponse(True, None, "a")]
)
def test_an_empty_answer_is_none(how, line):
    _, failure = ask_both(how, line)
    assert type(failure) is EmptyResponse
    assert failure.message == "expected text, a picture, a file or a tool call, found nothing"


@every_way
def test_nothing_because_of_max_tokens_says_so(how):
    _, failure = ask_both(how, answer("", finish_reason=FinishReason.LENGTH))
    assert failure.message.endswith("found nothing, cut by max_tokens")


@every_way
@pytest.mark.parametrize("line", [answer(5), answer(b"bytes")])
def test_content_that_is_no_text_is_malformed(how, line):
    class Odd(Player):
        def _play(self, line):
            yield from (event for event in super()._play(line) if not isinstance(event, TextDelta))

    stage = Stage(Odd("a", line), Player("b"), policy=HELD)
    response = stage.ask(how)
    assert isinstance(response.attempts[0].failure, MalformedResponse)
    assert response.provider_name == "b"


@every_way
def test_a_response_that_says_it_failed_is_a_failure(how):
    _, failure = ask_both(how, LLMResponse(False, "", "a", "no", failure=RateLimited("429")), policy=Policy.patient())
    assert type(failure) is RateLimited


@every_way
@pytest.mark.parametrize(
    "good", [answer("", finish_reason=FinishReason.PAUSED), answer("cut", finish_reason=FinishReason.LENGTH)]
)
def test_a_paused_turn_and_a_cut_answer_are_answers(how, good):
    assert stage_of(good).ask(how).provider_name == "a"


@every_way
def test_an_answer_cut_by_length_is_refused_where_the_policy_says_so(how):
    policy = Policy.eager(stream_recovery="buffer", switch_on_length=True)
    cut = answer("half an ans", finish_reason=FinishReason.LENGTH, request_id="r1")
    _, failure = ask_both(how, cut, policy=policy)
    assert type(failure) is ResponseRejected
    assert (failure.message, failure.request_id) == ("expected a whole answer, found one cut at max_tokens", "r1")


@every_way
def test_a_usage_that_is_none_spoils_no_answer(how):
    stage = Stage(Player("a", answer("fine", usage={"total": 5})), limits={"a": Limits(tokens_per_minute=10_000)})
    response = stage.ask(how)
    assert (response.content, response.usage) == ("fine", None)
    assert response.warnings[0].message == "expected usage as a Usage, found dict: it is left out"


# ---- by the request's schema ----


@every_way
def test_an_answer_that_does_not_follow_its_schema_is_malformed(how):
    pytest.importorskip("jsonschema")
    response, failure = ask_both(how, '{"city": 5}', '{"city": "Oslo"}', output_schema=CITY)
    assert type(failure) is MalformedResponse
    assert failure.message == "expected an answer that follows output_schema, found $.city: expected a string, found 5"
    assert response.structured == {"city": "Oslo"}
    assert response.warnings == ()


@every_way
@pytest.mark.parametrize("line", ["Oslo, I think", '{"city": "Os', "<html>"])
def test_an_answer_that_is_no_json_is_malformed(how, line):
    response, failure = ask_both(how, line, '{"city": "Oslo"}', output_schema=CITY)
    assert type(failure) is MalformedResponse
    assert "expected an answer in JSON" in failure.message
    assert response.structured == {"city": "Oslo"}


@every_way
def test_null_is_checked_like_any_other_json(how):
    pytest.importorskip("jsonschema")
    _, failure = ask_both(how, "null", '{"city": "Oslo"}', output_schema=CITY)
    assert "expected an object, found null" in failure.message
    stage = stage_of("null")
    assert stage.ask(how, output_schema={"type": ["object", "null"]}).provider_name == "a"


@every_way
def test_without_jsonschema_what_is_json_passes_with_a_warning(how, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    json_schema.is_installed.cache_clear()
    try:
        stage = stage_of('{"city": 5}')
        response = stage.ask(how, output_schema=CITY)
        assert (response.provider_name, response.structured) == ("a", {"city": 5})
        assert [warning.setting for warning in response.warnings] == ["output_schema"]
        assert "pip install 'understudy[schema]'" in str(response.warnings[0])
        stage = stage_of("no JSON")
        assert stage.ask(how, output_schema=CITY).success is False
    finally:
        json_schema.is_installed.cache_clear()


@every_way
def test_a_tool_call_follows_no_schema(how):
    call = answer("", parts=(ToolCall(id="1", name="add", arguments={}),), finish_reason=FinishReason.TOOL_CALLS)
    stage = stage_of((ToolCallDelta(0, "1", "add", "{}"), call))
    assert stage.ask(how, output_schema=CITY).provider_name == "a"


# ---- by the caller's validator ----


def raising(error):
    def validate(response):
        if response.provider_name == "a":
            raise error

    return validate


def returning(value):
    return lambda response: value if response.provider_name == "a" else None


@every_way
@pytest.mark.parametrize(
    ("validator", "words"),
    [
        (returning(False), "the validator returned False"),
        (returning("too short"), "too short"),
        (returning(""), "the validator returned ''"),
        (returning(0), "the validator returned 0"),
        (raising(ValueError("no city")), "the validator raised ValueError: no city"),
        (raising(AssertionError()), "the validator raised AssertionError: "),
        (raising(ResponseRejected("not polite")), "not polite"),
    ],
)
def test_a_validator_refuses_by_a_word_or_an_exception(how, validator, words):
    response, failure = ask_both(how, "bad", validator=validator)
    assert type(failure) is ResponseRejected
    assert failure.message == words
    assert failure.provider == "a"
    assert response.content == "fine"


@every_way
@pytest.mark.parametrize("verdict", [None, True])
def test_a_validator_accepts_by_true_or_nothing(how, verdict):
    seen = []

    def validate(response):
        seen.append((response.content, response.provider_name, response.success))
        return verdict

    stage = stage_of("fine")
    assert stage.ask(how, validator=validate).provider_name == "a"
    assert seen == [("fine", "a", True)]


@every_way
def test_a_validators_own_failure_is_each_attempts_alone(how):
    """It raises one and the same object again and again: each attempt's still says whose it is."""
    constant = ResponseRejected("never good enough")

    def validate(response):
        raise constant

    stage = stage_of("bad", "worse")
    for _ in range(2):
        response = stage.ask(how, validator=validate)
        failures = [attempt.failure for attempt in response.attempts]
        assert [failure.provider for failure in failures] == ["a", "b"]
        assert failures[0] is not failures[1]
        assert {failure.message for failure in failures} == {"never good enough"}
        assert response.error == "All LLM providers failed: [a: response rejected, b: response rejected]"


@every_way
def test_a_validator_may_end_the_call(how):
    stage = stage_of("bad")
    response = stage.ask(how, validator=raising(InvalidRequest("nothing would do")))
    assert record(response) == [("a", "failed")]
    assert isinstance(response.failure, InvalidRequest)


@every_way
def test_refused_answers_say_nothing_against_a_target(how):
    stage = stage_of("bad")
    for _ in range(25):
        assert stage.ask(how, validator=returning(False)).provider_name == "b"
    assert stage.state() == "closed"


@every_way
def test_a_validator_of_one_call_checks_no_other(how):
    """I9."""
    stage = stage_of("bad")
    assert stage.ask(how, validator=returning(False)).provider_name == "b"
    assert stage.ask(how).provider_name == "a"


def test_an_interrupted_validator_interrupts_the_call():
    def validate(response):
        raise KeyboardInterrupt

    stage = stage_of("bad")
    with pytest.raises(KeyboardInterrupt):
        stage.ask("sync", validator=validate)
    assert stage.players[1].requests == []


# ---- by an extension ----


class Polite:
    def __init__(self, error=None):
        self.error = error
        self.seen = []

    @hookimpl
    def understudy_check_response(self, request, response):
        self.seen.append((request.prompt, response.content))
        if response.content == "bad":
            raise self.error or ResponseRejected("not polite")


@every_way
def test_an_extension_refuses_an_answer(how):
    extension = Polite()
    response, failure = ask_both(how, "bad", extensions=[extension])
    assert (type(failure), failure.message) == (ResponseRejected, "not polite")
    assert extension.seen == [("hello", "bad"), ("hello", "fine")]
    assert response.content == "fine"


@every_way
def test_an_extension_that_breaks_refuses_too(how):
    _, failure = ask_both(how, "bad", extensions=[Polite(RuntimeError("oh"))])
    assert failure.message == "an extension failed on the response: RuntimeError('oh')"


# ---- on streams ----


@every_stream
@pytest.mark.parametrize("policy", [Policy.patient(), Policy.eager()])
def test_after_the_first_piece_a_refusal_is_a_break(how, policy):
    stage = stage_of(("bad ", "answer"), policy=policy)
    assert stage.ask(how, validator=returning("too short")) is None
    assert isinstance(stage.error, StreamInterrupted)
    assert isinstance(stage.error.__cause__, ResponseRejected)
    assert stage.error.partial == stage.text == "bad answer"
    assert "response rejected: too short" in str(stage.error)
    assert stage.players[1].requests == []


@every_stream
def test_a_restart_takes_a_refused_answer_back(how):
    stage = stage_of(("bad ", "answer"), policy=Policy.eager(stream_recovery="restart"))
    response = stage.ask(how, validator=returning("too short"))
    assert stage.text == response.content == "fine"
    assert [type(event) for event in stage.events if type(event) is Restart] == [Restart]


@every_stream
def test_a_refused_answer_is_not_gone_on_with(how):
    """It was whole, and wrong: the next target begins anew, and the caller is told."""
    policy = Policy.eager(stream_recovery="continue")
    stage = Stage(Player("a", "bad"), Player("b", "fine"), policy=policy)
    response = stage.ask(how, validator=lambda response: response.content == "fine")
    assert stage.text == response.content == "fine"
    assert [type(event).__name__ for event in stage.events] == ["TextDelta", "Restart", "TextDelta", "Finish"]
    assert stage.players[1].requests[0].messages == stage.players[0].requests[0].messages


@every_stream
def test_a_refused_continuation_takes_the_whole_answer_back(how):
    first, second = Player("a", ("One", Overloaded("cut"))), Player("b", " bad", prefill=True)
    policy = Policy.eager(stream_recovery="continue")
    stage = Stage(first, second, Player("c", ("One ", "two")), policy=policy)
    response = stage.ask(how, validator=lambda response: "bad" not in response.content)
    assert stage.text == response.content == "One two"


@every_stream
def test_a_validator_sees_a_continued_answer_whole(how):
    seen = []
    first, second = Player("a", ("One", Overloaded("cut"))), Player("b", " two", prefill=True)
    stage = Stage(first, second, policy=Policy.eager(stream_recovery="continue"))
    assert stage.ask(how, validator=lambda response: seen.append(response.content)).content == "One two"
    assert seen == ["One two"]


@every_stream
def test_within_the_buffer_a_refusal_is_not_seen_and_behind_it_is(how):
    for tokens, seen in ((4, "fine"), (2, "bad answer")):
        policy = Policy.eager(stream_recovery="buffer", buffer_tokens=tokens)
        stage = stage_of(("bad ", "answer"), policy=policy)
        response = stage.ask(how, validator=returning(False))
        assert stage.text == seen
        assert (response is None) == (seen != "fine")


@every_way
@pytest.mark.parametrize("part", [Image(data=b"\x89PNG", media_type="image/png"), File(url="https://a/b.pdf")])
def test_a_picture_or_a_file_is_an_answer_without_any_text(how, part):
    response = stage_of(answer("", parts=(part,))).ask(how)
    assert record(response) == [("a", "succeeded")]
    assert response.parts == (part,)
