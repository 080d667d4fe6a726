"""The one table: what Anthropic's API and its SDK report, and which of our failures it is.

The most specific thing decides: the error's own code, then its type, then the HTTP status. The message decides only if
the API gives several failures one status, one type and no code; those wordings are in a table of their own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from understudy import Failure
from understudy.classify import classify_status, parse_retry_after, read_reset
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
from understudy_claude.dialects import ABOUT_THE_REQUEST, OF_NAME, Told, read_error
from understudy_toolkit.bodies import describe, document_of, text_of
from understudy_toolkit.waits import told_wait

PROVIDER = "claude"

# How a request that was refused may be answered after all: see Failure.adaptation.
WITHOUT_FORCING = "without a tool that must be called"
WITHOUT_SAMPLING = "without temperature, top_p and top_k"
WITHOUT_TOP_P = "without top_p beside a temperature"
WITHOUT_SETTINGS = "without settings of thinking"
WITHOUT_THINKING = "without thinking blocks"
WITHOUT_SCHEMAS = "without structured outputs, the schema in words"
WITHOUT_THAT_SCHEMA = "with the schema in words"
WITH_THOUGHTS = "with a thinking block on each answer"
OLDER_VERSION = "in the older version of the API"
_AT_MOST = "within the model's limit of {} tokens"
_LEFT = "within the {} tokens that the prompt leaves of the model's window"

# The shortest answer that is worth a second attempt if the prompt nearly fills the window: the documented default.
LEAST_LEFT = 1024

_NUMBER = re.compile(r"\d+")

# error.details.error_code: a stable name for the cause (anthropic 2.14.0, _error_classes.py).
_OF_CODE: Mapping[str, type[Failure]] = {
    "enforced_spend_limit_reached": QuotaExhausted,
    "contract_spend_limit_reached": QuotaExhausted,
    "linked_organization_spend_limit_reached": QuotaExhausted,
    "linked_organization_billing_unavailable": QuotaExhausted,
    "organization_on_hold": QuotaExhausted,
    "organization_type_not_supported": PermissionDenied,
    "cmek_key_disabled": PermissionDenied,
    "cmek_key_network_blocked": PermissionDenied,
    "region_not_supported": PermissionDenied,
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

# The last resort: if code, type and status leave open what is wrong. Beside each row is what may help.
# Limits, credit, organizations: https://platform.claude.com/docs/en/api/errors, anthropics/claude-code#38035, #72457,
# #29584. Blocked: anthropics/claude-code#58367. Forced tools: anthropics/claude-cookbooks#854,
# browserbase/stagehand#2221. Thinking and its blocks:
# https://platform.claude.com/docs/en/build-with-claude/thinking-troubleshooting and .../preserved-thinking; DeepSeek's
# and Moonshot's: NousResearch/hermes-agent#16748, farion1231/cc-switch#3377. Effort: anthropics/claude-code#81084.
# Sampling: https://qiita.com/Synthorai/items/01a0067e88747257a4e6, BerriAI/litellm#15097. Schemas:
# https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations,
# anthropics/anthropic-sdk-python#1185. Pictures: anthropics/claude-code#49537, #4778. Betas:
# anthropics/claude-code#11672, #49370. Amazon: UKGovernmentBEIS/inspect_ai#2058, https://www.repost.aws/es/
# knowledge-center/bedrock-invokemodel-api-error. Google: yym68686/uni-api#41. Microsoft: anthropics/claude-code#13558.
# Moonshot: MoonshotAI/kimi-cli#2011, https://www.kimi.com/code/docs/en/kimi-code/error-reference.html. vLLM:
# vllm-project/vllm#20409. LM Studio: Gitlawb/openclaude#353. Read 2026-11-30. Subscriptions: anthropics/claude-code
# #45048, earendil-works/pi#2943. LiteLLM: BerriAI/litellm#22726, #14144. Amazon's keys: ai4s-research/open-science#53;
# its structured outputs: BerriAI/litellm#22802. Read 2026-12-01.
_OF_WORDS: tuple[tuple[str, type[Failure], str | None], ...] = (
    ("blocked by content filtering policy", ContentBlocked, None),
    ("content management policy", ContentBlocked, None),
    ("prompt is too long", ContextTooLong, None),
    ("exceed context limit", ContextTooLong, None),
    ("input is too long", ContextTooLong, None),
    ("maximum context length", ContextTooLong, None),
    ("greater than the context length", ContextTooLong, None),
    ("exceeds the available context size", ContextTooLong, None),
    ("exceeds the context window", ContextTooLong, None),
    ("exceeded model token limit", ContextTooLong, None),
    ("exceeds the maximum allowed number of bytes", ContextTooLong, None),
    ("credit balance is too low", QuotaExhausted, None),
    ("specified api usage limits", QuotaExhausted, None),
    ("specified workspace api usage limits", QuotaExhausted, None),
    ("out of extra usage", QuotaExhausted, None),
    ("draw from your extra usage", QuotaExhausted, None),
    ("budget has been exceeded", QuotaExhausted, None),
    ("exceeded budget", QuotaExhausted, None),
    ("over budget", QuotaExhausted, None),
    ("invalid_payment_instrument", QuotaExhausted, None),
    ("insufficient balance", QuotaExhausted, None),
    ("too many tokens per day", QuotaExhausted, None),
    ("reached your usage limit", QuotaExhausted, None),
    ("required for long context requests", RequestTooLarge, None),
    ("organization has been disabled", PermissionDenied, None),
    ("only authorized for use with claude code", PermissionDenied, None),
    ("not allowed to use publisher model", PermissionDenied, None),
    ("don't have access to the model", PermissionDenied, None),
    ("not available in your country", PermissionDenied, None),
    ("not available in your region", PermissionDenied, None),
    ("unsupported country", PermissionDenied, None),
    ("api key not valid", AuthenticationFailed, None),
    ("invalid x-api-key", AuthenticationFailed, None),
    ("bearer token has expired", AuthenticationFailed, None),
    ("invalid api key format", AuthenticationFailed, None),
    ("make sure your api key is valid", AuthenticationFailed, None),
    ("on-demand throughput isn", ModelNotFound, None),
    ("provided model identifier is invalid", ModelNotFound, None),
    ("invalid model name passed", ModelNotFound, None),
    ("no models loaded", ModelNotFound, None),
    ("failed to load model", ModelNotFound, None),
    ("not support assistant message prefill", UnsupportedRequest, None),
    *(
        (wording.format(name), UnsupportedRequest, WITHOUT_SAMPLING)
        for name in ("temperature", "top_p", "top_k")
        for wording in (
            *(
                "{}: extra inputs are not permitted",
                "not support parameters: ['{}'",
                "`{}` is deprecated for this model",
                "key [{}] is not permitted",
            ),
            *("`{}` may only be set to", "`{}` must be unset when", "`{}` must be greater than or equal to"),
        )
    ),
    ("temperature` and `top_p` cannot both be specified", UnsupportedRequest, WITHOUT_TOP_P),
    ("temperature and top_p cannot both be specified", UnsupportedRequest, WITHOUT_TOP_P),
    ('type "tool" and "any" are not supported for this model', UnsupportedRequest, WITHOUT_FORCING),
    ("tool_choice forces tool use", UnsupportedRequest, WITHOUT_FORCING),
    ('" is not supported for this model. use "thinking.type.', UnsupportedRequest, WITHOUT_SETTINGS),
    ('"thinking.type.disabled" is not supported', UnsupportedRequest, WITHOUT_SETTINGS),
    ('"thinking.type.between_tools" is not supported', UnsupportedRequest, WITHOUT_SETTINGS),
    ("adaptive thinking is not supported on this model", UnsupportedRequest, WITHOUT_SETTINGS),
    ("is not supported when thinking is disabled", UnsupportedRequest, WITHOUT_SETTINGS),
    ("does not support the effort parameter", UnsupportedRequest, WITHOUT_SETTINGS),
    ("greater than `thinking.budget_tokens`", UnsupportedRequest, WITHOUT_SETTINGS),
    ("does not support thinking", UnsupportedRequest, WITHOUT_SETTINGS),
    ("thinking: extra inputs are not permitted", UnsupportedRequest, WITHOUT_SETTINGS),
    ("thinking.type: input tag", UnsupportedRequest, WITHOUT_SETTINGS),
    ("thinking.enabled.budget_tokens", UnsupportedRequest, WITHOUT_SETTINGS),
    ("output_config.effort: ", UnsupportedRequest, WITHOUT_SETTINGS),
    ("thinking` in the thinking mode must be passed back", UnsupportedRequest, WITH_THOUGHTS),
    ("missing thinking block in the assistant message", UnsupportedRequest, WITH_THOUGHTS),
    ("reasoning_content is missing in assistant", UnsupportedRequest, WITH_THOUGHTS),
    ("invalid `signature` in `thinking` block", UnsupportedRequest, WITHOUT_THINKING),
    ("invalid `data` in `redacted_thinking` block", UnsupportedRequest, WITHOUT_THINKING),
    ("thinking.signature: ", UnsupportedRequest, WITHOUT_THINKING),
    ("each thinking block must contain", UnsupportedRequest, WITHOUT_THINKING),
    ("cannot be `thinking`", UnsupportedRequest, WITHOUT_THINKING),
    ("cannot contain thinking", UnsupportedRequest, WITHOUT_THINKING),
    ("bound to a different conversation", UnsupportedRequest, WITHOUT_THINKING),
    ("blocks in the latest assistant message cannot be modified", UnsupportedRequest, WITHOUT_THINKING),
    ("expected `thinking` or `redacted_thinking`, but found", UnsupportedRequest, WITHOUT_THINKING),
    ("output_config.format: extra inputs are not permitted", UnsupportedRequest, WITHOUT_SCHEMAS),
    ("output_config: extra inputs are not permitted", UnsupportedRequest, WITHOUT_SCHEMAS),
    ("key [output_config] is not permitted", UnsupportedRequest, WITHOUT_SCHEMAS),
    ("not support output format", UnsupportedRequest, WITHOUT_SCHEMAS),
    ("not support structured output", UnsupportedRequest, WITHOUT_SCHEMAS),
    ("output_config.format.schema", UnsupportedRequest, WITHOUT_THAT_SCHEMA),
    ("output_format.schema", UnsupportedRequest, WITHOUT_THAT_SCHEMA),
    ("schema is too complex", UnsupportedRequest, WITHOUT_THAT_SCHEMA),
    ("compiled grammar is too large", UnsupportedRequest, WITHOUT_THAT_SCHEMA),
    ("grammar compilation", UnsupportedRequest, WITHOUT_THAT_SCHEMA),
    ("too many recursive definitions", UnsupportedRequest, WITHOUT_THAT_SCHEMA),
    ("not a valid version", UnsupportedRequest, OLDER_VERSION),
    ("for the `anthropic-beta` header", UnsupportedRequest, None),
    ("invalid beta flag", UnsupportedRequest, None),
    ("mb maximum", UnsupportedRequest, None),
    ("image dimensions exceed", UnsupportedRequest, None),
    ("could not process image", UnsupportedRequest, None),
    ("could not process pdf", UnsupportedRequest, None),
    ("unable to download the file", UnsupportedRequest, None),
    ("image does not match the provided media type", UnsupportedRequest, None),
    (".media_type: input should be", UnsupportedRequest, None),
    ("the pdf specified", UnsupportedRequest, None),
    ("too many images", UnsupportedRequest, None),
    ("pdf pages may be provided", UnsupportedRequest, None),
    ("does not support image", UnsupportedRequest, None),
    ("does not support tools", UnsupportedRequest, None),
    ("requested api is currently not supported", UnsupportedRequest, None),
)

# How many tokens a model writes at most, in the words of a refusal: Anthropic's, DeepSeek's
# (deepseek-ai/DeepSeek-V3#69), OpenAI's, and Amazon's (charmbracelet/crush#946, langgenius/dify#10390).
# Read 2026-11-30.
_MOST = tuple(
    re.compile(pattern)
    for pattern in (
        r"max_tokens: \d+ > (\d+), which is the maximum allowed number of output tokens",
        r"valid range of max_tokens is \[\s*\d+\s*,\s*(\d+)\s*\]",
        r"supports at most (\d+) (?:completion |output )?tokens",
        r"exceeds? (?:the )?model(?:'s)? (?:limit of |maximum output tokens \()(\d+)",
    )
)
# How long the prompt is, and the window: continuedev/continue#6080, vllm-project/vllm#20409, #33418. Read 2026-11-30.
_WINDOW = tuple(
    re.compile(pattern)
    for pattern in (
        r"exceed context limit: (?P<prompt>\d+) \+ \d+ > (?P<window>\d+)",
        r"maximum context length is (?P<window>\d+) tokens and your request has (?P<prompt>\d+) input tokens",
        r"maximum context length is (?P<window>\d+) tokens.{0,80}?\((?P<prompt>\d+) (?:of text input|in the messages)",
    )
)

# "You have reached your specified API usage limits. You will regain access on 2026-04-01 at 00:00 UTC."
# https://github.com/anthropics/claude-code/issues/38035, read 2026-11-30
_REGAINED = re.compile(r"regain access on (\d{4}-\d\d-\d\d) at (\d\d:\d\d) UTC")

# anthropic-ratelimit-requests-remaining and its like, with -reset beside it, a date of RFC 3339:
# https://platform.claude.com/docs/en/api/rate-limits#response-headers, read 2026-11-30
_REMAINING = re.compile(r"anthropic-ratelimit-[a-z-]*remaining")
# anthropic-ratelimit-unified-5h-status: rejected, with -reset beside it, of subscriptions:
# router-for-me/CLIProxyAPI#3148, lidge-jun/opencodex#3809, read 2026-12-01
_WINDOW_STATUS = re.compile(r"anthropic-ratelimit-unified-[a-z0-9_-]*status")

# What may stand behind a status and a type that are too wide.
_OPEN = (RequestRefused, ServerError, RateLimited, PermissionDenied)


def failure_of_reply(status: int, headers: Mapping[str, str], body: Any) -> Failure:
    """Return the failure that a reply means.

    Args:
        status: the HTTP status; 200 for an error inside a reply or a stream.
        headers: the reply's headers, their names in any case.
        body: the reply's body, as text, bytes or parsed JSON.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    retry_after = parse_retry_after(lower)
    document = document_of(body)
    told = read_error(document, lower)
    message = told.message or describe(status, headers, body)
    final = lower.get("x-should-retry") == "false"
    kind, adaptation = _kind(status, told)
    if kind is RateLimited and final and retry_after is None:
        kind = RequestTooLarge  # the API gives no time to wait and forbids another attempt: this request can never fit
    if retry_after is None and kind in (QuotaExhausted, RateLimited):
        retry_after = _until(message, lower)
    if retry_after is None:
        retry_after = told_wait(kind, lower, document, message)
    return kind(
        message,
        provider=PROVIDER,
        status=status,
        code=told.names[0] if told.names else None,
        request_id=text_of(lower.get("request-id")) or told.request_id or text_of(lower.get("x-amzn-requestid")),
        retry_after=retry_after,
        retryable=False if final else None,
        adaptation=adaptation,
    )


def most_tokens(adaptation: str | None) -> int | None:
    """Return how many tokens an adapted request may ask for at most; None if it does not say."""
    if adaptation is None or not adaptation.startswith((_AT_MOST[:20], _LEFT[:11])):
        return None
    found = _NUMBER.search(adaptation)
    return int(found[0]) if found else None


def limit_of(adaptation: str | None) -> int | None:
    """Return the model's own limit of output, where that is what an adaptation keeps to."""
    return most_tokens(adaptation) if adaptation is not None and adaptation.startswith(_AT_MOST[:20]) else None


def _kind(status: int, told: Told) -> tuple[type[Failure], str | None]:
    kind = next((found for name in told.names if (found := _of_name(name)) is not None), None)
    if kind is None:
        kind = classify_status(told.status or status if status == 200 else status)
        if kind is MalformedResponse and status == 200 and (told.names or told.message):
            kind = RequestRefused if {*map(str.lower, told.names)} & {*ABOUT_THE_REQUEST} else ServerError
    words = (told.message or "").lower()
    if kind in (RequestRefused, ContextTooLong) and (helps := _within(words)) is not None:
        return (UnsupportedRequest if limit_of(helps) else ContextTooLong), helps
    if kind in _OPEN:
        return next(((meant, helps) for said, meant, helps in _OF_WORDS if said in words), (kind, None))
    return kind, None


def _of_name(name: str) -> type[Failure] | None:
    name = name.lower()
    return _OF_CODE.get(name) or _OF_TYPE.get(name) or OF_NAME.get(name)


def _within(words: str) -> str | None:
    """Return the adaptation to a limit that the words of a refusal name."""
    for pattern in _MOST:
        if found := pattern.search(words):
            return _AT_MOST.format(int(found[1]))
    for pattern in _WINDOW:
        if found := pattern.search(words):
            left = int(found["window"]) - int(found["prompt"])
            return _LEFT.format(left) if left >= LEAST_LEFT else None
    return None


def _until(message: str, headers: Mapping[str, str]) -> float | None:
    """Return the seconds until the day that the message names, or until the used-up limits are reset."""
    date = headers.get("date")
    found = _REGAINED.search(message)
    if found is not None:
        return read_reset(f"{found[1]}T{found[2]}:00+00:00", date)
    spent = [name for name, left in headers.items() if _REMAINING.fullmatch(name) and left.strip() == "0"]
    spent += [name for name, told in headers.items() if _WINDOW_STATUS.fullmatch(name) and told == "rejected"]
    resets = [name.replace("remaining", "reset").replace("status", "reset") for name in spent]
    hints = [read_reset(headers.get(name), date) for name in resets]
    return max((hint for hint in hints if hint), default=None)
