"""Schemas that OpenAI takes with `strict`: those that lie wholly in the subset of JSON Schema that it documents.

One keyword outside of it, and the request is refused; without `strict` every schema is taken, and mostly followed.
"Supported schemas", https://platform.openai.com/docs/guides/structured-outputs, read 2026-11-30; what the refusals of
others say is named where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_MOST_LEVELS = 10
_MOST_PROPERTIES = 5000
_MOST_ENUM_VALUES = 1000
_MOST_CHARACTERS = 120_000  # of all names of properties and definitions, and of all values of enum and const
_LONG_ENUM, _MOST_IN_LONG_ENUM = 250, 15_000  # values of one enum, and their characters together from there on

_FORMATS = frozenset(["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"])
_NUMBER = ("multipleOf", "maximum", "exclusiveMaximum", "minimum", "exclusiveMinimum")
# What may stand beside each type.
_WORDS_OF: Mapping[str, tuple[str, ...]] = {
    "string": ("pattern", "format"),
    "number": _NUMBER,
    "integer": _NUMBER,
    "boolean": (),
    "null": (),
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "minItems", "maxItems"),
}
_ANYWHERE = ("type", "title", "description", "enum", "const")  # titles: the SDK sends pydantic's along
_PLACE = "#/$defs/"


class _Outside(Exception):
    """The schema is not in the subset."""


def is_strict(schema: Mapping[str, Any]) -> bool:
    """Return whether OpenAI takes a schema with `strict`."""
    try:
        if schema.get("type") != "object":  # the root is an object, and no anyOf
            return False
        _Walk(schema).check()
    except (_Outside, RecursionError, TypeError, AttributeError, ValueError):
        return False
    return True


class _Walk:
    """Goes through a schema once, and counts what is limited in all of it together."""

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._definitions: Mapping[str, Any] = root.get("$defs", {})
        self._properties = self._values = self._characters = 0

    def check(self) -> None:
        _demand(isinstance(self._definitions, Mapping))
        self._schema({name: value for name, value in self._root.items() if name != "$defs"}, 1)
        for name, schema in self._definitions.items():
            self._characters += len(name)
            self._schema(schema, 1)
        _demand(self._properties <= _MOST_PROPERTIES and self._values <= _MOST_ENUM_VALUES)
        _demand(self._characters <= _MOST_CHARACTERS)

    def _schema(self, schema: Any, level: int) -> None:
        _demand(isinstance(schema, Mapping) and level <= _MOST_LEVELS)
        if "$ref" in schema:
            # alone: "$ref cannot have keywords {'description'}" (camel-ai/camel#3001)
            reference = schema["$ref"]
            _demand(set(schema) == {"$ref"})
            _demand(reference == "#" or reference.removeprefix(_PLACE) in self._definitions)
        elif "anyOf" in schema:
            _demand(set(schema) <= {"anyOf", "title", "description"} and bool(schema["anyOf"]))
            for variant in schema["anyOf"]:
                self._schema(variant, level)
            self._tell_apart(schema["anyOf"])
        else:
            self._typed(schema, level)

    def _typed(self, schema: Mapping[str, Any], level: int) -> None:
        types = _types(schema)
        _demand(bool(types) and set(types) <= set(_WORDS_OF))  # "schema must have a 'type' key"
        allowed = {*_ANYWHERE, *(word for one in types for word in _WORDS_OF[one])}
        _demand(set(schema) <= allowed)
        _demand("format" not in schema or schema["format"] in _FORMATS)
        _demand("(?" not in schema.get("pattern", ""))  # no lookaround
        self._count(schema)
        if "object" in types:
            properties = schema.get("properties", {})
            _demand(schema.get("additionalProperties") is False)
            required = schema.get("required", [])
            _demand(len(required) == len(properties) and set(required) == set(properties))
            for name, inner in properties.items():
                self._properties += 1
                self._characters += len(name)
                self._schema(inner, level + 1)
        if "array" in types:
            self._schema(schema.get("items"), level + 1)

    def _count(self, schema: Mapping[str, Any]) -> None:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        _demand(not isinstance(values, str) and ("enum" not in schema or bool(values)))
        characters = sum(len(value) for value in values if isinstance(value, str))
        _demand(len(values) <= _LONG_ENUM or characters <= _MOST_IN_LONG_ENUM)
        self._values += len(values)
        self._characters += characters

    def _tell_apart(self, variants: Sequence[Any]) -> None:
        """Objects of one anyOf must begin differently: "must not share identical first keys".

        https://zenn.dev/nicopin/scraps/a8d8f53f5faebb, read 2026-11-30.
        """
        begun: dict[str, set[str]] = {}
        for name, values in filter(None, map(self._beginning, variants)):
            if name in begun:
                _demand(bool(values) and bool(begun[name]) and begun[name].isdisjoint(values))
            begun[name] = {*begun.get(name, ()), *values}

    def _beginning(self, variant: Mapping[str, Any]) -> tuple[str, set[str]] | None:
        """Return the name of an object's first property, and the values that it is limited to."""
        if "$ref" in variant:
            place = variant["$ref"]
            variant = self._root if place == "#" else self._definitions[place.removeprefix(_PLACE)]
            _demand("$ref" not in variant)
        properties: Mapping[str, Any] = variant.get("properties", {})
        name = next(iter(properties), "")
        first = properties.get(name, {})
        values = first.get("enum", [first["const"]] if "const" in first else [])
        return (name, {repr(value) for value in values}) if name else None


def _types(schema: Mapping[str, Any]) -> tuple[str, ...]:
    told = schema.get("type")
    return (told,) if isinstance(told, str) else tuple(told or ())


def _demand(holds: bool) -> None:
    if not holds:
        raise _Outside
