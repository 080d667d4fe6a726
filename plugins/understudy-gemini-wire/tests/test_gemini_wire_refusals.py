"""Refusals that tell how they can be mended: which change each means, and what that does to a request."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from understudy import Message, Request
from understudy.errors import RequestRefused, ServerError
from understudy_gemini_wire.adaptations import (
    JSON_OR_TOOLS,
    SIMPLER_SCHEMAS,
    SYSTEM_FIRST,
    UNFORCED,
    WITHOUT_JSON_MODE,
    WITHOUT_SIGNATURES,
    WITHOUT_THINKING_CONFIG,
    adapt,
    with_at_most,
    without,
)
from understudy_gemini_wire.failures import failure_of_reply
from understudy_gemini_wire.refusals import Refusals, adaptation_of
from understudy_gemini_wire.schema import translate
from understudy_toolkit.refused import MOST_MODELS

ASKED = Request(messages=(Message.user("hi"),), max_tokens=1024)
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 1}}}
BODY: dict[str, Any] = {
    "contents": [
        {"role": "user", "parts": [{"text": "hi"}]},
        {"role": "model", "parts": [{"text": "hm", "thought": True, "thoughtSignature": "c2ln"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c2ln"}]},
    ],
    "systemInstruction": {"parts": [{"text": "be short"}]},
    "tools": [{"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": SCHEMA}]}],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}},
    "generationConfig": {
        "temperature": 0.0,
        "topK": 1,
        "maxOutputTokens": 70_000,
        "candidateCount": 2,
        "presencePenalty": 1,
        "logprobs": 2,
        "thinkingConfig": {"thinkingLevel": "LOW"},
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
        "imageConfig": {"outputMimeType": "image/png"},
    },
}
SAMPLING = without("temperature", "topP", "topK")
# What a refusal says, the change that it means, and what that is remembered for.
TOLD: list[tuple[str, str, str]] = [
    ("Corrupted thought signature.", WITHOUT_SIGNATURES, "request"),
    ("Invalid thought signature.", WITHOUT_SIGNATURES, "request"),
    ("Unable to submit request because Thought signature is not valid..", WITHOUT_SIGNATURES, "request"),
    ("Function call is missing a thought_signature in functionCall parts.", WITHOUT_SIGNATURES, "request"),
    ("Invalid value at 'contents[1].parts[0].thought_signature' (TYPE_BYTES)", WITHOUT_SIGNATURES, "request"),
    ("Developer instruction is not enabled for models/gemma-3-27b-it", SYSTEM_FIRST, "model"),
    ('Invalid JSON payload received. Unknown name "system_instruction": Cannot find field.', SYSTEM_FIRST, "model"),
    ("System instructions are not supported by this model", SYSTEM_FIRST, "model"),
    ("Function calling with a response mime type: 'application/json' is unsupported", JSON_OR_TOOLS, "model"),
    ("Tool use with a response mime type: 'application/json' is unsupported", JSON_OR_TOOLS, "model"),
    ("JSON mode is not enabled for models/gemma-3-27b-it", WITHOUT_JSON_MODE, "model"),
    ("Function calling mode `ANY` is not enabled for api version v1beta", UNFORCED, "model"),
    ("Thinking level is not supported for this model.", WITHOUT_THINKING_CONFIG, "model"),
    ("Thinking budget is not supported for this model.", WITHOUT_THINKING_CONFIG, "model"),
    ("thinking_level is not supported by this model..", WITHOUT_THINKING_CONFIG, "model"),
    ("The thinking budget (52428) is invalid.", WITHOUT_THINKING_CONFIG, "request"),
    ("Budget 0 is invalid. This model only works in thinking mode.", WITHOUT_THINKING_CONFIG, "request"),
    ("thinking_budget is out of range; supported values are integers from 1 to 9.", WITHOUT_THINKING_CONFIG, "request"),
    ("You can only set only one of thinking budget and thinking level.", WITHOUT_THINKING_CONFIG, "request"),
    ("Thinking level MINIMAL is not supported for this model.", WITHOUT_THINKING_CONFIG, "request"),
    ("Penalty is not enabled for this model", without("presencePenalty", "frequencyPenalty"), "model"),
    ("Logprobs is not enabled for models/x", without("responseLogprobs", "logprobs"), "model"),
    ("Multiple candidates is not enabled for this model", without("candidateCount"), "model"),
    ("temperature is not supported by this model", SAMPLING, "model"),
    ("Unsupported parameters for this model: top_k", SAMPLING, "model"),
    ("Unknown name \"topK\" at 'generation_config': Cannot find field.", without("topK"), "model"),
    ("Unknown name \"outputMimeType\" at 'generation_config.image_config'", without("imageConfig"), "model"),
    ("maxOutputTokens of 9, but the range is from 1 (inclusive) to 8193 (exclusive).", with_at_most(8192), "model"),
    ("Unknown name \"parametersJsonSchema\" at 'tools[0].function_declarations[0]'", SIMPLER_SCHEMAS, "model"),
    ("Unknown name \"responseJsonSchema\" at 'generation_config': Cannot find field.", SIMPLER_SCHEMAS, "model"),
    ("The specified schema produces a constraint that has too many states for serving.", SIMPLER_SCHEMAS, "schemas"),
    ("A schema in GenerationConfig exceeds the maximum allowed nesting depth.", SIMPLER_SCHEMAS, "schemas"),
    ("FunctionDeclaration 'f' in the request exceeds the maximum allowed nesting depth.", SIMPLER_SCHEMAS, "schemas"),
    ("Unknown name \"const\" at 'tools[0].function_declarations[5].parameters.x'", SIMPLER_SCHEMAS, "schemas"),
    ("Unknown name \"$schema\" at 'request.tools[0].function_declarations[0].parameters'", SIMPLER_SCHEMAS, "schemas"),
    ("Unknown name \"additionalProperties\" at 'generation_config.response_schema'", SIMPLER_SCHEMAS, "schemas"),
    ("`f` functionDeclaration `parameters.x` schema didn't specify the schema type field.", SIMPLER_SCHEMAS, "schemas"),
    ("function parameters schema should be of type OBJECT.", SIMPLER_SCHEMAS, "schemas"),
    ("one or more response schemas specified unsupported field min_length", SIMPLER_SCHEMAS, "schemas"),
]


@pytest.mark.parametrize(("message", "adaptation", "of"), TOLD, ids=[message[:60] for message, _, _ in TOLD])
def test_each_refusal_means_a_change(message: str, adaptation: str, of: str) -> None:
    assert adaptation_of(message, BODY) == (adaptation, of)
    bare: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert adaptation_of(message, bare) is None  # it would change nothing
    assert (adaptation_of(message, BODY, unable=(adaptation,)) or ("", ""))[0] != adaptation
    changed = copy.deepcopy(BODY)
    adapt(changed, (adaptation,), ASKED)
    again = copy.deepcopy(changed)
    assert adapt(again, (adaptation,), ASKED) == ()
    assert again == changed


@pytest.mark.parametrize("message", ["Request contains an invalid argument.", "Please use a valid role: user, model."])
def test_other_refusals_tell_nothing(message: str) -> None:
    assert adaptation_of(message, BODY) is None


@pytest.mark.parametrize("words", ["token count ", "unknown name 'x' at 'generation_config", "thinking ", "(", "x" * 9])
def test_a_message_without_end_is_searched_at_its_beginning_alone(words: str) -> None:
    message = words * 200_000
    failure = failure_of_reply(400, {}, {"error": {"code": 400, "message": message, "status": "INVALID_ARGUMENT"}})
    adaptation_of(failure.message, BODY)  # by the whole of it, this would take hours
    assert failure.status == 400


def changed(*adaptations: str) -> tuple[dict[str, Any], list[str]]:
    body = copy.deepcopy(BODY)
    warnings = adapt(body, adaptations, ASKED)
    json.dumps(body)
    return body, [warning.setting for warning in warnings]


def test_system_instructions_begin_the_first_message() -> None:
    body, told = changed(SYSTEM_FIRST)
    assert "systemInstruction" not in body
    assert body["contents"][0]["parts"] == [{"text": "be short"}, {"text": "hi"}]
    assert told == ["system"]
    odd: dict[str, Any] = {"contents": [{"role": "model", "parts": []}], "systemInstruction": "be short"}
    adapt(odd, (SYSTEM_FIRST,))
    assert odd["contents"][0] == {"role": "user", "parts": [{"text": "be short"}]}


@pytest.mark.parametrize(
    ("adaptation", "mode"), [(SIMPLER_SCHEMAS, True), (WITHOUT_JSON_MODE, False), (JSON_OR_TOOLS, False)]
)
def test_the_schema_of_an_answer_is_told_in_words(adaptation: str, mode: bool) -> None:
    body, told = changed(adaptation, SYSTEM_FIRST)
    config = body["generationConfig"]
    assert "responseJsonSchema" not in config
    assert ("responseMimeType" in config) is mode
    words = body["contents"][0]["parts"][1]["text"]
    assert words.startswith("Unless you call a tool, answer with nothing but JSON")
    assert json.dumps(SCHEMA) in words
    assert "output_schema" in told
    (declaration,) = body["tools"][0]["functionDeclarations"]
    simple = {"type": "OBJECT", "properties": {"n": {"type": "INTEGER"}}}
    assert declaration.get("parameters") == (simple if mode else None)
    assert ("parametersJsonSchema" in declaration) is not mode


def test_signatures_are_left_out_and_calls_marked() -> None:
    body, told = changed(WITHOUT_SIGNATURES)
    mark = "skip_thought_signature_validator"
    assert [content["parts"] for content in body["contents"][1:]] == [
        [{"functionCall": {"name": "f", "args": {}}, "thoughtSignature": mark}],
    ]
    assert told == []


def test_a_limit_is_kept_and_told_where_the_answer_may_be_cut() -> None:
    body, told = changed(with_at_most(8192))
    assert (body["generationConfig"]["maxOutputTokens"], told) == (8192, [])
    body, told = changed(with_at_most(100))
    assert (body["generationConfig"]["maxOutputTokens"], told) == (100, ["max_tokens"])


def test_what_is_left_out_is_told() -> None:
    body, told = changed(SAMPLING, WITHOUT_THINKING_CONFIG, UNFORCED)
    assert not {"temperature", "topK", "thinkingConfig"} & body["generationConfig"].keys()
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO"}}
    assert told == ["temperature", "options", "options", "tool_choice"]
    only = {"contents": [], "generationConfig": {"temperature": 0.0}}
    adapt(only, (SAMPLING,))
    assert only == {"contents": []}


def test_what_a_model_refuses_is_remembered_for_that_model_at_that_address() -> None:
    here, there = Refusals("http://here"), Refusals("http://there")
    refused = RequestRefused("Thinking level is not supported for this model.")
    assert here.mend(refused, "m", BODY).adaptation == WITHOUT_THINKING_CONFIG
    for refusals, model, remembered in (
        (here, "m", True),
        (Refusals("http://here"), "m", True),
        (here, "n", False),
        (there, "m", False),
    ):
        body = copy.deepcopy(BODY)
        assert len(refusals.adapt(body, model, ASKED)) == remembered
        assert ("thinkingConfig" in body["generationConfig"]) is not bool(remembered)
        assert refusals.refuses_thinking_config(model, ASKED) is bool(remembered)
    assert here.mend(ServerError("Thinking level is not supported"), "n", BODY).adaptation is None


def test_a_schema_that_is_too_large_is_remembered_alone_and_what_is_this_requests_own_is_not() -> None:
    refusals = Refusals("http://here")
    refusals.mend(RequestRefused("it has too many states for serving"), "m", BODY)
    refusals.mend(RequestRefused("Corrupted thought signature."), "m", BODY)
    body, other = copy.deepcopy(BODY), copy.deepcopy(BODY)
    other["tools"] = []
    refusals.adapt(body, "m", ASKED)
    refusals.adapt(other, "m", ASKED)
    assert "responseJsonSchema" not in body["generationConfig"]
    assert "responseJsonSchema" in other["generationConfig"]
    assert body["contents"] == other["contents"] == BODY["contents"]


def test_what_is_remembered_is_bounded() -> None:
    refusals = Refusals("http://here")
    for number in range(MOST_MODELS + 5):
        refusals.mend(RequestRefused("JSON mode is not enabled"), str(number), BODY)
    remembered = [bool(refusals.adapt(copy.deepcopy(BODY), str(number), ASKED)) for number in range(MOST_MODELS + 5)]
    assert remembered == [False] * 5 + [True] * MOST_MODELS


TEXT = {"type": "string"}
EITHER = {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]}


def nested(levels: int) -> dict[str, Any]:
    return TEXT if levels == 0 else {"type": "object", "properties": {"x": nested(levels - 1)}}


@pytest.mark.parametrize(
    ("schema", "written", "words"),
    [
        ({"anyOf": [TEXT, {"type": "integer"}]}, EITHER, ""),
        (
            {"type": ["string", "integer", "null"]},
            {**EITHER, "nullable": True},
            "",
        ),
        (
            {"oneOf": [TEXT, {"const": 1, "type": "integer"}]},
            {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]},
            "const",
        ),
        ({"type": "array", "items": TEXT, "maxItems": 9}, {"type": "ARRAY", "items": {"type": "STRING"}}, "maxItems"),
        ({"type": "integer", "exclusiveMinimum": 0}, {"type": "INTEGER"}, "exclusiveMinimum"),
        (True, {"type": "STRING", "description": "JSON"}, "a value of any type"),
        ({}, {"type": "STRING", "description": "JSON"}, "a value of any type"),
    ],
)
def test_leniently_a_schema_is_put_as_near_as_it_can_be(schema: Any, written: Any, words: str) -> None:
    found, left_out = translate({"type": "object", "properties": {"x": schema}}, "a tool", lenient=True)
    assert found == {"type": "OBJECT", "properties": {"x": written}}
    assert left_out == ((words,) if words else ())


@pytest.mark.parametrize(
    "schema",
    [
        nested(6),
        {"type": "object", "properties": {"x": {"$ref": "#"}}},
        {"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}},
        {"type": "object", "properties": {"x": {"allOf": [TEXT, TEXT]}}},
        {"type": "object", "properties": {"x": {"type": "object"}}},
        {"type": "object", "properties": {"x": {"type": "array"}}},
        {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": nested(3)}}},
    ],
)
def test_what_has_no_words_there_is_described(schema: dict[str, Any]) -> None:
    written, left_out = translate(schema, "a tool", lenient=True)
    assert left_out
    assert "description" in json.dumps(written)
    assert containers(written) <= 4


def containers(schema: Any) -> int:
    if not isinstance(schema, dict):
        return 0
    inner = [*schema.get("properties", {}).values(), schema.get("items"), *schema.get("anyOf", ())]
    return (schema.get("type") in ("OBJECT", "ARRAY")) + max(map(containers, inner), default=0)
