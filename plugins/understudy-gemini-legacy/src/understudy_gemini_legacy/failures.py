"""The one table: what Google's API and the libraries below its SDK report, and which of our failures it is.

The most exact thing decides: a quota's own name, then the reason among the error's details, then the code, then the
HTTP status. The message decides only where the API gives several failures one status, one code and no details; those
few wordings stand in a table of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from understudy import (
    AuthenticationFailed,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    Failure,
    FinishReason,
    InvalidRequest,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    ServerError,
    Timeout,
    UnknownFailure,
    UnsupportedRequest,
    classify_exception,
    classify_status,
    parse_retry_after,
)
from understudy_gemini_legacy.models import NEWER_MODEL

# ErrorInfo.reason: google/api/error_reason.proto.
_OF_REASON: Mapping[str, type[Failure]] = {
    "API_KEY_INVALID": AuthenticationFailed,
    "ACCESS_TOKEN_EXPIRED": AuthenticationFailed,
    "ACCESS_TOKEN_TYPE_UNSUPPORTED": AuthenticationFailed,
    "ACCOUNT_STATE_INVALID": AuthenticationFailed,
    "CREDENTIALS_MISSING": AuthenticationFailed,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": PermissionDenied,
    "API_KEY_SERVICE_BLOCKED": PermissionDenied,
    "API_KEY_HTTP_REFERRER_BLOCKED": PermissionDenied,
    "API_KEY_IP_ADDRESS_BLOCKED": PermissionDenied,
    "API_KEY_ANDROID_APP_BLOCKED": PermissionDenied,
    "API_KEY_IOS_APP_BLOCKED": PermissionDenied,
    "CONSUMER_INVALID": PermissionDenied,
    "CONSUMER_SUSPENDED": PermissionDenied,
    "SERVICE_DISABLED": PermissionDenied,
    "USER_PROJECT_DENIED": PermissionDenied,
    "BILLING_DISABLED": QuotaExhausted,
    "RATE_LIMIT_EXCEEDED": RateLimited,
    "RESOURCE_QUOTA_EXCEEDED": QuotaExhausted,
}

# Statuses that say more than the code beside them: 402 comes with FAILED_PRECONDITION.
_OF_STATUS: Mapping[int, type[Failure]] = {402: QuotaExhausted}

# error.status: the canonical codes of google/rpc/code.proto.
_OF_CODE: Mapping[str, type[Failure]] = {
    "ABORTED": ServerError,
    "CANCELLED": ServerError,
    "DATA_LOSS": ServerError,
    "DEADLINE_EXCEEDED": Timeout,
    "FAILED_PRECONDITION": PermissionDenied,  # "User location is not supported", "enable billing"
    "INTERNAL": ServerError,
    "INVALID_ARGUMENT": InvalidRequest,
    "NOT_FOUND": ModelNotFound,
    "OUT_OF_RANGE": InvalidRequest,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": RateLimited,
    "UNAUTHENTICATED": AuthenticationFailed,
    "UNAVAILABLE": Overloaded,
    "UNIMPLEMENTED": UnsupportedRequest,
}

# QuotaFailure.violations[].quotaId, and quota_limit of an ErrorInfo: GenerateRequestsPerDayPerProjectPerModel-FreeTier.
_LASTING_QUOTA = re.compile(r"Per(?:Day|Month)", re.IGNORECASE)

KeyForm = Literal["old", "new"]
# What is added where a key of Google AI Studio is refused, since Google speaks of OAuth then, or of a wrong key.
# https://ai.google.dev/gemini-api/docs/api-key, https://github.com/NousResearch/hermes-agent/pull/114315 (the old ones)
# and https://discuss.ai.google.dev/t/187509 (the new ones), read 2026-11-30.
_KEY_ADVICE: Mapping[KeyForm, str] = {
    "old": "; Google is cutting off keys that begin with AIza: make a new key in AI Studio, at "
    "https://aistudio.google.com/apikey",
    "new": "; it is the key that is not accepted: copy it again, or make a new key in AI Studio, at "
    "https://aistudio.google.com/apikey",
}

# "This model models/gemini-2.5-flash-lite is no longer available to new users.": 404 to projects that did not use it
# before. https://github.com/crewAIInc/crewAI/pull/7003, read 2026-11-30.
_OLD_PROJECTS_ONLY = re.compile(r"no longer available to new users", re.I)
_NEWER_MODEL_ADVICE = (
    f"; it answers older projects only: set GEMINI_LEGACY_MODEL={NEWER_MODEL}, which takes no results of tools from "
    "google-generativeai, or use understudy-gemini"
)

# The last resort, for what has nothing else to tell it by: the kind that the table gave, the words, the kind they mean.
_OF_WORDS: tuple[tuple[type[Failure], re.Pattern[str], type[Failure]], ...] = (
    (InvalidRequest, re.compile(r"token count .*exceeds|exceeds the maximum number of tokens", re.I), ContextTooLong),
    (InvalidRequest, re.compile(r"payload size exceeds the limit", re.I), ContextTooLong),
    (InvalidRequest, re.compile(r"requests ending with a model turn are not supported", re.I), UnsupportedRequest),
    (InvalidRequest, re.compile(r"thought[ _]signature", re.I), UnsupportedRequest),
    (InvalidRequest, re.compile(r"minimum allowed deadline", re.I), Timeout),
    (InvalidRequest, re.compile(r"API key (?:not valid|expired|not found)", re.I), AuthenticationFailed),
    (RateLimited, re.compile(r"credits are depleted|limit: 0\b|spend(?:ing)? (?:cap|limit)", re.I), QuotaExhausted),
)

# finishReason (google-genai 3.4.0, types.FinishReason: it knows more than this SDK): how the answer ended, or which
# failure it is. A reason that is not here is new, and told as unknown.
FINISH_REASONS: Mapping[str, FinishReason | type[Failure]] = {
    "STOP": FinishReason.STOP,
    "MAX_TOKENS": FinishReason.LENGTH,
    "CONTINUATION": FinishReason.LENGTH,
    "BLOCKLIST": ContentBlocked,
    "ESCALATION": ContentBlocked,
    "IMAGE_PROHIBITED_CONTENT": ContentBlocked,
    "IMAGE_RECITATION": ContentBlocked,
    "IMAGE_SAFETY": ContentBlocked,
    "LANGUAGE": ContentBlocked,
    "MODEL_ARMOR": ContentBlocked,
    "PROHIBITED_CONTENT": ContentBlocked,
    "PUP_LIMITED_DISABLED": ContentBlocked,
    "RECITATION": ContentBlocked,
    "SAFETY": ContentBlocked,
    "SPII": ContentBlocked,
    "IMAGE_OTHER": MalformedResponse,
    "MALFORMED_FUNCTION_CALL": MalformedResponse,
    "MALFORMED_RESPONSE": MalformedResponse,
    "MISSING_THOUGHT_SIGNATURE": MalformedResponse,
    "NO_IMAGE": MalformedResponse,
    "OTHER": MalformedResponse,
    "TOO_MANY_TOOL_CALLS": MalformedResponse,
    "UNEXPECTED_TOOL_CALL": MalformedResponse,
}

# Exceptions of urllib3 by the names of their classes, the most telling first; the core's table knows the rest. A
# connection that was refused comes first, because urllib3 counts it among the timeouts.
_OF_EXCEPTION: tuple[tuple[str, type[Failure]], ...] = (
    ("NewConnectionError", ConnectionFailed),
    ("TimeoutError", Timeout),
    ("ProtocolError", ConnectionFailed),
    ("IncompleteRead", ConnectionFailed),
    ("SSLError", ConnectionFailed),
    ("DecodeError", MalformedResponse),
    ("LocationValueError", ProviderUnavailable),
)

_DURATION = re.compile(r"(\d+(?:\.\d+)?)s")  # a protobuf Duration in JSON: "48.9s"
_REQUEST_ID_HEADERS = ("x-goog-request-id", "x-request-id")


def failure_of_reply(status: int, headers: Mapping[str, str], body: Any, key_form: KeyForm | None = None) -> Failure:
    """Return the failure that a reply means.

    Args:
        status: the HTTP status; 200 for an error inside a stream.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
        key_form: whether the key has the form that Google refuses by now; None where no key was sent.
    """
    document = _parsed(body)
    found = error_of(document)
    error = found or {}
    details = list(_details(error))
    code = text_of(error.get("status")) or text_of(error.get("code"))
    message = text_of(error.get("message")) or _description(status, headers, body)
    if status == 200 and found is not None:  # in a stream: the error's own number is the status
        status = _number(error.get("code")) or 500
    kind = _kind(status, code, _reason(details), _quotas(details), message)
    lower = {name.lower(): value for name, value in headers.items()}
    reason = _reason(details)
    return kind(
        message + _advice(kind, reason, message, key_form),
        status=status,
        code=reason or code,
        request_id=_request_id(details, lower),
        # Google tells to come back in half a minute even where only tomorrow helps.
        retry_after=None if kind is QuotaExhausted else _retry_after(details, lower),
    )


def _advice(kind: type[Failure], reason: str | None, message: str, key_form: KeyForm | None) -> str:
    """Return what to do about a reply that does not say it itself."""
    if kind is ModelNotFound and _OLD_PROJECTS_ONLY.search(message):
        return _NEWER_MODEL_ADVICE
    misleading = key_form == "old" or reason == "ACCESS_TOKEN_TYPE_UNSUPPORTED"
    return _KEY_ADVICE[key_form] if key_form is not None and kind is AuthenticationFailed and misleading else ""


def failure_of_exception(exception: BaseException) -> Failure:
    """Return the failure that an exception of the SDK, or of the libraries below it, means.

    Returns:
        The failure, without the exception as its cause: the exception, and the frames of its traceback, hold the
        request with the key among its headers.
    """
    if isinstance(exception, Failure):
        return exception
    failure = classify_exception(exception)
    failure.__cause__ = failure.__context__ = None
    names = {kind.__name__ for link in _causes(exception) for kind in type(link).__mro__}
    exact = next((kind for name, kind in _OF_EXCEPTION if name in names), None)
    if exact is not None:
        return exact(failure.message)
    return _unknown(exception, failure) if type(failure) is UnknownFailure else failure


def error_of(document: Any) -> Mapping[str, Any] | None:
    """Return the error in a reply's JSON, which may stand in a list; None where there is none."""
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, Mapping) or "error" not in document:
        return None
    error = document["error"]
    return error if isinstance(error, Mapping) else {"message": str(error)}


def _kind(status: int, code: str | None, reason: str | None, quotas: list[str], message: str) -> type[Failure]:
    if status == 429 and any(_LASTING_QUOTA.search(quota) for quota in quotas):
        return QuotaExhausted
    kind = _OF_REASON.get(reason or "") or _OF_STATUS.get(status) or _OF_CODE.get(code or "")
    kind = kind or classify_status(status)
    return next((meant for given, words, meant in _OF_WORDS if given is kind and words.search(message)), kind)


def _causes(exception: BaseException) -> Iterator[BaseException]:
    """Walk down to the first cause: requests wraps what urllib3 raised, the reason among its arguments or not."""
    link: BaseException | None = exception
    for _ in range(10):  # chains can be circular
        if link is None:
            return
        yield link
        link = link.__cause__ or link.__context__


def _unknown(exception: BaseException, failure: Failure) -> Failure:
    """Tell apart what came out of the SDK before anything was sent."""
    if isinstance(exception, ImportError):
        return ProviderUnavailable(failure.message)
    if isinstance(exception, TypeError | ValueError):
        return InvalidRequest(failure.message)
    return failure


def _parsed(body: Any) -> Any:
    if not isinstance(body, str | bytes):
        return body
    try:
        return json.loads(body)
    except ValueError:
        return None


def _details(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        if isinstance(detail, Mapping):
            yield detail


def _reason(details: list[Mapping[str, Any]]) -> str | None:
    return next((reason for detail in details if (reason := text_of(detail.get("reason")))), None)


def _quotas(details: list[Mapping[str, Any]]) -> list[str]:
    names: list[str] = []
    for detail in details:
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, Mapping):
                names.append(str(violation.get("quotaId", "")))
        metadata = detail.get("metadata")
        if isinstance(metadata, Mapping):
            names.append(str(metadata.get("quota_limit", "")))
    return names


def _retry_after(details: list[Mapping[str, Any]], headers: Mapping[str, str]) -> float | None:
    hints = [float(found[1]) for detail in details if (found := _DURATION.fullmatch(str(detail.get("retryDelay"))))]
    header = parse_retry_after(headers)
    return max(hints if header is None else [*hints, header], default=None)


def _request_id(details: list[Mapping[str, Any]], headers: Mapping[str, str]) -> str | None:
    told = next((value for name in _REQUEST_ID_HEADERS if (value := headers.get(name))), None)
    return told or next((value for detail in details if (value := text_of(detail.get("requestId")))), None)


def text_of(value: Any) -> str | None:
    """Return a value that is a text with something in it; None for any other."""
    return value if isinstance(value, str) and value else None


def _number(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if 300 <= number <= 599 else None


def _description(status: int, headers: Mapping[str, str], body: Any) -> str:
    if 300 <= status < 400:
        return f"expected an answer, found a redirection to {headers.get('location')}, which is not followed"
    start = " ".join((body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")).split())
    if not start:
        return f"status {status} without a body"
    return f"expected JSON, found: {start[:200]}{'...' if len(start) > 200 else ''}"


def unreadable(text: str, expected: str) -> MalformedResponse:
    """Return the failure for a reply that is not what the API promises, with its beginning."""
    start = " ".join(text[:400].split())
    return MalformedResponse(f"expected {expected}, found {start[:200] or 'nothing'}", status=200)
