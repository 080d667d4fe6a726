"""How hosts of Claude, and other servers that speak the Messages API, say that something failed.

Amazon Bedrock, Google Vertex AI and Microsoft Foundry wrap Anthropic's errors in their own, gateways wrap those again,
and other vendors have codes of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from understudy import Failure
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
    ServerError,
    Timeout,
    UnsupportedRequest,
)
from understudy_toolkit.bodies import text_of

Json = Mapping[str, Any]

_DEEPEST = 3  # errors within errors: a gateway's, its provider's, the vendor's
_WORDS = ("message", "msg", "Message", "detail", "status_msg", "error_description", "title")
_MINIMAX = re.compile(r"\((\d{4})\)\s*$")  # insufficient balance (1008)
_ZAI = re.compile(r"^\s*\[(\d{4})\]")  # [1113][Insufficient balance or no resource package. ...]

# Codes and types that mean the same wherever they come from, in lower case.
# Amazon: https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html. Google:
# https://cloud.google.com/apis/design/errors, https://cloud.google.com/php/docs/reference/common-protos/latest/
# Api.ErrorReason. Microsoft: Gitlawb/openclaude#273. OpenAI's names, which many servers use:
# https://developers.openai.com/docs/guides/error-codes. Moonshot: https://www.kimi.com/code/docs/en/kimi-code/
# error-reference.html. MiniMax: MiniMax-AI/MiniMax-M2#62, modelscope/modelscope#1691. Read 2026-11-30.
OF_NAME: Mapping[str, type[Failure]] = {
    **dict.fromkeys(
        (
            *("invalid_api_key", "invalid_authentication_error", "incorrect_api_key_error", "authorized_error"),
            *("unrecognizedclientexception", "expiredtokenexception", "invalidsignatureexception"),
            *("incompletesignature", "missingauthenticationtoken", "invalidclienttokenid"),
            *("unauthenticated", "api_key_invalid", "access_token_expired", "invalid_grant"),
        ),
        AuthenticationFailed,
    ),
    **dict.fromkeys(
        (
            *("accessdeniedexception", "access_terminated_error", "permission_denied", "service_disabled", "forbidden"),
            *("consumer_suspended", "user_project_denied", "unsupported_country_region_territory"),
            *("key_model_access_denied", "team_model_access_denied"),
        ),
        PermissionDenied,
    ),
    **dict.fromkeys(
        (
            *("model_not_found", "unknown_model", "deploymentnotfound", "resourcenotfoundexception", "not_found"),
            *("resource_not_found_error", "notfounderror", "model_not_available"),
        ),
        ModelNotFound,
    ),
    **dict.fromkeys(
        (
            *("insufficient_quota", "insufficient_balance_error", "exceeded_current_quota_error", "billing_disabled"),
            *("billing_not_active", "billing_hard_limit_reached", "servicequotaexceededexception", "budget_exceeded"),
        ),
        QuotaExhausted,
    ),
    **dict.fromkeys(
        (
            *("rate_limit_exceeded", "rate_limit_reached_error", "ratelimitreached", "throttlingexception"),
            *("resource_exhausted", "too_many_requests", "toomanyrequestsexception"),
        ),
        RateLimited,
    ),
    **dict.fromkeys(
        ("engine_overloaded_error", "modelnotreadyexception", "serviceunavailableexception", "unavailable"), Overloaded
    ),
    **dict.fromkeys(("context_length_exceeded", "string_above_max_length"), ContextTooLong),
    **dict.fromkeys(("content_filter", "responsibleaipolicyviolation", "content_policy_violation"), ContentBlocked),
    **dict.fromkeys(("modeltimeoutexception", "deadline_exceeded"), Timeout),
    **dict.fromkeys(
        ("internalserverexception", "modelerrorexception", "modelstreamerrorexception", "internal", "server_error"),
        ServerError,
    ),
    # z.AI: https://docs.z.ai/api-reference/api-code, anthropics/claude-code#9201, zai-org/feedback#789, read 2026-11-30
    **dict.fromkeys(("1000", "1001", "1002", "1003", "1004"), AuthenticationFailed),
    **dict.fromkeys(("1110", "1111", "1112", "1120", "1121", "1220", "1311", "1313"), PermissionDenied),
    **dict.fromkeys(("1113", "1304", "1308", "1309", "1310"), QuotaExhausted),
    **dict.fromkeys(("1211", "1221", "1222"), ModelNotFound),
    **dict.fromkeys(("1302", "1303"), RateLimited),
    **dict.fromkeys(("1305", "1312"), Overloaded),
    "1212": UnsupportedRequest,
    "1230": ServerError,
    "1234": ServerError,
    "1261": ContextTooLong,
    "1301": ContentBlocked,
    # MiniMax, in brackets after the words or in base_resp: https://platform.minimax.io/docs/api-reference/errorcode.md,
    # read 2026-11-30
    **dict.fromkeys(("(1004)", "(2049)"), AuthenticationFailed),
    **dict.fromkeys(("(1008)", "(2056)"), QuotaExhausted),
    **dict.fromkeys(("(1002)", "(1039)", "(1041)", "(2045)"), RateLimited),
    **dict.fromkeys(("(1026)", "(1027)"), ContentBlocked),
    **dict.fromkeys(("(1000)", "(1013)", "(1024)", "(1033)"), ServerError),
    "(1001)": Timeout,
    "(2013)": RequestRefused,
}

# An error inside a reply with status 200 has these types where it is about the request; any other is the server's.
ABOUT_THE_REQUEST = ("invalid_request_error", "bad_request_error", "badrequesterror", "validationexception")


@dataclass(frozen=True, slots=True)
class Told:
    """What an error says.

    Args:
        names: its codes and types, the most specific first.
        message: its words.
        status: the HTTP status that it names itself.
        request_id: the vendor's id of the request.
    """

    names: tuple[str, ...] = ()
    message: str | None = None
    status: int | None = None
    request_id: str | None = None


def says_error(document: Any) -> bool:
    """Return whether a document that came with status 200, or an event of a stream, is an error."""
    if isinstance(document, list):
        return any(isinstance(entry, Mapping) and bool(entry.get("error")) for entry in document[:1])
    if not isinstance(document, Mapping):
        return False
    kind = document.get("type")
    if document.get("error") or kind == "error" or _number(_within(document, "base_resp").get("status_code")):
        return True
    if isinstance(kind, str) or "content" in document:
        return False
    return document.get("success") is False or _exception(document) is not None or _words(document) is not None


def read_error(document: Any, headers: Mapping[str, str]) -> Told:
    """Read an error of any shape.

    Args:
        document: the reply's JSON, or an event of a stream; None where it was not JSON.
        headers: the reply's headers, their names in lower case.
    """
    told = _read(document, _DEEPEST)
    named = _aws(headers.get("x-amzn-errortype", ""))
    return Told((*((named,) if named else ()), *told.names), told.message, told.status, told.request_id)


def _read(document: Any, deepest: int) -> Told:
    if isinstance(document, list) and document:
        document = document[0]
    if not isinstance(document, Mapping):
        return Told()
    error, base = document.get("error"), _within(document, "base_resp")
    errors = document.get("errors")  # of Cloudflare's: a list
    if not error and isinstance(errors, list) and errors and isinstance(errors[0], Mapping):
        error = errors[0]
    exception = _exception(document)
    if isinstance(error, str) and error:
        error = {**document, "message": error}
    elif base and not isinstance(error, Mapping):
        error = {"message": f"{base.get('status_msg') or 'no reason given'} ({base.get('status_code')})"}
    elif exception is not None:
        error = exception
    elif not isinstance(error, Mapping):
        error = document if document.get("type") != "message" else {}
    message = _words(error)
    inner = _inner(error, message)
    deeper = _read(inner, deepest - 1) if inner is not None and deepest else Told()
    names = (*deeper.names, *_names(error, message or ""))
    return Told(
        tuple(dict.fromkeys(names)),
        deeper.message or message,
        deeper.status or _status(error, document),
        text_of(document.get("request_id")) or deeper.request_id,
    )


def _names(error: Json, message: str) -> Iterator[str]:
    """Yield the codes and types of an error, the most specific first."""
    for pattern, form in ((_ZAI, "{}"), (_MINIMAX, "({})")):
        if found := pattern.search(message):
            yield form.format(found[1])
    details = error.get("details")
    for detail in details if isinstance(details, list) else (details,):
        if isinstance(detail, Mapping):
            yield from (name for key in ("error_code", "reason") if (name := text_of(detail.get(key))))
    inner = _within(error, "innererror")
    for value in (inner.get("code"), error.get("code"), error.get("__type"), error.get("type"), error.get("status")):
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value) not in ("", "<nil>", "error"):
            yield _aws(str(value))


def _status(*holders: Json) -> int | None:
    for holder in holders:
        for name in ("http_code", "status_code", "status", "code"):
            number = _number(holder.get(name))
            if number is not None and 400 <= number <= 599:
                return number
    return None


def _inner(error: Json, message: str | None) -> Any:
    """Return the error that another one wraps: as JSON in its message, or in what a gateway calls raw."""
    raw = _within(error, "metadata").get("raw")
    if isinstance(raw, Mapping):
        return raw
    for text in (raw, message):
        if not isinstance(text, str) or (start := text.find("{")) < 0:
            continue
        try:
            found, _ = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if says_error(found):
            return found
    return None


def _exception(document: Json) -> Json | None:
    """Return the value of a name such as throttlingException, as Bedrock's streams have it."""
    for name, value in document.items():
        if name.endswith("Exception") and isinstance(value, Mapping):
            return {"type": name, **value}
    return None


def _words(holder: Json) -> str | None:
    found = next((holder[name] for name in _WORDS if holder.get(name)), None)
    if isinstance(found, list):  # FastAPI's: [{"loc": [...], "msg": "Field required", ...}]
        found = "; ".join(str(entry.get("msg")) for entry in found if isinstance(entry, Mapping))
    return text_of(found)


def _within(holder: Json, name: str) -> Json:
    found = holder.get(name)
    return found if isinstance(found, Mapping) else {}


def _number(value: Any) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _aws(name: str) -> str:
    """Return a name without Amazon's wrapping: com.amazon.coral#ThrottlingException:http://..."""
    return name.rpartition("#")[2].partition(":")[0].strip()
