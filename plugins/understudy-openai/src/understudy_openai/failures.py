"""The one table: what OpenAI's API, its SDK and compatible servers report, and which of our failures it is.

The most exact thing decides: the error's own type where it is about the account, then its code, its type, and the HTTP
status. The message decides only where nothing else tells failures apart; those few wordings stand in a table of their
own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from understudy import Failure
from understudy.classify import classify_status, parse_retry_after
from understudy.errors import (
    AuthenticationFailed,
    ContentBlocked,
    ContextTooLong,
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
from understudy_toolkit.bodies import describe, document_of

# The adaptation of a request whose reasoning items were refused: they belong to one organization, and to one answer.
WITHOUT_REASONING = "without reasoning items"

# error.code: OpenAI's page of error codes, and openai 3.54.0, types/responses/response_error.py; others are named.
_OF_CODE: Mapping[str, type[Failure]] = {
    "account_deactivated": PermissionDenied,
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "bio_policy": ContentBlocked,
    "content_filter": ContentBlocked,  # Azure
    "content_policy_violation": ContentBlocked,
    "context_length_exceeded": ContextTooLong,
    "credit_balance_exhausted": QuotaExhausted,
    "data_residency_mismatch": PermissionDenied,
    "DeploymentNotFound": ModelNotFound,  # Azure
    "empty_image_file": RequestRefused,
    "failed_to_download_image": UnsupportedRequest,
    "image_content_policy_violation": ContentBlocked,
    "image_file_not_found": RequestRefused,
    "image_file_too_large": UnsupportedRequest,
    "image_parse_error": RequestRefused,
    "image_too_large": UnsupportedRequest,
    "image_too_small": UnsupportedRequest,
    "insufficient_quota": QuotaExhausted,
    "invalid_api_key": AuthenticationFailed,
    "invalid_base64_image": RequestRefused,
    "invalid_encrypted_content": UnsupportedRequest,  # openai/codex#13724: of another organization
    "invalid_image": RequestRefused,
    "invalid_image_format": UnsupportedRequest,
    "invalid_image_mode": UnsupportedRequest,
    "invalid_image_url": RequestRefused,
    "invalid_prompt": ContentBlocked,  # "flagged as potentially violating our usage policy"
    "misalignment_policy_violation": ContentBlocked,
    "model_decommissioned": ModelNotFound,  # Groq, with status 400
    "model_not_found": ModelNotFound,
    "organization_spend_limit_exceeded": QuotaExhausted,
    "organization_usage_limit_exceeded": QuotaExhausted,
    "project_spend_limit_exceeded": QuotaExhausted,
    "rate_limit_exceeded": RateLimited,
    "server_error": ServerError,
    "server_is_overloaded": Overloaded,
    "slow_down": RateLimited,
    "string_above_max_length": ContextTooLong,
    "timeout": Timeout,
    "unsupported_country_region_territory": PermissionDenied,
    "unsupported_image_media_type": UnsupportedRequest,
    "unsupported_parameter": UnsupportedRequest,  # this model takes it not; another may
    "unsupported_value": UnsupportedRequest,
    "vector_store_timeout": Timeout,
}

# error.type, where it says more than the status does.
_OF_TYPE: Mapping[str, type[Failure]] = {
    "authentication_error": AuthenticationFailed,
    "exceed_context_size_error": ContextTooLong,  # llama.cpp
    "exceeded_current_quota_error": QuotaExhausted,  # Moonshot
    "insufficient_quota": QuotaExhausted,
    "overloaded_error": Overloaded,
    "permission_error": PermissionDenied,
    "rate_limit_error": RateLimited,
    "server_error": ServerError,
    "service_unavailable_error": Overloaded,
    "timeout_error": Timeout,
}

# An error inside a stream comes with status 200, so there these types have to do; any other one is the server's.
_OF_TYPE_IN_STREAM: Mapping[str, type[Failure]] = {
    "invalid_request_error": RequestRefused,
    "rate_limited": RateLimited,
    "requests": RateLimited,
    "tokens": RateLimited,
}

# What is said of reasoning items that cannot be used, without a code where other servers or the pairing refuse them:
# anomalyco/opencode#48773, and replies in public reports, read 2026-11-30.
_UNUSABLE_REASONING = (
    "encrypted content",
    "`encrypted_content`",
    "of type 'reasoning' was provided without",
    "without its required 'reasoning' item",
    "items are not persisted when",
)
# The last resort: compatible servers that give these a status of 400 or 429 and nothing else to tell them by.
_OF_WORDS: Mapping[type[Failure], tuple[tuple[str, type[Failure]], ...]] = {
    RequestRefused: (
        ("maximum context length", ContextTooLong),
        ("context window", ContextTooLong),
        ("prompt is too long", ContextTooLong),
        ("prompt too long", ContextTooLong),
        ("unsupported parameter", UnsupportedRequest),  # the Responses API sends no code with it for temperature
        *((words, UnsupportedRequest) for words in _UNUSABLE_REASONING),
    ),
    RateLimited: (("request too large", RequestTooLarge),),
}

_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id", "mistral-correlation-id")


def failure_of_reply(provider: str, status: int, headers: Mapping[str, str], body: Any) -> Failure:
    """Return the failure that a reply means.

    Args:
        provider: the provider's name.
        status: the HTTP status; 200 for an error inside a stream, or in place of an answer.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
    """
    error = error_in(document_of(body)) or {}
    code, type_ = _text(error.get("code")), _text(error.get("type"))
    message = _message(error) or describe(status, headers, body)
    lower = {name.lower(): value for name, value in headers.items()}
    retry_after = parse_retry_after(lower)
    if status == 200:
        status = numeric_status(error) or status
    kind = _kind(status, error, message)
    if kind is RateLimited and (status == 413 or (type_ == "tokens" and _is_full(lower))):
        kind = RequestTooLarge  # refused although nothing of the quota is used: it can never fit
    return kind(
        message,
        provider=provider,
        status=status,
        code=code or type_,
        request_id=request_id_of(lower),
        retry_after=retry_after,
        retryable=False if lower.get("x-should-retry") == "false" else None,
        adaptation=WITHOUT_REASONING if kind is UnsupportedRequest and _is_about_reasoning(code, message) else None,
    )


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the vendor's id of the request, from the headers that OpenAI, Azure and Mistral give it in."""
    return next((headers[name] for name in _REQUEST_IDS if headers.get(name)), None)


def error_in(document: Any) -> Mapping[str, Any] | None:
    """Return the error that a parsed body holds, in OpenAI's shape or one of the others that are about; None if none.

    The others: [{"error": {...}}] (Gemini), {"error": "text"} (Ollama, TGI), {"detail": ...} (FastAPI), and the fields
    of the error at the top, {"message": ...} (Mistral, vLLM, an error event of the Responses API).
    """
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, Mapping):
        return None
    error = document.get("error")
    if isinstance(error, Mapping):
        return error
    if isinstance(error, str) and error:
        return {**document, "message": error}
    if "message" in document or "detail" in document:
        return document
    return None


def numeric_status(error: Mapping[str, Any]) -> int | None:
    """Return the HTTP status that some servers put into an error's code or status, for want of one on the wire."""
    for name in ("code", "status", "status_code"):
        value = error.get(name)
        if isinstance(value, str) and value.isdecimal():
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return None


def _kind(status: int, error: Mapping[str, Any], message: str) -> type[Failure]:
    code, type_ = _text(error.get("code")) or "", _text(error.get("type")) or ""
    if type_ == "insufficient_quota":
        return QuotaExhausted  # with any of several codes
    kind = _OF_CODE.get(code) or _OF_TYPE.get(type_)
    if kind is None:
        kind = classify_status(status)
        if status == 200 and error:
            kind = _OF_TYPE_IN_STREAM.get(type_, ServerError)
        elif status == 404 and error.get("param") not in (None, "model"):
            kind = RequestRefused  # something that the request names is not there, and it is not the model
    words = message.lower()
    return next((meant for said, meant in _OF_WORDS.get(kind, ()) if said in words), kind)


def _is_about_reasoning(code: str | None, message: str) -> bool:
    words = message.lower()
    return code == "invalid_encrypted_content" or any(told in words for told in _UNUSABLE_REASONING)


def _is_full(headers: Mapping[str, str]) -> bool:
    limit = headers.get("x-ratelimit-limit-tokens")
    untouched = limit is not None and headers.get("x-ratelimit-remaining-tokens") == limit
    return untouched and "retry-after" not in headers


def _text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) and value else None


def _message(error: Mapping[str, Any]) -> str | None:
    told = error.get("message") or error.get("detail")
    if told is None or isinstance(told, str):
        return told or None
    return json.dumps(told)[:500]  # FastAPI lists what was wrong with each field
