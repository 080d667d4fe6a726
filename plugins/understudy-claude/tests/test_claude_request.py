"""Requests, as this package words them and as the vendor receives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from understudy import File, Image, Message, Request, ResponseWarning, Text, Thinking, Tool, ToolCall, ToolResult
from understudy.errors import InvalidRequest
from understudy_claude import ClaudeProvider
from understudy_claude.models import DEFAULT_MAX_TOKENS, DEFAULT_MODEL, ending_warnings, takes_sampling
from understudy_claude.wire import request_body

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

OLD, NEW = "claude-haiku-4-5", "claude-sonnet-5-5"  # the first takes a temperature, the second does not
HELLO = Message.user("Hello")
WEATHER = Tool(name="weather", description="Tells it.", parameters={"type": "object", "properties": {}})
CALL = ToolCall(id="toolu_1", name="weather", arguments={"city": "Bern"})
OTHER = ToolCall(id="toolu_2", name="weather", arguments={"city": "Rome"})
NAMES = {"type": "array", "items": {"type": "string"}}
RESULT = ToolResult(call_id="toolu_1", content="mild")


def _body(*messages: Message, model: str = OLD, **fields: Any) -> dict[str, Any]:
    body, asked = request_body(Request(messages=messages or (HELLO,), **fields), model)
    assert asked.warnings == ()
    return body


def _fitted(request: Request, model: str) -> tuple[dict[str, Any], tuple[ResponseWarning, ...]]:
    """Return a body, and what it was fitted by."""
    body, asked = request_body(request, model)
    return body, asked.warnings


def _turns(*messages: Message) -> Any:
    return _body(*messages)["messages"]


def test_the_least_request() -> None:
    assert _body() == {
        "model": OLD,
        "max_tokens": DEFAULT_MAX_TOKENS,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }


def test_settings_have_their_places() -> None:
    body = _body(system="Be kind.", stop=("END",), temperature=0.5, max_tokens=7, output_schema=NAMES)
    assert {name: body[name] for name in ("system", "stop_sequences", "temperature", "max_tokens")} == {
        "system": "Be kind.",
        "stop_sequences": ["END"],
        "temperature": 0.5,
        "max_tokens": 7,
    }
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": NAMES}}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ("weather", {"type": "tool", "name": "weather"}),
    ],
)
def test_tools_and_their_choice(choice: str, expected: dict[str, str]) -> None:
    body = _body(tools=(WEATHER,), tool_choice=choice)
    schema = {"type": "object", "properties": {}}
    assert body["tools"] == [{"name": "weather", "description": "Tells it.", "input_schema": schema}]
    assert body["tool_choice"] == expected


def test_attachments_as_bytes_and_urls() -> None:
    [turn] = _turns(
        Message.user(
            Image(data=b"png", media_type="image/png"),
            Image(url="https://pictures.example/a.png"),
            File(data=b"pdf", media_type="application/pdf", name="a.pdf"),
            File(url="https://papers.example/a.pdf"),
            File(data="grüezi".encode(), media_type="text/markdown"),
            "Compare.",
        )
    )
    assert turn["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}},
        {"type": "image", "source": {"type": "url", "url": "https://pictures.example/a.png"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "url", "url": "https://papers.example/a.pdf"}},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "grüezi"}},
        {"type": "text", "text": "Compare."},
    ]


def test_tool_results_join_the_users_turn_and_come_first() -> None:
    failed = ToolResult(
        call_id="toolu_2", content=(Text("no"), Image(data=b"x", media_type="image/png")), is_error=True
    )
    turns = _turns(
        HELLO, Message.assistant(CALL, OTHER), Message.user("And?"), Message.tool(failed), Message.tool(RESULT)
    )
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    assert [block["id"] for block in turns[1]["content"]] == ["toolu_1", "toolu_2"]
    first, second, text = turns[2]["content"]
    assert first == {"type": "tool_result", "tool_use_id": "toolu_1", "content": "mild"}
    assert (second["tool_use_id"], second["is_error"]) == ("toolu_2", True)
    assert [inner["type"] for inner in second["content"]] == ["text", "image"]
    assert text == {"type": "text", "text": "And?"}


def test_ids_of_other_vendors_calls_become_ones_that_claude_accepts() -> None:
    call = ToolCall(id="call:1/a", name="weather")
    turns = _turns(HELLO, Message.assistant(call), Message.tool(ToolResult(call_id="call:1/a", content="mild")))
    assert turns[1]["content"][0]["id"] == turns[2]["content"][0]["tool_use_id"] == "call_1_a"


def test_thinking_goes_back_word_for_word_to_claude_only() -> None:
    own = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    foreign = Thinking("Hmm.", {"gemini": {"signature": "x"}})
    turns = _turns(HELLO, Message.assistant(Thinking("Hm.", {"claude": own}), foreign, "Hi"), Message.user("And?"))
    assert turns[1]["content"] == [own, {"type": "text", "text": "Hi"}]


def test_marks_of_this_vendor_on_a_part_are_sent_and_those_of_others_are_not() -> None:
    mark = {"cache_control": {"type": "ephemeral"}}
    [turn] = _turns(Message("user", (Text("Long.", {"claude": mark, "gemini": {"x": 1}}),)))
    assert turn["content"] == [{"type": "text", "text": "Long.", **mark}]


def test_blank_texts_and_the_turns_they_leave_empty_are_left_out() -> None:
    turns = _turns(Message.user("", "Hello"), Message.assistant(" "), Message.user("Again"))
    assert turns == [{"role": "user", "content": [{"type": "text", "text": text} for text in ("Hello", "Again")]}]
    with pytest.raises(InvalidRequest, match="only empty text"):
        _body(Message.user("\n"))


def test_an_assistants_image_is_left_out_with_a_warning() -> None:
    drawn = Message("assistant", (Image(data=b"x", media_type="image/png"), Text("There.")))
    body, warnings = _fitted(Request(messages=(HELLO, drawn, Message.user("Thanks"))), OLD)
    assert body["messages"][1]["content"] == [{"type": "text", "text": "There."}]
    assert [warning.setting for warning in warnings] == ["messages"]


def test_options_are_laid_over_the_body() -> None:
    options: Mapping[str, Any] = {
        "top_k": 5,
        "metadata": {"user_id": "u"},
        "effort": "low",
        "tools": [{"type": "web_search_20250305", "name": "web_search"}],
    }
    asked = {"output_schema": NAMES, "options": {"claude": options, "gemini": {"x": 1}}}
    body = _body(model="claude-opus-4-6", tools=(WEATHER,), **asked)
    assert (body["top_k"], body["metadata"]) == (5, {"user_id": "u"})
    assert body["output_config"] == {"format": {"type": "json_schema", "schema": NAMES}, "effort": "low"}
    assert [tool["name"] for tool in body["tools"]] == ["weather", "web_search"]
    assert "x" not in body
    assert list(options["tools"]) == [{"type": "web_search_20250305", "name": "web_search"}]


def test_thinking_has_room_above_its_budget() -> None:
    body = _body(options={"claude": {"thinking": {"type": "enabled", "budget_tokens": 2000}}})
    assert body["max_tokens"] == DEFAULT_MAX_TOKENS + 2000


@pytest.mark.parametrize("options", [["top_k"], "top_k", {"stream": True}])
def test_options_that_cannot_be_merged_are_refused(options: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"expected options\['claude'\]"):
        _body(options={"claude": options})


# ---- what a model refuses ----


@pytest.mark.parametrize(
    ("model", "taken"),
    [
        ("claude-3-haiku-20240307", True),
        ("claude-opus-4-20250514", True),
        ("claude-opus-4-6", True),
        ("claude-opus-4-7", False),
        ("claude-opus-5", False),
        ("claude-sonnet-4-6", True),
        ("claude-sonnet-4-5-20250929", True),
        ("claude-sonnet-5", False),
        ("claude-haiku-4-5-20251001", True),
        ("claude-haiku-5-5", False),
        ("claude-fable-5-1", False),
        ("claude-mythos-preview", False),
        ("claude-instant-1.2", True),
        ("claude-2.1", True),
        ("anthropic/claude-sonnet-5-5", False),
        ("a-gateways-own-name", True),
    ],
)
def test_which_models_take_sampling_settings(model: str, taken: bool) -> None:
    assert takes_sampling(model) is taken


def test_sampling_settings_that_a_model_refuses_are_left_out_with_a_warning() -> None:
    request = Request(messages=(HELLO,), temperature=0.0, options={"claude": {"top_k": 5}})
    body, warnings = _fitted(request, NEW)
    assert not {"temperature", "top_k"} & set(body)
    assert [warning.setting for warning in warnings] == ["temperature", "top_k"]
    assert str(warnings[0]) == "temperature was left out: claude-sonnet-5-5 takes none"


def test_stop_texts_of_white_space_are_left_out_with_a_warning() -> None:
    body, [warning] = _fitted(Request(messages=(HELLO,), stop=("\n", "END")), OLD)
    assert (body["stop_sequences"], warning.setting) == (["END"], "stop")
    assert "stop_sequences" not in request_body(Request(messages=(HELLO,), stop=("\n",)), OLD)[0]


def test_a_temperature_above_one_becomes_one() -> None:
    body, [warning] = _fitted(Request(messages=(HELLO,), temperature=1.5), OLD)
    assert (body["temperature"], warning.setting) == (1.0, "temperature")


def test_a_temperature_is_left_out_while_claude_thinks() -> None:
    options = {"claude": {"thinking": {"type": "enabled", "budget_tokens": 1024}}}
    body, [warning] = _fitted(Request(messages=(HELLO,), temperature=0.5, options=options), OLD)
    assert "temperature" not in body
    assert warning.setting == "temperature"


def test_a_model_that_ends_is_still_asked_with_a_warning_that_names_its_successor() -> None:
    body, [warning] = _fitted(Request(messages=(HELLO,)), "claude-3-sonnet-20240229")
    assert body["model"] == "claude-3-sonnet-20240229"
    assert (
        str(warning) == "claude-3-sonnet-20240229 retires on 2025-07-21, or has retired: ask claude-sonnet-5-5 instead"
    )
    assert ending_warnings(DEFAULT_MODEL) == ()


# ---- as the vendor receives it ----


def test_everything_at_once_is_accepted_and_received_as_worded(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    request = Request(
        messages=(
            Message.user(Image(data=b"png", media_type="image/png"), File(data=b"x", media_type="text/plain"), "Look."),
            Message.assistant(Thinking("", {"claude": {"type": "redacted_thinking", "data": "ZGF0YQ=="}}), CALL),
            Message.tool(ToolResult(call_id="toolu_1", content=(Text("mild"),), is_error=True)),
            Message.user("And now?"),
        ),
        system="Be kind.",
        tools=(WEATHER,),
        tool_choice="none",
        stop=("END",),
        model=OLD,
        temperature=0.5,
        max_tokens=50,
        options={"claude": {"top_k": 5, "metadata": {"user_id": "u"}}},
    )
    response = provider.generate(request)
    assert response.success
    [received] = sandbox.claude.requests
    assert (received.method, received.path) == ("POST", "/v1/messages")
    assert received.json == request_body(request, OLD)[0]
    list(provider.stream(request))
    assert sandbox.claude.requests[1].json == {**request_body(request, OLD)[0], "stream": True}


def test_tools_and_a_schema_round_trip(provider: ClaudeProvider) -> None:
    asked = Request(messages=(HELLO,), tools=(WEATHER,), tool_choice="required", model=OLD)
    first = provider.generate(asked)
    [call] = first.tool_calls
    answered = (HELLO, first.message, Message.tool(ToolResult(call_id=call.id, content="mild")))
    assert "mild" in provider.generate(Request(messages=answered, tools=(WEATHER,), model=OLD)).content
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    structured = provider.generate(Request(messages=(HELLO,), output_schema=schema, model=OLD)).structured
    assert isinstance(structured, dict)
    assert isinstance(structured["age"], int)


def test_thinking_round_trips(sandbox: Sandbox, provider: ClaudeProvider) -> None:
    options = {"claude": {"thinking": {"type": "adaptive", "display": "summarized"}, "effort": "low"}}
    first = provider.generate(Request(messages=(HELLO,), options=options))
    assert first.thinking
    provider.generate(Request(messages=(HELLO, first.message, Message.user("And?")), options=options))
    sent_back = sandbox.claude.requests[1].json["messages"][1]["content"][0]
    assert sent_back["type"] == "thinking"
    assert sent_back["signature"]
