"""What a stand-in says: one deterministic answer to what was asked, in no vendor's shape.

A vendor module reads its request into an :class:`Asked` and writes the :class:`Answer` in its own JSON. Tokens are
words here: pieces of text with the white space before them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from understudy_sandbox.exchange import compact

THOUGHT = "The sandbox has nothing to think about; it was asked to show a thought."
ECHOED = 2_000  # characters of the prompt that are said back: enough to recognise it
DEEPEST = 12  # levels of a recursive schema before the instance is cut short


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that the request offers: its name and the JSON schema of its arguments."""

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, whatever its vendor.

    ``tool_choice`` is "auto", "none", "required" or the name of a tool; ``tool_results`` are filled only when the
    conversation ends in them. ``begun`` is the beginning of an answer, where the vendor goes on from it.
    """

    title: str
    said: str
    attachments: tuple[str, ...] = ()
    tool_results: tuple[str, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    one_tool: bool = False
    schema: Mapping[str, Any] | None = None
    thinking: bool = False
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    begun: str = ""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call of a tool with arguments made from its schema."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """What the stand-in answers, with its length in tokens."""

    text: str
    thought: str
    tool_calls: tuple[ToolCall, ...]
    finish: Literal["stop", "stop_sequence", "length", "tool_calls"]
    stop_sequence: str | None
    text_tokens: int
    thought_tokens: int


def compose(asked: Asked, scripted: str | None = None) -> Answer:
    """Answer what was asked: the scripted text, a tool call, an instance of the schema, or a plain sentence.

    Where the answer was begun with just these words, only the rest of it comes; with others, all of it.
    """
    calls = () if scripted is not None else _tool_calls(asked)
    text = scripted if scripted is not None else "" if calls else _say(asked)
    text = text.removeprefix(asked.begun)
    text, stopped_by = _stop(text, asked.stop)
    left = asked.max_tokens
    thought, left, thought_cut = _limit(THOUGHT if asked.thinking else "", left)
    text, left, text_cut = _limit(text, left)
    finish: Literal["stop", "stop_sequence", "length", "tool_calls"] = "stop"
    if thought_cut or text_cut:
        finish, stopped_by = "length", None
        calls = () if thought_cut else calls
    elif calls:
        finish = "tool_calls"
    elif stopped_by is not None:
        finish = "stop_sequence"
    spent = len(pieces(text)) + sum(len(pieces(compact(call.arguments))) + 1 for call in calls)
    return Answer(text, thought, calls, finish, stopped_by, spent, len(pieces(thought)))


def _say(asked: Asked) -> str:
    if asked.schema is not None:
        return compact(instance(asked.schema))
    sentence = f"This is the Understudy sandbox standing in for {asked.title}, not a real model."
    if asked.tool_results:
        return f"{sentence} The tools said: {', '.join(asked.tool_results)}"
    said = asked.said if len(asked.said) <= ECHOED else asked.said[:ECHOED] + "..."
    attached = f" You attached: {', '.join(asked.attachments)}." if asked.attachments else ""
    return f'{sentence} You said: "{said}"{attached}'


def _tool_calls(asked: Asked) -> tuple[ToolCall, ...]:
    """The forced tool; else the tools that the text names; else, where a call is required, the first."""
    if asked.tool_choice == "none" or asked.tool_results or not asked.tools:
        return ()
    forced = [tool for tool in asked.tools if tool.name == asked.tool_choice]
    named = [tool for tool in asked.tools if tool.name.casefold() in asked.said.casefold()]
    chosen = forced or named or (list(asked.tools[:1]) if asked.tool_choice == "required" else [])
    chosen = chosen[:1] if asked.one_tool else chosen
    return tuple(ToolCall(tool.name, arguments(tool.schema)) for tool in chosen)


def _stop(text: str, sequences: Sequence[str]) -> tuple[str, str | None]:
    found = [(text.index(sequence), sequence) for sequence in sequences if sequence and sequence in text]
    if not found:
        return text, None
    position, sequence = min(found)
    return text[:position], sequence


def _limit(text: str, left: int | None) -> tuple[str, int | None, bool]:
    words = pieces(text)
    if left is None:
        return text, None, False
    if len(words) <= left:
        return text, left - len(words), False
    return "".join(words[:left]), 0, True


def pieces(text: str) -> list[str]:
    """Cut a text into words, each with the white space before it; joined they are the text again."""
    return re.findall(r"\s*\S+|\s+$", text)


def count(*documents: Any) -> int:
    """Count the tokens of requests' parts: the words of every text inside them."""
    words = (len(pieces(one)) if isinstance(one, str) else count(*_inside(one)) for one in documents)
    return sum(words)


def _inside(document: Any) -> list[Any]:
    if isinstance(document, Mapping):
        return list(document.values())
    return list(document) if isinstance(document, list | tuple) else []


def identifier(prefix: str, *seeds: object, length: int = 22) -> str:
    """Make an id in the vendors' manner; the same seeds give the same id."""
    digest = int.from_bytes(hashlib.sha256(repr(seeds).encode()).digest(), "big")
    letters = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    made = ""
    while len(made) < length:
        digest, rest = divmod(digest, len(letters))
        made += letters[rest]
    return prefix + made


def as_text(value: Any) -> str:
    """A text as itself, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def arguments(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Make a tool's arguments from their schema; a schema of anything but an object takes none."""
    made = instance(schema)
    return made if isinstance(made, Mapping) else {}


def instance(schema: Any, root: Any = None, depth: int = 0) -> Any:
    """Make one instance of a JSON schema (or of Google's OpenAPI subset, with its upper-case types).

    Objects get their required members, or all of them when none is required; arrays one item, or as many as they
    need; texts are "...", numbers 1 or the nearest that is allowed.
    """
    root = schema if root is None else root
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return None
    if "$ref" in schema:
        return instance(_resolve(str(schema["$ref"]), root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for choice in ("anyOf", "oneOf"):
        if schema.get(choice):
            options = [option for option in schema[choice] if _type(option) != "null"]
            return instance((options or schema[choice])[0], root, depth + 1)
    if schema.get("allOf"):
        merged: dict[str, Any] = {}
        for part in schema["allOf"]:
            part = _resolve(str(part["$ref"]), root) if "$ref" in part else part
            merged |= part | {"properties": merged.get("properties", {}) | part.get("properties", {})}
        return instance(merged, root, depth + 1)
    return _of_type(schema, root, depth)


def _of_type(schema: Mapping[str, Any], root: Any, depth: int) -> Any:
    match _type(schema):
        case "object":
            members = schema.get("properties") or {}
            wanted = schema.get("required") or list(members)
            return {name: instance(members.get(name, {"type": "string"}), root, depth + 1) for name in wanted}
        case "array":
            items = schema.get("items", {"type": "string"})
            return [instance(items, root, depth + 1)] * max(1, int(schema.get("minItems", 1)))
        case "integer" | "number":
            return _number(schema)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return _string(schema)


def _type(schema: Mapping[str, Any]) -> str:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    return str(kind).lower()


def _number(schema: Mapping[str, Any]) -> Any:
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1 if "exclusiveMinimum" in schema else None)
    high = schema.get("maximum", schema.get("exclusiveMaximum", 0) - 1 if "exclusiveMaximum" in schema else None)
    number = 1 if low is None or low <= 1 else low
    return number if high is None or number <= high else high


def _string(schema: Mapping[str, Any]) -> str:
    formats = {
        "date-time": "2026-01-01T00:00:00Z",
        "date": "2026-01-01",
        "time": "00:00:00Z",
        "email": "sandbox@example.com",
        "uri": "https://example.com/",
        "uuid": "00000000-0000-4000-8000-000000000000",
    }
    made = formats.get(str(schema.get("format")), "...")
    least, most = int(schema.get("minLength", 0)), schema.get("maxLength")
    made = made if len(made) >= least else made.ljust(least, ".")
    return made if most is None else made[: int(most)]


def _resolve(reference: str, root: Any) -> Any:
    node = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, Mapping) and step else node
    return node if node is not root else {}
