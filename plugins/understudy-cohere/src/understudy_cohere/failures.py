"""The one table: what Cohere's API and its SDK report, and which of our failures it is.

The HTTP status decides, or the error's own type in the few replies that have one. If the API gives several failures
one status and nothing else to distinguish them, the message decides; those few wordings are in tables of their own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from understudy import Failure
from understudy.classify import classify_status, parse_retry_after
from understudy.errors import (
    AuthenticationFailed,
    ContentBlocked,
    ContextTooLong,
    EmptyResponse,
    MalformedResponse,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    ServerError,
    Timeout,
    UnsupportedRequest,
)
from understudy_cohere.refusals import remedy
from understudy_toolkit.bodies import describe, document_of, text_of
from understudy_toolkit.waits import told_wait

PROVIDER = "cohere"

# error_type: few replies have one, status 422 above all. Both are the model's fault and not the request's.
_OF_TYPE: Mapping[str, type[Failure]] = {
    "INVALID_TOOL_GENERATION": MalformedResponse,
    "NO_VALID_RESPONSE_GENERATED": EmptyResponse,
    "TOO_MANY_TOKENS": ContextTooLong,
}

# Where the API means something else by a status than others do: "a request or response contains a deny-listed token".
_OF_STATUS: Mapping[int, type[Failure]] = {498: ContentBlocked}

# The last resort, and the first that fits: the API has one status for all of these. The wordings are those of Cohere's
# errors page, read 2026-11-30, and of replies in public bug reports: a model that is gone, pydantic/pydantic-ai#3201;
# one that does not chat, Mintplex-Labs/anything-llm#4485.
_OF_WORDS: tuple[tuple[re.Pattern[str], type[Failure]], ...] = (
    (re.compile(r"max[ _]tokens must be less than"), UnsupportedRequest),
    (re.compile(r"\bmodel\b.*(?:was removed|not found|not valid for|not ready for|not supported by)"), ModelNotFound),
    (re.compile(r"(?:invalid|incorrect|no|expired) api (?:token|key)|api key has expired"), AuthenticationFailed),
    (re.compile(r"too[ _]many[ _]tokens"), ContextTooLong),
    (re.compile(r"invalid tool generation"), MalformedResponse),
    (re.compile(r"no valid response"), EmptyResponse),
    (re.compile(r"blocked (?:in|out)put"), ContentBlocked),
    (re.compile(r"\bnot support(?:ed)?\b"), UnsupportedRequest),
)
# Status 429 is a limit of some minutes, but for "1000 API calls / month" and "the per-month request limit".
_MENDABLE = (RequestRefused, UnsupportedRequest)
_OF_A_MONTH = re.compile(r"(?:/ ?|per[ -])month")

# The finish reasons that are not answers. The last three are of API v1, and of v2's own predecessors; others of their
# kind are told by a word in them.
_OF_FINISH_REASON: Mapping[str, type[Failure]] = {
    "ERROR": ServerError,
    "TIMEOUT": Timeout,
    "ERROR_LIMIT": ContextTooLong,
    "ERROR_TOXIC": ContentBlocked,
    "USER_CANCEL": ServerError,
}
_BLOCKED = re.compile(r"TOXIC|BLOCK|FILTER|SAFETY|SENSITIVE|POLICY")
_FAULT = re.compile(r"^ERROR|_ERROR$|ABORT|CANCEL|OVERLOAD|UNAVAILABLE|TIMEOUT")


def failure_of_reply(
    status: int, headers: Mapping[str, str], body: Any, *, sent: Mapping[str, Any] | None = None
) -> Failure:
    """Return the failure that a reply means.

    Args:
        status: the HTTP status; 200 for an error inside a stream.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
        sent: the request's JSON, as it was sent, where it may be sent in another way.
    """
    document = document_of(body)
    error = error_in(document) or {}
    status = _own_status(error) or status if status == 200 else status
    code, told = text_of(error.get("error_type")), text_of(error.get("message"))
    message = told or describe(status, headers, body)
    kind = _OF_TYPE.get(code or "") or _of_status(status, told or "")
    if kind is ContextTooLong and told:
        kind = _of_words(told) or kind  # a limit that is too high has the same type
    mended = remedy(told, sent) if sent is not None and told and kind in _MENDABLE else None
    return kind(
        message,
        provider=PROVIDER,
        status=status,
        code=code,
        request_id=request_id_of(headers, error),
        retry_after=_retry_after(headers) or told_wait(kind, headers, document, message),
        adaptation=mended,
    )


def error_in(document: Any) -> Mapping[str, Any] | None:
    """Return the error that a reply's JSON is, or that stands in it; None where there is none.

    The API's own has its words in `message`, where an answer has an object; servers in between have theirs in `error`
    or `detail`, as a string or an object.
    """
    if isinstance(document, list) and document:
        document = document[0]  # Google's, in front of a hosted model
    if not isinstance(document, Mapping):
        return None
    for name in ("error", "detail"):
        inner = document.get(name)
        if isinstance(inner, Mapping) and inner:
            return {**document, "error_type": inner.get("type") or inner.get("code"), **inner}
        if isinstance(inner, str) and inner and "finish_reason" not in document:
            return {"message": inner, **document}
    return None if isinstance(document.get("message"), Mapping) else document


def failure_of_finish_reason(finish_reason: str, error: Any) -> Failure | None:
    """Return the failure that a finish reason means; None where it ends an answer.

    Args:
        finish_reason: as the API words it.
        error: the API's own words about it, where it has any.
    """
    kind = _OF_FINISH_REASON.get(finish_reason)
    if kind is None and _BLOCKED.search(finish_reason.upper()):
        kind = ContentBlocked
    elif kind is None and _FAULT.search(finish_reason.upper()):
        kind = ServerError
    if kind is None:
        return None
    told = text_of(error)
    if kind is ServerError and told:
        kind = _of_words(told) or kind
    return kind(told or f"the model stopped by {finish_reason}", provider=PROVIDER, status=200, code=finish_reason)


def request_id_of(headers: Mapping[str, str], body: Mapping[str, Any]) -> str | None:
    """Return the API's id of a request: the one for its support, else the one in the reply."""
    return text_of(_lower(headers).get("x-debug-trace-id")) or text_of(body.get("id"))


def _of_status(status: int, told: str) -> type[Failure]:
    kind = _OF_STATUS.get(status) or classify_status(status)
    if kind is RateLimited and _OF_A_MONTH.search(told.lower()):
        return QuotaExhausted
    if kind is RequestRefused:
        return _of_words(told) or kind
    if status == 200 and told:  # an error inside a stream
        return _of_words(told) or ServerError
    return kind


def _own_status(error: Mapping[str, Any]) -> int | None:
    """Return the status that an error inside a reply with status 200 names itself."""
    for name in ("code", "status", "status_code"):
        told = error.get(name)
        if isinstance(told, int) and 400 <= told <= 599:
            return told
    return None


def _of_words(told: str) -> type[Failure] | None:
    words = told.lower()
    return next((kind for wording, kind in _OF_WORDS if wording.search(words)), None)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the hint of the headers, x-ratelimit-reset last: a point in time, which the SDK goes by as well."""
    hint = parse_retry_after(headers)
    if hint is not None:
        return hint
    lower = _lower(headers)
    try:
        reset = float(lower.get("x-ratelimit-reset") or "")
    except ValueError:
        return None
    try:
        now = parsedate_to_datetime(lower.get("date") or "").timestamp()  # the vendor's clock, not ours
    except (ValueError, TypeError):
        now = time.time()
    return reset - now if 0 < reset - now < float("inf") else None


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
