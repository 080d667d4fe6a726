"""The table of failures, without SDK and socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from understudy import Failure, Secret
from understudy.errors import (
    AuthenticationFailed,
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
from understudy_claude.failures import (
    WITHOUT_FORCING,
    WITHOUT_SAMPLING,
    WITHOUT_SETTINGS,
    WITHOUT_THINKING,
    failure_of_reply,
)

NO_RETRY = {"x-should-retry": "false"}


def _body(type_: str, message: str = "some words", code: str | None = None) -> dict[str, Any]:
    details = {"error_code": code} if code else None
    return {"type": "error", "error": {"type": type_, "message": message, "details": details}, "request_id": "req_1"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"),
    [
        (429, {"retry-after": "47"}, _body("rate_limit_error"), RateLimited),
        (429, {"retry-after": "47", **NO_RETRY}, _body("rate_limit_error"), RateLimited),
        (429, {}, _body("rate_limit_error"), RateLimited),
        (429, NO_RETRY, _body("rate_limit_error"), RequestTooLarge),
        (429, {"X-Should-Retry": "false"}, _body("rate_limit_error"), RequestTooLarge),
        (429, {}, "Too Many Requests", RateLimited),
        (429, NO_RETRY, _body("rate_limit_error", code="enforced_spend_limit_reached"), QuotaExhausted),
        (429, {}, _body("rate_limit_error", code="contract_spend_limit_reached"), QuotaExhausted),
        (429, {"retry-after": "5"}, _body("rate_limit_error", code="ramp_limit_exceeded"), RateLimited),
        (402, {}, _body("billing_error"), QuotaExhausted),
        (402, {}, _body("billing_error", code="linked_organization_spend_limit_reached"), QuotaExhausted),
        (402, {}, _body("invalid_request_error"), QuotaExhausted),
        (400, {}, _body("invalid_request_error", "Your credit balance is too low to access it."), QuotaExhausted),
        (400, {}, _body("invalid_request_error", "You have reached your specified API usage limits."), QuotaExhausted),
        (400, {}, _body("invalid_request_error", code="organization_on_hold"), QuotaExhausted),
        (400, {}, _body("invalid_request_error", "This organization has been disabled."), PermissionDenied),
        (400, {}, _body("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), ContextTooLong),
        (400, {}, _body("invalid_request_error", "input length and `max_tokens` exceed context limit"), ContextTooLong),
        (400, {}, _body("invalid_request_error", code="image_dimensions_too_large"), UnsupportedRequest),
        (400, {}, _body("invalid_request_error", "messages: wrong"), RequestRefused),
        (400, {}, _body("a_type_of_tomorrow"), RequestRefused),
        (422, {}, _body("invalid_request_error"), RequestRefused),
        (413, {}, _body("request_too_large"), ContextTooLong),
        (413, {}, "<html>too large</html>", ContextTooLong),
        (401, NO_RETRY, _body("authentication_error"), AuthenticationFailed),
        (403, {}, _body("permission_error"), PermissionDenied),
        (404, {}, _body("not_found_error"), ModelNotFound),
        (408, {}, _body("timeout_error"), Timeout),
        (504, {}, _body("timeout_error"), Timeout),
        (409, {}, _body("conflict_error"), ServerError),
        (500, NO_RETRY, _body("api_error"), ServerError),
        (502, {}, "<html>bad gateway</html>", ServerError),
        (503, {}, "", Overloaded),
        (529, {}, _body("overloaded_error"), Overloaded),
        (500, {}, _body("overloaded_error"), Overloaded),
        (200, {}, _body("overloaded_error"), Overloaded),
        (200, {}, _body("api_error"), ServerError),
        (200, {}, _body("rate_limit_error"), RateLimited),
        (200, {}, _body("invalid_request_error"), RequestRefused),
        (200, {}, "<html>please log in</html>", MalformedResponse),
        (302, {"location": "https://elsewhere.example"}, "", MalformedResponse),
        (500, {}, ["a", "list"], ServerError),
        (500, {}, {"error": "a text"}, ServerError),
        (500, {}, None, ServerError),
    ],
)
def test_each_row_of_the_table(status: int, headers: dict[str, str], body: Any, kind: type[Failure]) -> None:
    failures = [failure_of_reply(status, headers, body)]
    if isinstance(body, dict):
        failures += [failure_of_reply(status, headers, json.dumps(body).encode())]
    for failure in failures:
        assert type(failure) is kind
        assert (failure.provider, failure.status) == ("claude", status)
        assert failure.retryable is (False if "false" in headers.values() else None)
        assert failure.retry_after == (float(headers["retry-after"]) if "retry-after" in headers else None)
        assert failure.message


@pytest.mark.parametrize(
    ("message", "adaptation"),
    [
        ("temperature: Extra inputs are not permitted", WITHOUT_SAMPLING),
        ("top_k: Extra inputs are not permitted", WITHOUT_SAMPLING),
        ("`top_p` is deprecated for this model.", WITHOUT_SAMPLING),
        ('tool_choice: type "tool" and "any" are not supported for this model.', WITHOUT_FORCING),
        ("tool_choice forces tool use is not compatible with this model", WITHOUT_FORCING),
        ("Thinking may not be enabled when tool_choice forces tool use.", WITHOUT_FORCING),
        (
            '"thinking.type.enabled" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.',
            WITHOUT_SETTINGS,
        ),
        (
            '"thinking.type.disabled" is not supported for this model. Thinking defaults to adaptive mode when not '
            'specified; use "thinking.type.enabled" with "budget_tokens" for extended thinking.',
            WITHOUT_SETTINGS,
        ),
        ('"thinking.type.between_tools" is not supported for this model.', WITHOUT_SETTINGS),
        ("adaptive thinking is not supported on this model", WITHOUT_SETTINGS),
        ("This model does not support the effort parameter.", WITHOUT_SETTINGS),
        (
            "output_config.effort 'xhigh' is not supported when thinking is disabled on this model. Use effort 'high' "
            "or below, or enable thinking.",
            WITHOUT_SETTINGS,
        ),
        (
            "messages.1.content.0: Invalid `signature` in `thinking` block. The block is bound to a different "
            "conversation. Remove the block, or set `thinking.block_binding.prefix_mismatch_behavior` to "
            '"drop_block".',
            WITHOUT_THINKING,
        ),
        (
            "messages.3.content.0: `thinking` or `redacted_thinking` blocks in the latest assistant message cannot be "
            "modified. These blocks must remain as they were in the original response.",
            WITHOUT_THINKING,
        ),
        (
            "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`.",
            WITHOUT_THINKING,
        ),
        ("This model does not support assistant message prefill.", None),
    ],
)
def test_what_a_model_refuses_may_go_without_it(message: str, adaptation: str | None) -> None:
    body = _body("invalid_request_error", message)
    for status in (400, 200):
        failure = failure_of_reply(status, NO_RETRY, body)
        assert (type(failure), failure.adaptation) == (UnsupportedRequest, adaptation)


@pytest.mark.parametrize("name", ["frequency_penalty", "messages.0.content.0.text.citations", "tools.0.custom.x"])
def test_other_fields_that_are_not_known_are_refused_without_a_remedy(name: str) -> None:
    failure = failure_of_reply(400, {}, _body("invalid_request_error", f"{name}: Extra inputs are not permitted"))
    assert (type(failure), failure.adaptation) == (RequestRefused, None)


def test_the_code_is_the_most_exact_name_and_the_request_id_is_found() -> None:
    coded = failure_of_reply(429, {"request-id": "req_h"}, _body("rate_limit_error", code="ramp_limit_exceeded"))
    assert (coded.code, coded.request_id) == ("ramp_limit_exceeded", "req_h")
    typed = failure_of_reply(529, {}, _body("overloaded_error"))
    assert (typed.code, typed.request_id) == ("overloaded_error", "req_1")


def test_a_redirection_and_a_page_are_described() -> None:
    redirected = failure_of_reply(302, {"location": "https://elsewhere.example"}, "")
    assert "https://elsewhere.example, which is not followed" in redirected.message
    page = failure_of_reply(502, {}, "<html>" + "x" * 1000)
    assert page.message.startswith("expected JSON, found: <html>xxx")
    assert len(page.message) < 250


def test_keys_are_masked_in_what_the_vendor_says() -> None:
    key = Secret("not-a-real-key-but-secret").reveal()
    failure = failure_of_reply(401, {}, _body("authentication_error", f"bad key {key} or sk-ant-api03-abcdefgh"))
    assert failure.message == "bad key *** or ***"
    assert key not in repr(failure)
