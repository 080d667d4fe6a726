"""The table of failures, without SDK and socket."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from understudy import Failure, Secret
from understudy.errors import (
    AuthenticationFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    ServerError,
    Timeout,
    UnsupportedRequest,
)
from understudy_cohere.failures import failure_of_finish_reason, failure_of_reply

TRIAL = "You are using a Trial key, which is limited to {}. You can continue to use the Trial key for free or upgrade"


def _body(message: str = "some words", **fields: str) -> dict[str, Any]:
    return {"id": "24e32f6d", "message": message, **fields}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, _body(TRIAL.format("40 API calls / minute")), RateLimited),
        (429, _body("You are past the per minute request limit, please wait and try again later."), RateLimited),
        (429, _body("trial token rate limit exceeded, limit is 100000 tokens per minute"), RateLimited),
        (429, _body("Please wait and try again later"), RateLimited),
        (429, "Too Many Requests", RateLimited),
        (429, _body(TRIAL.format("1000 API calls / month")), QuotaExhausted),
        (429, _body("You are past the per-month request limit for this model, please wait."), QuotaExhausted),
        (402, _body("Please add or update your payment method"), QuotaExhausted),
        (402, _body("Maximum billing reached. It will reset at the beginning of next month."), QuotaExhausted),
        (400, _body("too many tokens: size limit exceeded by 11326 tokens."), ContextTooLong),
        (400, _body("too many tokens: total number of tokens in the prompt cannot exceed 4081"), ContextTooLong),
        (400, _body("TOO_MANY_TOKENS"), ContextTooLong),
        (400, _body(error_type="TOO_MANY_TOKENS"), ContextTooLong),
        (400, _body("too many tokens: max tokens must be less than or equal to 4096"), UnsupportedRequest),
        (400, _body("tool_choice is not supported for this model"), UnsupportedRequest),
        (400, _body("invalid request: response_format is not supported with RAG."), UnsupportedRequest),
        (400, _body("blocked output: please adjust your prompt and try again"), ContentBlocked),
        (400, _body("system turn must be the first in the list"), RequestRefused),
        (400, _body("some words", error_type="OF_TOMORROW"), RequestRefused),
        (422, _body("unknown field: parameter 'x' is not a valid field"), RequestRefused),
        (422, _body("your request resulted in an invalid tool generation"), MalformedResponse),
        (422, _body(error_type="INVALID_TOOL_GENERATION"), MalformedResponse),
        (422, _body(error_type="NO_VALID_RESPONSE_GENERATED"), EmptyResponse),
        (422, _body("No valid response generated"), EmptyResponse),
        (413, "<html>too large</html>", ContextTooLong),
        (
            400,
            _body("too many tokens: max tokens must be less than or equal", error_type="TOO_MANY_TOKENS"),
            UnsupportedRequest,
        ),
        (400, _body("model 'command' is not supported by the chat API"), ModelNotFound),
        (400, _body("this model is not valid for chat completion!"), ModelNotFound),
        (400, _body("finetuned model with name xyz is not ready for serving"), ModelNotFound),
        (400, _body("no api key supplied"), AuthenticationFailed),
        (400, _body("tool call id not found in previous tool calls"), RequestRefused),
        (404, _body("model 'command' was removed on September 15, 2025."), ModelNotFound),
        (404, {"error": {"message": "no such model", "code": "MODEL"}}, ModelNotFound),
        (401, _body("invalid api token"), AuthenticationFailed),
        (401, _body("Incorrect API key provided: ***-123."), AuthenticationFailed),
        (401, _body("Your API key has expired. too many tokens"), AuthenticationFailed),
        (403, _body(), PermissionDenied),
        (404, _body("model 'xyz' not found, make sure the correct model ID was used"), ModelNotFound),
        (404, "404 page not found", ModelNotFound),
        (408, "", Timeout),
        (409, _body(), ServerError),
        (498, _body("blocked: the reply contains a deny-listed token"), ContentBlocked),
        (499, _body("request cancelled"), ServerError),
        (500, _body("not supported"), ServerError),
        (501, _body(), ServerError),
        (502, "<html>bad gateway</html>", ServerError),
        (503, "", Overloaded),
        (504, _body(), Timeout),
        (529, _body(), Overloaded),
        (200, _body("something broke"), ServerError),
        (200, _body("too many tokens"), ContextTooLong),
        (200, {"error": "too many tokens"}, ContextTooLong),
        (200, {"detail": {"message": "internal error", "type": "x"}}, ServerError),
        (500, {"error": [1], "message": None}, ServerError),
        (200, "<html>please log in</html>", MalformedResponse),
        (204, "", MalformedResponse),
        (500, ["a", "list"], ServerError),
        (500, {"message": {"of": "another kind"}}, ServerError),
        (500, None, ServerError),
    ],
)
def test_each_row_of_the_table(status: int, body: Any, kind: type[Failure]) -> None:
    failures = [failure_of_reply(status, {"Retry-After": "4"}, body)]
    if isinstance(body, dict):
        failures += [failure_of_reply(status, {"retry-after": "4"}, json.dumps(body).encode())]
    for failure in failures:
        assert type(failure) is kind
        assert (failure.provider, failure.status, failure.retry_after) == ("cohere", status, 4)
        assert failure.retryable is None
        assert failure.message


@pytest.mark.parametrize(
    ("finish_reason", "error", "kind"),
    [
        ("ERROR", None, ServerError),
        ("ERROR", "internal server error", ServerError),
        ("ERROR", "too many tokens: size limit exceeded", ContextTooLong),
        ("TIMEOUT", None, Timeout),
        ("TIMEOUT", "too many tokens", Timeout),
        ("ERROR_LIMIT", None, ContextTooLong),
        ("ERROR_TOXIC", None, ContentBlocked),
        ("USER_CANCEL", None, ServerError),
        ("SAFETY_FILTER", None, ContentBlocked),
        ("INTERNAL_ERROR", None, ServerError),
        ("ERROR_OF_TOMORROW", "too many tokens", ContextTooLong),
    ],
)
def test_finish_reasons_that_are_no_answer(finish_reason: str, error: str | None, kind: type[Failure]) -> None:
    failure = failure_of_finish_reason(finish_reason, error)
    assert type(failure) is kind
    assert (failure.status, failure.code) == (200, finish_reason)
    assert failure.message == (error or f"the model stopped by {finish_reason}")


@pytest.mark.parametrize("finish_reason", ["COMPLETE", "STOP_SEQUENCE", "MAX_TOKENS", "TOOL_CALL", "OF_TOMORROW"])
def test_other_finish_reasons_are_no_failure(finish_reason: str) -> None:
    assert failure_of_finish_reason(finish_reason, None) is None


def test_the_type_is_the_code_and_the_request_id_is_the_supports_before_the_replys() -> None:
    typed = failure_of_reply(422, {"X-Debug-Trace-Id": "f520"}, _body(error_type="INVALID_TOOL_GENERATION"))
    assert (typed.code, typed.request_id) == ("INVALID_TOOL_GENERATION", "f520")
    plain = failure_of_reply(401, {}, _body())
    assert (plain.code, plain.request_id) == (None, "24e32f6d")
    assert failure_of_reply(503, {}, "").request_id is None


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "7", "x-ratelimit-reset": "1786619825"}, 7),
        ({"x-ratelimit-reset": "1786619825", "date": "Thu, 13 Aug 2026 11:16:35 GMT"}, 30),
        ({"x-ratelimit-reset": "1786619700", "date": "Thu, 13 Aug 2026 11:16:35 GMT"}, None),
        ({"x-ratelimit-reset": "soon"}, None),
        ({"x-ratelimit-reset": "inf"}, None),
    ],
)
def test_hints(headers: dict[str, str], seconds: float | None) -> None:
    assert failure_of_reply(429, headers, _body()).retry_after == seconds


def test_a_point_in_time_is_measured_from_now_where_the_reply_has_no_date() -> None:
    hint = failure_of_reply(429, {"X-RateLimit-Reset": str(int(time.time()) + 30)}, _body()).retry_after
    assert hint is not None
    assert 25 < hint <= 30


def test_a_redirection_and_a_page_are_described() -> None:
    redirected = failure_of_reply(302, {"Location": "https://elsewhere.example"}, "")
    assert "https://elsewhere.example, which is not followed" in redirected.message
    page = failure_of_reply(502, {}, "<html>" + "x" * 1000)
    assert page.message.startswith("expected JSON, found: <html>xxx")
    assert len(page.message) < 250


def test_keys_are_masked_in_what_the_vendor_says() -> None:
    key = Secret("not-a-real-key-but-secret").reveal()
    failure = failure_of_reply(401, {}, _body(f"bad key {key}"))
    assert failure.message == "bad key ***"
    assert key not in repr(failure)
