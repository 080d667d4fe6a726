"""How much a model is asked to reason, the room that it gets, and what becomes of answers that it starved."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Finish, FinishReason, LLMFactory, Message, Request, ResponseWarning, Settings
from understudy.errors import AnswerCutShort, EmptyResponse
from understudy.provider import Pace
from understudy_openai import OpenAIProvider, reply, wire, wire_responses
from understudy_openai.models import _ENDINGS, DEFAULT_MODEL, WHY_SENT, Endpoint, rules
from understudy_openai.reasoning import EFFORTS, FAMILIES, Family, effort_of, family_of, level_of, room
from understudy_toolkit.thinking import MORE_ROOM, ROOM

if TYPE_CHECKING:
    from conftest import Ask

    from understudy_sandbox import Sandbox

HELLO = (Message.user("Hello there, how are you today?"),)
SHORT, LONG = Request(messages=HELLO, max_tokens=1024), Request(messages=HELLO, max_tokens=1025)
GROQ, OPENAI = Endpoint("groq"), Endpoint(is_openai=True)


def _own(**options: Any) -> Any:
    return {"openai": options}


# ---- the tables ----


@pytest.mark.parametrize(
    ("model", "short", "usual", "most"),
    [
        ("gpt-6-luna", "none", "medium", 128_000),
        ("openai/gpt-6-luna", "none", "medium", 128_000),
        ("gpt-5.6-luna", "none", "medium", 128_000),
        ("gpt-5.4-mini-2026-03-17", "none", "medium", 128_000),
        ("gpt-6-sol", "low", "medium", 128_000),
        ("gpt-6.1-sol", "low", "medium", 128_000),
        ("gpt-6.1-terra", "low", "medium", 128_000),
        ("gpt-6-astra", "low", "medium", 128_000),
        ("gpt-6.2-astra-law", "low", "medium", 128_000),
        ("gpt-9-vega", "low", "medium", 128_000),
        ("gpt-5.1", "low", "none", 128_000),
        ("gpt-5.1-codex-max", "low", "medium", 128_000),
        ("gpt-5.5-pro", "medium", "high", 128_000),
        ("gpt-5-nano", "low", "medium", 128_000),
        ("gpt-5-pro", "high", "high", 272_000),
        ("o3-pro", "low", "medium", 100_000),
        ("o4-mini-deep-research", "medium", "medium", 100_000),
    ],
)
def test_how_models_reason(model: str, short: str, usual: str, most: int) -> None:
    family = family_of(model)
    assert family is not None
    assert (effort_of(SHORT, model, {}), level_of(SHORT, model, {})) == (short, short)
    assert (effort_of(LONG, model, {}), level_of(LONG, model, {}), family.most) == (None, usual, most)


@pytest.mark.parametrize("model", ["gpt-4.1", "gpt-5-chat-latest", "llama-9", "chat-latest", "gpt-oss-120b"])
def test_other_models_are_asked_for_nothing(model: str) -> None:
    for request in (SHORT, LONG):
        assert (effort_of(request, model, {}), room(request, model, {})) == (None, 0)
    assert effort_of(SHORT, model, {"effort": "minimal"}) == "minimal"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.models)
def test_the_efforts_of_a_family_are_some_of_all_in_their_order(family: Family) -> None:
    assert list(family.efforts) == [effort for effort in EFFORTS if effort in family.efforts]
    assert family.usual in family.efforts
    assert set(family.efforts) <= set(ROOM)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.models)
def test_the_names_of_a_family_are_found_in_it(family: Family) -> None:
    for name in re.findall(r"(?:gpt|o\d)-[\w.-]+", family.models):
        assert family_of(name) == family


@pytest.mark.parametrize(
    ("model", "asked", "sent"),
    [
        ("gpt-6-luna", "minimal", "low"),
        ("gpt-6-luna", "max", "max"),
        ("gpt-6-luna", "ultra", "ultra"),  # one of tomorrow's is left to the model
        ("gpt-6-astra", "none", "low"),
        ("gpt-6.1-sol", "minimal", "low"),
        ("gpt-5.5", "max", "xhigh"),
        ("gpt-5-mini", "none", "minimal"),
        ("gpt-5-pro", "low", "high"),
        ("o3", "xhigh", "high"),
        ("gpt-9-vega", "none", "none"),
    ],
)
def test_an_effort_that_a_model_refuses_becomes_the_nearest_with_a_warning(model: str, asked: str, sent: str) -> None:
    for options in (_own(effort=asked), _own(reasoning_effort=asked), _own(reasoning={"effort": asked})):
        body, warnings = wire_responses.request_body(replace(SHORT, options=options), model, GROQ)
        assert body["reasoning"]["effort"] == sent
        assert [str(warning) for warning in warnings] == (
            [] if asked == sent else [f"effort {asked} became {sent}: {model} takes no {asked}"]
        )


def test_chat_completions_takes_no_effort_max() -> None:
    body, [warning] = wire.request_body(replace(SHORT, options=_own(effort="max")), DEFAULT_MODEL, GROQ)
    assert body["reasoning_effort"] == "xhigh"
    assert str(warning) == "effort max became xhigh: gpt-6-luna takes no max in Chat Completions"


def test_a_model_without_none_takes_no_temperature_although_none_is_asked_for() -> None:
    request = replace(SHORT, temperature=0.0, options=_own(effort="none"))
    body, warnings = wire_responses.request_body(request, "gpt-6-astra", OPENAI)
    assert (body["reasoning"], "temperature" in body) == ({"effort": "low"}, False)
    assert [warning.setting for warning in warnings] == ["effort", "temperature"]


@pytest.mark.parametrize(
    "options",
    [
        {"effort": None},
        {"reasoning": {"summary": "auto"}},
        {"reasoning_effort": None},
    ],
)
def test_who_says_anything_of_reasoning_is_left_alone(options: dict[str, Any]) -> None:
    body, _ = wire_responses.request_body(replace(SHORT, options=_own(**options)), DEFAULT_MODEL, OPENAI)
    assert body.get("reasoning", {}).get("effort") is None
    assert body["max_output_tokens"] == 1024 + ROOM["medium"]


# ---- the room ----


@pytest.mark.parametrize(
    ("model", "max_tokens", "options", "limit"),
    [
        ("gpt-6-luna", 1024, {}, 1024),
        ("gpt-6-luna", 1025, {}, 1025 + 16_384),
        ("gpt-6-luna", 1024, {"effort": "low"}, 1024 + 4096),
        ("gpt-6-luna", 1024, {"effort": "high"}, 1024 + 32_768),
        ("gpt-6-luna", 100_000, {"effort": "max"}, 128_000),
        ("gpt-6-luna", 128_000, {}, 128_000),
        ("gpt-6.1-sol", 1024, {}, 1024 + 4096),
        ("gpt-5.1", 2000, {}, 2000),
        ("gpt-5-pro", 250_000, {}, 272_000),
        ("o3", 99_000, {}, 100_000),
        ("gpt-4.1", 1024, {}, 1024),
        ("llama-9", 5000, {}, 5000),
    ],
)
def test_a_limit_has_room_for_reasoning(model: str, max_tokens: int, options: dict[str, Any], limit: int) -> None:
    request = Request(messages=HELLO, max_tokens=max_tokens, options=_own(**options))
    assert wire_responses.request_body(request, model, GROQ)[0]["max_output_tokens"] == limit
    chat = wire.request_body(request, model, OPENAI)[0]["max_completion_tokens"]
    assert chat == limit
    assert room(request, model, options) == limit - max_tokens


def test_a_limit_above_the_models_own_becomes_that_with_a_warning() -> None:
    body, warnings = wire_responses.request_body(Request(messages=HELLO, max_tokens=200_000), "gpt-6-luna", OPENAI)
    assert body["max_output_tokens"] == 128_000
    assert [str(warning) for warning in warnings] == [
        "max_tokens 200000 became 128000, the most that gpt-6-luna writes"
    ]


def test_another_attempt_has_four_times_the_room() -> None:
    more = replace(LONG, adaptation=MORE_ROOM)
    assert wire_responses.request_body(more, DEFAULT_MODEL, OPENAI)[0]["max_output_tokens"] == 1025 + 4 * 16_384
    assert wire.request_body(more, "llama-9", GROQ)[0]["max_tokens"] == 1025 + 4 * 4096  # its reply showed reasoning
    assert room(replace(more, max_tokens=None), DEFAULT_MODEL, {}) == 0
    own = replace(more, options=_own(max_output_tokens=50))
    assert wire_responses.request_body(own, DEFAULT_MODEL, OPENAI)[0]["max_output_tokens"] == 50
    assert room(own, DEFAULT_MODEL, own.options["openai"]) == 0


def test_a_provider_tells_the_room_and_the_pace() -> None:
    provider = OpenAIProvider(Settings(environment={"OPENAI_API_KEY": "not-a-real-key"}))
    assert (provider.thinking_room(SHORT), provider.pace(SHORT)) == (0, Pace(thinks=False, heartbeat=30.0))
    assert (provider.thinking_room(LONG), provider.pace(LONG)) == (16_384, Pace(thinks=True, heartbeat=30.0))
    low = replace(SHORT, model="gpt-6-astra")
    assert (provider.thinking_room(low), provider.pace(low)) == (4096, Pace(thinks=False, heartbeat=30.0))
    assert provider.thinking_room(replace(LONG, model="gpt-4.1")) == 0


# ---- starved answers, without a socket ----


def _completion(content: str, reason: str = "length", reasoned: int = 1000, written: int = 1024, **message: Any) -> Any:
    details = {"completion_tokens_details": {"reasoning_tokens": reasoned}}
    usage = {"prompt_tokens": 5, "completion_tokens": written, **details}
    choice = {"message": {"content": content, **message}, "finish_reason": reason}
    return {"id": "c1", "model": "m", "choices": [choice], "usage": usage}


def _read(body: Any, model: str = "llama-9", request: Request = SHORT, **fields: Any) -> Any:
    return reply.response_of(body, {}, replace(request, model=model), GROQ, **fields)


def test_an_answer_without_text_that_reasoning_starved_is_asked_for_with_more_room() -> None:
    for model in ("gpt-6.1-sol", "llama-9"):
        with pytest.raises(EmptyResponse, match="1024 tokens of reasoning") as caught:
            _read(_completion("", reasoned=1024), model)
        assert caught.value.adaptation == MORE_ROOM
        assert caught.value.usage is not None
        assert caught.value.usage.thinking_tokens == 1024
        assert "options={'groq': {'effort': 'low'}}" in caught.value.message


@pytest.mark.parametrize(
    ("model", "request_", "fields"),
    [
        ("llama-9", replace(SHORT, adaptation=MORE_ROOM), {}),
        ("llama-9", SHORT, {"given": True}),
        ("llama-9", replace(SHORT, options={"groq": {"max_tokens": 1024}}), {}),
        ("gpt-6-luna", SHORT, {}),  # asked for without reasoning
        ("gpt-6-luna", Request(messages=HELLO, max_tokens=128_000), {}),
    ],
)
def test_where_more_room_would_not_help_none_is_asked_for(model: str, request_: Request, fields: Any) -> None:
    with pytest.raises(EmptyResponse) as caught:
        _read(_completion("", reasoned=1024), model, request_, **fields)
    assert caught.value.adaptation is None


def test_an_empty_answer_that_was_not_starved_is_just_empty() -> None:
    for body in (_completion("", reason="stop"), _completion("", reasoned=0)):
        with pytest.raises(EmptyResponse) as caught:
            _read(body)
        assert caught.value.adaptation is None


def test_an_answer_that_reasoning_cut_is_asked_for_with_more_room() -> None:
    with pytest.raises(AnswerCutShort, match="cut after 24 of 1024 tokens") as caught:
        _read(_completion("Well", reasoned=1000))
    assert caught.value.adaptation == MORE_ROOM
    for request, given in ((replace(SHORT, adaptation=MORE_ROOM), False), (SHORT, True)):
        response = _read(_completion("Well", reasoned=1000), request=request, given=given)
        assert (response.content, [warning.setting for warning in response.warnings]) == ("Well", ["max_tokens"])


def test_reasoning_that_a_server_shows_and_does_not_count_is_found_too() -> None:
    shown = _completion("Well", reasoned=0, reasoning_content="Hm.")
    with pytest.raises(AnswerCutShort, match="reasoning took a part of the limit") as caught:
        _read(shown)
    assert caught.value.adaptation == MORE_ROOM
    assert [warning.setting for warning in _read(shown, given=True).warnings] == ["max_tokens"]
    assert _read(shown, request=replace(SHORT, adaptation=MORE_ROOM)).warnings == ()
    assert _read(_completion("Well", reason="stop", reasoned=0, reasoning_content="Hm.")).warnings == ()
    assert _read(_completion("Well", reasoned=0)).finish_reason is FinishReason.LENGTH


def test_a_schemas_answer_is_not_called_malformed_where_it_was_starved() -> None:
    asked = replace(SHORT, output_schema={"type": "object"})
    with pytest.raises(AnswerCutShort):
        _read(_completion('{"age": ', reasoned=1000), request=asked)


def test_tokens_that_xai_counts_apart_are_added() -> None:
    body = _completion("Well", reason="stop", reasoned=386, written=1)
    body["usage"] |= {"prompt_tokens": 12, "total_tokens": 399}
    usage = _read(body).usage
    assert (usage.input_tokens, usage.output_tokens, usage.thinking_tokens) == (12, 387, 386)


# ---- on the wire ----


def test_without_room_the_stand_in_leaves_no_answer_and_with_it_one(
    ask: Ask, api: str, sandbox: Sandbox, provider: OpenAIProvider
) -> None:
    for effort in ("medium", "high"):
        starved = replace(SHORT, options=_own(api=api, effort=effort, max_completion_tokens=1024))
        with pytest.raises(EmptyResponse, match="1024 tokens of reasoning") as caught:
            ask(provider, starved)
        assert caught.value.adaptation is None  # the limit is the caller's own
        answered = ask(provider, replace(SHORT, options=_own(api=api, effort=effort)))
        assert answered.content.startswith("This is the Understudy sandbox")
        assert answered.usage is not None
        assert answered.usage.thinking_tokens > 1024


@pytest.mark.parametrize("api", ["chat", "responses"], indirect=True)
def test_the_default_call_reasons_not_and_takes_a_temperature(
    ask: Ask, api: str, sandbox: Sandbox, provider: OpenAIProvider
) -> None:
    response = ask(provider, replace(SHORT, temperature=0.0, options=_own(api=api)))
    assert (response.warnings, response.usage and response.usage.thinking_tokens) == ((), 0)
    [sent] = sandbox.openai.requests
    effort = sent.json["reasoning_effort"] if api == "chat" else sent.json["reasoning"]["effort"]
    assert (effort, sent.json["temperature"]) == ("none", 0.0)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_starved_answer_is_asked_for_once_more_at_once(streamed: bool, api: str, sandbox: Sandbox) -> None:
    environment = sandbox.environment() | {"OPENAI_MODEL": "gpt-5.6-terra"}
    with LLMFactory("openai", [], settings=environment) as factory:
        question = {"max_tokens": 1025, "options": _own(api=api)}
        for _ in range(2):  # what a model reasons at effort high would fill the room for medium
            sandbox.openai.reply(_starved(api))
        if streamed:
            *_, last = factory.stream_content("Hello", **question)
            assert isinstance(last, Finish)
            response = last.response
        else:
            response = factory.generate_content("Hello", **question)
        assert not response.success
        assert [(a.outcome, a.reason) for a in response.attempts] == [
            ("failed", "primary"),
            ("failed", f"once more, {MORE_ROOM}"),
        ]
        response = factory.generate_content("Hello", **question)
        assert response.success
    limits = [
        request.json.get("max_output_tokens") or request.json.get("max_completion_tokens")
        for request in sandbox.openai.requests
    ]
    assert limits == [1025 + 16_384, 1025 + 4 * 16_384, 1025 + 16_384]


def _starved(api: str) -> Any:
    if api == "chat":
        return _completion("", reasoned=17_409, written=17_409)
    usage = {"input_tokens": 5, "output_tokens": 17_409, "output_tokens_details": {"reasoning_tokens": 17_409}}
    thought = {"id": "rs_1", "type": "reasoning", "summary": []}
    cut = {"incomplete_details": {"reason": "max_output_tokens"}}
    return {"id": "r1", "object": "response", "status": "incomplete", "output": [thought], "usage": usage, **cut}


def test_a_stream_whose_caller_holds_text_is_not_begun_anew(
    stream: Ask, sandbox: Sandbox, provider: OpenAIProvider
) -> None:
    sandbox.openai.reply(_completion("Well now", reasoned=1000))
    response = stream(provider, replace(SHORT, model="llama-9", options=_own(api="chat")))
    assert response.content == "Well now"
    assert response.warnings == (
        ResponseWarning("max_tokens", "thinking used up the limit: the answer was cut after 24 of 1024 tokens"),
    )


# ---- what is told of them ----


def test_why_each_field_is_sent(sandbox: Sandbox, provider: OpenAIProvider) -> None:
    provider.generate(Request(messages=HELLO, temperature=0.0, max_tokens=1024, options=_own(api="responses")))
    [sent] = sandbox.openai.requests
    fields = {"reasoning.effort" if name == "reasoning" else name for name in sent.json} - {"model", "input"}
    assert fields == {field for field in WHY_SENT if not field.startswith("not sent: ")}
    assert not {field.removeprefix("not sent: ") for field in WHY_SENT if field not in fields} & set(sent.json)


def test_the_rules_are_told_with_their_sources() -> None:
    told = rules()
    assert {rule.about for rule in told} >= {"default model", "price", "first answer", "thinking", "room to think"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", rule.read) and rule.source for rule in told)
    assert "|" not in str(told)  # they are written as a table
    endings = {rule.models: rule.rule for rule in told if rule.about == "ending"}
    assert endings["gpt-4o"] == "retires on 2027-01-14: gpt-6-luna"


def test_the_sdks_own_list_of_endings_holds_nothing_that_ours_does_not() -> None:
    from openai.types.shared import chat_model

    text = inspect.getsource(chat_model)
    told = re.findall(r"- ((?:\"[^\"]+\",?\s+)*\"[^\"]+\"):\s+Announced\s+shutdown\s+date:\s+(\d{4}-\d\d-\d\d)", text)
    if not told:
        pytest.skip("this SDK has no list of endings")
    days = {model: day for models, day in told for model in re.findall(r'"([^"]+)"', models)}
    assert len(days) > 10
    assert {model: str(_ENDINGS[model][0]) if model in _ENDINGS else None for model in days} == days
