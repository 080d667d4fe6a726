"""JSON schemas in the dialect of the SDK: what is kept, what is left out and told, what is refused."""

from __future__ import annotations

import copy
from datetime import date
from typing import Any

import pytest

from understudy import Message, Request, Tool
from understudy.errors import UnsupportedRequest
from understudy_gemini_legacy.wire import request_body
from understudy_gemini_wire.schema import translate

TEXT = {"type": "string"}


def translated(schema: dict[str, Any]) -> Any:
    before = copy.deepcopy(schema)
    written, left_out = translate(schema, "a schema")
    assert schema == before
    assert left_out == ()
    return written


def inside(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"x": schema}}


def test_a_schema_in_full() -> None:
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Person",
        "type": "object",
        "description": "Somebody",
        "additionalProperties": False,
        "required": ["name", "nowhere"],
        "properties": {
            "name": {"type": "string", "title": "Name", "default": ""},
            "age": {"type": ["integer", "null"], "format": "int32"},
            "born": {"type": "string", "format": "date-time"},
            "mood": {"enum": ["good", "bad", None]},
            "kind": {"const": "human"},
            "tags": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": 9},
            "at": {"properties": {"x": {"type": "number"}}},
        },
    }
    assert translated(schema) == {
        "type": "OBJECT",
        "description": "Somebody",
        "required": ["name"],
        "properties": {
            "name": {"type": "STRING"},
            "age": {"type": "INTEGER", "nullable": True, "format": "int32"},
            "born": {"type": "STRING", "format": "date-time"},
            "mood": {"type": "STRING", "nullable": True, "enum": ["good", "bad"]},
            "kind": {"type": "STRING", "enum": ["human"]},
            "tags": {"type": "ARRAY", "items": {"type": "STRING"}, "minItems": 1, "maxItems": 9},
            "at": {"type": "OBJECT", "properties": {"x": {"type": "NUMBER"}}},
        },
    }


def test_references_and_what_may_be_missing_as_pydantic_writes_them() -> None:
    schema = {
        "$defs": {"Place": inside(TEXT), "a/b": TEXT},
        "type": "object",
        "properties": {
            "home": {"$ref": "#/$defs/Place", "description": "where"},
            "work": {"anyOf": [{"$ref": "#/$defs/Place"}, {"type": "null"}], "default": None},
            "name": {"allOf": [{"$ref": "#/$defs/a~1b"}]},
        },
    }
    place = {"type": "OBJECT", "properties": {"x": {"type": "STRING"}}}
    assert translated(schema)["properties"] == {
        "home": {**place, "description": "where"},
        "work": {**place, "nullable": True},
        "name": {"type": "STRING"},
    }


@pytest.mark.parametrize("schema", [{"type": "object"}, {"type": "object", "properties": {}}, {}])
def test_an_object_of_any_form_is_no_schema(schema: dict[str, Any]) -> None:
    assert translated(schema) is None


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 5}, ("maximum", "minimum")),
        ({"type": "string", "pattern": "a", "format": "email"}, ("format", "pattern")),
        ({"type": "integer", "enum": [1, 2]}, ("enum",)),
        ({"type": "boolean", "const": True}, ("const",)),
        ({**inside(TEXT), "additionalProperties": TEXT}, ("additionalProperties",)),
    ],
)
def test_what_only_narrows_is_left_out_and_told(schema: dict[str, Any], words: tuple[str, ...]) -> None:
    written, left_out = translate(inside(schema), "a schema")
    assert left_out == words
    assert written is not None
    assert not written["properties"]["x"].keys() & set(words)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({"anyOf": [TEXT, {"type": "integer"}]}, "anyOf"),
        ({"oneOf": [TEXT, {"type": "integer"}, {"type": "null"}]}, "oneOf"),
        ({"type": ["string", "integer"]}, "a choice of types"),
        ({"allOf": [TEXT, TEXT]}, "allOf"),
        ({}, "any type"),
        (True, "any type"),
        ({"type": "null"}, "any type"),
        ({"enum": [1, "a"]}, "any type"),
        ({"type": "object"}, "without named properties"),
        ({"type": "object", "additionalProperties": TEXT}, "without named properties"),
        ({"type": "array"}, "any type"),
        ({"type": "array", "items": {}}, "any type"),
        ({"$ref": "#/nowhere"}, "leads nowhere"),
        ({"$ref": "https://example.org/schema"}, "leads nowhere"),
        ({"$ref": "#"}, "holds itself"),
        ({"$ref": "#/properties/x"}, "holds itself"),
    ],
)
def test_what_has_another_shape_is_refused(schema: Any, words: str) -> None:
    with pytest.raises(UnsupportedRequest, match=f"cannot carry .*{words}.* in the answer"):
        translate(inside(schema), "the answer")


def test_what_is_left_out_is_a_warning_on_the_response() -> None:
    limited = inside({"type": "integer", "minimum": 1})
    tools = (Tool(name="f", parameters=limited), Tool(name="g"))
    request = Request(messages=(Message.user("a"),), tools=tools, output_schema={"type": "object"})
    body, warnings = request_body(request, "gemini-2.5-flash-lite", "gemini-legacy", date(2026, 11, 30))
    assert [(warning.setting, warning.message) for warning in warnings] == [
        ("tools", "google-generativeai cannot carry minimum in the parameters of f: not sent"),
        ("output_schema", "google-generativeai cannot carry an object of any form in the output schema: not sent"),
    ]
    assert "parameters" not in body["tools"][0]["functionDeclarations"][1]
    assert body["generationConfig"] == {"responseMimeType": "application/json"}
