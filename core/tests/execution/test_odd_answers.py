"""Answers that break the one who looks at them: whatever it is about a reply that has arrived, it is not an outage."""

import asyncio
import functools
import warnings

import pytest
from timed import STREAMS, WAYS, Player, Seen, Stage, answer, ask, joined, record

from understudy import (
    Capabilities,
    ChatProvider,
    Finish,
    Limits,
    LLMFactory,
    LLMProvider,
    LLMResponse,
    Policy,
    StreamInterrupted,
    Usage,
    hookimpl,
)
from understudy.errors import (
    InvalidRequest,
    MalformedResponse,
    Overloaded,
    QuotaExhausted,
    RateLimited,
    ResponseRejected,
    Timeout,
    UnknownFailure,
)
from understudy.messages import Message, Request
from understudy.provider import structured_output
from understudy.routing.adapters import PlainProvider

every_way = pytest.mark.parametrize("how", WAYS)
# the preset that asks a target six times where its failure may pass
PATIENT = Policy.patient(stream_recovery="buffer")
NUMBER = {"type": "object", "properties": {"a": {"type": "number", "multipleOf": 0.5}}}


class Whole(ChatProvider):
    """Returns one and the same thing, and leaves streams to the defaults."""

    capabilities = Capabilities(output_schema=True)

    def __init__(self, reply):
        self.reply = reply
        self.asked = 0

    def get_provider_name(self):
        return "a"

    def generate(self, request):
        self.asked += 1
        return self.reply

    async def agenerate(self, request):  # not in a thread, beside which the clock of the tests would go on
        return self.generate(request)

    async def astream(self, request):
        for event in self.stream(request):
            yield event


class ThreeMethods(LLMProvider):
    def __init__(self, reply):
        self.reply = reply
        self.asked = 0

    def get_provider_name(self):
        return "a"

    def is_available(self):
        return True

    def generate_content(self, prompt, temperature=0.0, max_tokens=1024):
        self.asked += 1
        return self.reply


def switched(how, first, second="fine", **options):
    """Ask two targets; see that the first was asked once and not held responsible; return its failure."""
    extensions = options.pop("extensions", [])
    stage = Stage(first, Player("b", second, output_schema=True), policy=PATIENT, extensions=extensions)
    response = stage.ask(how, **options)
    assert record(response) == [("a", "failed"), ("b", "succeeded")]
    assert stage.clock.waits == []
    assert stage.state() == "closed"
    assert stage.factory._admission.look(0).failures == 0
    return response.attempts[0].failure


# ---- odd JSON ----


@every_way
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("[" * 200_000, "found lists and objects nested too deep"),
        ('{"a": NaN}', "found what raises ValueError: cannot convert float NaN to integer"),
        ('{"a": ' + "9" * 5000 + "}", "expected an answer in JSON, found text that is not"),
    ],
    ids=["deep", "NaN", "long"],
)
def test_odd_json_is_a_malformed_response(how, content, words):
    pytest.importorskip("jsonschema")
    failure = switched(how, Player("a", content, output_schema=True), '{"a": 1}', output_schema=NUMBER)
    assert type(failure) is MalformedResponse
    assert words in failure.message


def test_a_plugin_that_parses_json_nested_too_deep_gets_a_typed_failure():
    request = Request(messages=(Message.user("hello"),), output_schema={})
    with pytest.raises(MalformedResponse, match="nested too deep"):
        structured_output(request, "[" * 200_000, answer("").finish_reason)


@every_way
def test_a_schema_that_an_extension_spoils_is_no_outage(how):
    pytest.importorskip("jsonschema")

    class Spoiling:
        @hookimpl
        def understudy_prepare_request(self, request, provider_name):
            if provider_name == "a":
                return Request(messages=request.messages, output_schema={"type": "objekt"})
            return None

    failure = switched(
        how, Player("a", "{}", output_schema=True), "{}", extensions=[Spoiling()], output_schema={"type": "object"}
    )
    assert type(failure) is MalformedResponse
    assert "expected a valid JSON schema; $.type: expected one of" in failure.message


# ---- odd fields ----


@every_way
def test_fields_that_are_none_stand_for_nothing(how):
    reply = LLMResponse(True, "fine", "a", parts=None, warnings=None, usage={"total": 5})
    response = Stage(Whole(reply), policy=PATIENT).ask(how)
    assert (response.content, response.parts, response.tool_calls, len(response.attempts)) == ("fine", (), (), 1)
    assert [warning.setting for warning in response.warnings] == ["usage"]


@every_way
@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"parts": 5}, "expected parts as a tuple, found int"),
        ({"warnings": "none"}, "expected warnings as a tuple, found str"),
        ({"content": b"bytes"}, "expected content as a string, found bytes"),
        ({"content": "", "parts": None}, "expected text, a picture, a file or a tool call, found nothing"),
    ],
)
def test_other_fields_of_a_wrong_type_are_malformed(how, fields, words):
    assert switched(how, Whole(LLMResponse(**{"success": True, "content": "fine", **fields}))).message == words


@every_way
@pytest.mark.parametrize("reply", [None, "fine", {"content": "fine"}])
def test_what_is_no_response_is_malformed(how, reply):
    failure = switched(how, Whole(reply))
    assert type(failure) is MalformedResponse
    assert "expected the provider to return an LLMResponse, found " in failure.message


@every_way
@pytest.mark.parametrize(
    ("count", "found"), [(None, "input_tokens None"), ("5", "input_tokens '5'"), (-1, "input_tokens -1")]
)
def test_a_usage_that_cannot_be_counted_with_is_left_out(how, count, found):
    reply = LLMResponse(True, "fine", "a", usage=Usage(input_tokens=count))
    response = Stage(Whole(reply), limits={"a": Limits(tokens_per_minute=10_000)}).ask(how)
    assert (response.content, response.usage) == ("fine", None)
    assert str(response.warnings[0]) == f"expected usage as a Usage, found {found}: it is left out"


class Broken(str):
    def strip(self, *characters):
        raise RuntimeError("it does not like to be looked at")


def test_whatever_breaks_the_check_is_malformed_and_has_its_cause():
    failure = switched("sync", Whole(LLMResponse(True, Broken("fine"), "a", model="m", request_id="r1")))
    assert type(failure) is MalformedResponse
    assert (failure.model, failure.request_id) == ("m", "r1")
    assert failure.message.endswith("found one at which RuntimeError: it does not like to be looked at")
    assert isinstance(failure.__cause__, RuntimeError)


# ---- responses that say they failed ----


@every_way
@pytest.mark.parametrize("kind", [Whole, ThreeMethods])
@pytest.mark.parametrize(
    ("reply", "failed"),
    [
        (LLMResponse(False, error="429 quota exceeded"), RateLimited),
        (LLMResponse(False, "half an ans", error="insufficient_quota"), RateLimited),
        (LLMResponse(False, error="no", failure=QuotaExhausted("spent")), QuotaExhausted),
        (LLMResponse(False, error="a strange day", failure="429"), UnknownFailure),
        (LLMResponse(False, failure="429"), RateLimited),
        (LLMResponse(False, error="no", failure=TimeoutError("slow")), Timeout),
        (LLMResponse(False), UnknownFailure),
    ],
    ids=["words", "code", "failure", "strange", "no failure", "exception", "nothing"],
)
def test_a_failed_response_is_told_by_its_failure_and_then_by_its_words(how, kind, reply, failed):
    first, seen = kind(reply), Seen()
    policy = Policy.patient(max_retries=1, retry_delay=0.001)
    factory = LLMFactory(first, [Player("b")], settings={}, extensions=[], policy=policy)
    response = ask(factory, how, into=seen)
    assert type(response.attempts[0].failure) is failed
    assert first.asked == (1 if failed in (RateLimited, QuotaExhausted) else 2)
    assert joined(seen.events) in ("", "fine")  # nobody gets a piece of what is not an answer
    assert response.provider_name == "b"


def test_a_plain_provider_raises_what_its_response_says():
    with pytest.raises(RateLimited, match="429"):
        PlainProvider(ThreeMethods(LLMResponse(False, error="429"))).generate(Request(messages=(Message.user("x"),)))


@pytest.mark.parametrize("reply", [LLMResponse(False, "half"), LLMResponse(True, None), LLMResponse(True, 5), None])
def test_a_stream_in_one_piece_gives_no_piece_of_what_is_no_answer(reply):
    request = Request(messages=(Message.user("hello"),))
    assert list(Whole(reply).stream(request)) == [Finish(reply)]


# ---- checks of the caller's own ----


@every_way
@pytest.mark.parametrize(
    "error", [Overloaded("busy"), RateLimited("429"), Timeout("slow"), StreamInterrupted("cut"), UnknownFailure("odd")]
)
@pytest.mark.parametrize("by", ["validator", "extension"])
def test_the_trouble_of_a_judge_is_not_the_targets(how, error, by):
    """A model that judges answers may be down: that opens no breaker of the one that is judged."""

    def judge(response):
        if response.provider_name == "a":
            raise error

    class Judging:
        @hookimpl
        def understudy_check_response(self, request, response):
            judge(response)

    options = {"validator": judge} if by == "validator" else {"extensions": [Judging()]}
    failure = switched(how, Player("a"), **options)
    assert type(failure) is ResponseRejected
    assert error.message in failure.message
    assert failure.__cause__ is error


class Awaited:
    """Looks like a plain function, and returns a coroutine."""

    def __init__(self):
        self.begun = False

    def __call__(self, response):
        return self.check() if response.provider_name == "a" else None

    async def check(self):
        self.begun = True


@every_way
def test_what_a_validator_leaves_to_be_awaited_is_closed_and_refused(how):
    validator = Awaited()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a coroutine that was never awaited
        failure = switched(how, Player("a"), validator=validator)
    assert type(failure) is ResponseRejected
    assert "returned something to be awaited, and nobody awaits it" in failure.message
    assert not validator.begun


def test_a_task_that_a_validator_leaves_is_cancelled():
    tasks, ends = [], []

    def validate(response):
        if response.provider_name == "a":
            tasks.append(asyncio.ensure_future(asyncio.sleep(60)))
            return tasks[0]
        ends.append(tasks[0].cancelling())
        return None

    assert type(switched("async", Player("a"), validator=validate)) is ResponseRejected
    assert ends == [1]


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("no words")

    __repr__ = __str__


class Mute:
    def __repr__(self):
        raise RuntimeError("no words")


@every_way
@pytest.mark.parametrize("verdict", [Mute(), Unspeakable()])
def test_a_validator_that_cannot_say_why_refuses_too(how, verdict):
    def validate(response):
        if response.provider_name == "a":
            if isinstance(verdict, Exception):
                raise verdict
            return verdict
        return None

    assert type(switched(how, Player("a"), validator=validate)) is ResponseRejected


@pytest.mark.parametrize("how", STREAMS)
def test_what_cannot_be_checked_after_the_first_piece_says_so(how):
    stage = Stage(Player("a", ("[" * 200_000,), output_schema=True), policy=Policy.patient())
    assert stage.ask(how, output_schema={}) is None
    assert isinstance(stage.error.__cause__, MalformedResponse)
    assert stage.state() == "closed"


def test_a_validator_may_still_end_the_call():
    def validate(response):
        raise InvalidRequest("nothing would do")

    response = Stage(Player("a"), Player("b"), policy=PATIENT).ask("sync", validator=validate)
    assert record(response) == [("a", "failed")]


def test_a_validator_made_of_another_is_called():
    def at_most(letters, response):
        return len(response.content) <= letters

    stage = Stage(Player("a", "too long"), Player("b", "fine"), policy=PATIENT)
    assert stage.ask("sync", validator=functools.partial(at_most, 4)).provider_name == "b"
