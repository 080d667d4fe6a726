"""Google's names and the numbers behind them: older SDKs send numbers, and ask for them with ``enum-encoding=int``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy_sandbox.exchange import RecordedRequest

_TYPES = ("TYPE_UNSPECIFIED", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "ARRAY", "OBJECT", "NULL")
_MODES = ("MODE_UNSPECIFIED", "AUTO", "ANY", "NONE")
#: The numbers in the API's v1beta definitions; a name that came later has none here and stays a name.
_NUMBERS: Mapping[str, Mapping[str, int]] = {
    "finishReason": {
        "STOP": 1,
        "MAX_TOKENS": 2,
        "SAFETY": 3,
        "RECITATION": 4,
        "OTHER": 5,
        "LANGUAGE": 6,
        "BLOCKLIST": 7,
        "PROHIBITED_CONTENT": 8,
        "SPII": 9,
        "MALFORMED_FUNCTION_CALL": 10,
        "IMAGE_SAFETY": 11,
    },
    "blockReason": {"SAFETY": 1, "OTHER": 2, "BLOCKLIST": 3, "PROHIBITED_CONTENT": 4, "IMAGE_SAFETY": 5},
    "category": {"HARM_CATEGORY_DANGEROUS_CONTENT": 10},
    "probability": {"NEGLIGIBLE": 1, "LOW": 2, "MEDIUM": 3, "HIGH": 4},
    "modality": {"TEXT": 1},
}


def calling_mode(mode: Any) -> str:
    """The name of a function calling mode."""
    return _name(mode, _MODES).upper()


def named_types(schema: Any) -> Any:
    """A schema whose types have names."""
    if isinstance(schema, list):
        return [named_types(one) for one in schema]
    if not isinstance(schema, Mapping):
        return schema
    named = {name: named_types(value) for name, value in schema.items()}
    return named | {"type": _name(schema["type"], _TYPES)} if isinstance(schema.get("type"), int) else named


def _name(value: Any, names: tuple[str, ...]) -> str:
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else str(value)


def wants_numbers(request: RecordedRequest) -> bool:
    """Whether the reply to this request is to have numbers instead of names."""
    return "enum-encoding=int" in (request.query.get("$alt") or request.query.get("alt") or "")


def numbered(document: Any) -> Any:
    """A reply with numbers instead of names."""
    if isinstance(document, list):
        return [numbered(one) for one in document]
    if not isinstance(document, Mapping):
        return document
    made = {}
    for name, value in document.items():
        numbers = _NUMBERS.get(name, {})
        made[name] = numbers.get(value, value) if isinstance(value, str) else numbered(value)
    return made
