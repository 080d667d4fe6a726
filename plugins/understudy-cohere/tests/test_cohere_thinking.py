"""How long a model may think, the room that it gets, and what becomes of answers that it starved."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Finish, LLMFactory, Message, Policy, Request, Settings
from understudy.errors import AnswerCutShort, EmptyResponse
from understudy.provider import Pace
from understudy_cohere import CohereProvider
from understudy_cohere.models import DEFAULT_MODEL, WHY_SENT, ending_warnings, most_tokens, room, rules
from understudy_cohere.wire import request_body, response_of
from understudy_toolkit.thinking import MORE_ROOM, ROOM

if TYPE_CHECKING:
    from conftest import Ask

    from understudy_sandbox import Sandbox

PLUS, REASONING, CODE = "command-a-plus-05-2026", "command-a-reasoning-08-2025", "north-mini-code-1-0"
HELLO = (Message.user("Hello there, how are you today?"),)
SHORT, LONG = Request(messages=HELLO, max_tokens=1024), Request(messages=HELLO, max_tokens=4096)


def _own(**options: Any) -> Any:
    return {"cohere": options}


def _bounds(request: Request, model: str) -> tuple[Any, Any]:
    body, warnings = request_body(request, model)
    assert warnings == ()
    return body.get("max_tokens"), body.get("thinking")


# ---- the tables ----


@pytest.mark.parametrize(
    ("model", "most"),
    [
        (PLUS, 64_000),
        (REASONING, 32_000),
        (CODE, 64_000),
        (DEFAULT_MODEL, 8000),
        ("command-r7b-12-2024", 4000),
        ("command-r-plus-08-2024", 4000),
        ("command-b-01-2027", None),
        ("a-name-of-ones-own", None),
    ],
)
def test_the_most_tokens_that_a_model_writes(model: str, most: int | None) -> None:
    assert most_tokens(model) == most


def test_a_limit_above_the_models_own_becomes_that_with_a_warning() -> None:
    body, [warning] = request_body(Request(messages=HELLO, max_tokens=9000), DEFAULT_MODEL)
    assert body["max_tokens"] == 8000
    assert str(warning) == "max_tokens 9000 became 8000, the most that command-a-03-2025 writes"
    assert _bounds(Request(messages=HELLO, max_tokens=9000), "command-b-01-2027") == (9000, None)


@pytest.mark.parametrize(
    ("model", "request_", "max_tokens", "thinking"),
    [
        (PLUS, SHORT, 2048, {"type": "enabled", "token_budget": 1024}),
        (REASONING, SHORT, 2048, {"type": "enabled", "token_budget": 1024}),
        (PLUS, LONG, 4096 + 32_768, {"type": "enabled", "token_budget": 32_768}),
        (REASONING, LONG, 32_000, {"type": "enabled", "token_budget": 32_000 - 4096}),
        (REASONING, Request(messages=HELLO, max_tokens=32_000), 32_000, None),
        (CODE, SHORT, 1024 + 32_768, None),  # of which no budget is told
        (CODE, replace(SHORT, options=_own(thinking={"type": "disabled"})), 1024, {"type": "disabled"}),
        (PLUS, replace(LONG, options=_own(thinking={"type": "disabled"})), 4096, {"type": "disabled"}),
        (PLUS, replace(SHORT, options=_own(thinking={"token_budget": 500})), 1524, {"token_budget": 500}),
        (
            REASONING,
            replace(LONG, options=_own(thinking={"type": "enabled", "token_budget": 31_000})),
            32_000,
            {"type": "enabled", "token_budget": 31_000},
        ),
        (PLUS, replace(SHORT, options=_own(thinking={"type": "enabled"})), 1024 + 32_768, {"type": "enabled"}),
        (PLUS, replace(SHORT, options=_own(max_tokens=700)), 700, None),
        (PLUS, Request(messages=HELLO), None, None),
        (PLUS, replace(LONG, adaptation=MORE_ROOM), 64_000, {"type": "enabled", "token_budget": 64_000 - 4096}),
        (DEFAULT_MODEL, SHORT, 1024, None),
        (DEFAULT_MODEL, replace(SHORT, adaptation=MORE_ROOM), 1024, None),
        ("command-b-01-2027", SHORT, 1024, None),
        ("command-b-01-2027", replace(SHORT, adaptation=MORE_ROOM), 1024 + 4 * 4096, None),  # its reply had thoughts
    ],
)
def test_a_limit_has_room_for_thoughts_and_they_have_a_budget(
    model: str, request_: Request, max_tokens: int | None, thinking: Any
) -> None:
    assert _bounds(request_, model) == (max_tokens, thinking)
    if max_tokens is not None and "max_tokens" not in request_.options.get("cohere", {}):
        assert request_.max_tokens is not None
        assert room(request_, model, request_.options.get("cohere", {})) == max_tokens - request_.max_tokens


def test_a_provider_tells_the_room_and_the_pace() -> None:
    provider = CohereProvider(Settings(environment={"COHERE_API_KEY": "not-a-real-key"}))
    assert (provider.thinking_room(LONG), provider.pace(LONG)) == (0, Pace(thinks=False))
    short, long = replace(SHORT, model=PLUS), replace(LONG, model=PLUS)
    assert (provider.thinking_room(short), provider.pace(short)) == (ROOM["minimal"], Pace(thinks=False))
    assert (provider.thinking_room(long), provider.pace(long)) == (ROOM["high"], Pace(thinks=True))


# ---- starved answers ----


def _reply(*content: Any, reason: str = "MAX_TOKENS", thoughts: int = 1000, written: int = 1024) -> Any:
    tokens = {"input_tokens": 5, "output_tokens": written, "reasoning_tokens": thoughts}
    return {"id": "c-1", "message": {"content": content}, "finish_reason": reason, "usage": {"tokens": tokens}}


def _read(body: Any, request: Request = SHORT, model: str = CODE, *, given: bool = False) -> Any:
    return response_of(body, {}, request, model, given=given)


THOUGHT, TEXT = {"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Well"}


def test_an_answer_without_text_that_thinking_starved_is_asked_for_with_more_room() -> None:
    with pytest.raises(EmptyResponse, match="thinking used up max_tokens; raise it, or set options") as caught:
        _read(_reply(THOUGHT, thoughts=1024))
    assert caught.value.adaptation == MORE_ROOM
    assert caught.value.usage is not None
    assert caught.value.usage.thinking_tokens == 1024
    uncounted = _reply(THOUGHT)
    del uncounted["usage"]
    with pytest.raises(EmptyResponse) as caught:
        _read(uncounted)
    assert caught.value.adaptation == MORE_ROOM


@pytest.mark.parametrize(
    ("body", "request_", "model", "given"),
    [
        (_reply(THOUGHT), replace(SHORT, adaptation=MORE_ROOM), CODE, False),
        (_reply(THOUGHT), SHORT, CODE, True),
        (_reply(THOUGHT), replace(SHORT, options=_own(max_tokens=5)), CODE, False),
        (_reply(THOUGHT), replace(SHORT, options=_own(thinking={"token_budget": 5})), PLUS, False),
        (_reply(thoughts=0), SHORT, DEFAULT_MODEL, False),
        (_reply(THOUGHT, reason="COMPLETE"), SHORT, CODE, False),
    ],
)
def test_where_more_room_would_not_help_none_is_asked_for(
    body: Any, request_: Request, model: str, given: bool
) -> None:
    with pytest.raises(EmptyResponse) as caught:
        _read(body, request_, model, given=given)
    assert caught.value.adaptation is None


def test_an_answer_that_thinking_cut_is_asked_for_with_more_room() -> None:
    with pytest.raises(AnswerCutShort, match="cut after 24 of 1024 tokens") as caught:
        _read(_reply(THOUGHT, TEXT))
    assert (caught.value.adaptation, caught.value.provider) == (MORE_ROOM, "cohere")
    for request, given in ((replace(SHORT, adaptation=MORE_ROOM), False), (SHORT, True)):
        response = _read(_reply(THOUGHT, TEXT), request, given=given)
        assert (response.content, [warning.setting for warning in response.warnings]) == ("Well", ["max_tokens"])
    assert _read(_reply(TEXT, thoughts=0)).warnings == ()


def test_a_plan_beside_tool_calls_is_no_thought_that_starves() -> None:
    body = _reply(thoughts=0)
    body["message"] |= {"tool_plan": "I will ask."}
    with pytest.raises(EmptyResponse) as caught:
        _read(body)
    assert caught.value.adaptation is None


# ---- on the wire ----


@pytest.mark.parametrize("model", [PLUS, REASONING])
@pytest.mark.parametrize("request_", [SHORT, LONG], ids=["short", "long"])
def test_without_room_the_stand_in_leaves_no_answer_and_with_it_one(
    ask: Ask, model: str, request_: Request, provider: CohereProvider
) -> None:
    with pytest.raises(EmptyResponse, match="thinking used up max_tokens"):
        ask(provider, replace(request_, model=model, options=_own(max_tokens=1024)))
    answered = ask(provider, replace(request_, model=model))
    assert answered.content.startswith("This is the Understudy sandbox")
    assert answered.usage is not None
    assert answered.usage.thinking_tokens >= 1024
    assert answered.warnings == ()


@pytest.mark.parametrize("streamed", [False, True])
def test_a_starved_answer_is_asked_for_once_more_at_once(streamed: bool, sandbox: Sandbox) -> None:
    settings, policy = sandbox.environment() | {"COHERE_MODEL": CODE}, Policy(stream_recovery="buffer")
    with LLMFactory("cohere", [], settings=settings, policy=policy) as factory:
        sandbox.cohere.reply(_reply(THOUGHT, thoughts=33_792, written=33_792))
        if streamed:
            *_, last = factory.stream_content("Hello", options=_own(seed=5))
            assert isinstance(last, Finish)
            response = last.response
        else:
            response = factory.generate_content("Hello", options=_own(seed=5))
        assert response.success
        assert [attempt.reason for attempt in response.attempts] == ["primary", f"once more, {MORE_ROOM}"]
    assert [request.json["max_tokens"] for request in sandbox.cohere.requests] == [1024 + 32_768, 64_000]


# ---- what is told of them ----


def test_models_that_were_retired_are_told_with_their_successors() -> None:
    [warning] = ending_warnings("c4ai-aya-expanse-8b")
    assert str(warning) == "c4ai-aya-expanse-8b was retired on 2026-04-04: ask command-r7b-12-2024 instead"


def test_why_each_field_is_sent(sandbox: Sandbox) -> None:
    with LLMFactory("cohere", [], settings=sandbox.environment()) as factory:
        assert factory.generate_content("Hello").warnings == ()
    [sent] = sandbox.cohere.requests
    fields = {field for field in WHY_SENT if not field.startswith("not sent: ")}
    assert set(sent.json) - {"model", "messages"} == fields
    assert not {field.removeprefix("not sent: ") for field in WHY_SENT if field not in fields} & set(sent.json)


def test_the_rules_are_told_with_their_sources() -> None:
    told = rules()
    assert {rule.about for rule in told} >= {"default model", "price", "thinking", "room to think", "limit", "ending"}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", rule.read) and rule.source for rule in told)
