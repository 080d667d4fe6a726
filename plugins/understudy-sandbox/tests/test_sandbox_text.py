"""The deterministic answers: instances of schemas, token limits, stop sequences."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy_sandbox.text import Asked, Tool, compose, count, identifier, instance, pieces


@pytest.mark.parametrize(
    ("schema", "made"),
    [
        ({"type": "string"}, "..."),
        ({"type": "string", "minLength": 5}, "....."),
        ({"type": "string", "maxLength": 2}, ".."),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"type": "integer"}, 1),
        ({"type": "number", "minimum": 5}, 5),
        ({"type": "integer", "maximum": 0}, 0),
        ({"type": "integer", "exclusiveMinimum": 7}, 8),
        ({"type": "boolean"}, True),
        ({"type": ["null", "integer"]}, 1),
        ({"enum": ["b", "a"]}, "b"),
        ({"const": 4}, 4),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [1, 1, 1]),
        ({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}, {"a": "..."}),
        ({"type": "object", "properties": {"a": {}, "b": {"type": "null"}}, "required": ["b"]}, {"b": None}),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, 1),
        ({"oneOf": [{"type": "null"}]}, None),
        ({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}, {"a": 1, "b": 2}),
        ({"properties": {"p": {"$ref": "#/$defs/P"}}, "$defs": {"P": {"type": "integer"}}}, {"p": 1}),
        ({}, "..."),
    ],
    ids=str,
)  # fmt: skip
def test_instance(schema: dict[str, Any], made: Any) -> None:
    assert instance(schema) == made


def test_a_schema_that_contains_itself_ends() -> None:
    node = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}
    assert "next" in instance({"$ref": "#/$defs/node", "$defs": {"node": node}})


@settings(deadline=None, max_examples=50)  # a busy machine fails no test
@given(st.text())
def test_pieces_joined_are_the_text(text: str) -> None:
    assert "".join(pieces(text)) == text


@settings(deadline=None, max_examples=50)  # a busy machine fails no test
@given(st.text(), st.integers(0, 5), st.lists(st.text(min_size=1), max_size=2))
def test_limits_hold(said: str, limit: int, stop: list[str]) -> None:
    answer = compose(Asked("X", said, max_tokens=limit, stop=tuple(stop), thinking=True))
    assert answer.text_tokens + answer.thought_tokens <= limit
    assert answer.finish == "length"
    free = compose(Asked("X", said, stop=tuple(stop)))
    assert not any(sequence in free.text for sequence in stop)
    assert (free.finish == "stop_sequence") == (free.stop_sequence is not None)


def test_every_tool_that_the_text_names_is_called_unless_one_is_the_most() -> None:
    tools = tuple(Tool(name, {"type": "object"}) for name in ("one", "two", "three"))
    asked = Asked("X", "Call TWO and three", tools=tools)
    assert [call.name for call in compose(asked).tool_calls] == ["two", "three"]
    single = Asked("X", "Call TWO and three", tools=tools, one_tool=True)
    assert [call.name for call in compose(single).tool_calls] == ["two"]


def test_long_prompts_are_not_said_back_whole() -> None:
    assert len(compose(Asked("X", "y" * 100_000)).text) < 3_000


def test_ids_are_stable_and_counting_goes_inside() -> None:
    assert identifier("msg_", 1) == identifier("msg_", 1) != identifier("msg_", 2)
    assert count({"a": ["one two", {"b": "three"}]}, None, 5, "four") == 4
