"""The table of failures, without SDK and socket."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy import Failure, Secret
from understudy.errors import (
    AuthenticationFailed,
    ContentBlocked,
    ContextTooLong,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    RequestTooLarge,
    ServerError,
    Timeout,
    UnsupportedRequest,
)
from understudy_openai.failures import failure_of_reply

UNTOUCHED = {"x-ratelimit-limit-tokens": "400000", "x-ratelimit-remaining-tokens": "400000"}
USED = {"x-ratelimit-limit-tokens": "400000", "X-RateLimit-Remaining-Tokens": "100"}


def _body(type_: str | None, code: Any = None, message: str = "some words", param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def _failure(status: int, headers: dict[str, str], body: Any) -> Failure:
    return failure_of_reply("openai", status, headers, body)


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (429, {"retry-after": "20"}, _body("requests", "rate_limit_exceeded"), RateLimited),
        (429, {"retry-after": "1", "retry-after-ms": "0"}, _body("tokens", "rate_limit_exceeded"), RateLimited),
        (429, {}, _body("tokens", "rate_limit_exceeded"), RateLimited),
        (429, USED, _body("tokens", "rate_limit_exceeded"), RateLimited),
        (429, UNTOUCHED, _body("tokens", "rate_limit_exceeded"), RequestTooLarge),
        (429, {**UNTOUCHED, "retry-after": "60"}, _body("tokens", "rate_limit_exceeded"), RateLimited),
        (429, UNTOUCHED, _body("requests", "rate_limit_exceeded"), RateLimited),
        (429, {}, _body("tokens", "rate_limit_exceeded", "Request too large for gpt-x"), RequestTooLarge),
        (413, {}, _body("tokens", "rate_limit_exceeded", "Requested 9"), RequestTooLarge),  # Groq
        (429, {}, _body("requests", "slow_down"), RateLimited),
        (429, {}, "Too Many Requests", RateLimited),
        (429, {}, _body("insufficient_quota", "insufficient_quota"), QuotaExhausted),
        (429, {}, _body("insufficient_quota", "credit_balance_exhausted"), QuotaExhausted),
        (429, {}, _body("insufficient_quota", "a_code_of_tomorrow"), QuotaExhausted),
        (429, {}, _body("insufficient_quota", "rate_limit_exceeded"), QuotaExhausted),
        (429, {}, _body(None, "organization_spend_limit_exceeded"), QuotaExhausted),
        (429, {}, _body(None, "project_spend_limit_exceeded"), QuotaExhausted),
        (429, {}, _body(None, "organization_usage_limit_exceeded"), QuotaExhausted),
        (429, {}, _body("exceeded_current_quota_error"), QuotaExhausted),  # Moonshot
        (402, {}, _body("unknown_error", "invalid_request_error", "Insufficient Balance"), QuotaExhausted),  # DeepSeek
        (400, {}, _body("invalid_request_error", "context_length_exceeded"), ContextTooLong),
        (400, {}, _body("invalid_request_error", "string_above_max_length"), ContextTooLong),
        (400, {}, _body("exceed_context_size_error", 400), ContextTooLong),  # llama.cpp
        (400, {}, _body("BadRequestError", 400, "This model's maximum context length is 9 tokens."), ContextTooLong),
        (413, {}, "<html>too large</html>", ContextTooLong),
        (400, {}, _body("invalid_request_error", "content_policy_violation"), ContentBlocked),
        (400, {}, _body("invalid_request_error", "invalid_prompt"), ContentBlocked),
        (400, {}, _body(None, "content_filter"), ContentBlocked),  # Azure
        (400, {}, _body("invalid_request_error", "unsupported_value", param="temperature"), UnsupportedRequest),
        (400, {}, _body("invalid_request_error", "unsupported_parameter", param="max_tokens"), UnsupportedRequest),
        (400, {}, _body("invalid_request_error", None, "Unsupported parameter: 'temperature'"), UnsupportedRequest),
        (400, {}, _body("invalid_request_error", "invalid_value", param="messages"), RequestRefused),
        (400, {}, _body("invalid_request_error", "image_too_large"), UnsupportedRequest),
        (400, {}, _body("invalid_request_error", "model_decommissioned"), ModelNotFound),  # Groq
        (422, {}, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}, RequestRefused),
        (401, {}, _body("invalid_request_error", "invalid_api_key"), AuthenticationFailed),
        (401, {}, {"detail": "Unauthorized"}, AuthenticationFailed),
        (403, {}, _body("request_forbidden", "unsupported_country_region_territory"), PermissionDenied),
        (404, {}, _body("invalid_request_error", "model_not_found"), ModelNotFound),
        (404, {}, _body("invalid_request_error", None, "This is not a chat model", "model"), ModelNotFound),
        (404, {}, _body("invalid_request_error", None, "Item with id 'rs_1' not found", "input"), RequestRefused),
        (404, {}, _body(None, "DeploymentNotFound"), ModelNotFound),  # Azure
        (404, {}, {"error": "model 'llama9' not found"}, ModelNotFound),
        (408, {}, "stream timeout", Timeout),
        (504, {}, "upstream request timeout", Timeout),
        (409, {}, _body("invalid_request_error"), ServerError),
        (500, {}, _body("server_error", "server_error"), ServerError),
        (500, {}, {"error": {"message": "failed", "details": "more"}}, ServerError),  # Azure
        (500, {}, [_body("server_error")], ServerError),
        (500, {}, ["a", "list"], ServerError),
        (500, {}, None, ServerError),
        (502, {}, "<html>bad gateway</html>", ServerError),
        (503, {}, "upstream connect error", Overloaded),
        (503, {}, _body("service_unavailable_error", "server_is_overloaded"), Overloaded),
        (500, {}, _body("service_unavailable_error"), Overloaded),
        (529, {}, "", Overloaded),
        (200, {}, _body("server_error"), ServerError),
        (200, {}, _body(None, None), ServerError),
        (200, {}, {"error": "out of memory"}, ServerError),
        (200, {}, _body("tokens", "rate_limit_exceeded"), RateLimited),
        (200, {}, _body("rate_limited", "1300"), RateLimited),  # Mistral
        (200, {}, _body("invalid_request_error"), RequestRefused),
        (200, {}, {"type": "error", "code": "server_is_overloaded", "message": "busy"}, Overloaded),
        (200, {}, _body("", "bio_policy"), ContentBlocked),
        (200, {}, "<html>please log in</html>", MalformedResponse),
        (302, {"location": "https://elsewhere.example"}, "", MalformedResponse),
    ],
)
def test_each_row_of_the_table(status: int, headers: dict[str, str], body: Any, kind: type[Failure]) -> None:
    failures = [_failure(status, headers, body)]
    if isinstance(body, dict | list):
        failures += [_failure(status, headers, json.dumps(body).encode())]
    for failure in failures:
        assert type(failure) is kind
        assert (failure.provider, failure.status) == ("openai", status)
        assert failure.retry_after == (float(headers["retry-after"]) if "retry-after" in headers else None)
        assert failure.message


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "invalid_encrypted_content", "The encrypted content gAAA...Rg== could not be verified."),
        (400, None, "reasoning `encrypted_content` was not issued to this caller"),
        (400, None, "Item 'rs_1' of type 'reasoning' was provided without its required following item."),
        (400, None, "Item 'fc_1' of type 'function_call' was provided without its required 'reasoning' item: 'rs_1'."),
        (404, None, "Item with id 'rs_1' not found. Items are not persisted when `store` is set to false."),
    ],
)
def test_reasoning_that_cannot_be_used_is_left_out_in_another_attempt(
    status: int, code: str | None, message: str
) -> None:
    failure = _failure(status, {}, _body("invalid_request_error", code, message, "input"))
    assert (type(failure), failure.adaptation) == (UnsupportedRequest, "without reasoning items")
    other = _failure(400, {}, _body("invalid_request_error", "unsupported_parameter", "Unsupported parameter: 'x'"))
    assert (type(other), other.adaptation) == (UnsupportedRequest, None)


def test_the_larger_of_two_hints_counts() -> None:
    body = _body("requests", "rate_limit_exceeded")
    assert _failure(429, {"Retry-After": "1", "Retry-After-Ms": "2500"}, body).retry_after == 2.5
    assert _failure(429, {"Retry-After": "3", "Retry-After-Ms": "2500"}, body).retry_after == 3.0


@pytest.mark.parametrize(("code", "kind"), [(429, RateLimited), ("503", Overloaded), (404, ModelNotFound)])
def test_a_status_inside_a_reply_counts_where_the_wire_says_200(code: int | str, kind: type[Failure]) -> None:
    failure = _failure(200, {}, _body(None, code))  # OpenRouter and vLLM
    assert type(failure) is kind
    assert failure.status == int(code)


def test_a_vendor_that_forbids_another_try_is_heard() -> None:
    assert _failure(500, {"X-Should-Retry": "false"}, _body("server_error")).retryable is False
    assert _failure(500, {"x-should-retry": "true"}, _body("server_error")).retryable is None


@pytest.mark.parametrize(
    "header", ["x-request-id", "X-Request-Id", "request-id", "apim-request-id", "mistral-correlation-id"]
)
def test_the_code_and_the_request_id_are_found(header: str) -> None:
    failure = _failure(429, {header: "req_1"}, _body("tokens", "rate_limit_exceeded"))
    assert (failure.code, failure.request_id) == ("rate_limit_exceeded", "req_1")
    assert _failure(500, {}, _body("server_error")).code == "server_error"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (_body("x", message="told"), "told"),
        ({"error": "told"}, "told"),
        ({"message": "told", "type": "x"}, "told"),
        ({"detail": "told"}, "told"),
        ({"detail": [{"msg": "told"}]}, '[{"msg": "told"}]'),
        ([{"error": {"code": 400, "message": "told", "status": "INVALID_ARGUMENT"}}], "told"),
    ],
)
def test_every_shape_of_error_keeps_its_words(body: Any, message: str) -> None:
    assert _failure(400, {}, body).message == message


def test_a_redirection_and_a_page_are_described() -> None:
    redirected = _failure(302, {"location": "https://elsewhere.example"}, "")
    assert "https://elsewhere.example, which is not followed" in redirected.message
    page = _failure(502, {}, "<html>" + "x" * 1000)
    assert page.message.startswith("expected JSON, found: <html>xxx")
    assert len(page.message) < 250


def test_keys_are_masked_in_what_the_vendor_says() -> None:
    key = Secret("not-a-real-key-but-secret").reveal()
    failure = _failure(401, {}, _body("x", "invalid_api_key", f"bad key {key} or sk-proj-abcdefgh"))
    assert failure.message == "bad key *** or ***"
    assert key not in repr(failure)


FIELDS = [
    *("error", "errors", "message", "detail", "details", "code", "type", "param", "metadata", "raw", "headers"),
    *(
        "choices",
        "base_resp",
        "status_code",
        "innererror",
        "violations",
        "quotaId",
        "retryDelay",
        "retry_after",
        "reason",
    ),
    *("loc", "status", "object", "provider_specific_fields", "resets_at", "X-RateLimit-Remaining", "X-RateLimit-Reset"),
]
WORDS = [
    *("", "x", "429", "1113", "\u0663", "a.b.c", "{", '{"error": {"message": "y", "code": "z"}}', "extra_forbidden"),
    *("try again in 99999999999999999999s", "1893456000000", "Infinity", "(1 > 2 - 3)", "max_tokens: 1 > 2"),
]
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from([429, 400, *WORDS]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([200, 400, 403, 404, 422, 429, 500]), DOCUMENTS)
def test_whatever_a_vendor_sends_becomes_a_failure(status: int, document: Any) -> None:
    failure = _failure(status, {}, document)
    assert isinstance(failure, Failure)
    assert failure.message
    assert failure.retry_after is None or 0 <= failure.retry_after < float("inf")


def test_what_is_too_deep_to_be_shown_becomes_a_failure_all_the_same() -> None:
    deep: dict[str, Any] = {}
    inner = deep
    for _ in range(50_000):
        inner["error"] = inner = {}
    for body in (deep, [deep], {"message": deep}, {"detail": [deep]}, {"error": {"message": "x", "param": deep}}):
        assert _failure(400, {}, body).message
    while deep:  # taken apart from outside: Python 3.11 does it by recursion
        deep = deep["error"] if deep else {}


@pytest.mark.parametrize("unit", ["x.", "'", "[a", "{", "not support ", "tool_choice ", "1 ", "try again in 1 "])
def test_a_long_message_is_searched_only_at_its_beginning(unit: str) -> None:
    late = unit * 20_000 + "maximum context length"
    assert type(_failure(400, {}, _body("x", message=late))) is not ContextTooLong
    assert type(_failure(400, {}, _body("x", message=f"maximum context length: {unit * 20_000}"))) is ContextTooLong
