"""Cohere's errors: ``{id, message}`` without a type, so that only the status and the words tell them apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy_sandbox.exchange import RecordedRequest, Reply, json_reply
from understudy_sandbox.text import identifier

SIGNED = " [Understudy sandbox standing in for Cohere]"
_TRIAL = "You are using a Trial key, which is limited to {limit}. You can continue to use it for free or upgrade."
#: kind -> (status, message)
_FAILURES = {
    "rate_limited": (429, _TRIAL.replace("{limit}", "20 API calls / minute")),
    "quota_exhausted": (429, _TRIAL.replace("{limit}", "1000 API calls / month")),
    "billing": (402, "Your account has reached its billing limit. Please add or update a payment method."),
    "request_too_large": (413, "request body too large"),
    "overloaded": (503, "the service is overloaded, please try again later"),
    "server_error": (500, "internal server error, this has been reported to our developers."),
    "timeout": (504, "the request timed out"),
    "authentication_failed": (401, "Incorrect API key provided: ***********."),
    "permission_denied": (403, "your API key does not have access to this endpoint"),
    "model_not_found": (
        404,
        "model '{model}' not found, make sure the correct model ID was used and that you have access to the model.",
    ),
    "context_too_long": (
        400,
        "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs.",
    ),
    "invalid_request": (400, "invalid request: all elements in history must have a message."),
}


def failure(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
    """The HTTP error for a kind of ``faults.FAILURES``, or for "status" with its ``code``."""
    if kind == "status":
        return error_reply(request, options["code"], f"HTTP status {options['code']} was asked for.")
    hint = options.get("retry_after")
    headers = (("retry-after", f"{hint:g}"),) if hint is not None else ()
    status = options.get("code", _FAILURES[kind][0])
    document = {"id": identity(request), "message": message(request, kind)}
    return json_reply(status, document, (*trace(request), *headers))


def error_reply(request: RecordedRequest, status: int, words: str) -> Reply:
    """An HTTP error in Cohere's shape."""
    return json_reply(status, {"id": identity(request), "message": words + SIGNED}, trace(request))


def blocked(request: RecordedRequest, what: str) -> Reply:
    """What a deny-listed text gets, in the prompt or in the reply: status 498."""
    return error_reply(request, 498, f"blocked: the {what} contains a deny-listed token")


def message(request: RecordedRequest, kind: str) -> str:
    """The message for a kind of ``faults.FAILURES``."""
    name = str(request.json.get("model")) if isinstance(request.json, Mapping) else "unknown"
    return _FAILURES[kind][1].replace("{model}", name) + SIGNED


def identity(request: RecordedRequest) -> str:
    """The id of the reply to this request."""
    return identifier("", "reply", request.number, length=36)


def trace(request: RecordedRequest) -> tuple[tuple[str, str], ...]:
    """The header that names this request."""
    return (("x-debug-trace-id", identifier("", "trace", request.number, length=32)),)
