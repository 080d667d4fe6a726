"""`max_tokens` is the answer's: the room for thinking beside it, little effort for short answers, and more room."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Finish, LLMFactory, Message, Request, Settings, TextDelta, Tool
from understudy.errors import AnswerCutShort, EmptyResponse
from understudy_claude import ClaudeProvider
from understudy_claude.models import DEFAULT_MAX_TOKENS
from understudy_claude.reply import response_of
from understudy_claude.streaming import StreamReader
from understudy_claude.wire import Asked, request_body
from understudy_sandbox import faults
from understudy_toolkit.thinking import MORE_ROOM, ROOM

if TYPE_CHECKING:
    from conftest import Ask, Call

    from understudy_sandbox import Sandbox

HELLO = Message.user("Hello there")
THOUGHT = {"type": "thinking", "thinking": "", "signature": "c2ln"}
CUT = {"type": "text", "text": "The sky"}


def _message(*content: Any, output: int, thinking: int, stop_reason: str = "max_tokens") -> dict[str, Any]:
    usage = {"input_tokens": 3, "output_tokens": output, "output_tokens_details": {"thinking_tokens": thinking}}
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": [*content]}
    return {**body, "stop_reason": stop_reason, "stop_sequence": None, "usage": usage}


def _sent(model: str, claude: Any, max_tokens: int | None = 1024, adaptation: str | None = None) -> tuple[int, Any]:
    """Return the limit that is sent, and the effort."""
    asked = Request(
        messages=(HELLO,), model=model, max_tokens=max_tokens, options={"claude": claude}, adaptation=adaptation
    )
    body, _ = request_body(asked, model)
    assert ClaudeProvider(Settings(environment={})).thinking_room(asked) == (
        0 if "max_tokens" in claude else max(0, body["max_tokens"] - (max_tokens or DEFAULT_MAX_TOKENS))
    )
    return body["max_tokens"], body.get("output_config", {}).get("effort")


@pytest.mark.parametrize(
    ("model", "max_tokens", "claude", "limit", "effort"),
    [
        ("claude-haiku-5-5", 1024, {}, 1024 + ROOM["low"], "low"),
        ("claude-haiku-5-5", 5, {}, 5 + ROOM["low"], "low"),
        ("claude-haiku-5-5", 1025, {}, 1025 + ROOM["medium"], None),
        ("claude-haiku-5-5", None, {}, DEFAULT_MAX_TOKENS + ROOM["medium"], None),
        ("claude-sonnet-5-5", 2000, {}, 2000 + ROOM["high"], None),
        ("claude-opus-5-5", 2000, {}, 2000 + ROOM["medium"], None),
        ("claude-haiku-5-5", 1024, {"effort": "max"}, 1024 + ROOM["max"], "max"),
        ("claude-haiku-5-5", 1024, {"thinking": {"type": "adaptive"}}, 1024 + ROOM["medium"], None),
        ("claude-haiku-5-5", 1024, {"thinking": {"type": "disabled"}}, 1024, None),
        ("claude-sonnet-5-5", 1024, {"thinking": {"type": "disabled"}}, 1024 + ROOM["minimal"], None),
        ("claude-opus-5-5", 2000, {"thinking": {"type": "disabled"}}, 2000 + ROOM["low"], "low"),
        ("claude-haiku-5-5", 127_000, {}, 128_000, None),
        ("claude-haiku-5-5", 200_000, {}, 128_000, None),
        ("claude-haiku-5-5", 1024, {"max_tokens": 3000}, 3000, None),
        ("claude-haiku-5-5", 2000, {"max_tokens": 500}, 500, "low"),
        ("claude-haiku-4-5", 1024, {}, 1024, None),
        ("claude-opus-4-8", 1024, {}, 1024, None),
        ("claude-opus-4-8", 1024, {"thinking": {"type": "adaptive"}}, 1024 + ROOM["high"], None),
        ("claude-haiku-4-5", 1024, {"thinking": {"type": "enabled", "budget_tokens": 2000}}, 3024, None),
        ("claude-haiku-4-5", 63_000, {"thinking": {"type": "enabled", "budget_tokens": 2000}}, 64_000, None),
        ("our-own-model", 1024, {}, 1024, None),
        ("our-own-model", 1024, {"effort": "low"}, 1024, "low"),
    ],
)
def test_the_room_beside_the_answer(model: str, max_tokens: Any, claude: Any, limit: int, effort: Any) -> None:
    assert _sent(model, claude, max_tokens) == (limit, effort)


@pytest.mark.parametrize(
    ("model", "claude", "limit"),
    [
        ("claude-haiku-5-5", {}, 1024 + 4 * ROOM["low"]),
        ("claude-sonnet-5-5", {"effort": "high"}, 128_000),
        ("claude-haiku-4-5", {"thinking": {"type": "enabled", "budget_tokens": 2000}}, 1024 + 4 * 2000),
        ("our-own-model", {}, 1024 + 4 * ROOM["low"]),
    ],
)
def test_more_room_is_four_times_as_much_up_to_the_models_limit(model: str, claude: Any, limit: int) -> None:
    assert _sent(model, claude, adaptation=MORE_ROOM)[0] == limit


def test_without_room_a_default_call_would_starve_and_with_it_answers(
    ask: Ask, sandbox: Sandbox, provider: ClaudeProvider
) -> None:
    for model in ("claude-sonnet-5-5", "claude-opus-5"):
        starving = {"max_tokens": 1024, "effort": "high"}  # as it was sent before there was room
        with pytest.raises(EmptyResponse, match="max_tokens") as caught:
            ask(provider, Request(messages=(HELLO,), model=model, max_tokens=1024, options={"claude": starving}))
        assert caught.value.adaptation is None  # the limit is the caller's own word: more room cannot be asked for
        assert caught.value.usage is not None
        assert caught.value.usage.output_tokens == 1024
        for claude in ({}, {"effort": "high"}):
            asked = Request(messages=(HELLO,), model=model, max_tokens=1024, options={"claude": claude})
            response = ask(provider, asked)
            assert response.content.endswith('You said: "Hello there"')
            assert response.usage is not None
            assert (response.usage.thinking_tokens > 1024) is (claude == {"effort": "high"})


def test_a_short_schema_keeps_its_place_beside_the_effort(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    asked = Request(messages=(HELLO,), output_schema=schema, max_tokens=50)
    assert provider.generate(asked).structured == {"age": 1}
    assert sandbox.claude.requests[0].json["output_config"] == {
        "format": {"type": "json_schema", "schema": {**schema, "additionalProperties": False}},
        "effort": "low",
    }


# ---- an answer that thinking starved all the same ----


def test_an_empty_answer_is_asked_for_once_more_with_more_room(
    call: Call, sandbox: Sandbox, factory: LLMFactory
) -> None:
    sandbox.claude.next(faults.out_of_tokens())
    response = call(factory, "Hello there", temperature=None)
    assert response.success
    assert [(a.target, a.outcome, a.reason) for a in response.attempts] == [
        ("claude", "failed", "primary"),
        ("claude", "succeeded", f"once more, {MORE_ROOM}"),
    ]
    assert [one.json["max_tokens"] for one in sandbox.claude.requests] == [1024 + 4096, 1024 + 4 * 4096]


def test_a_cut_answer_is_asked_for_once_more_with_more_room(sandbox: Sandbox, factory: LLMFactory) -> None:
    sandbox.claude.reply(_message(THOUGHT, CUT, output=5120, thinking=5118), "The sky is blue.")
    response = factory.generate_content("Why?", temperature=None)
    assert response.content == "The sky is blue."
    assert [a.reason for a in response.attempts] == ["primary", f"once more, {MORE_ROOM}"]


def test_a_stream_whose_text_is_given_ends_with_a_warning(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    asked = Request(messages=(HELLO,), max_tokens=1024)
    sandbox.claude.reply(*[_message(THOUGHT, CUT, output=5120, thinking=5118)] * 2)

    async def events() -> list[Any]:
        return [event async for event in provider.astream(asked)]

    for told in (list(provider.stream(asked)), asyncio.run(events())):
        assert "".join(event.text for event in told if isinstance(event, TextDelta)) == "The sky"
        assert isinstance(told[-1], Finish)
        [warning] = told[-1].response.warnings
        assert str(warning) == "thinking used up the limit: the answer was cut after 2 of 1024 tokens"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (_message(THOUGHT, output=5120, thinking=5120), EmptyResponse),
        (_message(THOUGHT, CUT, output=5120, thinking=5118), AnswerCutShort),
    ],
)
def test_what_it_cost_is_told(body: Any, kind: type[EmptyResponse | AnswerCutShort]) -> None:
    asked = Request(messages=(HELLO,), max_tokens=1024, output_schema={"type": "object"})
    with pytest.raises(kind) as caught:
        response_of(body, {}, Asked(asked, thinks=True))
    assert (caught.value.adaptation, caught.value.provider) == (MORE_ROOM, "claude")
    assert caught.value.usage is not None
    assert caught.value.usage.output_tokens == 5120


def test_nothing_helps_twice_nor_a_model_that_did_not_think() -> None:
    empty = _message(output=1024, thinking=0)
    for asked in (
        Asked(Request(messages=(HELLO,), adaptation=MORE_ROOM), thinks=True),
        Asked(Request(messages=(HELLO,))),
        Asked(Request(messages=(HELLO,)), thinks=True, fixed=True),
    ):
        with pytest.raises(EmptyResponse) as caught:
            response_of(empty, {}, asked)
        assert caught.value.adaptation is None
    with pytest.raises(EmptyResponse) as caught:
        response_of({**empty, "stop_reason": "end_turn"}, {}, Asked(Request(messages=(HELLO,)), thinks=True))
    assert caught.value.adaptation is None
    with pytest.raises(EmptyResponse) as caught:
        response_of(_message(THOUGHT, output=1024, thinking=0), {}, Asked(Request(messages=(HELLO,))))
    assert caught.value.adaptation == MORE_ROOM  # it thought although nothing was known of it


def test_a_stream_that_has_told_of_a_call_is_not_begun_anew() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}
    reader = StreamReader({}, Asked(Request(messages=(HELLO,), tools=(Tool(name="weather"),)), thinks=True))
    piece = {"type": "input_json_delta", "partial_json": '{"city": "Be'}
    for event in (
        {"type": "message_start", "message": _message(output=1, thinking=0)},
        {"type": "content_block_start", "index": 0, "content_block": call},
        {"type": "content_block_delta", "index": 0, "delta": piece},
        {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": {"output_tokens": 5120}},
        {"type": "message_stop"},
    ):
        reader.feed(event)
    with pytest.raises(EmptyResponse) as caught:
        reader.finish()
    assert caught.value.adaptation is None


@pytest.mark.parametrize(
    ("max_tokens", "claude", "thinks"),
    [(1024, {}, False), (2000, {}, True), (1024, {"effort": "high"}, True), (2000, {"effort": "low"}, False)],
)
def test_how_long_an_answer_may_take(max_tokens: int, claude: Any, thinks: bool) -> None:
    asked = Request(messages=(HELLO,), max_tokens=max_tokens, options={"claude": claude})
    assert ClaudeProvider(Settings(environment={})).pace(asked).thinks is thinks
