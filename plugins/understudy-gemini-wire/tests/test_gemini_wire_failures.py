"""The table of failures: replies and exceptions, without any SDK."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy import Failure
from understudy.errors import (
    AuthenticationFailed,
    ConnectionFailed,
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
from understudy_gemini_wire.failures import failure_of_exception, failure_of_reply

TYPE = "type.googleapis.com/google.rpc."
PER_DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
PER_MINUTE = "GenerateContentPaidTierInputTokensPerModelPerMinute"


def error(code: Any, status: str | None = None, message: str = "words", *details: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"code": code, "message": message}
    if status:
        told["status"] = status
    return {"error": {**told, "details": list(details)}}


def quota(*names: str) -> dict[str, Any]:
    return {"@type": f"{TYPE}QuotaFailure", "violations": [{"quotaId": name} for name in names]}


def delay(text: str) -> dict[str, Any]:
    return {"@type": f"{TYPE}RetryInfo", "retryDelay": text}


def reason(name: str, **metadata: str) -> dict[str, Any]:
    return {"@type": f"{TYPE}ErrorInfo", "reason": name, "metadata": metadata}


EXHAUSTED = "RESOURCE_EXHAUSTED"
INVALID = "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    ("status", "body", "failure", "retry_after"),
    [
        (429, error(429, EXHAUSTED, "x", quota(PER_MINUTE), delay("48.9s")), RateLimited, 48.9),
        (429, error(429, EXHAUSTED, "x", quota(PER_DAY), delay("36s")), QuotaExhausted, None),
        (429, error(429, EXHAUSTED, "x", quota(PER_MINUTE, PER_DAY), delay("36s")), QuotaExhausted, None),
        (429, error(429, EXHAUSTED, "x", reason("RATE_LIMIT_EXCEEDED", quota_limit="XPerDay")), QuotaExhausted, None),
        (429, error(429, EXHAUSTED, "x", reason("RATE_LIMIT_EXCEEDED", quota_limit="XPerMinute")), RateLimited, None),
        (429, error(429, EXHAUSTED, "Resource exhausted. Please try again later."), RateLimited, None),
        (429, error("rate_limit_exceeded"), RateLimited, None),
        (429, error(429, EXHAUSTED, "* Quota exceeded for metric: x, limit: 0, model: y"), QuotaExhausted, None),
        (429, error(429, EXHAUSTED, "* Quota exceeded for metric: x, limit: 1000, model: y"), RateLimited, None),
        (429, error(429, EXHAUSTED, "Your prepayment credits are depleted."), QuotaExhausted, None),
        (429, "not JSON", RateLimited, None),
        (402, error(402, "FAILED_PRECONDITION"), QuotaExhausted, None),
        (403, error(403, "PERMISSION_DENIED", "x", reason("BILLING_DISABLED")), QuotaExhausted, None),
        (403, error(403, "PERMISSION_DENIED", "x", reason("SERVICE_DISABLED")), PermissionDenied, None),
        (400, error(400, INVALID, "x", reason("API_KEY_INVALID")), AuthenticationFailed, None),
        (400, error(400, INVALID, "API key expired. Please renew the API key."), AuthenticationFailed, None),
        (401, error(401, "UNAUTHENTICATED"), AuthenticationFailed, None),
        (400, error(400, "FAILED_PRECONDITION", "User location is not supported"), PermissionDenied, None),
        (400, error(400, INVALID, "The input token count (2) exceeds the maximum number (1)."), ContextTooLong, None),
        (400, error(400, INVALID, "Request payload size exceeds the limit: 2 bytes."), ContextTooLong, None),
        (400, error(400, INVALID, "Requests ending with a model turn are not supported."), UnsupportedRequest, None),
        (400, error(400, INVALID), RequestRefused, None),
        (400, [error(400, INVALID, "in a list", reason("API_KEY_INVALID"))], AuthenticationFailed, None),
        (404, error(404, "NOT_FOUND"), ModelNotFound, None),
        (408, error(408, "DEADLINE_EXCEEDED"), Timeout, None),
        (409, error(409, "ABORTED"), ServerError, None),
        (499, error(499, "CANCELLED"), ServerError, None),
        (500, error(500, "INTERNAL"), ServerError, None),
        (501, error(501, "UNIMPLEMENTED"), UnsupportedRequest, None),
        (502, "<html>Bad gateway</html>", ServerError, None),
        (503, error(503, "UNAVAILABLE"), Overloaded, None),
        (504, error(504, "DEADLINE_EXCEEDED"), Timeout, None),
        (200, error(503, "UNAVAILABLE"), Overloaded, None),
        (200, error("429"), RateLimited, None),
        (200, error(429, EXHAUSTED, "x", quota(PER_DAY)), QuotaExhausted, None),
        (200, error(None, "DEADLINE_EXCEEDED"), Timeout, None),
        (200, {"error": "a bare text"}, ServerError, None),
        (302, "", MalformedResponse, None),
        (201, "{}", MalformedResponse, None),
    ],
)
def test_a_reply(status: int, body: Any, failure: type[Failure], retry_after: float | None) -> None:
    for shape in (body, body if isinstance(body, str) else json.dumps(body).encode()):
        found = failure_of_reply(status, {}, shape)
        assert type(found) is failure
        assert found.retry_after == retry_after
        assert found.message


REASONS = {
    AuthenticationFailed: "API_KEY_INVALID ACCESS_TOKEN_EXPIRED ACCOUNT_STATE_INVALID CREDENTIALS_MISSING "
    "JWT_TOKEN_INVALID SESSION_COOKIE_INVALID keyInvalid keyExpired authError",
    PermissionDenied: "CONSUMER_INVALID CONSUMER_SUSPENDED SERVICE_DISABLED IAM_PERMISSION_DENIED GCP_SUSPENDED "
    "USER_PROJECT_DENIED LOCATION_POLICY_VIOLATED API_KEY_SERVICE_BLOCKED accessNotConfigured",
    QuotaExhausted: "BILLING_DISABLED RESOURCE_QUOTA_EXCEEDED QUOTA_EXHAUSTED dailyLimitExceeded billingNotEnabled",
    RateLimited: "RATE_LIMIT_EXCEEDED rateLimitExceeded userRateLimitExceeded",
    Overloaded: "MODEL_CAPACITY_EXHAUSTED",
    RequestRefused: "badRequest SOMETHING_NEW",
}


@pytest.mark.parametrize(("failure", "names"), REASONS.items())
def test_a_reason_says_more_than_the_code(failure: type[Failure], names: str) -> None:
    for name in names.split():
        newer = error(400, INVALID, "x", {"violations": None}, reason(name))
        older = {"error": {"code": 400, "status": INVALID, "message": "x", "errors": [{"reason": name}]}}
        for body in (newer, older):
            assert type(failure_of_reply(400, {}, body)) is failure, name


DENIED, PRECONDITION = "PERMISSION_DENIED", "FAILED_PRECONDITION"
# Refusals as people report them: the status, the code, the words.
WORDS: dict[type[Failure], list[tuple[int, str, str]]] = {
    AuthenticationFailed: [
        (400, INVALID, "API key not valid. Please pass a valid API key."),
        (400, INVALID, "API Key not found. Please pass a valid API key."),
        (400, INVALID, "API key expired. Please renew the API key."),
        (403, DENIED, "Your API key was reported as leaked. Please use another API key."),
        (403, DENIED, "Method doesn't allow unregistered callers (callers without established identity)."),
    ],
    PermissionDenied: [
        (400, PRECONDITION, "User location is not supported for the API use."),
        (400, PRECONDITION, "User location is not supported for the API use without a billing account linked."),
        (400, PRECONDITION, "Gemini API free tier is not available in your country. Please enable billing."),
        (403, DENIED, "Permission denied: Consumer 'projects/1' has been suspended."),
        (403, DENIED, "Generative Language API has not been used in project 1 before or it is disabled."),
        (403, DENIED, "Permission 'aiplatform.endpoints.predict' denied on resource '//aiplatform.googleapis.com/x'."),
    ],
    QuotaExhausted: [
        (403, DENIED, "This API method requires billing to be enabled. Please enable billing on project #1."),
        (403, DENIED, "Project x (#1) has billing disabled. Please enable it."),
        (429, EXHAUSTED, "Quota exceeded for quota metric 'Generate requests' and limit 'Requests per day'."),
    ],
    RateLimited: [
        (429, EXHAUSTED, "Quota exceeded for quota metric 'Generate requests' and limit 'Requests per minute'."),
        (
            429,
            EXHAUSTED,
            "Quota exceeded for aiplatform.googleapis.com/generate_content_requests_per_minute",
        ),
    ],
    Overloaded: [(429, EXHAUSTED, "No capacity available for model gemini-3-pro on the server")],
    ModelNotFound: [
        (404, "NOT_FOUND", "Publisher Model `publishers/google/models/x` was not found or your project has no access."),
        (404, "NOT_FOUND", "models/x is not found for API version v1beta, or is not supported for generateContent."),
        (400, INVALID, "models/x is not supported for generateContent."),
    ],
    ContextTooLong: [
        (400, INVALID, "The input token count (2845475) exceeds the maximum number of tokens allowed (1048576)."),
        (400, INVALID, "Unable to submit request because the input token count is 9 but the model supports up to 8."),
        (400, INVALID, "The request's total referenced files bytes are too large to be read"),
    ],
    Timeout: [(400, INVALID, "Manually set deadline 8s is too short. Minimum allowed deadline is 10s.")],
    UnsupportedRequest: [
        (400, INVALID, "The specified schema produces a constraint that has too many states for serving."),
        (400, INVALID, "A schema in GenerationConfig in the request exceeds the maximum allowed nesting depth."),
        (400, INVALID, "Function calling is not enabled for models/gemma-3-27b-it"),
        (400, INVALID, "Developer instruction is not enabled for models/gemma-3-27b-it"),
        (400, INVALID, "JSON mode is not enabled for models/gemma-3-27b-it"),
        (400, INVALID, "Image input modality is not enabled for models/gemma-3-1b-it"),
        (400, INVALID, "Thinking level is not supported for this model."),
        (400, INVALID, "Multiple candidates is not enabled for this model"),
        (400, INVALID, "Unsupported MIME type: image/svg+xml"),
        (400, INVALID, "Unable to process input image. Please retry or report in https://..."),
        (400, INVALID, "Unable to submit request because it has 20 video files but the model only supports up to 10."),
        (400, INVALID, "Multi-turn chat is not supported for this model."),
        (400, INVALID, "Function calling with a response mime type: 'application/json' is unsupported"),
        (501, "UNIMPLEMENTED", "one or more response schemas specified unsupported field min_length"),
    ],
    RequestRefused: [
        (400, INVALID, "Please ensure that function response turn comes immediately after a function call turn."),
        (400, INVALID, "Request contains an invalid argument."),
        (403, DENIED, "You do not have permission to access the File abc or it may not exist."),
        (403, DENIED, "CachedContent not found (or permission denied)"),
        (400, PRECONDITION, "The File abc is not in an ACTIVE state and usage is not allowed."),
    ],
}


@pytest.mark.parametrize("failure", WORDS)
def test_words_decide_where_nothing_else_does(failure: type[Failure]) -> None:
    for status, code, message in WORDS[failure]:
        relayed = {"error": {"code": status, "message": json.dumps(error(status, code, message)), "status": "UPSTREAM"}}
        for body in (error(status, code, message), [error(status, code, message)], relayed):
            found = failure_of_reply(status, {}, body)
            assert (type(found), found.message) == (failure, message), message


@pytest.mark.parametrize("limit", ["0", 0])
def test_a_quota_of_nothing_is_no_matter_of_time(limit: Any) -> None:
    minute = {"quotaId": "GenerateContentRequestsPerMinutePerProjectPerRegion", "quotaValue": limit}
    for detail in (
        {"@type": f"{TYPE}QuotaFailure", "violations": [minute]},
        reason("RATE_LIMIT_EXCEEDED", quota_limit="XPerMinute", quota_limit_value=limit),
    ):
        assert type(failure_of_reply(429, {}, error(429, EXHAUSTED, "x", detail))) is QuotaExhausted
    detail = {"@type": f"{TYPE}QuotaFailure", "violations": [{**minute, "quotaValue": "10"}]}
    again = {"@type": f"{TYPE}RetryInfo", "retryDelay": {"seconds": 7}}
    found = failure_of_reply(429, {}, error(429, EXHAUSTED, "x", detail, again))
    assert (type(found), found.retry_after) == (RateLimited, 7.0)


@pytest.mark.parametrize(
    ("details", "words", "kind", "seconds"),
    [
        ([delay("48.9s")], "", RateLimited, 48.9),
        ([delay("1m30s")], "", RateLimited, 90.0),
        ([], "Please retry in 29.02s.", RateLimited, 29.02),
        ([], "Please retry in 500ms", RateLimited, 0.5),
        ([quota(PER_DAY), delay("36s")], "Please retry in 36s.", QuotaExhausted, None),
        ([reason("QUOTA_EXHAUSTED", quotaResetDelay="33740.9s")], "Resets in 9h22m20s.", QuotaExhausted, 33740.9),
        ([delay("soon"), {"retryDelay": []}, {"metadata": {"quotaResetDelay": 1}}], "", RateLimited, None),
    ],
)
def test_when_to_come_back_is_told_in_many_places(
    details: list[dict[str, Any]], words: str, kind: type[Failure], seconds: float | None
) -> None:
    found = failure_of_reply(429, {}, error(429, EXHAUSTED, f"Quota exceeded. {words}", *details))
    assert (type(found), found.retry_after) == (kind, seconds)


def test_what_a_failure_knows() -> None:
    body = error(429, EXHAUSTED, "slow down", {"@type": f"{TYPE}RequestInfo", "requestId": "r1"}, delay("3s"))
    found = failure_of_reply(429, {"Retry-After": "7"}, body)
    assert (found.status, found.code, found.request_id, found.retry_after) == (429, EXHAUSTED, "r1", 7.0)
    assert failure_of_reply(500, {"X-Request-Id": "r2"}, None).request_id == "r2"
    assert failure_of_reply(400, {}, error(400, INVALID, "x", reason("API_KEY_INVALID"))).code == "API_KEY_INVALID"


def test_a_page_is_quoted_by_its_beginning_only() -> None:
    found = failure_of_reply(503, {}, "<html>" + "x" * 10_000)
    assert found.message.startswith("expected JSON, found: <html>xxx")
    assert len(found.message) < 250
    assert "https://elsewhere.example" in failure_of_reply(307, {"location": "https://elsewhere.example"}, "").message


def raised(name: str, *bases: type[BaseException], text: str = "words") -> BaseException:
    """Make an exception as another library names it: two copies of one library do not share their classes."""
    exception: BaseException = type(name, bases or (Exception,), {})(text)
    return exception


@pytest.mark.parametrize(
    ("exception", "failure"),
    [
        (raised("ReadTimeout", type("TimeoutException", (Exception,), {})), Timeout),
        (TimeoutError(), Timeout),
        (raised("ConnectError", type("NetworkError", (Exception,), {})), ConnectionFailed),
        (raised("RemoteProtocolError"), ConnectionFailed),
        (raised("LocalProtocolError"), ProviderUnavailable),
        (raised("UnsupportedProtocol"), ProviderUnavailable),
        (raised("DefaultCredentialsError"), ProviderUnavailable),
        (raised("RefreshError"), ProviderUnavailable),
        (raised("MalformedError", ValueError), ProviderUnavailable),
        (RuntimeError("Cannot send a request, as the client has been closed."), ProviderUnavailable),
        (ImportError("httpx is configured, but httpx is not installed."), ProviderUnavailable),
        (TypeError("Object of type set is not JSON serializable"), InvalidRequest),
        (ValueError("invalid model parameter."), InvalidRequest),
        (json.JSONDecodeError("Expecting value", "", 0), MalformedResponse),
        (ZeroDivisionError("never seen before"), UnknownFailure),
        (Overloaded("already ours"), Overloaded),
    ],
)
def test_an_exception(exception: BaseException, failure: type[Failure]) -> None:
    found = failure_of_exception(exception)
    assert type(found) is failure
    assert found.__cause__ is None
    assert found.__context__ is None


def test_missing_credentials_come_with_the_cure() -> None:
    found = failure_of_exception(raised("DefaultCredentialsError"))
    assert "gcloud auth application-default login" in str(found)
    assert "GOOGLE_APPLICATION_CREDENTIALS" in str(found)


def test_a_token_server_that_is_down_is_asked_again() -> None:
    exception = raised("RefreshError")
    exception.retryable = True  # type: ignore[attr-defined]  # as google-auth marks it
    assert type(failure_of_exception(exception)) is ServerError
