"""The one table: what Anthropic's API and its SDK report, and which of our failures it is.

The most exact thing decides: the error's own code, then its type, then the HTTP status. The message decides only where
the API gives several failures one status, one type and no code; those few wordings stand in a table of their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from understudy import Failure
from understudy.classify import classify_status, parse_retry_after
from understudy.errors import (
    AuthenticationFailed,
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
from understudy_toolkit.bodies import describe, document_of, text_of

PROVIDER = "claude"

# How a request that was refused may be answered after all: see Failure.adaptation.
WITHOUT_FORCING = "without a tool that must be called"
WITHOUT_SAMPLING = "without temperature, top_p and top_k"
WITHOUT_SETTINGS = "without settings of thinking"
WITHOUT_THINKING = "without thinking blocks"

# error.details.error_code: a stable name for the cause (anthropic 2.14.0, _error_classes.py).
_OF_CODE: Mapping[str, type[Failure]] = {
    "enforced_spend_limit_reached": QuotaExhausted,
    "contract_spend_limit_reached": QuotaExhausted,
    "linked_organization_spend_limit_reached": QuotaExhausted,
    "linked_organization_billing_unavailable": QuotaExhausted,
    "organization_on_hold": QuotaExhausted,
    "ramp_limit_exceeded": RateLimited,
    "request_body_too_large_after_decoding": ContextTooLong,
    "image_dimensions_too_large": UnsupportedRequest,
}

# error.type, where it says more than the status does (anthropic 2.14.0, types/shared/error_type.py).
_OF_TYPE: Mapping[str, type[Failure]] = {
    "authentication_error": AuthenticationFailed,
    "billing_error": QuotaExhausted,
    "conflict_error": ServerError,
    "not_found_error": ModelNotFound,
    "overloaded_error": Overloaded,
    "permission_error": PermissionDenied,
    "rate_limit_error": RateLimited,
    "request_too_large": ContextTooLong,
    "timeout_error": Timeout,
}

# An error inside a stream comes with status 200, so there these types have to do; any other one is the server's.
_OF_TYPE_IN_STREAM: Mapping[str, type[Failure]] = {"invalid_request_error": RequestRefused}

# The last resort: recorded as status 400, type invalid_request_error, and nothing else to tell them by. What may help
# is beside it. Forced tools: anthropics/claude-cookbooks#854, browserbase/stagehand#2221. Thinking and its blocks:
# https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting and .../preserved-thinking. Effort:
# anthropics/claude-code#81084. Sampling: https://qiita.com/Synthorai/items/01a0067e88747257a4e6. Read 2026-11-30.
_OF_WORDS: tuple[tuple[str, type[Failure], str | None], ...] = (
    ("prompt is too long", ContextTooLong, None),
    ("exceed context limit", ContextTooLong, None),
    ("credit balance is too low", QuotaExhausted, None),
    ("specified api usage limits", QuotaExhausted, None),
    ("organization has been disabled", PermissionDenied, None),
    ("not support assistant message prefill", UnsupportedRequest, None),
    *(
        (wording.format(name), UnsupportedRequest, WITHOUT_SAMPLING)
        for name in ("temperature", "top_p", "top_k")
        for wording in ("{}: extra inputs are not permitted", "`{}` is deprecated for this model")
    ),
    ('type "tool" and "any" are not supported for this model', UnsupportedRequest, WITHOUT_FORCING),
    ("tool_choice forces tool use", UnsupportedRequest, WITHOUT_FORCING),
    ('" is not supported for this model. use "thinking.type.', UnsupportedRequest, WITHOUT_SETTINGS),
    ('"thinking.type.disabled" is not supported', UnsupportedRequest, WITHOUT_SETTINGS),
    ('"thinking.type.between_tools" is not supported', UnsupportedRequest, WITHOUT_SETTINGS),
    ("adaptive thinking is not supported on this model", UnsupportedRequest, WITHOUT_SETTINGS),
    ("is not supported when thinking is disabled", UnsupportedRequest, WITHOUT_SETTINGS),
    ("does not support the effort parameter", UnsupportedRequest, WITHOUT_SETTINGS),
    ("invalid `signature` in `thinking` block", UnsupportedRequest, WITHOUT_THINKING),
    ("bound to a different conversation", UnsupportedRequest, WITHOUT_THINKING),
    ("blocks in the latest assistant message cannot be modified", UnsupportedRequest, WITHOUT_THINKING),
    ("expected `thinking` or `redacted_thinking`, but found", UnsupportedRequest, WITHOUT_THINKING),
)


def failure_of_reply(status: int, headers: Mapping[str, str], body: Any) -> Failure:
    """Return the failure that a reply means.

    Args:
        status: the HTTP status; 200 for an error inside a stream.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
    """
    document = document_of(body)
    error = document.get("error") if isinstance(document, Mapping) else None
    error = error if isinstance(error, Mapping) else {}
    details = error.get("details")
    code = text_of(details.get("error_code") if isinstance(details, Mapping) else None)
    type_ = text_of(error.get("type"))
    message = text_of(error.get("message")) or describe(status, headers, body)
    lower = {name.lower(): value for name, value in headers.items()}
    retry_after = parse_retry_after(lower)
    final = lower.get("x-should-retry") == "false"
    kind, adaptation = _kind(status, code, type_, message)
    if kind is RateLimited and final and retry_after is None:
        kind = RequestTooLarge  # the API names no time to wait and forbids another try: this request can never fit
    return kind(
        message,
        provider=PROVIDER,
        status=status,
        code=code or type_,
        request_id=lower.get("request-id") or text_of(document.get("request_id") if error else None),
        retry_after=retry_after,
        retryable=False if final else None,
        adaptation=adaptation,
    )


def _kind(status: int, code: str | None, type_: str | None, message: str) -> tuple[type[Failure], str | None]:
    kind = _OF_CODE.get(code or "") or _OF_TYPE.get(type_ or "")
    if kind is None:
        kind = classify_status(status)
        if status == 200 and type_ is not None:
            kind = _OF_TYPE_IN_STREAM.get(type_, ServerError)
    if kind is RequestRefused:
        words = message.lower()
        return next(((meant, helps) for said, meant, helps in _OF_WORDS if said in words), (kind, None))
    return kind, None
