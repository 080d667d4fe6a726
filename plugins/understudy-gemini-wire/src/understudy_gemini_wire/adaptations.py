"""What is changed in a request that a model refused, so that the same model may answer it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from understudy import Request, ResponseWarning
from understudy_gemini_wire.schema import translate

__all__ = [
    "JSON_OR_TOOLS",
    "SIMPLER_SCHEMAS",
    "SYSTEM_FIRST",
    "UNFORCED",
    "WITHOUT_JSON_MODE",
    "WITHOUT_SIGNATURES",
    "WITHOUT_THINKING_CONFIG",
    "Json",
    "adapt",
    "fields_in",
    "sign_first_call",
    "with_at_most",
    "without",
]

Json = dict[str, Any]


def without(*fields: str) -> str:
    """Return the adaptation that leaves members of the generationConfig out."""
    return f"without {', '.join(fields)}"


def with_at_most(tokens: int) -> str:
    """Return the adaptation that keeps to a model's limit."""
    return f"with at most {tokens} tokens"


# Each completes "once more, ...", and is in Request.adaptation of the attempt that follows.
WITHOUT_SIGNATURES = "without thought signatures"  # its tool calls are marked as unsigned
SIMPLER_SCHEMAS = "with simpler schemas"  # those of tools in the older dialect, that of the answer in words
WITHOUT_JSON_MODE = "without JSON mode"  # the schema of the answer in words
JSON_OR_TOOLS = "without JSON mode beside tools"
SYSTEM_FIRST = "with the system instructions in the first message"
UNFORCED = "without forcing a tool"
WITHOUT_THINKING_CONFIG = without("thinkingConfig")

_FIELDS = re.compile(r"without (\w+(?:, \w+)*)")
_AT_MOST = re.compile(r"with at most (\d+) tokens")
# Stands for the signature of a tool call that Gemini did not make.
# https://ai.google.dev/gemini-api/docs/thought-signatures, read 2026-11-30.
_UNSIGNED = "skip_thought_signature_validator"
# The field of a request that each member of the generationConfig comes from; the others are of its options.
_SETTINGS: Mapping[str, str] = {"temperature": "temperature", "stopSequences": "stop"}


def fields_in(adaptation: str | None) -> tuple[str, ...]:
    """Return the members of the generationConfig that an adaptation leaves out."""
    found = _FIELDS.fullmatch(adaptation or "")
    return tuple(found[1].split(", ")) if found is not None and adaptation not in _CHANGES else ()


def adapt(body: Json, adaptations: Collection[str], request: Request | None = None) -> tuple[ResponseWarning, ...]:
    """Change a request's JSON; what is not there, or was changed before, is left as it is.

    Args:
        body: the JSON; it is changed.
        adaptations: what to change.
        request: what was asked, by which it is decided whether a lower limit is worth a warning.

    Returns:
        A warning for each thing that is sent otherwise than it was asked for.
    """
    warnings: list[ResponseWarning] = []
    config: Any = body.get("generationConfig")
    for words in adaptations if isinstance(config, dict) else ():
        limit = _AT_MOST.fullmatch(words)
        if limit is not None:
            warnings += _keep_to(int(limit[1]), config, request)
        for field in fields_in(words):
            if config.pop(field, None) is not None:
                setting = _SETTINGS.get(field, "options")
                warnings.append(ResponseWarning(setting, f"the model refuses {field}: it was not sent"))
    for words, change in _CHANGES.items():  # the system instructions come last: others write into them
        if words in adaptations:
            warnings += change(body)
    if config == {}:
        del body["generationConfig"]
    return tuple(warnings)


def sign_first_call(parts: list[Json]) -> None:
    """Give a turn's first tool call the sign that it is not Gemini's, where no call of the turn is signed."""
    calls = [part for part in parts if "functionCall" in part]
    if calls and not any("thoughtSignature" in part for part in calls):
        calls[0]["thoughtSignature"] = _UNSIGNED


def _keep_to(limit: int, config: Json, request: Request | None) -> list[ResponseWarning]:
    asked = config.get("maxOutputTokens")
    if not isinstance(asked, int) or asked <= limit:
        return []
    config["maxOutputTokens"] = limit
    most = request.max_tokens if request is not None else None
    if most is None or most <= limit:
        return []  # it was the room to think that was too large
    return [ResponseWarning("max_tokens", f"the model writes {limit} tokens at most: {most} were asked for")]


def _leave_signatures_out(body: Json) -> list[ResponseWarning]:
    for content in _dicts(body.get("contents")):
        if content.get("role") != "model":
            continue
        parts = [part for part in _dicts(content.get("parts")) if not part.get("thought")]
        for part in parts:
            part.pop("thoughtSignature", None)
        sign_first_call(parts)
        content["parts"] = [part for part in parts if part and part != {"text": ""}]
    body["contents"] = [content for content in _dicts(body.get("contents")) if content.get("parts")]
    return []


def _simplify(body: Json) -> list[ResponseWarning]:
    warnings = []
    declarations = [
        one for tool in _dicts(body.get("tools")) for one in _dicts(tool.get("functionDeclarations")) if "name" in one
    ]
    for declaration in declarations:
        schema = declaration.pop("parametersJsonSchema", None)
        if isinstance(schema, Mapping):
            where = f"the parameters of {declaration['name']}"
            parameters, left_out = translate(schema, where, lenient=True)
            declaration |= {} if parameters is None else {"parameters": parameters}
            told = f" without {', '.join(left_out)}" if left_out else " in an older dialect"
            warnings.append(ResponseWarning("tools", f"the model refuses the schemas: {where} are sent{told}"))
    return warnings + _tell_schema(body, json_mode=True)


def _tell_schema(body: Json, *, json_mode: bool) -> list[ResponseWarning]:
    """Put the schema of the answer into words, at the end of the system instructions."""
    config = body.get("generationConfig")
    if not isinstance(config, dict):
        return []
    schemas = [config.pop(name) for name in ("responseJsonSchema", "responseSchema") if name in config]
    mode = None if json_mode else config.pop("responseMimeType", None)
    if not schemas and mode is None:
        return []
    when = "Unless you call a tool, answer" if body.get("tools") else "Answer"
    follow = f" that follows this JSON schema: {json.dumps(schemas[0], default=dict)}" if schemas else ""
    _add_to_system(body, f"{when} with nothing but JSON{follow}")
    lack = "the schema" if json_mode else "JSON mode"
    return [
        ResponseWarning(
            "output_schema",
            f"the model refuses {lack}: the schema was put into the prompt, and may not be followed",
        )
    ]


def _choose_json_or_tools(body: Json) -> list[ResponseWarning]:
    return _tell_schema(body, json_mode=False) if body.get("tools") else []


def _unforce(body: Json) -> list[ResponseWarning]:
    tool_config = body.get("toolConfig")
    calling = tool_config.get("functionCallingConfig") if isinstance(tool_config, dict) else None
    if not isinstance(calling, dict) or calling.get("mode") != "ANY":
        return []
    calling["mode"] = "AUTO"
    calling.pop("allowedFunctionNames", None)
    return [ResponseWarning("tool_choice", "the model cannot be made to call a tool: it may choose")]


def _add_to_system(body: Json, text: str) -> None:
    body["systemInstruction"] = {"parts": [*_system_parts(body), {"text": text}]}


def _put_system_first(body: Json) -> list[ResponseWarning]:
    parts, contents = _system_parts(body), _dicts(body.get("contents"))
    if not parts:
        return []
    del body["systemInstruction"]
    if contents and contents[0].get("role") == "user":
        contents[0]["parts"] = [*parts, *_dicts(contents[0].get("parts"))]
    else:
        contents.insert(0, {"role": "user", "parts": parts})
    body["contents"] = contents
    return [ResponseWarning("system", "the model takes no system instructions: they stand in the first message")]


def _system_parts(body: Json) -> list[Json]:
    """Return the parts of the system instructions, which a caller's options may give in other forms."""
    instruction = body.get("systemInstruction")
    parts = instruction.get("parts") if isinstance(instruction, Mapping) else instruction
    return [{"text": parts}] if isinstance(parts, str) else _dicts(parts if isinstance(parts, list) else [parts])


def _dicts(value: Any) -> list[Json]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


_CHANGES: Mapping[str, Callable[[Json], list[ResponseWarning]]] = {
    WITHOUT_SIGNATURES: _leave_signatures_out,
    SIMPLER_SCHEMAS: _simplify,
    WITHOUT_JSON_MODE: lambda body: _tell_schema(body, json_mode=False),
    JSON_OR_TOOLS: _choose_json_or_tools,
    UNFORCED: _unforce,
    SYSTEM_FIRST: _put_system_first,
}
