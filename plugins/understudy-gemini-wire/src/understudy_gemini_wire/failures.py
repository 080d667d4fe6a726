"""The one table: what Google's API and its libraries report, and which of our failures it is.

The most exact thing decides: a quota's own name, then the reason among the error's details, then the code, then the
HTTP status. The message decides only where the API gives several failures one status, one code and no details; those
few wordings stand in a table of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from understudy import Failure, FinishReason, Secret
from understudy.classify import classify_exception, classify_status, parse_retry_after
from understudy.errors import (
    AuthenticationFailed,
    ContentBlocked,
    ContextTooLong,
    InvalidRequest,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    ServerError,
    Timeout,
    UnknownFailure,
    UnsupportedRequest,
)
from understudy_toolkit.bodies import describe, document_of, text_of

__all__ = [
    "FINISH_REASONS",
    "WITHOUT_SIGNATURES",
    "KeyForm",
    "error_of",
    "failure_of_exception",
    "failure_of_reply",
    "key_form",
    "unreadable",
]

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
    "INVALID_ARGUMENT": RequestRefused,
    "NOT_FOUND": ModelNotFound,
    "OUT_OF_RANGE": RequestRefused,
    "PERMISSION_DENIED": PermissionDenied,
    "RESOURCE_EXHAUSTED": RateLimited,
    "UNAUTHENTICATED": AuthenticationFailed,
    "UNAVAILABLE": Overloaded,
    "UNIMPLEMENTED": UnsupportedRequest,
}

# QuotaFailure.violations[].quotaId, and quota_limit of an ErrorInfo: GenerateRequestsPerDayPerProjectPerModel-FreeTier.
_LASTING_QUOTA = re.compile(r"Per(?:Day|Month)", re.IGNORECASE)

# The adaptation of a request whose signatures Gemini refuses: they are left out, and its tool calls marked as unsigned.
WITHOUT_SIGNATURES = "without thought signatures"

# "Corrupted thought signature.", "Invalid thought signature.", "Thought signature is not valid", "Function call is
# missing a thought_signature": of another account or model, or changed on the way.
# https://github.com/decolua/9router/issues/4136 and https://github.com/google-gemini/gemini-cli/issues/13467,
# read 2026-11-30.
_OF_SIGNATURES = re.compile(r"thought[ _]signature", re.I)

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

# The last resort, for what has nothing else to tell it by: the kind that the table gave, the words, the kind they mean.
_OF_WORDS: tuple[tuple[type[Failure], re.Pattern[str], type[Failure]], ...] = (
    (RequestRefused, re.compile(r"token count .*exceeds|exceeds the maximum number of tokens", re.I), ContextTooLong),
    (RequestRefused, re.compile(r"payload size exceeds the limit", re.I), ContextTooLong),
    (RequestRefused, re.compile(r"requests ending with a model turn are not supported", re.I), UnsupportedRequest),
    (RequestRefused, _OF_SIGNATURES, UnsupportedRequest),
    # "Manually set deadline 8s is too short. Minimum allowed deadline is 10s.": livekit/agents#3723, read 2026-11-30.
    (RequestRefused, re.compile(r"minimum allowed deadline", re.I), Timeout),
    (RequestRefused, re.compile(r"API key (?:not valid|expired|not found)", re.I), AuthenticationFailed),
    (RateLimited, re.compile(r"credits are depleted|limit: 0\b|spend(?:ing)? (?:cap|limit)", re.I), QuotaExhausted),
)

# finishReason (google-genai 3.4.0, types.FinishReason): how the answer ended, or which
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

_DURATION = re.compile(r"(\d+(?:\.\d+)?)s")  # a protobuf Duration in JSON: "48.9s"
_REQUEST_ID_HEADERS = ("x-goog-request-id", "x-request-id")
_CREDENTIALS = frozenset(["DefaultCredentialsError", "RefreshError", "MalformedError", "UserAccessTokenError"])
_CURE = "; run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a credentials file"


def failure_of_reply(
    status: int, headers: Mapping[str, str], body: Any, key_form: KeyForm | None = None, *, signed: bool = True
) -> Failure:
    """Return the failure that a reply means.

    Args:
        status: the HTTP status; 200 for an error inside a stream.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
        key_form: whether the key has the form that Google refuses by now; None where no key was sent.
        signed: whether there are signatures that can be left out of the request.
    """
    document = document_of(body)
    found = error_of(document)
    error = found or {}
    details = list(_details(error))
    code = text_of(error.get("status")) or text_of(error.get("code"))
    message = text_of(error.get("message")) or describe(status, headers, body)
    if status == 200 and found is not None:  # in a stream: the error's own number is the status
        status = _number(error.get("code")) or 500
    kind = _kind(status, code, _reason(details), _quotas(details), message)
    lower = {name.lower(): value for name, value in headers.items()}
    reason = _reason(details)
    unsigned = signed and kind is UnsupportedRequest and _OF_SIGNATURES.search(message) is not None
    return kind(
        message + _key_advice(kind, reason, key_form),
        status=status,
        code=reason or code,
        request_id=_request_id(details, lower),
        # Google tells to come back in half a minute even where only tomorrow helps.
        retry_after=None if kind is QuotaExhausted else _retry_after(details, lower),
        adaptation=WITHOUT_SIGNATURES if unsigned else None,
    )


def _key_advice(kind: type[Failure], reason: str | None, key_form: KeyForm | None) -> str:
    misleading = key_form == "old" or reason == "ACCESS_TOKEN_TYPE_UNSUPPORTED"
    return _KEY_ADVICE[key_form] if key_form is not None and kind is AuthenticationFailed and misleading else ""


def failure_of_exception(exception: BaseException) -> Failure:
    """Return the failure that an exception of Google's libraries, or of those below them, means.

    Returns:
        The failure, without the exception as its cause: the exception, and the frames of its traceback, hold the
        request with the key among its headers.
    """
    if isinstance(exception, Failure):
        return exception
    failure = classify_exception(exception)
    failure.__cause__ = failure.__context__ = None
    if _CREDENTIALS & {kind.__name__ for kind in type(exception).__mro__}:
        again = getattr(exception, "retryable", False)  # the server that hands out tokens failed, not the credentials
        return ServerError(failure.message) if again else ProviderUnavailable(failure.message + _CURE)
    return _unknown(exception, failure) if type(failure) is UnknownFailure else failure


def key_form(key: Secret | None) -> KeyForm | None:
    """Return whether a key has the form that Google refuses by now; None where there is none."""
    if key is None:
        return None
    return "old" if key.reveal().startswith("AIza") else "new"


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


def _unknown(exception: BaseException, failure: Failure) -> Failure:
    """Tell apart what came out of the SDK before anything was sent."""
    if isinstance(exception, ImportError):
        return ProviderUnavailable(failure.message)
    if isinstance(exception, RuntimeError) and "closed" in str(exception):
        return ProviderUnavailable(failure.message)  # closed under the call, by another thread
    if isinstance(exception, TypeError | ValueError):
        return InvalidRequest(failure.message)  # not JSON in the options, not a model's name
    return failure


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


def _number(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return None
    return number if 300 <= number <= 599 else None


def unreadable(text: str, expected: str) -> MalformedResponse:
    """Return the failure for a reply that is not what the API promises, with its beginning."""
    start = " ".join(text[:400].split())
    return MalformedResponse(f"expected {expected}, found {start[:200] or 'nothing'}", status=200)
