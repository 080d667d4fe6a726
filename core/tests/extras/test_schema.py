"""Whether answers follow the schema that was asked for."""

import random
import socket
import sys
from types import MappingProxyType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from understudy.extras import json_schema as module
from understudy.extras.json_schema import check_schema, is_installed, schema_fault

ORDER = {
    "type": "object",
    "properties": {
        "lines": {
            "type": "array",
            "minItems": 1,
            "items": {"$ref": "#/$defs/line"},
        },
        "state": {"enum": ["open", "closed"]},
        "note": {"anyOf": [{"type": "string", "maxLength": 20}, {"type": "null"}]},
        "total": {"type": "number", "exclusiveMinimum": 0},
        "tags": {"type": "array", "uniqueItems": True},
        "code": {"type": "string", "pattern": "^[A-Z]+$"},
        "kind": {"const": "order"},
        "size": {"oneOf": [{"multipleOf": 2}, {"multipleOf": 3}]},
        "gone": {"not": {}},
    },
    "required": ["lines"],
    "additionalProperties": False,
    "$defs": {
        "line": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "count": {"type": "integer"}},
            "required": ["name", "count"],
        }
    },
}
DRAFT_3 = "http://json-schema.org/draft-03/schema#"
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the machine may be busy
LINES = [{"name": "tea", "count": 2}]
JSON = some.recursive(
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=100),
    lambda inner: some.lists(inner, max_size=4) | some.dictionaries(some.text(max_size=20), inner, max_size=4),
    max_leaves=12,
)
KEYWORDS = ["$schema", "$id", "$ref", "$anchor", "$defs", "type", "items", "properties", "required", "enum", "pattern"]
KEYWORDS += ["multipleOf", "minimum", "not", "anyOf", "patternProperties", "uniqueItems", "$dynamicRef", "format", "if"]
WORDS = ["#", "#/$defs/x", "object", "http://[", "[", DRAFT_3, "http://json-schema.org/draft-04/schema#", "regex", "é"]
SCHEMAS = some.recursive(
    some.dictionaries(some.sampled_from(KEYWORDS), JSON | some.sampled_from(WORDS), max_size=4),
    lambda inner: some.dictionaries(
        some.sampled_from(KEYWORDS),
        inner | some.lists(inner, max_size=2) | some.dictionaries(some.sampled_from(["x", "["]), inner, max_size=2),
        max_size=3,
    ),
    max_leaves=6,
)


@pytest.fixture
def offline(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError(f"expected no connection, found one to {arguments}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def without_jsonschema(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    is_installed.cache_clear()
    yield
    is_installed.cache_clear()


def test_what_follows_the_schema_has_no_fault():
    whole = {"lines": LINES, "state": "open", "note": None, "total": 2.5, "tags": [1, 2], "code": "AB", "kind": "order"}
    assert schema_fault(ORDER, whole) is None
    assert schema_fault({}, whole) is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, '$: expected the property "lines", found none'),
        ({"note": None}, '$: expected the property "lines", found only "note"'),
        ([], "$: expected an object, found a list"),
        ({"lines": []}, "$.lines: expected 1 or more entries, found 0"),
        ({"lines": [*LINES, {"name": "milk", "count": "2"}]}, '$.lines[1].count: expected a whole number, found "2"'),
        ({"lines": [{"name": "milk"}]}, '$.lines[0]: expected the property "count", found only "name"'),
        ({"lines": LINES, "state": "shut"}, '$.state: expected one of "open", "closed", found "shut"'),
        ({"lines": LINES, "note": 5}, "$.note: expected a string or null, found 5"),
        ({"lines": LINES, "note": "x" * 21}, "$.note: expected at most 20 characters, found 21"),
        ({"lines": LINES, "total": 0}, "$.total: expected more than 0, found 0"),
        ({"lines": LINES, "total": True}, "$.total: expected a number, found true"),
        ({"lines": LINES, "tags": [1, 1]}, "$.tags: expected entries that all differ, found a list"),
        ({"lines": LINES, "code": "ab"}, '$.code: expected a string that matches "^[A-Z]+$", found "ab"'),
        ({"lines": LINES, "kind": {}}, '$.kind: expected "order", found an object'),
        ({"lines": LINES, "size": 6}, "$.size: expected what exactly one of 2 schemas describes, found 6"),
        ({"lines": LINES, "gone": 1}, "$.gone: expected what not asks for, found 1"),
        ({"lines": LINES, "extra": 1}, 'found "extra"'),
    ],
)
def test_a_fault_is_told_with_its_place_and_what_was_expected_there(value, said):
    told = schema_fault(ORDER, value)
    assert told == said or (told.startswith("$: expected only ") and told.endswith(said))


def test_a_long_value_is_not_told_whole():
    answer = {"lines": LINES, "state": "secret " * 1000, **{f"property {i}": "x" * 500 for i in range(100)}}
    for value in (answer, "secret " * 1000, ["secret " * 1000] * 1000, {"lines": LINES, "state": "secret " * 1000}):
        assert len(schema_fault(ORDER, value)) < 300


@unhurried
@given(value=JSON)
def test_whatever_a_model_answers_there_is_a_sentence_or_nothing(value):
    for schema in (ORDER, ORDER["properties"]["note"], {"not": {}}, {"propertyNames": {"maxLength": 2}}):
        told = schema_fault(schema, value)
        assert told is None or (told.startswith("$") and ": expected " in told and len(told) < 1000)


def test_an_answer_nested_deeper_than_python_goes_is_a_fault():
    value = 1
    for _ in range(900):
        value = {"next": value}
    told = schema_fault({"properties": {"next": {"$ref": "#"}}}, value)
    assert "nested without end" in told


@pytest.mark.parametrize(
    ("schema", "value", "said"),
    [
        ({"multipleOf": 0.5}, float("nan"), "found what raises ValueError: "),
        ({"type": "string"}, {1, 2}, "$: expected a string, found "),
        ({"type": "string"}, object, "$: expected a string, found "),
        (
            {"$schema": DRAFT_3, "properties": {"a": {"required": True}}},
            {},
            "$.a: expected what required asks for, found none",
        ),
    ],
)
def test_what_is_hardly_json_is_a_fault_and_no_exception(schema, value, said):
    assert said in schema_fault(schema, value)


class PanicException(BaseException):
    """Stands for what rpds raises where the stack ends within it: whether it ends there is chance."""


@pytest.mark.parametrize(
    ("words", "kind"), [("__eq__ failed!: PyErr { type: RecursionError }", None), ("KeyboardInterrupt", PanicException)]
)
def test_a_stack_that_ends_in_rust_is_a_fault_as_any_other(words, kind):
    class Deep(dict):
        def __contains__(self, name):
            raise PanicException(words)

    if kind is None:
        assert "nested without end" in schema_fault({"required": ["a"]}, Deep())
    else:
        with pytest.raises(kind):
            schema_fault({"required": ["a"]}, Deep())


# ---- schemas ----


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"type": "objekt"}, r'\$\.type: expected one of "array".* found "objekt"'),
        ({"properties": {"a": {"minimum": "x"}}}, r'\$\.properties\.a\.minimum: expected a number, found "x"'),
        ({"properties": 5}, r"\$\.properties: expected an object, found 5"),
        ({"properties": {"a": {"pattern": "("}}}, r"\$\.properties\.a\.pattern: expected a regular expression"),
        ([1], r"expected an object or true or false, found a list"),
        ({"const": {1, 2}}, "found something that is not JSON: set"),
        ({"$ref": "#/$defs/missing"}, r'within the schema, found "#/\$defs/missing", which is not in it'),
        ({"properties": {"a": {"items": {"$ref": "#nowhere"}}}}, "#nowhere"),
        ({"$ref": "other.json"}, "nothing is fetched"),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, "nothing is fetched"),
        ({"$ref": "#"}, "refers to itself in a circle"),
        ({"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#/$defs/a"}}}}, "in a circle"),
        ({"$schema": ["x"]}, "found one at which TypeError"),
        ({"$schema": "http://json-schema.org/draft-03/schema#", "type": "objekt"}, "Unknown type 'objekt'"),
        ({"$ref": "#/here", "here": {"type": "objekt"}}, "Unknown type 'objekt'"),
        ({"minimum": float("nan")}, "found something that is not JSON"),
    ],
)
def test_a_schema_that_cannot_be_checked_against_is_refused(schema, complaint):
    with pytest.raises(ValueError, match=f"output_schema: expected .*{complaint}"):
        check_schema(schema)


@pytest.mark.parametrize(
    "schema",
    [
        ORDER,
        {"properties": {"$ref": {"type": "string"}}},  # a property of that name, and no reference
        {"enum": [{"$ref": "nowhere"}]},
        {"$defs": {"x": {"$anchor": "here"}}, "$ref": "#here"},
        {
            "$id": "https://example.com/a",
            "$defs": {"y": {"$id": "y"}},
            "items": {"$ref": "y"},
            "properties": {"z": {"$ref": "#"}},
        },
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {}}, "$ref": "#/definitions/a"},
        {"$schema": "https://example.com/unknown", "type": "object"},
        {"format": "date", "unknown-keyword": 5},
        MappingProxyType({"properties": MappingProxyType({"a": {"type": "string"}})}),
    ],
    ids=str,
)
def test_a_schema_that_holds_what_it_refers_to_passes(schema, offline):
    check_schema(schema)
    schema_fault(schema, {"a": [1]})


@pytest.mark.parametrize("address", ["http://127.0.0.1:9/schema.json", "https://example.com/schema.json"])
def test_a_reference_to_elsewhere_is_refused_and_not_followed(address, offline):
    with pytest.raises(ValueError, match="nothing is fetched"):
        check_schema({"properties": {"a": {"$ref": address}}})
    with pytest.raises(ValueError, match="nothing is fetched"):
        schema_fault({"properties": {"a": {"$ref": address}}}, {"a": 1})


def test_a_schema_nested_too_deep_is_refused():
    schema = {}
    for _ in range(400):
        schema = {"properties": {"a": schema}}
    with pytest.raises(ValueError, match="nested too deep"):
        check_schema(schema)


def test_a_schema_is_prepared_once_and_a_changed_one_anew():
    module._checker.cache_clear()
    mine = {"type": "string", "title": str(random.random())}
    assert schema_fault(mine, "a") is None
    assert schema_fault(dict(mine), "a") is None
    assert module._checker.cache_info().misses == 1
    mine["type"] = "number"
    assert schema_fault(mine, "a") == '$: expected a number, found "a"'


@unhurried
@given(schema=SCHEMAS, value=JSON)
def test_whatever_a_schema_is_made_of_it_is_refused_in_words_or_can_be_checked_against(schema, value):
    complaint = complaint_about(schema)
    if complaint is None:
        told = schema_fault(schema, value)
        assert told is None or told.startswith("$")
    else:
        assert complaint.startswith("output_schema: expected ")


def complaint_about(schema):
    try:
        check_schema(schema)
    except ValueError as error:
        return str(error)
    return None


def test_without_jsonschema_everything_passes_that_is_json(without_jsonschema):
    assert not is_installed()
    check_schema({"type": "objekt"})
    with pytest.raises(ValueError, match="found something that is not JSON"):
        check_schema({"const": {1, 2}})
    assert schema_fault(ORDER, 5) is None
