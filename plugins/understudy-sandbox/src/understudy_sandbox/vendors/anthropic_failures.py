"""Anthropic's errors: ``{"type": "error", "error": {type, message}}``, with the hint to wait in a header."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy_sandbox.exchange import Frame, RecordedRequest, Reply, compact, json_reply
from understudy_sandbox.text import identifier

SIGNED = " [Understudy sandbox standing in for Claude]"

FINAL = (("x-should-retry", "false"),)
#: kind -> (status, error type, message, further headers)
_FAILURES: Mapping[str, tuple[int, str, str, tuple[tuple[str, str], ...]]] = {
    "rate_limited": (
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit of 50,000 input tokens per minute.",
        (("x-should-retry", "true"),),
    ),
    "quota_exhausted": (
        429,
        "rate_limit_error",
        "You have reached your specified API usage limits.",
        FINAL,
    ),
    "billing": (402, "billing_error", "Your credit balance is too low.", FINAL),
    "request_too_large": (
        429,
        "rate_limit_error",
        "The request is larger than your organization's rate limit of input tokens per minute.",
        FINAL,
    ),
    "overloaded": (529, "overloaded_error", "Overloaded", (("x-should-retry", "true"),)),
    "server_error": (500, "api_error", "Internal server error", ()),
    "timeout": (504, "timeout_error", "Request timed out", ()),
    "authentication_failed": (401, "authentication_error", "invalid x-api-key", FINAL),
    "permission_denied": (
        403,
        "permission_error",
        "Your API key does not have permission to use the specified resource.",
        FINAL,
    ),
    "model_not_found": (404, "not_found_error", "model: {model}", FINAL),
    "context_too_long": (
        400,
        "invalid_request_error",
        "prompt is too long: 3333404 tokens > 200000 maximum",
        FINAL,
    ),
    "invalid_request": (400, "invalid_request_error", "messages: Input is not valid", FINAL),
}
_TYPES = {401: "authentication_error", 402: "billing_error", 403: "permission_error", 404: "not_found_error"} | {
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def failure(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
    """The HTTP error for a kind of ``faults.FAILURES``, or for "status" with its ``code``."""
    if kind == "status":
        code = options["code"]
        type_ = _TYPES.get(code, "api_error" if code >= 500 else "invalid_request_error")
        return error_reply(request, code, type_, f"HTTP status {code} was asked for.{SIGNED}", ())
    status, type_, message, headers = _FAILURES[kind]
    hint = options.get("retry_after")
    if kind == "rate_limited" and hint is not None:
        headers = (*headers, ("retry-after", f"{hint:g}"))
    details = {"error_code": "enforced_spend_limit_reached"} if kind == "quota_exhausted" else None
    message = message.format(model=model_name(request)) + SIGNED
    return error_reply(request, options.get("code", status), type_, message, headers, details)


def error_reply(
    request: RecordedRequest,
    status: int,
    type_: str,
    message: str,
    headers: tuple[tuple[str, str], ...] = FINAL,
    details: Mapping[str, Any] | None = None,
) -> Reply:
    """An HTTP error in Anthropic's shape."""
    error: dict[str, Any] = {"type": type_, "message": message}
    if details is not None:
        error["details"] = details
    named = identity(request)
    document = {"type": "error", "error": error, "request_id": named[0][1]}
    return json_reply(status, document, (*named, *headers))


def error_frame(request: RecordedRequest, kind: str) -> Frame:
    """The error as one event of a stream."""
    _, type_, message, _ = _FAILURES[kind]
    message = message.format(model=model_name(request)) + SIGNED
    return event_frame({"type": "error", "error": {"details": None, "type": type_, "message": message}})


def event_frame(data: Mapping[str, Any], delta: bool = False) -> Frame:
    """One server-sent event, named like its data's type."""
    return Frame(f"event: {data['type']}\ndata: {compact(data)}\n\n".encode(), delta)


def identity(request: RecordedRequest) -> tuple[tuple[str, str], ...]:
    """The header that names this request."""
    return (("request-id", identifier("req_01", "request", request.number)),)


def model_name(request: RecordedRequest) -> str:
    """The model that the request asks for."""
    return str(request.json.get("model")) if isinstance(request.json, Mapping) else "unknown"
