"""Thinking goes back word for word, to the account that it came from, and not at all where Claude refuses it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from understudy import LLMFactory, Message, Request, Settings, Text, Thinking, Tool, ToolResult
from understudy.errors import UnsupportedRequest
from understudy_claude import ClaudeProvider
from understudy_claude.failures import WITHOUT_THINKING

if TYPE_CHECKING:
    from conftest import Ask, Call

    from understudy_sandbox import Sandbox

HELLO = Message.user("Hello there")
AND = Message.user("And?")
WEATHER = Tool(name="weather", description="Tells it.")
BUDGET = {"claude": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}
SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}


def _kinds(body: dict[str, Any]) -> list[list[str]]:
    return [[block["type"] for block in message["content"]] for message in body["messages"]]


@pytest.fixture
def other(sandbox: Sandbox) -> Iterator[ClaudeProvider]:
    """A provider of another account."""
    made = ClaudeProvider(Settings(environment=sandbox.environment() | {"ANTHROPIC_API_KEY": "another-key"}))
    yield made
    made.close()


# ---- bound to what stood before them ----


def test_a_conversation_that_only_grows_keeps_its_thinking(
    ask: Ask, sandbox: Sandbox, provider: ClaudeProvider
) -> None:
    turns: tuple[Message, ...] = (HELLO,)
    for _ in range(3):
        response = ask(provider, Request(messages=turns, system="Be kind.", tools=(WEATHER,)))
        assert response.warnings == ()
        turns = (*turns, response.message, AND)
    sent = _kinds(sandbox.claude.requests[-1].json)
    assert sent == [["text"], ["thinking", "text"], ["text"], ["thinking", "text"], ["text"]]


@pytest.mark.parametrize(
    "change",
    [
        {"system": "Be unkind."},
        {"tools": (WEATHER, Tool(name="time"))},
        {"messages": (Message.user("Hello you"),)},
    ],
    ids=["system", "tools", "messages"],
)
def test_a_change_before_it_is_a_refusal_that_says_what_helps(
    ask: Ask, sandbox: Sandbox, provider: ClaudeProvider, change: dict[str, Any]
) -> None:
    asked = Request(messages=(HELLO,), system="Be kind.", tools=(WEATHER,))
    answer = ask(provider, asked).message
    changed = replace(asked, **change)
    again = replace(changed, messages=(*changed.messages, answer, AND))
    with pytest.raises(UnsupportedRequest, match="bound to a different conversation") as caught:
        ask(provider, again)
    assert caught.value.adaptation == WITHOUT_THINKING
    response = ask(provider, replace(again, adaptation=WITHOUT_THINKING))
    assert _kinds(sandbox.claude.requests[-1].json) == [["text"], ["text"], ["text"]]
    assert [warning.setting for warning in response.warnings] == ["messages"]
    assert "Claude refused it, since something before it has changed" in str(response.warnings[0])


def test_the_same_target_answers_once_more_without_thinking(call: Call, factory: LLMFactory) -> None:
    first = call(factory, "Hello there", system="Today is Monday.", temperature=None)
    assert any(isinstance(part, Thinking) for part in first.parts)
    second = call(factory, [HELLO, first.message, AND], system="Today is Tuesday.", temperature=None)
    assert [(a.target, a.outcome, a.reason) for a in second.attempts] == [
        ("claude", "failed", "primary"),
        ("claude", "succeeded", f"once more, {WITHOUT_THINKING}"),
    ]
    history = [HELLO, Message.assistant(first.content), AND, second.message, AND]
    third = call(factory, history, system="Today is Tuesday.", temperature=None)
    assert third.warnings == ()  # the second answer's thinking is bound to what was sent with it
    assert len(third.attempts) == 1


def test_an_open_turn_of_tools_goes_on_without_its_thinking(call: Call, sandbox: Sandbox, factory: LLMFactory) -> None:
    history = [Message.user("Please use weather.")]
    called = call(factory, history, tools=[WEATHER], system="Today is Monday.", temperature=None)
    [one] = called.tool_calls
    history += [called.message, Message.tool(ToolResult(call_id=one.id, content="mild"))]
    answered = call(factory, history, tools=[WEATHER], system="Today is Tuesday.", temperature=None)
    assert "mild" in answered.content
    first, second = sandbox.claude.requests[-2:]
    assert _kinds(first.json) == [["text"], ["thinking", "tool_use"], ["tool_result"]]
    assert _kinds(second.json) == [["text"], ["tool_use"], ["tool_result"]]


def test_a_budget_goes_with_the_thinking_of_an_open_turn(ask: Ask, sandbox: Sandbox, provider: ClaudeProvider) -> None:
    asked = Request(
        messages=(Message.user("Please use weather."),), tools=(WEATHER,), model="claude-haiku-4-5", options=BUDGET
    )
    called = ask(provider, asked)
    result = Message.tool(ToolResult(call_id=called.tool_calls[0].id, content="mild"))
    again = replace(asked, messages=(*asked.messages, called.message, result))
    assert ask(provider, again).warnings == ()
    response = ask(provider, replace(again, adaptation=WITHOUT_THINKING))
    assert [warning.setting for warning in response.warnings] == ["messages", "thinking"]
    assert ["thinking" in one.json for one in sandbox.claude.requests[-2:]] == [True, False]


def test_what_the_vendors_own_tools_did_stays(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    own = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
    answer = Message("assistant", (Thinking("", {"claude": own}), Thinking("", {"claude": SEARCH}), Text("See.")))
    provider.generate(Request(messages=(HELLO, answer, AND), adaptation=WITHOUT_THINKING))
    assert _kinds(sandbox.claude.requests[0].json)[1] == ["server_tool_use", "text"]


# ---- of one account ----


def test_thinking_goes_to_no_other_account(
    ask: Ask, sandbox: Sandbox, provider: ClaudeProvider, other: ClaudeProvider
) -> None:
    answer = ask(provider, Request(messages=(HELLO,))).message
    [signature] = [part.provider_data["claude"]["signature"] for part in answer.parts if isinstance(part, Thinking)]
    asked = Request(messages=(HELLO, answer, AND))
    response = ask(other, asked)
    assert signature not in sandbox.claude.requests[-1].body.decode()
    assert [warning.setting for warning in response.warnings] == ["messages"]
    assert "thinking from another Claude account was left out" in str(response.warnings[0])
    assert ask(provider, asked).warnings == ()
    assert signature in sandbox.claude.requests[-1].body.decode()


def test_the_mark_of_an_account_is_not_sent_and_tells_no_key(
    ask: Ask, sandbox: Sandbox, provider: ClaudeProvider, other: ClaudeProvider
) -> None:
    marks = []
    for one in (provider, other):
        answer = ask(one, Request(messages=(HELLO,))).message
        [mark] = [part.provider_data["claude-account"]["mark"] for part in answer.parts if isinstance(part, Thinking)]
        ask(one, Request(messages=(HELLO, answer, AND)))
        assert mark not in sandbox.claude.requests[-1].body.decode()
        assert mark not in one.credential
        marks.append(mark)
    assert len(set(marks)) == 2


def test_other_things_of_another_account_go_without_what_is_its_own(
    sandbox: Sandbox, provider: ClaudeProvider, other: ClaudeProvider
) -> None:
    content = [SEARCH, {"type": "text", "text": "Blue.", "citations": [{"type": "web_search_result_location"}]}]
    usage = {"input_tokens": 7, "output_tokens": 9}
    body = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content, "usage": usage}
    sandbox.claude.reply({**body, "stop_reason": "end_turn", "stop_sequence": None})
    answer = provider.generate(Request(messages=(HELLO,))).message
    asked = Request(messages=(HELLO, answer, AND))
    provider.generate(asked)
    other.generate(asked)
    own, foreign = (one.json["messages"][1]["content"] for one in sandbox.claude.requests[-2:])
    assert own == content
    assert foreign == [{"type": "text", "text": "Blue."}]


def test_thinking_without_a_mark_goes_to_every_account(sandbox: Sandbox, other: ClaudeProvider) -> None:
    own = {"type": "redacted_thinking", "data": "ZGF0YQ=="}
    answer = Message("assistant", (Thinking("", {"claude": own}), Text("Hi")))
    assert other.generate(Request(messages=(HELLO, answer, AND))).warnings == ()
    assert json.loads(sandbox.claude.requests[0].body)["messages"][1]["content"][0] == own
