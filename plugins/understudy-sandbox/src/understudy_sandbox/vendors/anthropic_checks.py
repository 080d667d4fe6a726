"""What Anthropic's API turns away before any model sees it, so that a caller who gets it wrong is seen here too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy_sandbox.exchange import RecordedRequest

UNKNOWN_MODEL = "no-such-model"
#: Claude Opus 4.7 and later, Sonnet 5, Haiku 5.5, Fable and Mythos take no sampling parameters.
_NO_SAMPLING = re.compile(r"claude-(opus-(4-[78]|5)|sonnet-5|haiku-5|fable|mythos)")
#: Claude 4.6 and later, Fable and Mythos go on from no message that was begun for them.
_NO_PREFILL = re.compile(r"claude-((opus|sonnet)-(4-[6-9]|[5-9])|haiku-[5-9]|fable|mythos)")
#: The blocks of a message that is only begun: what a tool of Anthropic's own left behind is a turn that paused.
_OPEN = ("text", "thinking", "redacted_thinking")
#: The top-level fields that the SDK's MessageCreateParams (stable and beta, 2.12.0) know.
_FIELDS = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "billing_policy",
        "cache_control",
        "compaction",
        "container",
        "context_management",
        "diagnostics",
        "fallback_credit_token",
        "fallbacks",
        "inference_geo",
        "mcp_servers",
        "metadata",
        "output_config",
        "output_format",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "temperature",
        "thinking",
        "thread",
        "tool_choice",
        "tools",
        "top_k",
        "top_p",
    ]
)
_METHODS = {"/v1/messages": "POST", "/v1/messages/count_tokens": "POST", "/v1/models": "GET"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request is turned away: HTTP status, the vendor's error type and message."""

    status: int
    type: str
    message: str


def find_problem(request: RecordedRequest) -> Problem | None:
    """The first thing that the vendor would complain about, or None for a sound request."""
    headers = request.headers
    key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer").strip()
    if not key:
        return Problem(401, "authentication_error", "x-api-key header is required")
    method = "GET" if request.path.startswith("/v1/models/") else _METHODS.get(request.path)
    if method is None:
        return Problem(404, "not_found_error", "Not Found")
    if request.method != method:
        return Problem(405, "invalid_request_error", "Method Not Allowed")
    if not headers.get("anthropic-version"):
        return _invalid("anthropic-version: header is required")
    if method == "GET":
        return _missing_model(request.path.rpartition("/")[2])
    if not isinstance(request.json, Mapping):
        return _invalid("The request body is not valid JSON: expected an object")
    counting = request.path.endswith("count_tokens")
    checks: Sequence[Callable[[Mapping[str, Any]], str | None]] = (
        lambda body: _wrong_fields(body, counting),
        _wrong_messages,
        _wrong_tool_results,
        _wrong_sampling,
        _wrong_thinking,
        _wrong_prefill,
    )
    for check in checks:
        complaint = check(request.json)
        if complaint is not None:
            return _invalid(complaint)
    return _missing_model(str(request.json["model"]))


def blocks(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The content blocks of a message; a plain text is one block."""
    content = message.get("content", "")
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def begun(body: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The blocks of the answer that the request begins itself: of an assistant's message at its end."""
    last = body["messages"][-1]
    found = blocks(last) if last["role"] == "assistant" else []
    return found if all(block["type"] in _OPEN for block in found) else []


def thinks(body: Mapping[str, Any]) -> bool:
    """Whether the request turns thinking on."""
    thinking = body.get("thinking")
    return isinstance(thinking, Mapping) and thinking.get("type") in ("enabled", "adaptive")


def _invalid(message: str) -> Problem:
    return Problem(400, "invalid_request_error", message)


def _missing_model(name: str) -> Problem | None:
    return Problem(404, "not_found_error", f"model: {name}") if name.startswith(UNKNOWN_MODEL) else None


def _wrong_fields(body: Mapping[str, Any], counting: bool) -> str | None:
    for name in body:
        if name not in _FIELDS:
            return f"{name}: Extra inputs are not permitted"
    for name in ("model", "messages") if counting else ("model", "messages", "max_tokens"):
        if body.get(name) is None:
            return f"{name}: Field required"
    limit = body.get("max_tokens")
    if not counting and (isinstance(limit, bool) or not isinstance(limit, int)):
        return "max_tokens: Input should be a valid integer"
    if limit is not None and limit < 1:
        return "max_tokens: Input should be greater than or equal to 1"
    if not isinstance(body["model"], str) or not body["model"]:
        return "model: String should have at least 1 character"
    return None


def _wrong_messages(body: Mapping[str, Any]) -> str | None:
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        return "messages: at least one message is required"
    for position, message in enumerate(messages):
        role = message.get("role") if isinstance(message, Mapping) else None
        if role not in ("user", "assistant"):
            return f"messages.{position}.role: Input should be 'user' or 'assistant'"
        if not isinstance(message.get("content"), str | list):
            return f"messages.{position}.content: Input should be a valid list"
        if position < len(messages) - 1 and not message["content"]:
            return f"messages.{position}: all messages must have non-empty content"
        for place, block in enumerate(blocks(message)):
            if not isinstance(block, Mapping) or "type" not in block:
                return f"messages.{position}.content.{place}.type: Field required"
            if block["type"] == "text" and not block.get("text"):
                return "messages: text content blocks must be non-empty"
    if messages[0]["role"] != "user":
        return 'messages: first message must use the "user" role'
    return None


def _wrong_tool_results(body: Mapping[str, Any]) -> str | None:
    asked: list[str] = []
    for position, message in enumerate(body["messages"]):
        answered = dict(_answers(message))
        for result, place in answered.items():
            if result not in asked:
                return (
                    f"messages.{position}.content.{place}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{result}. Each `tool_result` block must have a corresponding `tool_use` block in the previous "
                    "message."
                )
        unanswered = [call for call in asked if call not in answered]
        if unanswered:
            return (
                f"messages.{position - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(unanswered)}. Each `tool_use` block must have a corresponding `tool_result` block in the "
                "next message."
            )
        uses = [block for block in blocks(message) if block["type"] == "tool_use"]
        asked = [str(block.get("id")) for block in uses if message["role"] == "assistant"]
    return None


def _answers(message: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for place, block in enumerate(blocks(message)):
        if block["type"] == "tool_result":
            yield str(block.get("tool_use_id")), place


def _wrong_sampling(body: Mapping[str, Any]) -> str | None:
    for name in ("temperature", "top_p", "top_k"):
        if body.get(name) is None:
            continue
        if _NO_SAMPLING.match(body["model"]):
            return f"`{name}` is deprecated for this model."
        if name == "temperature" and not 0 <= body[name] <= 1:
            return "temperature: range: 0..1"
        if name == "temperature" and thinks(body) and body[name] != 1:
            return "`temperature` may only be set to 1 when thinking is enabled."
    return None


def _wrong_thinking(body: Mapping[str, Any]) -> str | None:
    if not thinks(body):
        return None
    choice = (body.get("tool_choice") or {}).get("type")
    if choice in ("any", "tool"):
        return "Thinking may not be enabled when tool_choice forces tool use."
    if body["thinking"]["type"] == "adaptive":
        return None
    budget = body["thinking"].get("budget_tokens")
    if not isinstance(budget, int):
        return "thinking.enabled.budget_tokens: Field required"
    if budget < 1024:
        return "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
    if budget >= body.get("max_tokens", budget + 1):
        return "`max_tokens` must be greater than `thinking.budget_tokens`."
    return None


def _wrong_prefill(body: Mapping[str, Any]) -> str | None:
    given = begun(body)
    if not given:
        return None
    if _NO_PREFILL.match(body["model"]):
        return "This model does not support assistant message prefill. The conversation must end with a user message."
    if thinks(body) and given[0]["type"] == "text":
        return (
            f"messages.{len(body['messages']) - 1}.content.0.type: Expected `thinking` or `redacted_thinking`, but "
            "found `text`. When `thinking` is enabled, a final `assistant` message must start with a thinking block."
        )
    if ((body.get("output_config") or {}).get("format") or body.get("output_format")) is not None:
        return "output_config.format: prefilling the assistant message is not supported with structured outputs"
    if given[-1]["type"] == "text" and given[-1]["text"] != given[-1]["text"].rstrip():
        return "messages: final assistant content cannot end with trailing whitespace"
    return None
