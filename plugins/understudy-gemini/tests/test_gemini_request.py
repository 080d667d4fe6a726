"""What is sent: each part of a request as Gemini's JSON."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import date
from types import MappingProxyType
from typing import Any

import pytest

from understudy import File, Image, Message, Request, Text, Thinking, Tool, ToolCall, ToolResult
from understudy.errors import UnsupportedRequest
from understudy_gemini import GeminiProvider
from understudy_gemini.wire import request_body
from understudy_sandbox import Sandbox

DAY = date(2026, 11, 30)  # the last before Google has other models answer for two of 2.5
MODEL = "gemini-3.8-flash"
SIGNED = {"gemini": {"thoughtSignature": "c2lnbmVk"}}
WEATHER = Tool(name="weather", description="Tells it", parameters={"type": "object", "properties": {"at": {}}})


def body_of(*messages: Message, model: str = MODEL, provider: str = "gemini", **fields: Any) -> dict[str, Any]:
    body, _ = request_body(Request(messages=messages, **fields), model, provider, DAY)
    json.dumps(body)  # whatever is in it, JSON can be written of it
    return body


def parts_of(*messages: Message, model: str = MODEL) -> list[list[dict[str, Any]]]:
    return [content["parts"] for content in body_of(*messages, model=model)["contents"]]


def test_a_conversation_keeps_its_turns_and_its_system_instructions_apart() -> None:
    body = body_of(Message.user("a"), Message.assistant("b"), Message.user("c", "d"), system="be short")
    assert body == {
        "contents": [
            {"role": "user", "parts": [{"text": "a"}]},
            {"role": "model", "parts": [{"text": "b"}]},
            {"role": "user", "parts": [{"text": "c"}, {"text": "d"}]},
        ],
        "systemInstruction": {"parts": [{"text": "be short"}]},
    }


def test_images_and_files_go_inline_or_by_address() -> None:
    message = Message.user(
        Image(data=b"\x89PNG", media_type="image/png"),
        File(data=b"%PDF", media_type="application/pdf", name="a.pdf"),
        Image(url="https://example.org/cat.jpeg"),
        File(url="gs://bucket/unknown", media_type="text/plain"),
        File(url="https://example.org/unknown"),
    )
    assert parts_of(message) == [
        [
            {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
            {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
            {"fileData": {"fileUri": "https://example.org/cat.jpeg", "mimeType": "image/jpeg"}},
            {"fileData": {"fileUri": "gs://bucket/unknown", "mimeType": "text/plain"}},
            {"fileData": {"fileUri": "https://example.org/unknown"}},
        ]
    ]


@pytest.mark.parametrize(
    ("choice", "mode"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        ("weather", {"mode": "ANY", "allowedFunctionNames": ["weather"]}),
    ],
)
def test_tools_are_declared_with_their_json_schema(choice: str, mode: dict[str, Any]) -> None:
    body = body_of(Message.user("a"), tools=(WEATHER,), tool_choice=choice)
    schema = {"type": "object", "properties": {"at": {}}}
    declaration = {"name": "weather", "description": "Tells it", "parametersJsonSchema": schema}
    assert body["tools"] == [{"functionDeclarations": [declaration]}]
    assert body["toolConfig"] == {"functionCallingConfig": mode}


def test_each_call_gets_its_own_result_in_the_order_of_the_calls_right_after_them() -> None:
    rome, oslo, bonn = (ToolCall(id=name, name="weather", arguments={"at": name}) for name in ("Rome", "Oslo", "Bonn"))
    parts = parts_of(
        Message.tool(ToolResult(call_id="before", name="clock", content="noon")),
        Message.user("a"),
        Message.assistant(rome, oslo, bonn),
        Message.tool(ToolResult(call_id="Oslo", content="cold"), ToolResult(call_id="nobody's", content="?")),
        Message.user("hurry"),
        Message.tool(ToolResult(call_id="Rome", name="other", content="no", is_error=True)),
        Message.tool(ToolResult(call_id="Oslo", name="weather", content="warm")),
        Message.assistant(rome),
        Message.tool(ToolResult(call_id="Rome", content="hot")),
    )
    missing = {"error": "The tool returned no result."}
    assert parts[0] == [{"text": "The tool clock returned: noon"}]
    assert parts[3] == [
        {"functionResponse": {"name": "weather", "response": answer}}
        for answer in ({"error": "no"}, {"output": "cold"}, missing)
    ]
    assert parts[4:7] == [
        [{"text": told}] for told in ("The tool nobody's returned: ?", "hurry", "The tool weather returned: warm")
    ]
    assert parts[8] == [{"functionResponse": {"name": "weather", "response": {"output": "hot"}}}]
    assert len(parts) == 9


def test_calls_of_one_id_take_their_results_in_turn_and_a_call_at_the_end_gets_one() -> None:
    twice = [ToolCall(id="0", name="weather", arguments={"at": at}) for at in ("Rome", "Oslo")]
    results = Message.tool(*(ToolResult(call_id="0", content=answer) for answer in ("hot", "cold")))
    parts = parts_of(Message.user("a"), Message.assistant(*twice), results, Message.assistant(twice[0]))
    told = [[part["functionResponse"]["response"] for part in one] for one in (parts[2], parts[4])]
    assert told == [[{"output": "hot"}, {"output": "cold"}], [{"error": "The tool returned no result."}]]


def test_an_id_that_gemini_gave_goes_back_with_the_call_and_with_its_result() -> None:
    call = ToolCall(id="g1", name="weather", provider_data={"gemini": {"id": "g1", "thoughtSignature": "c2ln"}})
    result = ToolResult(call_id="g1", content=(Text("hot"), Image(data=b"i", media_type="image/png")))
    parts = parts_of(Message.user("a"), Message.assistant(call), Message.tool(result))
    assert parts[1] == [{"functionCall": {"id": "g1", "name": "weather", "args": {}}, "thoughtSignature": "c2ln"}]
    attached = [{"inlineData": {"mimeType": "image/png", "data": "aQ=="}}]
    response = {"name": "weather", "id": "g1", "response": {"output": "hot"}, "parts": attached}
    assert parts[2] == [{"functionResponse": response}]


def test_signatures_go_back_as_they_came_and_thinking_of_others_stays_out() -> None:
    answer = Message.assistant(
        Thinking("theirs", {"claude": {"signature": "x"}}),
        Thinking("ours", {"gemini": {"thoughtSignature": "c2lnbmVk"}}),
        Thinking("ours, unsigned", {"gemini": {}}),
        Text("b", SIGNED),
        Text("", {"gemini": {"part": {"executableCode": {"code": "1"}}}}),
        Text("c", {"claude": {"cache": True}}),
    )
    assert parts_of(Message.user("a"), answer, Message.user("d"))[1] == [
        {"text": "ours", "thought": True, "thoughtSignature": "c2lnbmVk"},
        {"text": "b", "thoughtSignature": "c2lnbmVk"},
        {"executableCode": {"code": "1"}},
        {"text": "c"},
    ]


def test_a_turn_of_which_nothing_is_left_is_left_out() -> None:
    answer = Message.assistant(Thinking("theirs", {"claude": {"signature": "x"}}))
    assert parts_of(Message.user("a"), answer, Message.user("", "b"))[1] == [{"text": "b"}]


@pytest.mark.parametrize(("model", "signed"), [(MODEL, True), ("models/gemini-3-pro", True), ("gemini-2.5-pro", False)])
def test_a_call_that_gemini_did_not_make_says_so_where_signatures_are_wanted(model: str, signed: bool) -> None:
    calls = Message.assistant(ToolCall(id="toolu_1", name="weather"), ToolCall(id="toolu_2", name="weather"))
    first, second = parts_of(Message.user("a"), calls, Message.user("b"), model=model)[1]
    assert first.get("thoughtSignature") == ("skip_thought_signature_validator" if signed else None)
    assert "thoughtSignature" not in second


def test_limits_stops_and_schema_go_into_the_generation_config() -> None:
    schema = MappingProxyType({"type": "object"})
    body = body_of(Message.user("a"), model="gemini-2.5-flash-lite", temperature=0.5, max_tokens=9, stop=("x",))
    assert body["generationConfig"] == {"temperature": 0.5, "maxOutputTokens": 9, "stopSequences": ["x"]}
    body = body_of(Message.user("a"), output_schema=schema)
    assert body["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
    }


def test_options_are_merged_last_each_into_its_place() -> None:
    options = {
        "gemini": {
            "thinkingConfig": {"thinkingLevel": "LOW"},
            "maxOutputTokens": 7,
            "tools": [{"googleSearch": {}}],
            "toolConfig": {"functionCallingConfig": {"mode": "VALIDATED"}},
            "safetySettings": [{"category": "c", "threshold": "BLOCK_NONE"}],
        },
        "vertex": {"labels": {"team": "a"}, "thinkingConfig": {"includeThoughts": True}},
        "claude": {"top_k": 5},
    }
    body = body_of(Message.user("a"), tools=(WEATHER,), max_tokens=9, options=options, provider="vertex")
    thinking = {"thinkingLevel": "LOW", "includeThoughts": True}
    assert body["generationConfig"] == {"maxOutputTokens": 7, "thinkingConfig": thinking}
    assert [list(tool) for tool in body["tools"]] == [["functionDeclarations"], ["googleSearch"]]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}
    assert body["safetySettings"][0]["threshold"] == "BLOCK_NONE"
    assert body["labels"] == {"team": "a"}
    assert "labels" not in body_of(Message.user("a"), options=options, provider="gemini")


def test_the_request_is_not_changed() -> None:
    options: dict[str, Any] = {"gemini": {"thinkingConfig": {"thinkingLevel": "LOW"}, "labels": {"a": "b"}}}
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    before = copy.deepcopy((options, schema))
    request = Request(messages=(Message.user("a"),), options=options, output_schema=schema)
    body, _ = request_body(request, MODEL, "gemini", DAY)
    body["generationConfig"]["thinkingConfig"]["thinkingLevel"] = body["labels"]["a"] = "changed"
    body["generationConfig"]["responseJsonSchema"]["properties"]["x"] = {}
    assert (options, schema) == before


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        ("gemini-3.8-flash", ["temperature"]),
        ("gemini-4-argon", ["temperature"]),
        ("gemini-3.5-flash-lite", ["temperature"]),
        ("gemini-flash-latest", ["temperature"]),
        ("gemini-3.5-flash", []),
        ("gemini-2.5-flash-lite", []),
        ("gemini-2.5-flash", ["model"]),
        ("publishers/google/models/gemini-2.0-flash", ["model"]),
        ("gemini-pro", ["model"]),
        ("gemini-pro-latest", []),
        ("a-model-of-mine", []),
    ],
)
def test_what_a_model_ignores_is_not_sent_and_what_ends_is_told(model: str, settings: list[str]) -> None:
    body, warnings = request_body(Request(messages=(Message.user("a"),), temperature=0.3), model, "gemini", DAY)
    assert [warning.setting for warning in warnings] == settings
    assert ("generationConfig" in body) == ("temperature" not in settings)
    if "model" in settings:
        assert "gemini-3" in str(warnings[0])


def test_a_conversation_that_ends_with_the_assistant_is_refused_only_where_the_model_refuses_it() -> None:
    messages = Message.user("a"), Message.assistant("I think")
    with pytest.raises(UnsupportedRequest, match="ends with the assistant's words"):
        body_of(*messages)
    assert body_of(*messages, model="gemini-3.1-pro-preview")["contents"][-1]["role"] == "model"


def test_the_body_reaches_the_vendor_as_it_was_written(
    provider: GeminiProvider, sandbox: Sandbox, ask: Callable[..., Any]
) -> None:
    request = Request(
        messages=(
            Message.user("What is the weather?", Image(data=b"\x00\xff", media_type="image/png")),
            Message.assistant(ToolCall(id="1", name="weather", arguments={"at": None, "Contents": "ü"})),
            Message.tool(ToolResult(call_id="1", content="hot")),
        ),
        system="be short",
        tools=(Tool(name="weather", parameters={"type": "object", "properties": {"Contents": {"type": "string"}}}),),
        stop=("END",),
        max_tokens=50,
        model=MODEL,
        options={"gemini": {"thinkingConfig": {"thinkingLevel": "LOW"}}},
    )
    ask(provider, request)
    assert sandbox.gemini.requests[-1].json == request_body(request, MODEL, "gemini", DAY)[0]
