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
    ServerError,
    Timeout,
    UnknownFailure,
    UnsupportedRequest,
)
from understudy_gemini_legacy.failures import failure_of_exception, failure_of_reply

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
        (400, error(400, INVALID, "Function call is missing a thought_signature"), UnsupportedRequest, None),
        (400, error(400, INVALID), InvalidRequest, None),
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


def below(outer: BaseException, inner: BaseException) -> BaseException:
    """Make an exception as requests wraps those of urllib3: in its `except`, without a cause."""
    outer.__context__ = inner
    return outer


URLLIB3_TIMEOUT = type("TimeoutError", (Exception,), {})
REQUESTS_CONNECTION = type("ConnectionError", (OSError,), {})


@pytest.mark.parametrize(
    ("exception", "failure"),
    [
        (raised("ReadTimeoutError", URLLIB3_TIMEOUT), Timeout),
        (below(raised("ConnectionError", OSError), raised("ReadTimeoutError", URLLIB3_TIMEOUT)), Timeout),
        (raised("ConnectTimeout", REQUESTS_CONNECTION, type("Timeout", (OSError,), {})), Timeout),
        (TimeoutError(), Timeout),
        (raised("ConnectionError", OSError), ConnectionFailed),
        (below(raised("ConnectionError", OSError), raised("NewConnectionError", URLLIB3_TIMEOUT)), ConnectionFailed),
        (raised("NameResolutionError", type("NewConnectionError", (URLLIB3_TIMEOUT,), {})), ConnectionFailed),
        (raised("ProtocolError"), ConnectionFailed),
        (raised("IncompleteRead"), ConnectionFailed),
        (raised("SSLError"), ConnectionFailed),
        (raised("ProxyError"), ConnectionFailed),
        (raised("DecodeError"), MalformedResponse),
        (raised("LocationParseError", type("LocationValueError", (ValueError,), {})), ProviderUnavailable),
        (raised("InvalidURL", ValueError), ProviderUnavailable),
        (ImportError("No module named 'google'"), ProviderUnavailable),
        (TypeError("words"), InvalidRequest),
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
