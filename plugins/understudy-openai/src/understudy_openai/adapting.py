"""What a model at an address is known to refuse, and requests adapted to it.

A refusal that says what to change (remedies.py) is remembered while the process lives, so that the next request is
right at once. Whatever the caller loses by that is a warning on every answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from understudy import Request, ResponseWarning
from understudy_openai.models import Endpoint
from understudy_openai.reasoning import LIMITS
from understudy_openai.remedies import (
    ADAPTATIONS,
    AND,
    IN_A_STREAM,
    IN_JSON_MODE,
    ONE_CALL_AT_A_TIME,
    WITH_ANSWERED_RESULTS,
    WITH_COMPLETION_TOKENS,
    WITH_DUMMY_SIGNATURES,
    WITH_JSON_SCHEMA,
    WITH_MAX_TOKENS,
    WITH_PLAIN_TEXTS,
    WITH_REASONING_FIELDS,
    WITH_ROLES_JOINED,
    WITHOUT_EFFORT,
    WITHOUT_FORCED_TOOL,
    WITHOUT_REASONING_FIELDS,
    WITHOUT_RESPONSE_FORMAT,
    WITHOUT_STRICT,
    WITHOUT_SYSTEM_ROLE,
    WITHOUT_THINKING,
    WITHOUT_TOOL_CHOICE,
    is_lasting,
    told_limit,
)
from understudy_openai.shared import REASONING_FIELDS, Json, Warnings
from understudy_toolkit import refused

# Hosts that want the reasoning of every answer back while tools are used, be it empty:
# https://api-docs.deepseek.com/guides/thinking_mode; kevincodex1 in Gitlawb/openclaude#828 of Moonshot;
# https://platform.xiaomimimo.com/docs/zh-CN/usage-guide/passing-back-reasoning_content; read 2026-11-30.
_WANT_REASONING = ("deepseek.com", "moonshot.ai", "moonshot.cn", "xiaomimimo.com")
_OF_SCHEMAS = (IN_JSON_MODE, WITH_JSON_SCHEMA, WITHOUT_RESPONSE_FORMAT)  # refused perhaps only beside tools
# What is not the caller's wish unless the options say so, or is honoured where the answer is read.
_OURS = ("stream_options", "store", "stop", "reasoning_effort")
# Google's word for a call that another model made: https://ai.google.dev/gemini-api/docs/thought-signatures,
# read 2026-11-30.
_DUMMY: Json = {"google": {"thought_signature": "skip_thought_signature_validator"}}

_NOTED = "I have the results."  # an empty string is refused in its turn
_BESIDE_TOOLS = "beside tools"


def remember(adaptation: str | None, request: Request, model: str, endpoint: Endpoint) -> None:
    """Remember that a model at an address has to be asked in another way; of other adaptations nothing is kept."""
    if adaptation is None or not _is_lasting(adaptation, endpoint):
        return
    for each in adaptation.split(AND):
        refused.remember(endpoint.address, model, each, _BESIDE_TOOLS if each in _OF_SCHEMAS and request.tools else "")


def adaptations_of(request: Request, model: str, endpoint: Endpoint) -> tuple[str, ...]:
    """Return how a request has to be adapted to this model at this address, as far as that is known.

    Args:
        request: what is asked; its own adaptation counts as well.
        model: the model's name.
        endpoint: who is asked.
    """
    found = [*refused.remembered(endpoint.address, model)]
    if request.tools:
        found += refused.remembered(endpoint.address, model, _BESIDE_TOOLS)
    if _host_wants_reasoning(endpoint.address):
        found.append(WITH_REASONING_FIELDS)
    if request.adaptation is not None and _is_known(request.adaptation):
        found += request.adaptation.split(AND)
    return tuple(dict.fromkeys(found))


def adapt(body: Json, adaptations: Collection[str], request: Request, options: Mapping[str, Any]) -> Warnings:
    """Adapt a request's body, of either API, and return what the caller loses by that.

    Args:
        body: the request's body; it is changed.
        adaptations: what to do, as `adaptations_of` returns it.
        request: what was asked.
        options: its options for this endpoint.
    """
    if not adaptations:
        return ()
    warnings: list[ResponseWarning] = []

    def lost(setting: str, how: str) -> None:
        warnings.append(ResponseWarning(setting, f"{how}: {body.get('model')} refused it here before"))

    for step in _STEPS:
        step(body, adaptations, request, lost)
    for field, adaptation in ADAPTATIONS.items():
        if adaptation == f"without {field}" and adaptation in adaptations:
            reasoning = body.get("reasoning")
            if adaptation == WITHOUT_EFFORT and isinstance(reasoning, Mapping):
                body["reasoning"] = {name: value for name, value in reasoning.items() if name != "effort"}
            left = body.pop(field, None)
            if field == "tool_choice":
                _without_choice(left, body, lost)
            elif left is not None and (field not in _OURS or _is_asked(field, options)):
                lost(field, f"{field} was left out")
    if WITH_COMPLETION_TOKENS in adaptations and body.get("temperature") == 0:
        del body["temperature"]
        told = f"temperature was left out: {body.get('model')} is a reasoning model, and they take none"
        warnings.append(ResponseWarning("temperature", told))
    _limit(body, adaptations, warnings)
    return tuple(warnings)


Lost = Callable[[str, str], None]


def _is_asked(field: str, options: Mapping[str, Any]) -> bool:
    return field in options or (field == "reasoning_effort" and ("effort" in options or "reasoning" in options))


# ---- one step each ----


def _names_of_limits(body: Json, adaptations: Collection[str], request: Request, lost: Lost) -> None:
    pairs = (
        (("max_tokens", "max_completion_tokens"), WITH_COMPLETION_TOKENS),
        (
            ("max_completion_tokens", "max_tokens"),
            WITH_MAX_TOKENS,
        ),
    )
    for (old, new), adaptation in pairs:
        if (
            adaptation in adaptations
            and old in body
            and not (adaptation == WITH_MAX_TOKENS and WITH_COMPLETION_TOKENS in adaptations)
        ):
            body[new] = body.pop(old)


def _format(body: Json, adaptations: Collection[str], request: Request, lost: Lost) -> None:
    text = body.get("text")
    held, field = (text, "format") if isinstance(text, dict) else (body, "response_format")
    told = held.get(field)
    kind = told.get("type") if isinstance(told, Mapping) else None
    if WITHOUT_RESPONSE_FORMAT in adaptations and kind is not None:
        del held[field]
    elif WITH_JSON_SCHEMA in adaptations and kind == "json_object":
        held[field] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}}}
        return
    elif IN_JSON_MODE in adaptations and WITH_JSON_SCHEMA not in adaptations and kind == "json_schema":
        held[field] = {"type": "json_object"}
    else:
        if WITHOUT_STRICT in adaptations and isinstance(told, Mapping):
            inner = told.get("json_schema")
            held[field] = _loose(told) | ({"json_schema": _loose(inner)} if isinstance(inner, Mapping) else {})
        return
    if text == {}:
        del body["text"]
    if request.output_schema is not None:
        _instruct(body, f"Answer with JSON alone, which follows this JSON schema:\n{_json(request.output_schema)}")
        lost("output_schema", "the schema was put into the prompt, and may not be followed")
    else:
        lost("response_format", "response_format was changed or left out")


def _tools(body: Json, adaptations: Collection[str], request: Request, lost: Lost) -> None:
    tools = body.get("tools")
    if WITHOUT_STRICT in adaptations and isinstance(tools, list):
        body["tools"] = [_without_strict(tool) for tool in tools]
    if WITHOUT_FORCED_TOOL in adaptations and body.get("tool_choice") not in (None, "auto", "none"):
        body["tool_choice"] = "auto"
        lost("tool_choice", f"tool_choice {request.tool_choice} became auto")
    if WITHOUT_TOOL_CHOICE in adaptations:
        _without_choice(body.pop("tool_choice", None), body, lost)
    if ONE_CALL_AT_A_TIME in adaptations and tools:
        body["parallel_tool_calls"] = False


def _without_choice(choice: Any, body: Json, lost: Lost) -> None:
    if choice == "none":
        body.pop("tools", None)  # what cannot be called is not shown
    elif choice not in (None, "auto"):
        lost("tool_choice", "tool_choice was left out")


def _stream(body: Json, adaptations: Collection[str], request: Request, lost: Lost) -> None:
    if IN_A_STREAM in adaptations and not body.get("stream"):
        body |= {"stream": True} | ({"stream_options": {"include_usage": True}} if "messages" in body else {})


def _thinking(body: Json, adaptations: Collection[str], request: Request, lost: Lost) -> None:
    if WITHOUT_THINKING in adaptations:
        body["enable_thinking"] = False
        lost("enable_thinking", "enable_thinking became false")


def _messages(body: Json, adaptations: Collection[str], request: Request, lost: Lost) -> None:
    messages = body.get("messages")
    if not isinstance(messages, list):
        return
    if WITHOUT_REASONING_FIELDS in adaptations:
        found = [message.pop(field) for message in messages for field in REASONING_FIELDS if field in message]
        if any(found):
            lost("messages", "reasoning from earlier answers was left out")
    elif WITH_REASONING_FIELDS in adaptations and any(message.get("tool_calls") for message in messages):
        for message in messages:
            if message.get("role") == "assistant":
                message.setdefault("reasoning_content", message.get("reasoning") or "")
    if WITH_DUMMY_SIGNATURES in adaptations:
        for message in messages:
            for call in message.get("tool_calls", ())[:1]:
                call.setdefault("extra_content", _DUMMY)
    if ONE_CALL_AT_A_TIME in adaptations:
        messages[:] = _calls_apart(messages)
    if WITH_ANSWERED_RESULTS in adaptations:
        told = _answered(messages)
        if len(told) > len(messages):
            lost("messages", "a word of the assistant's was put between the results of tools and the user's message")
        messages[:] = told
    if WITHOUT_SYSTEM_ROLE in adaptations and _without_system(messages):
        lost("system", "the instructions were put at the beginning of the first message")
    if WITH_PLAIN_TEXTS in adaptations:
        for message in messages:
            message["content"] = _plain(message.get("content"))
    if WITH_ROLES_JOINED in adaptations:
        messages[:] = _joined(messages)


_STEPS: tuple[Callable[[Json, Collection[str], Request, Lost], None], ...] = (
    _names_of_limits,
    _format,
    _tools,
    _stream,
    _thinking,
    _messages,
)


def _limit(body: Json, adaptations: Collection[str], warnings: list[ResponseWarning]) -> None:
    limits = [limit for limit in map(told_limit, adaptations) if limit]
    for name in LIMITS if limits else ():
        asked = body.get(name)
        if isinstance(asked, int) and asked > min(limits):
            body[name] = min(limits)
            told = f"{name} {asked} became {min(limits)}, the most that {body.get('model')} takes here"
            warnings.append(ResponseWarning("max_tokens", told))


# ---- messages ----


def _instruct(body: Json, words: str) -> None:
    """Add words to the instructions."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        body["instructions"] = "\n\n".join(filter(None, (body.get("instructions"), words)))
    elif messages and messages[0].get("role") in ("system", "developer"):
        messages[0]["content"] = _together(messages[0].get("content"), words)
    else:
        messages.insert(0, {"role": "system", "content": words})


def _without_system(messages: list[Json]) -> bool:
    """Let the instructions begin the first message of the user's, and return whether there are any."""
    if not messages or messages[0].get("role") not in ("system", "developer"):
        return False
    words = messages.pop(0).get("content")
    first = next((message for message in messages if message.get("role") == "user"), None)
    if first is None:
        messages.insert(0, {"role": "user", "content": words})
    else:
        first["content"] = _together(words, first.get("content"))
    return True


def _calls_apart(messages: list[Json]) -> list[Json]:
    """Return the messages with a turn for each tool call, its result after it."""
    results = {message.get("tool_call_id"): message for message in messages if message.get("role") == "tool"}
    apart: list[Json] = []
    moved: set[Any] = set()
    for message in messages:
        calls = message.get("tool_calls") or ()
        if len(calls) < 2:
            if message.get("role") != "tool" or message.get("tool_call_id") not in moved:
                apart.append(message)
            continue
        for number, call in enumerate(calls):
            said = message if number == 0 else {"role": "assistant", "content": None}
            apart.append({**said, "tool_calls": [call]})
            if call.get("id") in results:
                apart.append(results[call["id"]])
                moved.add(call["id"])
    return apart


def _answered(messages: list[Json]) -> list[Json]:
    """Return the messages with a word of the assistant's where the user's follows upon the results of tools."""
    answered: list[Json] = []
    for message in messages:
        if message.get("role") == "user" and answered and answered[-1].get("role") == "tool":
            answered.append({"role": "assistant", "content": _NOTED})
        answered.append(message)
    return answered


def _joined(messages: list[Json]) -> list[Json]:
    """Return the messages with neighbours of one role as one."""
    joined: list[Json] = []
    for message in messages:
        before = joined[-1] if joined else {}
        if message.get("role") == before.get("role") != "tool" and "tool_calls" not in before:
            joined[-1] = {**before, **message, "content": _together(before.get("content"), message.get("content"))}
        else:
            joined.append(message)
    return joined


def _together(first: Any, second: Any) -> Any:
    """Return two contents as one, each a text or a list of pieces."""
    if not first or not second:
        return first or second
    if isinstance(first, str) and isinstance(second, str):
        return f"{first}\n\n{second}"
    pieces = ([{"type": "text", "text": one}] if isinstance(one, str) else one for one in (first, second))
    return [piece for one in pieces for piece in one]


def _plain(content: Any) -> Any:
    """Return a content as one text; as it is where it holds more than texts."""
    if content is None:
        return ""
    if isinstance(content, list) and all(piece.get("type") == "text" for piece in content):
        return "\n\n".join(piece["text"] for piece in content)
    return content


def _without_strict(tool: Any) -> Any:
    if not isinstance(tool, Mapping):
        return tool
    function = tool.get("function")
    if isinstance(function, Mapping):
        return {**tool, "function": _loose(function)}
    return {**tool, "strict": False} if "strict" in tool else tool  # of Responses, where leaving it out means true


def _loose(told: Mapping[str, Any]) -> Json:
    return {name: value for name, value in told.items() if name != "strict"}


def _json(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, default=dict, ensure_ascii=False)


# ---- what is remembered ----


def _is_known(adaptation: str) -> bool:
    return told_limit(adaptation) is not None or _LASTING.issuperset(adaptation.split(AND))


_LASTING = frozenset(
    [
        *ADAPTATIONS.values(),
        *(WITH_JSON_SCHEMA, WITHOUT_FORCED_TOOL, WITHOUT_TOOL_CHOICE, WITHOUT_SYSTEM_ROLE, WITHOUT_THINKING),
        *(WITH_PLAIN_TEXTS, WITH_ROLES_JOINED, WITH_REASONING_FIELDS, WITH_DUMMY_SIGNATURES, ONE_CALL_AT_A_TIME),
        *(WITH_ANSWERED_RESULTS, IN_A_STREAM),
    ]
)


def _is_lasting(adaptation: str, endpoint: Endpoint) -> bool:
    """Return whether it is of the model and the server, and not of one request."""
    if adaptation == WITHOUT_STRICT and endpoint.is_openai:
        return False  # OpenAI's own models take it: one schema was not a strict one
    return is_lasting(adaptation) and _is_known(adaptation)


@lru_cache(maxsize=64)
def _host_wants_reasoning(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    return any(host == domain or host.endswith(f".{domain}") for domain in _WANT_REASONING)
