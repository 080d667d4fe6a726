"""How to fix a failure: one sentence for each kind."""

from __future__ import annotations

from understudy import Failure, StreamInterrupted
from understudy.errors import (
    AnswerCutShort,
    AuthenticationFailed,
    CircuitOpen,
    ConnectionFailed,
    ContentBlocked,
    ContextTooLong,
    CoolingDown,
    EmptyResponse,
    InvalidRequest,
    LimitReached,
    MalformedResponse,
    ModelNotFound,
    Overloaded,
    PermissionDenied,
    ProviderUnavailable,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    RequestTooLarge,
    ServerError,
    Timeout,
    UnsupportedRequest,
)

CURES: dict[type[Failure], str] = {
    RateLimited: "wait {hint}, or let another provider take over: --fallback NAME",
    QuotaExhausted: "raise the limit or add credit at the vendor's, or ask another provider: --provider NAME",
    RequestTooLarge: "shorten the prompt, or ask another provider: --provider NAME",
    Timeout: "give it more time: --timeout SECONDS",
    ConnectionFailed: "check the network, the proxy and the provider's base URL, if one is set",
    ServerError: "the problem is on the vendor's side: wait, or let another provider take over: --fallback NAME",
    Overloaded: "the problem is on the vendor's side: wait, or let another provider take over: --fallback NAME",
    AuthenticationFailed: "the vendor does not know this key: `understudy doctor` says where it was found",
    PermissionDenied: "the key may not do this: check its permissions with the vendor, or choose another --model",
    ModelNotFound: "name a model that the vendor has: --model MODEL, or in a route {provider}:MODEL",
    ProviderUnavailable: "`understudy doctor` checks the whole configuration",
    ContextTooLong: "shorten the prompt, or ask a model with a longer context: --model MODEL",
    CircuitOpen: "it kept failing: wait {hint}, or let another provider take over: --fallback NAME",
    CoolingDown: "its quota is used up: wait {hint}, or let another provider take over: --fallback NAME",
    LimitReached: "the limit is your own, in understudy.toml: raise it, or let another provider take over",
    UnsupportedRequest: "ask a provider that can do this: --provider NAME",
    EmptyResponse: "ask again, with more --max-tokens if you limited them, or ask another model: --model MODEL",
    AnswerCutShort: "ask again with more --max-tokens: thinking counts within the vendor's limit",
    MalformedResponse: "look for a proxy or a wrong base URL between here and the vendor",
    InvalidRequest: "correct the request as the message says",
    RequestRefused: "change the request as the vendor says, or ask another vendor: --fallback NAME",
    ContentBlocked: "rephrase the prompt",
    StreamInterrupted: "ask again, or with --no-stream, where a broken answer is requested again",
}


def find_cure(failure: Failure) -> str:
    """Say how to fix a failure; an empty string if nothing is known to help."""
    for kind in type(failure).__mro__:
        if kind in CURES:
            hint = "a little" if failure.retry_after is None else f"{round(failure.retry_after, 1):g} s"
            return CURES[kind].format(hint=hint, provider=failure.provider or "NAME")
    return ""


def describe(failure: Failure) -> str:
    """Say what went wrong: in the library's words, the vendor's status, and the vendor's own words."""
    numbers = " ".join(str(part) for part in (failure.status, failure.code) if part)
    text = failure.brief + (f" ({numbers})" if numbers else "")
    return f"{text}: {failure.message}" if failure.message and failure.message not in text else text
