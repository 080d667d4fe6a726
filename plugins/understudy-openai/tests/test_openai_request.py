"""Requests to Chat Completions, as this package words them and as the vendor receives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from understudy import File, Image, Message, Request, Text, Thinking, Tool, ToolCall, ToolResult
from understudy.errors import InvalidRequest, UnsupportedRequest
from understudy_openai import OpenAIProvider
from understudy_openai.models import Endpoint
from understudy_openai.wire import request_body

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

OPENAI, GROQ, MISTRAL = Endpoint(is_openai=True), Endpoint("groq"), Endpoint("mistral", short_ids=True)
OLD, NEW = "gpt-4.1", "gpt-6-luna"  # the first takes a temperature, the second does not
HELLO = Message.user("Hello")
WEATHER = Tool(name="weather", description="Tells it.", parameters={"type": "object", "properties": {}})
CALL = ToolCall(id="call_1", name="weather", arguments={"city": "Bern"})
RESULT = ToolResult(call_id="call_1", content="mild")


def _body(*messages: Message, model: str = "llama-9", endpoint: Endpoint = GROQ, **fields: Any) -> dict[str, Any]:
    body, warnings = request_body(Request(messages=messages or (HELLO,), **fields), model, endpoint)
    assert warnings == ()
    return body


def _turns(*messages: Message, endpoint: Endpoint = GROQ) -> Any:
    return _body(*messages, endpoint=endpoint)["messages"]


def test_the_least_request() -> None:
    assert _body() == {"model": "llama-9", "messages": [{"role": "user", "content": "Hello"}]}


def test_settings_have_their_places() -> None:
    body = _body(system="Be kind.", stop=("END",), temperature=0.5, max_tokens=7)
    assert body["messages"][0] == {"role": "system", "content": "Be kind."}
    assert {name: body[name] for name in ("stop", "temperature", "max_tokens")} == {
        "stop": ["END"],
        "temperature": 0.5,
        "max_tokens": 7,
    }


def test_of_more_stop_texts_than_openai_takes_only_as_many_are_sent() -> None:
    for model in ("gpt-4.1", "llama-9"):  # the answer is cut at the others where it is read
        assert _body(model=model, stop=tuple("abcdef"))["stop"] == list("abcd")


@pytest.mark.parametrize("model", ["gpt-6-luna", "gpt-6-astra", "gpt-5.5", "o3", "openai/gpt-5-mini"])
def test_models_that_reason_get_no_stop_texts(model: str) -> None:
    assert "stop" not in _body(model=model, stop=("END",))
    own = Request(messages=(HELLO,), options={"groq": {"stop": ["END"]}})
    body, [warning] = request_body(own, model, GROQ)
    assert "stop" not in body
    assert str(warning) == f"stop was left out: {model} takes none"


@pytest.mark.parametrize(
    ("model", "endpoint", "name"),
    [
        ("llama-9", GROQ, "max_tokens"),
        ("gpt-4.1", GROQ, "max_tokens"),
        ("gpt-6-luna", GROQ, "max_completion_tokens"),
        ("openai/gpt-5.4-mini", GROQ, "max_completion_tokens"),
    ],
)
def test_the_limit_has_the_name_that_a_server_knows(model: str, endpoint: Endpoint, name: str) -> None:
    body = _body(model=model, endpoint=endpoint, max_tokens=7)
    assert {field: value for field, value in body.items() if "max" in field} == {name: 7}


def test_openai_itself_gets_the_newer_name_for_every_model() -> None:
    body, _ = request_body(Request(messages=(HELLO,), max_tokens=7), OLD, OPENAI)
    assert {field: value for field, value in body.items() if "max" in field} == {"max_completion_tokens": 7}


def test_the_callers_own_limit_takes_the_place_of_ours() -> None:
    body = _body(max_tokens=7, options={"openai": {"max_completion_tokens": 9}})
    assert {field: value for field, value in body.items() if "max" in field} == {"max_completion_tokens": 9}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("weather", {"type": "function", "function": {"name": "weather"}}),
    ],
)
def test_tools_and_their_choice(choice: str, expected: Any) -> None:
    body = _body(tools=(WEATHER,), tool_choice=choice)
    function = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object", "properties": {}}}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == expected


CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "strict"),
    [
        (CLOSED, True),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": CLOSED}}}, True),
        ({**CLOSED, "properties": {"a": {"$ref": "#/$defs/b"}}, "$defs": {"b": CLOSED}}, True),
        ({**CLOSED, "required": []}, False),
        ({**CLOSED, "additionalProperties": True}, False),
        ({**CLOSED, "properties": {"a": {"type": "array", "items": {"type": "object"}}}}, False),
        ({**CLOSED, "properties": {"a": {"type": "string", "default": "x"}}}, False),
        ({"type": "array", "items": CLOSED}, False),
        ({"type": "object"}, False),
    ],
)
def test_a_schema_is_followed_strictly_where_it_can_be(schema: dict[str, Any], strict: bool) -> None:
    described = {"name": "answer", "schema": schema, "strict": strict}
    assert _body(output_schema=schema)["response_format"] == {"type": "json_schema", "json_schema": described}


def test_attachments_as_bytes_and_urls() -> None:
    [turn] = _turns(
        Message.user(
            Image(data=b"png", media_type="image/png", provider_data={"groq": {"detail": "low"}}),
            Image(url="https://pictures.example/a.png"),
            File(data=b"pdf", media_type="application/pdf", name="a.pdf"),
            File(data="grüezi".encode(), media_type="text/markdown", name="a.md"),
            "Compare.",
        )
    )
    assert turn["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,cGRm"}},
        {"type": "text", "text": "a.md:\n\ngrüezi"},
        {"type": "text", "text": "Compare."},
    ]


def test_a_file_behind_a_url_is_another_targets() -> None:
    with pytest.raises(UnsupportedRequest, match="found a URL") as caught:
        _turns(Message.user(File(url="https://papers.example/a.pdf")))
    assert caught.value.provider == "groq"


def test_tool_calls_and_their_results_and_what_is_no_text_in_them() -> None:
    picture = Image(data=b"x", media_type="image/png")
    failed = ToolResult(call_id="call_2", content=(Text("no"), picture), is_error=True)
    turns = _turns(HELLO, Message.assistant("Wait.", CALL), Message.tool(RESULT, failed), Message.user("And?"))
    function = {"name": "weather", "arguments": '{"city": "Bern"}'}
    assert turns[1:] == [
        {
            "role": "assistant",
            "content": "Wait.",
            "tool_calls": [{"id": "call_1", "type": "function", "function": function}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "mild"},
        {"role": "tool", "tool_call_id": "call_2", "content": "Error: no"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Returned by the tool call call_2:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,eA=="}},
            ],
        },
        {"role": "user", "content": "And?"},
    ]


@pytest.mark.parametrize("call_id", ["toolu_" + "x" * 40, "call 1", "é"])
def test_ids_that_are_refused_become_ones_that_are_accepted(call_id: str) -> None:
    call = ToolCall(id=call_id, name="weather")
    _, asked, told = _turns(HELLO, Message.assistant(call), Message.tool(ToolResult(call_id=call_id, content="mild")))
    assert asked["tool_calls"][0]["id"] == told["tool_call_id"]
    assert len(told["tool_call_id"]) == 9


def test_mistral_gets_ids_of_its_own_form() -> None:
    _, asked, told = _turns(HELLO, Message.assistant(CALL), Message.tool(RESULT), endpoint=MISTRAL)
    assert asked["tool_calls"][0]["id"] == told["tool_call_id"]
    assert told["tool_call_id"].isalnum()
    assert len(told["tool_call_id"]) == 9
    own = ToolCall(id="vgk36ms47", name="weather")
    _, asked, _ = _turns(HELLO, Message.assistant(own), Message.tool(RESULT), endpoint=MISTRAL)
    assert asked["tool_calls"][0]["id"] == "vgk36ms47"


def test_reasoning_goes_back_to_its_own_server_while_it_calls_tools() -> None:
    own = Thinking("Hm.", {"groq": {"reasoning_content": "Hm."}})
    foreign = Thinking("Hmm.", {"claude": {"signature": "x"}, "openai": {"reasoning_content": "Hmm."}})
    said = _turns(HELLO, Message.assistant(own, foreign, "Hi"), Message.user("And?"))[1]
    assert said == {"role": "assistant", "content": "Hi"}
    called = _turns(HELLO, Message.assistant(own, foreign, CALL), Message.tool(RESULT))[1]
    assert (called["reasoning_content"], called["content"]) == ("Hm.", None)
    assert "reasoning_content" not in _turns(HELLO, Message.assistant(own, CALL), endpoint=OPENAI)[1]


def test_what_a_server_put_on_its_call_goes_back_with_it() -> None:
    signed = ToolCall(id="call_1", name="weather", provider_data={"groq": {"extra_content": {"s": 1}, "item": {}}})
    [call] = _turns(HELLO, Message.assistant(signed), Message.tool(RESULT))[1]["tool_calls"]
    assert set(call) == {"id", "type", "function", "extra_content"}
    [call] = _turns(HELLO, Message.assistant(signed), Message.tool(RESULT), endpoint=OPENAI)[1]["tool_calls"]
    assert set(call) == {"id", "type", "function"}


def test_blank_texts_and_the_turns_they_leave_empty_are_left_out() -> None:
    turns = _turns(Message.user("", "Hello"), Message.assistant(" "), Message.user("Again"))
    assert turns == [{"role": "user", "content": "Hello"}, {"role": "user", "content": "Again"}]
    with pytest.raises(InvalidRequest, match="only empty text"):
        _body(Message.user("\n"))


def test_an_assistants_image_is_left_out_with_a_warning() -> None:
    drawn = Message("assistant", (Image(data=b"x", media_type="image/png"), Text("There.")))
    body, warnings = request_body(Request(messages=(HELLO, drawn, Message.user("Thanks"))), OLD, GROQ)
    assert body["messages"][1] == {"role": "assistant", "content": "There."}
    assert [warning.setting for warning in warnings] == ["messages"]


# ---- options ----


def test_options_are_laid_over_the_body() -> None:
    search = {"type": "web_search"}
    options = {"seed": 5, "effort": "low", "tools": [search], "top_p": None, "api": "chat"}
    body = _body(tools=(WEATHER,), options={"openai": options, "gemini": {"x": 1}})
    assert (body["seed"], body["reasoning_effort"]) == (5, "low")
    assert [tool["type"] for tool in body["tools"]] == ["function", "web_search"]
    assert not {"x", "top_p", "api", "effort"} & set(body)
    assert options["tools"] == [search]


def test_options_under_the_providers_own_name_stand_before_those_for_openai() -> None:
    both = {"openai": {"seed": 1, "user": "u"}, "groq": {"seed": 2}}
    assert _body(options=both)["seed"] == 2
    assert "user" not in _body(options=both)
    assert _body(options=both, endpoint=MISTRAL)["seed"] == 1


@pytest.mark.parametrize("options", [["seed"], "seed", {"stream": True}, {"api": "assistants"}])
def test_options_that_cannot_be_merged_are_refused(options: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"expected options\['groq'\]"):
        _body(options={"groq": options})


def test_usage_is_asked_for_in_a_stream_unless_the_server_refuses_that() -> None:
    body, _ = request_body(Request(messages=(HELLO,)), OLD, GROQ, stream=True)
    assert (body["stream"], body["stream_options"]) == (True, {"include_usage": True})
    without = Request(messages=(HELLO,), options={"groq": {"stream_options": None}})
    assert "stream_options" not in request_body(without, OLD, GROQ, stream=True)[0]
    unwanted = Request(messages=(HELLO,), options={"groq": {"stream_options": {"include_usage": True}}})
    assert not {"stream", "stream_options"} & set(request_body(unwanted, OLD, GROQ)[0])


# ---- as the vendor receives it ----


def test_everything_at_once_is_accepted_and_received_as_worded(sandbox: Sandbox, provider: OpenAIProvider) -> None:
    request = Request(
        messages=(
            Message.user(Image(data=b"png", media_type="image/png"), File(data=b"x", media_type="text/plain"), "Look."),
            Message.assistant(Thinking("Hm.", {"openai": {"reasoning_content": "Hm."}}), CALL),
            Message.tool(ToolResult(call_id="call_1", content=(Text("mild"),), is_error=True)),
            Message.user("And now?"),
        ),
        system="Be kind.",
        tools=(WEATHER,),
        tool_choice="none",
        stop=("END",),
        model=OLD,
        temperature=0.5,
        max_tokens=50,
        options={"openai": {"seed": 5, "metadata": {"user_id": "u"}}},
    )
    assert provider.generate(request).success
    list(provider.stream(request))
    plain, streamed = sandbox.openai.requests
    assert (plain.method, plain.path) == ("POST", "/v1/chat/completions")
    assert plain.json == request_body(request, OLD, Endpoint())[0]
    assert streamed.json == request_body(request, OLD, Endpoint(), stream=True)[0]


def test_tools_and_a_schema_round_trip(api: str, provider: OpenAIProvider) -> None:
    options = {"openai": {"api": api}}
    asked = Request(messages=(HELLO,), tools=(WEATHER,), tool_choice="required", model=OLD, options=options)
    first = provider.generate(asked)
    [call] = first.tool_calls
    answered = (HELLO, first.message, Message.tool(ToolResult(call_id=call.id, content="mild")))
    assert "mild" in provider.generate(Request(messages=answered, tools=(WEATHER,), model=OLD, options=options)).content
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    for strict in ({}, {"additionalProperties": False}):
        request = Request(messages=(HELLO,), output_schema={**schema, **strict}, model=OLD, options=options)
        structured = provider.generate(request).structured
        assert isinstance(structured, dict)
        assert isinstance(structured["age"], int)
