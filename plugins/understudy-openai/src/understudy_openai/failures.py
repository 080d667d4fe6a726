"""What OpenAI's API, its SDK and compatible servers report, and which of our failures it is.

The most specific thing decides: the error's own type where it is about the account, then its code, its type, and the
HTTP status. The message decides only where nothing else tells failures apart. The tables are in refusals.py and
sentences.py; how a request can be changed is in remedies.py.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from understudy import Failure
from understudy.classify import classify_status, parse_retry_after, read_reset
from understudy.errors import (
    ContentBlocked,
    ContextTooLong,
    ModelNotFound,
    QuotaExhausted,
    QuotaFailure,
    RateLimited,
    RequestRefused,
    RequestTooLarge,
    ServerError,
    TransientFailure,
    UnsupportedRequest,
)
from understudy_openai.refusals import OF_CODE, OF_NAME_IN_200, OF_NUMBER, OF_TYPE
from understudy_openai.remedies import LONGEST, WITHOUT_REASONING, adaptation_of, room_left, told_limit
from understudy_openai.sentences import OF_WORDS, UNUSABLE_REASONING
from understudy_toolkit.bodies import describe, document_of, text_of

__all__ = [
    "WITHOUT_REASONING",
    "adaptation_of",
    "error_in",
    "failure_of_reply",
    "numeric_status",
    "request_id_of",
    "told_limit",
]

_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id", "mistral-correlation-id")
_STATUSES = ("code", "status", "status_code", "http_code", "statusCode", "http_status_code")
# Where servers put their words: OpenAI, FastAPI, SiliconFlow and MindIE, Baidu, OAuth, NVIDIA, gateways.
_WORDS = (
    *("message", "detail", "msg", "error_msg", "error_description", "error_message", "errorMessage", "err_msg"),
    *("title", "fault", "faultstring"),
)
# What an answer has, or an event of one, and no error: what words stand beside these is no error's.
_OF_AN_ANSWER = ("output", "usage", "delta", "response", "item", "part", "logprobs")
# Types of errors that the places they stand in stand for, for want of one: Cloudflare and MiniMax.
_OF_PLACES = ("errors", "base_resp")
_NESTED = 3  # errors within an error: a gateway's, its provider's, and one more

# Fields that say when to come back: gateways, OpenRouter, Hugging Face while a model is loaded.
_HINTS = (*("retry_after", "retry_after_seconds", "retryAfter", "resets_in_seconds", "resets_at", "estimated_time"),)
# "Please try again in 6m30.5s" (OpenAI, Groq), "Please retry after 34 seconds" (Azure), "Please retry in 37.5s"
# (Google), "Please wait 120 seconds before retrying" (GitHub Models), "Try again in 5 seconds" (LiteLLM). Public
# reports, read 2026-11-30.
_COME_BACK = re.compile(
    r"(?:try again|retry|retrying|wait)\b[\s:]*(?:in|after|for|about|at least)?[\s:]*"
    r"((?:\d+(?:\.\d+)?\s*(?:milliseconds?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)\b\s*"
    r"|\d+(?:\.\d+)?(?:h|m(?=\d)))+)",
    re.IGNORECASE,
)
# Azure's API management, which counts in days, hours, minutes and seconds: goferito/node-bing-api#34, read 2026-12-01.
_REPLENISHED = re.compile(r"quota will be replenished in (?:(\d+)\.)?(\d+):(\d+):(\d+)", re.IGNORECASE)
_UNIT = re.compile(r"(ms|milli|[smhd])[a-z]*\s*", re.IGNORECASE)


def failure_of_reply(
    provider: str, status: int, headers: Mapping[str, str], body: Any, *, known: Collection[str] = ()
) -> Failure:
    """Return the failure that a reply means.

    Args:
        provider: the provider's name.
        status: the HTTP status; 200 for an error inside a stream, or in place of an answer.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
        known: the adaptations that the request had already; none of them is asked for again.
    """
    document = document_of(body)
    error = error_in(document) or {}
    code, type_ = _text(error.get("code")), _text(error.get("type"))
    lower = {name.lower(): value for name, value in headers.items()}
    if "x-ms-retry-after-ms" in lower:  # Azure
        lower.setdefault("retry-after-ms", lower["x-ms-retry-after-ms"])
    if status == 200:
        status = numeric_status(error) or status
    named = code or (type_ if type_ != "error" else None)
    message = _message(error) or (f"no words, but {named}" if named else "")
    message = message or describe(status, headers, body)
    kind, adaptation = _kind_and_remedy(status, error, message, known)
    if kind is RateLimited and (status == 413 or (type_ == "tokens" and _is_full(lower))):
        kind = RequestTooLarge  # refused although nothing of the quota is used: it can never fit
    return kind(
        message,
        provider=provider,
        status=status,
        code=code or type_,
        request_id=request_id_of(lower) or _request_id_in(document),
        retry_after=_retry_after(lower, error, message, kind),
        retryable=False if lower.get("x-should-retry") == "false" else None,
        adaptation=adaptation,
    )


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """Return the vendor's id of the request, from the headers that OpenAI, Azure and Mistral give it in."""
    return next((headers[name] for name in _REQUEST_IDS if headers.get(name)), None)


def numeric_status(error: Mapping[str, Any]) -> int | None:
    """Return the HTTP status that some servers put into an error's code or status, for want of one on the wire."""
    for name in _STATUSES:
        value = error.get(name)
        if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and 400 <= value <= 599:
            return value
    return None


# ---- the error in a body ----


def error_in(document: Any) -> Mapping[str, Any] | None:
    """Return the error that a parsed body holds, in OpenAI's shape or one of the others that are about; None if none.

    The others: [{"error": {...}}] (Gemini), {"error": "text"} (Ollama, TGI, LM Studio, xAI beside a code), {"detail":
    ...} (FastAPI), {"errors": [...]} (Cloudflare), {"base_resp": {...}} (MiniMax), a choice's own (OpenRouter), and
    the fields of the error at the top, {"message": ...} (Mistral, vLLM, DashScope, an event of the Responses API). Its
    message, code, type and param are those of the error that it wraps, where it wraps one (OpenRouter, LiteLLM).
    """
    if isinstance(document, list):
        return next((error for item in document if isinstance(item, Mapping) and (error := error_in(item))), None)
    told = _told(document) if isinstance(document, Mapping) else None
    return None if told is None else _unwrapped(told, _NESTED)


def _told(document: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the outermost error of a document."""
    error = _first(document.get("error")) or _mapping(document.get("x_groq")).get("error")
    answered = bool(document.get("choices"))
    if isinstance(error, Mapping) and (any(error.values()) or not answered):  # some say that there is none by blanks
        return error
    if isinstance(error, str) and error.strip():
        words = next((document[name] for name in _WORDS if text_of(document.get(name))), error)
        named = " " not in error and not document.get("code")
        return {**document, "code": error, "message": words} if named else {**document, "message": error}
    base = document.get("base_resp")
    if isinstance(base, Mapping) and base.get("status_code") not in (None, 0):
        return {"message": base.get("status_msg"), "code": base["status_code"], "type": "base_resp"}
    if answered:
        choices = document["choices"]
        found = [one.get("error") for one in choices if isinstance(one, Mapping)] if isinstance(choices, list) else []
        told = (_told({"error": inner, "choices": True}) for inner in found if isinstance(inner, Mapping | str))
        return next(filter(None, told), None)
    listed = _first(document.get("errors"))
    if listed and isinstance(listed, Mapping | str):
        return {"type": "errors", **(listed if isinstance(listed, Mapping) else {"message": listed})}
    if document.get("success") is True or document.get("code") in (0, 200, "0", "200", "success"):
        return None
    if "error" in (document.get("object"), document.get("type"), document.get("status")):
        return document
    is_answer = any(document.get(name) for name in _OF_AN_ANSWER)
    return document if not is_answer and any(_words(document.get(name)) for name in _WORDS) else None


def _first(value: Any) -> Any:
    return next(filter(None, value), None) if isinstance(value, list) else value


def _unwrapped(error: Mapping[str, Any], depth: int) -> Mapping[str, Any]:
    """Return an error with the words and names of the one that it wraps."""
    own = _message(error)
    start, inner = _wrapped(error, own or "")
    if inner is None or not depth:
        return error if own is None or own == error.get("message") else {**error, "message": own}
    inner = _unwrapped(inner, depth - 1)
    words = _message(inner) or ""
    own = own[:start].rstrip(" :-") if own and start is not None else own
    said = own if own and words in own else ": ".join(part for part in (own, words) if part)
    names = {name: inner[name] for name in ("code", "type", "param", "detail", "details") if _is_name(inner.get(name))}
    return {**error, "status_code": numeric_status(error) or numeric_status(inner), **names, "message": said or None}


def _wrapped(error: Mapping[str, Any], message: str) -> tuple[int | None, Mapping[str, Any] | None]:
    """Return the error that an error wraps, and where in its message it begins, if it is there."""
    details = _mapping(error.get("details"))
    held = details.get("response") or details.get("error")
    places = (_mapping(error.get("metadata")).get("raw"), held, error.get("external_model_message"))  # Databricks
    for place in (*places, _mapping(error.get("message")), error.get("param")):
        if isinstance(place, str) and place.lstrip().startswith(("{", "[")):
            place = document_of(place)
        elif isinstance(place, str) and place is not error.get("param") and place.strip():
            return None, {"message": place}
        if isinstance(place, list):
            place = _first(place)
        if isinstance(place, Mapping) and (inner := _told(place)) is not None:
            return None, inner
    start = message.find("{")
    inner = _told_at(message[start:], certain=start == 0) if start >= 0 else None
    return (None, None) if inner is None else (start, inner)


def _told_at(text: str, *, certain: bool) -> Mapping[str, Any] | None:
    """Return the error in the JSON that a text begins with: gateways such as LiteLLM put the reply into their words."""
    try:
        document, _ = json.JSONDecoder().raw_decode(text)
    except (ValueError, RecursionError):
        return None
    return _told(document) if isinstance(document, Mapping) and (certain or "error" in document) else None


def _is_name(value: Any) -> bool:
    """Return whether an inner error's field says more than its status: no number, and not null."""
    return (
        bool(value)
        and not isinstance(value, int)
        and not (isinstance(value, str) and value.isdecimal() and len(value) == 3)
    )


def _message(error: Mapping[str, Any]) -> str | None:
    told = next((words for name in _WORDS if (words := _words(error.get(name)))), None)
    param = error.get("param")
    if told and isinstance(param, str) and " " in param and param not in told:
        return f"{told}: {param}"  # Xiaomi's "Param Incorrect"
    return told


def _words(value: Any) -> str | None:
    if isinstance(value, str):
        return value if value.strip() else None
    if isinstance(value, Mapping):
        inner = next((value[name] for name in (*_WORDS, "error") if text_of(value.get(name))), None)
        if inner is not None:
            return str(inner)
    try:
        return (
            json.dumps(value)[:500] if value and isinstance(value, Mapping | list) else None
        )  # FastAPI's, of each field
    except (TypeError, ValueError, RecursionError):
        return None


def _request_id_in(document: Any) -> str | None:
    return text_of(document.get("request_id")) if isinstance(document, Mapping) else None


# ---- which failure it is ----


def _kind_and_remedy(
    status: int, error: Mapping[str, Any], message: str, known: Collection[str]
) -> tuple[type[Failure], str | None]:
    kind = _kind_by_name(status, error)
    if kind in (RequestRefused, UnsupportedRequest, ServerError, ModelNotFound):
        told = adaptation_of(status, {**error, "message": message}, known)
        if told is not None:
            return UnsupportedRequest, told
    searched = " ".join((message[:LONGEST], *_quotas(error)))
    kind = next((meant for kinds, words, meant in OF_WORDS if kind in kinds and words.search(searched)), kind)
    if kind is UnsupportedRequest and _is_about_reasoning(error.get("code"), message):
        return kind, WITHOUT_REASONING
    return kind, room_left(message) if kind in (ContextTooLong, QuotaExhausted) else None


def _kind_by_name(status: int, error: Mapping[str, Any]) -> type[Failure]:
    names = list(_names(error))
    if "insufficient_quota" in names:  # with any of several codes; DashScope says it of a minute's tokens, too
        return RateLimited if "error-code#token-limit" in (_message(error) or "") else QuotaExhausted
    kind = OF_NUMBER.get(_numbering(error), {}).get(_text(error.get("code")) or "")
    for table in (OF_CODE, OF_TYPE):
        kind = kind or next((table[name] for name in names if name in table), None)
    if status == 403 and {"flagged_input", "reasons", "patterns"} & set(_mapping(error.get("metadata"))):
        return ContentBlocked  # OpenRouter: moderated, or held by a guardrail
    if kind is not None:
        return kind
    if status == 200 and error:
        return next((OF_NAME_IN_200[name] for name in names if name in OF_NAME_IN_200), ServerError)
    if status == 404 and isinstance(error.get("param"), str) and error["param"] != "model":
        return RequestRefused  # something that the request names is not there, and it is not the model
    return ModelNotFound if status == 410 else classify_status(status)


def _names(error: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an error is called, in lower case, the most exact name first."""
    holders: list[tuple[Any, tuple[str, ...]]] = [
        (error, ("code", "error_code", "reason")),
        (error.get("detail"), ("error_type", "code")),
        (error.get("metadata"), ("error_type", "limit_source", "provider_code")),
        (error.get("innererror"), ("code",)),
        (_mapping(error.get("provider_specific_fields")).get("innererror"), ("code",)),  # LiteLLM
        *((detail, ("reason",)) for detail in _details(error)),
        (error, ("type", "error_type", "status", "__type")),
    ]
    for holder, fields in holders:
        for name in fields if isinstance(holder, Mapping) else ():
            told = (_text(holder.get(name)) or "").lower()
            while told:
                yield told
                told = told.rpartition(".")[0]


def _numbering(error: Mapping[str, Any]) -> str:
    """Return whose number an error's code is, where several servers number theirs; "" if it is none of those."""
    code, type_ = error.get("code"), error.get("type")
    if type_ in _OF_PLACES:
        return str(type_)
    if type_ or "object" in error or not str(code).isdecimal() or len(str(code)) != 4:
        return ""
    return "zai" if isinstance(code, str) else "base_resp"


def _details(error: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    details = error.get("details")
    yield from (detail for detail in details if isinstance(detail, Mapping)) if isinstance(details, list) else ()


def _quotas(error: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the quotas that Google says are used up."""
    for detail in _details(error):
        violations = detail.get("violations")
        for violation in violations if isinstance(violations, list) else ():
            if isinstance(violation, Mapping) and isinstance(violation.get("quotaId"), str):
                yield violation["quotaId"]


def _is_about_reasoning(code: Any, message: str) -> bool:
    words = message.lower()
    return code == "invalid_encrypted_content" or any(told in words for told in UNUSABLE_REASONING)


def _is_full(headers: Mapping[str, str]) -> bool:
    limit = headers.get("x-ratelimit-limit-tokens")
    untouched = limit is not None and headers.get("x-ratelimit-remaining-tokens") == limit
    return untouched and "retry-after" not in headers


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text_of(value)


# ---- when to come back ----


def _retry_after(
    headers: Mapping[str, str], error: Mapping[str, Any], message: str, kind: type[Failure]
) -> float | None:
    """Return when the vendor says to come back: in headers, or those that a body quotes, in fields, or in words."""
    told = parse_retry_after(headers)
    if told is not None or not issubclass(kind, QuotaFailure | TransientFailure):
        return told
    metadata = _mapping(error.get("metadata"))
    quoted = _mapping(metadata.get("headers"))
    told = parse_retry_after({"date": headers.get("date", "")} | {str(name): str(quoted[name]) for name in quoted})
    fields = [detail.get("retryDelay") for detail in _details(error)]  # Google's RetryInfo
    for holder in (metadata, error):
        fields += [holder.get(name) for name in _HINTS]
    read = (read_reset(str(field), headers.get("date")) for field in fields if isinstance(field, str | int | float))
    told = told if told is not None else next((seconds for seconds in read if seconds is not None), None)
    found = _COME_BACK.search(message[:LONGEST]) if told is None else None
    if found is not None:
        span = _UNIT.sub(lambda unit: {"milli": "ms"}.get(unit[1].lower(), unit[1].lower()), found[1])
        told = read_reset("".join(span.split()))
    found = _REPLENISHED.search(message[:LONGEST]) if told is None else None
    if found is not None:
        days, hours, minutes, seconds = (int(number or 0) for number in found.groups())
        told = float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    if told is None and issubclass(kind, QuotaFailure):
        told = _reset_alone(headers)
    return told


def _reset_alone(headers: Mapping[str, str]) -> float | None:
    """Return when a limit ends whose header says so, and nothing says whether it is used up."""
    alone = [
        name for name in headers if "ratelimit-reset" in name and name.replace("reset", "remaining") not in headers
    ]
    return max(filter(None, (read_reset(headers[name], headers.get("date")) for name in alone)), default=None)
