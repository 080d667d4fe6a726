"""OpenAI's errors: ``{"error": {message, type, param, code}}``, plain text from the gateway, and events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy_sandbox.exchange import Frame, RecordedRequest, Reply, compact, json_reply, text_reply
from understudy_sandbox.text import identifier
from understudy_sandbox.vendors.openai_problem import Problem

SIGNED = " [Understudy sandbox standing in for OpenAI]"
_QUOTA = "You exceeded your current quota, please check your plan and billing details."
_LIMIT = "in organization org-sandbox on tokens per min (TPM): Limit 30000"
_FAILURES: Mapping[str, Problem] = {
    "rate_limited": Problem(
        429,
        f"Rate limit reached for {{model}} {_LIMIT}, Used 29000, Requested 2000.",
        None,
        "rate_limit_exceeded",
        "tokens",
    ),
    "quota_exhausted": Problem(429, _QUOTA, None, "insufficient_quota", "insufficient_quota"),
    "billing": Problem(429, _QUOTA, None, "credit_balance_exhausted", "insufficient_quota"),
    "request_too_large": Problem(
        429,
        f"Request too large for {{model}} {_LIMIT}, Requested 2500013. The input or output tokens must be reduced in "
        "order to run successfully.",
        None,
        "rate_limit_exceeded",
        "tokens",
    ),
    "overloaded": Problem(
        503,
        "Our servers are currently overloaded. Please try again later.",
        None,
        "server_is_overloaded",
        "service_unavailable_error",
    ),
    "server_error": Problem(
        500,
        "An error occurred while processing your request. You can retry your request.",
        None,
        "server_error",
        "server_error",
    ),
    "timeout": Problem(504, "The server had a timeout.", None, "timeout", "server_error"),
    "authentication_failed": Problem(401, "Incorrect API key provided: sandbox.", None, "invalid_api_key"),
    "permission_denied": Problem(
        403,
        "Country, region, or territory not supported",
        None,
        "unsupported_country_region_territory",
        "request_forbidden",
    ),
    "model_not_found": Problem(
        404, "The model `{model}` does not exist or you do not have access to it.", None, "model_not_found"
    ),
    "context_too_long": Problem(
        400,
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "{talk}",
        "context_length_exceeded",
    ),
    "invalid_request": Problem(400, "Invalid value for '{talk}'.", "{talk}", "invalid_value"),
    "blocked_prompt": Problem(
        400,
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy. Please try again with a "
        "different prompt.",
        None,
        "invalid_prompt",
    ),
}
#: What comes as text/plain from the gateway before OpenAI's servers, and never as JSON.
_FROM_THE_GATEWAY = {
    503: "upstream connect error or disconnect/reset before headers. reset reason: overflow",
    504: "upstream request timeout",
    408: "stream timeout",
}
_KINDS = {401: "authentication_failed", 403: "permission_denied", 404: "model_not_found", 429: "rate_limited"}


def failure(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
    """The HTTP error for a kind of ``faults.FAILURES``, or for "status" with its ``code``."""
    if kind == "status":
        code = options["code"]
        type_ = "server_error" if code >= 500 else "invalid_request_error"
        return error_reply(request, Problem(code, f"HTTP status {code} was asked for.", type=type_))
    if kind in ("overloaded", "timeout"):
        code = options.get("code", 503)
        return text_reply(code, _FROM_THE_GATEWAY[code] + SIGNED, identity(request))
    problem, headers, hint = _FAILURES[kind], identity(request), options.get("retry_after")
    suffix = ""
    if kind == "rate_limited" and hint is not None:
        headers = (*headers, ("retry-after", f"{hint:g}"), ("retry-after-ms", f"{hint * 1000:g}"))
        suffix = f" Please try again in {hint:g}s."
    return json_reply(problem.status, {"error": _error(request, problem, suffix)}, headers)


def error_reply(request: RecordedRequest, problem: Problem) -> Reply:
    """An HTTP error in OpenAI's shape."""
    return json_reply(problem.status, {"error": _error(request, problem)}, identity(request))


def error_body(request: RecordedRequest, kind: str) -> Reply:
    """The error as the body of an HTTP 200."""
    return json_reply(200, {"error": _error(request, _FAILURES[kind])}, identity(request))


def blocked_prompt(request: RecordedRequest) -> Reply:
    """What a prompt gets that the safety system turns away: a 400, and no model sees it."""
    return error_reply(request, _FAILURES["blocked_prompt"])


def chat_error_frame(request: RecordedRequest, kind: str) -> Frame:
    """The error as one event of a chat stream."""
    return Frame(f"data: {compact({'error': _error(request, _FAILURES[kind])})}\n\n".encode())


def response_error(request: RecordedRequest, kind: str) -> dict[str, Any]:
    """The error as it stands in a failed response, and in its flat form in an event."""
    error = _error(request, _FAILURES[kind])
    return {"code": error["code"], "message": error["message"]}


def identity(request: RecordedRequest) -> tuple[tuple[str, str], ...]:
    """The header that names this request."""
    return (("x-request-id", identifier("req_", "request", request.number)),)


def model_name(request: RecordedRequest) -> str:
    """The model that the request asks for."""
    return str(request.json.get("model")) if isinstance(request.json, Mapping) else "unknown"


def _error(request: RecordedRequest, problem: Problem, suffix: str = "") -> dict[str, Any]:
    talk = "input" if request.path.endswith("/responses") else "messages"
    words = {"{model}": model_name(request), "{talk}": talk}
    message, param = problem.message, problem.param
    for place, word in words.items():  # not str.format: messages repeat what was sent, braces and all
        message, param = message.replace(place, word), param and param.replace(place, word)
    return {"message": message + suffix + SIGNED, "type": problem.type, "param": param, "code": problem.code}
