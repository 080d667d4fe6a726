"""Thinking counts within Google's limit: it gets room besides the answer, and little of it is asked for short ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest

from understudy import Finish, FinishReason, LLMFactory, LLMResponse, Message, Request, TextDelta, ThinkingDelta
from understudy.errors import AnswerCutShort, EmptyResponse
from understudy_gemini import GeminiProvider
from understudy_gemini.thinking import Plan, plan_thinking
from understudy_sandbox import Sandbox
from understudy_toolkit.thinking import MORE_ROOM

Ask = Callable[[GeminiProvider, Request], LLMResponse]
DAY = date(2026, 11, 30)
LOW, BUDGET = {"thinkingLevel": "LOW"}, {"thinkingBudget": 1024}
HELLO = (Message.user("hello"),)


def planned(model: str, max_tokens: int | None = 1024, provider: str = "gemini", **fields: Any) -> Plan:
    request = Request(messages=HELLO, max_tokens=max_tokens, **fields)
    return plan_thinking(request, model, provider, DAY)


@pytest.mark.parametrize(
    ("model", "config", "room"),
    [
        ("gemini-3.5-flash-lite", None, 1024),
        ("gemini-flash-lite-latest", None, 1024),
        ("gemini-3.1-flash-lite", None, 1024),
        ("gemini-3.8-flash", LOW, 4096),
        ("gemini-flash-latest", LOW, 4096),
        ("gemini-3-flash-preview", LOW, 4096),
        ("gemini-3.1-pro-preview-customtools", LOW, 4096),
        ("models/gemini-pro-latest", LOW, 4096),
        ("gemini-4-argon", LOW, 4096),
        ("gemini-2.5-flash", BUDGET, 4096),
        ("gemini-2.5-pro", BUDGET, 4096),
        ("gemini-2.5-flash-lite", None, 0),
        ("gemini-2.0-flash", None, 0),
        ("gemini-4-neon", None, 31_744),  # nobody knows what it takes: as much as those of 4 that are known
        ("gemini-3.1-flash-lite-image", None, 0),
        ("gemini-2.5-flash-image", None, 0),
        ("gemini-3.8-flash-tts", None, 0),
        ("a-model-of-mine", None, 0),
    ],
)
def test_a_short_answer_asks_for_little_thinking_and_room_for_it(
    model: str, config: dict[str, Any] | None, room: int
) -> None:
    plan = planned(model)
    assert (plan.config, plan.room) == (config, room)
    assert plan.adaptation == (MORE_ROOM if 0 < room < 31_744 else None)


@pytest.mark.parametrize(
    ("model", "room"),
    [
        ("gemini-3.5-flash-lite", 1024),
        ("gemini-3.8-flash", 16_384),
        ("gemini-3.1-pro-preview", 32_768),
        ("gemini-2.5-flash", 16_384),
        ("gemini-4-argon", 16_384),
    ],
)
def test_a_longer_answer_leaves_the_depth_to_the_model(model: str, room: int) -> None:
    plan = planned(model, 1025)
    assert (plan.config, plan.room) == (None, room)


@pytest.mark.parametrize(
    ("model", "thinking", "room"),
    [
        ("gemini-3.8-flash", {"thinkingLevel": "HIGH"}, 32_768),
        ("gemini-3.8-flash", {"thinkingLevel": "medium"}, 16_384),
        ("gemini-3.8-flash", {"thinkingLevel": "NEWEST"}, 32_768),
        ("gemini-3.8-flash", {"includeThoughts": True}, 16_384),
        ("gemini-3.8-flash", {"thinkingBudget": 0}, 4096),  # cannot be kept from it
        ("gemini-2.5-flash", {"thinkingBudget": 0}, 0),
        ("gemini-2.5-flash", {"thinkingBudget": -1}, 32_768),
        ("gemini-2.5-flash", {"thinkingBudget": 8192}, 16_384),
        ("gemini-2.5-flash-lite", {"thinkingBudget": 512}, 1024),
        ("gemini-2.5-pro", {"thinkingBudget": 32_768}, 64_512),  # all that the model's limit leaves
    ],
)
@pytest.mark.parametrize("where", ["generationConfig", None])
def test_what_the_caller_says_of_thinking_stands_and_gets_its_room(
    model: str, thinking: dict[str, Any], room: int, where: str | None
) -> None:
    config: dict[str, Any] = {"thinkingConfig": thinking}
    plan = planned(model, options={"gemini": {where: config} if where else config})
    assert (plan.config, plan.room) == (None, room)


def test_options_of_vertex_stand_above_those_of_the_family() -> None:
    options = {"gemini": {"thinkingConfig": LOW}, "vertex": {"thinkingConfig": {"thinkingLevel": "HIGH"}}}
    assert planned("gemini-3.8-flash", options=options).room == 4096
    assert planned("gemini-3.8-flash", options=options, provider="vertex").room == 32_768


def test_no_limit_needs_no_room_and_the_vendors_own_limit_stands() -> None:
    assert planned("gemini-3.8-flash", None) == Plan("medium")
    plan = planned("gemini-3.8-flash", options={"gemini": {"maxOutputTokens": 700}})
    assert plan == Plan("low", LOW)


@pytest.mark.parametrize(("max_tokens", "room"), [(60_000, 5536), (65_536, 0), (70_000, 0)])
def test_the_models_own_limit_bounds_the_room(max_tokens: int, room: int) -> None:
    plan = planned("gemini-3.8-flash", max_tokens)
    assert (plan.room, plan.adaptation) == (room, None)


def test_the_adapted_request_asks_for_four_times_the_room() -> None:
    plan = planned("gemini-3.8-flash", adaptation=MORE_ROOM)
    assert (plan.config, plan.room, plan.adaptation) == (LOW, 16_384, None)


def test_limits_and_estimates_hear_of_the_room_and_callers_of_the_pace(provider: GeminiProvider) -> None:
    short, long = (Request(messages=HELLO, model="gemini-3.8-flash", max_tokens=most) for most in (100, 4000))
    assert provider.thinking_room(Request(messages=HELLO, max_tokens=100)) == 1024  # by the default model
    assert (provider.thinking_room(short), provider.thinking_room(long)) == (4096, 16_384)
    assert (provider.pace(short).thinks, provider.pace(long).thinks) == (False, True)


# ---- on the wire -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "max_tokens", "thinking", "sent"),
    [
        ("gemini-3.8-flash", 1100, None, {"maxOutputTokens": 17_484}),
        ("gemini-3.8-flash", 1024, "HIGH", {"maxOutputTokens": 33_792, "thinkingConfig": {"thinkingLevel": "HIGH"}}),
        ("gemini-3.8-flash", 1024, None, {"maxOutputTokens": 5120, "thinkingConfig": LOW}),
        ("gemini-3.5-flash-lite", 1024, None, {"maxOutputTokens": 2048}),
    ],
)
def test_an_answer_that_would_starve_comes_where_thinking_has_room(
    provider: GeminiProvider,
    sandbox: Sandbox,
    ask: Ask,
    model: str,
    max_tokens: int,
    thinking: str | None,
    sent: dict[str, Any],
) -> None:
    options = {"thinkingConfig": {"thinkingLevel": thinking}} if thinking else {}
    request = Request(messages=HELLO, model=model, max_tokens=max_tokens, options={"gemini": options})
    response = ask(provider, request)
    assert response.content.endswith('You said: "hello"')
    assert response.finish_reason is FinishReason.STOP
    assert sandbox.gemini.requests[-1].json["generationConfig"] == sent


@pytest.mark.parametrize("level", ["MEDIUM", "HIGH"])
def test_without_room_the_same_answer_starves(provider: GeminiProvider, ask: Ask, level: str) -> None:
    config = {"thinkingConfig": {"thinkingLevel": level}, "maxOutputTokens": 1100}
    request = Request(messages=HELLO, model="gemini-3.8-flash", max_tokens=1100, options={"gemini": config})
    with pytest.raises(EmptyResponse, match="used up before it, by 1100 tokens of thinking") as caught:
        ask(provider, request)
    assert caught.value.usage is not None
    assert caught.value.usage.thinking_tokens == 1100
    assert caught.value.adaptation is None  # the limit is the caller's own


def starved(*parts: dict[str, Any], written: int, thought: int, reason: str = "MAX_TOKENS") -> dict[str, Any]:
    usage = {"promptTokenCount": 3, "candidatesTokenCount": written, "thoughtsTokenCount": thought}
    return {"candidates": [{"content": {"parts": list(parts)}, "finishReason": reason}], "usageMetadata": usage}


EMPTY = starved(written=0, thought=2048)
CUT = starved({"text": "to be"}, written=2, thought=2046)


@pytest.mark.parametrize(("reply", "failure"), [(EMPTY, EmptyResponse), (CUT, AnswerCutShort)], ids=["empty", "cut"])
def test_a_whole_answer_that_starved_says_what_may_help_and_what_it_cost(
    provider: GeminiProvider, sandbox: Sandbox, ask_whole: Ask, reply: dict[str, Any], failure: type[Exception]
) -> None:
    sandbox.gemini.reply(reply)
    with pytest.raises(failure) as caught:
        ask_whole(provider, Request(messages=HELLO, max_tokens=1024))
    assert (caught.value.adaptation, caught.value.usage.output_tokens) == (MORE_ROOM, 2048)  # type: ignore[attr-defined]


@pytest.fixture
def factory(sandbox_environment: dict[str, str]) -> Iterator[LLMFactory]:
    with LLMFactory("gemini", ["echo"], settings=sandbox_environment, extensions=[]) as made:
        yield made


@pytest.mark.parametrize("reply", [EMPTY, CUT], ids=["empty", "cut"])
def test_it_is_asked_once_more_at_once_with_more_room(
    sandbox: Sandbox, factory: LLMFactory, reply: dict[str, Any]
) -> None:
    sandbox.gemini.reply(reply)
    response = factory.generate_content("hello")
    first, second = response.attempts
    assert response.provider_name == "gemini"
    assert (first.outcome, second.outcome, second.reason) == ("failed", "succeeded", f"once more, {MORE_ROOM}")
    limits = [request.json["generationConfig"]["maxOutputTokens"] for request in sandbox.gemini.requests]
    assert limits == [1024 + 1024, 1024 + 4096]


def test_what_starves_twice_is_answered_by_the_next_provider(sandbox: Sandbox, factory: LLMFactory) -> None:
    for _ in range(2):
        sandbox.gemini.reply(EMPTY)
    response = factory.generate_content("hello")
    assert response.provider_name == "echo"
    assert [attempt.target for attempt in response.attempts] == ["gemini", "gemini", "echo"]


def test_a_stream_without_text_is_asked_once_more_too(sandbox: Sandbox, factory: LLMFactory) -> None:
    sandbox.gemini.reply(EMPTY)
    *pieces, last = factory.stream_content("hello")
    assert isinstance(last, Finish)
    assert last.response.provider_name == "gemini"
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextDelta)) == last.response.content
    assert sandbox.gemini.request_count == 2


def test_a_stream_whose_text_the_caller_holds_ends_with_a_warning(
    provider: GeminiProvider, sandbox: Sandbox, ask_stream: Ask
) -> None:
    sandbox.gemini.reply(CUT)
    response = ask_stream(provider, Request(messages=HELLO, max_tokens=1024))
    assert (response.content, response.finish_reason) == ("to be", FinishReason.LENGTH)
    assert "thinking used up the limit" in str(response.warnings[-1])
    assert sandbox.gemini.request_count == 1


def test_an_answer_that_is_long_by_itself_has_not_starved(provider: GeminiProvider, sandbox: Sandbox, ask: Ask) -> None:
    sandbox.gemini.reply(starved({"text": "word " * 2040}, written=2040, thought=8))
    response = ask(provider, Request(messages=HELLO, max_tokens=1024))
    assert (response.finish_reason, response.warnings) == (FinishReason.LENGTH, ())


def test_a_model_that_does_not_think_is_not_asked_once_more(sandbox: Sandbox, factory: LLMFactory) -> None:
    sandbox.gemini.reply(starved(written=0, thought=0))
    response = factory.generate_content("hello", model="gemini-2.5-flash-lite")
    assert [attempt.target for attempt in response.attempts] == ["gemini", "echo"]


def test_thoughts_come_apart_from_the_text_where_they_are_asked_for(provider: GeminiProvider) -> None:
    options = {"gemini": {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"}}}
    request = Request(messages=HELLO, model="gemini-3.8-flash", max_tokens=50, options=options)
    *pieces, last = provider.stream(request)
    assert isinstance(last, Finish)
    thoughts = "".join(piece.text for piece in pieces if isinstance(piece, ThinkingDelta))
    assert thoughts == last.response.thinking != ""
    assert thoughts not in last.response.content


def test_nobody_is_shown_thoughts_who_did_not_ask(provider: GeminiProvider, sandbox: Sandbox, ask: Ask) -> None:
    assert ask(provider, Request(messages=HELLO, model="gemini-3.8-flash", max_tokens=4000)).thinking == ""
    assert "thinkingConfig" not in sandbox.gemini.requests[0].json["generationConfig"]
