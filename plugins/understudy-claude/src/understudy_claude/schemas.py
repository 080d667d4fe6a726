"""Fits a JSON schema to what Claude's structured outputs and tools take, and says what was left out.

What is left out goes into the description, where the model reads it, and the answer is checked against the whole schema
afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

Json = dict[str, Any]

# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations and
# anthropic 2.14.0, lib/_parse/_transform.py, read 2026-11-30
FORMATS = ("date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid")
_PLAIN = ("string", "integer", "number", "boolean", "null")
_KEPT = ("title", "description")
# What restricts no answer: left out silently.
_REMARKS = (
    *("$schema", "$id", "$comment", "$anchor", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"),
    *("discriminator", "contentMediaType", "contentEncoding"),
)
_DEFINITIONS = ("$defs", "definitions")


class NotSent(Exception):
    """A schema cannot be sent as it is, since an answer that fits it would be ruled out; the message says why."""


def fit_schema(schema: Mapping[str, Any]) -> tuple[Json, tuple[str, ...]]:
    """Return a schema as structured outputs take it, and the keywords that were left out.

    Args:
        schema: a JSON schema.

    Raises:
        NotSent: it recurs, lets objects have properties of any name, or leaves something open altogether.
    """
    if _recurs(schema):
        raise NotSent("it refers to itself")
    lost: list[str] = []
    fitted = _fit(schema, lost)
    return fitted, tuple(dict.fromkeys(lost))


def in_words(schema: Mapping[str, Any]) -> str:
    """Return a prompt that asks for an answer that follows a schema."""
    written = json.dumps(schema, ensure_ascii=False, default=dict)
    return f"Answer with JSON alone, without a word or a fence around it, that follows this JSON schema:\n{written}"


def fit_parameters(parameters: Mapping[str, Any]) -> tuple[Json, tuple[str, ...]]:
    """Return the schema of a tool's arguments as the API takes it, and the keywords that were left out.

    At its top it has to be of type object, without anyOf, oneOf and allOf: https://github.com/anthropics/claude-code/
    issues/5973, read 2026-11-30. The properties of their variants are merged, and none of them is required.
    """
    lost = tuple(name for name in ("anyOf", "oneOf", "allOf") if name in parameters)
    fitted: Json = {name: value for name, value in parameters.items() if name not in lost}
    fitted["type"] = "object"
    for name in lost:
        for variant in parameters[name] if isinstance(parameters[name], list) else ():
            if isinstance(variant, Mapping) and isinstance(variant.get("properties"), Mapping):
                own = fitted.get("properties")
                fitted["properties"] = {**variant["properties"], **(own if isinstance(own, Mapping) else {})}
    return fitted, lost


def _fit(schema: Any, lost: list[str]) -> Json:
    if not isinstance(schema, Mapping) or not schema.keys() - {*_KEPT, *_REMARKS}:
        raise NotSent("it leaves a value open")
    schema = _merged(schema)
    fitted: Json = {
        name: {key: _fit(value, lost) for key, value in schema[name].items()}
        for name in _DEFINITIONS
        if isinstance(schema.get(name), Mapping)
    }
    if isinstance(reference := schema.get("$ref"), str):
        if not reference.startswith(("#/$defs/", "#/definitions/")):
            raise NotSent(f"it refers to {reference}")
        return {**fitted, "$ref": reference}
    rest = {name: value for name, value in schema.items() if name not in (*_REMARKS, *_DEFINITIONS)}
    fitted |= {name: rest.pop(name) for name in _KEPT if isinstance(rest.get(name), str)}
    _fit_kind(fitted, rest, lost)
    if rest:
        lost += rest
        words = "{" + ", ".join(f"{name}: {value}" for name, value in rest.items()) + "}"
        fitted["description"] = "\n\n".join(filter(None, (fitted.get("description"), words)))
    return fitted


def _fit_kind(fitted: Json, rest: Json, lost: list[str]) -> None:
    """Move to a fitted schema what says which type a value has; what is left over is not supported."""
    if "const" in rest or _is_enum(rest.get("enum")):
        fitted |= {name: rest.pop(name) for name in ("enum", "const") if name in rest}
        rest.pop("type", None)
        return
    variants = next((name for name in ("anyOf", "oneOf") if isinstance(rest.get(name), list)), None)
    if variants is not None and "properties" not in rest:
        fitted["anyOf"] = [_fit(variant, lost) for variant in rest.pop(variants)]
        rest.pop("type", None)
        return
    kind = rest.pop("type", None) or _kind_of(rest)
    if isinstance(kind, list) and {*kind} <= {*_PLAIN}:
        fitted["type"] = kind
        _keep_format(fitted, rest)
    elif isinstance(kind, list):
        fitted["anyOf"] = [_fit({**rest, "type": one} if one not in _PLAIN else {"type": one}, lost) for one in kind]
        rest.clear()
    elif kind == "object":
        fitted["type"] = kind
        _close(fitted, rest, lost)
    elif kind == "array":
        fitted["type"] = kind
        if "items" in rest:
            fitted["items"] = _fit(rest.pop("items"), lost)
        else:
            raise NotSent("it leaves the entries of a list open")
        if rest.get("minItems") in (0, 1):
            fitted["minItems"] = rest.pop("minItems")
    elif kind in _PLAIN:
        fitted["type"] = kind
        _keep_format(fitted, rest)
    else:
        raise NotSent("it leaves a value open")


def _close(fitted: Json, rest: Json, lost: list[str]) -> None:
    properties, further = rest.pop("properties", None), rest.pop("additionalProperties", None)
    if not properties and (further is not False or "patternProperties" in rest):
        raise NotSent("an object may have properties of any name")
    if further not in (None, False) or "patternProperties" in rest:
        lost.append("additionalProperties")
    rest.pop("patternProperties", None)
    fitted["properties"] = {name: _fit(value, lost) for name, value in (properties or {}).items()}
    if "required" in rest:
        fitted["required"] = list(rest.pop("required"))
    fitted["additionalProperties"] = False


def _keep_format(fitted: Json, rest: Json) -> None:
    if rest.get("format") in FORMATS:
        fitted["format"] = rest.pop("format")


def _kind_of(rest: Mapping[str, Any]) -> str | None:
    return "object" if "properties" in rest else "array" if "items" in rest else None


def _is_enum(values: Any) -> bool:
    return isinstance(values, list) and bool(values) and all(not isinstance(value, dict | list) for value in values)


def _merged(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a schema without allOf: each part would be closed to the properties of the others."""
    parts = schema.get("allOf")
    if not isinstance(parts, list):
        return schema
    merged: Json = {name: value for name, value in schema.items() if name != "allOf"}
    if len(parts) == 1 and isinstance(parts[0], Mapping) and not merged.keys() & parts[0].keys() - {*_KEPT}:
        return {**parts[0], **merged}
    for part in parts:
        if not isinstance(part, Mapping) or part.keys() - {"type", "properties", "required", *_KEPT, *_REMARKS}:
            raise NotSent("it joins schemas with allOf")
        merged["type"] = "object"
        merged["properties"] = {**merged.get("properties", {}), **part.get("properties", {})}
        merged["required"] = [*merged.get("required", ()), *part.get("required", ())]
    return merged


def _recurs(schema: Mapping[str, Any]) -> bool:
    """Return whether a definition refers to itself, directly or by others, or anything refers to the whole."""
    edges: dict[str, set[str]] = {
        f"#/{place}/{name}": set(_references(value))
        for place in _DEFINITIONS
        if isinstance(schema.get(place), Mapping)
        for name, value in schema[place].items()
    }
    if "#" in _references(schema):
        return True
    for start in edges:
        seen: set[str] = set()
        waiting = [*edges[start]]
        while waiting:
            name = waiting.pop()
            if name == start:
                return True
            if name not in seen:
                seen.add(name)
                waiting += edges.get(name, ())
    return False


def _references(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for value in schema.values():
            yield from _references(value)
    elif isinstance(schema, list | tuple):
        for value in schema:
            yield from _references(value)
