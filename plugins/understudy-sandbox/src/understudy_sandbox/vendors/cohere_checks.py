"""What Cohere's API turns away before any model sees it, so that a caller who gets it wrong is seen here too."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from understudy_sandbox.exchange import RecordedRequest
from understudy_sandbox.vendors import cohere_thinking, conversation

CHAT = "/v2/chat"
MODELS = "/v1/models"
UNKNOWN_MODEL = "no-such-model"
#: The fields that the SDK's ClientV2.chat (7.3.1) sends.
_NAMES = (
    "model messages tools strict_tools documents citation_options response_format safety_mode max_tokens "
    "stop_sequences temperature seed frequency_penalty presence_penalty k p logprobs tool_choice thinking priority "
    "stream"
)
_FIELDS = frozenset(_NAMES.split())
_ROLES = ("user", "assistant", "system", "tool")
_RANGES = {"temperature": (0, 1), "p": (0.01, 0.99), "frequency_penalty": (0, 1), "presence_penalty": (0, 1)}

Problem = tuple[int, str]


def find_problem(request: RecordedRequest) -> Problem | None:
    """The status and the message that the vendor would answer with, or None for a sound request."""
    path = request.path
    listing = path == MODELS or path.startswith(f"{MODELS}/")
    if not request.headers.get("authorization", "").removeprefix("Bearer").strip():
        return 401, "no api key supplied"
    if (path != CHAT and not listing) or request.method != ("GET" if listing else "POST"):
        return 404, f"could not find {request.method} {path}"
    if listing:
        return _missing_model(path.removeprefix(MODELS).removeprefix("/"))
    if not isinstance(request.json, Mapping):
        return 400, "invalid json syntax: expected an object"
    checks: Sequence[Callable[[Mapping[str, Any]], Problem | None]] = (
        _wrong_fields,
        _wrong_messages,
        _wrong_tools,
        _wrong_numbers,
        cohere_thinking.wrong_thinking,
    )
    problem = next((found for check in checks if (found := check(request.json)) is not None), None)
    return problem or _missing_model(str(request.json["model"]))


def _missing_model(name: str) -> Problem | None:
    if not name.startswith(UNKNOWN_MODEL):
        return None
    return (
        404,
        f"model '{name}' not found, make sure the correct model ID was used and that you have access to the model.",
    )


def _wrong_fields(body: Mapping[str, Any]) -> Problem | None:
    for name in body:
        if name not in _FIELDS:
            return 422, f"unknown field: parameter '{name}' is not a valid field"
    if not body.get("model"):
        return 400, "model is required"
    wanted = body.get("response_format") or {}
    if wanted.get("type", "text") not in ("text", "json_object"):
        return 400, f"invalid request: response_format.type must be 'text' or 'json_object', not '{wanted['type']}'"
    if wanted.get("type") == "json_object" and body.get("tools"):
        return 400, "invalid request: response_format is not supported with tools"
    return None


def _wrong_messages(body: Mapping[str, Any]) -> Problem | None:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return 400, "invalid request: list of messages must not be empty"
    for position, message in enumerate(messages):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in _ROLES:
            return 400, f"invalid request: invalid role in messages at index {position}: {role!r}"
        problem = _wrong_message(message, position)
        if problem is not None:
            return problem
    for position, call, answers in conversation.unpaired(messages):
        if answers:
            return 400, f"invalid request: tool_call_id '{call}' of the message at index {position} names no tool call"
        return 400, f"invalid request: missing tool results for tool calls: {call}"
    return None


def _wrong_message(message: Mapping[str, Any], position: int) -> Problem | None:
    if not message.get("content") and not (message["role"] == "assistant" and message.get("tool_calls")):
        return 400, "message must not be empty in a turn"
    for call in message.get("tool_calls") or ():
        try:
            made = json.loads(call["function"]["arguments"])
        except (KeyError, TypeError, ValueError):
            made = None
        if not isinstance(made, Mapping):
            return 400, f"invalid request: tool call arguments in messages at index {position} must be a JSON object"
    return None


def _wrong_tools(body: Mapping[str, Any]) -> Problem | None:
    choice = body.get("tool_choice")
    if choice not in (None, "REQUIRED", "NONE"):
        return 400, f"invalid request: tool_choice must be one of 'REQUIRED', 'NONE', not '{choice}'"
    if choice == "REQUIRED" and not body.get("tools"):
        return 400, "invalid request: tool_choice needs tools"
    if choice is not None and cohere_thinking.thinks(body):
        return 400, "invalid request: tool_choice is not supported for this model"
    return None


def _wrong_numbers(body: Mapping[str, Any]) -> Problem | None:
    for name, (least, most) in _RANGES.items():
        value = body.get(name)
        if value is not None and not least <= value <= most:
            return 400, f"invalid request: {name} must be between {least} and {most} inclusive."
    limit = body.get("max_tokens")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 1):
        return 400, "invalid request: max_tokens must be at least 1."
    if len(body.get("stop_sequences") or ()) > 5:
        return 400, "invalid request: the maximum number of stop_sequences is 5."
    return None
