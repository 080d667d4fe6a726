"""The one table: what OpenAI's API, its SDK and compatible servers report, and which of our failures it is.

The most exact thing decides: the error's own type where it is about the account, then its code, its type, and the HTTP
status. The message decides only where nothing else tells failures apart; those few wordings stand in a table of their
own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
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
# The other adaptations: each completes "once more, ...", and stands in Request.adaptation of the attempt that follows.
WITHOUT_TEMPERATURE = "without temperature"  # so for each field of _OPTIONAL: f"without {field}"
WITH_COMPLETION_TOKENS = "with max_completion_tokens"  # in place of max_tokens
WITH_MAX_TOKENS = "with max_tokens"  # in place of max_completion_tokens
IN_JSON_MODE = "in JSON mode"  # response_format {"type": "json_object"}, the schema told in words
WITH_JSON_SCHEMA = "with a JSON schema"  # JSON mode is refused, a schema is taken: LM Studio
WITHOUT_RESPONSE_FORMAT = "without a response format"  # the schema told in words alone
WITHOUT_STRICT = "without strict"  # neither in the schema's envelope nor in a tool's
WITHOUT_PARALLEL_CALLS = "without parallel_tool_calls"  # the field is left out
ONE_CALL_AT_A_TIME = "one tool call at a time"  # parallel_tool_calls false; in the history a turn for each call
WITHOUT_FORCED_TOOL = "without a forced tool"  # tool_choice "auto" in place of "required" or a name
WITHOUT_TOOL_CHOICE = "without tool_choice"  # the field is left out
WITHOUT_SYSTEM_ROLE = "without a system role"  # the instructions begin the first message of the user's
WITHOUT_STREAM_OPTIONS = "without stream_options"
WITHOUT_EFFORT = "without reasoning_effort"
WITHOUT_THINKING = "without thinking"  # enable_thinking false: DashScope thinks in streams only
WITH_PLAIN_TEXTS = "with each content as one text"  # no list of pieces, and "" for null
WITH_ROLES_JOINED = "with messages of one role joined"
WITHOUT_REASONING_FIELDS = "without reasoning in messages"  # reasoning, reasoning_content, reasoning_details
WITH_REASONING_FIELDS = "with reasoning_content in every message"  # "" where none is known
WITH_DUMMY_SIGNATURES = "with dummy thought signatures"  # Gemini's calls that another model made
WITHIN = "with a limit of at most"  # followed by a number of tokens: told_limit reads it

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

# What a request can do without, at the top of its body: what is left out is told on the answer.
_OPTIONAL = (
    *("temperature", "top_p", "top_k", "min_p", "stop", "seed", "n", "frequency_penalty", "presence_penalty"),
    *("repetition_penalty", "logit_bias", "logprobs", "top_logprobs", "user", "metadata", "store", "service_tier"),
    *("verbosity", "modalities", "prediction", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"),
    *("parallel_tool_calls", "stream_options", "tool_choice", "reasoning_effort"),
)
# What a refusal of each field is mended by; the key is the last name of the field's path.
ADAPTATIONS: Mapping[str, str] = {
    **{field: f"without {field}" for field in _OPTIONAL},
    "max_tokens": WITH_COMPLETION_TOKENS,
    "max_completion_tokens": WITH_MAX_TOKENS,
    "response_format": WITHOUT_RESPONSE_FORMAT,
    "json_schema": IN_JSON_MODE,
    "strict": WITHOUT_STRICT,
    "enable_thinking": WITHOUT_THINKING,
    "reasoning": WITHOUT_REASONING_FIELDS,
    "reasoning_content": WITHOUT_REASONING_FIELDS,
    "reasoning_details": WITHOUT_REASONING_FIELDS,
}
# What is done where that adaptation is in force already, and refused too.
_NEXT: Mapping[str, str] = {
    WITHOUT_STRICT: IN_JSON_MODE,
    IN_JSON_MODE: WITHOUT_RESPONSE_FORMAT,
    WITH_JSON_SCHEMA: WITHOUT_RESPONSE_FORMAT,
    WITHOUT_FORCED_TOOL: WITHOUT_TOOL_CHOICE,
}
# Sentences that say more than the name of a field does, in lower case; the first that is found counts.
_MENDED: tuple[tuple[str, str], ...] = (
    (r"enable_thinking.{0,20} must be set to false", WITHOUT_THINKING),
    (r"reasoning_content.{0,30} (must be passed back|is missing)", WITH_REASONING_FIELDS),
    (r"missing a .?thought_signature", WITH_DUMMY_SIGNATURES),
    (r"invalid schema for (response_format|function)", WITHOUT_STRICT),
    (r"mixed values for .?strict", WITHOUT_STRICT),
    (r"response_format.{0,10} must be .{0,3}json_schema", WITH_JSON_SCHEMA),
    (r"response_format type is unavailable", IN_JSON_MODE),
    (
        r"(json_schema|structured outputs?).{0,80}(not supported|unsupported|not available|only for|is enabled only)",
        IN_JSON_MODE,
    ),
    (r"(not support|unsupported|invalid).{0,80}(json_schema|structured output)", IN_JSON_MODE),
    (
        r"(json mode|response mime type|response_format|grammar).{0,60}(tools?\b|function|unsupported)",
        WITHOUT_RESPONSE_FORMAT,
    ),
    (r"(tools?\b|function calling) .{0,60}(json mode|response mime type|response_format)", WITHOUT_RESPONSE_FORMAT),
    (r"must contain the word .?json", WITHOUT_RESPONSE_FORMAT),
    (r"single tool[- ]calls? at once", ONE_CALL_AT_A_TIME),
    (r"(not support|incompatible|not be enabled|invalid|unsupported).{0,60}tool_choice", WITHOUT_FORCED_TOOL),
    (r"tool_choice.{0,60}(not support|incompatible|only|unsupported)", WITHOUT_FORCED_TOOL),
    (r"system (role|message|instruction|prompt)s?.{0,20} not (supported|enabled|allowed)", WITHOUT_SYSTEM_ROLE),
    (r"developer instruction is not enabled", WITHOUT_SYSTEM_ROLE),
    (r"does not support .?system", WITHOUT_SYSTEM_ROLE),
    (r"only user and assistant roles", WITHOUT_SYSTEM_ROLE),
    (r"roles must alternate|should alternate with", WITH_ROLES_JOINED),
    (r"content.{0,40} (must|should) be a (valid )?string", WITH_PLAIN_TEXTS),
    (r"sequence, expected a string|concatenate str \(not .list|message content type: <nil>", WITH_PLAIN_TEXTS),
)
_LIMITS = (
    r"max_(?:completion_)?tokens.{0,40} less than or equal to .?(\d+)",
    r"range of max_tokens (?:is|should be) \[\d+, ?(\d+)\]",
    r"supports at most (\d+) completion tokens",
    r"max_tokens: \d+ > (\d+)",
)
_REFUSES_FIELD = re.compile(
    r"not support|unsupported|not permitted|not allowed|not available|unknown|unrecognized|unexpected|extra_forbidden"
    r"|is deprecated|deprecated for|is allowed|are allowed|cannot be|no longer"
    r"|not compatible|incompatible|cannot find field"
)
_NAMES_FIELD = re.compile(
    rf"""(?:['"`.\[ ]|^)({"|".join(sorted(ADAPTATIONS, key=len, reverse=True))})(?:['"`\]:]|$)""", re.MULTILINE
)
_NAMED_IN_WORDS = re.compile(r"\b(temperature|[a-z]+_[a-z_]+)\b")

# Most are 400 and 422; templates of chats fail as 500, and OpenRouter finds no endpoint (404).
_CAN_BE_MENDED = frozenset([200, 400, 404, 422, 500, 501])
_REFUSES_FIELD_BY_CODE = frozenset(["unsupported_parameter", "unsupported_value", "unknown_parameter"])

_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id", "mistral-correlation-id")


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
    adaptation = None
    if kind is UnsupportedRequest and _is_about_reasoning(code, message):
        adaptation = WITHOUT_REASONING
    elif kind in (RequestRefused, UnsupportedRequest, ServerError):
        adaptation = adaptation_of(status, error, known)
        kind = UnsupportedRequest if adaptation else kind
    return kind(
        message,
        provider=provider,
        status=status,
        code=code or type_,
        request_id=request_id_of(lower),
        retry_after=retry_after,
        retryable=False if lower.get("x-should-retry") == "false" else None,
        adaptation=adaptation,
    )


def adaptation_of(status: int, error: Mapping[str, Any], known: Collection[str] = ()) -> str | None:
    """Return how a refused request may be answered by the same model after all, in the words of a Failure's adaptation.

    Args:
        status: the HTTP status.
        error: what `error_in` found.
        known: the adaptations that the refused request had already: none of them is returned again.
    """
    if status not in _CAN_BE_MENDED:
        return None
    words = (_message(error) or "").lower()
    for pattern in _LIMITS:
        if found := re.search(pattern, words):
            return _unless_known(f"{WITHIN} {found[1]}", known)
    for pattern, adaptation in _MENDED:
        if re.search(pattern, words, re.DOTALL):
            return _unless_known(adaptation, known)
    if error.get("code") in _REFUSES_FIELD_BY_CODE or _REFUSES_FIELD.search(words):
        for field in _fields_named(error, words):
            if field in ADAPTATIONS:
                return _unless_known(ADAPTATIONS[field], known)
    return None


def _unless_known(adaptation: str, known: Collection[str]) -> str | None:
    told: str | None = adaptation
    while told is not None and told in known:
        told = _NEXT.get(told)
    return told


def _fields_named(error: Mapping[str, Any], words: str) -> Iterator[str]:
    """Yield the last names of the fields that a refusal may be about, the most exact source first."""
    if isinstance(error.get("param"), str):
        yield re.sub(r"[^a-z_]+$", "", error["param"].lower()).rpartition(".")[2]
    details = error.get("detail")
    for detail in details if isinstance(details, list) else ():
        place = detail.get("loc") if isinstance(detail, Mapping) else None
        if isinstance(place, list) and place:
            yield str(place[-1])
    yield from (found[1] for found in _NAMES_FIELD.finditer(words))
    yield from (found[1] for found in _NAMED_IN_WORDS.finditer(words))


def told_limit(adaptation: str | None) -> int | None:
    """Return the number of tokens in an adaptation that lowers the limit; None in any other."""
    told = (adaptation or "").removeprefix(WITHIN).strip()
    return int(told) if (adaptation or "").startswith(WITHIN) and told.isdecimal() else None


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
