"""Requests, as this package words them and as the vendor receives them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from understudy import File, Image, Message, Request, Text, Thinking, Tool, ToolCall, ToolResult
from understudy.errors import InvalidRequest, UnsupportedRequest
from understudy_cohere import CohereProvider
from understudy_cohere.wire import request_body

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

PLAIN, SEEING = "command-a-03-2025", "command-a-plus-05-2026"  # the second sees and thinks, and takes no tool_choice
HELLO = Message.user("Hello")
WEATHER = Tool(name="weather", description="Tells it.", parameters={"type": "object", "properties": {}})
DESCRIBED = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": {"type": "object", "properties": {}}},
}
CALL = ToolCall(id="toolu_1", name="weather", arguments={"city": "Zürich"})
CALLED = {
    "id": "toolu_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Zürich"}'},
}
RESULT = ToolResult(call_id="toolu_1", content="mild")
PICTURE = Image(data=b"png", media_type="image/png")


def _body(*messages: Message, model: str = PLAIN, **fields: Any) -> dict[str, Any]:
    body, warnings = request_body(Request(messages=messages or (HELLO,), **fields), model)
    assert warnings == ()
    return body


def _turns(*messages: Message, model: str = PLAIN) -> Any:
    return _body(*messages, model=model)["messages"]


def test_the_least_request() -> None:
    assert _body() == {
        "model": PLAIN,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    }


def test_settings_have_their_places() -> None:
    body = _body(system="Be kind.", stop=("END",), temperature=0.0, max_tokens=7, output_schema={"type": "object"})
    assert body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert {name: body[name] for name in ("stop_sequences", "temperature", "max_tokens")} == {
        "stop_sequences": ["END"],
        "temperature": 0.0,
        "max_tokens": 7,
    }
    assert body["response_format"] == {"type": "json_object", "json_schema": {"type": "object"}}
    assert [turn["role"] for turn in _body(system=" ")["messages"]] == ["user"]


@pytest.mark.parametrize(("choice", "expected"), [("auto", None), ("none", "NONE"), ("required", "REQUIRED")])
def test_tools_and_their_choice(choice: str, expected: str | None) -> None:
    body = _body(tools=(WEATHER,), tool_choice=choice)
    assert (body["tools"], body.get("tool_choice")) == ([DESCRIBED], expected)


def test_the_one_tool_that_must_be_called_is_the_only_one() -> None:
    body = _body(tools=(Tool(name="other"), WEATHER), tool_choice="weather")
    assert (body["tools"], body["tool_choice"]) == ([DESCRIBED], "REQUIRED")


def test_names_of_tools_are_worded_as_cohere_takes_them() -> None:
    call = ToolCall(id="1", name="read-file")
    history = (HELLO, Message.assistant(call), Message.tool(ToolResult(call_id="1", content="x")))
    body = _body(*history, tools=(Tool(name="read-file"),))
    assert body["tools"][0]["function"]["name"] == "read_file"
    assert body["messages"][1]["tool_calls"][0]["function"]["name"] == "read_file"
    with pytest.raises(UnsupportedRequest, match="differ in - and _ only"):
        _body(tools=(Tool(name="read-file"), Tool(name="read_file")))


def test_images_as_bytes_and_urls_for_models_that_see() -> None:
    detailed = Image(url="https://pictures.example/a.png", provider_data={"cohere": {"detail": "low"}})
    [turn] = _turns(Message.user(PICTURE, detailed, "Compare."), model=SEEING)
    assert turn["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n"}},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png", "detail": "low"}},
        {"type": "text", "text": "Compare."},
    ]


def test_what_cohere_cannot_take_is_refused_before_it_is_sent() -> None:
    with pytest.raises(UnsupportedRequest, match=f"{PLAIN} takes no images; command-a-plus-05-2026 does"):
        _body(Message.user(PICTURE))
    with pytest.raises(UnsupportedRequest, match="takes no files"):
        _body(Message.user(File(data=b"x", media_type="application/pdf")))
    with pytest.raises(UnsupportedRequest, match="only text"):
        _body(HELLO, Message.assistant(CALL), Message.tool(ToolResult(call_id="toolu_1", content=(PICTURE,))))
    with pytest.raises(UnsupportedRequest, match="an output schema or tools"):
        _body(tools=(WEATHER,), output_schema={"type": "object"})


def test_every_tool_result_is_a_message_of_its_own() -> None:
    failed = ToolResult(call_id="toolu_2", content=(Text("no"), Text(" luck")), is_error=True)
    other = ToolCall(id="toolu_2", name=CALL.name, arguments=CALL.arguments)
    turns = _turns(HELLO, Message.assistant(CALL, other), Message.tool(failed, RESULT))
    assert turns[1:] == [
        {"role": "assistant", "tool_calls": [CALLED, {**CALLED, "id": "toolu_2"}]},
        {"role": "tool", "tool_call_id": "toolu_1", "content": "mild"},
        {"role": "tool", "tool_call_id": "toolu_2", "content": "Error: no luck"},
    ]


THOUGHT = Thinking("Hm.", {"cohere": {"type": "thinking", "thinking": "Hm."}})
PLAN = Thinking("I will ask.", {"cohere": {"type": "tool_plan"}})
FOREIGN = Thinking("Hmm.", {"gemini": {"signature": "x"}})


def test_thinking_goes_back_to_models_of_cohere_that_think() -> None:
    history = (HELLO, Message.assistant(THOUGHT, FOREIGN, "Hi"), Message.user("And?"))
    text = {"type": "text", "text": "Hi"}
    assert _turns(*history, model=SEEING)[1]["content"] == [{"type": "thinking", "thinking": "Hm."}, text]
    assert _turns(*history)[1]["content"] == [text]


def test_beside_tool_calls_stands_a_plan_or_a_thought_and_never_a_text() -> None:
    def turn(*parts: Any, model: str = PLAIN) -> Any:
        return _turns(HELLO, Message.assistant(*parts, CALL), Message.tool(RESULT), model=model)[1]

    called = {"role": "assistant", "tool_calls": [CALLED]}
    thought = {"type": "thinking", "thinking": "Hm."}
    assert turn(PLAN) == {**called, "tool_plan": "I will ask."}
    assert turn(FOREIGN, "Let me see.") == {**called, "tool_plan": "Let me see."}
    assert turn(THOUGHT, "Let me see.", PLAN) == {**called, "tool_plan": "Let me see.\nI will ask."}
    assert turn(THOUGHT, model=SEEING) == {**called, "content": [thought]}
    assert turn(THOUGHT, "Let me see.", model=SEEING) == {
        **called,
        "content": [thought, {"type": "thinking", "thinking": "Let me see."}],
    }


def test_blank_texts_and_the_turns_they_leave_empty_are_left_out() -> None:
    turns = _turns(Message.user("", "Hello"), Message.assistant(" "), Message.assistant(PLAN), Message.user("Again"))
    assert turns == [{"role": "user", "content": [{"type": "text", "text": text}]} for text in ("Hello", "Again")]
    with pytest.raises(InvalidRequest, match="only empty text"):
        _body(Message.user("\n"), system="Be kind.")


def test_an_assistants_image_is_left_out_with_a_warning() -> None:
    drawn = Message("assistant", (PICTURE, Text("There.")))
    body, warnings = request_body(Request(messages=(HELLO, drawn, Message.user("Thanks"))), PLAIN)
    assert body["messages"][1]["content"] == [{"type": "text", "text": "There."}]
    assert [warning.setting for warning in warnings] == ["messages"]


def test_options_are_laid_over_the_body() -> None:
    options: Mapping[str, Any] = {"seed": 5, "p": 0.5, "documents": ["a"], "tools": [{"type": "function"}]}
    body = _body(tools=(WEATHER,), options={"cohere": options, "gemini": {"x": 1}})
    assert (body["seed"], body["p"], body["documents"]) == (5, 0.5, ["a"])
    assert body["tools"] == [DESCRIBED, {"type": "function"}]
    assert "x" not in body
    assert list(options["tools"]) == [{"type": "function"}]


@pytest.mark.parametrize("options", [["seed"], "seed", {"stream": True}])
def test_options_that_cannot_be_merged_are_refused(options: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"expected options\['cohere'\]"):
        _body(options={"cohere": options})


# ---- as the vendor receives it ----


def test_everything_at_once_is_accepted_and_received_as_worded(sandbox: Sandbox, provider: CohereProvider) -> None:
    request = Request(
        messages=(
            Message.user(PICTURE, "Look."),
            Message.assistant(THOUGHT, CALL),
            Message.tool(RESULT),
            Message.user("And now?"),
        ),
        system="Be kind.",
        tools=(Tool(name="weather", parameters={"type": "object", "properties": {"city": {"default": None}}}),),
        stop=("END",),
        model=SEEING,
        temperature=0.5,
        max_tokens=50,
        options={"cohere": {"seed": 5, "thinking": {"type": "enabled", "token_budget": 100}}},
    )
    before = repr(request)
    assert provider.generate(request).success
    [received] = sandbox.cohere.requests
    assert (received.method, received.path) == ("POST", "/v2/chat")
    assert received.json == {**request_body(request, SEEING)[0], "stream": False}
    list(provider.stream(request))
    assert sandbox.cohere.requests[1].json == {**request_body(request, SEEING)[0], "stream": True}
    assert repr(request) == before


def test_tools_and_a_schema_round_trip(provider: CohereProvider) -> None:
    asked = Request(messages=(HELLO,), tools=(WEATHER,), tool_choice="required")
    first = provider.generate(asked)
    [call] = first.tool_calls
    answered = (HELLO, first.message, Message.tool(ToolResult(call_id=call.id, content="mild")))
    assert "mild" in provider.generate(Request(messages=answered, tools=(WEATHER,))).content
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    structured = provider.generate(Request(messages=(HELLO,), output_schema=schema)).structured
    assert isinstance(structured, dict)
    assert isinstance(structured["age"], int)


def test_thinking_round_trips(sandbox: Sandbox, provider: CohereProvider) -> None:
    options = {"cohere": {"thinking": {"type": "enabled"}}}
    first = provider.generate(Request(messages=(HELLO,), model=SEEING, options=options))
    assert first.thinking
    provider.generate(Request(messages=(HELLO, first.message, Message.user("And?")), model=SEEING, options=options))
    sent_back = sandbox.cohere.requests[1].json["messages"][1]["content"][0]
    assert sent_back == {"type": "thinking", "thinking": first.thinking}
    assert first.thinking not in json.dumps(request_body(Request(messages=(HELLO, first.message)), PLAIN)[0])
