"""What is wrong with the tools and the output formats of a request to OpenAI, in both of its APIs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from understudy_sandbox.exchange import compact
from understudy_sandbox.vendors.openai_problem import Problem, missing

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def functions(body: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The function tools, each with its place: Chat Completions wraps them, Responses does not."""
    found = []
    for place, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") == "function":
            wrapped = "messages" in body
            found.append((f"tools[{place}].function" if wrapped else f"tools[{place}]", _function(tool, wrapped)))
    return found


def _function(tool: Mapping[str, Any], wrapped: bool) -> Mapping[str, Any]:
    function = tool.get("function") if wrapped else tool
    return function if isinstance(function, Mapping) else {}


def output_format(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The format that is asked for, with the schema's name, strictness and schema beside its type."""
    form = body.get("response_format") or (body.get("text") or {}).get("format") or {}
    return {**form, **form["json_schema"]} if isinstance(form.get("json_schema"), Mapping) else form


def wrong_tools(body: Mapping[str, Any]) -> Problem | None:
    """What the vendor has against the tools and the tool choice."""
    if not body.get("tools") and body.get("tool_choice") not in (None, "none", "auto"):
        message = "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
        return Problem(400, message, "tool_choice")
    for where, function in functions(body):
        name = function.get("name")
        if not name:
            return missing(f"{where}.name")
        if not _NAME.fullmatch(str(name)):
            message = f"Invalid '{where}.name': string does not match pattern '^[a-zA-Z0-9_-]+$'."
            return Problem(400, message, f"{where}.name", "invalid_value")
        if function.get("strict"):
            complaint = _not_strict(function.get("parameters") or {}, ())
            if complaint is not None:
                message = f"Invalid schema for function '{name}': {complaint}"
                return Problem(400, message, f"{where}.parameters", "invalid_function_parameters")
    return None


def wrong_format(body: Mapping[str, Any]) -> Problem | None:
    """What the vendor has against the output format."""
    form = output_format(body)
    where = "response_format" if "messages" in body else "text.format"
    if form.get("type") == "json_object":
        talk = "messages" if "messages" in body else "input"
        if "json" not in compact(body.get(talk)).casefold():
            message = f"'{talk}' must contain the word 'json' in some form, to use '{where}' of type 'json_object'."
            return Problem(400, message, talk)
    if form.get("type") != "json_schema":
        return None
    for name in ("name", "schema"):
        if not form.get(name):
            return missing(f"{where}.json_schema.{name}" if "messages" in body else f"{where}.{name}")
    complaint = _not_strict(form["schema"], ()) if form.get("strict") else None
    if complaint is None:
        return None
    message = f"Invalid schema for response_format '{form['name']}': {complaint}"
    return Problem(400, message, where if "messages" in body else f"{where}.schema", "invalid_json_schema")


def _not_strict(schema: Any, context: tuple[str, ...]) -> str | None:
    """Why a schema is none that strict mode takes: objects must be closed and all of their members required."""
    if not isinstance(schema, Mapping):
        return None
    members = schema.get("properties")
    if schema.get("type") == "object" or isinstance(members, Mapping):
        if schema.get("additionalProperties") is not False:
            return f"In context={context}, 'additionalProperties' is required to be supplied and to be false."
        optional = [name for name in members or {} if name not in (schema.get("required") or ())]
        if optional:
            return (
                f"In context={context}, 'required' is required to be supplied and to be an array including every key "
                f"in properties. Missing '{optional[0]}'."
            )
    inside = [("properties", name, one) for name, one in (members or {}).items()]
    inside += [("$defs", name, one) for name, one in (schema.get("$defs") or {}).items()]
    inside += [("items", "", schema.get("items"))]
    inside += [("anyOf", str(place), one) for place, one in enumerate(schema.get("anyOf") or ())]
    for kind, name, one in inside:
        complaint = _not_strict(one, (*context, kind, name) if name else (*context, kind))
        if complaint is not None:
            return complaint
    return None
