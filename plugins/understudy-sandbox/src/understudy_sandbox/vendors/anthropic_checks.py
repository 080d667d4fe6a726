"""What Anthropic's API turns away before any model sees it, so that a caller who gets it wrong is seen here too."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from understudy_sandbox.exchange import RecordedRequest
from understudy_sandbox.vendors import anthropic_thinking

UNKNOWN_MODEL = "no-such-model"
NEWEST_VERSION = "2026-10-21"
VERSIONS = ("2023-01-01", "2023-06-01", NEWEST_VERSION)
#: Claude Opus 4.7 and later, Sonnet 5, Haiku 5.5, Fable and Mythos take no sampling parameters.
_NO_SAMPLING = re.compile(r"claude-(opus-(4-[78]|5)|sonnet-5|haiku-5|fable|mythos)")
#: Claude 4.6 and later, Fable and Mythos go on from no message that was begun for them.
_NO_PREFILL = re.compile(r"claude-((opus|sonnet)-(4-[6-9]|[5-9])|haiku-[5-9]|fable|mythos)")
#: Sonnet 5.5, Opus 5.5, Fable 5.1 and Mythos 5.1 and later take no tool that must be called.
_NO_FORCING = re.compile(r"claude-((opus|sonnet)-5-[5-9]|(fable|mythos)-5-[1-9])")
#: The types of thinking that a model takes, by the first name that fits.
_THINKING = (
    (re.compile(r"claude-sonnet-5-[5-9]"), ("adaptive", "between_tools")),
    (re.compile(r"claude-(opus-5-[5-9]|fable|mythos-5)"), ("adaptive",)),
    (re.compile(r"claude-mythos"), ("adaptive", "enabled")),
    (re.compile(r"claude-(opus-(4-[78]|5)|sonnet-5|haiku-5)"), ("adaptive", "disabled")),
    (re.compile(r"claude-(opus|sonnet)-4-6"), ("adaptive", "enabled", "disabled")),
    (re.compile(r"claude-(opus|sonnet|haiku)-4"), ("enabled", "disabled")),
)
#: Thinking of these is turned off only at effort "high" or below.
_OFF_BELOW = re.compile(r"claude-(opus-5|haiku-5|sonnet-5-[5-9])")
_NO_EFFORT = re.compile(r"claude-(haiku-4|sonnet-4(?!-6)|opus-4(?!-[5-9]))")
#: Most tokens of output, by the first name that fits.
_MOST = (
    (re.compile(r"claude-opus-4(?!-[5-9])"), 32_000),
    (re.compile(r"claude-(opus-4-5|sonnet-4(?!-6)|haiku-4)"), 64_000),
    (re.compile(r"claude-(opus|sonnet|haiku|fable|mythos)-"), 128_000),
)
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
    version = headers.get("anthropic-version")
    if not version:
        return _invalid("anthropic-version: header is required")
    if version not in VERSIONS:
        return _invalid(f'anthropic-version: "{version}" is not a valid version')
    if method == "GET":
        return _missing_model(request.path.rpartition("/")[2])
    if not isinstance(request.json, Mapping):
        return _invalid("The request body is not valid JSON: expected an object")
    counting = request.path.endswith("count_tokens")
    checks: Sequence[Callable[[Mapping[str, Any]], str | None]] = (
        lambda body: _wrong_fields(body, counting),
        _wrong_messages,
        _wrong_tool_results,
        lambda body: _removed(body) if version == NEWEST_VERSION else _wrong_sampling(body),
        _wrong_tool_choice,
        _wrong_thinking,
        _wrong_effort,
        _wrong_prefill,
        lambda _: anthropic_thinking.find_problem(request),
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


def _thinks_by_request(body: Mapping[str, Any]) -> bool:
    return body.get("thinking") is not None and anthropic_thinking.kind(body) in ("enabled", "adaptive")


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
    most = next((most for names, most in _MOST if names.match(body["model"])), None)
    if limit is not None and most is not None and limit > most:
        return f"max_tokens: {limit} > {most}, which is the maximum allowed number of output tokens for {body['model']}"
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


def _removed(body: Mapping[str, Any]) -> str | None:
    """What version 2026-10-21 has taken out."""
    for name in ("temperature", "top_p", "top_k"):
        if name in body:
            return f"{name}: Extra inputs are not permitted"
    for position, message in enumerate(body["messages"]):
        for place, block in enumerate(blocks(message)):
            where = f"messages.{position}.content.{place}"
            if message["role"] == "assistant" and block["type"] == "document":
                return f"{where}: Input tag 'document' found using 'type' does not match any of the expected tags"
            if message["role"] == "user" and any(inner.get("citations") for inner in _texts(block)):
                return f"{where}.{block['type']}.citations: Extra inputs are not permitted"
    return None


def _texts(block: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if block["type"] == "search_result":
        return [inner for inner in block.get("content") or () if isinstance(inner, Mapping)]
    return [block] if block["type"] == "text" else []


def _wrong_sampling(body: Mapping[str, Any]) -> str | None:
    for name in ("temperature", "top_p", "top_k"):
        if body.get(name) is None:
            continue
        if _NO_SAMPLING.match(body["model"]):
            return f"`{name}` is deprecated for this model."
        if name == "temperature" and not 0 <= body[name] <= 1:
            return "temperature: range: 0..1"
        if name == "temperature" and _thinks_by_request(body) and body[name] != 1:
            return "`temperature` may only be set to 1 when thinking is enabled."
    return None


def _wrong_tool_choice(body: Mapping[str, Any]) -> str | None:
    choice = (body.get("tool_choice") or {}).get("type")
    if choice not in ("any", "tool"):
        return None
    if _NO_FORCING.match(body["model"]):
        return 'tool_choice: type "tool" and "any" are not supported for this model.'
    if anthropic_thinking.kind(body) == "enabled":
        return "Thinking may not be enabled when tool_choice forces tool use."
    return None


def _wrong_thinking(body: Mapping[str, Any]) -> str | None:
    if body.get("thinking") is None:
        return None
    kind, model = anthropic_thinking.kind(body), body["model"]
    taken = next((types for names, types in _THINKING if names.match(model)), None)
    if taken is not None and kind not in taken:
        if kind == "adaptive":
            return "adaptive thinking is not supported on this model"
        least = '"thinking.type.between_tools" for the lowest thinking setting, or ' * ("between_tools" in taken)
        return (
            f'"thinking.type.{kind}" is not supported for this model. Use {least}"thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.'
        )
    level = anthropic_thinking.effort(body)
    if kind in ("disabled", "between_tools") and level in ("xhigh", "max") and _OFF_BELOW.match(model):
        return (
            f"output_config.effort '{level}' is not supported when thinking is disabled on this model. Use effort "
            "'high' or below, or enable thinking."
        )
    return _wrong_budget(body) if kind == "enabled" else None


def _wrong_budget(body: Mapping[str, Any]) -> str | None:
    budget = body["thinking"].get("budget_tokens")
    if not isinstance(budget, int):
        return "thinking.enabled.budget_tokens: Field required"
    if budget < 1024:
        return "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024"
    if budget >= body.get("max_tokens", budget + 1):
        return "`max_tokens` must be greater than `thinking.budget_tokens`."
    *_, last = body["messages"]
    if any(block["type"] == "tool_result" for block in blocks(last)):
        position = len(body["messages"]) - 2
        found = blocks(body["messages"][position])[0]["type"]
        if found not in ("thinking", "redacted_thinking"):
            return (
                f"messages.{position}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{found}`. "
                "When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding "
                "the lastmost set of `tool_use` and `tool_result` blocks)."
            )
    return None


def _wrong_effort(body: Mapping[str, Any]) -> str | None:
    asked = (body.get("output_config") or {}).get("effort")
    if asked is None:
        return None
    if _NO_EFFORT.match(body["model"]):
        return "This model does not support the effort parameter."
    if asked not in anthropic_thinking.TOKENS:
        return "output_config.effort: Input should be 'low', 'medium', 'high', 'xhigh' or 'max'"
    return None


def _wrong_prefill(body: Mapping[str, Any]) -> str | None:
    given = begun(body)
    if not given:
        return None
    if _NO_PREFILL.match(body["model"]):
        return "This model does not support assistant message prefill. The conversation must end with a user message."
    if _thinks_by_request(body) and given[0]["type"] == "text":
        return (
            f"messages.{len(body['messages']) - 1}.content.0.type: Expected `thinking` or `redacted_thinking`, but "
            "found `text`. When `thinking` is enabled, a final `assistant` message must start with a thinking block."
        )
    if ((body.get("output_config") or {}).get("format") or body.get("output_format")) is not None:
        return "output_config.format: prefilling the assistant message is not supported with structured outputs"
    if given[-1]["type"] == "text" and given[-1]["text"] != given[-1]["text"].rstrip():
        return "messages: final assistant content cannot end with trailing whitespace"
    return None
