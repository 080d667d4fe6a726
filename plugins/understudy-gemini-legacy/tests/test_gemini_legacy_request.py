"""What is sent: each part of a request as the JSON of the SDK's own message."""

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
from understudy_gemini_legacy import GeminiLegacyProvider
from understudy_gemini_legacy.wire import request_body
from understudy_sandbox import Sandbox

DAY = date(2026, 11, 30)  # the last before Google has other models answer for two of 2.5
MODEL = "gemini-3.8-flash"
OLDER = "gemini-2.5-flash-lite"
PLACE = {"type": "object", "properties": {"at": {"type": "string"}}}
WEATHER = Tool(name="weather", description="Tells it", parameters=PLACE)


def body_of(*messages: Message, model: str = MODEL, provider: str = "gemini-legacy", **fields: Any) -> dict[str, Any]:
    body, _ = request_body(Request(messages=messages, **fields), model, provider, DAY)
    json.dumps(body)  # whatever is in it, JSON can be written of it
    return body


def parts_of(*messages: Message, model: str = MODEL) -> list[list[dict[str, Any]]]:
    return [content["parts"] for content in body_of(*messages, model=model)["contents"]]


def test_a_conversation_keeps_its_turns_and_its_system_instructions_apart() -> None:
    body = body_of(Message.user("a"), Message.assistant("b"), Message.user("c", "d"), system="be short")
    assert body == {
        "model": "models/gemini-3.8-flash",
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
def test_tools_are_declared_with_their_schema(choice: str, mode: dict[str, Any]) -> None:
    body = body_of(Message.user("a"), tools=(WEATHER,), tool_choice=choice)
    schema = {"type": "OBJECT", "properties": {"at": {"type": "STRING"}}}
    declaration = {"name": "weather", "description": "Tells it", "parameters": schema}
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
        model=OLDER,
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
    parts = parts_of(Message.user("a"), Message.assistant(*twice), results, Message.assistant(twice[0]), model=OLDER)
    told = [[part["functionResponse"]["response"] for part in one] for one in (parts[2], parts[4])]
    assert told == [[{"output": "hot"}, {"output": "cold"}], [{"error": "The tool returned no result."}]]


def test_an_id_that_gemini_gave_goes_back_with_the_call_and_with_its_result() -> None:
    call = ToolCall(id="g1", name="weather", provider_data={"gemini": {"id": "g1", "thoughtSignature": "c2ln"}})
    result = ToolResult(call_id="g1", content=(Text("hot"),))
    parts = parts_of(Message.user("a"), Message.assistant(call), Message.tool(result), model=OLDER)
    assert parts[1] == [{"functionCall": {"id": "g1", "name": "weather", "args": {}}}]
    assert parts[2] == [{"functionResponse": {"name": "weather", "id": "g1", "response": {"output": "hot"}}}]


def test_what_the_sdk_has_no_place_for_stays_out() -> None:
    answer = Message.assistant(
        Thinking("theirs", {"claude": {"signature": "x"}}),
        Thinking("Gemini's", {"gemini": {"thoughtSignature": "c2lnbmVk"}}),
        Text("b", {"gemini": {"thoughtSignature": "c2lnbmVk"}}),
        Text("", {"gemini": {"part": {"executableCode": {"code": "1", "language": "PYTHON", "id": "new"}}}}),
        Text("", {"gemini": {"part": {"toolCall": {"id": "new"}}}}),
        Text("c", {"claude": {"cache": True}}),
    )
    assert parts_of(Message.user("a"), answer, Message.user("d"))[1] == [
        {"text": "b"},
        {"executableCode": {"code": "1", "language": "PYTHON"}},
        {"text": "c"},
    ]


def test_a_turn_of_which_nothing_is_left_is_left_out() -> None:
    answer = Message.assistant(Thinking("theirs", {"claude": {"signature": "x"}}))
    assert parts_of(Message.user("a"), answer, Message.user("", "b"))[1] == [{"text": "b"}]


@pytest.mark.parametrize(("model", "signed"), [(MODEL, True), ("models/gemini-3-pro", True), (OLDER, False)])
def test_a_model_that_wants_its_calls_signed_is_given_no_results(model: str, signed: bool) -> None:
    call, result = ToolCall(id="1", name="weather"), ToolResult(call_id="1", content="hot")
    turns = Message.user("a"), Message.assistant(call), Message.tool(result)
    if signed:
        with pytest.raises(UnsupportedRequest, match=r"ask gemini-2\.5-flash-lite, or use understudy-gemini"):
            body_of(*turns, model=model)
    assert len(parts_of(*turns, Message.assistant("hot"), Message.user("and now?"), model=model)) == 5
    assert signed or len(parts_of(*turns, model=model)) == 3


@pytest.mark.parametrize("number", [2**53 + 1, -(2**60)])
def test_a_number_that_the_sdk_would_change_is_not_sent(number: int) -> None:
    call = ToolCall(id="1", name="weather", arguments={"at": [{"id": number}]})
    with pytest.raises(UnsupportedRequest, match=f"{number}, an argument of weather"):
        body_of(Message.user("a"), Message.assistant(call), Message.user("b"))
    exact = ToolCall(id="1", name="weather", arguments={"id": 2**53, "x": 0.1, "yes": True})
    body_of(Message.user("a"), Message.assistant(exact), Message.user("b"))


def test_attachments_in_the_result_of_a_tool_are_refused() -> None:
    call = ToolCall(id="1", name="weather")
    result = ToolResult(call_id="1", content=(Text("hot"), Image(data=b"i", media_type="image/png")))
    with pytest.raises(UnsupportedRequest, match="in the result of a tool"):
        body_of(Message.user("a"), Message.assistant(call), Message.tool(result), model=OLDER)


@pytest.mark.parametrize(
    ("model", "written"),
    [
        ("gemini-2.5-flash-lite", "models/gemini-2.5-flash-lite"),
        ("models/gemini-2.5-flash-lite", "models/gemini-2.5-flash-lite"),
        ("tunedModels/mine-1", "tunedModels/mine-1"),
    ],
)
def test_a_models_name_is_written_as_its_path(model: str, written: str) -> None:
    assert body_of(Message.user("a"), model=model)["model"] == written


def test_limits_stops_and_schema_go_into_the_generation_config() -> None:
    schema = MappingProxyType(PLACE)
    body = body_of(Message.user("a"), model="gemini-2.5-flash-lite", temperature=0.5, max_tokens=9, stop=("x",))
    assert body["generationConfig"] == {"temperature": 0.5, "maxOutputTokens": 9, "stopSequences": ["x"]}
    body = body_of(Message.user("a"), output_schema=schema)
    written = {"type": "OBJECT", "properties": {"at": {"type": "STRING"}}}
    assert body["generationConfig"] == {"responseMimeType": "application/json", "responseSchema": written}


def test_options_are_merged_last_each_into_its_place() -> None:
    options = {
        "gemini-legacy": {
            "topK": 5,
            "maxOutputTokens": 7,
            "tools": [{"googleSearch": {}}],
            "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
            "safetySettings": [{"category": "c", "threshold": "BLOCK_NONE"}],
        },
        "mine": {"topK": 6},
        "gemini": {"thinkingConfig": {"thinkingLevel": "LOW"}},
    }
    body = body_of(Message.user("a"), tools=(WEATHER,), max_tokens=9, options=options, provider="mine")
    assert body["generationConfig"] == {"maxOutputTokens": 7, "topK": 6}
    assert [list(tool) for tool in body["tools"]] == [["functionDeclarations"], ["googleSearch"]]
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
    assert body["safetySettings"][0]["threshold"] == "BLOCK_NONE"
    assert body_of(Message.user("a"), options=options)["generationConfig"]["topK"] == 5


def test_the_request_is_not_changed() -> None:
    options: dict[str, Any] = {"gemini-legacy": {"speechConfig": {"voiceConfig": {}}}}
    schema: dict[str, Any] = copy.deepcopy(PLACE)
    before = copy.deepcopy((options, schema))
    request = Request(messages=(Message.user("a"),), options=options, output_schema=schema)
    body, _ = request_body(request, MODEL, "gemini-legacy", DAY)
    body["generationConfig"]["speechConfig"]["voiceConfig"]["x"] = "changed"
    body["generationConfig"]["responseSchema"]["properties"]["x"] = {}
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
        ("models/gemini-2.0-flash", ["model"]),
        ("gemini-pro", ["model"]),
        ("gemini-pro-latest", []),
        ("a-model-of-mine", []),
    ],
)
def test_what_a_model_ignores_is_not_sent_and_what_ends_is_told(model: str, settings: list[str]) -> None:
    body, warnings = request_body(Request(messages=(Message.user("a"),), temperature=0.3), model, "gemini-legacy", DAY)
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
    provider: GeminiLegacyProvider, sandbox: Sandbox, ask: Callable[..., Any]
) -> None:
    at = {"type": "string", "nullable": True, "enum": ["here", "there"], "description": "where"}
    request = Request(
        messages=(
            Message.user("What is the weather?", Image(data=b"\x00\xff", media_type="image/png")),
            Message.assistant(ToolCall(id="1", name="weather", arguments={"at": None, "Contents": "ü", "n": [1, 0.5]})),
            Message.tool(ToolResult(call_id="1", content="hot")),
        ),
        system="be short",
        tools=(Tool(name="weather", description="x", parameters={"properties": {"Contents": at}}),),
        stop=("END",),
        max_tokens=50,
        temperature=0.3,
        model=OLDER,
        options={"gemini-legacy": {"topK": 5, "safetySettings": [{"category": 7, "threshold": "BLOCK_NONE"}]}},
    )
    ask(provider, request)
    expected, _ = request_body(request, OLDER, "gemini-legacy", DAY)
    del expected["model"]  # it is in the path
    # The SDK writes the values of enums as their numbers.
    expected["safetySettings"][0]["threshold"] = 4
    expected["toolConfig"]["functionCallingConfig"]["mode"] = 1
    parameters = expected["tools"][0]["functionDeclarations"][0]["parameters"]
    parameters["type"], parameters["properties"]["Contents"]["type"] = 6, 1
    assert sandbox.gemini.requests[-1].json == expected
