"""Schemas as structured outputs take them: closed and trimmed, or in words; and the answer held to the whole schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from understudy import LLMFactory, Message, Request, Tool
from understudy.errors import MalformedResponse
from understudy_claude.failures import WITHOUT_SCHEMAS, WITHOUT_THAT_SCHEMA
from understudy_claude.schemas import NotSent, fit_parameters, fit_schema
from understudy_claude.wire import request_body
from understudy_sandbox import faults

if TYPE_CHECKING:
    from conftest import Call

    from understudy_sandbox import Sandbox

TEXT = {"type": "string"}
YEAR = {"type": "object", "properties": {"year": {"type": "integer", "minimum": 1}}, "required": ["year"]}
CLOSED = {"additionalProperties": False}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "fitted", "lost"),
    [
        (_object(a=TEXT), {**_object(a=TEXT), **CLOSED}, ()),
        ({"properties": {"a": TEXT}}, {**_object(a=TEXT), **CLOSED}, ()),
        (
            YEAR,
            {**_object(year={"type": "integer", "description": "{minimum: 1}"}), "required": ["year"], **CLOSED},
            ("minimum",),
        ),
        (
            {"type": "string", "description": "A name.", "maxLength": 9, "pattern": "^a"},
            {"type": "string", "description": "A name.\n\n{maxLength: 9, pattern: ^a}"},
            ("maxLength", "pattern"),
        ),
        ({"type": "string", "format": "date"}, {"type": "string", "format": "date"}, ()),
        ({"type": "string", "format": "iban"}, {"type": "string", "description": "{format: iban}"}, ("format",)),
        ({"type": ["string", "null"], "default": None}, {"type": ["string", "null"]}, ()),
        (
            {"type": ["array", "null"], "items": TEXT},
            {"anyOf": [{"type": "array", "items": TEXT}, {"type": "null"}]},
            (),
        ),
        ({"type": "array", "items": TEXT, "minItems": 1}, {"type": "array", "items": TEXT, "minItems": 1}, ()),
        (
            {"type": "array", "items": TEXT, "minItems": 2},
            {"type": "array", "items": TEXT, "description": "{minItems: 2}"},
            ("minItems",),
        ),
        ({"enum": ["a", 1, None], "type": "string"}, {"enum": ["a", 1, None]}, ()),
        ({"const": 7}, {"const": 7}, ()),
        ({"oneOf": [TEXT, _object(a=TEXT)]}, {"anyOf": [TEXT, {**_object(a=TEXT), **CLOSED}]}, ()),
        (
            {"$defs": {"A": _object(b=TEXT)}, **_object(a={"$ref": "#/$defs/A", "description": "x"})},
            {"$defs": {"A": {**_object(b=TEXT), **CLOSED}}, **_object(a={"$ref": "#/$defs/A"}), **CLOSED},
            (),
        ),
        (
            {"allOf": [_object(a=TEXT), {**_object(b=TEXT), "required": ["b"]}]},
            {**_object(a=TEXT, b=TEXT), "required": ["b"], **CLOSED},
            (),
        ),
        ({"allOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": TEXT}}, {"$ref": "#/$defs/A", "$defs": {"A": TEXT}}, ()),
        ({**_object(a=TEXT), "additionalProperties": TEXT}, {**_object(a=TEXT), **CLOSED}, ("additionalProperties",)),
        (
            {**_object(a=TEXT), "if": {}, "not": {}},
            {**_object(a=TEXT), **CLOSED, "description": "{if: {}, not: {}}"},
            ("if", "not"),
        ),
    ],
)
def test_a_schema_is_closed_and_trimmed(schema: Any, fitted: Any, lost: tuple[str, ...]) -> None:
    before = json.dumps(schema)
    assert fit_schema(schema) == (fitted, lost)
    assert fit_schema(fitted)[0] == fitted
    assert json.dumps(schema) == before


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "additionalProperties": TEXT},
        _object(a=True),
        {"type": "object", "properties": {"a": TEXT}, "required": 7},
        {"type": "object", "properties": [TEXT]},
        _object(a={"description": "anything"}),
        {"type": "array"},
        {"type": "array", "prefixItems": [TEXT]},
        {"enum": [[1]]},
        {"$ref": "https://elsewhere.example/schema"},
        {"allOf": [{"$ref": "#/$defs/A"}, _object(a=TEXT)], "$defs": {"A": _object(b=TEXT)}},
        _object(a={"$ref": "#"}),
        {"$defs": {"A": _object(b={"$ref": "#/$defs/B"}), "B": _object(a={"$ref": "#/$defs/A"})}, "$ref": "#/$defs/A"},
    ],
)
def test_a_schema_that_would_rule_out_what_it_allows_goes_in_words(schema: Any) -> None:
    with pytest.raises((NotSent, AttributeError, TypeError)):
        fit_schema(schema)
    body, asked = request_body(
        Request(messages=(Message.user("x"),), system="Be kind.", output_schema=schema), "claude-x"
    )
    assert "output_config" not in body
    assert body["system"].startswith("Be kind.\n\n")
    assert body["system"].endswith(json.dumps(schema))
    assert [warning.setting for warning in asked.warnings] == ["output_schema"]


def test_pydantics_ordinary_output_needs_no_warning() -> None:
    pydantic = pytest.importorskip("pydantic")
    city = pydantic.create_model("City", name=(str, ...), people=(int | None, None))
    trip = pydantic.create_model("Trip", cities=(list[city], ...), mood=(str, "calm"))
    fitted, lost = fit_schema(trip.model_json_schema())
    assert lost == ()
    assert fitted["$defs"]["City"]["additionalProperties"] is False


def test_what_was_trimmed_is_said_and_the_answer_is_held_to_it(
    call: Call, sandbox: Sandbox, factory: LLMFactory
) -> None:
    sandbox.claude.reply('{"year": 3}')
    response = call(factory, "When?", output_schema=YEAR, temperature=None)
    assert response.structured == {"year": 3}
    assert [str(one) for one in response.warnings if one.setting == "output_schema"] == [
        "minimum went into descriptions: Claude does not enforce them; the answer is checked afterwards"
    ]
    if not pytest.importorskip("jsonschema"):
        return
    sandbox.claude.reply('{"year": 0}')
    refused = factory.generate_content("When?", output_schema=YEAR, temperature=None, max_retries=0)
    assert isinstance(refused.attempts[0].failure, MalformedResponse)


@pytest.mark.parametrize(
    ("words", "helps"),
    [
        ("The compiled grammar is too large, which would cause performance issues.", WITHOUT_THAT_SCHEMA),
        (
            "Schemas contains too many optional parameters (25), which would make grammar compilation inefficient.",
            WITHOUT_THAT_SCHEMA,
        ),
        ("output_config.format.schema: For 'integer' type, property 'minimum' is not supported", WITHOUT_THAT_SCHEMA),
        ("'claude-3-haiku' does not support output format.", WITHOUT_SCHEMAS),
        ("output_config: Extra inputs are not permitted", WITHOUT_SCHEMAS),
    ],
)
def test_a_schema_that_is_refused_goes_in_words_at_once_and_from_then_on(
    call: Call, sandbox: Sandbox, factory: LLMFactory, words: str, helps: str
) -> None:
    error = {"type": "error", "error": {"type": "invalid_request_error", "message": words}}
    sandbox.claude.next(faults.status(400, error))
    sandbox.claude.reply('Here it is:\n```json\n{"year": 3}\n```')
    first = call(factory, "When?", output_schema=YEAR, temperature=None)
    assert (first.structured, first.attempts[-1].reason) == ({"year": 3}, f"once more, {helps}")
    sandbox.claude.reply('{"year": 3}')
    again = call(factory, "And then?", output_schema=YEAR, temperature=None)
    assert (again.structured, len(again.attempts)) == ({"year": 3}, 1)
    other = {**YEAR, "title": "Other"}
    sandbox.claude.reply('{"year": 3}')
    call(factory, "And then?", output_schema=other, temperature=None)
    sent = ["output_config" in one.json and "format" in one.json["output_config"] for one in sandbox.claude.requests]
    assert sent == [True, False, False, helps == WITHOUT_THAT_SCHEMA]


def test_a_server_that_passes_structured_outputs_over_is_asked_in_words(call: Call, sandbox: Sandbox) -> None:
    sandbox.claude.reply("It was in the third year.")
    with LLMFactory("claude:our-own-model", [], settings=sandbox.environment(), extensions=[]) as factory:
        response = factory.generate_content("When?", output_schema=YEAR, temperature=None, max_retries=0)
        assert [attempt.reason for attempt in response.attempts] == ["primary", f"once more, {WITHOUT_SCHEMAS}"]
        sandbox.claude.reply('{"year": 3}')
        assert len(call(factory, "When?", output_schema=YEAR, temperature=None).attempts) == 1


def test_the_arguments_of_a_tool_have_no_alternatives_at_the_top() -> None:
    a, b = _object(a=TEXT), _object(b=TEXT)
    assert fit_parameters({"anyOf": [a, b, True]}) == ({**_object(a=TEXT, b=TEXT)}, ("anyOf",))
    assert fit_parameters({"properties": {"a": TEXT}}) == (a, ())
    tool = Tool(name="find", parameters={"oneOf": [a, b]})
    _, asked = request_body(Request(messages=(Message.user("x"),), tools=(tool,)), "claude-x")
    assert [warning.setting for warning in asked.warnings] == ["tools"]
