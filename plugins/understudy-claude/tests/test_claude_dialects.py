"""What hosts of Claude, gateways and compatible servers say of a failure, in each shape that was reported of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from understudy import Failure, errors
from understudy_claude.dialects import says_error
from understudy_claude.failures import failure_of_reply

ANTHROPIC = {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 > 8"}}
MOVED_IN = json.dumps(ANTHROPIC)


def _typed(kind: str, message: str = "some words", **more: Any) -> dict[str, Any]:
    return {"type": "error", "error": {"type": kind, "message": message, **more}}


def _amazon(name: str, message: str = "some words") -> tuple[dict[str, str], dict[str, str]]:
    return {"x-amzn-ErrorType": f"{name}:http://internal.amazon.com/coral/"}, {"message": message}


def _google(code: int, status: str, message: str = "some words", **more: Any) -> list[dict[str, Any]]:
    return [{"error": {"code": code, "message": message, "status": status, **more}}]


REPLIES: list[tuple[str, int, Mapping[str, str], Any, type[Failure]]] = [
    ("Bedrock: throttled", 429, *_amazon("ThrottlingException"), errors.RateLimited),
    ("Bedrock: a day's tokens", 429, *_amazon("ThrottlingException", "Too many tokens per day"), errors.QuotaExhausted),
    ("Bedrock: a quota, as 400", 400, *_amazon("ServiceQuotaExceededException"), errors.QuotaExhausted),
    ("Bedrock: no access", 403, *_amazon("AccessDeniedException"), errors.PermissionDenied),
    ("Bedrock: a key of nobody's", 403, *_amazon("UnrecognizedClientException"), errors.AuthenticationFailed),
    (
        "Bedrock: too long",
        400,
        *_amazon("ValidationException", "Input is too long for requested model."),
        errors.ContextTooLong,
    ),
    (
        "Bedrock: only by a profile",
        400,
        *_amazon("ValidationException", "Invocation of model ID x with on-demand throughput isn't supported."),
        errors.ModelNotFound,
    ),
    ("Bedrock: the vendor's own words", 400, *_amazon("ValidationException", MOVED_IN), errors.ContextTooLong),
    ("Bedrock: anything else", 400, *_amazon("ValidationException"), errors.RequestRefused),
    (
        "Bedrock: by __type",
        400,
        {},
        {"__type": "com.amazon.coral#ThrottlingException", "message": "x"},
        errors.RateLimited,
    ),
    ("Bedrock: inside a stream", 200, {}, {"throttlingException": {"message": "slow down"}}, errors.RateLimited),
    ("Bedrock: a request, inside a stream", 200, {}, {"validationException": {"message": "x"}}, errors.RequestRefused),
    ("Vertex: spent", 429, {}, _google(429, "RESOURCE_EXHAUSTED"), errors.RateLimited),
    ("Vertex: no such model", 404, {}, _google(404, "NOT_FOUND"), errors.ModelNotFound),
    (
        "Vertex: not enabled",
        400,
        {},
        _google(400, "FAILED_PRECONDITION", "Project `p` is not allowed to use Publisher Model `m`"),
        errors.PermissionDenied,
    ),
    (
        "Vertex: a wrong key, as 400",
        400,
        {},
        _google(400, "INVALID_ARGUMENT", "bad", details=[{"@type": "x"}, {"reason": "API_KEY_INVALID"}]),
        errors.AuthenticationFailed,
    ),
    ("Vertex: down", 503, {}, _google(503, "UNAVAILABLE"), errors.Overloaded),
    (
        "Foundry: no deployment",
        404,
        {},
        {"error": {"code": "DeploymentNotFound", "message": "x"}},
        errors.ModelNotFound,
    ),
    (
        "Foundry: filtered",
        400,
        {},
        {"error": {"code": "x", "message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}},
        errors.ContentBlocked,
    ),
    (
        "Foundry: a wrong key",
        401,
        {},
        {"error": {"code": "401", "message": "Access denied"}},
        errors.AuthenticationFailed,
    ),
    ("MiniMax: no balance, as 500", 500, {}, _typed("api_error", "insufficient balance (1008)"), errors.QuotaExhausted),
    ("MiniMax: no balance, by type", 402, {}, _typed("insufficient_balance_error"), errors.QuotaExhausted),
    (
        "MiniMax: no such call",
        400,
        {},
        _typed("bad_request_error", "invalid params, tool result's tool id not found (2013)", http_code="400"),
        errors.RequestRefused,
    ),
    (
        "MiniMax: base_resp",
        200,
        {},
        {"base_resp": {"status_code": 1027, "status_msg": "output new_sensitive"}},
        errors.ContentBlocked,
    ),
    ("MiniMax: the key", 200, {}, {"base_resp": {"status_code": 2049, "status_msg": "x"}}, errors.AuthenticationFailed),
    ("z.AI: no balance, by type", 429, {}, _typed("1113", "Insufficient balance."), errors.QuotaExhausted),
    (
        "z.AI: no balance, by its words",
        429,
        {},
        _typed("rate_limit_error", "[1113][Insufficient balance or no resource package.][2026]", code="1113"),
        errors.QuotaExhausted,
    ),
    ("z.AI: too many at once", 429, {}, {"error": {"code": "1302", "message": "x"}}, errors.RateLimited),
    ("z.AI: five hours are used up", 429, {}, {"error": {"code": "1308", "message": "x"}}, errors.QuotaExhausted),
    ("z.AI: too long", 400, {}, {"error": {"code": 1261, "message": "x"}}, errors.ContextTooLong),
    ("z.AI: unsafe", 400, {}, {"error": {"code": "1301", "message": "x"}}, errors.ContentBlocked),
    (
        "z.AI: a token of nobody's, as 200",
        200,
        {},
        {"code": 401, "msg": "x", "success": False},
        errors.AuthenticationFailed,
    ),
    (
        "Moonshot: spent",
        429,
        {},
        {"error": {"type": "exceeded_current_quota_error", "message": "x"}},
        errors.QuotaExhausted,
    ),
    (
        "Moonshot: busy, as 429",
        429,
        {},
        {"error": {"type": "engine_overloaded_error", "message": "x"}},
        errors.Overloaded,
    ),
    (
        "Moonshot: the plan's limit, as 403",
        403,
        {},
        _typed("permission_error", "You've reached your usage limit for this billing cycle."),
        errors.QuotaExhausted,
    ),
    (
        "Moonshot: too long",
        400,
        {},
        _typed("invalid_request_error", "Your request exceeded model token limit: 262144 (requested: 269030)"),
        errors.ContextTooLong,
    ),
    (
        "DeepSeek: OpenAI's form",
        400,
        {},
        {"error": {"message": "x", "type": "invalid_request_error", "param": None, "code": "invalid_request_error"}},
        errors.RequestRefused,
    ),
    (
        "vLLM: the old form",
        404,
        {},
        {"object": "error", "message": "x", "type": "NotFoundError", "code": 404},
        errors.ModelNotFound,
    ),
    (
        "vLLM: too long",
        400,
        {},
        _typed("BadRequestError", "This model's maximum context length is 512 tokens. However, you asked for more."),
        errors.ContextTooLong,
    ),
    ("Ollama: not pulled", 404, {}, _typed("not_found_error", "model 'x' not found"), errors.ModelNotFound),
    (
        "Ollama: no tools",
        400,
        {},
        _typed("invalid_request_error", "x does not support tools"),
        errors.UnsupportedRequest,
    ),
    (
        "LM Studio: a text",
        400,
        {},
        {"error": "The number of tokens to keep from the initial prompt is greater than the context length"},
        errors.ContextTooLong,
    ),
    ("LM Studio: nothing is loaded", 400, {}, {"error": "No models loaded. Please load one."}, errors.ModelNotFound),
    (
        "OpenRouter: credits",
        402,
        {},
        {"error": {"message": "Insufficient credits.", "code": 402}},
        errors.QuotaExhausted,
    ),
    (
        "OpenRouter: what its provider said",
        400,
        {},
        {"error": {"message": "Provider returned error", "code": 400, "metadata": {"raw": MOVED_IN}}},
        errors.ContextTooLong,
    ),
    ("OpenRouter: in a stream", 200, {}, {"error": {"message": "x", "code": 429}}, errors.RateLimited),
    ("a relay: the vendor's words within", 400, {}, _typed("<nil>", f"{MOVED_IN} (traceid: 1)"), errors.ContextTooLong),
    ("a relay: the vendor's refusal, as 500", 500, {}, _typed("api_error", MOVED_IN), errors.ContextTooLong),
    ("a relay: FastAPI", 422, {}, {"detail": [{"loc": ["body"], "msg": "Field required"}]}, errors.RequestRefused),
    ("a region", 403, {}, {"error": {"type": "forbidden", "message": "Request not allowed"}}, errors.PermissionDenied),
    (
        "long context without credits",
        429,
        {},
        _typed("rate_limit_error", "Extra usage is required for long context requests."),
        errors.RequestTooLarge,
    ),
    ("a beta header", 400, {}, _typed("invalid_request_error", "invalid beta flag"), errors.UnsupportedRequest),
    (
        "too large a picture",
        400,
        {},
        _typed("invalid_request_error", "image exceeds 5 MB maximum: 9 bytes > 8 bytes"),
        errors.UnsupportedRequest,
    ),
    (
        "too many pixels",
        400,
        {},
        _typed(
            "invalid_request_error",
            "At least one of the image dimensions exceed max allowed size for many-image requests: 2000 pixels",
        ),
        errors.UnsupportedRequest,
    ),
    (
        "a code",
        400,
        {},
        _typed("invalid_request_error", "x", details={"error_code": "cmek_key_disabled"}),
        errors.PermissionDenied,
    ),
]


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind"), [row[1:] for row in REPLIES], ids=[row[0] for row in REPLIES]
)
def test_each_shape_is_its_failure(status: int, headers: Mapping[str, str], body: Any, kind: type[Failure]) -> None:
    for sent in (body, json.dumps(body).encode()):
        failure = failure_of_reply(status, headers, sent)
        assert type(failure) is kind, failure
        assert failure.status == status
        assert "expected JSON" not in failure.message
    assert status != 200 or says_error(body)


@pytest.mark.parametrize(
    ("message", "adaptation"),
    [
        (
            "max_tokens: 128000 > 64000, which is the maximum allowed number of output tokens for claude-x",
            "within the model's limit of 64000 tokens",
        ),
        (
            "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
            "within the model's limit of 8192 tokens",
        ),
        (
            "The maximum tokens you requested exceeds the model limit of 4096. Try again with a maximum tokens value "
            "that is lower than 4096.",
            "within the model's limit of 4096 tokens",
        ),
        (
            "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease input length or "
            "`max_tokens` and try again",
            "within the 11760 tokens that the prompt leaves of the model's window",
        ),
        ("input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000", None),
        (
            "This model's maximum context length is 16384 tokens. However, you requested 17384 tokens (7384 in the "
            "messages, 10000 in the completion).",
            "within the 9000 tokens that the prompt leaves of the model's window",
        ),
    ],
)
def test_a_limit_that_is_named_can_be_kept(message: str, adaptation: str | None) -> None:
    failure = failure_of_reply(400, {}, _typed("invalid_request_error", message))
    of_model = adaptation is not None and "model's limit" in adaptation
    assert type(failure) is (errors.UnsupportedRequest if of_model else errors.ContextTooLong)
    assert failure.adaptation == adaptation


def test_when_to_come_back_is_read_from_the_words_and_from_the_limits() -> None:
    date = {"date": "Mon, 23 Mar 2026 23:00:00 GMT"}
    words = "You have reached your specified API usage limits. You will regain access on 2026-03-24 at 00:00 UTC."
    spent = failure_of_reply(400, date, _typed("invalid_request_error", words))
    assert (type(spent), spent.retry_after) == (errors.QuotaExhausted, 3600)
    odd = failure_of_reply(400, date, _typed("invalid_request_error", words.replace("03-24", "13-99")))
    assert (type(odd), odd.retry_after) == (errors.QuotaExhausted, None)
    limits = {
        "anthropic-ratelimit-requests-remaining": "3",
        "anthropic-ratelimit-requests-reset": "2026-03-24T09:00:00Z",
        "anthropic-ratelimit-input-tokens-remaining": "0",
        "anthropic-ratelimit-input-tokens-reset": "2026-03-23T23:00:20Z",
    }
    limited = failure_of_reply(429, {**date, **limits}, _typed("rate_limit_error"))
    assert (type(limited), limited.retry_after) == (errors.RateLimited, 20)


@pytest.mark.parametrize(
    "body",
    [
        *(
            None,
            7,
            "text",
            [],
            [7],
            {},
            {"error": {}},
            {"error": [1]},
            {"error": {"message": 7, "type": [], "code": {}}},
        ),
        *(
            {"error": {"details": 7, "innererror": [], "metadata": "x", "message": "{"}},
            {"detail": [7]},
            {"base_resp": 7},
        ),
    ],
)
def test_shapes_without_sense_are_what_their_status_says(body: Any) -> None:
    assert type(failure_of_reply(500, {}, body)) is errors.ServerError
    assert type(failure_of_reply(400, {}, body)) is errors.RequestRefused


def test_errors_within_errors_end_somewhere() -> None:
    body: Any = {"error": {"message": "the innermost"}}
    for _ in range(50):
        body = {"error": {"message": "outer", "metadata": {"raw": body}}}
    assert type(failure_of_reply(400, {}, body)) is errors.RequestRefused


@pytest.mark.parametrize(
    "document",
    [{"type": "message", "content": []}, {"type": "ping"}, {"content": "x", "message": "y"}, {}, [], "error", 7],
)
def test_what_is_no_error_is_none(document: Any) -> None:
    assert not says_error(document)
