"""JSON schemas in the older dialect of Gemini's API: a part of OpenAPI 3.0. No SDK, no I/O.

It knows types, descriptions, lists of texts to choose from, and little else (the message Schema of
google-ai-generativelanguage 0.6.15). What only narrows an answer is left out and reported. What changes the shape of an
answer, such as a choice between two types, cannot be left out: in strict mode the request is refused, so that another
target is asked; in lenient mode, if the full schema was refused already, the nearest form replaces it, also reported.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from understudy.errors import UnsupportedRequest

__all__ = ["translate"]

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
# Objects and arrays within each other that are taken: "exceeds the maximum allowed nesting depth" comes from the fifth
# on. https://github.com/Portkey-AI/gateway/pull/1616, read 2026-11-30.
_MOST_DEPTH = 4


def translate(
    schema: Mapping[str, Any], where: str, carrier: str = "google-generativeai", *, lenient: bool = False
) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Translate a JSON schema.

    Args:
        schema: the schema; it is not changed.
        where: what to call it in a failure.
        carrier: what cannot carry more than the dialect, in a failure.
        lenient: whether what the dialect cannot express is approximated rather than refused. The limits
            of numbers and lists and the depth are left out then too: they are what makes a schema too large.

    Returns:
        The schema in Gemini's dialect, None for an object of which no property is named; and the keywords that were
        left out.

    Raises:
        UnsupportedRequest: the dialect cannot express the shape of the schema.
    """
    translation = _Translation(schema, f"{carrier} cannot carry", where, lenient)
    if _is_free(schema):
        return None, ()
    return translation.translate(schema), tuple(sorted(translation.left_out))


def _is_free(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is of an object of which it says nothing more: for a tool, one that takes nothing."""
    if schema.get("type", "object") != "object" or isinstance(schema.get("additionalProperties"), Mapping):
        return False
    return not any(schema.get(name) for name in ("properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "items"))


class _Translation:
    def __init__(self, root: Mapping[str, Any], cannot: str, where: str, lenient: bool) -> None:
        self._root, self._cannot, self._where, self._lenient = root, cannot, where, lenient
        self._within: list[str] = []  # the references that are being followed
        self._depth = 0  # of objects and arrays
        self.left_out: set[str] = set()

    def translate(self, schema: Any) -> dict[str, Any]:
        if not isinstance(schema, Mapping):
            return self._near("a value of any type", schema)
        if "$ref" in schema:
            return self._follow(schema)
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self._choose(schema, choice)
        if "allOf" in schema:
            return self._join(schema)
        kind, nullable = self._type(schema)
        if kind is None:
            return self._near("a value of any type", schema)
        if isinstance(kind, list):
            return self._one_of([{**schema, "type": one} for one in kind], nullable, schema)
        self.left_out |= schema.keys() - _READ - _NOTES
        return self._write(schema, kind, nullable)

    def _write(self, schema: Mapping[str, Any], kind: str, nullable: bool) -> dict[str, Any]:
        if self._lenient and kind in ("object", "array") and self._depth >= _MOST_DEPTH - 1 and _holds_more(schema):
            return self._near("more than four objects and arrays within each other", schema, kind)
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
        self._depth += 1
        if kind == "object":
            if not isinstance(schema.get("properties"), Mapping) or not schema["properties"]:
                written = self._near("an object without named properties", schema, kind)
            else:
                self._add_properties(schema, written)
        elif kind == "array":
            written["items"] = self.translate(schema.get("items"))
            limits = {name: schema[name] for name in ("minItems", "maxItems") if name in schema}
            self.left_out |= limits.keys() if self._lenient else set()
            written |= {} if self._lenient else limits
        self._depth -= 1
        return written

    def _type(self, schema: Mapping[str, Any]) -> tuple[str | list[str] | None, bool]:
        told = schema.get("type")
        kinds = [told] if isinstance(told, str) else list(told or ())
        nullable = "null" in kinds or schema.get("nullable") is True
        kinds = [kind for kind in kinds if kind != "null"] or [kind for kind in (_implied(schema),) if kind]
        if not kinds or not set(kinds) <= _TYPES:
            return None, nullable
        if len(kinds) > 1 and not self._lenient:
            raise self._refuse(f"a choice of types ({', '.join(map(str, kinds))})")
        return kinds if len(kinds) > 1 else kinds[0], nullable

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
        properties = schema["properties"]
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
        nullable = len(kinds) < len(schema[choice])
        if len(kinds) == 1 and isinstance(kinds[0], Mapping):
            written = self.translate({**kinds[0], **rest})
            return {**written, "nullable": True} if nullable else written
        if not self._lenient:
            raise self._refuse(f"a choice of types ({choice})")
        return self._one_of(kinds, nullable, rest)

    def _one_of(self, kinds: list[Any], nullable: bool, schema: Mapping[str, Any]) -> dict[str, Any]:
        """Write a choice, which the API takes by now, other than google-generativeai."""
        described = {"description": schema["description"]} if isinstance(schema.get("description"), str) else {}
        choice = {"anyOf": [self.translate(kind) for kind in kinds], **described}
        return {**choice, "nullable": True} if nullable else choice

    def _join(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        rest = {name: value for name, value in schema.items() if name != "allOf"}
        parts = [part for part in schema["allOf"] if isinstance(part, Mapping)]
        if len(parts) == len(schema["allOf"]) == 1:
            return self.translate({**parts[0], **rest})
        if not self._lenient:
            raise self._refuse("several schemas at once (allOf)")
        return self._near("several schemas at once (allOf)", schema, "object")

    def _follow(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        reference = str(schema["$ref"])
        if reference in self._within:
            return self._near(f"a schema that holds itself ({reference})", schema, "object")
        target: Any = self._root if reference.startswith("#") else None
        for step in reference.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            target = target.get(step) if isinstance(target, Mapping) else None
        if not isinstance(target, Mapping):
            return self._near(f"a reference that leads nowhere ({reference})", schema)
        self._within.append(reference)
        written = self.translate({**target, **{name: value for name, value in schema.items() if name != "$ref"}})
        self._within.pop()
        return written

    def _near(self, what: str, schema: Any, kind: str = "string") -> dict[str, Any]:
        """Return the nearest form of what the dialect cannot express, with the schema in its description.

        Raises:
            UnsupportedRequest: it is not asked for.
        """
        if not self._lenient:
            raise self._refuse(what)
        self.left_out.add(what)
        words = "" if schema in (None, True, {}) else f", by the JSON schema {json.dumps(schema, default=dict)}"
        items = {"items": {"type": "STRING", "description": "JSON"}} if kind == "array" else {}
        return {"type": kind.upper(), "description": f"{'JSON' if kind == 'string' else kind}{words}", **items}

    def _refuse(self, what: str) -> UnsupportedRequest:
        return UnsupportedRequest(f"{self._cannot} {what} in {self._where}")


def _holds_more(schema: Mapping[str, Any]) -> bool:
    """Return whether there are objects or arrays within an object or an array."""
    inner = json.dumps([schema.get("properties"), schema.get("items")], default=dict)
    return any(f'"{word}"' in inner for word in ("object", "array", "properties", "items", "$ref"))


def _implied(schema: Mapping[str, Any]) -> str | None:
    """Return the type that a schema without one can only have."""
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    choices = [schema.get("const")] if "const" in schema else schema.get("enum") or ()
    texts = [choice for choice in choices if choice is not None]
    return "string" if texts and all(isinstance(text, str) for text in texts) else None
