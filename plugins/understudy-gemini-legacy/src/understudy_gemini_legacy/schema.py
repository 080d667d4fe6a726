"""JSON schemas in the dialect of google-generativeai: a part of OpenAPI 3.0. No SDK, no I/O.

It knows types, descriptions, lists of texts to choose from, and little else (the message Schema of
google-ai-generativelanguage 0.6.15). What only narrows an answer is left out and told. What changes the shape of an
answer, such as a choice between two types, cannot be left out: the request is refused, for another target to take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy.errors import UnsupportedRequest

_TYPES = {"string", "number", "integer", "boolean", "array", "object"}
_NOTES = {  # they narrow nothing
    *("title", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
    *("$schema", "$id", "$anchor", "$comment", "$defs", "definitions"),
}
_READ = {  # they are looked at below
    *("type", "description", "nullable", "properties", "required", "items", "enum", "const", "format"),
    *("additionalProperties", "minItems", "maxItems", "anyOf", "oneOf", "allOf", "$ref"),
}
# "only 'enum' and 'date-time' are supported for STRING type", says the API.
_FORMATS = {"string": {"date-time"}, "number": {"float", "double"}, "integer": {"int32", "int64"}}


def translate(schema: Mapping[str, Any], where: str) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Translate a JSON schema.

    Args:
        schema: the schema; it is not changed.
        where: what to call it in a failure.

    Returns:
        The schema in Gemini's dialect, None for an object of which no property is named; and the keywords that were
        left out.

    Raises:
        UnsupportedRequest: the dialect has no words for the shape of the schema.
    """
    translation = _Translation(schema, where)
    if _is_free(schema):
        return None, ()
    return translation.translate(schema), tuple(sorted(translation.left_out))


def _is_free(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is of an object of which it says nothing more: for a tool, one that takes nothing."""
    if schema.get("type", "object") != "object" or isinstance(schema.get("additionalProperties"), Mapping):
        return False
    return not any(schema.get(name) for name in ("properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "items"))


class _Translation:
    def __init__(self, root: Mapping[str, Any], where: str) -> None:
        self._root, self._where = root, where
        self._within: list[str] = []  # the references that are being followed
        self.left_out: set[str] = set()

    def translate(self, schema: Any) -> dict[str, Any]:
        if not isinstance(schema, Mapping):
            raise self._refuse("a value of any type")
        if "$ref" in schema:
            return self._follow(schema)
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self._choose(schema, choice)
        if "allOf" in schema:
            return self._join(schema)
        self.left_out |= schema.keys() - _READ - _NOTES
        kind, nullable = self._type(schema)
        written: dict[str, Any] = {"type": kind.upper()}
        if isinstance(schema.get("description"), str):
            written["description"] = schema["description"]
        if nullable:
            written["nullable"] = True
        if schema.get("format") in _FORMATS.get(kind, ()):
            written["format"] = schema["format"]
        elif "format" in schema:
            self.left_out.add("format")
        self._add_choices(schema, kind, written)
        if kind == "object":
            self._add_properties(schema, written)
        elif kind == "array":
            written["items"] = self.translate(schema.get("items"))
            written |= {name: schema[name] for name in ("minItems", "maxItems") if name in schema}
        return written

    def _type(self, schema: Mapping[str, Any]) -> tuple[str, bool]:
        told = schema.get("type")
        kinds = [told] if isinstance(told, str) else list(told or ())
        nullable = "null" in kinds or schema.get("nullable") is True
        kinds = [kind for kind in kinds if kind != "null"] or [kind for kind in (_implied(schema),) if kind]
        if len(kinds) != 1 or kinds[0] not in _TYPES:
            raise self._refuse(f"a choice of types ({', '.join(map(str, kinds))})" if kinds else "a value of any type")
        return kinds[0], nullable

    def _add_choices(self, schema: Mapping[str, Any], kind: str, written: dict[str, Any]) -> None:
        choices = [schema["const"]] if "const" in schema else schema.get("enum")
        if choices is None:
            return
        texts = [choice for choice in choices if choice is not None]
        if len(texts) < len(choices):
            written["nullable"] = True
        if kind == "string" and texts and all(isinstance(text, str) for text in texts):
            written["enum"] = texts
        else:
            self.left_out.add("const" if "const" in schema else "enum")

    def _add_properties(self, schema: Mapping[str, Any], written: dict[str, Any]) -> None:
        properties = schema.get("properties")
        if not isinstance(properties, Mapping) or not properties:
            raise self._refuse("an object without named properties")
        if isinstance(schema.get("additionalProperties"), Mapping):
            self.left_out.add("additionalProperties")
        written["properties"] = {name: self.translate(inner) for name, inner in properties.items()}
        required = [name for name in schema.get("required", ()) if name in properties]
        if required:
            written["required"] = required

    def _choose(self, schema: Mapping[str, Any], choice: str) -> dict[str, Any]:
        """Translate a choice between one schema and null, which is how many tools write what may be missing."""
        rest = {name: value for name, value in schema.items() if name != choice}
        kinds = [inner for inner in schema[choice] if not (isinstance(inner, Mapping) and inner.get("type") == "null")]
        if len(kinds) != 1 or not isinstance(kinds[0], Mapping):
            raise self._refuse(f"a choice of types ({choice})")
        written = self.translate({**kinds[0], **rest})
        return {**written, "nullable": True} if len(schema[choice]) > 1 else written

    def _join(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        rest = {name: value for name, value in schema.items() if name != "allOf"}
        if len(schema["allOf"]) != 1 or not isinstance(schema["allOf"][0], Mapping):
            raise self._refuse("several schemas at once (allOf)")
        return self.translate({**schema["allOf"][0], **rest})

    def _follow(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        reference = str(schema["$ref"])
        if reference in self._within:
            raise self._refuse(f"a schema that holds itself ({reference})")
        target: Any = self._root if reference.startswith("#") else None
        for step in reference.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping):
            raise self._refuse(f"a reference that leads nowhere ({reference})")
        self._within.append(reference)
        written = self.translate({**target, **{name: value for name, value in schema.items() if name != "$ref"}})
        self._within.pop()
        return written

    def _refuse(self, what: str) -> UnsupportedRequest:
        return UnsupportedRequest(f"google-generativeai cannot carry {what} in {self._where}")


def _implied(schema: Mapping[str, Any]) -> str | None:
    """Return the type that a schema without one can only have."""
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    choices = [schema.get("const")] if "const" in schema else schema.get("enum") or ()
    texts = [choice for choice in choices if choice is not None]
    return "string" if texts and all(isinstance(text, str) for text in texts) else None
