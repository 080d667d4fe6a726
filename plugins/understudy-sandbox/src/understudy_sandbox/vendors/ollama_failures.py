"""Ollama's errors: ``{"error": "..."}`` and nothing else, as a body or as a line. The limits are its cloud's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy_sandbox.exchange import RecordedRequest, Reply, json_reply

SIGNED = " [Understudy sandbox standing in for Ollama]"
#: kind -> (status, message)
_FAILURES = {
    "rate_limited": (429, "too many concurrent requests, please retry shortly"),
    "quota_exhausted": (429, "you (sandbox) have reached your weekly usage limit, upgrade for higher limits"),
    "billing": (402, "this model requires a subscription, upgrade for access"),
    "request_too_large": (413, "http: request body too large"),
    "overloaded": (503, "server busy, please try again.  maximum pending requests exceeded"),
    "server_error": (500, "llama runner process has terminated: exit status 2"),
    "timeout": (504, "timed out waiting for llama runner to start"),
    "authentication_failed": (401, "unauthorized"),
    "permission_denied": (403, "this model is not available to your account"),
    "model_not_found": (404, "model '{model}' not found"),
    "context_too_long": (400, "prompt too long; exceeded max context length by 1119046 tokens"),
    "invalid_request": (400, "invalid options: seed"),
}


def failure(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
    """The HTTP error for a kind of ``faults.FAILURES``, or for "status" with its ``code``."""
    if kind == "status":
        return error_reply(options["code"], f"HTTP status {options['code']} was asked for.")
    hint = options.get("retry_after")
    headers = (("retry-after", f"{hint:g}"),) if hint is not None else ()
    return json_reply(options.get("code", _FAILURES[kind][0]), document(request, kind), headers)


def error_reply(status: int, message: str) -> Reply:
    """An HTTP error in Ollama's shape."""
    return json_reply(status, {"error": message + SIGNED})


def document(request: RecordedRequest, kind: str) -> dict[str, str]:
    """The error for a kind of ``faults.FAILURES``."""
    return {"error": _FAILURES[kind][1].replace("{model}", model_name(request)) + SIGNED}


def model_name(request: RecordedRequest) -> str:
    """The model that the request asks for."""
    return str(request.json.get("model")) if isinstance(request.json, Mapping) else "unknown"
