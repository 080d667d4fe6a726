"""Google's errors: ``{"error": {code, message, status, details}}``, with the hint to wait inside the body."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from understudy_sandbox.exchange import Frame, RecordedRequest, Reply, compact, json_reply
from understudy_sandbox.vendors.gemini_checks import route

SIGNED = " [Understudy sandbox standing in for Gemini]"
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "FAILED_PRECONDITION",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
#: kind -> (status, message)
_FAILURES = {
    "rate_limited": (429, "You exceeded your current quota, please check your plan and billing details."),
    "quota_exhausted": (429, "You exceeded your current quota, please check your plan and billing details."),
    "billing": (402, "Your prepayment credits are depleted."),
    "request_too_large": (400, "Request payload size exceeds the limit: 20971520 bytes."),
    "overloaded": (503, "The model is overloaded. Please try again later."),
    "server_error": (500, "An internal error has occurred. Please retry."),
    "timeout": (504, "The request timed out. Please try again."),
    "authentication_failed": (400, "API key not valid. Please pass a valid API key."),
    "permission_denied": (403, "The caller does not have permission"),
    "model_not_found": (404, "{model} is not found for API version {version}, or is not supported for {method}."),
    "context_too_long": (
        400,
        "The input token count (2845475) exceeds the maximum number of tokens allowed (1048576).",
    ),
    "invalid_request": (400, "Request contains an invalid argument."),
}
_TYPE = "type.googleapis.com/google.rpc."


def failure(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> Reply:
    """The HTTP error for a kind of ``faults.FAILURES``, or for "status" with its ``code``."""
    if kind == "status":
        code = options["code"]
        return error_reply(request, code, f"HTTP status {code} was asked for.{SIGNED}")
    status, message, details = _of_kind(request, kind, options)
    return error_reply(request, options.get("code", status), message, details)


def error_reply(
    request: RecordedRequest, status: int, message: str, details: Sequence[Mapping[str, Any]] = ()
) -> Reply:
    """An HTTP error in Google's shape; a stream that is a JSON array has its error in an array too."""
    document: Any = _document(status, message, details)
    if request.stream and request.query.get("alt") != "sse":
        document = [document]
    return json_reply(status, document)


def error_frame(request: RecordedRequest, kind: str, first: bool) -> Frame:
    """The error as one event of a stream, or as one element of a streamed JSON array."""
    document = compact(_document(*_of_kind(request, kind, {})))
    if request.query.get("alt") == "sse":
        return Frame(f"data: {document}\r\n\r\n".encode())
    return Frame(f"{'[' if first else ','}{document}\r\n]".encode())


def _document(status: int, message: str, details: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    name = _STATUSES.get(status, "INTERNAL" if status >= 500 else "UNKNOWN")
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if details:
        error["details"] = list(details)
    return {"error": error}


def _of_kind(request: RecordedRequest, kind: str, options: Mapping[str, Any]) -> tuple[int, str, list[dict[str, Any]]]:
    status, message = _FAILURES[kind]
    where = route(request.path)
    vertex, model = (where.vertex, where.model) if where else (False, "unknown")
    message = message.format(
        model=f"models/{model}", version=where.version if where else "", method=where.method if where else ""
    )
    details: list[dict[str, Any]] = []
    hint = options.get("retry_after")
    if kind == "authentication_failed":
        metadata = {"service": "generativelanguage.googleapis.com"}
        reason = {"reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": metadata}
        details = [{"@type": f"{_TYPE}ErrorInfo", **reason}]
    elif kind == "quota_exhausted":
        # Google sends a delay of half a minute here too, although only tomorrow helps.
        details = [_quota(model, "GenerateRequestsPerDayPerProjectPerModel-FreeTier", "250"), _delay(36)]
    elif kind == "rate_limited" and not vertex:
        details = [_quota(model, "GenerateContentPaidTierInputTokensPerModelPerMinute", "1000000")]
    elif kind == "rate_limited":
        message = "Resource exhausted. Please try again later."  # Vertex AI says no more than this
    if kind == "rate_limited" and hint is not None:
        details.append(_delay(hint))
        message += f" Please retry in {hint:g}s."
    return status, message + SIGNED, details


def _quota(model: str, quota: str, value: str) -> dict[str, Any]:
    violation = {"quotaId": quota, "quotaDimensions": {"model": model}, "quotaValue": value}
    return {"@type": f"{_TYPE}QuotaFailure", "violations": [violation]}


def _delay(seconds: float) -> dict[str, Any]:
    return {"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{seconds:g}s"}
