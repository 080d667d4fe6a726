"""Histories of other vendors: ids, results and turns as the Messages API takes them."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from understudy import Image, Message, Request, Text, Thinking, Tool, ToolCall, ToolResult
from understudy_claude import ClaudeProvider
from understudy_claude.failures import WITH_THOUGHTS
from understudy_claude.history import ADDED, NO_CALL, turns_of
from understudy_toolkit.pairing import NO_RESULT

if TYPE_CHECKING:
    from conftest import Ask

    from understudy_sandbox import Sandbox

HELLO = Message.user("Hello")
WEATHER = Tool(name="weather", description="Tells it.")


def _call(*ids: str) -> Message:
    return Message.assistant(*(ToolCall(id=name, name="weather", arguments={"of": name}) for name in ids))


def _result(name: str, text: str = "mild", **more: Any) -> ToolResult:
    return ToolResult(call_id=name, content=text, name="weather", **more)


def _pairs(*messages: Message) -> list[tuple[str, str]]:
    """Return the id of each call with what its result says, after a look at what the API asks of both."""
    turns, _ = turns_of(messages)
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2) + ["user"] * (len(turns) % 2)
    pairs = []
    for before, after in pairwise(turns):
        calls = [block["id"] for block in before["content"] if block["type"] == "tool_use"]
        results = after["content"][: len(calls)]
        assert [block["tool_use_id"] for block in results] == calls
        assert all(block["type"] != "tool_result" for block in after["content"][len(calls) :])
        pairs += [(name, block["content"]) for name, block in zip(calls, results, strict=True)]
    ids = [name for name, _ in pairs]
    assert len({*ids}) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in ids)
    return pairs


@pytest.mark.parametrize(
    ("messages", "pairs"),
    [
        (
            (
                _call("call-0"),
                Message.tool(_result("call-0", "a")),
                _call("call-0"),
                Message.tool(_result("call-0", "b")),
            ),
            [("call-0", "a"), ("call-0_2", "b")],
        ),
        ((_call("x", "x"), Message.tool(_result("x", "a"), _result("x", "b"))), [("x", "a"), ("x_2", "b")]),
        ((_call("", ""), Message.tool(_result("", "a"), _result("", "b"))), [("call", "a"), ("call_2", "b")]),
        ((_call("f:0", "f.0"), Message.tool(_result("f.0", "b"), _result("f:0", "a"))), [("f_0", "a"), ("f_0_2", "b")]),
        ((_call("x", "y"), Message.tool(_result("y", "b")), Message.tool(_result("x", "a"))), [("x", "a"), ("y", "b")]),
        ((_call("x", "y"), Message.tool(_result("y", "b"))), [("x", NO_RESULT), ("y", "b")]),
        ((_call("x"), Message.user("Never mind.")), [("x", NO_RESULT)]),
        ((_call("x"),), [("x", NO_RESULT)]),
        (
            (_call("x"), Message.user("Wait."), Message.assistant("Yes?"), Message.tool(_result("x", "late"))),
            [("x", "late")],
        ),
        (
            (_call("x"), Message.user("Well?"), _call("x"), Message.tool(_result("x", "b"))),
            [("x", NO_RESULT), ("x_2", "b")],
        ),
        ((_call("x"), _call("y"), Message.tool(_result("y", "b"), _result("x", "a"))), [("x", "a"), ("y", "b")]),
    ],
)
def test_each_call_has_an_id_of_its_own_and_its_result(messages: Any, pairs: list[tuple[str, str]]) -> None:
    assert _pairs(HELLO, *messages) == pairs


def test_long_ids_stay_apart() -> None:
    one, two = "x" * 100 + "1", "x" * 100 + "2"
    pairs = _pairs(HELLO, _call(one, two), Message.tool(_result(two, "b"), _result(one, "a")))
    assert [said for _, said in pairs] == ["a", "b"]


def test_ids_stay_the_same_while_a_conversation_grows() -> None:
    turns = [HELLO, _call("x"), Message.tool(_result("x")), _call("x"), Message.tool(_result("x"))]
    assert _pairs(*turns)[:1] == _pairs(*turns[:3])


def test_results_without_a_call_are_told_as_texts_with_a_warning() -> None:
    turns, warnings = turns_of(
        (HELLO, _call("x"), Message.tool(_result("x"), _result("x", "again"), _result("z", "b")))
    )
    texts = [block["text"] for block in turns[2]["content"] if block["type"] == "text"]
    assert texts == ["Result of weather: again", "Result of weather: b"]
    assert [str(warning) for warning in warnings] == [NO_CALL]
    _, warnings = turns_of((HELLO, _call("x")))
    assert [str(warning) for warning in warnings] == [ADDED]


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (_result("x", "", is_error=True), {"content": "The tool failed and said nothing.", "is_error": True}),
        (_result("x", " \n", is_error=True), {"content": "The tool failed and said nothing.", "is_error": True}),
        (
            ToolResult(call_id="x", content=(Text(" "),), is_error=True),
            {"content": "The tool failed and said nothing.", "is_error": True},
        ),
        (_result("x", ""), {}),
        (ToolResult(call_id="x", content=(Text(""),)), {}),
        (_result("x", "no", is_error=True), {"content": "no", "is_error": True}),
    ],
)
def test_a_result_that_says_nothing(given: ToolResult, sent: dict[str, Any]) -> None:
    turns, _ = turns_of((HELLO, _call("x"), Message.tool(given)))
    assert turns[2]["content"] == [{"type": "tool_result", "tool_use_id": "x", **sent}]


def test_a_conversation_begins_with_the_user() -> None:
    turns, [warning] = turns_of((Message.assistant("Welcome."), HELLO))
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert turns[0]["content"][0]["text"].strip()
    assert warning.setting == "messages"


def test_a_thought_is_put_where_a_server_wants_one() -> None:
    kept = Thinking("It rains.", {"elsewhere": {}})
    turns, _ = turns_of((HELLO, Message.assistant(kept, "Take a coat."), HELLO, _call("x")), "", {WITH_THOUGHTS})
    first, second = turns[1]["content"][0], turns[3]["content"][0]
    assert first == {"type": "thinking", "thinking": "It rains.", "signature": ""}
    assert (second["type"], bool(second["thinking"].strip())) == ("thinking", True)


def test_the_vendor_takes_the_worst_of_histories(ask: Ask, sandbox: Sandbox, provider: ClaudeProvider) -> None:
    history = (
        Message.assistant("Welcome."),
        Message.user("", "Look."),
        Message.assistant(" ", Thinking("Hm.")),
        _call("call:0", "", "call:0"),
        Message.user(Image(data=b"x", media_type="image/png")),
        Message.tool(_result("", "b", is_error=True), _result("nobody's")),
        Message.tool(_result("call:0", "", is_error=True)),
        _call("call:0"),
        Message.user("And now?"),
    )
    response = ask(provider, Request(messages=history, tools=(WEATHER,)))
    assert response.success
    assert len(response.warnings) == 3
