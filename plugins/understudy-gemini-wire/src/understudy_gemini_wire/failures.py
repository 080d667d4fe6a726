"""The one table: what Google's API and its libraries report, and which of our failures it is.

The most specific thing decides: a quota's own name, then the reason among the error's details, then the code, then the
HTTP status. The message decides only if the API gives several failures one status, one code and no details; those
few wordings are in a table of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from understudy import Failure, Secret
from understudy.classify import classify_exception, classify_status, read_reset
from understudy.errors import (
    AuthenticationFailed,
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
from understudy_toolkit.waits import told_wait

__all__ = [
    "MOST_SEARCHED",
    "KeyForm",
    "error_of",
    "failure_of_exception",
    "failure_of_reply",
    "key_form",
    "unreadable",
]

# ErrorInfo.reason: google/api/error_reason.proto in googleapis-common-protos 1.75.0. The last ones are those of
# Google's other servers (https://github.com/google-gemini/gemini-cli/issues/29425 and .../issues/25179) and of its
# older form of an error, errors[].reason. Read 2026-11-30.
_OF_REASON: Mapping[str, type[Failure]] = {
    "API_KEY_INVALID": AuthenticationFailed,
    "ACCESS_TOKEN_EXPIRED": AuthenticationFailed,
    "ACCESS_TOKEN_TYPE_UNSUPPORTED": AuthenticationFailed,
    "ACCOUNT_STATE_INVALID": AuthenticationFailed,
    "ACCOUNT_TYPE_UNSUPPORTED": AuthenticationFailed,
    "CREDENTIALS_MISSING": AuthenticationFailed,
    "CREDENTIAL_ANDROID_APP_INVALID": AuthenticationFailed,
    "CREDENTIAL_TYPE_UNSUPPORTED": AuthenticationFailed,
    "JWT_TOKEN_INVALID": AuthenticationFailed,
    "OVERLOADED_CREDENTIALS": AuthenticationFailed,
    "SESSION_COOKIE_INVALID": AuthenticationFailed,
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": PermissionDenied,
    "API_KEY_SERVICE_BLOCKED": PermissionDenied,
    "API_KEY_HTTP_REFERRER_BLOCKED": PermissionDenied,
    "API_KEY_IP_ADDRESS_BLOCKED": PermissionDenied,
    "API_KEY_ANDROID_APP_BLOCKED": PermissionDenied,
    "API_KEY_IOS_APP_BLOCKED": PermissionDenied,
    "CONSUMER_INVALID": PermissionDenied,
    "CONSUMER_SUSPENDED": PermissionDenied,
    "ENDPOINT_USAGE_RESTRICTION_VIOLATED": PermissionDenied,
    "GCP_SUSPENDED": PermissionDenied,
    "IAM_PERMISSION_DENIED": PermissionDenied,
    "LOCATION_ORG_POLICY_VIOLATED": PermissionDenied,
    "LOCATION_POLICY_VIOLATED": PermissionDenied,
    "LOCATION_TAX_POLICY_VIOLATED": PermissionDenied,
    "MISSING_ORIGIN": PermissionDenied,
    "ORG_RESTRICTION_HEADER_INVALID": PermissionDenied,
    "ORG_RESTRICTION_VIOLATION": PermissionDenied,
    "RESOURCE_PROJECT_INVALID": PermissionDenied,
    "RESOURCE_USAGE_RESTRICTION_VIOLATED": PermissionDenied,
    "SECURITY_POLICY_VIOLATED": PermissionDenied,
    "SERVICE_DISABLED": PermissionDenied,
    "SERVICE_NOT_VISIBLE": PermissionDenied,
    "TLS_CIPHER_RESTRICTION_VIOLATED": PermissionDenied,
    "TLS_ORG_POLICY_VIOLATED": PermissionDenied,
    "USER_BLOCKED_BY_ADMIN": PermissionDenied,
    "USER_PROJECT_DENIED": PermissionDenied,
    "BILLING_DISABLED": QuotaExhausted,
    "RATE_LIMIT_EXCEEDED": RateLimited,
    "RESOURCE_QUOTA_EXCEEDED": QuotaExhausted,
    "QUOTA_EXHAUSTED": QuotaExhausted,
    "MODEL_CAPACITY_EXHAUSTED": Overloaded,
    "accessNotConfigured": PermissionDenied,
    "authError": AuthenticationFailed,
    "billingNotEnabled": QuotaExhausted,
    "dailyLimitExceeded": QuotaExhausted,
    "keyExpired": AuthenticationFailed,
    "keyInvalid": AuthenticationFailed,
    "rateLimitExceeded": RateLimited,
    "userRateLimitExceeded": RateLimited,
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

# QuotaFailure.violations[].quotaId, and quota_limit of an ErrorInfo: GenerateRequestsPerDayPerProjectPerModel-FreeTier;
# one of 0 is none (https://github.com/google-gemini/deprecated-generative-ai-python/issues/244, read 2026-11-30).
_NONE = "nothing"
_LASTING_QUOTA = re.compile(rf"Per ?(?:Day|Month)|^{_NONE}$", re.IGNORECASE)

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


MOST_SEARCHED = 4096  # characters of a message: patterns may take time by the square of its length
_Row = tuple[tuple[type[Failure], ...], re.Pattern[str], type[Failure]]
_REFUSED = (RequestRefused, UnsupportedRequest)


def _rows(given: tuple[type[Failure], ...], meant: type[Failure], *patterns: str) -> Iterator[_Row]:
    for pattern in patterns:
        yield given, re.compile(pattern, re.IGNORECASE | re.DOTALL), meant


# The last resort, for what has nothing else to tell it by: the kinds that the table gave, the words, the kind they
# mean; the first row that fits counts. Where nothing else is said, read on 2026-11-30 in these threads and those that
# they name.
_OF_WORDS: tuple[_Row, ...] = (
    # https://github.com/google-gemini/gemini-cli/issues/4692, https://github.com/googleapis/python-genai/issues/308
    *_rows(
        *(_REFUSED, ContextTooLong),
        *("token count .*exceeds", "exceeds the maximum number of tokens", r"input token count is \d+ but"),
        *("payload size exceeds the limit", "files bytes are too large"),
    ),
    # "Manually set deadline 8s is too short. Minimum allowed deadline is 10s.": livekit/agents#3723.
    *_rows(_REFUSED, Timeout, "minimum allowed deadline"),
    # "Your API key was reported as leaked." comes with 403: https://github.com/continuedev/continue/issues/10513. So
    # does "Method doesn't allow unregistered callers": https://github.com/PublicAffairs/openai-gemini/issues/92
    *_rows(
        *((*_REFUSED, PermissionDenied), AuthenticationFailed),
        *("API key (?:is )?(?:not valid|invalid|expired|not found)", "reported as leaked", "unregistered callers"),
    ),
    # A file or cached content of another account, of yesterday, or not ready yet (400 FAILED_PRECONDITION): that is the
    # request's, not the account's. https://github.com/googleapis/python-genai/issues/1218 and
    # https://github.com/expectedparrot/edsl/issues/1907
    *_rows(
        *((PermissionDenied, ModelNotFound), RequestRefused),
        *("permission to access the file", "cached ?content .*(?:not found|not exist|expired)", "in an active state"),
    ),
    # https://github.com/pgmichael/wavenet-for-chrome/issues/83 and
    # https://github.com/GoogleCloudPlatform/java-docs-samples/issues/276
    *_rows((PermissionDenied,), QuotaExhausted, "requires billing to be enabled", "has billing disabled"),
    *_rows(
        *(_REFUSED, ModelNotFound),
        *("not found for api version", "not supported for generatecontent", "publisher model .*not found"),
    ),
    # https://github.com/google/generative-ai-docs/issues/513 (modalities), https://github.com/charmbracelet/crush/
    # issues/995 (types), https://github.com/google-gemini/gemini-cli/issues/27724 (numbers of files),
    # https://github.com/symfony/ai/issues/803 (tools beside JSON), https://github.com/cline/cline/issues/7897 and
    # https://github.com/google-gemini/gemini-cli/issues/5923 (schemas).
    *_rows(
        *(_REFUSED, UnsupportedRequest),
        *("requests ending with a model turn", "thought[ _]?signature", "is not enabled for", "multiple candidates"),
        *(r"not supported (?:by|for|in|on|with) (?:this|the|that)\b.*model", "multi-?turn", "response modalit"),
        *("mime ?type", "too many states", "nesting depth", "(?:function calling|tool use) with"),
        *("unable to process input image", "image .*too large", r"supports? up to \d+", r"fewer than \d+ images"),
        *("page limit", "has no pages"),
    ),
    *_rows(
        *((RateLimited,), QuotaExhausted),
        *("credits are depleted", r"limit: 0\b", "spend(?:ing)? (?:cap|limit)", r"per day\b", "daily limit"),
    ),
    *_rows((RateLimited,), Overloaded, "no capacity available", "model is overloaded"),
)

_SOON = 600.0  # seconds
_REQUEST_ID_HEADERS = ("x-goog-request-id", "x-request-id")
_CREDENTIALS = frozenset(["DefaultCredentialsError", "RefreshError", "MalformedError", "UserAccessTokenError"])
_CURE = "; run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS to a credentials file"


def failure_of_reply(status: int, headers: Mapping[str, str], body: Any, key_form: KeyForm | None = None) -> Failure:
    """Return the failure that a reply means.

    Args:
        status: the HTTP status; 200 for an error inside a stream.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
        key_form: whether the key has the form that Google refuses by now; None where no key was sent.
    """
    document = document_of(body)
    found = error_of(document)
    error = found or {}
    details = list(_details(error))
    code = text_of(error.get("status")) or text_of(error.get("code"))
    message = text_of(error.get("message")) or describe(status, headers, body)
    if status == 200 and found is not None:  # in a stream: the error's own number is the status
        status = _number(error.get("code")) or _number(error.get("status")) or 500
    reason = _reason(details)
    kind = _kind(status, code, reason, _quotas(details), message)
    lower = {name.lower(): value for name, value in headers.items()}
    return kind(
        message + _key_advice(kind, reason, key_form),
        status=status,
        code=reason or code,
        request_id=_request_id(details, lower),
        retry_after=_retry_after(kind, details, lower, message),
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
    """Return the error in a reply's JSON; None where there is none.

    Besides Google's own form, it may stand in a list, be a mere text, or have no member of its own: relays answer so.
    """
    if isinstance(document, list):
        found = (error_of(one) for one in document if isinstance(one, Mapping))
        return next((error for error in found if error is not None), None)
    if not isinstance(document, Mapping):
        return None
    candidates = document.get("candidates")
    first = candidates[0] if isinstance(candidates, list) and candidates else None
    error = (
        document.get("error") or document.get("errors") or (first.get("error") if isinstance(first, Mapping) else None)
    )
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, Mapping):
        return _inner(error)
    if error:
        return {**document, "message": text_of(document.get("message")) or str(error)}
    if candidates or "promptFeedback" in document or "usageMetadata" in document:
        return None
    message = document.get("message") or document.get("detail")
    return {**document, "message": message} if isinstance(message, str) else None


def _inner(error: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the error that a relay has put as text into the message of its own, or the error itself."""
    message = error.get("message")
    if isinstance(message, str) and message.lstrip()[:1] in ("{", "["):
        document = document_of(message)
        inner = document[0] if isinstance(document, list) and document else document
        if isinstance(inner, Mapping) and isinstance(inner.get("error"), Mapping):
            return {**error, **inner["error"]}
    return error


def _kind(status: int, code: str | None, reason: str | None, quotas: list[str], message: str) -> type[Failure]:
    if status == 429 and any(_LASTING_QUOTA.search(quota) for quota in quotas):
        return QuotaExhausted
    kind = _OF_REASON.get(reason or "") or _OF_STATUS.get(status) or _OF_CODE.get(code or "")
    kind = kind or classify_status(status)
    words = message[:MOST_SEARCHED]
    return next((meant for given, pattern, meant in _OF_WORDS if kind in given and pattern.search(words)), kind)


def _unknown(exception: BaseException, failure: Failure) -> Failure:
    """Classify what the SDK raised before anything was sent."""
    if isinstance(exception, ImportError):
        return ProviderUnavailable(failure.message)
    if isinstance(exception, RuntimeError) and "closed" in str(exception):
        return ProviderUnavailable(failure.message)  # closed under the call, by another thread
    if isinstance(exception, TypeError | ValueError | RecursionError):
        return InvalidRequest(failure.message)  # no JSON in the options, or nested too deep; not a model's name
    return failure


def _details(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for name in ("details", "errors"):  # the newer form of Google's errors, and the older
        details = error.get(name)
        for detail in details if isinstance(details, list) else ():
            if isinstance(detail, Mapping):
                yield detail


def _reason(details: list[Mapping[str, Any]]) -> str | None:
    """Return the reason among the details: one that is known, before any other of the newer form."""
    told = [reason for detail in details if (reason := text_of(detail.get("reason")))]
    return next((reason for reason in told if reason in _OF_REASON), next((one for one in told if one.isupper()), None))


def _quotas(details: list[Mapping[str, Any]]) -> list[str]:
    """Return the quotas that were exceeded, by their names, and as none where nothing of it may be used."""
    names: list[str] = []
    for detail in details:
        violations = detail.get("violations")
        told = [one for one in violations if isinstance(one, Mapping)] if isinstance(violations, list) else []
        names += [str(one.get(name, "")) for one in told for name in ("quotaId", "description")]
        metadata = detail.get("metadata")
        limits = [metadata.get("quota_limit_value")] if isinstance(metadata, Mapping) else []
        names += [str(metadata.get("quota_limit", ""))] if isinstance(metadata, Mapping) else []
        names += [_NONE for limit in (*limits, *(one.get("quotaValue") for one in told)) if str(limit) == "0"]
    return names


def _retry_after(
    kind: type[Failure], details: list[Mapping[str, Any]], headers: Mapping[str, str], message: str
) -> float | None:
    """Return when to come back, in seconds, by by whatever gives the longest time."""
    told = [detail.get("retryDelay") for detail in details]
    told += [one.get("quotaResetDelay") for detail in details if isinstance(one := detail.get("metadata"), Mapping)]
    hints = [told_wait(kind, headers, None, message), *map(_seconds, told)]
    longest = max((hint for hint in hints if hint is not None), default=None)
    # Google says to come back in half a minute even if only tomorrow helps.
    return None if kind is QuotaExhausted and (longest or 0) < _SOON else longest


def _seconds(delay: Any) -> float | None:
    """Return a protobuf Duration: "48.9s" in JSON, or its members where a library wrote it."""
    if isinstance(delay, Mapping):
        delay = f"{delay.get('seconds', 0)}s"
    return read_reset(delay) if isinstance(delay, str) else None


def _request_id(details: list[Mapping[str, Any]], headers: Mapping[str, str]) -> str | None:
    told = next((value for name in _REQUEST_ID_HEADERS if (value := headers.get(name))), None)
    return told or next((value for detail in details if (value := text_of(detail.get("requestId")))), None)


def _number(value: Any) -> int | None:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if 300 <= number <= 599 else None


def unreadable(found: Any, expected: str) -> MalformedResponse:
    """Return the failure for a reply that is not what the API promises, with its beginning.

    Args:
        found: what came: a text, or JSON.
        expected: what was promised.
    """
    try:
        text = found if isinstance(found, str) else json.dumps(found)
    except RecursionError:
        text = "lists and objects nested too deep"
    start = " ".join(text[:400].split())
    return MalformedResponse(f"expected {expected}, found {start[:200] or 'nothing'}", status=200)
