"""Requests, as this package words them and as the server receives them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from understudy import (
    File,
    Finish,
    Image,
    LLMFactory,
    LLMResponse,
    Message,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from understudy.errors import InvalidRequest, UnsupportedRequest
from understudy_ollama import OllamaProvider
from understudy_ollama.models import DEFAULT_MODEL
from understudy_ollama.wire import request_body

if TYPE_CHECKING:
    from understudy_sandbox import Sandbox

HELLO = Message.user("Hello")
WEATHER = Tool(name="weather", description="Tells it.", parameters={"type": "object", "properties": {}})
TIME = Tool(name="time")
CALL = ToolCall(id="call_1", name="weather", arguments={"city": "Bern"})
RESULT = ToolResult(call_id="call_1", content="mild")
PNG = Image(data=b"png", media_type="image/png")


def _body(*messages: Message, **fields: Any) -> dict[str, Any]:
    body, warnings = request_body(Request(messages=messages or (HELLO,), **fields), "llama3")
    assert warnings == ()
    return body


def _turns(*messages: Message) -> Any:
    return _body(*messages)["messages"]


def test_the_least_request_asks_the_server_to_cut_nothing() -> None:
    assert _body() == {
        "model": "llama3",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": False,
        "truncate": False,
        "shift": False,
    }


def test_settings_have_their_places() -> None:
    schema = {"type": "object", "properties": {"age": {"anyOf": [{"type": "integer"}, {"type": "null"}]}}}
    body = _body(system="Be kind.", stop=("END",), temperature=0.0, max_tokens=7, output_schema=schema)
    assert body["options"] == {"temperature": 0.0, "num_predict": 7, "stop": ["END"]}
    assert body["format"] == schema
    assert body["messages"][0] == {"role": "system", "content": "Be kind."}


def test_a_tools_schema_goes_out_whole() -> None:
    schema = {"type": "object", "$defs": {"a": {}}, "properties": {"x": {"anyOf": [{"$ref": "#/$defs/a"}]}}}
    body = _body(tools=(Tool(name="weather", description="Tells it.", parameters=schema),))
    function = {"name": "weather", "description": "Tells it.", "parameters": schema}
    assert body["tools"] == [{"type": "function", "function": function}]


@pytest.mark.parametrize(
    ("choice", "sent", "warned"),
    [
        ("auto", ["weather", "time"], []),
        ("none", [], []),
        ("required", ["weather", "time"], ["tool_choice"]),
        ("time", ["time"], ["tool_choice"]),
    ],
)
def test_a_choice_of_tools_is_made_by_leaving_others_out(choice: str, sent: list[str], warned: list[str]) -> None:
    body, warnings = request_body(Request(messages=(HELLO,), tools=(WEATHER, TIME), tool_choice=choice), "llama3")
    assert [tool["function"]["name"] for tool in body.get("tools", ())] == sent
    assert [warning.setting for warning in warnings] == warned


def test_images_go_as_bytes_beside_the_text() -> None:
    [turn] = _turns(Message.user("Compare.", PNG, PNG, "Briefly."))
    assert turn == {"role": "user", "content": "Compare.\n\nBriefly.", "images": ["cG5n", "cG5n"]}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (Image(url="https://pictures.example/a.png"), "found a URL: Ollama fetches none"),
        (File(data=b"pdf", media_type="application/pdf"), "found a file"),
        (File(url="https://papers.example/a.pdf"), "found a file"),
    ],
)
def test_what_ollama_does_not_take_is_refused_before_it_is_sent(part: Image | File, words: str) -> None:
    with pytest.raises(UnsupportedRequest, match=words):
        _body(Message.user("Look.", part))
    with pytest.raises(UnsupportedRequest, match=words):
        _body(HELLO, Message.assistant(CALL), Message.tool(ToolResult(call_id="call_1", content=(part,))))


def test_only_what_is_taken_is_declared() -> None:
    lacking = OllamaProvider.capabilities.lacking
    assert lacking(Request(messages=(Message.user(PNG),), tools=(WEATHER,), output_schema={})) is None
    assert lacking(Request(messages=(Message.user(File(url="https://x.example")),))) == "does not take files"


def test_tool_calls_and_their_results_carry_id_and_name() -> None:
    failed = ToolResult(call_id="other:vendor/2", content=(Text("no"), PNG), is_error=True)
    second = ToolCall(id="other:vendor/2", name="time")
    turns = _turns(HELLO, Message.assistant("Well.", CALL, second), Message.tool(failed, RESULT))
    function = {"name": "weather", "arguments": {"city": "Bern"}}
    assert turns[1] == {
        "role": "assistant",
        "content": "Well.",
        "tool_calls": [
            {"id": "call_1", "function": function},
            {"id": "other_vendor_2", "function": {"name": "time", "arguments": {}}},
        ],
    }
    assert turns[2:] == [  # in the order of the calls
        {"role": "tool", "content": "mild", "tool_call_id": "call_1", "tool_name": "weather"},
        {
            "role": "tool",
            "content": "Error: no",
            "tool_call_id": "other_vendor_2",
            "tool_name": "time",
            "images": ["cG5n"],
        },
    ]


def test_thinking_goes_back_to_ollama_only() -> None:
    own, foreign = Thinking("Hm.", {"ollama": {"thinking": "Hm."}}), Thinking("Hmm.", {"claude": {"signature": "x"}})
    turns = _turns(HELLO, Message.assistant(own, foreign, "Hi ", "there"), Message.assistant(foreign), HELLO)
    assert turns[1] == {"role": "assistant", "content": "Hi there", "thinking": "Hm."}
    assert [turn["role"] for turn in turns] == ["user", "assistant", "user"]
    with pytest.raises(InvalidRequest, match="foreign thinking"):
        _body(Message.assistant(foreign))


def test_options_are_laid_over_the_body_and_those_of_a_model_find_their_place() -> None:
    options: dict[str, Any] = {
        "think": "low",
        "keep_alive": 0,
        "options": {"num_ctx": 8192, "temperature": 1.0},
        "top_k": 5,
        "truncate": True,
        "tools": [{"type": "function", "function": {"name": "own"}}],
    }
    before = copy.deepcopy(options)
    body = _body(temperature=0.5, max_tokens=7, tools=(WEATHER,), options={"ollama": options, "gemini": {"x": 1}})
    assert body["options"] == {"temperature": 1.0, "num_predict": 7, "num_ctx": 8192, "top_k": 5}
    assert (body["think"], body["keep_alive"], body["truncate"], body["shift"]) == ("low", 0, True, False)
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather", "own"]
    assert "x" not in body
    assert options == before


@pytest.mark.parametrize("options", [["think"], "think", {"stream": True}, {"options": ["num_ctx"]}])
def test_options_that_cannot_be_merged_are_refused(options: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"expected options\['ollama'\]"):
        _body(options={"ollama": options})


# ---- as the server receives it ----


def test_everything_at_once_is_accepted_and_received_as_worded(sandbox: Sandbox, provider: OllamaProvider) -> None:
    request = Request(
        messages=(
            Message.user(PNG, "Look."),
            Message.assistant(Thinking("Hm.", {"ollama": {"thinking": "Hm."}}), CALL),
            Message.tool(ToolResult(call_id="call_1", content=(Text("mild"),), is_error=True)),
            Message.user("And now?"),
        ),
        system="Be kind.",
        tools=(WEATHER,),
        stop=("END",),
        temperature=0.5,
        max_tokens=50,
        options={"ollama": {"options": {"num_ctx": 8192}, "keep_alive": "10m", "think": False}},
    )
    assert provider.generate(request).success
    [received] = sandbox.ollama.requests
    assert (received.method, received.path) == ("POST", "/api/chat")
    assert received.json == request_body(request, DEFAULT_MODEL)[0]
    list(provider.stream(request))
    assert sandbox.ollama.requests[1].json == {**request_body(request, DEFAULT_MODEL)[0], "stream": True}


@pytest.mark.parametrize("streamed", [False, True])
def test_tools_and_a_schema_round_trip(streamed: bool, provider: OllamaProvider) -> None:
    asked = Message.user("What is the weather?")
    first = _ask(provider, Request(messages=(asked,), tools=(WEATHER,)), streamed)
    [call] = first.tool_calls
    answered = (asked, first.message, Message.tool(ToolResult(call_id=call.id, content="mild")))
    assert "mild" in _ask(provider, Request(messages=answered, tools=(WEATHER,)), streamed).content
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
    structured = _ask(provider, Request(messages=(HELLO,), output_schema=schema), streamed).structured
    assert isinstance(structured, dict)
    assert isinstance(structured["age"], int)


def _ask(provider: OllamaProvider, request: Request, streamed: bool) -> LLMResponse:
    if not streamed:
        return provider.generate(request)
    *_, last = provider.stream(request)
    assert isinstance(last, Finish)
    return last.response


def test_thinking_round_trips(sandbox: Sandbox, provider: OllamaProvider) -> None:
    options = {"ollama": {"think": True}}
    first = provider.generate(Request(messages=(HELLO,), options=options))
    assert first.thinking
    provider.generate(Request(messages=(HELLO, first.message, Message.user("And?")), options=options))
    assert sandbox.ollama.requests[1].json["messages"][1]["thinking"] == first.thinking


def test_a_models_name_may_hold_colons_in_a_route(sandbox: Sandbox) -> None:
    factory = LLMFactory(primary_provider="ollama:llama3:8b", settings=sandbox.environment())
    response = factory.generate_content("Hello")
    factory.close()
    assert (response.success, response.provider_name, response.model) == (True, "ollama", "llama3:8b")
    assert sandbox.ollama.requests[0].json["model"] == "llama3:8b"
